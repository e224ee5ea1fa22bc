//! What each shard should hold.

use std::collections::BTreeMap;

use carillon_tenant::{
    ConfigVersion, TenantId, TenantMessage,
    boot::{SHARDS, Shard, digest, shard_of},
    push::PROTOCOL_VERSION,
};

use crate::desired::Desired;

/// What all shards should hold.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    desired: &'a Desired,
    tenants: [Vec<&'a TenantMessage>; SHARDS],
    digests: [String; SHARDS],
}

impl<'a> Plan<'a> {
    /// Tenants that don't compile stay as they are `remembered`, as they do in servers.
    pub(super) fn new(desired: &'a Desired, remembered: &'a BTreeMap<TenantId, TenantMessage>) -> Self {
        let mut tenants: [Vec<&TenantMessage>; SHARDS] = Default::default();
        let kept = remembered.values().filter(|message| desired.keep.contains(&message.tenant_id));
        for message in desired.tenants.values().map(AsRef::as_ref).chain(kept) {
            tenants[shard_of(&message.tenant_id)].push(message);
        }
        let digests = std::array::from_fn(|shard| {
            let versions: BTreeMap<&TenantId, &ConfigVersion> =
                tenants[shard].iter().map(|message| (&message.tenant_id, &message.config_version)).collect();
            digest(&desired.fleet_digest, &versions)
        });
        Self { desired, tenants, digests }
    }

    /// Tells the content of that shard from another.
    pub(super) fn digest(&self, shard: usize) -> &str {
        &self.digests[shard]
    }

    /// The shard, written at that time.
    pub(super) fn shard(&self, shard: usize, written_at: i64) -> Shard {
        Shard {
            protocol_version: PROTOCOL_VERSION,
            shards: SHARDS,
            position: self.desired.position,
            written_at,
            fleet: self.desired.fleet.clone(),
            tenants: self.tenants[shard].iter().copied().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use carillon_tenant::boot::join;

    use super::*;
    use crate::fixtures::{desired, id, message};

    fn digests(plan: &Plan<'_>) -> Vec<String> {
        (0..SHARDS).map(|shard| plan.digest(shard).to_owned()).collect()
    }

    #[test]
    fn a_change_of_one_tenant_rewrites_one_shard() {
        let names: Vec<_> = (0..100).map(|number| format!("tenant-{number}")).collect();
        let before: Vec<_> = names.iter().map(|name| message(name, 1)).collect();
        let mut after = before.clone();
        after[7] = message("tenant-7", 2);
        let (before, after) = (desired(&before, &[]), desired(&after, &[]));
        let none = BTreeMap::new();
        let (before, after) = (digests(&Plan::new(&before, &none)), digests(&Plan::new(&after, &none)));
        let changed: Vec<_> = (0..SHARDS).filter(|shard| before[*shard] != after[*shard]).collect();
        assert_eq!(changed, [shard_of(&id("tenant-7"))]);
    }

    #[test]
    fn all_shards_together_are_the_state() {
        let state = desired(&["a", "b", "c"].map(|name| message(name, 1)), &[]);
        let none = BTreeMap::new();
        let plan = Plan::new(&state, &none);
        let boot = join((0..SHARDS).map(|shard| plan.shard(shard, 7)).collect()).unwrap();
        let mut tenants: Vec<_> = boot.snapshot.tenants.iter().map(|message| message.tenant_id.as_str()).collect();
        tenants.sort_unstable();
        assert_eq!(tenants, ["a", "b", "c"]);
        assert_eq!((boot.snapshot.position, boot.snapshot.fleet), (state.position, state.fleet.clone()));
    }

    #[test]
    fn what_does_not_compile_stays_and_what_is_gone_goes() {
        let remembered: BTreeMap<_, _> = ["kept", "gone"].map(|name| (id(name), message(name, 1))).into();
        let state = desired(&[message("a", 1)], &["kept", "never-seen"]);
        let plan = Plan::new(&state, &remembered);
        let all: Vec<_> = (0..SHARDS).flat_map(|shard| plan.shard(shard, 7).tenants).map(|message| message.tenant_id.to_string()).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all.contains(&"kept".to_owned()) && all.contains(&"a".to_owned()), "{all:?}");
    }
}
