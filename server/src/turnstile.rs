//! Where connections that come or go wait for their turn, so that messages don't wait for them.
//!
//! What is ready runs in the order in which it became so. When thousands of clients go and come back at the same moment, what each of them costs
//! would stand before every message, and make it as late as all of them take together. So each of these steps waits here, and in one
//! turn few of them are let through, with whatever else is ready in between.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{runtime::Handle, sync::Semaphore, task::yield_now};

/// Steps that each worker takes in one turn. Each of them takes some tens of microseconds.
const STEPS_PER_TURN: usize = 2;

/// Lets few through in one turn, in the order in which they came.
#[derive(Clone)]
pub struct Turnstile(Arc<Inner>);

struct Inner {
    /// Who may still pass in this turn.
    passes: Semaphore,
    waiting: AtomicUsize,
    turning: AtomicBool,
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a Inner);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Inner { passes: Semaphore::new(STEPS_PER_TURN), waiting: AtomicUsize::new(0), turning: AtomicBool::new(false) }))
    }
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Turnstile").field("waiting", &self.0.waiting).finish_non_exhaustive()
    }
}

impl Turnstile {
    /// Waits for a turn; not at all while few come.
    pub async fn pass(&self) {
        if let Ok(pass) = self.0.passes.try_acquire() {
            return pass.forget();
        }
        let _waiting = Waiting::new(&self.0);
        self.turn();
        self.0.passes.acquire().await.expect("it is never closed").forget();
    }

    /// Turns as long as somebody waits.
    fn turn(&self) {
        if self.0.turning.swap(true, Ordering::AcqRel) {
            return;
        }
        let turnstile = self.clone();
        tokio::spawn(async move {
            let inner = &*turnstile.0;
            let steps = STEPS_PER_TURN * Handle::current().metrics().num_workers();
            loop {
                // All that is ready now runs before this goes on.
                yield_now().await;
                inner.passes.add_permits(steps.saturating_sub(inner.passes.available_permits()));
                if inner.waiting.load(Ordering::Acquire) > 0 {
                    continue;
                }
                inner.turning.store(false, Ordering::Release);
                // Whoever began to wait just before that found it turning.
                if inner.waiting.load(Ordering::Acquire) == 0 || inner.turning.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }
}

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::AcqRel);
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn what_is_ready_runs_between_few_who_pass() {
        let turnstile = Turnstile::default();
        let passed = Arc::new(Mutex::new(Vec::new()));
        for number in 0..100 {
            let (turnstile, passed) = (turnstile.clone(), passed.clone());
            tokio::spawn(async move {
                turnstile.pass().await;
                passed.lock().unwrap().push(number);
            });
        }
        let mut turns = 0;
        while passed.lock().unwrap().len() < 100 {
            let before = passed.lock().unwrap().len();
            yield_now().await;
            turns += 1;
            let together = passed.lock().unwrap().len() - before;
            assert!(together <= 2 * STEPS_PER_TURN, "{together} passed while somebody else was ready");
            assert!(turns < 1000, "{} of 100 have passed", passed.lock().unwrap().len());
        }
        assert_eq!(*passed.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_holds_nobody_up() {
        let turnstile = Turnstile::default();
        for _ in 0..10 {
            let waiting = tokio::spawn({
                let turnstile = turnstile.clone();
                async move { turnstile.pass().await }
            });
            waiting.abort();
        }
        for _ in 0..10 {
            turnstile.pass().await;
        }
        while turnstile.0.turning.load(Ordering::Acquire) {
            yield_now().await;
        }
        assert_eq!(turnstile.0.waiting.load(Ordering::Acquire), 0);
    }
}
