//! What the packets that the engine writes mean for whoever writes beside it.

use std::str;

use carillon_tenant::ConnectionId;

/// The event that marks a place in the engine's queue. Names that begin so are ours; the client is never sent it.
pub const MARK: &str = "rt:mark";

/// What a text message of the engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The session's parameters, first of all.
    Open,
    /// A question whether the client is there.
    Ping,
    /// A mark that [`MARK`] put into the queue for a connection.
    Mark(ConnectionId),
    /// A packet that so many binary messages belong to, which follow it.
    Attachments(usize),
    /// Anything else.
    Other,
}

impl Packet {
    /// Reads the beginning of a text message. Engine.IO protocol 4: `0` opens, `2` is a ping, `3` a pong, `4` a message; Socket.IO protocol 5: `2` is an event,
    /// `5` and `6` an event and an acknowledgement with attachments, whose number stands before a `-`.
    pub fn of(message: &[u8]) -> Self {
        match message {
            b"2" => Self::Ping,
            [b'0', ..] => Self::Open,
            [b'4', b'2', rest @ ..] => mark(rest).map_or(Self::Other, Self::Mark),
            [b'4', b'5' | b'6', rest @ ..] => {
                let digits = rest.iter().position(|byte| *byte == b'-').map(|end| &rest[..end]);
                let count = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
                count.map_or(Self::Other, Self::Attachments)
            }
            _ => Self::Other,
        }
    }
}

fn mark(event: &[u8]) -> Option<ConnectionId> {
    let number = event.strip_prefix(b"[\"")?.strip_prefix(MARK.as_bytes())?.strip_prefix(b"\",")?.strip_suffix(b"]")?;
    str::from_utf8(number).ok()?.parse().ok().map(ConnectionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart() {
        let cases: [(&str, Packet); 12] = [
            (r#"0{"sid":"a"}"#, Packet::Open),
            ("3probe", Packet::Other),
            ("2", Packet::Ping),
            ("2probe", Packet::Other),
            (r#"40{"sid":"a"}"#, Packet::Other),
            (r#"42["rt:mark",18446744073709551615]"#, Packet::Mark(ConnectionId(u64::MAX))),
            (r#"42["rt:mark",18446744073709551616]"#, Packet::Other),
            (r#"42["rt:marked",1]"#, Packet::Other),
            (r#"452-["file",{"_placeholder":true,"num":0}]"#, Packet::Attachments(2)),
            (r#"461-7[{"_placeholder":true,"num":0}]"#, Packet::Attachments(1)),
            (r#"45["no number"]"#, Packet::Other),
            ("45", Packet::Other),
        ];
        for (text, packet) in cases {
            assert_eq!(Packet::of(text.as_bytes()), packet, "{text}");
        }
    }
}
