//! The command line, and what it comes to.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "audit")]
use crate::audit;
use crate::{
    bare::ServeBare,
    client::Broadcasts,
    crowd::Gather,
    flame,
    neighbour::{Disturb, Neighbour},
    peers::Peer,
    scale,
    yardstick::ServeYardstick,
};

/// Measures what a connection, its memory and a delivery cost on Carillon and on what it replaces.
///
/// Each server runs alone on one core, the load generator on another. Peers take turns within each round, and medians
/// over the rounds are reported; compare within a row only, and on a machine that does nothing else.
/// Every delivery is checked (count, order, content): if one was lost, doubled, out of order or altered, that
/// measurement is void and the exit status is 1.
#[derive(Parser)]
#[command(name = "carillon-bench", args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

/// What the program does besides measuring.
#[derive(Subcommand)]
pub enum Command {
    /// Be the peer `bare`: the program starts itself this way.
    #[command(hide = true)]
    ServeBare(ServeBare),
    /// Be the peer `floor`, likewise.
    #[command(hide = true)]
    ServeFloor(ServeYardstick),
    /// Be the peer `tungstenite`, likewise.
    #[command(hide = true)]
    ServeTungstenite(ServeYardstick),
    /// Be the tenant that goes beyond its limits in the phase `fairness`: the program starts itself this way.
    #[command(hide = true)]
    Disturb(Disturb),
    /// Be the thousands of clients of the phases `storm` and `rooms`, likewise.
    #[command(hide = true)]
    Gather(Gather),
    /// Draw where Carillon spends its time: `make bench-flame`, which installs what it needs
    Flame(flame::Options),
    /// Count what an idle connection of Carillon keeps on the heap: `make bench-audit`, which builds the allocator that counts
    #[cfg(feature = "audit")]
    Audit(audit::Options),
    /// Measure what many tenants cost the operator and the servers: `make bench-scale`, which makes the network it needs
    Scale(scale::Options),
}

/// A group of measurements that share server processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// CPU per authenticated connect; memory per idle connection, fresh and after a burst of broadcasts of 1 KiB
    Connect,
    /// The same of connections that open by long-polling and are upgraded, which is what Socket.IO's clients do by default
    Upgrade,
    /// Memory per connection after many pings, and after these and a burst; CPU per ping
    Pings,
    /// CPU per second of a connection on which nothing happens but the pings of the default interval
    Idle,
    /// CPU per delivery of a broadcast, one broadcast in flight and eight
    Delivery,
    /// Latency and CPU per delivery at a fixed rate, open loop
    Latency,
    /// CPU per delivery, and deliveries per second, when broadcasts come faster than they can be delivered
    Overload,
    /// Two servers and a Redis: latency and CPU per delivery from one to the other, open loop
    CrossPod,
    /// How soon thousands of clients are back that were all disconnected at once, and another tenant's latency meanwhile
    Storm,
    /// A small room's latency beside another tenant's room of thousands that is published to all the time
    Rooms,
    /// Carillon alone: CPU per message and per connect of a tenant with all quotas beside one with none
    Quotas,
    /// Carillon alone: what connects cost Redis
    Redis,
    /// Carillon alone: a tenant's delivery latency while another one goes beyond its limits
    Fairness,
}

impl Phase {
    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
            Self::Pings => "pings",
            Self::Idle => "idle",
            Self::Delivery => "delivery",
            Self::Latency => "latency",
            Self::Overload => "overload",
            Self::CrossPod => "cross-pod",
            Self::Storm => "storm",
            Self::Rooms => "rooms",
            Self::Quotas => "quotas",
            Self::Redis => "redis",
            Self::Fairness => "fairness",
        }
    }

    /// Whether it takes so long that it is not repeated as often as others.
    fn is_slow(self) -> bool {
        matches!(self, Self::Pings | Self::Idle | Self::Storm | Self::Rooms)
    }

    /// Whether a peer has what is measured.
    pub fn applies_to(self, peer: Peer) -> bool {
        match self {
            Self::Connect | Self::Pings | Self::Idle | Self::Delivery | Self::Latency | Self::Overload => true,
            Self::Upgrade => peer.has_polling(),
            Self::CrossPod => peer.has_pods(),
            // Thousands of connections take their time, and what would be learnt of the others are their listeners' queues.
            Self::Storm | Self::Rooms => matches!(peer, Peer::Bare | Peer::Node | Peer::Carillon),
            Self::Quotas | Self::Redis | Self::Fairness => peer == Peer::Carillon,
        }
    }
}

/// What to measure, and how much of it.
#[derive(Args)]
pub struct Options {
    /// Which servers to compare
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::value_variants().to_vec())]
    pub peers: Vec<Peer>,
    /// Which measurements to take
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Phase::value_variants().to_vec())]
    pub phases: Vec<Phase>,
    /// How often everything is repeated [default: 3; 1 with --quick]
    #[arg(long)]
    rounds: Option<u32>,
    /// How often the phases that take long are: `pings`, `idle`, `storm` and `rooms`
    #[arg(long, default_value_t = 1)]
    slow_rounds: u32,
    /// Connections of the phases `connect`, `upgrade`, `idle`, `quotas` and `redis` [default: 2000; 200 with --quick]
    #[arg(long)]
    connections: Option<usize>,
    /// Members of the room in the phases `delivery`, `latency`, `overload` and `cross-pod` [default: 1000; 100 with --quick]
    #[arg(long)]
    members: Option<usize>,
    /// How long a phase measures; `delivery` does for each size and number in flight, `fairness` for each disturbance [default: 5; 1 with
    /// --quick]
    #[arg(long)]
    seconds: Option<u64>,
    /// Clients that are disconnected at once in the phase `storm` [default: 10000; 500 with --quick]
    #[arg(long)]
    storm_clients: Option<usize>,
    /// Members of the giant room in the phase `rooms`; both ends of a connection are on this machine, so a process needs as many file
    /// descriptors [default: 15000; 500 with --quick]
    #[arg(long)]
    giant_members: Option<usize>,
    /// Members that the disturbed tenant has in the phases `fairness` and `storm` [default: 100; 20 with --quick]
    #[arg(long)]
    victims: Option<usize>,
    /// Members of the other one, at most 1000, which is what it may have [default: 1000]
    #[arg(long)]
    neighbours: Option<usize>,
    /// Connections of the phase `pings` [default: 500; 50 with --quick]
    #[arg(long)]
    ping_connections: Option<usize>,
    /// Pings of each connection in the phase `pings` [default: 100; 5 with --quick]
    #[arg(long)]
    pings: Option<u64>,
    /// Sizes of a broadcast's data in the phase `delivery`, in bytes; other phases use the first
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1024])]
    sizes: Vec<usize>,
    /// Small numbers, for seeing in about six minutes that everything works; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Also write settings and all samples to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write what was measured into this document, in place of what it says of the same phases, and a picture beside it: take all phases
    /// of a table in one run
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// The core that servers are pinned to
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core that the load generator, and Redis, are pinned to
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// A carillon binary to measure instead of building this workspace's
    #[arg(long, value_name = "FILE")]
    pub carillon: Option<PathBuf>,
}

/// How much is measured, with the defaults filled in.
pub struct Settings {
    pub rounds: u32,
    pub slow_rounds: u32,
    pub connections: usize,
    pub members: usize,
    pub duration: Duration,
    pub warm_up: Duration,
    /// How long a server is left alone before its memory is read.
    pub settle: Duration,
    /// The ping interval of connections on which nothing else happens.
    pub idle: Duration,
    pub storm: usize,
    pub giant: usize,
    pub victims: usize,
    pub neighbours: usize,
    pub ping_connections: usize,
    pub pings: u64,
    pub sizes: Vec<usize>,
    pub server_core: usize,
    pub generator_core: usize,
}

impl Options {
    /// The settings asked for, or the reason why they can't be.
    pub fn settings(&self) -> Result<Settings> {
        let settings = Settings {
            rounds: self.rounds.unwrap_or(self.either(3, 1)),
            slow_rounds: self.slow_rounds,
            connections: self.connections.unwrap_or(self.either(2000, 200)),
            members: self.members.unwrap_or(self.either(1000, 100)),
            duration: Duration::from_secs(self.seconds.unwrap_or(self.either(5, 1))),
            warm_up: Duration::from_millis(self.either(1000, 300)),
            settle: Duration::from_millis(self.either(3000, 500)),
            idle: Duration::from_secs(self.either(25, 2)),
            storm: self.storm_clients.unwrap_or(self.either(10_000, 500)),
            giant: self.giant_members.unwrap_or(self.either(15_000, 500)),
            victims: self.victims.unwrap_or(self.either(100, 20)),
            neighbours: self.neighbours.unwrap_or(Neighbour::MEMBERS_MAX),
            ping_connections: self.ping_connections.unwrap_or(self.either(500, 50)),
            pings: self.pings.unwrap_or(self.either(100, 5)),
            sizes: self.sizes.clone(),
            server_core: self.server_core,
            generator_core: self.generator_core,
        };
        ensure!(settings.rounds > 0 && settings.slow_rounds > 0, "--rounds and --slow-rounds must be at least 1");
        ensure!(!settings.duration.is_zero(), "--seconds must be at least 1");
        ensure!(settings.pings > 0, "--pings must be at least 1");
        let Settings { connections, members, ping_connections, victims, storm, giant, .. } = settings;
        let counts = [connections, members, ping_connections, victims, storm, giant];
        ensure!(!counts.contains(&0), "every phase needs connections");
        let neighbours = Neighbour::MEMBERS_MIN..=Neighbour::MEMBERS_MAX;
        ensure!(neighbours.contains(&settings.neighbours), "--neighbours must be from {} to {}", neighbours.start(), neighbours.end());
        ensure!(settings.server_core != settings.generator_core, "servers and the generator need a core each");
        ensure!(!settings.sizes.is_empty(), "--sizes must name at least one");
        for bytes in &settings.sizes {
            Broadcasts::of_size(*bytes)?;
        }
        Ok(settings)
    }

    fn either<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

impl Settings {
    /// The most connections that are open at a time.
    pub fn most_connections(&self) -> usize {
        let connecting = 2 * self.connections + 2 * self.warm_up_connections();
        let disturbing = self.victims + Neighbour::MEMBERS_MAX + Neighbour::EXCESS;
        // A server has all of them; of the rest of each phase there is little.
        let crowd = self.victims + self.storm.max(self.giant);
        [self.members, self.ping_connections, connecting, disturbing, crowd].into_iter().max().unwrap_or_default()
    }

    /// Whether a phase has its turn in a round.
    pub fn includes(&self, phase: Phase, round: u32) -> bool {
        !phase.is_slow() || round <= self.slow_rounds
    }

    /// What was done in these phases, for the readers of a table.
    pub fn description(&self, phases: &[Phase]) -> String {
        let Self { rounds, slow_rounds, connections, members, pings, ping_connections, victims, storm, giant, .. } = self;
        let (seconds, idle) = (self.duration.as_secs(), self.idle.as_secs());
        let took = |any: &[Phase]| phases.iter().any(|phase| any.contains(phase));
        let slow = match slow_rounds {
            _ if !phases.iter().any(|phase| phase.is_slow()) => String::new(),
            1 => ", of what takes long one".to_owned(),
            several => format!(", of what takes long {several}"),
        };
        let mut text = format!(
            "Medians of {rounds} interleaved rounds{slow} (lowest–highest); each figure that takes time is from {seconds} s of it. A client has a \
             browser's headers and an HS256 token"
        );
        let parts = [
            (took(&[Phase::Connect, Phase::Upgrade]), format!("{connections} connect")),
            (took(&[Phase::Delivery, Phase::Latency, Phase::Overload, Phase::CrossPod]), format!("{members} are members of the room")),
            (took(&[Phase::Pings]), format!("{ping_connections} are pinged {pings} times")),
            (took(&[Phase::Idle]), format!("{connections} are idle, with {idle} s between pings")),
            (took(&[Phase::Storm]), format!("{storm} are in the storm beside {victims} of another tenant")),
            (took(&[Phase::Rooms]), format!("{giant} are members of the giant room")),
        ];
        for (_, part) in parts.iter().filter(|(took, _)| *took) {
            text.push_str("; ");
            text.push_str(part);
        }
        text + ".\n"
    }

    /// Connections made before those that are measured: the first ones pay for code and pools that later ones find ready.
    pub fn warm_up_connections(&self) -> usize {
        (self.connections / 10).max(20)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings> {
        CommandLine::try_parse_from([&["carillon-bench"], arguments].concat())?.options.settings()
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn what_is_given_wins_over_quick() {
        let settings = settings(&["--quick", "--members", "700"]).unwrap();
        assert_eq!((settings.rounds, settings.members), (1, 700));
    }

    #[test]
    fn what_takes_long_is_done_once() {
        let settings = settings(&["--rounds", "3"]).unwrap();
        assert!(settings.includes(Phase::Idle, 1) && !settings.includes(Phase::Idle, 2) && settings.includes(Phase::Connect, 3));
    }

    #[test]
    fn only_phases_that_were_taken_are_told() {
        let settings = settings(&["--members", "7", "--giant-members", "8"]).unwrap();
        let told = settings.description(&[Phase::Delivery]);
        assert!(told.contains("; 7 are members of the room.") && !told.contains("giant") && !told.contains("takes long one"), "{told}");
        let told = settings.description(&[Phase::Rooms]);
        assert!(told.contains("; 8 are members of the giant room.") && told.contains("of what takes long one"), "{told}");
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for bad in [&["--rounds", "0"][..], &["--server-core", "1"], &["--sizes", "3"], &["--members", "0"]] {
            assert!(settings(bad).is_err(), "{bad:?}");
        }
    }
}
