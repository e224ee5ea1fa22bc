//! Tokens that expire under open sockets.
//!
//! Each tenant keeps its sessions by the second in which something is due for them: one entry of an ordered map for each, some forty bytes, put in
//! and taken out in microseconds. One task looks once a second at what has come due. A timer for each connection would cost a task each; and
//! what counts here is the wall clock, which timers don't follow when it is set.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use carillon_tenant::ConnectionId;
use tokio_util::sync::CancellationToken;

use crate::{core::Core, fan_out::unix_time, session::Session};

/// Between two looks at what has come due: how late an end may be.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Sessions that are seen to in a row; then other tasks get their turn. Tokens of a whole tenant may expire in one second.
const SESSIONS_IN_A_ROW_MAX: usize = 256;

/// A tenant's sessions by when something is next due for them, in seconds of Unix time.
#[derive(Debug)]
pub struct Expiries<T = Arc<Session>>(Mutex<BTreeMap<(i64, ConnectionId), T>>);

impl<T> Default for Expiries<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Expiries<T> {
    /// Notes that something is due at `at`.
    pub fn insert(&self, at: i64, id: ConnectionId, session: T) {
        self.lock().insert((at, id), session);
    }

    /// Forgets what was due at `at`.
    pub fn remove(&self, at: i64, id: ConnectionId) {
        self.lock().remove(&(at, id));
    }

    /// Takes out at most `max` of those for whom something is due at `now`, the earliest first.
    fn take_due(&self, now: i64, max: usize) -> Vec<T> {
        let mut due = Vec::new();
        let mut expiries = self.lock();
        while due.len() < max
            && let Some(first) = expiries.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(i64, ConnectionId), T>> {
        self.0.lock().expect("no panic under this lock")
    }
}

/// Warns and ends sessions when it is time, until `stop`.
pub async fn watch(core: Arc<Core>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
        let view = Arc::clone(&core.config.view());
        for tenant in view.tenants() {
            loop {
                let now = unix_time();
                let due = tenant.expiries.take_due(now, SESSIONS_IN_A_ROW_MAX);
                for session in &due {
                    session.expire(now);
                }
                if due.len() < SESSIONS_IN_A_ROW_MAX {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_due_once_and_the_earliest_first() {
        let expiries = Expiries::default();
        for (at, id) in [(30, 1), (10, 2), (20, 3), (10, 4), (40, 5)] {
            expiries.insert(at, ConnectionId(id), id);
        }
        expiries.remove(20, ConnectionId(3));
        expiries.remove(21, ConnectionId(5));
        assert_eq!(expiries.take_due(9, 10), [] as [u64; 0]);
        assert_eq!(expiries.take_due(30, 2), [2, 4]);
        assert_eq!(expiries.take_due(30, 2), [1]);
        assert_eq!(expiries.take_due(i64::MAX, 2), [5]);
    }

    #[test]
    fn of_a_hundred_thousand_each_is_due_in_its_own_second() {
        let expiries = Expiries::default();
        for id in 0..100_000_i64 {
            expiries.insert(id % 3600, ConnectionId(id.unsigned_abs()), id);
        }
        for now in 0..3600 {
            let due = expiries.take_due(now, usize::MAX);
            assert!(due.len() >= 27 && due.iter().all(|id| id % 3600 == now), "{now}: {due:?}");
        }
        assert_eq!(expiries.take_due(i64::MAX, 1), [] as [i64; 0]);
    }
}
