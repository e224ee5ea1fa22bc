//! The load generator: raw Engine.IO frames on plain sockets, so that its own cost is small and the same for all peers.

mod audience;
mod broadcast;
mod broadcaster;
mod frame;
mod ledger;
mod member;
mod publisher;

pub use audience::{Audience, tokens};
pub use broadcast::Broadcasts;
pub use broadcaster::Broadcaster;
pub use frame::masked_text;
pub use ledger::Ledger;
pub use member::{LEAVE, Member, Refused};
pub use publisher::Publisher;
