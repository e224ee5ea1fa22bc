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
mod packet;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{
    hint,
    io::{self, IoSlice, Read},
    net::Shutdown,
    os::fd::AsRawFd,
    str,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use carillon_tenant::ConnectionId;
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, timeout_at},
};

pub use self::packet::MARK;
use self::{backlog::Backlog, frame::Payload, packet::Packet, upgrade::Upgrade};
use crate::{
    heartbeat::{self, Pulse},
    transport::Transport,
};

/// Bytes that may wait for a client. One more, and the connection ends: it reads too slowly.
pub const BACKLOG_BYTES_MAX: usize = 1 << 20;
/// While so many bytes wait, the engine's own packets wait in its queue, which is bounded, too.
const ENGINE_WAITS_BYTES: usize = 64 << 10;

/// A ping of Engine.IO.
static PING: Bytes = Bytes::from_static(&[0x81, 1, b'2']);

/// Something came from the client since it was asked.
const HEARD: u8 = 1;
/// The client is about to upgrade.
const UPGRADING: u8 = 2;

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
    /// Asks whether the client is there. Bytes may wait for it for as long as an answer to that may take.
    pulse: Arc<Pulse>,
    /// What is asked on each read, without the lock.
    signs: AtomicU8,
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
    fault: Option<Fault>,
}

/// What a client did not do in time, so that its line was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Read what waited for it.
    Overdue,
    /// Say anything when it was asked whether it is there.
    Silent,
}

/// What goes over the line.
#[derive(Debug, Default)]
enum Carries {
    /// HTTP.
    #[default]
    Http,
    /// WebSocket frames, of a session that is still long-polling: what its client sent there.
    Probe(Box<(Upgrade, Weak<Transport>)>),
    /// WebSocket frames.
    Frames,
}

#[derive(Debug)]
struct Direct {
    connection: ConnectionId,
    /// The mark has not come by yet.
    before_mark: bool,
    /// What waits for that, or for attachments. Boxed, for there seldom is any.
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Line {
    /// The line of an accepted stream, to be watched by `pulse` once it carries a session.
    pub fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Arc<Self> {
        Arc::new(Self { stream, pulse, signs: AtomicU8::new(0), state: Mutex::default() })
    }

    /// From now on it carries WebSocket frames.
    pub fn carry_frames(self: &Arc<Self>) {
        self.lock().carries = Carries::Frames;
        self.pulse.watch(self);
    }

    /// From now on it carries WebSocket frames, and the session of `transport` once that has upgraded.
    pub fn carry_probe(&self, transport: Weak<Transport>) {
        self.lock().carries = Carries::Probe(Box::new((Upgrade::default(), transport)));
        self.signs.fetch_or(UPGRADING, Ordering::AcqRel);
    }

    /// Brings into this core's cache what sending needs. Takes no lock, so that a caller can do so for many at a time.
    pub fn fetch(&self) {
        hint::black_box((self.state.is_poisoned(), self.signs.load(Ordering::Relaxed), self.stream.as_raw_fd()));
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
        let held = (!first.is_empty()).then(|| Box::new(Held { bytes: first.iter().map(Bytes::len).sum(), frames: first }));
        state.direct = Some(Direct { connection, before_mark: true, held });
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
        let held = direct.held.get_or_insert_default();
        if !held.frames.is_empty() && held.bytes + frames.len() > BACKLOG_BYTES_MAX {
            return Err(SendError::Full);
        }
        held.bytes += frames.len();
        held.frames.push(frames.clone());
        Ok(())
    }

    /// Asks the client whether it is there. False when that can't be right now.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the line has ended.
    pub(crate) fn ask(self: &Arc<Self>) -> Result<bool, SendError> {
        let mut state = self.lock();
        if state.ended || state.closing {
            return Err(SendError::Closed);
        }
        if state.attachments > 0 {
            return Ok(false);
        }
        self.signs.fetch_and(!HEARD, Ordering::AcqRel);
        self.put(&mut state, &PING, |from| PING.slice(from..)).map_err(|_| SendError::Closed)?;
        Ok(true)
    }

    /// Notes what came from the client.
    pub(crate) fn hear(self: &Arc<Self>, bytes: &[u8]) {
        if self.signs.fetch_or(HEARD, Ordering::AcqRel) & UPGRADING != 0 {
            self.hear_upgrade(bytes);
        }
    }

    fn hear_upgrade(self: &Arc<Self>, bytes: &[u8]) {
        let mut state = self.lock();
        let Carries::Probe(probe) = &mut state.carries else { return };
        let (upgrade, transport) = &mut **probe;
        if !upgrade.read(bytes) {
            return;
        }
        let transport = transport.upgrade();
        state.carries = Carries::Frames;
        drop(state);
        self.signs.fetch_and(!UPGRADING, Ordering::AcqRel);
        self.pulse.watch_upgraded(self);
        // Whatever the engine has queued comes over this line from now on: no poll is served while it upgrades.
        transport.iter().for_each(|transport| transport.upgraded());
    }

    /// Whether something came from the client since it was asked.
    pub(crate) fn was_heard(&self) -> bool {
        self.signs.load(Ordering::Acquire) & HEARD != 0
    }

    /// Ends the line: the client did not say anything when it was asked.
    pub(crate) fn fall_silent(&self) {
        self.fail(&mut self.lock(), Fault::Silent);
    }

    /// What the line was ended for, if that was the client's fault.
    pub fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    fn fail(&self, state: &mut State, fault: Fault) {
        if !state.ended {
            state.fault = Some(fault);
            self.end_locked(state);
        }
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
        let Carries::Probe(probe) = std::mem::take(&mut state.carries) else { return };
        drop(state);
        // The engine would leave the session between the two transports.
        if let Some(transport) = probe.1.upgrade() {
            transport.cut();
        }
    }

    /// The stream, for reading.
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Takes what the kernel has. What does not fill `buffer` is all there was, so that the next read waits without asking the kernel again.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut partial = None;
        let result = self.stream.try_io(Interest::READABLE, || {
            let length = (&*SockRef::from(&self.stream)).read(buffer)?;
            if 0 < length && length < buffer.len() {
                partial = Some(length);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(length)
        });
        partial.map_or(result, Ok)
    }

    pub(crate) fn poll_write(self: &Arc<Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if matches!(state.carries, Carries::Http) {
            drop(state);
            return self.poll_write_http(context, slices);
        }
        if state.backlog.bytes() >= ENGINE_WAITS_BYTES {
            state.waiter = Some(context.waker().clone());
            return Poll::Pending;
        }
        // The engine writes one buffer at a time.
        let Some(bytes) = slices.iter().find(|slice| !slice.is_empty()) else { return Poll::Ready(Ok(0)) };
        let passed = self.pass_on(&mut state, bytes);
        if passed.is_err() {
            self.end_locked(&mut state);
        }
        Poll::Ready(passed.map(|()| bytes.len()))
    }

    fn poll_write_http(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Takes a write of the engine.
    fn pass_on(self: &Arc<Self>, state: &mut State, bytes: &[u8]) -> io::Result<()> {
        let (mut from, mut to) = (0, 0);
        while to < bytes.len() {
            let (payload, length) = frame::first(&bytes[to..]).map_err(|_| io::Error::other("the engine wrote a part of a frame"))?;
            let start = to;
            to += length;
            match payload {
                Payload::Text(message) => match Packet::of(message) {
                    Packet::Attachments(count) => state.attachments = count,
                    Packet::Open => {
                        self.put_copy(state, &bytes[from..start])?;
                        from = to;
                        let sid = str::from_utf8(message).ok().and_then(heartbeat::sid_of).unwrap_or_default();
                        let open = self.pulse.heartbeat().open_packet(sid, "");
                        let open = frame::text(&[&open]);
                        self.put(state, &open, |from| open.slice(from..))?;
                    }
                    // The engine's own, of which there is one at the beginning.
                    Packet::Ping => {
                        self.put_copy(state, &bytes[from..start])?;
                        from = to;
                    }
                    Packet::Mark(connection) => {
                        self.put_copy(state, &bytes[from..start])?;
                        from = to;
                        let ours = state.direct.as_mut().filter(|direct| direct.connection == connection);
                        ours.into_iter().for_each(|direct| direct.before_mark = false);
                        self.let_go(state)?;
                    }
                    Packet::Other => {}
                },
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
        self.put_copy(state, &bytes[from..])
    }

    /// Writes what was held.
    fn let_go(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.attachments > 0 {
            return Ok(());
        }
        let Some(direct) = state.direct.as_mut().filter(|direct| !direct.before_mark) else { return Ok(()) };
        let held = direct.held.take();
        held.iter().flat_map(|held| &held.frames).try_for_each(|frames| self.put(state, frames, |from| frames.slice(from..)))
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
            match self.write(bytes) {
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

    /// Writes as much as the kernel takes. The kernel is asked at once: whether tokio takes the stream for writable stands elsewhere in memory, and
    /// is not worth a miss for each member of a room.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match SockRef::from(&self.stream).send(bytes) {
            // Once more, so that tokio sees it and waits for the next event.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.try_write(bytes),
            result => result,
        }
    }

    /// Writes the backlog as the client reads.
    async fn flush(self: Arc<Self>) {
        loop {
            let Some(oldest) = self.lock().backlog.oldest() else { return };
            let ready = timeout_at(oldest + self.pulse.heartbeat().timeout, self.stream.writable()).await;
            let mut state = self.lock();
            match ready {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.end_locked(&mut state),
                Err(_) => self.fail(&mut state, Fault::Overdue),
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
