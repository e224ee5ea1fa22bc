//! The version of one tenant's compiled configuration.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `<generation>-<8 hex>`: the generation of the resource and the beginning of the compiled configuration's SHA-256, which moves
/// with everything that was resolved, too. Versions are compared for equality only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigVersion(String);

impl ConfigVersion {
    /// Makes the version of a configuration compiled from `generation`, whose canonical form hashes to `hash`.
    pub fn new(generation: i64, hash: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = hash;
        Self(format!("{generation}-{a:02x}{b:02x}{c:02x}{d:02x}"))
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
