//! What is measured, and in which unit it is reported.

use std::fmt;

/// One row of the report. The order is that of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    ConnectCpu,
    MemoryFresh,
    MemoryAfterPings,
    MemoryAfterBurst,
    PingCpu,
    DeliveryCpu { bytes: usize },
    CrossPodMedian,
    CrossPodP99,
    CrossPodCpu,
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

    /// Whether comparing two peers by it means anything.
    pub fn is_compared(self) -> bool {
        self != Self::Noise
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectCpu => formatter.write_str("CPU per connect, ms"),
            Self::MemoryFresh => formatter.write_str("memory per connection, fresh, KiB"),
            Self::MemoryAfterPings => formatter.write_str("memory per connection, after pings, KiB"),
            Self::MemoryAfterBurst => formatter.write_str("memory per connection, after a burst, KiB"),
            Self::PingCpu => formatter.write_str("CPU per ping, µs"),
            Self::DeliveryCpu { bytes } => write!(formatter, "CPU per delivery, {bytes} B, µs"),
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
