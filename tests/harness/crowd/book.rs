//! Who is connected where, from the clients' side.

use std::collections::BTreeMap;

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// On its way in, or about to try again.
    Trying,
    /// Connected to a server.
    Inside(usize),
    /// It has given up, or was told to go.
    Gone,
}

/// The book. Every change goes through [`set`](Self::set), so that no peak is missed.
#[derive(Debug)]
pub(super) struct Book {
    members: Vec<State>,
    by_server: Vec<usize>,
    refusals: BTreeMap<String, usize>,
    losses: usize,
    turn: usize,
    /// Servers that new attempts go to.
    ready: Vec<usize>,
    watched: Vec<usize>,
    peak: usize,
}

impl Book {
    pub(super) fn new(servers: usize) -> Self {
        let (by_server, ready) = (vec![0; servers], (0..servers).collect());
        Self { members: Vec::new(), by_server, refusals: BTreeMap::new(), losses: 0, turn: 0, ready, watched: Vec::new(), peak: 0 }
    }

    pub(super) fn add(&mut self) -> usize {
        self.members.push(State::Trying);
        self.members.len() - 1
    }

    pub(super) fn remove(&mut self, count: usize, whom: impl Fn(Option<usize>) -> bool) -> Vec<usize> {
        let wanted = |state: &State| match *state {
            State::Trying => whom(None),
            State::Inside(server) => whom(Some(server)),
            State::Gone => false,
        };
        let chosen: Vec<_> = (0..self.members.len()).filter(|number| wanted(&self.members[*number])).take(count).collect();
        for &number in &chosen {
            self.set(number, State::Gone);
        }
        chosen
    }

    /// The next server to try.
    pub(super) fn next_server(&mut self) -> usize {
        self.turn += 1;
        self.ready[self.turn % self.ready.len()]
    }

    pub(super) fn go_to(&mut self, servers: &[usize]) {
        self.ready = servers.to_vec();
    }

    pub(super) fn came_in(&mut self, number: usize, server: usize) {
        self.set(number, State::Inside(server));
    }

    pub(super) fn was_refused(&mut self, number: usize, message: String, gives_up: bool) {
        *self.refusals.entry(message).or_default() += 1;
        self.set(number, if gives_up { State::Gone } else { State::Trying });
    }

    pub(super) fn was_lost(&mut self, number: usize, for_good: bool) {
        self.losses += 1;
        self.set(number, if for_good { State::Gone } else { State::Trying });
    }

    fn set(&mut self, number: usize, state: State) {
        let old = self.members[number];
        if old == State::Gone {
            // It was told to go meanwhile, and its task is about to end.
            return;
        }
        if let State::Inside(server) = old {
            self.by_server[server] -= 1;
        }
        if let State::Inside(server) = state {
            self.by_server[server] += 1;
        }
        self.members[number] = state;
        self.peak = self.peak.max(self.on_watched());
    }

    pub(super) fn watch(&mut self, servers: &[usize]) {
        self.watched = servers.to_vec();
        self.peak = self.on_watched();
    }

    fn on_watched(&self) -> usize {
        self.watched.iter().map(|server| self.by_server[*server]).sum()
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn inside(&self) -> usize {
        self.by_server.iter().sum()
    }

    pub(super) fn by_server(&self) -> &[usize] {
        &self.by_server
    }

    pub(super) fn undecided(&self) -> usize {
        self.members.iter().filter(|state| **state == State::Trying).count()
    }

    pub(super) fn refusals(&self) -> &BTreeMap<String, usize> {
        &self.refusals
    }

    pub(super) fn losses(&self) -> usize {
        self.losses
    }
}
