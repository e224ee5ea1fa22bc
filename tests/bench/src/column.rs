//! What is set beside what in the report's tables.

use std::fmt;

use crate::{metric::Reading, neighbour::Way, peers::Peer};

/// Whose reading it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// One of the servers that are compared.
    Peer(Peer),
    /// A tenant without quotas.
    Unlimited,
    /// A tenant with all of them.
    Limited,
    /// Connects of one kind.
    Connects(Connects),
    /// A tenant whose neighbour does this.
    Beside(Neighbourhood),
}

/// A kind of connects, to tell what they cost Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connects {
    /// How many servers they are spread over.
    pub servers: usize,
    /// Whether connections are counted by user.
    pub by_user: bool,
    /// How many come in a second; `None`: as many as the server lets in.
    pub per_second: Option<u32>,
}

/// What a tenant's neighbour does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbourhood {
    /// There is none.
    Empty,
    /// It is connected.
    Idle,
    /// It goes beyond its limits in one way.
    Busy(Way),
    /// It does so in all ways at once.
    AllAtOnce,
}

impl Neighbourhood {
    /// All of them, in the order of the report.
    pub fn all() -> Vec<Self> {
        let busy = Way::ALL.into_iter().map(Self::Busy);
        [Self::Empty, Self::Idle].into_iter().chain(busy).chain([Self::AllAtOnce]).collect()
    }
}

impl Connects {
    /// All of them, in the order of the report.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for servers in [1, 2] {
            for by_user in [false, true] {
                all.extend([None, Some(Self::SLOWLY)].map(|per_second| Self { servers, by_user, per_second }));
            }
        }
        all
    }

    /// Connects per second where they don't come as fast as they can.
    pub const SLOWLY: u32 = 200;
}

impl Column {
    /// A reading of it, for the log.
    pub fn before(self, reading: &Reading) -> String {
        match self {
            Self::Peer(_) => reading.to_string(),
            column => format!("{column}: {reading}"),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => formatter.write_str(peer.name()),
            Self::Unlimited => formatter.write_str("no quotas"),
            Self::Limited => formatter.write_str("all quotas"),
            Self::Connects(connects) => connects.fmt(formatter),
            Self::Beside(neighbourhood) => neighbourhood.fmt(formatter),
        }
    }
}

impl fmt::Display for Connects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, by_user, per_second } = self;
        match servers {
            1 => formatter.write_str("one server, ")?,
            _ => write!(formatter, "{servers} servers, ")?,
        }
        formatter.write_str(if *by_user { "`maxPerUser: 20`, " } else { "`maxPerUser: Unlimited`, " })?;
        match per_second {
            None => formatter.write_str("at full speed"),
            Some(per_second) => write!(formatter, "{per_second} per second"),
        }
    }
}

impl fmt::Display for Neighbourhood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "nobody else",
            Self::Idle => "neighbour connected, idle",
            Self::Busy(way) => way.name(),
            Self::AllAtOnce => "all at once",
        })
    }
}
