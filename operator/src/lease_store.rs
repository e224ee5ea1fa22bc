//! The Lease in the API server.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt, future};
pub use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::{
    api::coordination::v1::LeaseSpec,
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher::watch_object},
};

use crate::{
    election::{LEASE, Record},
    events::REPORTER,
    lease::Store,
    retry::Retry,
};

/// The annotation by which someone says which tenants are to be removed although they are most of all.
pub const REMOVE_TENANTS: &str = "carillon.dev/remove-tenants";

/// What people see of the Lease and say on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Its UID.
    pub uid: String,
    /// The value of [`REMOVE_TENANTS`].
    pub remove: Option<String>,
}

/// Follows what people say on the Lease.
pub fn follow(client: &Client, namespace: &str, name: &str) -> Pin<Box<dyn Stream<Item = LeaseSeen> + Send>> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let seen =
        |lease: Lease| LeaseSeen { remove: lease.annotations().get(REMOVE_TENANTS).cloned(), uid: lease.metadata.uid.unwrap_or_default() };
    let changes = watch_object(api, name).backoff(Retry::default());
    changes.filter_map(move |change| future::ready(change.ok().flatten().map(seen))).boxed()
}

/// One Lease in the API server.
#[derive(Debug)]
pub struct KubernetesLease {
    api: Api<Lease>,
    name: String,
}

impl KubernetesLease {
    /// The Lease of that name.
    pub fn new(client: Client, namespace: &str, name: String) -> Self {
        Self { api: Api::namespaced(client, namespace), name }
    }
}

impl Store for KubernetesLease {
    type Version = ObjectMeta;

    async fn read(&self) -> Result<Option<(Record, ObjectMeta)>, String> {
        let lease = self.api.get_opt(&self.name).await.map_err(|error| error.to_string())?;
        Ok(lease.map(|Lease { metadata, spec }| (record(spec.unwrap_or_default()), metadata)))
    }

    async fn write(&self, record: &Record, version: Option<ObjectMeta>) -> Result<(), String> {
        let parameters = PostParams { field_manager: Some(REPORTER.to_owned()), ..PostParams::default() };
        let spec = Some(spec(record));
        let written = match version {
            // Its labels and the like stay, and its resource version makes sure that nobody wrote in between.
            Some(metadata) => {
                let lease = Lease { metadata: ObjectMeta { managed_fields: None, ..metadata }, spec };
                self.api.replace(&self.name, &parameters, &lease).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                self.api.create(&parameters, &Lease { metadata, spec }).await
            }
        };
        written.map(drop).map_err(|error| error.to_string())
    }

    fn changes(&self) -> Pin<Box<dyn Stream<Item = ()> + Send>> {
        let changes = watch_object(self.api.clone(), &self.name).backoff(Retry::default());
        changes.filter_map(|change| future::ready(change.ok().map(drop))).boxed()
    }
}

fn record(spec: LeaseSpec) -> Record {
    // Without a duration it is nobody's promise; ours is what is then waited for.
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        transitions: spec.lease_transitions.unwrap_or(0),
        duration: seconds.map_or(LEASE, Duration::from_secs),
        acquired: spec.acquire_time.map(|MicroTime(time)| time),
        renewed: spec.renew_time.map(|MicroTime(time)| time),
    }
}

fn spec(record: &Record) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(record.holder.clone().unwrap_or_default()),
        lease_transitions: Some(record.transitions),
        lease_duration_seconds: i32::try_from(record.duration.as_secs()).ok(),
        acquire_time: record.acquired.map(MicroTime),
        renew_time: record.renewed.map(MicroTime),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let time = |second| k8s_openapi::jiff::Timestamp::from_second(second).ok();
        for holder in [None, Some("operator-0".to_owned())] {
            let written = Record { holder, transitions: 7, duration: LEASE, acquired: time(5), renewed: time(9) };
            assert_eq!(record(spec(&written)), written);
        }
        let empty = record(LeaseSpec::default());
        assert_eq!((empty.holder, empty.transitions, empty.duration), (None, 0, LEASE), "as kubectl may have made it");
    }
}
