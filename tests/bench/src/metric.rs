//! What is measured, and in which unit it is reported.

use std::fmt;

use crate::{column::Column, peers::Peer};

/// One row of the report. The order is that of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    ConnectCpu,
    UpgradeCpu,
    MemoryFresh,
    MemoryUpgraded,
    MemoryAfterPings,
    MemoryAfterBurst,
    MemoryAfterPingsAndBurst,
    PingCpu,
    IdleCpu,
    DeliveryCpu { bytes: usize, in_flight: usize },
    LatencyMedian,
    LatencyP99,
    LatencyLateness,
    LatencyCpu,
    OverloadCpu,
    OverloadThroughput,
    OverloadLost,
    CrossPodMedian,
    CrossPodP99,
    CrossPodCpu,
    StormSeconds,
    StormP99Before,
    StormP99During,
    StormLateness,
    RoomP99Alone,
    RoomMedianBeside,
    RoomP99Beside,
    RoomLateness,
    GiantDeliveries,
    QuotaMessageCpu,
    QuotaConnectCpu,
    RedisSent,
    RedisRun,
    NeighbourMedian,
    NeighbourP99,
    CalmRatio,
    AloneRatio,
    PublishLateness,
    RefusedPerSecond,
    ServerBusy,
    Noise,
}

/// A value of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub metric: Metric,
    pub value: f64,
}

impl Metric {
    /// This much of it.
    pub fn reading(self, value: f64) -> Reading {
        Reading { metric: self, value }
    }

    /// Whether dividing by what it is there means anything.
    pub fn is_compared_with(self, base: Column) -> bool {
        match self {
            Self::Noise | Self::LatencyLateness | Self::StormLateness | Self::RoomLateness | Self::OverloadLost => false,
            // The floor has next to none.
            Self::MemoryFresh | Self::MemoryUpgraded | Self::MemoryAfterPings | Self::MemoryAfterBurst | Self::MemoryAfterPingsAndBurst => {
                base != Column::Peer(Peer::Floor)
            }
            _ => true,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectCpu => formatter.write_str("CPU per connect, ms"),
            Self::UpgradeCpu => formatter.write_str("CPU per connect by long-polling and upgrade, ms"),
            Self::MemoryFresh => formatter.write_str("memory per connection, fresh, KiB"),
            Self::MemoryUpgraded => formatter.write_str("memory per connection, upgraded, KiB"),
            Self::MemoryAfterPings => formatter.write_str("memory per connection, after pings, KiB"),
            Self::MemoryAfterBurst => formatter.write_str("memory per connection, after a burst, KiB"),
            Self::MemoryAfterPingsAndBurst => formatter.write_str("memory per connection, after pings and a burst, KiB"),
            Self::IdleCpu => formatter.write_str("CPU per idle connection, µs/s"),
            Self::PingCpu => formatter.write_str("CPU per ping, µs"),
            Self::DeliveryCpu { bytes, in_flight } => write!(formatter, "CPU per delivery, {bytes} B, {in_flight} in flight, µs"),
            Self::LatencyMedian => formatter.write_str("latency at a fixed rate, p50, ms"),
            Self::LatencyP99 => formatter.write_str("latency at a fixed rate, p99, ms"),
            Self::LatencyLateness => formatter.write_str("… of which late publishing, p99, ms"),
            Self::LatencyCpu => formatter.write_str("CPU per delivery at a fixed rate, µs"),
            Self::OverloadCpu => formatter.write_str("CPU per delivery in overload, µs"),
            Self::OverloadThroughput => formatter.write_str("thousands of deliveries per second in overload"),
            Self::OverloadLost => formatter.write_str("… lost, %"),
            Self::StormSeconds => formatter.write_str("reconnect storm: until everybody is back, s"),
            Self::StormP99Before => formatter.write_str("… another tenant's latency before, p99, ms"),
            Self::StormP99During => formatter.write_str("… meanwhile, p99, ms"),
            Self::StormLateness => formatter.write_str("… of which late publishing, p99, ms"),
            Self::RoomP99Alone => formatter.write_str("small room beside a giant one that is quiet: latency, p99, ms"),
            Self::RoomMedianBeside => formatter.write_str("… that is published to, p50, ms"),
            Self::RoomP99Beside => formatter.write_str("… p99, ms"),
            Self::RoomLateness => formatter.write_str("… of which late publishing, p99, ms"),
            Self::GiantDeliveries => formatter.write_str("… thousands of deliveries per second to the giant one"),
            Self::CrossPodMedian => formatter.write_str("latency across pods, p50, ms"),
            Self::CrossPodP99 => formatter.write_str("latency across pods, p99, ms"),
            Self::CrossPodCpu => formatter.write_str("CPU per delivery across pods, µs"),
            Self::QuotaMessageCpu => formatter.write_str("CPU per message, µs"),
            Self::QuotaConnectCpu => formatter.write_str("CPU per connect, ms"),
            Self::RedisSent => formatter.write_str("sent per 1,000 connects"),
            Self::RedisRun => formatter.write_str("run by Redis, those in scripts included"),
            Self::NeighbourMedian => formatter.write_str("p50, ms"),
            Self::NeighbourP99 => formatter.write_str("p99, ms"),
            Self::CalmRatio => formatter.write_str("p99 ÷ that in calm turns between"),
            Self::AloneRatio => formatter.write_str("p99 ÷ that beside nobody"),
            Self::PublishLateness => formatter.write_str("of which late publishing, p99, ms"),
            Self::RefusedPerSecond => formatter.write_str("refused per second"),
            Self::ServerBusy => formatter.write_str("server's core in use, %"),
            Self::Noise => formatter.write_str("others on the servers' core, %"),
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:.3}", self.metric, self.value)
    }
}
