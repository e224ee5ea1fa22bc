//! The way to one connection. Whoever sends to a member, one or many, goes through here and nowhere else.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use carillon_tenant::ConnectionId;
use socketioxide::{SendError as EngineError, SocketError, adapter::LocalAdapter, socket::Socket};

use super::Message;
use crate::{
    line::{Fault, Line, MARK, SendError},
    transport::Transport,
};

/// Packets that may wait for one connection in the engine's queue. One more, and the connection is cut: it reads too slowly.
pub const QUEUE_PACKETS_MAX: usize = 1024;

/// The way to one connection: straight to the line that carries its WebSocket, or through the engine's own queue while it is long-polling.
#[derive(Debug)]
pub struct Outlet {
    connection: ConnectionId,
    // Weak: the socket owns the session, which owns this.
    socket: Weak<Socket<LocalAdapter>>,
    transport: Arc<Transport>,
    /// Where messages go from the moment on that one went there.
    line: OnceLock<Arc<Line>>,
    path: Mutex<Path>,
}

/// Where messages go.
#[derive(Debug)]
enum Path {
    /// Nowhere yet: the client has not been told that it is connected.
    Held(Vec<Arc<Message>>),
    /// Into the engine's queue.
    Engine,
    /// To the line.
    Line,
}

impl Outlet {
    /// The outlet of `socket`, which runs over `transport`.
    pub fn new(connection: ConnectionId, socket: &Arc<Socket<LocalAdapter>>, transport: Arc<Transport>) -> Self {
        Self { connection, socket: Arc::downgrade(socket), transport, line: OnceLock::new(), path: Mutex::new(Path::Held(Vec::new())) }
    }

    /// Lets messages out, first those that came before: the CONNECT reply is on its way.
    ///
    /// # Errors
    ///
    /// [`SendError`] when one of them was not taken.
    pub fn open(&self) -> Result<(), SendError> {
        // Under the lock, so that whoever sends meanwhile comes after them.
        let mut path = self.lock();
        let Path::Held(held) = std::mem::replace(&mut *path, Path::Engine) else { return Ok(()) };
        match self.transport.line() {
            Some(line) => self.take(line, &mut path, held.iter().map(|message| message.frame().clone()).collect()),
            None => held.iter().try_for_each(|message| self.queue(message)),
        }
    }

    /// Leaves the engine's queue: the client has upgraded to a WebSocket.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the connection is to end.
    pub fn upgraded(&self) -> Result<(), SendError> {
        let mut path = self.lock();
        match (&*path, self.transport.line()) {
            (Path::Engine, Some(line)) => self.take(line, &mut path, Vec::new()),
            _ => Ok(()),
        }
    }

    /// Takes to the line. What was queued comes first: a mark at the end of the queue tells when all of it is written, and what is sent
    /// until then is held there, after `first`.
    fn take(&self, line: Arc<Line>, path: &mut Path, first: Vec<bytes::Bytes>) -> Result<(), SendError> {
        line.await_mark(self.connection, first)?;
        self.emit(MARK, &self.connection)?;
        *path = Path::Line;
        self.line.set(line).ok();
        Ok(())
    }

    /// Sends `message`. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the message was not taken.
    pub fn send(&self, message: &Arc<Message>) -> Result<(), SendError> {
        if let Some(line) = self.line.get() {
            return line.send(self.connection, message.frame());
        }
        let mut path = self.lock();
        match &mut *path {
            Path::Held(held) if held.len() >= QUEUE_PACKETS_MAX => Err(SendError::Full),
            Path::Held(held) => {
                held.push(message.clone());
                Ok(())
            }
            // Under the lock, so that none comes after the mark that was before it.
            Path::Engine => self.queue(message),
            Path::Line => {
                drop(path);
                self.send(message)
            }
        }
    }

    /// The line that messages go straight to.
    pub fn line(&self) -> Option<&Arc<Line>> {
        self.line.get()
    }

    fn queue(&self, message: &Message) -> Result<(), SendError> {
        // A tuple spreads into the arguments of the event: the data goes out as it came in.
        self.emit(&message.event, &(&*message.data,))
    }

    fn emit(&self, event: &str, data: &impl serde::Serialize) -> Result<(), SendError> {
        let socket = self.socket.upgrade().ok_or(SendError::Closed)?;
        socket.emit(event, data).map_err(|error| match error {
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

    /// What the client did not do in time, and was cut off for.
    pub fn fault(&self) -> Option<Fault> {
        self.line.get().map_or_else(|| self.transport.is_silent().then_some(Fault::Silent), |line| line.fault())
    }

    /// Ends the connection for good: the client is told, so that it does not come back by itself, and what is left of the
    /// transport is cut soon after.
    pub fn disconnect(&self) {
        let open = !matches!(*self.lock(), Path::Held(_));
        // The last thing that the client hears of this connection is the engine's.
        self.line.get().into_iter().for_each(|line| line.release(self.connection));
        let told = open && self.socket.upgrade().is_some_and(|socket| socket.disconnect().is_ok());
        if told {
            Transport::cut_soon(&self.transport);
        } else {
            self.transport.cut();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Path> {
        self.path.lock().expect("no panic under this lock")
    }
}
