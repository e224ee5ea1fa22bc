//! WebSocket frames (RFC 6455, section 5.2): as a server sends them, unmasked and never in fragments, and short ones of clients.

use bytes::Bytes;

/// FIN and the opcode of text.
const TEXT: u8 = 0x81;
/// The bit of a frame that ends its message.
const FINAL: u8 = 0x80;

/// The frame of one text message, whose parts stand one after the other.
pub fn text(parts: &[&str]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(length + 10);
    frame.push(TEXT);
    match length {
        0..126 => frame.push(u8::try_from(length).expect("it is below 126")),
        126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).expect("it is at most 0xffff").to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    parts.iter().for_each(|part| frame.extend_from_slice(part.as_bytes()));
    frame.into()
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// A whole binary message.
    Binary,
    /// A control frame.
    Control,
}

/// Bytes that are not whole frames of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFrames;

/// The first frame in `bytes`: what it carries, and its length with its header.
///
/// # Errors
///
/// [`NotFrames`] when they don't begin with a whole frame.
pub fn first(bytes: &[u8]) -> Result<(Payload<'_>, usize), NotFrames> {
    let [head, length, rest @ ..] = bytes else { return Err(NotFrames) };
    if head & FINAL == 0 {
        return Err(NotFrames);
    }
    let (header, length): (usize, usize) = match length {
        0..126 => (2, usize::from(*length)),
        126 => {
            let length = rest.first_chunk().ok_or(NotFrames)?;
            (4, usize::from(u16::from_be_bytes(*length)))
        }
        127 => {
            let length = rest.first_chunk().ok_or(NotFrames)?;
            (10, usize::try_from(u64::from_be_bytes(*length)).map_err(|_| NotFrames)?)
        }
        // A mask: only clients send that.
        _ => return Err(NotFrames),
    };
    let end = header.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(NotFrames)?;
    let payload = match head & 0x0f {
        1 => Payload::Text(&bytes[header..end]),
        2 => Payload::Binary,
        8..=10 => Payload::Control,
        _ => return Err(NotFrames),
    };
    Ok((payload, end))
}

/// The unmasked payload of the frame of a client that `bytes` begin with, and what comes after it, if it is whole and shorter than 126 bytes.
pub fn short_of_client(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let [_, length @ 0x80..0xfe, rest @ ..] = bytes else { return None };
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let (payload, after) = rest.split_at_checked(usize::from(length & 0x7f))?;
    Some((payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_found_again() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 200_000] {
            let message = "x".repeat(length);
            let (left, right) = message.split_at(length / 3);
            let frame = text(&[left, right]);
            assert_eq!(first(&frame), Ok((Payload::Text(message.as_bytes()), frame.len())), "{length}");
            assert_eq!(first(&[&frame[..], b"more"].concat()).unwrap().1, frame.len());
            assert_eq!(first(&frame[..frame.len() - 1]), Err(NotFrames), "{length}");
        }
    }

    #[test]
    fn only_frames_of_servers_are_frames() {
        let cases: [&[u8]; 7] =
            [b"", b"\x81", b"\x81\x81....x", b"\x01\x01x", b"\x80\x01x", b"\x83\x01x", b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"];
        for case in cases {
            assert_eq!(first(case), Err(NotFrames), "{case:?}");
        }
        assert_eq!(first(b"\x88\x00"), Ok((Payload::Control, 2)));
        assert_eq!(first(b"\x82\x01x"), Ok((Payload::Binary, 3)));
    }
}
