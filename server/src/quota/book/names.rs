//! Counts, one by one and by name: what is taken, what was granted, and what has yet to be told.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use crate::quota::wire::Need;

/// One count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) used: u32,
    pub(super) granted: u32,
    /// Taken by those who have to go and are not gone yet. Others have these places.
    pub(super) owed: u32,
    /// More are taken than the limit allows, for it was lowered. What gets free then stays free until it is granted anew.
    pub(super) over: bool,
}

impl Count {
    /// What is held, and what is needed if so many more wait.
    pub(super) const fn need(self, waiting: u32, wished: u32) -> Need {
        let held = self.used.saturating_sub(self.owed);
        Need { held, needed: held + waiting, wished }
    }

    pub(super) fn release(&mut self) {
        self.used = self.used.saturating_sub(1);
        self.owed = self.owed.saturating_sub(1);
        if self.over {
            self.hold();
        }
    }

    /// Takes down what was granted to whom held so much when it was asked for.
    pub(super) fn settle(&mut self, held: u32, granted: u32, over: bool) {
        (self.granted, self.over) = (granted, over);
        if over && granted <= held {
            // Nothing was granted but what was held, and what got free on the way stays free.
            self.hold();
        }
    }

    /// More are taken than the limit allows, or may be: nothing that was granted before is taken any more.
    pub(super) fn hold(&mut self) {
        self.granted = self.granted.min(self.used);
        self.over = true;
    }
}

/// The counts of many names.
#[derive(Debug)]
pub(super) struct Names<N> {
    pub(super) counts: HashMap<N, Count>,
    pub(super) changed: HashSet<N>,
    /// Names with something taken.
    pub(super) used: u32,
}

impl<N: Clone + Eq + Hash> Names<N> {
    pub(super) fn new() -> Self {
        Self { counts: HashMap::new(), changed: HashSet::new(), used: 0 }
    }

    pub(super) fn get(&self, name: &N) -> Count {
        self.counts.get(name).copied().unwrap_or_default()
    }

    pub(super) fn take(&mut self, name: &N) {
        let count = self.counts.entry(name.clone()).or_default();
        count.used += 1;
        if count.used == 1 {
            self.used += 1;
        }
        self.changed.insert(name.clone());
    }

    pub(super) fn release(&mut self, name: &N) {
        let Some(count) = self.counts.get_mut(name) else { return };
        count.release();
        if count.used == 0 {
            self.used -= 1;
            if count.granted == 0 {
                self.counts.remove(name);
            }
        }
        self.changed.insert(name.clone());
    }

    /// Everything has to be told, and nothing is granted.
    pub(super) fn reset(&mut self) {
        self.counts.retain(|_, count| count.used > 0);
        self.counts.values_mut().for_each(|count| count.granted = 0);
        self.changed = self.counts.keys().cloned().collect();
    }

    pub(super) fn forget_grants(&mut self) {
        self.counts.retain(|_, count| count.used > 0);
        self.changed.clear();
    }

    pub(super) fn settle(&mut self, name: &N, held: u32, granted: u32, over: bool) {
        let count = self.counts.entry(name.clone()).or_default();
        count.settle(held, granted, over);
        if count.used == 0 && count.granted == 0 {
            self.counts.remove(name);
        }
    }

    pub(super) fn hold(&mut self) {
        self.counts.values_mut().for_each(Count::hold);
    }

    pub(super) fn owe(&mut self, name: &N, owed: u32) {
        if let Some(count) = self.counts.get_mut(name) {
            count.owed = owed;
        }
    }

    pub(super) fn tell_unused(&mut self, name: &N) {
        let count = self.get(name);
        if count.used < count.granted {
            self.changed.insert(name.clone());
        }
    }

    pub(super) fn freeze(&mut self, name: &N, needed: u32) {
        if let Some(count) = self.counts.get_mut(name) {
            count.granted = count.granted.min(needed);
        }
    }
}
