//! What is sent to many: encoded once, shared by every member and every pod.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use carillon_tenant::{ConnectionId, RoomName, UserId};
use serde_json::value::RawValue;

/// An event with its data, as JSON text that nobody parses again.
#[derive(Debug)]
pub struct Message {
    /// The event's name.
    pub event: Box<str>,
    /// The one argument, as JSON text.
    pub data: Box<RawValue>,
    /// When it was published, in milliseconds of Unix time.
    pub published_at_ms: u64,
}

impl Message {
    /// A message published now.
    pub fn new(event: &str, data: Box<RawValue>) -> Arc<Self> {
        Arc::new(Self { event: event.into(), data, published_at_ms: unix_time_ms() })
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
