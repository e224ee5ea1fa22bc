//! What is said between a WebSocket's first byte and its first event, and what an event looks like.

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::credentials::SIGNING_SECRET;

/// What a client that may come in is told.
pub const JOINED: &str = r#"40{"sid":"0123456789abcdefghij"}"#;
/// What a client is asked regularly.
pub const PING: &str = "2";

/// Checks tokens, as the other peers do.
pub struct Keys {
    decoding: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Connect {
    token: String,
}

#[derive(Deserialize)]
struct Claims {
    tenant_id: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    event: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Default for Keys {
    fn default() -> Self {
        Self { decoding: DecodingKey::from_secret(SIGNING_SECRET.as_bytes()), validation: Validation::new(Algorithm::HS256) }
    }
}

impl Keys {
    /// The tenant of whoever sent this packet.
    pub fn tenant(&self, packet: &str) -> Result<String> {
        let connect = packet.strip_prefix("40").context("not a CONNECT packet")?;
        let Connect { token } = serde_json::from_str(connect)?;
        Ok(jsonwebtoken::decode::<Claims>(&token, &self.decoding, &self.validation)?.claims.tenant_id)
    }
}

/// The answer to a request for a WebSocket.
pub fn switching_protocols(key: &str) -> String {
    let accept = derive_accept_key(key.as_bytes());
    format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
}

/// What a server says first.
pub fn open_packet(ping_interval_ms: u64) -> String {
    format!(r#"0{{"sid":"0123456789abcdefghij","upgrades":[],"pingInterval":{ping_interval_ms},"pingTimeout":20000,"maxPayload":100000}}"#)
}

/// The packet for what the body of a publish request says.
pub fn event_packet(body: &[u8]) -> Result<String> {
    let Event { event, data } = serde_json::from_slice(body)?;
    Ok(format!(r#"42[{},{}]"#, serde_json::to_string(&event)?, data.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Tenant, signing_key, token};

    #[test]
    fn only_those_with_a_token_come_in() {
        let token = token(&signing_key(), Tenant::Bench, 1).unwrap();
        let keys = Keys::default();
        assert_eq!(keys.tenant(&format!(r#"40{{"token":"{token}"}}"#)).unwrap(), "bench");
        for bad in [&format!(r#"40{{"token":"{token}x"}}"#)[..], "40", "2"] {
            assert!(keys.tenant(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn data_arrives_byte_for_byte() {
        assert_eq!(event_packet(br#"{"event":"b","data":{"n":1, "p":"x"}}"#).unwrap(), r#"42["b",{"n":1, "p":"x"}]"#);
    }
}
