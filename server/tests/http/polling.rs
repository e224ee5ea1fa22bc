//! A Socket.IO client over long-polling: plain HTTP is enough to see what arrives, byte by byte.

use std::{collections::VecDeque, net::SocketAddr};

use serde_json::{Value, json};

use crate::{
    server::{TestServer, plain_client},
    tenants,
};

pub struct PollingClient {
    client: reqwest::Client,
    url: String,
    packets: VecDeque<String>,
}

impl PollingClient {
    /// Connects as `user` of acme.
    pub async fn connect(server: &TestServer, user: Value) -> Self {
        Self::connect_to(server.server.address(), user).await
    }

    /// Connects as `user` of acme to the server at `address`.
    pub async fn connect_to(address: SocketAddr, user: Value) -> Self {
        Self::connect_with(address, &tenants::token(tenants::ACME_SECRET, &tenants::claims("acme", json!({"sub": user, "role": null}))))
            .await
    }

    /// Connects with `token` to the server at `address`.
    pub async fn connect_with(address: SocketAddr, token: &str) -> Self {
        let (connected, answer) = Self::ask(address, token).await;
        assert!(answer.starts_with("40{"), "{answer}");
        connected
    }

    /// Comes with `token`, which must be refused.
    pub async fn refused(server: &TestServer, token: &str) {
        let (_, answer) = Self::ask(server.server.address(), token).await;
        assert!(answer.starts_with("44{"), "{answer}");
    }

    /// Comes with `token`, and hears the answer.
    async fn ask(address: SocketAddr, token: &str) -> (Self, String) {
        let url = format!("http://{address}/socket.io/?EIO=4&transport=polling");
        let client = plain_client();
        let open = client.get(&url).send().await.unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let url = format!("{url}&sid={}", open["sid"].as_str().unwrap());
        let mut connected = Self { client, url, packets: VecDeque::new() };
        connected.send(format!("40{}", json!({"token": token}))).await;
        let answer = connected.packet().await;
        (connected, answer)
    }

    /// Emits an event and waits for its acknowledgement.
    pub async fn emit(&mut self, event: Value) -> String {
        self.send(format!("421{event}")).await;
        self.packet().await
    }

    /// The next event, as its text.
    pub async fn event(&mut self) -> String {
        let packet = self.packet().await;
        packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet} is no event")).to_owned()
    }

    async fn send(&self, packet: String) {
        let answer = self.client.post(&self.url).body(packet).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// The next packet but pings.
    pub async fn packet(&mut self) -> String {
        while self.packets.is_empty() {
            let answer = self.client.get(&self.url).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let text = answer.text().await.unwrap();
            self.packets.extend(text.split('\u{1e}').filter(|packet| *packet != "2").map(str::to_owned));
        }
        self.packets.pop_front().unwrap()
    }
}
