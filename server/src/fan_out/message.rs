//! What is sent to many: encoded once, shared by every member and every pod.

use std::{
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use carillon_tenant::{ConnectionId, RoomName, UserId};
use serde_json::value::RawValue;

use crate::line::frame;

/// An event with its data, as JSON text that nobody parses again.
#[derive(Debug)]
pub struct Message {
    /// The event's name.
    pub event: Box<str>,
    /// The one argument, as JSON text.
    pub data: Box<RawValue>,
    /// When it was published, in milliseconds of Unix time.
    pub published_at_ms: u64,
    frame: OnceLock<Bytes>,
}

impl Message {
    /// A message published now.
    pub fn new(event: &str, data: Box<RawValue>) -> Arc<Self> {
        Self::published_at(unix_time_ms(), event, data)
    }

    /// A message published at that time, in milliseconds of Unix time.
    pub fn published_at(published_at_ms: u64, event: impl Into<Box<str>>, data: Box<RawValue>) -> Arc<Self> {
        Arc::new(Self { event: event.into(), data, published_at_ms, frame: OnceLock::new() })
    }

    /// The WebSocket frame of it: an Engine.IO message with a Socket.IO event. Made once, for all connections of this pod.
    pub fn frame(&self) -> &Bytes {
        self.frame.get_or_init(|| {
            let event = serde_json::to_string(&self.event).expect("text serialises to JSON");
            frame::text(&["42[", &event, ",", self.data.get(), "]"])
        })
    }
}

/// Milliseconds of Unix time.
pub fn unix_time_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds of Unix time, as they stand in tokens.
pub fn unix_time() -> i64 {
    i64::try_from(unix_time_ms() / 1000).unwrap_or(i64::MAX)
}

/// Whom a message is for, within one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every connection of the tenant.
    Tenant,
    /// The members of a room.
    Room(RoomName),
    /// Every connection of these users.
    Users(Arc<[UserId]>),
    /// No connection, but the pods themselves: they give back what they hold of the tenant's quotas and don't use.
    Pods,
}

/// A message on its way to its target.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Whom it is for.
    pub target: Target,
    /// The connection that doesn't get it: its own sender.
    pub except: Option<ConnectionId>,
    /// The message itself.
    pub message: Arc<Message>,
}

/// Messages that go out together, and who doesn't get which.
#[derive(Debug)]
pub struct Bundle {
    messages: Vec<(Arc<Message>, Option<ConnectionId>)>,
    frames: OnceLock<Bytes>,
    /// Bytes of data in all of them.
    pub bytes: u64,
}

impl Bundle {
    /// Puts them together.
    pub fn new(messages: Vec<(Arc<Message>, Option<ConnectionId>)>) -> Self {
        let bytes = messages.iter().map(|(message, _)| message.data.get().len() as u64).sum();
        Self { messages, frames: OnceLock::new(), bytes }
    }

    /// All of them.
    pub fn messages(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.iter().map(|(message, _)| message)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.messages.len() as u64
    }

    /// True when `connection` is to get all of them.
    pub fn is_whole_for(&self, connection: ConnectionId) -> bool {
        self.messages.iter().all(|(_, except)| *except != Some(connection))
    }

    /// Those that `connection` is to get.
    pub fn messages_for(&self, connection: ConnectionId) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.iter().filter(move |(_, except)| *except != Some(connection)).map(|(message, _)| message)
    }

    /// The frames of all of them.
    pub fn frames(&self) -> &Bytes {
        match &self.messages[..] {
            [(message, _)] => message.frame(),
            messages => self.frames.get_or_init(|| {
                let mut frames = Vec::with_capacity(messages.iter().map(|(message, _)| message.frame().len()).sum());
                messages.iter().for_each(|(message, _)| frames.extend_from_slice(message.frame()));
                frames.into()
            }),
        }
    }
}
