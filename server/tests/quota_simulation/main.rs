//! The counts of a fleet, simulated: the very book and the very script of the server, with pods that crash and stand still, a network that
//! loses and delays, and a Redis that goes away, forgets and has its clock set. Time is virtual, and each seed is a world of its own.
//!
//! `CARILLON_SIMULATION_SEEDS=100000` plays more seeds, `CARILLON_SIMULATION_SEED=7` plays one and tells all that happened.

mod chaos;
mod dice;
mod ending;
mod law;
mod plan;
mod pod;
mod redis;
mod script;
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redis::FakeRedis;
use world::World;

/// Seeds that are played unless more are asked for.
const SEEDS: u64 = 1000;
/// After so many seeds that failed no more are played.
const FAILURES_MAX: usize = 20;
/// Lines of a trace that are shown of a seed that fails.
const TRACE_MAX: usize = 100;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}

/// Plays a seed; tells what is broken, and what happened before.
fn play(seed: u64, redis: &FakeRedis, traced: bool) -> Result<(), (String, Vec<String>)> {
    let mut world = World::new(seed, redis, traced);
    let played = catch_unwind(AssertUnwindSafe(|| world.play())).unwrap_or_else(|_| Err("a panic".into()));
    played.map_err(|broken| (broken, world.trace()))
}

#[test]
fn no_world_breaks_the_law() {
    let redis = FakeRedis::new();
    let one = number("CARILLON_SIMULATION_SEED");
    let seeds = one.map_or_else(|| 0..number("CARILLON_SIMULATION_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let failed: Vec<_> = seeds.filter_map(|seed| Some((seed, play(seed, &redis, false).err()?.0))).take(FAILURES_MAX).collect();
    if let Some((seed, _)) = failed.first() {
        let trace = play(*seed, &FakeRedis::new(), true).err().map_or_else(Vec::new, |(_, trace)| trace);
        let first = if one.is_some() { 0 } else { trace.len().saturating_sub(TRACE_MAX) };
        let failed: Vec<_> = failed.iter().map(|(seed, broken)| format!("seed {seed}: {broken}")).collect();
        panic!("{}\n\n{}\nCARILLON_SIMULATION_SEED={seed} tells all that happened", trace[first..].join("\n"), failed.join("\n"));
    }
}
