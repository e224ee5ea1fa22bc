//! `carillon`: the one binary for people.
//!
//! `dev` runs everything in one process, without a cluster; `token` makes a token for a user; `validate` checks files offline.
//! All three read the very files that `kubectl apply` takes.

mod dev;
mod duration;
mod manifests;
mod signer;
mod terminal;
mod token;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Carillon: managed, multi-tenant Socket.IO.
#[derive(Parser)]
#[command(name = "carillon", version, about, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run Carillon in one process, without a cluster, with a playground page at /
    Dev(dev::Arguments),
    /// Print a token for a user of a tenant
    Token(token::Arguments),
    /// Check files offline, with the errors that status would show
    Validate(validate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Dev(arguments) => dev::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Token(arguments) => token::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Validate(arguments) => Ok(validate::run(&arguments)),
    };
    outcome.unwrap_or_else(|error| {
        terminal::print_error(&error);
        ExitCode::FAILURE
    })
}
