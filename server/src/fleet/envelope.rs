//! A publication as it travels between pods.
//!
//! ```text
//! version u8 | sequence u64 | published_at_ms u64 | flags u8 | publisher text | event text
//! | except u64, if flagged | target: nothing for all and for pods, a room's text, or u16 and as many users' JSON texts | data: JSON, to the end
//! ```
//!
//! Numbers are little-endian, a text is its length (u16) and UTF-8. The data is copied, never parsed beyond one check that it is JSON.

use carillon_tenant::{ConnectionId, RoomName, UserId};
use serde_json::value::RawValue;

use crate::fan_out::{Message, Publication, Target};

/// Pods of two versions share a bus while a fleet is upgraded. What a pod can't read it counts as lost.
const VERSION: u8 = 1;
/// The largest envelope, in bytes: the largest `data` a tenant may publish, twice.
const ENVELOPE_BYTES_MAX: usize = 2 << 20;
/// Bytes in front of the publisher's name.
const HEADER_BYTES: usize = 18;

const TARGET_TENANT: u8 = 0;
const TARGET_ROOM: u8 = 1;
const TARGET_USERS: u8 = 2;
const TARGET_PODS: u8 = 3;
const HAS_EXCEPT: u8 = 0x80;

/// Why bytes from the bus are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another version wrote it.
    #[error("envelope of version {0}")]
    Version(u8),
    /// It is cut off, too long, or its parts are not what they should be.
    #[error("malformed envelope")]
    Malformed,
}

/// A publication too large for the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// An envelope that lacks its sequence number only: encoded before a place in the sequence is taken, so that taking it is short.
#[derive(Debug)]
pub struct Unnumbered(Vec<u8>);

impl Unnumbered {
    /// Encodes `publication` for the bus.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when the envelope or one of its parts would be longer than an envelope can be.
    pub fn encode(publisher: &str, publication: &Publication) -> Result<Self, TooLarge> {
        let Publication { target, except, message } = publication;
        let data = message.data.get().as_bytes();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 64 + publisher.len() + message.event.len() + data.len());
        let target_kind = match target {
            Target::Tenant => TARGET_TENANT,
            Target::Room(_) => TARGET_ROOM,
            Target::Users(_) => TARGET_USERS,
            Target::Pods => TARGET_PODS,
        };
        bytes.push(VERSION);
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(message.published_at_ms.to_le_bytes());
        bytes.push(target_kind | if except.is_some() { HAS_EXCEPT } else { 0 });
        put_text(&mut bytes, publisher)?;
        put_text(&mut bytes, &message.event)?;
        if let Some(ConnectionId(id)) = except {
            bytes.extend(id.to_le_bytes());
        }
        match target {
            Target::Tenant | Target::Pods => {}
            Target::Room(name) => put_text(&mut bytes, name.as_str())?,
            Target::Users(users) => {
                bytes.extend(u16::try_from(users.len()).map_err(|_| TooLarge)?.to_le_bytes());
                for user in users.iter() {
                    put_text(&mut bytes, &user.to_json().to_string())?;
                }
            }
        }
        bytes.extend(data);
        if bytes.len() > ENVELOPE_BYTES_MAX { Err(TooLarge) } else { Ok(Self(bytes)) }
    }

    /// The envelope with its place in the publisher's sequence.
    pub fn number(mut self, sequence: u64) -> Vec<u8> {
        self.0[1..9].copy_from_slice(&sequence.to_le_bytes());
        self.0
    }
}

/// An envelope whose first half was read: enough to tell whether the rest matters.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The pod that published it.
    pub publisher: &'a str,
    /// Its number among what that pod published for this tenant.
    pub sequence: u64,
    /// When it was published, in milliseconds of Unix time.
    pub published_at_ms: u64,
    flags: u8,
    rest: Reader<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads the first half of an envelope. Total: any bytes at all give an answer.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut rest = Reader(bytes);
        match rest.array::<1>()?[0] {
            VERSION if bytes.len() <= ENVELOPE_BYTES_MAX => {}
            VERSION => return Err(DecodeError::Malformed),
            other => return Err(DecodeError::Version(other)),
        }
        let sequence = rest.u64()?;
        let published_at_ms = rest.u64()?;
        let flags = rest.array::<1>()?[0];
        let publisher = rest.text()?;
        Ok(Self { publisher, sequence, published_at_ms, flags, rest })
    }

    /// Reads the rest.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`]
    pub fn publication(self) -> Result<Publication, DecodeError> {
        let Self { mut rest, flags, published_at_ms, .. } = self;
        let event = rest.text()?;
        let except = if flags & HAS_EXCEPT == 0 { None } else { Some(ConnectionId(rest.u64()?)) };
        let target = match flags & !HAS_EXCEPT {
            TARGET_TENANT => Target::Tenant,
            TARGET_PODS => Target::Pods,
            TARGET_ROOM => Target::Room(RoomName::new(rest.text()?).map_err(|_| DecodeError::Malformed)?),
            TARGET_USERS => {
                let count = u16::from_le_bytes(rest.array()?);
                let users: Result<Vec<UserId>, _> = (0..count).map(|_| rest.user()).collect();
                Target::Users(users?.into())
            }
            _ => return Err(DecodeError::Malformed),
        };
        let data = std::str::from_utf8(rest.0).map_err(|_| DecodeError::Malformed)?;
        let data = RawValue::from_string(data.to_owned()).map_err(|_| DecodeError::Malformed)?;
        Ok(Publication { target, except, message: Message::published_at(published_at_ms, event, data) })
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Result<(), TooLarge> {
    bytes.extend(u16::try_from(text.len()).map_err(|_| TooLarge)?.to_le_bytes());
    bytes.extend(text.as_bytes());
    Ok(())
}

/// What is left to read.
#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = u16::from_le_bytes(self.array()?);
        let (taken, rest) = self.0.split_at_checked(length.into()).ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        std::str::from_utf8(taken).map_err(|_| DecodeError::Malformed)
    }

    fn user(&mut self) -> Result<UserId, DecodeError> {
        serde_json::from_str(self.text()?).map_err(|_| DecodeError::Malformed)
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
