//! Where connections wait for their turn when thousands come, go or speak at the same moment, so that messages don't wait for them.
//!
//! What is ready runs in the order in which it became so. When thousands of clients go and come back at once, what each of them costs
//! would stand before every message, and make it as late as all of them take together. So each step of a connection that comes or goes waits here,
//! and in one turn few of them are let through, with whatever else is ready in between. So do the readers of what clients send, of whom
//! more are let through: hearing that one client is gone costs little, but that of thousands as much as a message may take.

mod reader;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{runtime::Handle, sync::Semaphore, task::yield_now};

pub(crate) use self::reader::READERS_PER_TURN;
pub use self::reader::Reader;
use self::reader::Readers;

/// Steps that each worker takes in one turn. Each of them takes some tens of microseconds.
const STEPS_PER_TURN: usize = 2;

/// Lets few through in one turn, in the order in which they came.
#[derive(Clone)]
pub struct Turnstile(Arc<Inner>);

struct Inner {
    /// Steps that may still be taken in this turn.
    steps: Semaphore,
    stepping: AtomicUsize,
    readers: Mutex<Readers>,
    turning: AtomicBool,
}

/// Counts as waiting until it is dropped.
struct Stepping<'a>(&'a Inner);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Inner {
            steps: Semaphore::new(STEPS_PER_TURN),
            stepping: AtomicUsize::new(0),
            readers: Mutex::new(Readers::new()),
            turning: AtomicBool::new(false),
        }))
    }
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stepping, reading) = (&self.0.stepping, self.0.readers().waiting());
        formatter.debug_struct("Turnstile").field("stepping", stepping).field("reading", &reading).finish_non_exhaustive()
    }
}

impl Turnstile {
    /// Waits until a step may be taken; not at all while few are.
    pub async fn pass(&self) {
        if let Ok(step) = self.0.steps.try_acquire() {
            return step.forget();
        }
        let _stepping = Stepping::new(&self.0);
        self.turn();
        self.0.steps.acquire().await.expect("it is never closed").forget();
    }

    /// One more who reads what a client sends.
    pub fn reader(&self) -> Arc<Reader> {
        Reader::new(self.clone())
    }

    /// Turns as long as somebody waits.
    fn turn(&self) {
        if self.0.turning.swap(true, Ordering::SeqCst) {
            return;
        }
        let turnstile = self.clone();
        tokio::spawn(async move {
            let inner = &*turnstile.0;
            let workers = Handle::current().metrics().num_workers();
            loop {
                // All that is ready now runs before this goes on.
                yield_now().await;
                inner.steps.add_permits((STEPS_PER_TURN * workers).saturating_sub(inner.steps.available_permits()));
                inner.wake_readers(READERS_PER_TURN * workers);
                if inner.is_awaited() {
                    continue;
                }
                // Whoever began to wait just before that found it turning. In one order for all, or this looks for them before it is seen.
                inner.turning.store(false, Ordering::SeqCst);
                if !inner.is_awaited() || inner.turning.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        });
    }
}

impl Inner {
    fn is_awaited(&self) -> bool {
        self.stepping.load(Ordering::SeqCst) > 0 || self.readers().waiting() > 0
    }

    fn wake_readers(&self, passes: usize) {
        let woken = self.readers().turn(passes);
        woken.iter().for_each(|reader| reader.read());
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Stepping<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.stepping.fetch_add(1, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for Stepping<'_> {
    fn drop(&mut self) {
        self.0.stepping.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(turnstile.0.stepping.load(Ordering::Acquire), 0);
    }
}
