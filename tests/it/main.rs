//! End-to-end tests: stories over `carillon_tests`, a module per feature.

mod auth;
mod bad_bytes;
mod boot;
mod cert_manager;
mod certificates;
mod cli;
mod cluster;
mod config;
mod connect;
mod control_plane;
mod drain;
mod expiry;
mod fleet;
mod fleets;
mod generated;
mod heartbeat;
mod http_api;
mod key_sets;
mod memory;
mod order;
mod origins;
mod payloads;
mod quotas;
mod revocation;
mod rooms;
mod seed;
mod session_ids;
mod slow;
mod sticky;
mod stress;

/// Held by stories that take all of the machine, and by those that measure what needs some of it.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
