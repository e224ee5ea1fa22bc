//! What to do when: each key at most once, at the earliest time it was asked for.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use tokio::time::Instant;

/// A set of keys with a time each.
#[derive(Debug)]
pub struct Schedule<K> {
    times: HashMap<K, Instant>,
    queue: BTreeSet<(Instant, K)>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { times: HashMap::new(), queue: BTreeSet::new() }
    }
}

impl<K: Clone + Hash + Ord> Schedule<K> {
    /// Asks for `key` at `time`, or earlier when it was asked for earlier.
    pub fn at(&mut self, time: Instant, key: K) {
        match self.times.get(&key) {
            Some(earlier) if *earlier <= time => return,
            Some(later) => {
                self.queue.remove(&(*later, key.clone()));
            }
            None => {}
        }
        self.times.insert(key.clone(), time);
        self.queue.insert((time, key));
    }

    /// The next key whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (time, _) = self.queue.first()?;
        if *time > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.times.remove(&key);
        Some(key)
    }

    /// The time of the next key.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_key_comes_once_at_its_earliest_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::default();
        schedule.at(after(5), "a");
        schedule.at(after(3), "b");
        schedule.at(after(1), "a");
        schedule.at(after(9), "b");
        assert_eq!(schedule.next(), Some(after(1)));
        assert_eq!(schedule.pop_due(start), None);
        assert_eq!(schedule.pop_due(after(4)), Some("a"));
        assert_eq!(schedule.pop_due(after(4)), Some("b"));
        assert_eq!(schedule.pop_due(after(99)), None);
        assert_eq!(schedule.next(), None);
    }
}
