//! One connection: a browser's WebSocket request, the Socket.IO handshake, and then every packet into the ledger.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    time::Instant,
};

use super::{
    broadcast::FIRST,
    frame::{Frames, masked_text},
    ledger::Ledger,
};
use crate::credentials::ORIGIN;

/// Larger than any frame of a stage, so that one read takes a whole delivery.
const READ_BUFFER_BYTES: usize = 4096;
/// A source address has about 28,000 ports; so many connections of one audience share one.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// A Socket.IO client that listens.
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
    Joined,
}

struct Session {
    progress: Progress,
    connect_packet: Vec<u8>,
    /// The number of the broadcast that has to come next.
    next: u64,
    acknowledged: u64,
    refused: u64,
    ledger: Arc<Ledger>,
}

/// How the acknowledgement of [`LEAVE`] ends, unless it was refused.
const OK: &[u8] = br#""room":"nowhere"}]"#;
/// An event that does next to nothing, so that what is measured is the way to it: leaving a room that the client is not in.
pub const LEAVE: &str = r#"427["rt:leave",{"room":"nowhere"}]"#;
/// The answer to a handshake that was refused because of a limit, as far as all of them have it.
const REFUSED: &str = r#"44{"message":"Quota exceeded: "#;

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
    pub async fn join(server: SocketAddrV4, index: usize, token: &str, ledger: Arc<Ledger>) -> Result<Self> {
        Self::join_by(TcpSocket::new_v4()?, server, index, token, ledger).await
    }

    /// The same, by a socket of one's own.
    pub async fn join_by(socket: TcpSocket, server: SocketAddrV4, index: usize, token: &str, ledger: Arc<Ledger>) -> Result<Self> {
        socket.bind(source_address(index)?)?;
        let stream = socket.connect(server.into()).await?;
        stream.set_nodelay(true)?;
        let connect_packet = masked_text(&format!(r#"40{{"token":"{token}"}}"#));
        let session = Session { progress: Progress::AwaitingOpen, connect_packet, next: FIRST, acknowledged: 0, refused: 0, ledger };
        let mut member = Self { stream, frames: Frames::default(), session };
        let mut buffer = [0; READ_BUFFER_BYTES];
        member.upgrade(server, index, &mut buffer).await.context("WebSocket upgrade")?;
        while member.session.progress != Progress::Joined {
            member.read(&mut buffer).await.context("Socket.IO handshake")?;
        }
        member.session.connect_packet = Vec::new();
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

    async fn upgrade(&mut self, server: SocketAddrV4, index: usize, buffer: &mut [u8]) -> Result<()> {
        const HEAD_END: &[u8] = b"\r\n\r\n";
        write_now(&self.stream, upgrade_request(server, index).as_bytes())?;
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
    fn take(&mut self, text: &[u8], stream: &TcpStream) -> Result<()> {
        match (&self.progress, text) {
            (_, b"2") => {
                write_now(stream, &masked_text("3"))?;
                self.ledger.enter_ping();
            }
            (Progress::AwaitingOpen, [b'0', ..]) => {
                write_now(stream, &self.connect_packet)?;
                self.progress = Progress::AwaitingConnect;
            }
            (Progress::AwaitingConnect, [b'4', b'0', ..]) => {
                self.ledger.enter_member();
                self.progress = Progress::Joined;
            }
            (Progress::Joined, [b'4', b'2', event @ ..]) => self.next = self.ledger.enter_event(event, self.next),
            (Progress::Joined, [b'4', b'3', answer @ ..]) if answer.ends_with(OK) => self.acknowledged += 1,
            (Progress::Joined, [b'4', b'3', ..]) => self.refused += 1,
            (Progress::AwaitingConnect, packet) if packet.starts_with(REFUSED.as_bytes()) => bail!(Refused),
            _ => bail!("unexpected packet {}", String::from_utf8_lossy(text)),
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

fn source_address(index: usize) -> Result<SocketAddr> {
    let last = u8::try_from(2 + index / CONNECTIONS_PER_SOURCE).context("more connections than source addresses")?;
    Ok(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
}

/// What a browser's request looks like by the time an ingress has passed it on.
fn upgrade_request(server: SocketAddrV4, index: usize) -> String {
    let client = index % 250;
    [
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        &format!("Host: {server}"),
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8",
        "Cache-Control: no-cache",
        "Pragma: no-cache",
        &format!("Origin: {ORIGIN}"),
        &format!("X-Forwarded-For: 10.1.2.{client}"),
        "X-Forwarded-Proto: https",
        &format!("X-Request-Id: 7d9f6e5c-1111-2222-3333-{index:012}"),
        &format!(
            "Cookie: session={index:064}; _ga=GA1.1.1234567890.1234567890; theme=dark; \
             csrftoken=abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"
        ),
        "\r\n",
    ]
    .join("\r\n")
}
