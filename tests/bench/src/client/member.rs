//! One connection: a browser's WebSocket request, the handshake of its dialect, and then every packet into the ledger.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    time::Instant,
};

use super::{
    broadcast::FIRST,
    dialect::{Dialect, Incoming, Target},
    ledger::Ledger,
    polling::Polling,
    request::upgrade,
};
use crate::frame::{Frames, masked_text};

/// Larger than any frame of a stage, so that one read takes a whole delivery.
const READ_BUFFER_BYTES: usize = 4096;
/// A source address has about 28,000 ports; so many connections of one audience share one.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// A client that listens.
pub struct Member {
    stream: TcpStream,
    frames: Frames,
    session: Session,
}

/// How far the handshake is.
#[derive(PartialEq, Eq)]
enum Progress {
    AwaitingOpen,
    AwaitingConnect,
    /// The client was let in by another way, and finds out whether this one works.
    Probing,
    Joined,
}

struct Session {
    dialect: Dialect,
    progress: Progress,
    connect_packet: Vec<u8>,
    /// The number of the broadcast that has to come next.
    next: u64,
    acknowledged: u64,
    refused: u64,
    ledger: Arc<Ledger>,
}

/// An event that does next to nothing, so that what is measured is the way to it: leaving a room that the client is not in.
pub const LEAVE: &str = r#"427["rt:leave",{"room":"nowhere"}]"#;
/// The server did not let a client in: its tenant is at one of its limits.
#[derive(Debug)]
pub struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("refused: a quota is exceeded")
    }
}

impl std::error::Error for Refused {}

impl Member {
    /// Connects and authenticates; returns once the server has let the client in.
    pub async fn join(server: Target, index: usize, token: &str, ledger: Arc<Ledger>) -> Result<Self> {
        Self::join_by(TcpSocket::new_v4()?, server, index, token, ledger).await
    }

    /// The same, by a socket of one's own.
    pub async fn join_by(socket: TcpSocket, server: Target, index: usize, token: &str, ledger: Arc<Ledger>) -> Result<Self> {
        let stream = connect(socket, server, index).await?;
        let mut member = Self { stream, frames: Frames::default(), session: Session::new(server.dialect, token, ledger) };
        let mut buffer = [0; READ_BUFFER_BYTES];
        member.upgrade(&upgrade(server.dialect.path(), server.address, index), &mut buffer).await.context("WebSocket upgrade")?;
        if server.dialect.client_speaks_first() {
            member.session.introduce(&member.stream)?;
        }
        while member.session.progress != Progress::Joined {
            member.read(&mut buffer).await.context("handshake")?;
        }
        member.session.connect_packet = Vec::new();
        Ok(member)
    }

    /// The same as [`Member::join`], but as Socket.IO's clients do it unless told otherwise: by long-polling, which a WebSocket then takes the
    /// place of.
    pub async fn join_by_upgrade(server: Target, index: usize, token: &str, ledger: Arc<Ledger>) -> Result<Self> {
        let mut polling = Polling::open(connect(TcpSocket::new_v4()?, server, index).await?, server, index).await.context("open")?;
        polling.join(token).await.context("handshake by long-polling")?;
        // A client always has a request there for what comes next; the server has to answer it before it may go on by another way.
        polling.poll().await?;
        let stream = connect(TcpSocket::new_v4()?, server, index).await?;
        let mut member = Self { stream, frames: Frames::default(), session: Session::new(server.dialect, token, ledger) };
        let mut buffer = [0; READ_BUFFER_BYTES];
        member.upgrade(&upgrade(&polling.upgrade_path(), server.address, index), &mut buffer).await.context("WebSocket upgrade")?;
        member.session.connect_packet = Vec::new();
        member.session.progress = Progress::Probing;
        member.send(&masked_text("2probe"))?;
        while member.session.progress == Progress::Probing {
            member.read(&mut buffer).await.context("probe")?;
        }
        polling.answer().await.context("the last answer to long-polling")?;
        member.send(&masked_text("5"))?;
        Ok(member)
    }

    /// Enters whatever arrives into the ledger, for as long as the connection lasts.
    pub async fn listen(mut self) {
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        while self.read(&mut buffer).await.is_ok() {}
        self.session.ledger.enter_ended();
    }

    /// For so long sends `message`, an event with an acknowledgement, as often as the one before was acknowledged. Returns how often.
    ///
    /// # Errors
    ///
    /// When it was refused, for one.
    pub async fn converse(&mut self, message: &[u8], until: Instant) -> Result<u64> {
        let mut buffer = [0; READ_BUFFER_BYTES];
        let first = self.session.acknowledged;
        while Instant::now() < until {
            let before = self.session.acknowledged;
            self.send(message)?;
            while self.session.acknowledged == before {
                self.read(&mut buffer).await?;
                ensure!(self.session.refused == 0, "a message was refused");
            }
        }
        Ok(self.session.acknowledged - first)
    }

    /// Sends a frame without waiting for anything.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        write_now(&self.stream, frame)
    }

    /// Takes what arrived next.
    pub async fn hear(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.read(buffer).await
    }

    /// Takes how many of its messages were refused since this was last called.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.session.refused)
    }

    async fn upgrade(&mut self, request: &str, buffer: &mut [u8]) -> Result<()> {
        const HEAD_END: &[u8] = b"\r\n\r\n";
        write_now(&self.stream, request.as_bytes())?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = head.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END) {
                break end + HEAD_END.len();
            }
            match self.stream.read(buffer).await? {
                0 => bail!("connection closed"),
                read => head.extend_from_slice(&buffer[..read]),
            }
        };
        let answer = String::from_utf8_lossy(&head[..end]).to_lowercase();
        ensure!(answer.starts_with("http/1.1 101 "), "{answer}");
        ensure!(!answer.contains("sec-websocket-extensions"), "compression, which would be another measurement: {answer}");
        self.frames.feed(&head[end..], |text| self.session.take(text, &self.stream))
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        match self.stream.read(buffer).await? {
            0 => bail!("connection closed"),
            read => self.frames.feed(&buffer[..read], |text| self.session.take(text, &self.stream)),
        }
    }
}

impl Session {
    fn new(dialect: Dialect, token: &str, ledger: Arc<Ledger>) -> Self {
        let connect_packet = masked_text(&dialect.connect_message(token));
        Self { dialect, progress: Progress::AwaitingOpen, connect_packet, next: FIRST, acknowledged: 0, refused: 0, ledger }
    }

    /// Says who the client is.
    fn introduce(&mut self, stream: &TcpStream) -> Result<()> {
        self.progress = Progress::AwaitingConnect;
        write_now(stream, &self.connect_packet)
    }

    fn take(&mut self, text: &[u8], stream: &TcpStream) -> Result<()> {
        for incoming in self.dialect.read(text) {
            match (&self.progress, incoming) {
                (_, Incoming::Ping { answer }) => {
                    write_now(stream, &masked_text(answer))?;
                    self.ledger.enter_ping();
                }
                (Progress::AwaitingOpen, Incoming::Open) => self.introduce(stream)?,
                (Progress::AwaitingConnect, Incoming::Joined) => {
                    self.ledger.enter_member();
                    self.progress = Progress::Joined;
                }
                (Progress::Probing, Incoming::Unexpected) if text == b"3probe" => {
                    self.ledger.enter_member();
                    self.progress = Progress::Joined;
                }
                (Progress::AwaitingConnect, Incoming::TurnedAway) => bail!(Refused),
                (Progress::Joined, Incoming::Event(event)) => self.next = self.ledger.enter_event(event, self.next),
                (Progress::Joined, Incoming::Acknowledged) => self.acknowledged += 1,
                (Progress::Joined, Incoming::Refused) => self.refused += 1,
                _ => bail!("unexpected packet {}", String::from_utf8_lossy(text)),
            }
        }
        Ok(())
    }
}

/// Writes what always fits into the kernel's buffer: a client sends little and waits for answers.
fn write_now(stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    let written = stream.try_write(bytes).context("write")?;
    ensure!(written == bytes.len(), "the kernel took {written} of {} bytes", bytes.len());
    Ok(())
}

/// A connection from an address that has ports left.
async fn connect(socket: TcpSocket, server: Target, index: usize) -> Result<TcpStream> {
    // The port is chosen when it is known where the connection goes: then those of past connections to other servers are no hindrance.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(source_address(index)?)?;
    let stream = socket.connect(server.address.into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn source_address(index: usize) -> Result<SocketAddr> {
    let last = u8::try_from(2 + index / CONNECTIONS_PER_SOURCE).context("more connections than source addresses")?;
    Ok(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
}
