//! What many tenants cost the operator and the servers: the phases of `carillon-bench scale`.
//!
//! Everything is a process of its own on this machine: etcd, an API server, the operator, every server, Redis. Two clocks are read: ours, when
//! something is asked of the API server and when it tells a status, and the operator's log, for when the last pod had acknowledged.

mod board;
mod changes;
mod count;
mod log;
mod moment;
mod phases;
mod site;
mod table;
mod tenants;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use carillon_tests::loopback;
use clap::Args;

use self::{phases::measure, table::Table};
use crate::document::{self, Marks};

/// Between these lines a document holds the table.
const MARKS: Marks = ["<!-- scale: written by `make bench-scale` -->", "<!-- end of scale -->"];
/// Files and sockets that this process opens: a connection here, a process there.
const OPEN_FILES: u64 = 512;

/// What to measure, and how much of it.
#[derive(Args, Clone)]
pub struct Options {
    /// How many tenants there are: a column of the table each
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000])]
    tenants: Vec<usize>,
    /// How many server processes there are
    #[arg(long, default_value_t = 20)]
    servers: usize,
    /// How many tenants are changed one after the other; half as many Secrets are
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// How many changes are made a second where they don't wait for each other
    #[arg(long, default_value_t = 5)]
    rate: u32,
    /// For how long they are made
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// For how long nothing is done, to see what that costs
    #[arg(long, default_value_t = 60)]
    idle_seconds: u32,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the table into this document, in place of the one that is there
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Options {
    fn check(&self) -> Result<()> {
        ensure!(
            !self.tenants.is_empty() && self.servers > 0 && self.changes > 1,
            "there must be tenants, servers and at least two changes"
        );
        let used = (self.changes + self.changes / 2).max((self.rate * self.seconds) as usize);
        ensure!(self.tenants.iter().all(|tenants| *tenants >= used), "every change is of another tenant: there must be {used} of them");
        ensure!(self.rate > 0 && self.seconds > 0 && self.idle_seconds > 0, "--rate, --seconds and --idle-seconds must be at least 1");
        Ok(())
    }
}

/// Measures everything and prints the table.
#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
pub async fn run(options: Options) -> Result<()> {
    options.check()?;
    loopback::needs_open_files(OPEN_FILES);
    let mut table = Table::default();
    for &tenants in &options.tenants {
        table.add(tenants, measure(&options, tenants).await.with_context(|| format!("with {tenants} tenants"))?);
    }
    let text = table.markdown();
    println!("\n{text}");
    if let Some(file) = &options.json {
        fs::write(file, table.json().to_string()).with_context(|| format!("write {}", file.display()))?;
    }
    if let Some(file) = &options.write {
        document::rewrite(file, &[(MARKS, text)])?;
    }
    Ok(())
}
