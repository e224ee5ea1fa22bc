//! Bytes that wait for a client to read.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// Pieces that are written at once.
const SLICES: usize = 16;

/// What waits, oldest first. Takes no memory while nothing does.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<Box<Waiting>>);

#[derive(Debug)]
struct Waiting {
    pieces: VecDeque<(Bytes, Instant)>,
    bytes: usize,
}

impl Backlog {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Since when the oldest piece waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.0.as_ref()?.pieces.front().map(|(_, since)| *since)
    }

    /// Adds a piece, which must not be empty.
    pub(super) fn push(&mut self, bytes: Bytes, now: Instant) {
        let waiting = self.0.get_or_insert_with(|| Box::new(Waiting { pieces: VecDeque::new(), bytes: 0 }));
        waiting.bytes += bytes.len();
        waiting.pieces.push_back((bytes, now));
    }

    /// Hands all of it to `write` until that would block.
    ///
    /// # Errors
    ///
    /// Whatever else keeps `write` from writing.
    pub(super) fn write(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        while let Some(waiting) = &mut self.0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = waiting.pieces.iter().zip(&mut slices).map(|((bytes, _), slice)| *slice = IoSlice::new(bytes)).count();
            match write(&slices[..count]) {
                Ok(written) => waiting.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if waiting.pieces.is_empty() {
                self.0 = None;
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some((first, _)) = self.pieces.front_mut()
            && written > 0
        {
            let step = written.min(first.len());
            first.advance(step);
            written -= step;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_out_in_order_however_little_is_taken_at_once() {
        let mut backlog = Backlog::default();
        let (now, whole): (_, Vec<u8>) = (Instant::now(), (0..=255).cycle().take(1000).collect());
        for piece in whole.chunks(7) {
            backlog.push(Bytes::copy_from_slice(piece), now);
        }
        let mut out = Vec::new();
        for step in (1..=50).cycle() {
            if backlog.is_empty() {
                break;
            }
            assert_eq!(backlog.bytes(), whole.len() - out.len());
            let mut once = false;
            let take = |slices: &[IoSlice<'_>]| {
                if std::mem::replace(&mut once, true) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let taken: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(step).collect();
                out.extend_from_slice(&taken);
                Ok(taken.len())
            };
            backlog.write(take).unwrap();
        }
        assert_eq!(out, whole);
        assert_eq!((backlog.bytes(), backlog.oldest()), (0, None));
    }
}
