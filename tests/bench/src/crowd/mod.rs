//! Thousands of clients of a tenant other than the one whose latency is measured.
//!
//! They are a process of their own that only gets the processor when nobody else wants it: what they cost must not show in the latency that
//! the generator measures on the same core.

mod order;

use std::{
    env,
    net::SocketAddrV4,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};

use self::order::Order;
use crate::{
    client::{Audience, Broadcaster, Broadcasts, Target, tokens},
    credentials::Tenant,
    process::{Process, free_address},
};

/// How many handshakes are under way at a time: about as many as a listener's queue holds, beyond which clients wait for a second.
const HANDSHAKES_AT_ONCE: usize = 500;
/// Indexes from here on have source addresses of their own: other clients don't share their ports.
const FIRST: usize = 100_000;
/// Broadcasts that are under way while the crowd is published to: there is always one more to deliver.
const IN_FLIGHT: usize = 2;

/// What the process is told on its command line.
#[derive(clap::Args)]
pub struct Gather {
    /// Where it is told what to do.
    #[arg(long)]
    control: SocketAddrV4,
    /// The server that its clients use.
    #[arg(long)]
    server: SocketAddrV4,
    /// How many they are.
    #[arg(long)]
    clients: usize,
    /// The size of what is broadcast to them.
    #[arg(long)]
    bytes: usize,
}

/// Does what it is told until nobody is there any more to tell it.
#[tokio::main(flavor = "current_thread")]
pub async fn gather(options: Gather) -> Result<()> {
    let listener = TcpListener::bind(options.control).await?;
    let (stream, _) = listener.accept().await?;
    let mut control = BufStream::new(stream);
    let mut clients = Clients { tokens: tokens(Tenant::Crowd, 0..options.clients)?, audience: Audience::from(FIRST), options };
    let mut line = String::new();
    while control.read_line(&mut line).await? > 0 {
        let outcome = match Order::from_line(&line) {
            Some(order) => clients.obey(order).await,
            None => Err(anyhow::anyhow!("no such order: {line}")),
        };
        control.write_all(order::outcome_line(&outcome).as_bytes()).await?;
        control.flush().await?;
        line.clear();
    }
    Ok(())
}

struct Clients {
    options: Gather,
    tokens: Vec<String>,
    audience: Audience,
}

impl Clients {
    async fn obey(&mut self, order: Order) -> Result<f64> {
        let server = Target::socket_io(self.options.server);
        match order {
            Order::Reconnect => {
                let tokens = self.tokens.clone();
                let start = Instant::now();
                std::mem::replace(&mut self.audience, Audience::from(FIRST)).leave().await;
                self.audience.join_at_once(server, tokens, HANDSHAKES_AT_ONCE).await?;
                Ok(start.elapsed().as_secs_f64())
            }
            Order::Broadcast(duration) => {
                let mut broadcaster = Broadcaster::connect_as(Tenant::Crowd, server, &self.audience.ledger).await?;
                let broadcasts = Broadcasts::of_size(self.options.bytes)?;
                Ok(broadcaster.in_flight(IN_FLIGHT, broadcasts, duration).await? as f64)
            }
        }
    }
}

/// That process, as its parent sees it; it ends with this.
pub struct Crowd {
    _process: Process,
    control: BufStream<TcpStream>,
}

impl Crowd {
    /// Starts it on `core`, and waits until all its clients are connected; what is broadcast to them has so many `bytes`.
    pub async fn start(folder: &Path, core: usize, server: Target, clients: usize, bytes: usize) -> Result<Self> {
        let control = free_address()?;
        let mut command = Command::new("chrt");
        command
            .args(["--idle", "0"])
            .arg(env::current_exe()?)
            .arg("gather")
            .args(["--control", &control.to_string()])
            .args(["--server", &server.address.to_string()])
            .args(["--clients", &clients.to_string()])
            .args(["--bytes", &bytes.to_string()]);
        let mut process = Process::start("crowd", command, core, folder)?;
        let control = process.ready(async || Ok(TcpStream::connect(control).await?)).await?;
        let mut crowd = Self { _process: process, control: BufStream::new(control) };
        crowd.reconnect().await.context("the crowd did not get in")?;
        Ok(crowd)
    }

    /// Lets all clients close their connections at once, and come back at once. Returns how many seconds passed until all of them were.
    pub async fn reconnect(&mut self) -> Result<f64> {
        self.order(Order::Reconnect).await
    }

    /// Publishes to all of them for so long. Returns how many broadcasts reached them all.
    pub async fn broadcast(&mut self, duration: Duration) -> Result<f64> {
        self.order(Order::Broadcast(duration)).await
    }

    async fn order(&mut self, order: Order) -> Result<f64> {
        self.control.write_all(order.to_line().as_bytes()).await?;
        self.control.flush().await?;
        let mut line = String::new();
        self.control.read_line(&mut line).await?;
        order::outcome_of(&line).context("the crowd")
    }
}
