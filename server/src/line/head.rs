//! The head of the answer to an upgrade: where it ends, frames begin.

/// What an answer begins with that switches protocols (RFC 9112, section 4).
const AGREED: &[u8] = b"HTTP/1.1 101";
const END: &[u8] = b"\r\n\r\n";

/// How far the head has been written.
#[derive(Debug, Default)]
pub(super) struct Head {
    agreed: usize,
    end: usize,
}

/// The server did not agree, or wrote something behind the head at once: what follows is no business of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherAnswer;

impl Head {
    /// Reads on.
    ///
    /// # Errors
    ///
    /// [`OtherAnswer`], once.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), OtherAnswer> {
        for byte in bytes {
            if self.is_whole() {
                return Err(OtherAnswer);
            }
            if self.agreed < AGREED.len() {
                if *byte != AGREED[self.agreed] {
                    return Err(OtherAnswer);
                }
                self.agreed += 1;
            }
            self.end = if *byte == END[self.end] { self.end + 1 } else { usize::from(*byte == END[0]) };
        }
        Ok(())
    }

    /// True when all of it was written.
    pub(super) const fn is_whole(&self) -> bool {
        self.end == END.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> Result<bool, OtherAnswer> {
        let mut head = Head::default();
        parts.iter().try_for_each(|part| head.read(part.as_bytes())).map(|()| head.is_whole())
    }

    #[test]
    fn a_head_ends_at_the_empty_line() {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
        for cut in 0..answer.len() {
            let (before, after) = answer.split_at(cut);
            assert_eq!(read(&[before]), Ok(false), "{cut}");
            assert_eq!(read(&[before, after]), Ok(true), "{cut}");
        }
        assert_eq!(read(&[answer, "x"]), Err(OtherAnswer));
        assert_eq!(read(&["HTTP/1.1 400 Bad Request\r\n\r\n"]), Err(OtherAnswer));
        assert_eq!(read(&["HTTP/1.1 101\r\r\n\r\n"]), Ok(true));
    }
}
