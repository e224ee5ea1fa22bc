//! The operator's binary.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    carillon_operator::run(carillon_operator::Args::parse()).await
}
