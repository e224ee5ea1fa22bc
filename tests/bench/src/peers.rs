//! The servers that are compared: how each is made ready, and how it is started.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{
    credentials::{API_KEY, ORIGIN, SIGNING_SECRET},
    process::free_address,
};

/// A server under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// socketioxide as its documentation shows it
    Bare,
    /// socket.io on Node.js
    Node,
    /// this workspace's `carillon dev`, which besides sends every member a small event each five seconds
    Carillon,
}

/// How a server is to be started.
pub struct Start<'a> {
    pub port: u16,
    pub ping_interval: Duration,
    /// The Redis shared with other pods; absent: a single pod.
    pub redis: Option<&'a str>,
}

impl Peer {
    /// What it is called in the report and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Node => "node",
            Self::Carillon => "carillon",
        }
    }

    /// The shortest interval between pings that it can be told.
    pub fn shortest_ping_interval(self) -> Duration {
        match self {
            Self::Bare | Self::Node => Duration::from_millis(250),
            Self::Carillon => Duration::from_secs(1), // its option counts whole seconds
        }
    }
}

/// Peers that are ready to be started.
pub struct Peers {
    carillon: PathBuf,
}

impl Peers {
    /// Builds and installs what `peers` need and is missing.
    pub fn prepare(peers: &[Peer], carillon: Option<PathBuf>) -> Result<Self> {
        if peers.contains(&Peer::Node) && !folder("node/node_modules").exists() {
            let mut install = Command::new("npm");
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder("node"));
            run(install).context("install the Node.js peer")?;
        }
        let build = carillon.is_none() && peers.contains(&Peer::Carillon);
        if build {
            let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["build", "--release", "--locked", "--package", "carillon-cli"]).current_dir(folder(""));
            run(build).context("build carillon")?;
        }
        let beside_this_program = env::current_exe()?.with_file_name("carillon");
        Ok(Self { carillon: carillon.unwrap_or(beside_this_program) })
    }

    /// The command that starts one pod of `peer`.
    pub fn command(&self, peer: Peer, start: &Start) -> Result<Command> {
        match peer {
            Peer::Bare => bare(start),
            Peer::Node => Ok(node(start)),
            Peer::Carillon => self.carillon(start),
        }
    }

    fn carillon(&self, start: &Start) -> Result<Command> {
        let mut command = Command::new(&self.carillon);
        command
            .arg("dev")
            .arg("--tenants")
            .arg(folder("tenants"))
            .args(["--listen", &format!("127.0.0.1:{}", start.port)])
            .args(["--admin-listen", &free_address()?.to_string()])
            .args(["--ping-interval-seconds", &start.ping_interval.as_secs().to_string()])
            .env_remove("REDIS_URL");
        if let Some(redis) = start.redis {
            command.args(["--redis", redis]);
        }
        Ok(command)
    }
}

fn bare(start: &Start) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("serve-bare")
        .args(["--port", &start.port.to_string()])
        .args(["--ping-interval-ms", &start.ping_interval.as_millis().to_string()]);
    if let Some(redis) = start.redis {
        command.args(["--redis", redis]);
    }
    Ok(command)
}

fn node(start: &Start) -> Command {
    let mut command = Command::new("node");
    command
        .arg(folder("node/server.js"))
        .env("NODE_ENV", "production")
        .env("PORT", start.port.to_string())
        .env("PING_INTERVAL_MS", start.ping_interval.as_millis().to_string())
        .env("JWT_SECRET", SIGNING_SECRET)
        .env("API_KEY", API_KEY)
        .env("FRONTEND_URL", ORIGIN)
        .env_remove("REDIS_URL");
    if let Some(redis) = start.redis {
        command.env("REDIS_URL", redis);
    }
    command
}

/// A folder of this crate.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a command that prepares something; what it prints is progress.
fn run(mut command: Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
