//! The operator's binary.

use clap::Parser;

// musl's own allocator, which the image would have, takes one lock for all threads. The same everywhere, so that what is measured is what runs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    carillon_operator::run(carillon_operator::Args::parse()).await
}
