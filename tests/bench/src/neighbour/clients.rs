//! The neighbour's clients: those that are in, and those that try to get in.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    net::TcpSocket,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{Way, tally::Shared};
use crate::{
    client::{LEAVE, Ledger, Member, Refused, Target, tokens},
    credentials::Tenant,
    frame::masked_text,
};

/// Clients that try to get in: with the mean wait of [`BACK_OFF_MAX`] they are 300 a second, three times what the tenant may have.
pub(super) const EXCESS: usize = 1500;
/// Members that stop reading, and the room that they are in.
pub(super) const SLOW: usize = 100;
pub(super) const SLOW_ROOM: &str = "slow";
/// How long such a member does not read before it gives up and comes back.
const SLOW_FOR: Duration = Duration::from_secs(8);
/// Little, so that the server soon has to wait for it.
const SLOW_BUFFER_BYTES: u32 = 4096;
/// All members together send three times what the tenant may.
const MESSAGES_PER_SECOND: f64 = 3000.0;
/// As Socket.IO's own clients wait.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// Indexes from here on have source addresses of their own: the many short connections use up ports.
const FIRST_EXCESS: usize = 40_000;

type Orders = watch::Receiver<Vec<Way>>;

/// One of them.
struct Client {
    server: Target,
    index: usize,
    token: String,
    ledger: Arc<Ledger>,
    message: Arc<[u8]>,
    message_interval: Duration,
    orders: Orders,
    tally: Shared,
    /// Waits since it was last let in.
    waits: u32,
    random: u64,
}

/// Starts all of them.
pub(super) fn spawn(server: Target, members: usize, orders: &Orders, tally: &Shared) -> Result<()> {
    let ledger = Arc::<Ledger>::default();
    let message: Arc<[u8]> = masked_text(LEAVE).into();
    let indexes = (0..members).chain(FIRST_EXCESS..FIRST_EXCESS + EXCESS);
    for (index, token) in indexes.zip(tokens(Tenant::Neighbour, 0..members + EXCESS)?) {
        let client = Client {
            server,
            index,
            token,
            ledger: ledger.clone(),
            message: message.clone(),
            message_interval: Duration::from_secs_f64(members as f64 / MESSAGES_PER_SECOND),
            orders: orders.clone(),
            tally: tally.clone(),
            waits: 0,
            random: index as u64,
        };
        tokio::spawn(client.run());
    }
    Ok(())
}

impl Client {
    async fn run(mut self) {
        if self.is_excess() {
            self.waits = u32::MAX;
        }
        loop {
            if self.is_excess() {
                let storm = self.orders.wait_for(|ways| ways.contains(&Way::Connects)).await.is_ok();
                if !storm {
                    return;
                }
                // Spread, so that they don't all come in the first moment.
                self.back_off().await;
            }
            match self.join().await {
                Ok(member) => {
                    self.tally.enter(|tally| tally.members += 1);
                    let ended = self.stay(member).await.is_err();
                    self.tally.enter(|tally| {
                        tally.members -= 1;
                        tally.ended += u64::from(ended);
                    });
                }
                Err(problem) if problem.is::<Refused>() => self.tally.enter(|tally| tally.connects_refused += 1),
                Err(_) => self.tally.enter(|tally| tally.ended += 1),
            }
            if !self.is_excess() {
                self.back_off().await;
            }
        }
    }

    async fn join(&self) -> Result<Member> {
        let socket = TcpSocket::new_v4()?;
        if self.is_slow() {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        let member = Member::join_by(socket, self.server, self.index, &self.token, self.ledger.clone()).await?;
        if self.is_slow() {
            member.send(&masked_text(&format!(r#"42["rt:join",{{"room":"{SLOW_ROOM}"}}]"#)))?;
        }
        Ok(member)
    }

    /// Does what it is told as long as it is connected; `Ok` when it leaves by itself.
    async fn stay(&mut self, mut member: Member) -> Result<()> {
        let mut buffer = vec![0; 4096];
        let offset = self.message_interval.mul_f64(self.random());
        let mut ticks = interval_at(Instant::now() + offset, self.message_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (excess, slow) = (self.is_excess(), self.is_slow());
        let mut deaf_since = None;
        loop {
            let (talks, deaf) = {
                let ways = self.orders.borrow_and_update();
                if excess && !ways.contains(&Way::Connects) {
                    return Ok(());
                }
                (ways.contains(&Way::Messages), slow && ways.contains(&Way::SlowReaders))
            };
            deaf_since = if deaf { deaf_since.or_else(|| Some(Instant::now())) } else { None };
            let give_up = deaf_since.map_or_else(Instant::now, |since| since + SLOW_FOR);
            tokio::select! {
                heard = member.hear(&mut buffer), if !deaf => heard?,
                () = tokio::time::sleep_until(give_up), if deaf => return Ok(()),
                changed = self.orders.changed() => changed?,
                _ = ticks.tick(), if talks && !deaf => member.send(&self.message)?,
            }
            let refused = member.take_refused();
            if refused > 0 {
                self.tally.enter(|tally| tally.messages_refused += refused);
            }
            self.waits = 0;
        }
    }

    fn is_excess(&self) -> bool {
        self.index >= FIRST_EXCESS
    }

    fn is_slow(&self) -> bool {
        self.index < SLOW
    }

    async fn back_off(&mut self) {
        let wait = BACK_OFF_MIN.saturating_mul(1 << self.waits.min(8)).min(BACK_OFF_MAX);
        self.waits = self.waits.saturating_add(1);
        sleep(wait.mul_f64(0.5 + self.random())).await;
    }

    /// From 0 to 1.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}
