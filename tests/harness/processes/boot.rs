//! What the operator writes down for servers that start while it is away, as the kubelet gives it to them.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use carillon_tenant::{
    Position,
    boot::{SHARDS, Shard, shard_of},
    push::{FleetSettings, PROTOCOL_VERSION},
};

use crate::tenants::Tenant;

/// Writes all shards into `folder`.
///
/// # Panics
///
/// When they can't be written.
pub(super) fn write(folder: &Path, tenants: &[Tenant], age: Duration) {
    fs::create_dir_all(folder).expect("the test's folder takes folders");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let written_at = i64::try_from((now - age).as_secs()).expect("it is not long after 1970");
    let messages: Vec<_> = tenants.iter().map(Tenant::compile).collect();
    for number in 0..SHARDS {
        let shard = Shard {
            protocol_version: PROTOCOL_VERSION,
            shards: SHARDS,
            position: Position::default(),
            written_at,
            fleet: FleetSettings { session_key: vec![7; 32].into() },
            tenants: messages.iter().filter(|message| shard_of(&message.tenant_id) == number).cloned().collect(),
        };
        fs::write(folder.join(number.to_string()), shard.pack().expect("it is small")).expect("the test's folder takes files");
    }
}
