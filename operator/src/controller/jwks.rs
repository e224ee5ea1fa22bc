//! Key sets: fetched by every replica, so that any of them can go on at once, and most often by the one that leads.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use carillon_jwks::{Book, Due, FetchError, Fetcher, Success};
use carillon_tenant::{Fetched, TenantId};
use tokio::{task::JoinSet, time::Instant};

use super::Controller;
use crate::{index::Index, metrics::Metrics, object::ObjectKey, resolve::Job};

/// What is fetched, and what is under way. Whatever is ends with this.
#[derive(Debug)]
pub(super) struct Jwks {
    fetcher: Arc<Fetcher>,
    pub(super) book: Book,
    pub(super) fetches: JoinSet<FetchDone>,
    /// Tenants that this replica, which just began to lead, must compile with newer keys before it publishes.
    settling: BTreeSet<ObjectKey>,
}

/// A fetch that ended.
pub(super) type FetchDone = (Due, Result<Success, FetchError>, Duration);

impl Jwks {
    pub(super) fn new(fetcher: Arc<Fetcher>) -> Self {
        Self { fetcher, book: Book::default(), fetches: JoinSet::new(), settling: BTreeSet::new() }
    }

    /// This replica begins to lead, or ends.
    pub(super) fn lead(&mut self, leads: bool) {
        self.settling.clear();
        self.book.lead(leads, Instant::now());
    }

    /// Until when nothing is published: whoever took over just now may have older keys than pods run.
    pub(super) fn holds_until(&self, now: Instant) -> Option<Instant> {
        self.book.confirming(now).or_else(|| self.book.patience(now).filter(|_| !self.settling.is_empty()))
    }

    /// Nothing more is to be waited for from `key`.
    pub(super) fn settled(&mut self, key: &ObjectKey) {
        self.settling.remove(key);
    }

    /// Fetches whatever is due.
    pub(super) fn start(&mut self, now: Instant) {
        while let Some(due) = self.book.start(now) {
            let fetcher = Arc::clone(&self.fetcher);
            self.fetches.spawn(async move {
                let started = Instant::now();
                let result = fetcher.fetch(&due.source, &due.cache).await;
                (due, result, started.elapsed())
            });
        }
    }

    /// Takes up what a fetch came to.
    fn done(&mut self, (due, result, elapsed): FetchDone, metrics: &Metrics) -> Option<Fetched> {
        let error = result.as_ref().err().map(ToString::to_string);
        let news = self.book.done(&due, result, rand::random(), Instant::now());
        let (source, elapsed) = (&due.source, elapsed.as_secs_f64());
        match (&error, &news.changed) {
            (Some(error), Some(_)) => tracing::warn!(%source, error, elapsed, "key set not fetched; tried again"),
            (Some(error), None) => tracing::info!(%source, error, elapsed, "key set not fetched; tried again"),
            (None, Some(_)) => tracing::info!(%source, elapsed, word = news.word, "key set fetched"),
            (None, None) => tracing::debug!(%source, elapsed, "key set is what it was"),
        }
        metrics.jwks_fetched(news.word, self.book.oldest_success());
        news.changed
    }
}

impl Controller {
    pub(super) fn key_set_done(&mut self, done: FetchDone) {
        let source = done.0.source.clone();
        let confirming = self.jwks.book.confirming(Instant::now()).is_some();
        if let Some(fetched) = self.jwks.done(done, &self.parts.metrics) {
            let users = self.index.key_set_seen(source, fetched);
            if confirming {
                self.jwks.settling.extend(users);
            }
        }
    }

    /// A tenant was compiled.
    pub(super) fn key_sets_compiled(&mut self, job: &Job) {
        // It may have been under way before the newer keys came.
        let newest = |index: &Index| index.job(&job.key).is_none_or(|newest| newest.key_sets == job.key_sets);
        if self.jwks.settling.contains(&job.key) && newest(&self.index) {
            self.jwks.settled(&job.key);
        }
    }

    /// Wants what tenants name, and forgets what none names any more.
    pub(super) fn follow_key_sets(&mut self, sources: impl IntoIterator<Item = carillon_tenant::JwksSource>, now: Instant) {
        for source in sources {
            match self.index.key_set_interval(&source) {
                Some(interval) => self.jwks.book.want(&source, interval, now),
                None => {
                    self.jwks.book.forget(&source);
                    self.index.key_set_gone(&source);
                    self.parts.metrics.jwks_oldest(self.jwks.book.oldest_success());
                }
            }
        }
    }

    /// Pods refused tokens whose `kid` they don't know: the issuer may have begun to use a new key.
    pub(super) fn unknown_kids(&mut self, tenants: &[(TenantId, Vec<String>)]) {
        let now = Instant::now();
        for (tenant, kids) in tenants {
            for source in self.index.sources_lacking(tenant, kids) {
                tracing::debug!(%tenant, %source, "unknown kid: key set is looked at early");
                self.jwks.book.hurry(&source, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use carillon_jwks::{AddressPolicy, Cache, Options, built_in};
    use carillon_tenant::{JwksSource, KeySet};

    use super::*;

    const KEYS: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    #[tokio::test(start_paused = true)]
    async fn who_takes_over_publishes_nothing_before_tenants_have_the_newest_keys_or_for_five_seconds() {
        let mut jwks = Jwks::new(Arc::new(Fetcher::new(Options::new(AddressPolicy::default(), false, built_in()))));
        let source = JwksSource::Url("https://id/keys".to_owned());
        let found = || Ok(Success { keys: Some(KeySet::parse(KEYS).unwrap()), cache: Cache::default(), max_age: None });
        let key = ObjectKey::new("n", "acme");
        jwks.lead(false);
        jwks.book.want(&source, Duration::from_secs(300), Instant::now());
        let due = jwks.book.start(Instant::now()).unwrap();
        jwks.book.done(&due, found(), 1.0, Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(jwks.holds_until(Instant::now()), None);

        jwks.lead(true);
        let until = Some(Instant::now() + Duration::from_secs(5));
        assert_eq!(jwks.holds_until(Instant::now()), until, "it looks again");
        let due = jwks.book.start(Instant::now()).unwrap();
        jwks.settling.insert(key.clone());
        jwks.book.done(&due, found(), 1.0, Instant::now());
        assert_eq!(jwks.holds_until(Instant::now()), until, "a tenant is still to be compiled");
        jwks.settled(&key);
        assert_eq!(jwks.holds_until(Instant::now()), None);

        jwks.settling.insert(key);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(jwks.holds_until(Instant::now()), None, "not for ever");
    }
}
