//! The books of an audience: what is owed, what arrived, what went wrong, and how late it was.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::sync::Notify;

use super::broadcast::{Broadcasts, FIRST, Packet};

/// When each of a stage's broadcasts is due, whatever became of the ones before.
#[derive(Clone, Copy)]
pub struct Schedule {
    /// The number of the first broadcast of the stage.
    pub first: u64,
    /// When that one is due.
    pub start: Instant,
    /// The time between two of them.
    pub interval: Duration,
}

impl Schedule {
    /// When broadcast `number` is due.
    pub fn due(&self, number: u64) -> Instant {
        let intervals = u32::try_from(number - self.first).expect("a stage has fewer than 2^32 broadcasts");
        self.start + self.interval * intervals
    }
}

/// How many deliveries were not as they have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Faults {
    lost: u64,
    doubled_or_out_of_order: u64,
    corrupt: u64,
    connections_ended: u64,
}

/// Shared by the members of an audience; every delivery is entered. No lock is held across an await, and since the
/// generator has one thread, none is ever waited for.
#[derive(Default)]
pub struct Ledger {
    books: Mutex<Books>,
    all_arrived: Notify,
}

#[derive(Default)]
struct Books {
    members: u64,
    broadcasts: Broadcasts,
    schedule: Option<Schedule>,
    published: u64,
    /// Deliveries that the broadcasts published so far still owe.
    outstanding: u64,
    latencies_us: Vec<u32>,
    faults: Faults,
    probes: u64,
    pings: u64,
}

impl Ledger {
    /// From now on these broadcasts are expected; with a schedule, latencies are taken.
    pub fn expect(&self, broadcasts: Broadcasts, schedule: Option<Schedule>) {
        let mut books = self.books();
        books.broadcasts = broadcasts;
        books.schedule = schedule;
        books.latencies_us.clear();
    }

    /// The number of the broadcast that comes next.
    pub fn next_number(&self) -> u64 {
        FIRST + self.books().published
    }

    /// Takes the next number: from now on every member is owed that broadcast.
    pub fn publish_next(&self) -> u64 {
        let mut books = self.books();
        books.outstanding += books.members;
        books.published += 1;
        FIRST + books.published - 1
    }

    /// Waits until nothing is owed any more; anything but every broadcast once, in order and intact is an error.
    pub async fn settled(&self, patience: Duration) -> Result<()> {
        let all_arrived = async {
            while self.books().outstanding > 0 {
                self.all_arrived.notified().await;
            }
        };
        let in_time = tokio::time::timeout(patience, all_arrived).await;
        let books = self.books();
        ensure!(in_time.is_ok(), "{} deliveries missing after {patience:?}: {:?}", books.outstanding, books.faults);
        ensure!(books.faults == Faults::default(), "{:?}", books.faults);
        Ok(())
    }

    /// Takes the latencies since [`Ledger::expect`], in microseconds, sorted.
    pub fn take_latencies_us(&self) -> Vec<u32> {
        let mut latencies = std::mem::take(&mut self.books().latencies_us);
        latencies.sort_unstable();
        latencies
    }

    /// How many probes arrived, over all members.
    pub fn probes(&self) -> u64 {
        self.books().probes
    }

    /// How many pings were answered, over all members.
    pub fn pings(&self) -> u64 {
        self.books().pings
    }

    pub(super) fn enter_member(&self) {
        self.books().members += 1;
    }

    pub(super) fn enter_ended(&self) {
        self.books().faults.connections_ended += 1;
    }

    pub(super) fn enter_ping(&self) {
        self.books().pings += 1;
    }

    /// Enters an event of a member that expects number `next`; returns what it expects after it.
    pub(super) fn enter_event(&self, packet: &[u8], next: u64) -> u64 {
        let mut books = self.books();
        match books.broadcasts.recognise(packet) {
            Packet::Intact(number) => {
                books.enter_delivery(number, next);
                if books.outstanding == 0 {
                    self.all_arrived.notify_one();
                }
                return next.max(number + 1);
            }
            Packet::Corrupt => books.faults.corrupt += 1,
            Packet::Probe => books.probes += 1,
            Packet::Other => {}
        }
        next
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no holder panics")
    }
}

impl Books {
    fn enter_delivery(&mut self, number: u64, next: u64) {
        if let Some(schedule) = self.schedule.filter(|schedule| number >= schedule.first) {
            let late = Instant::now().saturating_duration_since(schedule.due(number));
            self.latencies_us.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        }
        if number >= next {
            self.faults.lost += number - next;
        } else {
            self.faults.doubled_or_out_of_order += 1;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn packet(broadcasts: Broadcasts, number: u64) -> Vec<u8> {
        let body: serde_json::Value = serde_json::from_str(&broadcasts.body(number)).unwrap();
        format!(r#"["b",{}]"#, body["data"]).into_bytes()
    }

    /// A member's view of `arrivals` (offsets from the first number) after three broadcasts were published.
    async fn outcome(arrivals: &[u64]) -> Result<()> {
        let (ledger, broadcasts) = (Ledger::default(), Broadcasts::of_size(128).unwrap());
        ledger.expect(broadcasts, None);
        ledger.enter_member();
        for _ in 0..3 {
            ledger.publish_next();
        }
        let mut next = FIRST;
        for offset in arrivals {
            next = ledger.enter_event(&packet(broadcasts, FIRST + offset), next);
        }
        ledger.settled(SOON).await
    }

    #[tokio::test]
    async fn only_each_one_once_and_in_order_will_do() {
        outcome(&[0, 1, 2]).await.unwrap();
        for bad in [&[0, 1][..], &[0, 2], &[1, 2], &[0, 0, 1], &[0, 0, 1, 2], &[1, 0, 2], &[0, 2, 1]] {
            assert!(outcome(bad).await.is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ended_is_a_fault() {
        let ledger = Ledger::default();
        ledger.enter_ended();
        assert!(ledger.settled(SOON).await.is_err());
    }
}
