//! Where Carillon spends its time on its three hot paths: flame graphs from `perf`.
//!
//! They are sampled by a clock, which works in virtual machines that have no counters, so that a frame's width is time on the processor, in the
//! kernel's part of a call, too.

mod recording;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::recording::Recording;
use crate::{
    client::{Audience, Broadcaster, Broadcasts, tokens},
    credentials::Tenant,
    machine,
    peers::{Peer, Peers},
    process::Scratch,
    server::{Redis, Server, Site},
};

const PING_INTERVAL: Duration = Duration::from_secs(25);
const BROADCAST_BYTES: usize = 128;
const CROSS_POD_INTERVAL: Duration = Duration::from_millis(20);
/// A picture in a repository is not larger than this.
const PICTURE_BYTES_MAX: usize = 300_000;

/// What to draw, and from how much.
#[derive(Args)]
pub struct Options {
    /// The folder that pictures are written to
    #[arg(long, value_name = "FOLDER", default_value = "docs")]
    output: PathBuf,
    /// For how long each path is sampled
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Members of the room, and connections of a wave of connects
    #[arg(long, default_value_t = 1000)]
    members: usize,
    /// The core that servers are pinned to
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core that the load generator, and Redis, are pinned to
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// A carillon binary to sample instead of building this workspace's
    #[arg(long, value_name = "FILE")]
    carillon: Option<PathBuf>,
}

/// A path that is hot.
#[derive(Clone, Copy)]
enum HotPath {
    Connect,
    Delivery,
    CrossPodReceive,
}

impl HotPath {
    const ALL: [Self; 3] = [Self::Connect, Self::Delivery, Self::CrossPodReceive];

    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Delivery => "delivery",
            Self::CrossPodReceive => "cross-pod",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Connect => "Carillon: connects with an HS256 token",
            Self::Delivery => "Carillon: one broadcast in flight, published over HTTP",
            Self::CrossPodReceive => "Carillon: broadcasts that another pod published",
        }
    }
}

/// Prepares the machine, as for a measurement.
pub fn prepare(options: &mut Options) -> Result<Peers> {
    machine::require_cores(&[options.server_core, options.generator_core])?;
    machine::allow_connections(2 * options.members)?;
    let peers = Peers::prepare(&[Peer::Carillon], options.carillon.take())?;
    machine::pin_this_thread(options.generator_core)?;
    Ok(peers)
}

/// Draws all of them.
pub async fn run(options: &Options, peers: &Peers) -> Result<()> {
    let scratch = Scratch::new().context("a folder for recordings")?;
    let site = Site { peers, folder: scratch.path(), core: options.server_core };
    for path in HotPath::ALL {
        let recording = record(options, &site, path).await.with_context(|| format!("record {}", path.name()))?;
        let file = options.output.join(format!("flame-{}.svg", path.name()));
        draw(&recording, path, &file)?;
        eprintln!("{}", file.display());
    }
    Ok(())
}

/// Samples a server while it does what the path is for.
async fn record(options: &Options, site: &Site<'_>, path: HotPath) -> Result<Recording> {
    let duration = Duration::from_secs(options.seconds);
    // Of the recording's time, what its own start takes.
    let load = duration + Duration::from_secs(1);
    let broadcasts = Broadcasts::of_size(BROADCAST_BYTES)?;
    let redis = match path {
        HotPath::CrossPodReceive => Some(Redis::start(site.folder, options.generator_core).await?),
        HotPath::Connect | HotPath::Delivery => None,
    };
    let server = Server::start(site, Peer::Carillon, PING_INTERVAL, redis.as_ref()).await?;
    let start_recording = || Recording::start(server.id(), duration, site.folder.join(path.name()));
    match path {
        HotPath::Connect => {
            let tokens = tokens(Tenant::Bench, 0..options.members)?;
            let recording = start_recording()?;
            let start = Instant::now();
            while start.elapsed() < load {
                let mut audience = Audience::default();
                audience.join(server.target, tokens.clone()).await?;
                audience.leave().await;
            }
            recording.finished().await
        }
        HotPath::Delivery => {
            let audience = Audience::connect(server.target, options.members).await?;
            let recording = start_recording()?;
            Broadcaster::connect(server.target, &audience.ledger).await?.in_flight(1, broadcasts, load).await?;
            recording.finished().await
        }
        HotPath::CrossPodReceive => {
            let publishing = Server::start(site, Peer::Carillon, PING_INTERVAL, redis.as_ref()).await?;
            let audience = Audience::connect(server.target, options.members).await?;
            let mut broadcaster = Broadcaster::connect(publishing.target, &audience.ledger).await?;
            broadcaster.probe_until_open(options.members).await?;
            let recording = start_recording()?;
            broadcaster.at_fixed_rate(broadcasts, CROSS_POD_INTERVAL, load).await?;
            recording.finished().await
        }
    }
}

/// Leaves out what is too narrow to be read, and more of it while the picture is too large.
fn draw(recording: &Recording, path: HotPath, file: &Path) -> Result<()> {
    for narrowest_percent in [0.2, 0.5, 1.0, 2.0] {
        let picture = recording.picture(path.title(), narrowest_percent)?;
        if picture.len() <= PICTURE_BYTES_MAX {
            return fs::write(file, picture).with_context(|| file.display().to_string());
        }
    }
    bail!("{} would be larger than {PICTURE_BYTES_MAX} bytes", file.display())
}
