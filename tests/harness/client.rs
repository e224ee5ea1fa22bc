//! A Socket.IO client made of raw frames: quick to start, and able to misbehave.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::{
    eventually::{within, within_deadline},
    websocket::{self, BINARY, Frame, PING, PONG, TEXT, WebSocket},
};

/// Where a fresh WebSocket is opened.
pub const WEBSOCKET_PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// Why a client is not in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The transport could not be opened, or ended before there was an answer.
    Unreachable,
    /// The message of the `connect_error`.
    Refused(String),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The transport closed: client libraries come back.
    Transport,
    /// The server disconnected the client: libraries don't come back.
    Server,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// What it runs over.
    pub socket: WebSocket,
    /// What the server said when the engine opened.
    pub open: Value,
    /// The Socket.IO id that the server gave on CONNECT.
    pub id: String,
    events: VecDeque<(String, Value)>,
    acks: u64,
}

impl Client {
    /// Opens the engine's connection, without CONNECT.
    ///
    /// # Panics
    ///
    /// When the server doesn't.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[]).await.expect("the server opens a WebSocket")
    }

    /// Opens the engine's connection with more headers.
    ///
    /// # Errors
    ///
    /// The status code when the server doesn't.
    ///
    /// # Panics
    ///
    /// When what comes is no open packet.
    pub async fn open_with(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let socket = websocket::open(address, WEBSOCKET_PATH, headers).await?;
        Ok(within_deadline("an open packet", Self::over(socket)).await.expect("an open packet"))
    }

    async fn over(mut socket: WebSocket) -> Option<Self> {
        let text = String::from_utf8(socket.read().await?.payload).ok()?;
        let open = serde_json::from_str(text.strip_prefix('0')?).ok()?;
        Some(Self { socket, open, id: String::new(), events: VecDeque::new(), acks: 0 })
    }

    /// Opens, and connects with `token`, however long it takes, and whatever the server does instead.
    ///
    /// # Errors
    ///
    /// What came of it instead.
    pub async fn attempt(address: SocketAddr, token: &str) -> Result<Self, Failure> {
        let Some(Ok(socket)) = websocket::try_open(address, WEBSOCKET_PATH, &[]).await else { return Err(Failure::Unreachable) };
        let mut client = Self::over(socket).await.ok_or(Failure::Unreachable)?;
        let answer = client.answer_to_connect(&json!({"token": token})).await.ok_or(Failure::Unreachable)?;
        answer.map(|()| client).map_err(Failure::Refused)
    }

    /// Opens, and connects with `token`.
    ///
    /// # Errors
    ///
    /// The message of the `connect_error`.
    pub async fn try_connect(address: SocketAddr, token: &str) -> Result<Self, String> {
        let mut client = Self::open(address).await;
        client.authenticate(&json!({"token": token})).await?;
        Ok(client)
    }

    /// Opens, and connects with `token`.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub async fn connect(address: SocketAddr, token: &str) -> Self {
        Self::try_connect(address, token).await.expect("the server lets the client in")
    }

    /// Sends CONNECT with `auth` and awaits the answer.
    ///
    /// # Errors
    ///
    /// The message of the `connect_error`.
    ///
    /// # Panics
    ///
    /// When the connection ends instead.
    pub async fn authenticate(&mut self, auth: &Value) -> Result<(), String> {
        within_deadline("an answer to CONNECT", self.answer_to_connect(auth)).await.expect("an answer to CONNECT")
    }

    async fn answer_to_connect(&mut self, auth: &Value) -> Option<Result<(), String>> {
        self.socket.send(&format!("40{auth}")).await;
        loop {
            let packet = self.next_packet().await?;
            if let Some(error) = packet.strip_prefix("44") {
                let error: Value = serde_json::from_str(error).expect("connect_error is JSON");
                return Some(Err(error["message"].as_str().unwrap_or_default().to_owned()));
            }
            if let Some(connected) = packet.strip_prefix("40") {
                let connected: Value = serde_json::from_str(connected).expect("the CONNECT reply is JSON");
                connected["sid"].as_str().unwrap_or_default().clone_into(&mut self.id);
                return Some(Ok(()));
            }
            self.keep(&packet);
        }
    }

    /// Emits an event without asking for an answer.
    pub async fn emit(&mut self, event: &str, data: &Value) {
        self.socket.send(&format!("42{}", json!([event, data]))).await;
    }

    /// Emits an event and awaits its acknowledgement.
    ///
    /// # Panics
    ///
    /// When the connection ends instead.
    pub async fn call(&mut self, event: &str, data: &Value) -> Value {
        self.acks += 1;
        let ack = self.acks;
        self.socket.send(&format!("42{ack}{}", json!([event, data]))).await;
        let begin = format!("43{ack}[");
        loop {
            let packet = self.packet().await.unwrap_or_else(|| panic!("{event} is acknowledged"));
            if packet.starts_with(&begin) {
                let answer: Vec<Value> = serde_json::from_str(&packet[begin.len() - 1..]).expect("an acknowledgement is JSON");
                return answer.into_iter().next().unwrap_or_default();
            }
            self.keep(&packet);
        }
    }

    /// The next event; `None` once the connection has ended.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let packet = self.packet().await?;
            self.keep(&packet);
        }
    }

    /// The data of the next event, which is `event`.
    ///
    /// # Panics
    ///
    /// When something else comes first.
    pub async fn expect(&mut self, event: &str) -> Value {
        let (name, data) = self.next().await.unwrap_or_else(|| panic!("{event} comes before the end"));
        assert_eq!(name, event, "{data}");
        data
    }

    /// The next packet but pings, which are answered; `None` once the connection has ended. The engine's own number stands first.
    ///
    /// # Panics
    ///
    /// When nothing but pings comes.
    pub async fn packet(&mut self) -> Option<String> {
        within_deadline("a packet", self.next_packet()).await
    }

    async fn next_packet(&mut self) -> Option<String> {
        loop {
            let frame = self.socket.read().await?;
            match frame.opcode {
                TEXT if frame.payload == b"2" => self.socket.send("3").await,
                TEXT => return String::from_utf8(frame.payload).ok(),
                BINARY => {}
                PING => self.socket.send_frame(&Frame::new(PONG, frame.payload)).await,
                _ => return None,
            }
        }
    }

    /// Awaits the end of the connection.
    ///
    /// # Panics
    ///
    /// When it lasts longer than `limit`.
    pub async fn ends_within(&mut self, limit: Duration) {
        within(limit, "the connection ends", async { while self.next_packet().await.is_some() {} }).await;
    }

    /// Stays, and answers pings, for as long as the server lets it. What is heard meanwhile is forgotten.
    pub async fn stay(&mut self) -> End {
        loop {
            match self.next_packet().await {
                Some(packet) if packet == "41" => return End::Server,
                Some(_) => {}
                None => return End::Transport,
            }
        }
    }

    fn keep(&mut self, packet: &str) {
        let Some(event) = packet.strip_prefix("42") else { return };
        let mut event: Vec<Value> = serde_json::from_str(event).unwrap_or_else(|error| panic!("{error} in {packet}"));
        let data = if event.len() > 1 { event.swap_remove(1) } else { Value::Null };
        let name = event.swap_remove(0).as_str().unwrap_or_default().to_owned();
        self.events.push_back((name, data));
    }
}
