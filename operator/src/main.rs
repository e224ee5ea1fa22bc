//! The operator's binary.

use clap::Parser;

// musl's own allocator takes one lock for all threads, and glibc's keeps what a start took for itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    carillon_operator::run(carillon_operator::Args::parse()).await
}
