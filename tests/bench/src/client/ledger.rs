//! The books of an audience: what is owed, what arrived, what went wrong, and how late it was.

use std::{
    collections::VecDeque,
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

/// What became of a stage's broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Deliveries that were made.
    pub made: u64,
    /// Deliveries that were owed and never came.
    pub lost: u64,
    /// From when the first broadcast was due to the last delivery.
    pub time: Duration,
}

/// Shared by the members of an audience; every delivery is entered. No lock is held across an await, and since the
/// generator has one thread, none is ever waited for.
#[derive(Default)]
pub struct Ledger {
    books: Mutex<Books>,
    one_arrived: Notify,
}

#[derive(Default)]
struct Books {
    members: u64,
    broadcasts: Broadcasts,
    schedule: Option<Schedule>,
    published: u64,
    /// Deliveries that the broadcasts published so far still owe.
    outstanding: u64,
    /// The same by broadcast, from the oldest that not every member has.
    in_flight: VecDeque<u64>,
    latencies_us: Vec<u32>,
    faults: Faults,
    /// When the last delivery was made.
    latest: Option<Instant>,
    /// What came before this number is nobody's any more.
    written_off: u64,
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
        let members = books.members;
        books.outstanding += members;
        books.in_flight.push_back(members);
        books.published += 1;
        FIRST + books.published - 1
    }

    /// Waits until nothing is owed any more; anything but every broadcast once, in order and intact is an error.
    pub async fn settled(&self, patience: Duration) -> Result<()> {
        self.at_most_in_flight(0, patience).await
    }

    /// Waits until no more than so many broadcasts are still owed to some member; anything but every broadcast once, in order and intact
    /// is an error.
    pub async fn at_most_in_flight(&self, most: usize, patience: Duration) -> Result<()> {
        let arrived = async {
            while self.books().in_flight() > most {
                self.one_arrived.notified().await;
            }
        };
        let in_time = tokio::time::timeout(patience, arrived).await;
        let books = self.books();
        ensure!(in_time.is_ok(), "{} deliveries missing after {patience:?}: {:?}", books.outstanding, books.faults);
        ensure!(books.faults == Faults::default(), "{:?}", books.faults);
        Ok(())
    }

    /// Waits until nothing is owed any more, or nothing came for as long as `silence`, and asks for the rest no longer. What came has to be
    /// intact and in order all the same. Only for a stage that has a schedule.
    pub async fn write_off(&self, silence: Duration) -> Result<Arrivals> {
        let start = Instant::now();
        loop {
            let one_arrived = self.one_arrived.notified();
            let latest = self.books().latest.map_or(start, |latest| latest.max(start));
            if self.books().outstanding == 0 || latest.elapsed() > silence {
                break;
            }
            // Whichever comes first: nothing depends on it but how soon it is looked again.
            let _ = tokio::time::timeout(silence / 10, one_arrived).await;
        }
        let mut books = self.books();
        let lost = std::mem::take(&mut books.outstanding);
        books.in_flight.clear();
        books.written_off = FIRST + books.published;
        let faults = Faults { lost: 0, ..std::mem::take(&mut books.faults) };
        ensure!(faults == Faults::default(), "{faults:?}");
        let schedule = books.schedule.expect("the stage has a schedule");
        let owed = books.members * (FIRST + books.published - schedule.first);
        let time = books.latest.map_or(Duration::ZERO, |latest| latest.saturating_duration_since(schedule.start));
        Ok(Arrivals { made: owed - lost, lost, time })
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
                if books.enter_delivery(number, next) {
                    self.one_arrived.notify_one();
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
    fn in_flight(&self) -> usize {
        self.in_flight.iter().filter(|owed| **owed > 0).count()
    }

    /// Returns whether it was a broadcast's last.
    fn enter_delivery(&mut self, number: u64, next: u64) -> bool {
        let now = Instant::now();
        self.latest = Some(now);
        let next = next.max(self.written_off);
        if let Some(schedule) = self.schedule.filter(|schedule| number >= schedule.first) {
            let late = now.saturating_duration_since(schedule.due(number));
            self.latencies_us.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        }
        if number >= next {
            self.faults.lost += number - next;
        } else {
            self.faults.doubled_or_out_of_order += 1;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        let oldest = FIRST + self.published - self.in_flight.len() as u64;
        let owed = number.checked_sub(oldest).and_then(|place| self.in_flight.get_mut(usize::try_from(place).ok()?));
        let last = owed.is_some_and(|owed| {
            *owed = owed.saturating_sub(1);
            *owed == 0
        });
        while self.in_flight.front() == Some(&0) {
            self.in_flight.pop_front();
        }
        last
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
    async fn a_broadcast_is_in_flight_until_its_last_member_has_it() {
        let (ledger, broadcasts) = (Ledger::default(), Broadcasts::of_size(128).unwrap());
        ledger.expect(broadcasts, None);
        ledger.enter_member();
        ledger.enter_member();
        let (first, second) = (ledger.publish_next(), ledger.publish_next());
        for (number, next, in_flight) in [(first, first, 2), (first, first, 1), (second, second, 1), (second, second, 0)] {
            ledger.enter_event(&packet(broadcasts, number), next);
            assert!(ledger.at_most_in_flight(in_flight, SOON).await.is_ok());
            assert!(in_flight == 0 || ledger.at_most_in_flight(in_flight - 1, SOON).await.is_err());
        }
    }

    #[tokio::test]
    async fn what_never_comes_is_written_off() {
        let (ledger, broadcasts) = (Ledger::default(), Broadcasts::of_size(128).unwrap());
        let schedule = Schedule { first: FIRST, start: Instant::now(), interval: Duration::ZERO };
        ledger.expect(broadcasts, Some(schedule));
        ledger.enter_member();
        for _ in 0..3 {
            ledger.publish_next();
        }
        let next = ledger.enter_event(&packet(broadcasts, FIRST + 1), FIRST);
        let Arrivals { made, lost, .. } = ledger.write_off(SOON).await.unwrap();
        assert_eq!((made, lost), (1, 2));
        let number = ledger.publish_next();
        ledger.enter_event(&packet(broadcasts, number), next);
        ledger.settled(SOON).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_ended_is_a_fault() {
        let ledger = Ledger::default();
        ledger.enter_ended();
        assert!(ledger.settled(SOON).await.is_err());
    }
}
