//! The harness of the end-to-end tests: real servers, real clients, a real Redis, all on loopback.
//!
//! Nothing here sleeps to let something happen: what is awaited is awaited with a deadline, and what must not have happened is
//! proven by something that happened after it on the same ordered connection.

pub mod balancer;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod command;
pub mod control_plane;
pub mod crowd;
pub mod driver;
pub mod eventually;
pub mod fleet;
pub mod folder;
pub mod http;
pub mod loopback;
pub mod metrics;
pub mod node;
pub mod operator;
pub mod panics;
pub mod polling;
pub mod processes;
pub mod python;
pub mod redis;
pub mod tenants;
pub mod tokens;
pub mod websocket;

use std::path::PathBuf;

/// A file of `tests/`.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}
