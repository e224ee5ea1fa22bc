//! Whoever reads what a client sends, and is told that there is something when that is its turn.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures::task::AtomicWaker;
use tokio::runtime::Handle;

use super::Turnstile;

/// Readers that each worker wakes in one turn. Each of them takes a few microseconds, if all that it finds is that its client is gone.
pub(crate) const READERS_PER_TURN: usize = 32;

/// Those of one turnstile.
pub(super) struct Readers {
    /// How many may still be woken in this turn.
    passes: usize,
    /// Each is here at most once.
    waiting: VecDeque<Arc<Reader>>,
}

/// Whoever reads what a client sends, and is woken when that is its turn.
pub struct Reader {
    turnstile: Turnstile,
    task: AtomicWaker,
    waits: AtomicBool,
}

impl Readers {
    /// With a turn that has just begun.
    pub(super) const fn new() -> Self {
        Self { passes: READERS_PER_TURN, waiting: VecDeque::new() }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Begins a turn of so many: whose turn it is now.
    pub(super) fn turn(&mut self, passes: usize) -> Vec<Arc<Reader>> {
        let count = passes.min(self.waiting.len());
        self.passes = passes - count;
        self.waiting.drain(..count).collect()
    }
}

impl Reader {
    pub(super) fn new(turnstile: Turnstile) -> Arc<Self> {
        Arc::new(Self { turnstile, task: AtomicWaker::new(), waits: AtomicBool::new(false) })
    }

    /// Polls for what is to be read: `poll` gets the context of whoever wakes this reader, which wakes the task of `context` when it is its turn.
    pub fn poll<T>(self: &Arc<Self>, context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.task.register(context.waker());
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    pub(super) fn read(&self) {
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, mem, sync::Mutex, task::Poll};

    use tokio::task::yield_now;

    use super::*;

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
}
