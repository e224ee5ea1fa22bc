//! What an idle connection keeps on the heap: how many blocks of which size, and who asked for them.
//!
//! A Carillon server runs in this very process, whose allocator notes each block and where it came from. The clients are a process of their own, so
//! that their memory is not counted. What was there before they connected isn't either: other clients were let in before, so that code and pools
//! are warm.

mod histogram;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use carillon_server::heartbeat::Heartbeat;
use carillon_tests::{
    fleet::{Fleet, Setup},
    tenants::tenant,
};
use clap::Args;
use serde_json::json;
use tokio::time::sleep;

use self::histogram::Histogram;
use crate::{
    client::Target,
    credentials::{API_KEY, KEY_ID, ORIGIN, SIGNING_SECRET, Tenant},
    crowd::Crowd,
    process::Scratch,
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Connections that come before those that are counted.
const WARM_UP: usize = 100;
const SETTLE: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// After everything was counted, the connections have to work still.
const PROOF: Duration = Duration::from_millis(500);
const PROOF_BYTES: usize = 128;
/// Deep enough to see past the allocator, the collections and the runtime.
const FRAMES: usize = 24;

/// How much to look at.
#[derive(Args)]
pub struct Options {
    /// How many connections are counted
    #[arg(long, default_value_t = 1000)]
    pub connections: usize,
    /// After how many pings, one a second, they are counted once more
    #[arg(long, default_value_t = 100)]
    pings: u32,
    /// The core that clients are pinned to
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
}

/// Prints a table for fresh connections, and one for those that were pinged.
#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
pub async fn run(options: &Options) -> Result<()> {
    let moments = [
        ("fresh".to_owned(), SETTLE, Duration::from_secs(25)),
        (format!("after {} pings", options.pings), PING_INTERVAL * options.pings, PING_INTERVAL),
    ];
    for (moment, wait, ping_interval) in moments {
        let histogram = count(options, wait, ping_interval).await.with_context(|| moment.clone())?;
        println!("\n{} connections, {moment}:\n\n{}", options.connections, histogram.markdown(options.connections));
    }
    Ok(())
}

/// What connections hold that are so old.
async fn count(options: &Options, wait: Duration, ping_interval: Duration) -> Result<Histogram> {
    let heartbeat = Heartbeat { interval: ping_interval, timeout: Duration::from_secs(20), connect_timeout: Duration::from_secs(10) };
    let crowd = tenant(Tenant::Crowd.id())
        .with_keys(&[(Some(KEY_ID), "HS256", "signing")])
        .with_secret("signing", SIGNING_SECRET)
        .with_secret("api", API_KEY)
        .with("/allowedOrigins", json!([ORIGIN]))
        .with("/quotas/connections", json!({"max": "Unlimited", "maxPerUser": "Unlimited", "ratePerSecond": "Unlimited"}));
    let fleet = Fleet::with(Setup { heartbeat, ..Setup::default() }, &[crowd]).await;
    let SocketAddr::V4(address) = fleet.address() else { bail!("the server listens on IPv4") };
    let server = Target::socket_io(address);
    let scratch = Scratch::new().context("a folder for logs")?;
    let start = async |clients| Crowd::start(scratch.path(), options.generator_core, server, clients, PROOF_BYTES).await;

    let _warm_up = start(WARM_UP).await?;
    sleep(SETTLE).await;
    let file = scratch.path().join("heap.json");
    let profiler = dhat::Profiler::builder().file_name(&file).trim_backtraces(Some(FRAMES)).build();
    let mut clients = start(options.connections).await?;
    sleep(wait).await;
    // What lives now is written down.
    drop(profiler);
    clients.broadcast(PROOF).await.context("the connections don't work any more")?;
    read(&file)
}

fn read(file: &Path) -> Result<Histogram> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Histogram::read(&serde_json::from_str(&text)?).context("not what dhat writes")
}
