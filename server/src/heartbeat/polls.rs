//! One long-polling session: it is asked through the answer to its next poll.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Beat, Heartbeat};

/// The session has ended.
const ENDED: u8 = 1;
/// It has left long-polling.
const UPGRADED: u8 = 2;
/// The next poll is to be answered with a ping.
const OWES_PING: u8 = 4;
/// The client said something since it was asked.
const HEARD: u8 = 8;
/// The engine's own first ping has come by.
const ENGINE_ASKED: u8 = 16;

/// What has become of a long-polling session, for its requests and for who attends it.
#[derive(Debug)]
pub struct Polls {
    signs: AtomicU8,
    changed: Notify,
}

impl Default for Polls {
    /// Of a session that has just been opened, which is as good as hearing its client.
    fn default() -> Self {
        Self { signs: AtomicU8::new(HEARD), changed: Notify::new() }
    }
}

/// How long-polling came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// By an upgrade to a WebSocket.
    Upgraded,
    /// With the session.
    Ended,
    /// The client said nothing in time.
    Silent,
}

impl Polls {
    /// The session has ended.
    pub fn end(&self) {
        self.sign(ENDED);
    }

    /// The session goes on as a WebSocket.
    pub fn upgraded(&self) {
        self.sign(UPGRADED);
    }

    /// The client has said something.
    pub fn hear(&self) {
        self.signs.fetch_or(HEARD, Ordering::AcqRel);
    }

    /// Waits until the session has ended.
    pub async fn ended(&self) {
        self.any(ENDED).await;
    }

    /// Waits until a poll is to be answered with a ping, which is then up to the caller.
    pub async fn ping_owed(&self) {
        loop {
            self.any(OWES_PING).await;
            if self.signs.fetch_and(!OWES_PING, Ordering::AcqRel) & OWES_PING != 0 {
                return;
            }
        }
    }

    /// Whether the engine's own first ping, which clients are not to have, is still to come.
    pub fn engine_will_ask(&self) -> bool {
        self.signs.load(Ordering::Acquire) & ENGINE_ASKED == 0
    }

    /// It has come.
    pub fn engine_asked(&self) {
        self.signs.fetch_or(ENGINE_ASKED, Ordering::AcqRel);
    }

    fn sign(&self, sign: u8) {
        self.signs.fetch_or(sign, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Waits until any of `signs` is there, and gives all there are.
    async fn any(&self, signs: u8) -> u8 {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let all = self.signs.load(Ordering::Acquire);
            if all & signs != 0 {
                return all;
            }
            changed.await;
        }
    }
}

/// Asks a long-polling client until that is over.
pub async fn attend(polls: &Polls, heartbeat: &Heartbeat) -> Over {
    let mut asked = Instant::now();
    let mut beat = Beat::Wait(asked + heartbeat.interval);
    loop {
        let next = match beat {
            Beat::Wait(time) => time,
            Beat::Ask => {
                polls.signs.fetch_and(!HEARD, Ordering::AcqRel);
                polls.sign(OWES_PING);
                heartbeat.first_look(asked)
            }
            Beat::Gone => return Over::Silent,
        };
        if let Ok(signs) = timeout_at(next, polls.any(ENDED | UPGRADED)).await {
            return if signs & ENDED != 0 { Over::Ended } else { Over::Upgraded };
        }
        let now = Instant::now();
        let heard = polls.signs.load(Ordering::Acquire) & HEARD != 0;
        beat = heartbeat.beat(asked, heard, now);
        if beat == Beat::Ask {
            asked = now;
        }
    }
}
