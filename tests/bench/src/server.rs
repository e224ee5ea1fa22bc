//! Running peers, and the Redis between them.

use std::{net::SocketAddrV4, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    client::{Audience, Target},
    peers::{Peer, Peers, Start},
    process::{Process, free_address},
};

/// So often a server is started anew when it ends at once: another program may have taken its port.
const ATTEMPTS: u32 = 3;

/// One pod of a peer; ended when dropped.
pub struct Server {
    process: Process,
    /// Where it listens, and to what.
    pub target: Target,
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
        let target = Target { address, dialect: peer.dialect() };
        process.ready(async || Audience::connect(target, 1).await.map(drop)).await?;
        Ok(Self { process, target })
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

    /// The commands that it has run so far, but for those of this benchmark.
    pub async fn commands(&self) -> Result<Commands> {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await?);
        stream.write_all(b"INFO commandstats\r\n").await?;
        let mut length = String::new();
        stream.read_line(&mut length).await?;
        let length = length.trim().strip_prefix('$').context("no answer to INFO")?.parse()?;
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await?;
        Ok(Commands::read(&String::from_utf8_lossy(&text)))
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

/// How many commands a Redis has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Those that it was sent.
    pub sent: u64,
    /// The same, and what was called in scripts.
    pub run: u64,
}

impl Commands {
    /// What servers send. Their scripts call none of these.
    const SENT: [&str; 8] = ["evalsha", "eval", "spublish", "publish", "ssubscribe", "sunsubscribe", "get", "ping"];

    fn read(info: &str) -> Self {
        let calls = |line: &str| {
            let (command, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls: u64 = rest.split(',').next()?.parse().ok()?;
            Some((command.to_owned(), calls))
        };
        let mut commands = Self::default();
        for (command, calls) in info.lines().filter_map(calls).filter(|(command, _)| command != "info") {
            commands.run += calls;
            commands.sent += if Self::SENT.contains(&command.as_str()) { calls } else { 0 };
        }
        commands
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        let info = "# Commandstats\r\ncmdstat_evalsha:calls=3,usec=9\r\ncmdstat_hget:calls=20,usec=1\r\n\
                    cmdstat_info:calls=2,usec=1\r\ncmdstat_ping:calls=4,usec=1\r\n";
        assert_eq!(Commands::read(info), Commands { sent: 7, run: 27 });
    }
}
