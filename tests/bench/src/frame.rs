//! WebSocket frames (RFC 6455), as much of them as the benchmark's clients and its own servers need.

use anyhow::{Result, bail, ensure};

const FINAL_TEXT: u8 = 0x81;
const FINAL_PING: u8 = 0x89;
const FINAL_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;
/// Any key does: a server has to undo it whatever it is.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Nothing a benchmark provokes is as long; a length beyond it means that frame borders were lost.
const LONGEST: usize = 16 << 20;

/// A text frame as a client sends it: masked.
pub fn masked_text(text: &str) -> Vec<u8> {
    let mut frame = head(text, MASKED);
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A text frame as a server sends it.
pub fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = head(text, 0);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The text of the first frame in `bytes`, which a client sent and which is unmasked in place, and the frame's length, once it is complete.
pub fn masked_text_in(bytes: &mut [u8]) -> Result<Option<(&str, usize)>> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    ensure!(first == FINAL_TEXT && second & MASKED != 0, "a frame that starts with {first:#04x} {second:#04x}");
    let (head, length) = match second & !MASKED {
        126 => match bytes.get(2..4) {
            Some(length) => (4, u16::from_be_bytes(length.try_into()?).into()),
            None => return Ok(None),
        },
        127 => bail!("a frame of 64 KiB or more"),
        short => (2, usize::from(short)),
    };
    let Some(masked) = bytes.get_mut(head..head + MASK.len() + length) else { return Ok(None) };
    let (mask, text) = masked.split_at_mut(MASK.len());
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Ok(Some((std::str::from_utf8(text)?, head + MASK.len() + length)))
}

fn head(text: &str, masked: u8) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a packet here is shorter than 64 KiB");
    match u8::try_from(length) {
        Ok(short @ 0..126) => vec![FINAL_TEXT, masked | short],
        _ => [&[FINAL_TEXT, masked | 126][..], &length.to_be_bytes()].concat(),
    }
}

/// Cuts a byte stream into the texts of its frames; keeps what is incomplete for the next bytes.
#[derive(Default)]
pub struct Frames {
    incomplete: Vec<u8>,
}

impl Frames {
    /// Hands every text that `bytes` complete to `on_text`, in order.
    pub fn feed(&mut self, bytes: &[u8], mut on_text: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.incomplete.is_empty() {
            let used = take_texts(bytes, &mut on_text)?;
            self.incomplete.extend_from_slice(&bytes[used..]);
        } else {
            self.incomplete.extend_from_slice(bytes);
            let used = take_texts(&self.incomplete, &mut on_text)?;
            self.incomplete.drain(..used);
        }
        Ok(())
    }
}

/// Returns how many bytes were whole frames.
fn take_texts(bytes: &[u8], on_text: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    while let Some((head, length)) = header(&bytes[used..])? {
        let Some(payload) = bytes.get(used + head..used + head + length) else { break };
        match bytes[used] {
            FINAL_TEXT => on_text(payload)?,
            FINAL_PING => {} // no peer relies on WebSocket's own pings: Engine.IO has its own
            FINAL_CLOSE => bail!("the server sent a close frame"),
            other => bail!("a frame that starts with {other:#04x}: compressed, fragmented or binary"),
        }
        used += head + length;
    }
    Ok(used)
}

/// The lengths of a frame's header and payload, once the header is complete.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    ensure!(second & MASKED == 0, "a server must not mask its frames");
    let (head, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, u16::from_be_bytes(length.try_into()?).into()),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10) {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(length.try_into()?))?),
            None => return Ok(None),
        },
        short => (2, short.into()),
    };
    ensure!(length <= LONGEST, "a frame of {length} bytes");
    Ok(Some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_whole_however_the_stream_is_cut() {
        let texts = ["2".to_owned(), "x".repeat(125), "y".repeat(126), "z".repeat(5000), String::new()];
        let stream: Vec<u8> = texts.iter().flat_map(|text| text_frame(text)).collect();
        for cut in [1, 2, 3, 7, 128, 4096, stream.len()] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                frames
                    .feed(piece, |text| {
                        seen.push(String::from_utf8(text.to_vec())?);
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(seen, texts, "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_masked_text_unmasks_to_itself() {
        for text in ["3", &"t".repeat(600)] {
            let frame = masked_text(text);
            for end in 0..frame.len() {
                assert_eq!(masked_text_in(&mut frame[..end].to_vec()).unwrap(), None, "{end} bytes");
            }
            let mut two = [frame.clone(), frame.clone()].concat();
            assert_eq!(masked_text_in(&mut two).unwrap(), Some((text, frame.len())));
        }
        assert!(masked_text_in(&mut text_frame("3")).is_err(), "unmasked");
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        let swallow = |_: &[u8]| Ok(());
        assert!(Frames::default().feed(&[0xc1, 0x01, b'x'], swallow).is_err(), "compressed");
        assert!(Frames::default().feed(&[0x81, 0x81, 0, 0, 0, 0, b'x'], swallow).is_err(), "masked");
        assert!(Frames::default().feed(&[0x88, 0x00], swallow).is_err(), "closed");
    }
}
