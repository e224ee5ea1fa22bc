//! Versions: of one tenant's compiled configuration, and of who says what all tenants should be.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::TenantId;

/// `<generation>-<8 hex>`: the generation of the resource and the beginning of the compiled configuration's SHA-256, which moves
/// with everything that was resolved, too. Versions are compared for equality only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ConfigVersion(Arc<str>);

impl From<String> for ConfigVersion {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<ConfigVersion> for String {
    fn from(version: ConfigVersion) -> Self {
        version.0.as_ref().to_owned()
    }
}

impl ConfigVersion {
    /// Makes the version of a configuration compiled from `generation`, whose canonical form hashes to `hash`.
    pub fn new(generation: i64, hash: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = hash;
        Self(format!("{generation}-{a:02x}{b:02x}{c:02x}{d:02x}").into())
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One change of one tenant, as the logs of operator and servers call it: `acme@7-1a2b3c4d`.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a>(pub &'a TenantId, pub &'a ConfigVersion);

impl fmt::Display for Change<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.0, self.1)
    }
}

/// Whose word it is: 1 for the first leader among the operators, and higher for each that follows. Two leaders never share one.
///
/// 0 stands for someone who is no leader and has no rival, as `carillon dev` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of that number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Which state of all tenants a push leads to. The one rule of order: a later epoch wins whatever was said before it, and within an epoch
/// the higher number. A server that was brought to one takes no push to an earlier one, so that neither a leader that was replaced
/// without knowing, nor a push that comes late, or twice, can undo what is newer.
///
/// Pushes of one position lead to the same state, be it at once or step by step; that one comes again does no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Position {
    /// Under which leader.
    pub epoch: Epoch,
    /// Which of this leader's states: each that it published has a higher number than the one before.
    pub seq: u64,
}

impl Position {
    /// The position of that epoch and number.
    pub const fn new(epoch: u64, seq: u64) -> Self {
        Self { epoch: Epoch(epoch), seq }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_wins_whatever_was_said_before() {
        let rising =
            [(0, 0), (0, 9), (1, 0), (1, 1), (1, u64::MAX), (2, 0), (10, 5), (u64::MAX, 0)].map(|(epoch, seq)| Position::new(epoch, seq));
        assert!(rising.is_sorted() && rising[0] == Position::default());
        assert!(rising.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
