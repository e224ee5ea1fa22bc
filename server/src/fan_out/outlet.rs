//! The way to one connection. Whoever sends to a member, one or many, goes through here and nowhere else.

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicBool, Ordering},
};

use socketioxide::{SendError as EngineError, SocketError, adapter::LocalAdapter, socket::Socket};

use super::Message;
use crate::transport::Transport;

/// Packets that may wait for one connection. One more, and the connection is cut: it reads too slowly.
pub const QUEUE_PACKETS_MAX: usize = 1024;

/// Why a message did not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is gone.
    Closed,
    /// Its queue is full: the client reads too slowly.
    Full,
}

/// The way to one connection, through the engine's own queue.
#[derive(Debug)]
pub struct Outlet {
    // Weak: the socket owns the session, which owns this.
    socket: Weak<Socket<LocalAdapter>>,
    transport: Arc<Transport>,
    /// True once the client has been told that it is connected.
    open: AtomicBool,
    /// What came before that; `None` after it.
    held: Mutex<Option<Vec<Arc<Message>>>>,
}

impl Outlet {
    /// The outlet of `socket`, which runs over `transport`.
    pub fn new(socket: &Arc<Socket<LocalAdapter>>, transport: Arc<Transport>) -> Self {
        Self { socket: Arc::downgrade(socket), transport, open: AtomicBool::new(false), held: Mutex::new(Some(Vec::new())) }
    }

    /// Lets messages out, first those that came before: the CONNECT reply is on its way.
    ///
    /// # Errors
    ///
    /// [`SendError`] when one of them was not queued.
    pub fn open(&self) -> Result<(), SendError> {
        // Under the lock, so that whoever sends meanwhile comes after them.
        let mut held = self.held.lock().expect("no panic under this lock");
        let result = held.take().into_iter().flatten().try_for_each(|message| self.pass(&message));
        self.open.store(true, Ordering::Release);
        result
    }

    /// Queues `message`. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the message was not queued.
    pub fn send(&self, message: &Arc<Message>) -> Result<(), SendError> {
        if !self.open.load(Ordering::Acquire)
            && let Some(held) = &mut *self.held.lock().expect("no panic under this lock")
        {
            if held.len() >= QUEUE_PACKETS_MAX {
                return Err(SendError::Full);
            }
            held.push(message.clone());
            return Ok(());
        }
        self.pass(message)
    }

    fn pass(&self, message: &Message) -> Result<(), SendError> {
        let socket = self.socket.upgrade().ok_or(SendError::Closed)?;
        // A tuple spreads into the arguments of the event: the data goes out as it came in.
        socket.emit(&message.event, &(&*message.data,)).map_err(|error| match error {
            EngineError::Socket(SocketError::InternalChannelFull) => SendError::Full,
            _ => SendError::Closed,
        })
    }

    /// Ends the connection so that the client comes back by itself: its transport is cut. True the first time.
    pub fn cut(&self) -> bool {
        self.transport.cut()
    }

    /// True once it was cut.
    pub fn is_cut(&self) -> bool {
        self.transport.has_ended()
    }

    /// Ends the connection for good: the client is told, so that it does not come back by itself, and what is left of the
    /// transport is cut soon after.
    pub fn disconnect(&self) {
        let told = self.open.load(Ordering::Acquire) && self.socket.upgrade().is_some_and(|socket| socket.disconnect().is_ok());
        if told {
            Transport::cut_soon(&self.transport);
        } else {
            self.transport.cut();
        }
    }
}
