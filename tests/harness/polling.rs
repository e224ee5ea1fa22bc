//! A long-polling session, request by request.

use std::net::SocketAddr;

use hyper::Method;
use serde_json::Value;

use crate::http::{self, Response};

/// What stands between two packets in a body.
const SEPARATOR: char = '\u{1e}';

/// One long-polling session.
#[derive(Clone, Debug)]
pub struct Polling {
    /// The server, or a load balancer before it.
    pub address: SocketAddr,
    /// The id that the server gave.
    pub sid: String,
    /// The rest of what the server said on opening.
    pub open: Value,
}

impl Polling {
    /// Opens a session.
    ///
    /// # Panics
    ///
    /// When the server doesn't.
    pub async fn open(address: SocketAddr) -> Self {
        let response = http::request(address, Method::GET, "/socket.io/?EIO=4&transport=polling", &[], "").await;
        assert_eq!(response.status, 200, "{response:?}");
        let open: Value = serde_json::from_str(response.body.strip_prefix('0').expect("an open packet")).expect("an open packet");
        let sid = open["sid"].as_str().expect("the open packet has a sid").to_owned();
        Self { address, sid, open }
    }

    /// Opens a session and connects to the namespace `/`; the second part is `Err` with the message of a `connect_error`.
    ///
    /// # Errors
    ///
    /// The message of the `connect_error`.
    ///
    /// # Panics
    ///
    /// When the server answers neither.
    pub async fn connect(address: SocketAddr, token: &str) -> Result<Self, String> {
        let session = Self::open(address).await;
        let response = session.post(&format!("40{}", serde_json::json!({"token": token}))).await;
        assert_eq!(response.status, 200, "{response:?}");
        let answer = session.next_packet("4").await;
        match answer.strip_prefix("44") {
            Some(error) => {
                let error: Value = serde_json::from_str(error).expect("connect_error is JSON");
                Err(error["message"].as_str().unwrap_or_default().to_owned())
            }
            None if answer.starts_with("40") => Ok(session),
            None => panic!("CONNECT was answered {answer}"),
        }
    }

    /// Polls until packets that start with `kind` come, and gives the first of them. Pings are answered.
    ///
    /// # Panics
    ///
    /// When the session ends.
    pub async fn next_packet(&self, kind: &str) -> String {
        loop {
            let response = self.get().await;
            assert_eq!(response.status, 200, "{response:?}");
            let packets: Vec<_> = response.body.split(SEPARATOR).collect();
            if packets.contains(&"2") {
                self.post("3").await;
            }
            if let Some(packet) = packets.iter().find(|packet| packet.starts_with(kind)) {
                return (*packet).to_owned();
            }
        }
    }

    /// Polls once.
    pub async fn get(&self) -> Response {
        self.get_as(&self.sid).await
    }

    /// Polls once, claiming to be the session `sid`.
    pub async fn get_as(&self, sid: &str) -> Response {
        http::request(self.address, Method::GET, &path(sid), &[], "").await
    }

    /// Sends a body.
    pub async fn post(&self, body: &str) -> Response {
        self.post_as(&self.sid, body.as_bytes()).await
    }

    /// Sends a body, claiming to be the session `sid`.
    pub async fn post_as(&self, sid: &str, body: &[u8]) -> Response {
        http::request(self.address, Method::POST, &path(sid), &[("content-type", "text/plain;charset=UTF-8")], body.to_vec()).await
    }
}

/// Where the session `sid` is asked.
pub fn path(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}
