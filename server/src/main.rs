//! The server's process.

use std::process::ExitCode;

use carillon_server::args::Args;
use clap::Parser;

// musl's own allocator takes one lock for all threads, and with mimalloc a connection takes a quarter more.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match carillon_server::run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("carillon-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
