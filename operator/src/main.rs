//! The operator's binary.

use clap::Parser;

// It gives back what a start or a large change took; mimalloc keeps half as much again, and musl's own, which the image would have, takes one lock
// for all threads. The same everywhere, so that what is measured is what runs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    carillon_operator::run(carillon_operator::Args::parse()).await
}
