//! What one engine connection runs over, and how to end it from outside: the engine itself offers no way.

use std::{
    cell::RefCell,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    heartbeat::Polls,
    line::Line,
    session::Session,
    turnstile::{Reader, Turnstile},
};

/// How long a client that was told to go has to close its side.
const CUT_SOON: Duration = Duration::from_secs(1);

/// So many reads in a row, then other tasks get their turn: above all the one that writes the answers to what was read.
const READS_IN_A_ROW_MAX: u8 = 64;
/// What comes before the payload of a client's message of 126 to 65,535 bytes (RFC 6455 section 5.2).
const HEADER_BYTES: usize = 8;
/// Bytes taken from the kernel at once. What the reader has no room for yet waits in memory, which is freed when it is read.
const SCRATCH_BYTES: usize = 16 << 10;

thread_local! {
    // Readers keep their buffers for as long as they live, so theirs are small; this one serves all that are read on a thread.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// What the HTTP server, and then the engine, reads and writes: a [`Line`], which others write to as well.
#[derive(Debug)]
pub struct Wire {
    line: Arc<Line>,
    /// What was read from the stream and not handed on yet. Boxed, for there seldom is any.
    read_before: Option<Box<Bytes>>,
    reads_in_a_row: u8,
    /// The next read gets a header at most.
    header_alone: bool,
    /// By way of whom it is told that there is something to read, if it waits for its turn.
    reader: Option<Arc<Reader>>,
    end: End,
}

/// How far a connection is on its way out.
enum End {
    /// It is there.
    Open(Turnstile),
    /// The client has gone, and the reader learns it when that is its turn.
    Waits(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>),
    /// The reader knows.
    Told,
}

impl fmt::Debug for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open(_) => "Open",
            Self::Waits(_) => "Waits",
            Self::Told => "Told",
        })
    }
}

impl Wire {
    /// The engine's end of a line. That the client is gone is told by way of `turnstile`.
    pub const fn new(line: Arc<Line>, turnstile: Turnstile) -> Self {
        Self { line, read_before: None, reads_in_a_row: 0, header_alone: false, reader: None, end: End::Open(turnstile) }
    }

    /// The same, with bytes that come before all others.
    #[must_use]
    pub fn with_read_before(mut self, bytes: &[u8]) -> Self {
        let own = self.read_before.take().unwrap_or_default();
        self.keep(&[bytes, &own].concat());
        self
    }

    /// The same, which hands out the header of the first message alone. Tungstenite makes room for a whole payload besides what it has read of
    /// it, and keeps the buffer for good if room is left. The first message is CONNECT with its token, and by far the longest of most connections.
    #[must_use]
    pub fn with_header_alone(mut self) -> Self {
        self.header_alone = true;
        self
    }

    /// The same, which reads when that is its turn: it is one of thousands, and they may all have something to say.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        if let End::Open(turnstile) = &self.end {
            self.reader = Some(turnstile.reader());
        }
        self
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.line.stream();
        match &self.reader {
            Some(reader) => reader.poll(context, |context| stream.poll_read_ready(context)),
            None => stream.poll_read_ready(context),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.read_before = (!bytes.is_empty()).then(|| Box::new(Bytes::copy_from_slice(bytes)));
    }

    /// The line.
    pub const fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.line.abandon();
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.reads_in_a_row >= READS_IN_A_ROW_MAX {
            self.reads_in_a_row = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.reads_in_a_row += 1;
        let room = if self.header_alone { buffer.remaining().min(HEADER_BYTES) } else { buffer.remaining() };
        if let Some(before) = &mut self.read_before {
            let bytes = before.split_to(before.len().min(room));
            if before.is_empty() {
                self.read_before = None;
            }
            self.header_alone = false;
            self.line.hear(&bytes);
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        loop {
            if let End::Waits(turn) = &mut self.end {
                let result = ready!(turn.as_mut().poll(context));
                self.end = End::Told;
                return Poll::Ready(result);
            }
            if self.poll_read_ready(context)?.is_pending() {
                self.reads_in_a_row = 0;
                return Poll::Pending;
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let length = self.line.read(scratch)?;
                let (now, later) = scratch[..length].split_at(length.min(room));
                self.header_alone = false;
                self.line.hear(now);
                buffer.put_slice(now);
                self.keep(later);
                Ok(length)
            });
            match (read, &self.end) {
                (Err(error), _) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
                (read @ (Ok(0) | Err(_)), End::Open(turnstile)) => {
                    let turnstile = turnstile.clone();
                    self.end = End::Waits(Box::pin(async move {
                        turnstile.pass().await;
                        read.map(drop)
                    }));
                }
                (read, _) => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.line.poll_write(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.line.poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.poll_shutdown(context)
    }
}

/// One engine connection: a WebSocket, or the requests of one long-polling session and the WebSocket that it may upgrade to.
/// The engine keeps it with the request that opened the connection.
#[derive(Debug)]
pub struct Transport {
    /// The page's origin, for the handshake.
    pub origin: Option<Box<str>>,
    /// True when the page came from this very host.
    pub same_origin: bool,
    /// The session that was let in last. Weak: its outlet holds this transport, and it is to end with the engine's socket.
    pub session: Mutex<Weak<Session>>,
    /// What its requests wait for, if it began as long-polling.
    pub polls: Option<Arc<Polls>>,
    line: Mutex<Weak<Line>>,
    ended: AtomicBool,
    silent: AtomicBool,
}

impl Transport {
    /// A transport opened by a page of `origin`, as a WebSocket unless there are `polls`.
    pub fn new(origin: Option<&str>, same_origin: bool, polls: Option<Arc<Polls>>) -> Arc<Self> {
        Arc::new(Self {
            origin: origin.map(Into::into),
            same_origin,
            session: Mutex::default(),
            polls,
            line: Mutex::default(),
            ended: AtomicBool::new(false),
            silent: AtomicBool::new(false),
        })
    }

    /// Remembers the line that carries the WebSocket. False when another one does, or is about to.
    pub fn carried_by(&self, line: Weak<Line>) -> bool {
        let mut carries = self.line.lock().expect("no panic under this lock");
        if carries.strong_count() > 0 {
            return false;
        }
        *carries = line;
        drop(carries);
        if self.has_ended() {
            self.cut();
        }
        true
    }

    /// The line, once it carries the session as WebSocket frames.
    pub fn line(&self) -> Option<Arc<Line>> {
        let line = self.line.lock().expect("no panic under this lock").upgrade();
        line.filter(|line| line.carries_frames())
    }

    /// The session has left long-polling.
    pub fn upgraded(&self) {
        self.polls.iter().for_each(|polls| polls.upgraded());
        let session = self.session.lock().expect("no panic under this lock").upgrade();
        if let Some(session) = session {
            session.upgraded();
        }
    }

    /// Ends the connection: the stream is shut down, polling requests are answered as of an unknown session. True the first time.
    pub fn cut(&self) -> bool {
        let first = !self.ended.swap(true, Ordering::AcqRel);
        let line = self.line.lock().expect("no panic under this lock").upgrade();
        line.iter().for_each(|line| line.end());
        self.polls.iter().for_each(|polls| polls.end());
        first
    }

    /// Ends it, because its long-polling client said nothing when it was asked.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::Release);
        self.cut();
    }

    /// True once its client said nothing when it was asked while it was long-polling.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// Ends the connection after the client has had a moment to do so.
    pub fn cut_soon(transport: &Arc<Self>) {
        let transport = Arc::downgrade(transport);
        tokio::spawn(async move {
            tokio::time::sleep(CUT_SOON).await;
            if let Some(transport) = transport.upgrade() {
                transport.cut();
            }
        });
    }

    /// True once it was cut.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Transport {
    /// The engine has let go of the session.
    fn drop(&mut self) {
        self.polls.iter().for_each(|polls| polls.end());
    }
}
