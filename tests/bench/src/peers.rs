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
    client::Dialect,
    credentials::{API_KEY, ORIGIN, SIGNING_SECRET},
    process::free_address,
};

/// A server under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// a loop around epoll that does nothing but write ready frames to sockets: what others are divided by
    Floor,
    /// tokio-tungstenite with a task and a queue for each connection, and nothing else
    Tungstenite,
    /// socketioxide as its documentation shows it
    Bare,
    /// socket.io on Node.js
    Node,
    /// socket.io on Node.js and uWebSockets.js
    Uws,
    /// the Go library behind Centrifugo, which has a protocol of its own
    Centrifuge,
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
            Self::Floor => "floor",
            Self::Tungstenite => "tungstenite",
            Self::Bare => "bare",
            Self::Node => "node",
            Self::Uws => "uws",
            Self::Centrifuge => "centrifuge",
            Self::Carillon => "carillon",
        }
    }

    /// The shortest interval between pings that it can be told.
    pub fn shortest_ping_interval(self) -> Duration {
        match self {
            Self::Floor | Self::Tungstenite | Self::Bare | Self::Node | Self::Uws => Duration::from_millis(250),
            // It ends a connection whose answer takes longer than four fifths of that.
            Self::Centrifuge => Duration::from_millis(500),
            Self::Carillon => Duration::from_secs(1), // its option counts whole seconds
        }
    }

    /// Whether several of it can be one by a Redis between them.
    pub fn has_pods(self) -> bool {
        !matches!(self, Self::Floor | Self::Tungstenite)
    }

    /// Whether it drops packets for a member whose queue is full, rather than let them wait or close the connection.
    pub fn drops_when_full(self) -> bool {
        self == Self::Bare
    }

    /// Whether its clients may begin by long-polling.
    pub fn has_polling(self) -> bool {
        matches!(self, Self::Bare | Self::Node | Self::Uws | Self::Carillon)
    }

    /// What its clients speak.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Centrifuge => Dialect::Centrifuge,
            _ => Dialect::SocketIo,
        }
    }
}

/// Peers that are ready to be started.
pub struct Peers {
    carillon: PathBuf,
    centrifuge: PathBuf,
}

impl Peers {
    /// Builds and installs what `peers` need and is missing.
    pub fn prepare(peers: &[Peer], carillon: Option<PathBuf>) -> Result<Self> {
        let beside_this_program = |name: &str| anyhow::Ok(env::current_exe()?.with_file_name(name));
        let centrifuge = beside_this_program("centrifuge-peer")?;
        let on_node = peers.contains(&Peer::Node) || peers.contains(&Peer::Uws);
        // The last one of the packages, so that what an older version of this installed is not taken for all of them.
        if on_node && !folder("node/node_modules/@trufflesuite").exists() {
            let mut install = Command::new("npm");
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder("node"));
            run(install).context("install the Node.js peers")?;
        }
        if peers.contains(&Peer::Centrifuge) {
            let mut build = Command::new("go");
            build.args(["build", "-o"]).arg(&centrifuge).arg(".").current_dir(folder("go"));
            run(build).context("build the Go peer")?;
        }
        if carillon.is_none() && peers.contains(&Peer::Carillon) {
            let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["build", "--release", "--locked", "--package", "carillon-cli"]).current_dir(folder(""));
            run(build).context("build carillon")?;
        }
        Ok(Self { carillon: carillon.map_or_else(|| beside_this_program("carillon"), Ok)?, centrifuge })
    }

    /// The command that starts one pod of `peer`.
    pub fn command(&self, peer: Peer, start: &Start) -> Result<Command> {
        match peer {
            Peer::Floor => this_program("serve-floor", start),
            Peer::Tungstenite => this_program("serve-tungstenite", start),
            Peer::Bare => this_program("serve-bare", start),
            Peer::Node => Ok(node("server.js", start)),
            Peer::Uws => Ok(node("server-uws.js", start)),
            Peer::Centrifuge => Ok(by_environment(Command::new(&self.centrifuge), start)),
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

fn this_program(subcommand: &str, start: &Start) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(subcommand)
        .args(["--port", &start.port.to_string()])
        .args(["--ping-interval-ms", &start.ping_interval.as_millis().to_string()]);
    if let Some(redis) = start.redis {
        command.args(["--redis", redis]);
    }
    Ok(command)
}

fn node(program: &str, start: &Start) -> Command {
    let mut command = Command::new("node");
    command.arg(folder("node").join(program)).env("NODE_ENV", "production");
    by_environment(command, start)
}

/// Tells it by its environment what it has to know.
fn by_environment(mut command: Command, start: &Start) -> Command {
    command
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
