//! The peer `tungstenite`: the WebSocket library that most Rust servers stand on, a task for each connection, and a queue before each task.
//!
//! It tells what of a server's cost is the library and the tasks, and what the server adds to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedSender},
    time::{Instant, interval_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    ServeYardstick,
    handshake::{JOINED, Keys, PING, event_packet, open_packet, switching_protocols},
    request::{self, Request, answer},
};

const READ_BUFFER_BYTES: usize = 8 << 10;
/// As socketioxide's engine has it: by default the library has 128 KiB for each connection, and clears them again and again.
const SOCKET_BUFFER_BYTES: usize = 4 << 10;

struct Hub {
    keys: Keys,
    open_packet: Utf8Bytes,
    ping_interval: Duration,
    /// The queues of each tenant's members. No lock is held across an await.
    rooms: Mutex<HashMap<String, Vec<UnboundedSender<Utf8Bytes>>>>,
}

/// Serves until the process is ended.
#[tokio::main]
pub async fn serve(options: &ServeYardstick) -> Result<()> {
    let listener = TcpListener::bind(options.address()).await?;
    let hub = Arc::new(Hub {
        keys: Keys::default(),
        open_packet: open_packet(options.ping_interval_ms).into(),
        ping_interval: Duration::from_millis(options.ping_interval_ms),
        rooms: Mutex::default(),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let hub = hub.clone();
        // Whoever breaks the protocol, or goes, is gone.
        tokio::spawn(async move { hub.serve(stream).await.ok() });
    }
}

impl Hub {
    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let mut bytes = Vec::new();
        loop {
            while let Some((request, length)) = request::first(&bytes)? {
                let answer = match request {
                    Request::Upgrade { key } => {
                        stream.write_all(switching_protocols(key).as_bytes()).await?;
                        drop(bytes);
                        return self.serve_member(stream).await;
                    }
                    Request::Publish { tenant, body } => {
                        self.broadcast(tenant, &event_packet(body)?.into());
                        answer("202 Accepted")
                    }
                    Request::Unauthorized => answer("401 Unauthorized"),
                    Request::Unknown => answer("404 Not Found"),
                };
                stream.write_all(answer.as_bytes()).await?;
                bytes.drain(..length);
            }
            bytes.reserve(READ_BUFFER_BYTES);
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn serve_member(&self, stream: TcpStream) -> Result<()> {
        let config = WebSocketConfig::default().read_buffer_size(SOCKET_BUFFER_BYTES);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        socket.send(Message::Text(self.open_packet.clone())).await?;
        let Some(Ok(Message::Text(connect))) = socket.next().await else { bail!("no CONNECT packet") };
        let tenant = self.keys.tenant(&connect)?;
        drop(connect);
        socket.send(Message::text(JOINED)).await?;
        let (sender, mut queue) = mpsc::unbounded_channel();
        self.rooms.lock().expect("no holder panics").entry(tenant).or_default().push(sender);
        let mut pings = interval_at(Instant::now() + self.ping_interval, self.ping_interval);
        loop {
            tokio::select! {
                packet = queue.recv() => {
                    socket.feed(Message::Text(packet.context("the room is gone")?)).await?;
                    // What waits leaves in one write.
                    while let Ok(packet) = queue.try_recv() {
                        socket.feed(Message::Text(packet)).await?;
                    }
                    socket.flush().await?;
                }
                message = socket.next() => drop(message.context("closed")??),
                _ = pings.tick() => socket.send(Message::text(PING)).await?,
            }
        }
    }

    fn broadcast(&self, tenant: &str, packet: &Utf8Bytes) {
        if let Some(members) = self.rooms.lock().expect("no holder panics").get_mut(tenant) {
            members.retain(|member| member.send(packet.clone()).is_ok());
        }
    }
}
