//! Carillon's benchmark: the same load on Carillon, on what it replaces and on what can be had without it, in turn; and what quotas cost.
//!
//! `cargo run --release --package carillon-bench -- --help` says what can be chosen.

mod args;
#[cfg(feature = "audit")]
mod audit;
mod bare;
mod client;
mod column;
mod credentials;
mod crowd;
mod document;
mod flame;
mod frame;
mod machine;
mod meter;
mod metric;
mod neighbour;
mod peers;
mod phases;
mod process;
mod report;
mod scale;
mod server;
mod yardstick;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result, ensure};
use args::{Command, CommandLine, Options, Settings};
use clap::Parser;
use peers::Peers;
use phases::Bench;
use process::Scratch;
use report::Report;
use server::Site;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let outcome = match command_line.command {
        Some(Command::ServeBare(options)) => bare::serve(options).map(|()| ExitCode::SUCCESS),
        Some(Command::ServeFloor(options)) => yardstick::serve_floor(&options).map(|()| ExitCode::SUCCESS),
        Some(Command::ServeTungstenite(options)) => yardstick::serve_tungstenite(&options).map(|()| ExitCode::SUCCESS),
        Some(Command::Disturb(options)) => neighbour::disturb(options).map(|()| ExitCode::SUCCESS),
        Some(Command::Gather(options)) => crowd::gather(options).map(|()| ExitCode::SUCCESS),
        Some(Command::Scale(options)) => measure_scale(options),
        Some(Command::Flame(options)) => draw_flames(options),
        #[cfg(feature = "audit")]
        Some(Command::Audit(options)) => audit(&options),
        None => compare(command_line.options),
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("error: {problem:#}");
        ExitCode::from(2)
    })
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn compare(mut options: Options) -> Result<ExitCode> {
    ensure!(cfg!(not(debug_assertions)), "a debug build measures nothing of worth: use `cargo run --release`");
    ensure!(cfg!(not(feature = "audit")), "the allocator of the feature `audit` costs too much to be measured beside others");
    let settings = options.settings()?;
    machine::require_cores(&[settings.server_core, settings.generator_core])?;
    machine::allow_connections(settings.most_connections())?;
    let peers = Peers::prepare(&options.peers, options.carillon.take())?;
    machine::pin_this_thread(settings.generator_core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(&options, &settings, &peers) => report.map(Some),
            interrupted = interruption() => interrupted.map(|()| None),
        }
    })?;
    // All servers have ended by now: they are dropped with the measurement that started them.
    let Some(report) = report else { return Ok(ExitCode::from(130)) };
    println!("\n{}", report.markdown(&options.peers));
    if let Some(file) = &options.json {
        report.write_json(file, &settings)?;
    }
    if let Some(file) = &options.write {
        report.write_document(file, &options.peers, &options.phases, &settings)?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure_scale(options: scale::Options) -> Result<ExitCode> {
    ensure!(cfg!(not(debug_assertions)), "a debug build measures nothing of worth: use `make bench-scale`");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // All processes have ended by then: they are dropped with the measurement that started them.
    runtime.block_on(async {
        tokio::select! {
            measured = scale::run(options) => measured.map(|()| ExitCode::SUCCESS),
            interrupted = interruption() => interrupted.map(|()| ExitCode::from(130)),
        }
    })
}

#[cfg(feature = "audit")]
fn audit(options: &audit::Options) -> Result<ExitCode> {
    machine::allow_connections(options.connections)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            told = audit::run(options) => told.map(|()| ExitCode::SUCCESS),
            interrupted = interruption() => interrupted.map(|()| ExitCode::from(130)),
        }
    })
}

fn draw_flames(mut options: flame::Options) -> Result<ExitCode> {
    let peers = flame::prepare(&mut options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            drawn = flame::run(&options, &peers) => drawn.map(|()| ExitCode::SUCCESS),
            interrupted = interruption() => interrupted.map(|()| ExitCode::from(130)),
        }
    })
}

async fn measure(options: &Options, settings: &Settings, peers: &Peers) -> Result<Report> {
    let folder = Scratch::new().context("a folder for logs")?;
    let site = Site { peers, folder: folder.path(), core: settings.server_core };
    let bench = Bench { settings, site };
    let mut report = Report::default();
    let mut order = options.peers.clone();
    for round in 1..=settings.rounds {
        for &phase in options.phases.iter().filter(|phase| settings.includes(**phase, round)) {
            for &peer in order.iter().filter(|peer| phase.applies_to(**peer)) {
                let step = format!("round {round}/{}, {}, {}", settings.rounds, phase.name(), peer.name());
                let start = Instant::now();
                match bench.run(phase, peer).await {
                    Ok(readings) => {
                        let values: Vec<_> = readings.iter().map(|(column, reading)| column.before(reading)).collect();
                        eprintln!("{step} ({:.0?}): {}", start.elapsed(), values.join("; "));
                        report.add(round, readings);
                    }
                    Err(problem) => {
                        eprintln!("{step}: FAILED: {problem:#}");
                        report.add_failure(format!("{step}: {problem:#}"));
                    }
                }
            }
        }
        // So that nobody always runs after the same one.
        order.rotate_left(1);
    }
    Ok(report)
}

async fn interruption() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
