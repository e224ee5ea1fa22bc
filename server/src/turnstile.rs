//! Where connections wait for their turn when thousands come, go or speak at the same moment, so that messages don't wait for them.
//!
//! What is ready runs in the order in which it became so. When thousands of clients go and come back at once, what each of them costs
//! would stand before every message, and make it as late as all of them take together. So each step of a connection that comes or goes waits here,
//! and in one turn few of them are let through, with whatever else is ready in between. So do the readers of what clients send, of whom
//! more are let through: hearing that one client is gone costs little, but that of thousands as much as a message may take.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures::task::AtomicWaker;
use tokio::{runtime::Handle, sync::Semaphore, task::yield_now};

/// Steps that each worker takes in one turn. Each of them takes some tens of microseconds.
const STEPS_PER_TURN: usize = 2;
/// Readers that each worker wakes in one turn. Each of them takes a few microseconds, if all that it finds is that its client is gone.
pub(crate) const READERS_PER_TURN: usize = 32;

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

struct Readers {
    /// How many may still be woken in this turn.
    passes: usize,
    /// Each is here at most once.
    waiting: VecDeque<Arc<Reader>>,
}

/// Counts as waiting until it is dropped.
struct Stepping<'a>(&'a Inner);

/// Whoever reads what a client sends, and is woken when that is its turn.
pub struct Reader {
    turnstile: Turnstile,
    task: AtomicWaker,
    waits: AtomicBool,
}

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Inner {
            steps: Semaphore::new(STEPS_PER_TURN),
            stepping: AtomicUsize::new(0),
            readers: Mutex::new(Readers { passes: READERS_PER_TURN, waiting: VecDeque::new() }),
            turning: AtomicBool::new(false),
        }))
    }
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stepping, reading) = (&self.0.stepping, self.0.readers().waiting.len());
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
        Arc::new(Reader { turnstile: self.clone(), task: AtomicWaker::new(), waits: AtomicBool::new(false) })
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
        self.stepping.load(Ordering::SeqCst) > 0 || !self.readers().waiting.is_empty()
    }

    fn wake_readers(&self, passes: usize) {
        let mut readers = self.readers();
        let count = passes.min(readers.waiting.len());
        let woken: Vec<_> = readers.waiting.drain(..count).collect();
        readers.passes = passes - count;
        drop(readers);
        woken.iter().for_each(|reader| reader.read());
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Polls for what is to be read: `poll` gets the context of whoever wakes this reader, which wakes the task of `context` when it is its turn.
    pub fn poll<T>(self: &Arc<Self>, context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.task.register(context.waker());
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    fn read(&self) {
        // Sees what whoever found it waiting has seen before.
        self.waits.swap(false, Ordering::AcqRel);
        self.task.wake();
    }
}

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.waits.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut readers = self.turnstile.0.readers();
        let passes = readers.passes > 0;
        // Without a runtime, which is how it shuts down, there is nobody to turn.
        if passes || Handle::try_current().is_err() {
            readers.passes -= usize::from(passes);
            drop(readers);
            return self.read();
        }
        readers.waiting.push_back(self.clone());
        drop(readers);
        self.turnstile.turn();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").field("waits", &self.waits).finish_non_exhaustive()
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
    use std::{future::poll_fn, mem, task::Poll};

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
    async fn of_all_who_may_read_few_are_woken_in_a_turn() {
        const ALL: usize = 5 * READERS_PER_TURN;
        let turnstile = Turnstile::default();
        let (wakers, read) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        for number in 0..ALL {
            let (reader, wakers, read) = (turnstile.reader(), wakers.clone(), read.clone());
            let mut polled = false;
            tokio::spawn(poll_fn(move |context| {
                if mem::replace(&mut polled, true) {
                    read.lock().unwrap().push(number);
                    return Poll::Ready(());
                }
                reader.poll(context, |context| wakers.lock().unwrap().push(context.waker().clone()));
                Poll::Pending
            }));
        }
        while wakers.lock().unwrap().len() < ALL {
            yield_now().await;
        }
        // Each of them twice: that is one turn.
        mem::take(&mut *wakers.lock().unwrap()).into_iter().for_each(|waker| {
            waker.wake_by_ref();
            waker.wake();
        });
        for _ in 0..ALL {
            let before = read.lock().unwrap().len();
            yield_now().await;
            let together = read.lock().unwrap().len() - before;
            assert!(together <= 2 * READERS_PER_TURN, "{together} read while somebody else was ready");
        }
        assert_eq!(*read.lock().unwrap(), (0..ALL).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_reader_is_woken_where_nothing_turns() {
        let turnstile = Turnstile::default();
        turnstile.0.readers().passes = 0;
        let (task, woken) = (turnstile.reader(), Arc::new(AtomicBool::new(false)));
        struct Flag(Arc<AtomicBool>);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Release);
            }
        }
        let waker = Waker::from(Arc::new(Flag(woken.clone())));
        let told = task.poll(&mut Context::from_waker(&waker), |context| context.waker().clone());
        std::thread::spawn(move || told.wake()).join().unwrap();
        assert!(woken.load(Ordering::Acquire));
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
