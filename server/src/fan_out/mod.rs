//! Who is in a room, and how a message reaches them.

mod member;
mod message;
mod outlet;
mod rooms;
mod tenant;
mod unknown_kids;

pub use message::{Message, Publication, Target, unix_time, unix_time_ms};
pub use outlet::{Outlet, QUEUE_PACKETS_MAX};
pub use rooms::Room;
pub use tenant::{Admission, Tenant, Usage};
pub use unknown_kids::UnknownKids;
