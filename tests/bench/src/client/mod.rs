//! The load generator: raw Engine.IO frames on plain sockets, so that its own cost is small and the same for all peers.

mod audience;
mod broadcast;
mod broadcaster;
mod dialect;
mod ledger;
mod member;
mod polling;
mod publisher;
mod request;

pub use audience::{Audience, Transport, tokens};
pub use broadcast::Broadcasts;
pub use broadcaster::Broadcaster;
pub use dialect::{Dialect, Target};
pub use ledger::Ledger;
pub use member::{LEAVE, Member, Refused};
pub use publisher::Publisher;
