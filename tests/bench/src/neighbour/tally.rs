//! What happened to the neighbour's clients.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const NUMBERS: usize = 5;

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Members that are connected.
    pub members: u64,
    /// Connects that were refused.
    pub connects_refused: u64,
    /// Messages that were refused.
    pub messages_refused: u64,
    /// Publishes that were refused.
    pub publishes_refused: u64,
    /// Connections that ended although the client did not end them.
    pub ended: u64,
}

impl Tally {
    /// Whatever was refused, each second.
    pub fn refused_per_second(&self, since: &Self, time: Duration) -> f64 {
        let refused = |tally: &Self| tally.connects_refused + tally.messages_refused + tally.publishes_refused;
        (refused(self) - refused(since)) as f64 / time.as_secs_f64()
    }

    pub(super) fn to_line(self) -> String {
        let Self { members, connects_refused, messages_refused, publishes_refused, ended } = self;
        format!("{members} {connects_refused} {messages_refused} {publishes_refused} {ended}\n")
    }

    pub(super) fn from_line(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [members, connects_refused, messages_refused, publishes_refused, ended]: [u64; NUMBERS] = numbers.try_into().ok()?;
        Some(Self { members, connects_refused, messages_refused, publishes_refused, ended })
    }
}

/// The tally that all tasks of the neighbour enter things into.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Tally>>);

impl Shared {
    pub(super) fn enter(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock().expect("no holder panics"));
    }

    pub(super) fn read(&self) -> Tally {
        *self.0.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_what_it_was_made_from() {
        let tally = Tally { members: 1, connects_refused: 2, messages_refused: 3, publishes_refused: 4, ended: 5 };
        assert_eq!(Tally::from_line(&tally.to_line()), Some(tally));
        assert_eq!(Tally::from_line("1 2"), None);
    }
}
