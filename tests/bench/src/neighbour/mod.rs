//! The tenant that goes beyond its limits while another one's latency is measured.
//!
//! It is a process of its own that only gets the processor when nobody else wants it: what its clients cost must not show in the
//! latency that the generator measures on the same core.

mod clients;
mod publishing;
mod tally;

use std::{env, net::SocketAddrV4, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};

pub use tally::Tally;

use crate::{
    client::Target,
    process::{Process, free_address},
    server::Site,
};

/// How long its members may take to connect: the tenant may have a hundred a second.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_POLL: Duration = Duration::from_millis(200);

/// A way of going beyond limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Clients beyond the number of connections, and three times as often as connects may come, that try again with back-off.
    Connects,
    /// Three times as many messages as all clients may send.
    Messages,
    /// Three times as many publishes, for one user.
    Publishes,
    /// Members that don't read what is published for them.
    SlowReaders,
    /// As many publishes as there may be, for everyone.
    GiantRoom,
}

impl Way {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Connects, Self::Messages, Self::Publishes, Self::SlowReaders, Self::GiantRoom];

    /// What it is called in the report and between the processes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connects => "connects",
            Self::Messages => "messages",
            Self::Publishes => "publishes",
            Self::SlowReaders => "slow-readers",
            Self::GiantRoom => "giant-room",
        }
    }
}

/// What the process is told on its command line.
#[derive(clap::Args)]
pub struct Disturb {
    /// Where it is told what to do.
    #[arg(long)]
    control: SocketAddrV4,
    /// The server that it disturbs.
    #[arg(long)]
    server: SocketAddrV4,
    /// How many connections it has.
    #[arg(long)]
    members: usize,
}

/// Does what it is told until nobody is there any more to tell it.
#[tokio::main(flavor = "current_thread")]
pub async fn disturb(options: Disturb) -> Result<()> {
    let listener = TcpListener::bind(options.control).await?;
    let (ways, orders) = watch::channel(Vec::new());
    let tally = tally::Shared::default();
    let server = Target::socket_io(options.server);
    clients::spawn(server, options.members, &orders, &tally)?;
    publishing::spawn(server, &orders, &tally);
    let (stream, _) = listener.accept().await?;
    let mut control = BufStream::new(stream);
    let mut line = String::new();
    while control.read_line(&mut line).await? > 0 {
        ways.send_replace(Way::ALL.into_iter().filter(|way| line.split_whitespace().any(|name| name == way.name())).collect());
        control.write_all(tally.read().to_line().as_bytes()).await?;
        control.flush().await?;
        line.clear();
    }
    Ok(())
}

/// That process, as its parent sees it; it ends with this.
pub struct Neighbour {
    _process: Process,
    control: BufStream<TcpStream>,
}

impl Neighbour {
    /// What the tenant may have.
    pub const MEMBERS_MAX: usize = 1000;
    /// Some of them don't read, some of the time.
    pub const MEMBERS_MIN: usize = 2 * clients::SLOW;
    /// Clients that try to get in besides.
    pub const EXCESS: usize = clients::EXCESS;

    /// Starts it, and waits until all its members are connected.
    pub async fn start(site: &Site<'_>, server: Target, members: usize, core: usize) -> Result<Self> {
        let control = free_address()?;
        let mut command = Command::new("chrt");
        command
            .args(["--idle", "0"])
            .arg(env::current_exe()?)
            .arg("disturb")
            .args(["--control", &control.to_string()])
            .args(["--server", &server.address.to_string()])
            .args(["--members", &members.to_string()]);
        let mut process = Process::start("neighbour", command, core, site.folder)?;
        let control = process.ready(async || Ok(TcpStream::connect(control).await?)).await?;
        let mut neighbour = Self { _process: process, control: BufStream::new(control) };
        let deadline = Instant::now() + CONNECT_PATIENCE;
        while neighbour.order(&[]).await?.members < members as u64 {
            if Instant::now() > deadline {
                bail!("the neighbour's members did not get in: {:?}", neighbour.order(&[]).await?);
            }
            sleep(CONNECT_POLL).await;
        }
        Ok(neighbour)
    }

    /// Lets it do this from now on, and nothing else. Returns what happened so far.
    pub async fn order(&mut self, ways: &[Way]) -> Result<Tally> {
        let names: Vec<_> = ways.iter().map(|way| way.name()).collect();
        self.control.write_all(format!("{}\n", names.join(" ")).as_bytes()).await?;
        self.control.flush().await?;
        let mut line = String::new();
        self.control.read_line(&mut line).await?;
        Tally::from_line(&line).context("the neighbour has ended")
    }
}
