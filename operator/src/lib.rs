//! The operator: watches `RealtimeTenant`s and what they refer to, compiles them, pushes them to every server pod, and says in
//! their status how far that has come.

mod acks;
mod admin_client;
mod claims;
mod deletion;
mod desired;
#[cfg(test)]
mod fixtures;
mod fleet;
mod index;
mod metrics;
mod object;
mod pusher;
mod resolve;
mod status;
mod tls;
