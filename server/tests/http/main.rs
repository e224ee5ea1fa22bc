//! The server's HTTP: the API on the public port, the admin port, health, and the process around them. Real servers on loopback.

mod admin;
mod certificates;
mod delivery;
mod fencing;
mod golden;
mod health;
mod openapi;
mod polling;
mod process;
mod publish;
mod rates;
mod reload;
mod revocation;
mod server;
mod tenants;
mod usage;
