//! Long-polling, with which Socket.IO's clients begin unless told otherwise.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{
    dialect::{Incoming, Target},
    request,
};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
/// Stands between the packets of one answer.
const SEPARATOR: u8 = 0x1e;

#[derive(Deserialize)]
struct Open {
    sid: String,
}

/// A kept-alive HTTP connection, and the Engine.IO session on it.
pub struct Polling {
    stream: BufReader<TcpStream>,
    server: Target,
    index: usize,
    sid: String,
}

impl Polling {
    /// Opens a session.
    pub async fn open(stream: TcpStream, server: Target, index: usize) -> Result<Self> {
        let mut polling = Self { stream: BufReader::new(stream), server, index, sid: String::new() };
        polling.ask("GET", OPEN, "").await?;
        let body = polling.answer().await?;
        let open = body.strip_prefix(b"0").context("not an open packet")?;
        polling.sid = serde_json::from_slice::<Open>(open)?.sid;
        Ok(polling)
    }

    /// Says who the client is, and waits until it is let in.
    pub async fn join(&mut self, token: &str) -> Result<()> {
        self.post(&self.server.dialect.connect_message(token)).await?;
        loop {
            self.poll().await?;
            let body = self.answer().await?;
            let mut joined = false;
            for packet in body.split(|byte| *byte == SEPARATOR) {
                for incoming in self.server.dialect.read(packet) {
                    match incoming {
                        Incoming::Joined => joined = true,
                        Incoming::Ping { answer } => self.post(answer).await?,
                        Incoming::Event(_) => {}
                        _ => bail!("unexpected packet {}", String::from_utf8_lossy(packet)),
                    }
                }
            }
            if joined {
                return Ok(());
            }
        }
    }

    /// Asks for the next packets without waiting for them.
    pub async fn poll(&mut self) -> Result<()> {
        self.ask("GET", &format!("{OPEN}&sid={}", self.sid), "").await
    }

    /// Takes what was asked for.
    pub async fn answer(&mut self) -> Result<Vec<u8>> {
        let (mut status, mut length) = (String::new(), None);
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line).await? > 0, "connection closed");
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = Some(value.trim().parse()?),
                Some(_) => {}
                None if line.is_empty() => break,
                None => status = line,
            }
        }
        let mut body = vec![0; length.with_context(|| format!("no length: {status}"))?];
        self.stream.read_exact(&mut body).await?;
        ensure!(status.starts_with("http/1.1 200"), "{status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    /// Where the session goes on over a WebSocket.
    pub fn upgrade_path(&self) -> String {
        format!("{}&sid={}", self.server.dialect.path(), self.sid)
    }

    async fn post(&mut self, packet: &str) -> Result<()> {
        self.ask("POST", &format!("{OPEN}&sid={}", self.sid), packet).await?;
        self.answer().await.map(drop)
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let mut headers = Vec::new();
        if !body.is_empty() {
            headers.push("Content-Type: text/plain;charset=UTF-8".to_owned());
            headers.push(format!("Content-Length: {}", body.len()));
        }
        let head = request::head(method, path, self.server.address, self.index, &headers);
        Ok(self.stream.write_all(format!("{head}{body}").as_bytes()).await?)
    }
}
