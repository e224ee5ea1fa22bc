//! `carillon`: the one binary for people.
//!
//! `dev` runs everything in one process, without a cluster; `token` makes a token for a user; `validate` checks files offline.
//! All three read the very files that `kubectl apply` takes. `status` asks a cluster how its tenants stand on every server pod.
//!
//! Called as `kubectl-carillon` it is a plugin of kubectl, and says `kubectl carillon` of itself.

mod dev;
mod duration;
mod local_secret;
mod manifests;
mod signer;
mod status;
mod terminal;
mod token;
mod validate;

use std::{env, path::Path, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
    /// Show how every tenant stands on every server pod of a cluster
    Status(status::Arguments),
}

/// What the user has called.
fn program() -> &'static str {
    let name = env::args_os().next().and_then(|path| Path::new(&path).file_stem().map(|name| name.to_string_lossy().into_owned()));
    if name.as_deref() == Some("kubectl-carillon") { "kubectl carillon" } else { "carillon" }
}

fn arguments(program: &'static str) -> Arguments {
    let command = Arguments::command().name(program).bin_name(program);
    let command = command.mut_subcommand("status", |status| status.after_help(status::examples(program)));
    Arguments::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn main() -> ExitCode {
    let program = program();
    let outcome = match arguments(program).command {
        Command::Dev(arguments) => dev::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Token(arguments) => token::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Validate(arguments) => Ok(validate::run(&arguments)),
        Command::Status(arguments) => status::run(&arguments, program),
    };
    outcome.unwrap_or_else(|error| {
        terminal::print_error(&error);
        ExitCode::FAILURE
    })
}
