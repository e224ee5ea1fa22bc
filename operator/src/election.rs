//! Who leads, decided without I/O: from what the Lease says, what was heard from servers, and a monotonic clock.
//!
//! Clocks of different machines are never compared. Whoever waits for a Lease to run out measures, on its own clock, how long it was not
//! seen to change; whoever holds it stops acting a while before anyone else may think that it ran out. A machine that was suspended as a whole
//! is deceived by its clock: against that, servers refuse an earlier epoch.

use std::time::Duration;

use carillon_tenant::Epoch;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// How long a Lease lasts without being renewed.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long a leader acts after its last successful renewal began. What is under way then has the rest of [`LEASE`] to end.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(40);
/// How often the Lease is renewed.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// How long an answer about it is waited for, and how long after a failure it is tried again.
pub const RETRY: Duration = Duration::from_secs(5);

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` when it was released.
    pub holder: Option<String>,
    /// How often it was taken over.
    pub transitions: i32,
    /// How long the holder may be silent.
    pub duration: Duration,
    /// When it was taken over, for people.
    pub acquired: Option<Timestamp>,
    /// When it was renewed, by the holder's clock: only that it changes matters.
    pub renewed: Option<Timestamp>,
}

impl Record {
    /// The epoch of whoever holds it.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(u64::try_from(self.transitions).unwrap_or(0) + 1)
    }
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is held by another: look again at that time, unless it changes before.
    Wait(Instant),
    /// Say at that time that it is still held.
    Renew(Instant),
    /// Take it.
    TakeOver,
}

/// That one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// In which epoch.
    pub epoch: Epoch,
    /// Until when, unless the Lease is renewed.
    pub until: Instant,
}

/// One who holds the Lease or wants to.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    /// What the Lease said last, and since when it says so; `None`: there is none, as far as is known.
    seen: Option<(Record, Instant)>,
    lead: Option<Lead>,
    /// The latest epoch that was heard of, from the Lease or from a server.
    latest: Epoch,
}

impl Candidate {
    /// One that knows nothing yet. No other process that lives has this identity.
    pub const fn new(identity: String) -> Self {
        Self { identity, seen: None, lead: None, latest: Epoch::new(0) }
    }

    /// Takes up what the Lease was just read to say. Whoever leads and is not named there, leads no more.
    pub fn see(&mut self, record: Option<Record>, now: Instant) {
        let named = |lead: &Lead| record.as_ref().is_some_and(|record| self.is_named(record, *lead));
        self.lead = self.lead.filter(named);
        self.latest = self.latest.max(record.as_ref().map_or(Epoch::default(), Record::epoch));
        let since = self.seen.as_ref().filter(|(before, _)| Some(before) == record.as_ref()).map_or(now, |(_, since)| *since);
        self.seen = record.map(|record| (record, since));
    }

    /// Takes up that a server was pushed under `epoch`. Whoever leads under an earlier one, leads no more.
    pub fn hear(&mut self, epoch: Epoch) {
        self.latest = self.latest.max(epoch);
        self.lead = self.lead.filter(|lead| lead.epoch >= epoch);
    }

    /// What to do about the Lease, from what it was last seen to say.
    pub fn decide(&self, now: Instant) -> Action {
        let Some((record, since)) = &self.seen else { return Action::TakeOver };
        match &record.holder {
            None => Action::TakeOver,
            // Named, but not as the one that leads: that was an earlier process of this pod, which has ended, or an earlier lead.
            Some(holder) if *holder == self.identity => match self.lead {
                Some(lead) => Action::Renew(lead.until - RENEW_DEADLINE + RENEW_INTERVAL),
                None => Action::TakeOver,
            },
            Some(_) => {
                let end = *since + record.duration;
                if now >= end { Action::TakeOver } else { Action::Wait(end) }
            }
        }
    }

    /// What the Lease must say for this one to lead: the same again if it leads. Whoever takes it over counts that in the same write, so
    /// that no epoch is ever had twice, and none follows a later one.
    pub fn claim(&self, wall: Timestamp) -> Record {
        let held = self.seen.as_ref().filter(|_| self.lead.is_some()).map(|(record, _)| (record.transitions, record.acquired));
        let (transitions, acquired) = held.unwrap_or_else(|| (i32::try_from(self.latest.get()).unwrap_or(i32::MAX), Some(wall)));
        Record { holder: Some(self.identity.clone()), transitions, duration: LEASE, acquired, renewed: Some(wall) }
    }

    /// What the Lease must say for the next one to lead at once; `None` when this one doesn't lead.
    pub fn release(&self, wall: Timestamp) -> Option<Record> {
        let (record, _) = self.seen.as_ref().filter(|_| self.lead.is_some())?;
        Some(Record { holder: None, renewed: Some(wall), ..record.clone() })
    }

    /// Takes up that a [claim](Self::claim) was written, which began at `begun`.
    pub fn wrote(&mut self, record: Record, begun: Instant) {
        let epoch = record.epoch();
        self.latest = self.latest.max(epoch);
        self.lead = Some(Lead { epoch, until: begun + RENEW_DEADLINE });
        self.seen = Some((record, begun));
    }

    /// Whether this one leads now.
    pub fn lead(&mut self, now: Instant) -> Option<Lead> {
        self.lead = self.lead.filter(|lead| now < lead.until);
        self.lead
    }

    fn is_named(&self, record: &Record, lead: Lead) -> bool {
        record.holder.as_ref() == Some(&self.identity) && record.epoch() == lead.epoch
    }
}

#[cfg(test)]
mod tests;
