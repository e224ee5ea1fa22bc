//! What is spoken over the WebSocket: Socket.IO, or what another kind of server has in its place.

use std::net::SocketAddrV4;

/// Where a server is, and what its clients speak.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddrV4,
    pub dialect: Dialect,
}

impl Target {
    /// A Socket.IO server.
    pub fn socket_io(address: SocketAddrV4) -> Self {
        Self { address, dialect: Dialect::SocketIo }
    }
}

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Socket.IO 5 over Engine.IO 4.
    SocketIo,
    /// That of Centrifuge, in JSON. Its publications carry what an event packet does, so that a delivery is as long as the others' but for the wrapping.
    Centrifuge,
}

/// What a client makes of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The server is there: now the client has to say who it is.
    Open,
    /// The client is let in.
    Joined,
    /// It is not, because its tenant is at one of its limits.
    TurnedAway,
    /// It has to say that it is still there.
    Ping { answer: &'static str },
    /// An event, as a JSON array.
    Event(&'a [u8]),
    /// A message was taken.
    Acknowledged,
    /// A message was refused.
    Refused,
    /// Nothing that the benchmark knows.
    Unexpected,
}

/// How the acknowledgement of [`super::LEAVE`] ends, unless it was refused.
const ACKNOWLEDGED: &[u8] = br#""room":"nowhere"}]"#;
/// The answer to a handshake that was refused because of a limit, as far as all of them have it.
const TURNED_AWAY: &[u8] = br#"44{"message":"Quota exceeded: "#;
/// What stands before and after a publication's data.
const PUBLICATION: (&[u8], &[u8]) = (br#"{"push":{"channel":"tenant:bench","pub":{"data":"#, b"}}}");

impl Dialect {
    /// Where a WebSocket is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Self::Centrifuge => "/connection/websocket",
        }
    }

    /// What a client says to be let in.
    pub fn connect_message(self, token: &str) -> String {
        match self {
            Self::SocketIo => format!(r#"40{{"token":"{token}"}}"#),
            Self::Centrifuge => format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#),
        }
    }

    /// Whether the client says that before the server has said anything.
    pub fn client_speaks_first(self) -> bool {
        self == Self::Centrifuge
    }

    /// What is told in a frame, one after the other.
    pub fn read(self, frame: &[u8]) -> impl Iterator<Item = Incoming<'_>> {
        // In JSON a line's end is escaped, so only Centrifuge's frames, which hold a message a line, are cut.
        frame.split(|byte| *byte == b'\n').map(move |text| match self {
            Self::SocketIo => socket_io(text),
            Self::Centrifuge => centrifuge(text),
        })
    }
}

fn socket_io(text: &[u8]) -> Incoming<'_> {
    match text {
        b"2" => Incoming::Ping { answer: "3" },
        [b'4', b'2', event @ ..] => Incoming::Event(event),
        [b'0', ..] => Incoming::Open,
        [b'4', b'0', ..] => Incoming::Joined,
        [b'4', b'3', ..] if text.ends_with(ACKNOWLEDGED) => Incoming::Acknowledged,
        [b'4', b'3', ..] => Incoming::Refused,
        _ if text.starts_with(TURNED_AWAY) => Incoming::TurnedAway,
        _ => Incoming::Unexpected,
    }
}

fn centrifuge(text: &[u8]) -> Incoming<'_> {
    let (before, after) = PUBLICATION;
    if let Some(event) = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
        return Incoming::Event(event);
    }
    match text {
        b"{}" => Incoming::Ping { answer: "{}" },
        _ if text.starts_with(br#"{"id":1,"connect":{"#) => Incoming::Joined,
        _ => Incoming::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: Dialect, text: &str) -> Vec<Incoming<'_>> {
        dialect.read(text.as_bytes()).collect()
    }

    #[test]
    fn socket_io_is_understood() {
        let cases = [
            (r#"0{"sid":"x"}"#, Incoming::Open),
            (r#"40{"sid":"x"}"#, Incoming::Joined),
            (r#"44{"message":"Quota exceeded: connections.max"}"#, Incoming::TurnedAway),
            ("2", Incoming::Ping { answer: "3" }),
            (r#"42["b",{}]"#, Incoming::Event(br#"["b",{}]"#)),
            (r#"437[{"ok":true,"room":"nowhere"}]"#, Incoming::Acknowledged),
            (r#"437[{"ok":false}]"#, Incoming::Refused),
            (r#"44{"message":"no"}"#, Incoming::Unexpected),
            ("41", Incoming::Unexpected),
        ];
        for (text, expected) in cases {
            assert_eq!(read(Dialect::SocketIo, text), [expected], "{text}");
        }
    }

    #[test]
    fn centrifuge_is_understood_line_by_line() {
        let text = "{\"id\":1,\"connect\":{\"client\":\"x\"}}\n{}\n{\"push\":{\"channel\":\"tenant:bench\",\"pub\":{\"data\":[\"b\",{}]}}}\n{\"id\":1,\"error\":{}}";
        let expected = [Incoming::Joined, Incoming::Ping { answer: "{}" }, Incoming::Event(br#"["b",{}]"#), Incoming::Unexpected];
        assert_eq!(read(Dialect::Centrifuge, text), expected);
    }
}
