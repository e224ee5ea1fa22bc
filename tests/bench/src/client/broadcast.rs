//! What is broadcast: numbered, of a chosen size, and with a content that tells one from the next.

use std::sync::LazyLock;

use anyhow::{Result, ensure};

/// Numbers start here so that all have as many digits.
pub const FIRST: u64 = 1_000_000;

/// The event of the broadcasts that are verified.
const EVENT: &str = "b";
/// The event of those that only find out whether a path is open yet.
const PROBE: &str = "probe";
const LARGEST: usize = 64 << 10;
/// The filler starts elsewhere in [`TEXT`] for each number: two broadcasts of one size never have the same content.
const ROTATION: u8 = 61;

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_u32;
    let letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    };
    std::iter::repeat_with(letter).take(LARGEST + usize::from(ROTATION)).collect()
});

/// A stage's broadcasts: all of one size.
#[derive(Clone, Copy, Default)]
pub struct Broadcasts {
    filler: usize,
}

/// What a member makes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// A broadcast, byte for byte as it was published.
    Intact(u64),
    /// A broadcast whose number or content is wrong.
    Corrupt,
    /// A [`Broadcasts::probe`].
    Probe,
    /// An event that the server sent of its own accord.
    Other,
}

impl Broadcasts {
    /// Broadcasts whose data is exactly `bytes` long as JSON.
    pub fn of_size(bytes: usize) -> Result<Self> {
        let overhead = data(FIRST, "").len();
        ensure!((overhead..=LARGEST).contains(&bytes), "a broadcast has {overhead} to {LARGEST} bytes, not {bytes}");
        Ok(Self { filler: bytes - overhead })
    }

    /// The body of the HTTP request that publishes number `number`.
    pub fn body(self, number: u64) -> String {
        format!(r#"{{"event":"{EVENT}","data":{}}}"#, data(number, self.filler(number)))
    }

    /// The body that publishes a probe.
    pub fn probe() -> &'static str {
        r#"{"event":"probe","data":{}}"#
    }

    /// What `packet`, an event packet without its `42`, is.
    pub fn recognise(self, packet: &[u8]) -> Packet {
        let Some(rest) = after_event(packet, EVENT) else {
            return if after_event(packet, PROBE).is_some() { Packet::Probe } else { Packet::Other };
        };
        let intact = || {
            let rest = rest.strip_prefix(br#"{"n":"#)?;
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
            let filler = rest[digits..].strip_prefix(br#","p":""#)?.strip_suffix(br#""}]"#)?;
            (filler == self.filler(number).as_bytes()).then_some(number)
        };
        intact().map_or(Packet::Corrupt, Packet::Intact)
    }

    fn filler(self, number: u64) -> &'static str {
        let start = usize::try_from(number % u64::from(ROTATION)).expect("less than ROTATION");
        &TEXT[start..start + self.filler]
    }
}

fn data(number: u64, filler: &str) -> String {
    format!(r#"{{"n":{number},"p":"{filler}"}}"#)
}

fn after_event<'a>(packet: &'a [u8], event: &str) -> Option<&'a [u8]> {
    packet.strip_prefix(b"[\"")?.strip_prefix(event.as_bytes())?.strip_prefix(b"\",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(data: &str) -> Vec<u8> {
        format!(r#"["b",{data}]"#).into_bytes()
    }

    #[test]
    fn data_is_as_long_as_asked() {
        for bytes in [64, 128, 1024, 4096] {
            let body = Broadcasts::of_size(bytes).unwrap().body(FIRST);
            assert_eq!(body.len(), r#"{"event":"b","data":}"#.len() + bytes);
        }
        assert!(Broadcasts::of_size(3).is_err());
        assert!(Broadcasts::of_size(LARGEST + 1).is_err());
    }

    #[test]
    fn only_the_very_bytes_are_intact() {
        let broadcasts = Broadcasts::of_size(128).unwrap();
        let (number, other) = (FIRST + 5, FIRST + 6);
        let good = data(number, broadcasts.filler(number));
        let cases = [
            (packet(&good), Packet::Intact(number)),
            (packet(&data(other, broadcasts.filler(number))), Packet::Corrupt),
            (packet(&good.replace("\"p\"", "\"q\"")), Packet::Corrupt),
            (packet(&good[..good.len() - 1]), Packet::Corrupt),
            (packet("null"), Packet::Corrupt),
            (br#"["probe",{}]"#.to_vec(), Packet::Probe),
            (br#"["user:status",{"n":1}]"#.to_vec(), Packet::Other),
            (b"".to_vec(), Packet::Other),
        ];
        for (packet, expected) in cases {
            assert_eq!(broadcasts.recognise(&packet), expected, "{}", String::from_utf8_lossy(&packet));
        }
    }

    #[test]
    fn the_probe_is_recognised() {
        assert!(Broadcasts::probe().contains(&format!("\"{PROBE}\"")));
    }
}
