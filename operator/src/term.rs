//! A time of leading, as those see it who act in it.

use std::{pin::pin, sync::Arc, task::Poll};

use carillon_tenant::Epoch;
use tokio::{sync::watch, time::Instant};

/// A time of leading. Whoever acts as the leader holds one, and asks it before each act.
#[derive(Clone, Debug)]
pub struct Term {
    epoch: Epoch,
    /// Renewed with the Lease; without a sender it is over.
    until: watch::Receiver<Instant>,
    heard: Arc<watch::Sender<Epoch>>,
}

impl Term {
    /// A term in `epoch` that lasts as long as `until` says; `heard` is told of later epochs.
    pub const fn new(epoch: Epoch, until: watch::Receiver<Instant>, heard: Arc<watch::Sender<Epoch>>) -> Self {
        Self { epoch, until, heard }
    }

    /// Its epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// False once it is over. Asks the clock, too: a process that was paused learns nothing else in time.
    pub fn lasts(&self) -> bool {
        self.until.has_changed().is_ok() && Instant::now() < *self.until.borrow() && *self.heard.borrow() <= self.epoch
    }

    /// Tells that a server was pushed in `epoch`. If that is a later one, this term is over before anyone acts in it again.
    pub fn heard(&self, epoch: Epoch) {
        self.heard.send_if_modified(|latest| {
            let later = epoch > *latest;
            *latest = epoch.max(*latest);
            later
        });
    }

    /// Does `work` as long as the term lasts; `None` when it was over before.
    pub async fn during<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut over = pin!(self.over());
        std::future::poll_fn(|context| {
            if !self.lasts() || over.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Waits until it is over.
    async fn over(&self) {
        let mut until = self.until.clone();
        while self.lasts() {
            let end = *until.borrow_and_update();
            tokio::select! {
                changed = until.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(end) => {}
            }
        }
    }
}
