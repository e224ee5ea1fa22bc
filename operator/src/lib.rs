//! The operator: watches `RealtimeTenant`s and what they refer to, compiles them, pushes them to every server pod, and says in
//! their status how far that has come.

mod acks;
mod claims;
mod deletion;
mod desired;
#[cfg(test)]
mod fixtures;
mod index;
mod metrics;
mod object;
mod resolve;
mod status;
