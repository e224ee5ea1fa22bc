//! Servers written by hand, with as little between a broadcast and its sockets as can be: what others cost is told in multiples of them.
//!
//! They authenticate, answer and broadcast as the other peers do, so far as the benchmark can tell; they withstand nothing.

mod floor;
mod handshake;
mod request;
mod tungstenite;

use std::net::{Ipv4Addr, SocketAddr};

pub use floor::serve as serve_floor;
pub use tungstenite::serve as serve_tungstenite;

/// What such a server is told on its command line.
#[derive(clap::Args)]
pub struct ServeYardstick {
    /// The port on 127.0.0.1 to listen on.
    #[arg(long)]
    port: u16,
    /// How often to ping each connection.
    #[arg(long)]
    ping_interval_ms: u64,
}

impl ServeYardstick {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
