//! Running peers, and the Redis between them.

use std::{net::SocketAddrV4, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::Audience,
    peers::{Peer, Peers, Start},
    process::{Process, free_address},
};

/// So often a server is started anew when it ends at once: another program may have taken its port.
const ATTEMPTS: u32 = 3;

/// One pod of a peer; ended when dropped.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub address: SocketAddrV4,
}

/// Where and how servers are started.
pub struct Site<'a> {
    pub peers: &'a Peers,
    pub folder: &'a Path,
    pub core: usize,
}

impl Server {
    /// Starts a pod, and waits until it lets clients in.
    pub async fn start(site: &Site<'_>, peer: Peer, ping_interval: Duration, redis: Option<&Redis>) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::attempt(site, peer, ping_interval, redis).await {
                Err(problem) if attempt < ATTEMPTS => eprintln!("{problem:#}; starting it again"),
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    async fn attempt(site: &Site<'_>, peer: Peer, ping_interval: Duration, redis: Option<&Redis>) -> Result<Self> {
        let address = free_address()?;
        let redis = redis.map(Redis::url);
        let start = Start { port: address.port(), ping_interval, redis: redis.as_deref() };
        let command = site.peers.command(peer, &start)?;
        let name = format!("{}-{}", peer.name(), address.port());
        let mut process = Process::start(&name, command, site.core, site.folder)?;
        process.ready(async || Audience::connect(address, 1).await.map(drop)).await?;
        Ok(Self { process, address })
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        self.process.id()
    }
}

/// A Redis without persistence; ended when dropped.
pub struct Redis {
    _process: Process,
    address: SocketAddrV4,
}

impl Redis {
    /// Starts it on `core`, and waits until it answers.
    pub async fn start(folder: &Path, core: usize) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder);
        let mut process = Process::start("redis-server", command, core, folder)?;
        process.ready(async || ping(address).await).await.context("redis-server, version 7 or later, is needed")?;
        Ok(Self { _process: process, address })
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

async fn ping(address: SocketAddrV4) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    ensure!(&answer == b"+PONG", "not a Redis");
    Ok(())
}
