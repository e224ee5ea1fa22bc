//! Whether clients are there: each is asked every interval, and one that says nothing for as long as the time-out after that is gone
//! (Engine.IO protocol 4, "Heartbeat").
//!
//! The engine could ask by itself, with a task for each connection and through its packet queue, which keeps a second block of memory from then on.
//! So its own heartbeat sleeps, and what it says of it in the open packet is put right on the way out. A [`Pulse`] asks all that have a
//! WebSocket, straight through their lines; long-polling sessions are [attended](attend) one by one.

mod polls;
mod pulse;

use std::time::Duration;

use tokio::time::Instant;

pub use self::{
    polls::{Over, Polls, attend},
    pulse::Pulse,
};
use crate::engine::FRAME_BYTES_MAX;

/// How often it is asked whether a client is there, and how long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// Between two pings.
    pub interval: Duration,
    /// Until the pong.
    pub timeout: Duration,
    /// Until CONNECT, and until a refused client goes.
    pub connect_timeout: Duration,
}

/// What is to be done about a client that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Ask again.
    Ask,
    /// Look again at that time.
    Wait(Instant),
    /// It is gone.
    Gone,
}

impl Heartbeat {
    /// What is to be done at `now` about a client that was asked at `asked`, and was `heard` since or not.
    pub fn beat(&self, asked: Instant, heard: bool, now: Instant) -> Beat {
        let due = asked + if heard { self.interval } else { self.timeout };
        match heard {
            _ if now < due => Beat::Wait(due),
            true => Beat::Ask,
            false => Beat::Gone,
        }
    }

    /// When to look first after a client was asked at `asked`.
    pub fn first_look(&self, asked: Instant) -> Instant {
        asked + self.interval.min(self.timeout)
    }

    /// The open packet as clients are to have it, in place of the engine's own: the session is known as `sid` there, and may be
    /// upgraded to `upgrades`. The client gives the server up when it isn't asked for interval and time-out together.
    pub fn open_packet(&self, sid: &str, upgrades: &str) -> String {
        let (interval, timeout) = (self.interval.as_millis(), self.timeout.as_millis());
        format!(
            r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{FRAME_BYTES_MAX}}}"#
        )
    }
}

/// The engine's session id in its open packet.
pub fn sid_of(open_packet: &str) -> Option<&str> {
    const FIELD: &str = "\"sid\":\"";
    let start = open_packet.find(FIELD)? + FIELD.len();
    let length = open_packet[start..].find('"')?;
    Some(&open_packet[start..start + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(interval: u64, timeout: u64) -> Heartbeat {
        Heartbeat {
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(timeout),
            connect_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn asks_each_interval_and_gives_up_after_the_time_out() {
        let asked = Instant::now();
        let at = |seconds| asked + Duration::from_secs(seconds);
        // interval, time-out, heard, seconds since it was asked
        let table = [
            (25, 20, true, 20, Beat::Wait(at(25))),
            (25, 20, true, 25, Beat::Ask),
            (25, 20, false, 19, Beat::Wait(at(20))),
            (25, 20, false, 20, Beat::Gone),
            (5, 30, false, 5, Beat::Wait(at(30))),
            (5, 30, true, 30, Beat::Ask),
            (5, 30, false, 30, Beat::Gone),
        ];
        for (interval, timeout, heard, seconds, beat) in table {
            assert_eq!(heartbeat(interval, timeout).beat(asked, heard, at(seconds)), beat, "{interval} {timeout} {heard} {seconds}");
        }
        assert_eq!(heartbeat(25, 20).first_look(asked), at(20));
        assert_eq!(heartbeat(5, 30).first_look(asked), at(5));
    }

    #[test]
    fn an_open_packet_names_its_session() {
        let packet = heartbeat(25, 20).open_packet("abc", "\"websocket\"");
        let read: serde_json::Value = serde_json::from_str(packet.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(
            (&read["pingInterval"], &read["pingTimeout"], &read["upgrades"][0]),
            (&25_000.into(), &20_000.into(), &"websocket".into())
        );
        assert_eq!(sid_of(&packet), Some("abc"));
        assert_eq!(sid_of("1"), None);
    }
}
