//! WebSocket (RFC 6455) frame by frame, so that a test can also send what no client library would.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::eventually::within_deadline;

/// Continuation of a fragmented message.
pub const CONTINUATION: u8 = 0;
/// A text message.
pub const TEXT: u8 = 1;
/// A binary message.
pub const BINARY: u8 = 2;
/// The end.
pub const CLOSE: u8 = 8;
/// A WebSocket ping, which is not Engine.IO's.
pub const PING: u8 = 9;
/// Its answer.
pub const PONG: u8 = 10;

/// Bytes that mask what is sent: fixed, for nobody has to be fooled.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN and the reserved bits, as they stand in the first byte.
    pub flags: u8,
    /// What kind of frame.
    pub opcode: u8,
    /// Clients must mask.
    pub masked: bool,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { flags: 0x80, opcode, masked: true, payload: payload.into() }
    }

    /// As it goes over the wire.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.payload.len();
        let mut bytes = vec![self.flags | self.opcode];
        let mask = if self.masked { 0x80 } else { 0 };
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => bytes.push(mask | short),
            (_, Ok(middle)) => {
                bytes.push(mask | 126);
                bytes.extend(middle.to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend(MASK);
            bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

/// The client's side of a WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Opens the WebSocket at `path`; the status code when it is refused, 0 when the connection just ends.
///
/// # Errors
///
/// The status code.
///
/// # Panics
///
/// When nothing listens, or nothing happens.
pub async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<WebSocket, u16> {
    within_deadline("the answer to a WebSocket's opening", try_open(address, path, headers)).await.expect("the server accepts")
}

/// The same, however long it takes; `None` when nothing listens.
///
/// # Errors
///
/// The status code.
///
/// # Panics
///
/// When the server says yes without having read the question.
pub async fn try_open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<Result<WebSocket, u16>> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok();
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    head.push_str("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.ok();
    let (head, received) = read_head(&mut stream).await;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if status != 101 {
        return Some(Err(status));
    }
    assert!(head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    Some(Ok(WebSocket { stream, received }))
}

/// The head, and what came behind it.
async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            break bytes.len();
        }
    };
    let rest = bytes.split_off(end);
    (String::from_utf8_lossy(&bytes).into_owned(), rest)
}

impl WebSocket {
    /// Sends a text message. Whether the server still listens shows when reading.
    pub async fn send(&mut self, text: &str) {
        self.send_bytes(&Frame::new(TEXT, text).encode()).await;
    }

    /// Sends one frame.
    pub async fn send_frame(&mut self, frame: &Frame) {
        self.send_bytes(&frame.encode()).await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// Sends bytes until none were taken for `stall`; gives how many were.
    pub async fn send_until_stalled(&mut self, bytes: &[u8], stall: Duration) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match tokio::time::timeout(stall, self.stream.write(&bytes[sent..])).await {
                Ok(Ok(taken)) => sent += taken,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        sent
    }

    /// The next frame, before the deadline; `None` once the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        within_deadline("a frame from the server", self.read()).await
    }

    /// Awaits the end of the connection, whatever comes before.
    pub async fn closed(&mut self) {
        while self.read().await.is_some_and(|frame| frame.opcode != CLOSE) {}
    }

    /// The next frame, however long it takes; `None` once the connection has ended. A call that is given up loses nothing.
    ///
    /// # Panics
    ///
    /// When it is none that a server may send.
    pub async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.received) {
                self.received.drain(..length);
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// The frame that `bytes` begin with, and its length, once it is whole.
fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(second & 0x80, 0, "servers don't mask");
    let (length, rest) = match second & 0x7f {
        126 => rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?,
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        short => (u64::from(short), rest),
    };
    assert!(length < 64 << 20, "a frame of {length} bytes");
    let payload = rest.get(..usize::try_from(length).expect("just checked"))?;
    let frame = Frame { flags: first & 0xf0, opcode: first & 0x0f, masked: false, payload: payload.to_vec() };
    Some((frame, bytes.len() - rest.len() + payload.len()))
}
