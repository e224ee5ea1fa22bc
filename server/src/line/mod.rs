//! One TCP connection, and everybody who writes to it: the HTTP server and then the engine, through a [`Wire`](crate::transport::Wire),
//! and publishers, who write whole WebSocket frames past the engine's queue, its task and its buffers.
//!
//! What makes that safe:
//! - The engine's writes are taken whole or not at all, so what was taken ends where a frame does. They are read on the way: nothing gets
//!   between a packet and the attachments that belong to it.
//! - Publishers begin at a mark that stands in the engine's own queue: all that was queued before is written by then, and what they sent
//!   meanwhile was held. The mark itself never leaves the server.
//! - What the kernel doesn't take waits, whoever wrote it, in one backlog, with a bound in bytes and in age. Beyond either the connection ends.

mod backlog;
pub mod frame;
mod head;
mod packet;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use carillon_tenant::ConnectionId;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

pub use self::packet::MARK;
use self::{backlog::Backlog, frame::Payload, head::Head, packet::Packet};
use crate::transport::Transport;

/// Bytes that may wait for a client. One more, and the connection ends: it reads too slowly.
pub const BACKLOG_BYTES_MAX: usize = 1 << 20;
/// While so many bytes wait, the engine's own packets wait in its queue, which is bounded, too.
const ENGINE_WAITS_BYTES: usize = 64 << 10;

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is gone.
    Closed,
    /// Too much waits already: the client reads too slowly.
    Full,
}

/// One TCP connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    /// How long bytes may wait for the client.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    carries: Carries,
    /// Whose publishers may write.
    direct: Option<Direct>,
    /// Binary messages that the engine still owes to a packet it has begun.
    attachments: usize,
    /// What the kernel has not taken.
    backlog: Backlog,
    flushing: bool,
    /// The engine waits for the backlog.
    waiter: Option<Waker>,
    /// Nobody writes any more; the stream is shut down when the backlog is empty.
    closing: bool,
    ended: bool,
    /// The client did not read what waited, in time.
    overdue: bool,
}

/// What goes over the line.
#[derive(Debug, Default)]
enum Carries {
    /// HTTP.
    #[default]
    Http,
    /// The answer to a request to upgrade the session of this transport.
    Answer(Head, Weak<Transport>),
    /// WebSocket frames, of a session that is still long-polling.
    Probe(Weak<Transport>),
    /// WebSocket frames.
    Frames,
}

#[derive(Debug)]
struct Direct {
    connection: ConnectionId,
    /// The mark has not come by yet.
    before_mark: bool,
    held: Vec<Bytes>,
    held_bytes: usize,
}

impl Line {
    /// The line of an accepted stream. What waits for the client for longer than `patience` ends it.
    pub fn new(stream: TcpStream, patience: Duration) -> Arc<Self> {
        Arc::new(Self { stream, patience, state: Mutex::default() })
    }

    /// From now on it carries WebSocket frames.
    pub fn carry_frames(&self) {
        self.lock().carries = Carries::Frames;
    }

    /// It will carry WebSocket frames once the server has agreed to that, and the session of `transport` once that has upgraded.
    pub fn expect_upgrade(&self, transport: Weak<Transport>) {
        self.lock().carries = Carries::Answer(Head::default(), transport);
    }

    /// True while it carries a session as WebSocket frames.
    pub fn carries_frames(&self) -> bool {
        matches!(self.lock().carries, Carries::Frames)
    }

    /// Holds what is sent for `connection`, `first` before all, until its mark comes by. Nobody else sends from now on.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the line has ended.
    pub fn await_mark(&self, connection: ConnectionId, first: Vec<Bytes>) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.ended {
            return Err(SendError::Closed);
        }
        let held_bytes = first.iter().map(Bytes::len).sum();
        state.direct = Some(Direct { connection, before_mark: true, held: first, held_bytes });
        Ok(())
    }

    /// Takes nothing more for `connection`.
    pub fn release(&self, connection: ConnectionId) {
        let mut state = self.lock();
        if state.direct.as_ref().is_some_and(|direct| direct.connection == connection) {
            state.direct = None;
        }
    }

    /// Writes whole frames for `connection`, or lets them wait. Never blocks.
    ///
    /// # Errors
    ///
    /// [`SendError`] when they were not taken.
    pub fn send(self: &Arc<Self>, connection: ConnectionId, frames: &Bytes) -> Result<(), SendError> {
        let mut state = self.lock();
        let between = state.attachments == 0;
        if state.ended || state.closing {
            return Err(SendError::Closed);
        }
        let Some(direct) = state.direct.as_mut().filter(|direct| direct.connection == connection) else { return Err(SendError::Closed) };
        if !direct.before_mark && between {
            // One message may be larger than that.
            if !state.backlog.is_empty() && state.backlog.bytes() + frames.len() > BACKLOG_BYTES_MAX {
                return Err(SendError::Full);
            }
            return self.put(&mut state, frames, |from| frames.slice(from..)).map_err(|_| SendError::Closed);
        }
        if !direct.held.is_empty() && direct.held_bytes + frames.len() > BACKLOG_BYTES_MAX {
            return Err(SendError::Full);
        }
        direct.held_bytes += frames.len();
        direct.held.push(frames.clone());
        Ok(())
    }

    /// True when the client did not read in time what waited for it, and the line was ended for that.
    pub fn overdue(&self) -> bool {
        self.lock().overdue
    }

    /// Shuts the stream down in both directions; whoever reads or writes it finds it closed.
    pub fn end(&self) {
        self.end_locked(&mut self.lock());
    }

    fn end_locked(&self, state: &mut State) {
        state.ended = true;
        state.direct = None;
        state.backlog = Backlog::default();
        state.waiter.take().into_iter().for_each(Waker::wake);
        SockRef::from(&self.stream).shutdown(Shutdown::Both).ok();
    }

    /// The engine, or the HTTP server, is gone: what waits still goes out.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing = true;
        if state.backlog.is_empty() {
            self.end_locked(&mut state);
        }
    }

    /// The stream, for reading.
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn poll_write(self: &Arc<Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if matches!(state.carries, Carries::Http | Carries::Answer(..)) {
            drop(state);
            return self.poll_write_http(context, slices);
        }
        if state.backlog.bytes() >= ENGINE_WAITS_BYTES {
            state.waiter = Some(context.waker().clone());
            return Poll::Pending;
        }
        // The engine writes one buffer at a time.
        let Some(bytes) = slices.iter().find(|slice| !slice.is_empty()) else { return Poll::Ready(Ok(0)) };
        let upgraded = match self.pass_on(&mut state, bytes) {
            Ok(upgraded) => upgraded,
            Err(error) => {
                self.end_locked(&mut state);
                return Poll::Ready(Err(error));
            }
        };
        drop(state);
        if let Some(transport) = upgraded.as_ref().and_then(Weak::upgrade) {
            transport.upgraded();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_http(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => break result?,
            }
        };
        let mut state = self.lock();
        if let Carries::Answer(head, transport) = &mut state.carries {
            let mut left = written;
            let read = slices.iter().try_for_each(|slice| {
                let part = &slice[..slice.len().min(left)];
                left -= part.len();
                head.read(part)
            });
            match read {
                Ok(()) if head.is_whole() => state.carries = Carries::Probe(transport.clone()),
                Ok(()) => {}
                Err(head::OtherAnswer) => state.carries = Carries::Http,
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Takes a write of the engine, and gives the transport whose session is upgraded with it.
    fn pass_on(self: &Arc<Self>, state: &mut State, bytes: &[u8]) -> io::Result<Option<Weak<Transport>>> {
        let (mut from, mut to) = (0, 0);
        let mut upgraded = None;
        while to < bytes.len() {
            let (payload, length) = frame::first(&bytes[to..]).map_err(|_| io::Error::other("the engine wrote a part of a frame"))?;
            let start = to;
            to += length;
            match payload {
                Payload::Text(message) => {
                    let packet = Packet::of(message);
                    if packet != Packet::Probe
                        && let Carries::Probe(transport) = &state.carries
                    {
                        upgraded = Some(transport.clone());
                        state.carries = Carries::Frames;
                    }
                    match packet {
                        Packet::Attachments(count) => state.attachments = count,
                        Packet::Mark(connection) => {
                            self.put_copy(state, &bytes[from..start])?;
                            from = to;
                            let ours = state.direct.as_mut().filter(|direct| direct.connection == connection);
                            ours.into_iter().for_each(|direct| direct.before_mark = false);
                            self.let_go(state)?;
                        }
                        Packet::Probe | Packet::Other => {}
                    }
                }
                Payload::Binary if state.attachments > 0 => {
                    state.attachments -= 1;
                    if state.attachments == 0 {
                        self.put_copy(state, &bytes[from..to])?;
                        from = to;
                        self.let_go(state)?;
                    }
                }
                Payload::Binary | Payload::Control => {}
            }
        }
        self.put_copy(state, &bytes[from..])?;
        Ok(upgraded)
    }

    /// Writes what was held.
    fn let_go(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.attachments > 0 {
            return Ok(());
        }
        let Some(direct) = state.direct.as_mut().filter(|direct| !direct.before_mark) else { return Ok(()) };
        direct.held_bytes = 0;
        let held = std::mem::take(&mut direct.held);
        held.iter().try_for_each(|frames| self.put(state, frames, |from| frames.slice(from..)))
    }

    fn put_copy(self: &Arc<Self>, state: &mut State, bytes: &[u8]) -> io::Result<()> {
        self.put(state, bytes, |from| Bytes::copy_from_slice(&bytes[from..]))
    }

    /// Writes `bytes`, or lets the rest of them wait, as `own` gives it.
    fn put(self: &Arc<Self>, state: &mut State, bytes: &[u8], own: impl FnOnce(usize) -> Bytes) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut written = 0;
        if state.backlog.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(count) if count == bytes.len() => return Ok(()),
                Ok(count) => written = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.end_locked(state);
                    return Err(error);
                }
            }
        }
        state.backlog.push(own(written), Instant::now());
        if !std::mem::replace(&mut state.flushing, true) {
            tokio::spawn(Arc::clone(self).flush());
        }
        Ok(())
    }

    /// Writes the backlog as the client reads.
    async fn flush(self: Arc<Self>) {
        loop {
            let Some(oldest) = self.lock().backlog.oldest() else { return };
            let ready = timeout_at(oldest + self.patience, self.stream.writable()).await;
            let mut state = self.lock();
            match ready {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.end_locked(&mut state),
                Err(_) => {
                    state.overdue = true;
                    self.end_locked(&mut state);
                }
            }
            if state.backlog.write(|slices| self.stream.try_write_vectored(slices)).is_err() {
                self.end_locked(&mut state);
            }
            if state.backlog.bytes() < ENGINE_WAITS_BYTES {
                state.waiter.take().into_iter().for_each(Waker::wake);
            }
            if state.backlog.is_empty() {
                state.flushing = false;
                if state.closing && !state.ended {
                    self.end_locked(&mut state);
                }
                return;
            }
        }
    }

    /// No more is written: ends our half once the backlog is empty.
    pub(crate) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if !state.backlog.is_empty() {
            state.waiter = Some(context.waker().clone());
            return Poll::Pending;
        }
        match SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
