//! What servers start with while no operator is there: the last pushed state, in a few Secrets.
//!
//! Each shard holds whole tenants, chosen by their ids, and all that a fleet shares. So a tenant that changes rewrites one shard, and no
//! shard has to fit to another: those that were written at different times make a state that every pod of the fleet once ran, tenant by
//! tenant.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ConfigVersion, Position, TenantId, TenantMessage,
    protocol::{Versions, version_of},
    push::{Elsewhere, FleetSettings, PROTOCOL_VERSION, PUSH_BYTES_MAX, Snapshot, gzip},
};

/// So many Secrets there are.
pub const SHARDS: usize = 8;
/// The largest shard, packed, in bytes: Kubernetes takes Secrets of 1 MiB.
pub const SHARD_BYTES_MAX: usize = 1_000_000;
/// The largest shard, unpacked, in bytes.
const UNPACKED_BYTES_MAX: usize = PUSH_BYTES_MAX / SHARDS;
/// The key of the Secrets that holds the shard.
pub const SHARD_KEY: &str = "shard";

/// Some of the tenants, and all that a fleet shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shard {
    /// The version of the push protocol that it is written in.
    pub protocol_version: u32,
    /// How many shards there are.
    pub shards: usize,
    /// The position of the state that this was taken from.
    pub position: Position,
    /// When it was written, in seconds since 1970.
    pub written_at: i64,
    /// What all servers share.
    pub fleet: FleetSettings,
    /// The tenants that are [of this shard](shard_of).
    pub tenants: Vec<TenantMessage>,
}

/// All shards together.
#[derive(Clone, Debug)]
pub struct Boot {
    /// What a server is to run.
    pub snapshot: Snapshot,
    /// When the operator last wrote any of it, in seconds since 1970.
    pub written_at: i64,
}

/// Why a shard can't be used. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Larger than [`SHARD_BYTES_MAX`].
    #[error("is {0} bytes long; at most {SHARD_BYTES_MAX} fit into a Secret")]
    TooLarge(usize),
    /// Not what an operator writes.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    /// By an operator of another version.
    #[error("is of version {0} of the protocol; this server speaks {spoken}", spoken = Versions::SPOKEN)]
    OtherVersion(u32),
    /// Not all there.
    #[error("{0} of {SHARDS} shards are there")]
    Incomplete(usize),
}

/// The shard that holds `tenant`.
pub fn shard_of(tenant: &TenantId) -> usize {
    usize::from(Sha256::digest(tenant.as_str())[0]) % SHARDS
}

/// Tells the content of a shard from another: what a fleet shares, and the versions of the tenants.
pub fn digest(fleet_digest: &str, tenants: &BTreeMap<&TenantId, &ConfigVersion>) -> String {
    let versions = crate::push::digest(tenants.iter().map(|(tenant, version)| (*tenant, *version)));
    format!("{PROTOCOL_VERSION}-{:.16}-{versions:.32}", fleet_digest)
}

impl Shard {
    /// Packs it for a Secret.
    ///
    /// # Errors
    ///
    /// [`BootError::TooLarge`].
    pub fn pack(&self) -> Result<Vec<u8>, BootError> {
        let packed = gzip(&serde_json::to_vec(self).expect("a shard serialises"));
        if packed.len() > SHARD_BYTES_MAX { Err(BootError::TooLarge(packed.len())) } else { Ok(packed) }
    }

    /// Unpacks what [`pack`](Self::pack) made.
    ///
    /// # Errors
    ///
    /// [`BootError`] when it is anything else.
    pub fn unpack(packed: &[u8]) -> Result<Self, BootError> {
        let mut json = Vec::new();
        let read = GzDecoder::new(packed).take(UNPACKED_BYTES_MAX as u64 + 1).read_to_end(&mut json);
        match read {
            Ok(bytes) if bytes > UNPACKED_BYTES_MAX => return Err(BootError::Damaged("it unpacks to more than any operator writes")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(BootError::Damaged("its end is missing")),
            Err(_) => return Err(BootError::Damaged("it is not gzip")),
        }
        let malformed = BootError::Damaged("it is not what the protocol says");
        match version_of(&json) {
            Some(version) if Versions::SPOKEN.contains(version) => serde_json::from_slice(&json).map_err(|_| malformed),
            Some(version) => Err(BootError::OtherVersion(version)),
            None => Err(malformed),
        }
    }
}

/// Puts all shards together.
///
/// # Errors
///
/// [`BootError`] when some are missing: a server that knew some tenants alone would send the clients of all others away.
pub fn join(shards: Vec<Shard>) -> Result<Boot, BootError> {
    if shards.iter().any(|shard| shard.shards != SHARDS) {
        return Err(BootError::Damaged("its writer counts shards in another way"));
    }
    let found = shards.len();
    let written_at = shards.iter().map(|shard| shard.written_at).max();
    // The latest knows best what the fleet shares.
    let latest = shards.iter().max_by_key(|shard| shard.position).map(|shard| (shard.position, shard.fleet.clone()));
    match (latest, written_at) {
        (Some((position, fleet)), Some(written_at)) if found == SHARDS => {
            let tenants = shards.into_iter().flat_map(|shard| shard.tenants).collect();
            let snapshot =
                Snapshot { protocol_version: PROTOCOL_VERSION, position, fleet, tenants, keep: Vec::new(), elsewhere: Elsewhere::new() };
            Ok(Boot { snapshot, written_at })
        }
        _ => Err(BootError::Incomplete(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretBytes;

    fn shard(number: u64) -> Shard {
        let fleet = FleetSettings { session_key: SecretBytes::from(vec![u8::try_from(number).unwrap(); 32]) };
        let position = Position::new(1, number);
        Shard { protocol_version: PROTOCOL_VERSION, shards: SHARDS, position, written_at: 1000 + number as i64, fleet, tenants: Vec::new() }
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let packed = shard(3).pack().unwrap();
        assert_eq!(Shard::unpack(&packed).unwrap(), shard(3));
        for end in [0, 1, packed.len() / 2, packed.len() - 1] {
            assert!(Shard::unpack(&packed[..end]).is_err(), "the first {end} bytes");
        }
        assert!(matches!(Shard::unpack(b"not gzip at all"), Err(BootError::Damaged("it is not gzip"))));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let later = Shard { protocol_version: PROTOCOL_VERSION + 1, ..shard(0) };
        assert!(matches!(Shard::unpack(&later.pack().unwrap()), Err(BootError::OtherVersion(version)) if version == PROTOCOL_VERSION + 1));
    }

    #[test]
    fn the_latest_shard_says_what_is_shared_and_none_may_be_missing() {
        let all: Vec<_> = [4, 0, 7, 2, 5, 1, 6, 3].map(shard).into();
        assert!(matches!(join(all[1..].to_vec()), Err(BootError::Incomplete(7))));
        assert!(matches!(join(Vec::new()), Err(BootError::Incomplete(0))));
        let boot = join(all).unwrap();
        assert_eq!((boot.snapshot.position, boot.written_at), (Position::new(1, 7), 1007));
        assert_eq!(boot.snapshot.fleet, shard(7).fleet);
    }

    #[test]
    fn tenants_spread_over_all_shards() {
        let mut counts = [0; SHARDS];
        for number in 0..8000 {
            counts[shard_of(&TenantId::new(&format!("tenant-{number}")).unwrap())] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn errors_quote_nothing() {
        let error = format!("{:?}", Shard::unpack(&gzip(br#"{"protocolVersion":1,"fleet":"hunter2"}"#)));
        assert!(!error.contains("hunter2"), "{error}");
    }
}
