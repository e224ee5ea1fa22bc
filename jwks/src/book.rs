//! What is fetched when, and what is thought of it. No I/O, and the clock is handed in.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use carillon_tenant::{Fetched, JwksSource, KeySet};
use tokio::time::Instant;

use crate::{Cache, FetchError, Success};

/// Fetches at once.
pub const FETCHES_MAX: usize = 32;
/// The least time that an answer is taken for fresh, whatever it says.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// The least time between two fetches of one source when something asks for one early.
const EARLY_INTERVAL: Duration = Duration::from_secs(30);
/// The first wait after a failure; each further one is twice as long, up to the source's interval.
const BACK_OFF_MIN: Duration = Duration::from_secs(2);
/// A replica that stands by looks so many times less often: it must have keys, and the one that leads must have the newest.
const STANDBY_PACE: u32 = 3;
/// Who begins to lead looks again at what it has not looked at for so long.
const CONFIRM_AGE: Duration = Duration::from_secs(10);
/// How long it may be waited for that.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);

/// Every source that somebody wants.
#[derive(Debug, Default)]
pub struct Book {
    records: HashMap<JwksSource, Record>,
    queue: BTreeSet<(Instant, JwksSource)>,
    flying: usize,
    attempts: u64,
    leads: bool,
    awaited: BTreeSet<JwksSource>,
    awaited_until: Option<Instant>,
}

#[derive(Debug)]
struct Record {
    interval: Duration,
    /// When it is fetched next; `None` while it is.
    due: Option<Instant>,
    /// Tells the fetch under way from one before the source was forgotten.
    attempt: u64,
    attempted: Option<Instant>,
    succeeded: Option<Instant>,
    failing_since: Option<Instant>,
    failures: u32,
    keys: Option<Arc<KeySet>>,
    cache: Cache,
    told: Option<Fetched>,
}

/// A fetch to make now.
#[derive(Clone, Debug)]
pub struct Due {
    /// What is fetched.
    pub source: JwksSource,
    /// What is had of it.
    pub cache: Cache,
    attempt: u64,
}

/// What a fetch came to.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// What is known of the source now, if that is something else than before.
    pub changed: Option<Fetched>,
    /// One of [`FetchError::WORDS`].
    pub word: &'static str,
}

impl Book {
    /// Somebody wants `source`, not older than `interval` if possible.
    pub fn want(&mut self, source: &JwksSource, interval: Duration, now: Instant) {
        if let Some(record) = self.records.get_mut(source) {
            record.interval = interval;
            if record.due.is_some_and(|due| due > now + interval) {
                self.schedule(source, now + interval);
            }
            return;
        }
        let record = Record {
            interval,
            due: None,
            attempt: 0,
            attempted: None,
            succeeded: None,
            failing_since: None,
            failures: 0,
            keys: None,
            cache: Cache::default(),
            told: None,
        };
        self.records.insert(source.clone(), record);
        self.schedule(source, now);
    }

    /// Nobody wants `source` any more.
    pub fn forget(&mut self, source: &JwksSource) {
        if let Some(due) = self.records.remove(source).and_then(|record| record.due) {
            self.queue.remove(&(due, source.clone()));
        }
        self.awaited.remove(source);
    }

    /// When there is something to fetch.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().filter(|_| self.flying < FETCHES_MAX).map(|(time, _)| *time)
    }

    /// Something to fetch now.
    pub fn start(&mut self, now: Instant) -> Option<Due> {
        self.next().filter(|time| *time <= now)?;
        let (_, source) = self.queue.pop_first()?;
        self.attempts += 1;
        let record = self.records.get_mut(&source)?;
        (record.due, record.attempted, record.attempt) = (None, Some(now), self.attempts);
        self.flying += 1;
        Some(Due { cache: record.cache.clone(), attempt: record.attempt, source })
    }

    /// Takes up what a fetch came to. `luck`, from 0 to 1, spreads what would come at once.
    pub fn done(&mut self, due: &Due, result: Result<Success, FetchError>, luck: f64, now: Instant) -> News {
        self.flying -= 1;
        let Due { source, attempt, .. } = due;
        let pace = if self.leads { 1 } else { STANDBY_PACE };
        let word_of_failure = result.as_ref().err().map(FetchError::word);
        let Some(record) = self.records.get_mut(source).filter(|record| record.due.is_none() && record.attempt == *attempt) else {
            return News { changed: None, word: word_of_failure.unwrap_or("unchanged") };
        };
        let (fetched, wait, word) = match result {
            Ok(success) => record.succeed(success, pace, luck, now),
            Err(error) => record.fail(&error, luck, now),
        };
        let changed = fetched.filter(|fetched| record.told.as_ref() != Some(fetched));
        if changed.is_some() {
            record.told.clone_from(&changed);
        }
        self.schedule(source, now + wait);
        self.awaited.remove(source);
        News { changed, word }
    }

    /// There are signs that `source` has changed. It is looked at soon, but not more often than every [`EARLY_INTERVAL`].
    pub fn hurry(&mut self, source: &JwksSource, now: Instant) {
        let Some(record) = self.records.get(source) else { return };
        let time = record.attempted.map_or(now, |attempted| (attempted + EARLY_INTERVAL).max(now));
        if record.due.is_some_and(|due| due > time) {
            self.schedule(source, time);
        }
    }

    /// This replica begins to lead, or ends. Who begins looks again at everything: the one before may have known better.
    pub fn lead(&mut self, leads: bool, now: Instant) {
        self.leads = leads;
        self.awaited.clear();
        if !leads {
            return;
        }
        let old = |record: &Record| record.succeeded.is_some_and(|succeeded| now.duration_since(succeeded) > CONFIRM_AGE);
        self.awaited = self.records.iter().filter(|(_, record)| old(record)).map(|(source, _)| source.clone()).collect();
        self.awaited_until = Some(now + CONFIRM_PATIENCE);
        for source in self.awaited.clone() {
            if self.records.get(&source).is_some_and(|record| record.due.is_some()) {
                self.schedule(&source, now);
            }
        }
    }

    /// Until when it pays to wait for what is looked at again; `None` when nothing is, or it was waited for long enough.
    pub fn confirming(&self, now: Instant) -> Option<Instant> {
        self.patience(now).filter(|_| !self.awaited.is_empty())
    }

    /// Until when who just began to lead may wait for what follows from it.
    pub fn patience(&self, now: Instant) -> Option<Instant> {
        self.awaited_until.filter(|until| *until > now)
    }

    /// When that was fetched with success which was so longest ago.
    pub fn oldest_success(&self) -> Option<Instant> {
        self.records.values().filter_map(|record| record.succeeded).min()
    }

    fn schedule(&mut self, source: &JwksSource, time: Instant) {
        let Some(record) = self.records.get_mut(source) else { return };
        if let Some(before) = record.due.replace(time) {
            self.queue.remove(&(before, source.clone()));
        }
        self.queue.insert((time, source.clone()));
    }
}

impl Record {
    fn succeed(&mut self, success: Success, pace: u32, luck: f64, now: Instant) -> (Option<Fetched>, Duration, &'static str) {
        let Success { keys, cache, max_age } = success;
        let before = self.keys.take();
        let (keys, word) = match (keys, before) {
            (Some(keys), Some(before)) if *before == keys => (before, "unchanged"),
            (Some(keys), _) => (Arc::new(keys), "changed"),
            (None, Some(before)) => (before, "unchanged"),
            // Nobody says "as it was" to who never had anything: there is no tag to send.
            (None, None) => (Arc::default(), "unchanged"),
        };
        self.keys = Some(Arc::clone(&keys));
        self.cache = cache;
        (self.succeeded, self.failing_since, self.failures) = (Some(now), None, 0);
        let fresh = max_age.map_or(self.interval, |age| age.clamp(INTERVAL_MIN.min(self.interval), self.interval));
        (Some(Fetched::Fresh(keys)), (fresh * pace).mul_f64(luck.mul_add(0.1, 0.9)), word)
    }

    fn fail(&mut self, error: &FetchError, luck: f64, now: Instant) -> (Option<Fetched>, Duration, &'static str) {
        let since = *self.failing_since.get_or_insert(now);
        let wait = BACK_OFF_MIN.saturating_mul(1 << self.failures.min(16)).min(self.interval).mul_f64(luck.mul_add(0.5, 0.5));
        self.failures += 1;
        let fetched = match &self.keys {
            None => Some(Fetched::Never(error.to_string())),
            Some(keys) if now.duration_since(since) >= self.interval => Some(Fetched::Stale(Arc::clone(keys), error.to_string())),
            Some(_) => None,
        };
        (fetched, wait, error.word())
    }
}

#[cfg(test)]
mod tests;
