//! The ids that long-polling clients hold: `<pod>.<mac>.<sid>`.
//!
//! The engine takes its bare session id for proof of who is asking, and shows that id to handlers and clients. So a bare id is never
//! accepted from outside: only one that carries the MAC of this fleet, which is handed out once, to the client that opened the session.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_tenant::SecretBytes;

/// Bytes of the MAC that are kept.
const MAC_BYTES: usize = 16;

/// An id from outside whose MAC is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId<'a> {
    /// The pod that owns the session.
    pub pod: &'a str,
    /// The engine's own id there.
    pub sid: &'a str,
}

/// The id that a client is to hold for the session `sid` of `pod`.
pub fn seal(key: &SecretBytes, pod: &str, sid: &str) -> String {
    let tag = mac(key, pod, sid);
    format!("{pod}.{}.{sid}", URL_SAFE_NO_PAD.encode(&tag.as_ref()[..MAC_BYTES]))
}

/// Takes an id from outside apart, if its MAC is right.
pub fn open<'a>(key: &SecretBytes, id: &'a str) -> Option<SessionId<'a>> {
    let (pod, rest) = id.split_once('.')?;
    let (claimed, sid) = rest.split_once('.')?;
    let claimed = URL_SAFE_NO_PAD.decode(claimed).ok()?;
    let tag = mac(key, pod, sid);
    aws_lc_rs::constant_time::verify_slices_are_equal(&claimed, &tag.as_ref()[..MAC_BYTES]).ok()?;
    Some(SessionId { pod, sid })
}

fn mac(key: &SecretBytes, pod: &str, sid: &str) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
    for part in ["carillon session", pod, sid] {
        context.update(part.as_bytes());
        context.update(b".");
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let (key, other) = (SecretBytes::from(vec![1; 32]), SecretBytes::from(vec![2; 32]));
        let id = seal(&key, "pod1", "AAAAsid-_09");
        assert_eq!(open(&key, &id), Some(SessionId { pod: "pod1", sid: "AAAAsid-_09" }));
        assert_eq!(open(&other, &id), None);
        for bad in ["AAAAsid-_09", "pod1..AAAAsid-_09", "", ".", "..", &id[1..], &id.replace("pod1", "pod2"), &id.replace("AAAA", "AAAB")] {
            assert_eq!(open(&key, bad), None, "{bad}");
        }
    }
}
