//! Leader election: the task that looks at the Lease, writes it, and tells the others of this process whether they lead.
//!
//! Every decision is made in `election`. A write names the version of the Lease that was read before it, so that of two who want the
//! same thing, one gets it. Whoever loses the lead goes on as a follower, in the same process.

use std::{pin::Pin, sync::Arc};

use carillon_tenant::Epoch;
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    election::{Action, Candidate, Lead, RENEW_INTERVAL, RETRY, Record},
    health::Readiness,
    metrics::Metrics,
    term::Term,
};

const LEASE: &str = "Lease";

/// Where the Lease is. The API server, or what tests put in its place to make it fail.
pub trait Store: Send + Sync + 'static {
    /// What a write must be on top of.
    type Version: Send + Sync;

    /// What the Lease says; `None` when there is none.
    fn read(&self) -> impl Future<Output = Result<Option<(Record, Self::Version)>, String>> + Send;

    /// Writes it on top of `version`, or as the first. Fails when it is another by now.
    fn write(&self, record: &Record, version: Option<Self::Version>) -> impl Future<Output = Result<(), String>> + Send;

    /// Yields whenever the Lease may have changed. A change that is missed costs time, and nothing else.
    fn changes(&self) -> Pin<Box<dyn Stream<Item = ()> + Send>>;
}

/// Wants to lead.
#[derive(Debug)]
pub struct Elector<S> {
    store: S,
    candidate: Candidate,
    /// When to look at the Lease again.
    due: Instant,
    /// When the term ends, for those who act in it; dropped when it is over.
    until: Option<(Epoch, watch::Sender<Instant>)>,
    terms: watch::Sender<Option<Term>>,
    heard: (Arc<watch::Sender<Epoch>>, watch::Receiver<Epoch>),
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

impl<S: Store> Elector<S> {
    /// One that knows nothing yet, and where it tells whether this process leads.
    pub fn new(store: S, identity: String, readiness: Readiness, metrics: Arc<Metrics>) -> (Self, watch::Receiver<Option<Term>>) {
        readiness.missing(LEASE, "not read yet");
        let (terms, receiver) = watch::channel(None);
        let (sender, heard) = watch::channel(Epoch::default());
        let heard = (Arc::new(sender), heard);
        let candidate = Candidate::new(identity);
        (Self { store, candidate, due: Instant::now(), until: None, terms, heard, readiness, metrics }, receiver)
    }

    /// Leads whenever it can until `shutdown`, and then lets the next one lead.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.store.changes();
        loop {
            self.turn().await;
            let end = self.candidate.lead(Instant::now()).map(|lead| lead.until);
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(()) = changes.next() => {}
                Ok(()) = self.heard.1.changed() => self.tell(),
                () = sleep_until(self.due) => {}
                () = sleep_until(end.unwrap_or(self.due)) => {}
            }
        }
        self.release().await;
    }

    /// Looks at the Lease and does what is to be done, within the time that there is for it.
    async fn turn(&mut self) {
        self.tell();
        let now = Instant::now();
        let end = self.candidate.lead(now).map_or(now + RETRY, |lead| lead.until.min(now + RETRY));
        let result = timeout_at(end, self.look()).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if let Err(error) = result {
            tracing::warn!(error, leads = self.until.is_some(), "Lease neither read nor written; tried again");
            if self.readiness.is_missing(LEASE) {
                self.readiness.missing(LEASE, error);
            }
            self.due = Instant::now() + RETRY;
        }
        self.tell();
    }

    async fn look(&mut self) -> Result<(), String> {
        let read = self.store.read().await?;
        // One that stands by is ready, too.
        self.readiness.there(LEASE);
        let now = Instant::now();
        let (record, version) = read.map_or((None, None), |(record, version)| (Some(record), Some(version)));
        self.candidate.see(record, now);
        self.due = match self.candidate.decide(now) {
            Action::Wait(time) => time,
            Action::Renew(time) if now < time => time,
            Action::Renew(_) | Action::TakeOver => {
                // One that was named, but leads no more, takes it over anew: nobody is to act in two epochs at a time.
                self.tell();
                let record = self.candidate.claim(Timestamp::now());
                let begun = Instant::now();
                self.store.write(&record, version).await?;
                self.candidate.wrote(record, begun);
                begun + RENEW_INTERVAL
            }
        };
        Ok(())
    }

    /// Tells the others whether this process leads.
    fn tell(&mut self) {
        self.candidate.hear(*self.heard.1.borrow_and_update());
        match (self.candidate.lead(Instant::now()), &self.until) {
            (Some(lead), Some((epoch, until))) if lead.epoch == *epoch && prolong(until, lead.until) => {}
            (Some(Lead { epoch, until }), _) => {
                tracing::info!(%epoch, "leads");
                let (sender, receiver) = watch::channel(until);
                self.until = Some((epoch, sender));
                self.terms.send_replace(Some(Term::new(epoch, receiver, Arc::clone(&self.heard.0))));
            }
            (None, Some((epoch, _))) => {
                tracing::warn!(%epoch, "leads no more");
                self.until = None;
                self.terms.send_replace(None);
            }
            (None, None) => {}
        }
        self.metrics.leads(self.until.is_some());
    }

    /// Lets the next one lead at once, if this one does.
    async fn release(mut self) {
        self.until = None;
        self.terms.send_replace(None);
        self.metrics.leads(false);
        let released = timeout(RETRY, async {
            let Some((record, version)) = self.store.read().await? else { return Ok(()) };
            self.candidate.see(Some(record), Instant::now());
            let Some(record) = self.candidate.release(Timestamp::now()) else { return Ok(()) };
            self.store.write(&record, Some(version)).await
        });
        match released.await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(()) => {}
            Err(error) => tracing::warn!(error, "Lease not released: whoever follows waits until it runs out"),
        }
    }
}

/// Prolongs a term, unless it is over: whoever has noticed that acts in it no more, and needs another.
fn prolong(until: &watch::Sender<Instant>, later: Instant) -> bool {
    let mut lasts = false;
    until.send_if_modified(|until| {
        lasts = Instant::now() < *until;
        if lasts {
            *until = later;
        }
        lasts
    });
    lasts
}

#[cfg(test)]
mod tests;
