//! What a client sends over the WebSocket that its long-polling session is to upgrade to.

use super::frame;

/// Bytes that a client may send before it has upgraded: a probe, and that it upgrades.
const BYTES_MAX: usize = 64;
/// The packet that ends long-polling (Engine.IO protocol 4, "Upgrade").
const UPGRADE: &[u8] = b"5";

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Upgrade(Vec<u8>);

impl Upgrade {
    /// Reads on; true once the client has upgraded. The engine ends whatever begins otherwise.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        let room = BYTES_MAX - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let mut rest = &self.0[..];
        while let Some((payload, after)) = frame::short_of_client(rest) {
            if payload == UPGRADE {
                return true;
            }
            rest = after;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_upgrades_however_its_frames_are_cut() {
        // "2probe" and "5", masked by 1, 2, 3, 4.
        let frames = [
            &[0x81, 0x86, 1, 2, 3, 4][..],
            &[b'2' ^ 1, b'p' ^ 2, b'r' ^ 3, b'o' ^ 4, b'b' ^ 1, b'e' ^ 2],
            &[0x81, 0x81, 1, 2, 3, 4, b'5' ^ 1],
        ];
        let bytes = frames.concat();
        for cut in 0..bytes.len() {
            let mut upgrade = Upgrade::default();
            assert!(!upgrade.read(&bytes[..cut]), "{cut}");
            assert!(upgrade.read(&bytes[cut..]), "{cut}");
        }
        let mut other = Upgrade::default();
        assert!(!other.read(&[0x81, 0x82, 0, 0, 0, 0, b'5', b'5']));
        assert!(!other.read(&[0x81; 200]));
    }
}
