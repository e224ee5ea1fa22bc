//! Places among what a tenant counts: taken at once or waited for, given back by drop.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use carillon_tenant::{Quotas, RoomName, UserId, push::FleetUsage};
use tokio::sync::{Notify, oneshot};

use super::{
    book::{Answer, Book, Claim},
    exchange, monotonic,
};
use crate::fan_out::Tenant;

/// A place that is taken, until this is dropped.
pub struct Place {
    counts: Arc<Counts>,
    claim: Claim,
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Place").field(&self.claim).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.counts.lock();
            match &self.claim {
                Claim::Connection(user) => state.book.release_connection(user),
                Claim::Member { room, .. } => state.book.release_member(room),
            }
        }
        self.counts.something_to_tell();
    }
}

/// What became of a claim, and the place, if there is one.
pub type Settled = (Answer, Option<Place>);

/// Who waits for a claim to be settled.
pub type Waiter = oneshot::Sender<Settled>;

/// What one tenant counts over the fleet, as this pod sees it.
pub struct Counts {
    // Weak: the tenant owns this.
    tenant: Weak<Tenant>,
    state: Mutex<State>,
    pub(super) changed: Notify,
}

pub(super) struct State {
    pub(super) book: Book<(Claim, Waiter)>,
    /// True while a task does the exchanges.
    pub(super) driven: bool,
}

impl fmt::Debug for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Counts").field("used", &self.used()).finish_non_exhaustive()
    }
}

impl Counts {
    /// The counts of a tenant on the pod of that name, which shares a Redis with others, or not.
    pub fn new(tenant: Weak<Tenant>, pod: &str, shared: bool) -> Arc<Self> {
        let state = State { book: Book::new(pod, shared), driven: false };
        Arc::new(Self { tenant, state: Mutex::new(state), changed: Notify::new() })
    }

    /// Takes a place among the connections of the tenant and of `user`, or says which limit stands against it.
    pub async fn connection(self: &Arc<Self>, user: &UserId, quotas: &Quotas) -> Settled {
        match self.claim(Claim::Connection(user.clone()), quotas) {
            Ok(answer) => answer,
            Err(waiting) => waiting.await.expect("whoever waits is answered"),
        }
    }

    /// Takes a place in a room, at once or later.
    ///
    /// # Errors
    ///
    /// What to wait for, when the answer is not there at once.
    pub fn member(self: &Arc<Self>, room: &RoomName, may_create: bool, quotas: &Quotas) -> Result<Settled, oneshot::Receiver<Settled>> {
        self.claim(Claim::Member { room: room.clone(), may_create }, quotas)
    }

    fn claim(self: &Arc<Self>, claim: Claim, quotas: &Quotas) -> Result<Settled, oneshot::Receiver<Settled>> {
        let (sender, receiver) = oneshot::channel();
        let now = self.lock().book.claim(claim.clone(), quotas, monotonic(), (claim, sender));
        self.something_to_tell();
        match now {
            Some(((claim, _), answer)) => Ok((answer, self.place(claim, answer))),
            None => Err(receiver),
        }
    }

    /// The place that goes with an answer.
    pub(super) fn place(self: &Arc<Self>, claim: Claim, answer: Answer) -> Option<Place> {
        match answer {
            Answer::Taken { .. } | Answer::TakenBeyond(_) => Some(Place { counts: self.clone(), claim }),
            Answer::Refused(_) => None,
        }
    }

    /// Another pod lacks places.
    pub fn recalled(&self) {
        self.lock().book.recalled(monotonic());
        self.something_to_tell();
    }

    /// Connections, users and rooms of this pod.
    pub fn used(&self) -> (u32, u32, u32) {
        self.lock().book.used()
    }

    /// What the fleet uses; `None` while that is not known.
    pub fn fleet(&self) -> Option<FleetUsage> {
        self.lock().book.fleet()
    }

    /// Sees to it that a task does the exchanges.
    pub(crate) fn something_to_tell(&self) {
        let start = {
            let mut state = self.lock();
            let idle = state.driven || state.book.is_alone();
            state.driven |= !idle;
            !idle
        };
        match self.tenant.upgrade().filter(|_| start) {
            Some(tenant) => _ = tokio::spawn(exchange::drive(tenant)),
            None => self.changed.notify_one(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}
