//! The Secrets in the API server. The chart makes them, and they go with it; the operator may do nothing but read and fill them.

use std::collections::BTreeMap;

use carillon_tenant::{
    FleetName, TenantId, TenantMessage,
    boot::{SHARD_KEY, SHARDS, Shard},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::events::REPORTER;

/// Says what a Secret holds, so that it can be known without reading it.
const DIGEST: &str = "carillon.dev/boot-digest";

/// Those of one fleet of a release.
#[derive(Clone)]
pub struct Secrets {
    api: Api<Secret>,
    prefix: String,
}

/// What they hold.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) digests: [Option<String>; SHARDS],
    pub(super) tenants: BTreeMap<TenantId, TenantMessage>,
}

impl Secrets {
    /// `prefix-0` to `prefix-7`, and of another fleet than the default one `prefix-fleet-0` to `prefix-fleet-7`.
    pub fn new(client: Client, namespace: &str, prefix: &str, fleet: &FleetName) -> Self {
        let prefix = if fleet.is_default() { prefix.to_owned() } else { format!("{prefix}-{fleet}") };
        Self { api: Api::namespaced(client, namespace), prefix }
    }

    /// Reads all of them. What is damaged is as if it were not there: it is written anew.
    pub(super) async fn read(&self) -> Result<Stored, String> {
        let mut stored = Stored::default();
        for shard in 0..SHARDS {
            let name = self.name(shard);
            let Some(secret) = self.api.get_opt(&name).await.map_err(|error| format!("Secret {name}: {error}"))? else {
                continue;
            };
            let Some(ByteString(packed)) = secret.data.as_ref().and_then(|data| data.get(SHARD_KEY)) else { continue };
            match Shard::unpack(packed) {
                Ok(shard_content) => {
                    stored.digests[shard] = secret.annotations().get(DIGEST).cloned();
                    stored.tenants.extend(shard_content.tenants.into_iter().map(|message| (message.tenant_id.clone(), message)));
                }
                Err(error) => tracing::warn!(secret = name, %error, "boot configuration not usable; it is written anew"),
            }
        }
        Ok(stored)
    }

    /// What they say that they hold; nothing of those that don't answer, so that they are written.
    pub(super) async fn digests(&self) -> [Option<String>; SHARDS] {
        let mut digests = [const { None }; SHARDS];
        for (shard, digest) in digests.iter_mut().enumerate() {
            let metadata = self.api.get_metadata(&self.name(shard)).await.ok();
            *digest = metadata.and_then(|metadata| metadata.annotations().get(DIGEST).cloned());
        }
        digests
    }

    /// Writes one of them.
    pub(super) async fn write(&self, shard: usize, packed: Vec<u8>, digest: &str) -> Result<(), String> {
        let name = self.name(shard);
        let patch = json!({"metadata": {"annotations": {DIGEST: digest}}, "data": {SHARD_KEY: ByteString(packed)}});
        let parameters = PatchParams { field_manager: Some(REPORTER.to_owned()), ..PatchParams::default() };
        let written = self.api.patch(&name, &parameters, &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                format!("Secret {name} does not exist: the chart makes it; helm upgrade brings it back")
            }
            error => format!("Secret {name}: {error}"),
        })
    }

    fn name(&self, shard: usize) -> String {
        format!("{}-{shard}", self.prefix)
    }
}
