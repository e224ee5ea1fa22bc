//! End-to-end tests: stories over `carillon_tests`, a module per feature.

mod auth;
mod bad_bytes;
mod boot;
mod cli;
mod cluster;
mod config;
mod connect;
mod drain;
mod expiry;
mod fleet;
mod fleets;
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
