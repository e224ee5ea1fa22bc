//! The watches, as streams that never end, and what is listed anew in each.

use std::{collections::HashSet, hash::Hash, pin::Pin};

use carillon_crds::{RealtimeTenant, RealtimeTenantClass};
use futures::{Stream, StreamExt};
use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Config, Event, watcher},
    },
};

use crate::{fleets::Fleets, health::Readiness, retry::Retry};

/// Objects that a list gives at once: they are decoded at once, too.
const PAGE_OBJECTS: u32 = 100;

/// A watch.
pub type Watch<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<K>>> + Send>>;

/// All `RealtimeTenant`s, as dynamic objects, so that no spec can stall the watch.
pub fn tenants(client: &Client) -> Watch<DynamicObject> {
    dynamic::<RealtimeTenant>(client)
}

/// All `RealtimeTenantClass`es, as dynamic objects, too.
pub fn classes(client: &Client) -> Watch<DynamicObject> {
    dynamic::<RealtimeTenantClass>(client)
}

fn dynamic<K: Resource<DynamicType = ()>>(client: &Client) -> Watch<DynamicObject> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    watcher(api, pages()).modify(|object| object.managed_fields_mut().clear()).backoff(Retry::default()).boxed()
}

/// The metadata of all Secrets: that they change, not what they hold.
pub fn secrets(client: &Client) -> Watch<PartialObjectMeta<Secret>> {
    watcher(Api::<PartialObjectMeta<Secret>>::all(client.clone()), pages()).backoff(Retry::default()).boxed()
}

/// The metadata of all namespaces: their labels.
pub fn namespaces(client: &Client) -> Watch<PartialObjectMeta<Namespace>> {
    let watch = watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), pages());
    watch.modify(|namespace| namespace.managed_fields_mut().clear()).backoff(Retry::default()).boxed()
}

/// The EndpointSlices of every fleet's admin Service.
pub fn slices(client: &Client, namespace: &str, fleets: &Fleets) -> Watch<EndpointSlice> {
    let config = pages().labels(&fleets.selector());
    watcher(Api::namespaced(client.clone(), namespace), config).backoff(Retry::default()).boxed()
}

fn pages() -> Config {
    Config::default().page_size(PAGE_OBJECTS)
}

/// Follows one watch: whether it was listed, and what is listed anew.
#[derive(Debug)]
pub struct Listing<K> {
    name: &'static str,
    readiness: Readiness,
    listed: Option<HashSet<K>>,
}

/// What came over a watch.
#[derive(Debug)]
pub enum Seen<T, K> {
    /// An object that is new or has changed, or may have.
    Applied(T),
    /// An object that is gone.
    Deleted(T),
    /// Everything was listed anew: what is not among these is gone.
    Listed(HashSet<K>),
    /// Nothing.
    Nothing,
}

impl<K: Hash + Eq> Listing<K> {
    /// The watch of `name`, not listed yet.
    pub fn new(name: &'static str, readiness: Readiness) -> Self {
        readiness.missing(name, "not listed yet");
        Self { name, readiness, listed: None }
    }

    /// Takes up what came over the watch.
    pub fn follow<T>(&mut self, event: watcher::Result<Event<T>>, key: impl Fn(&T) -> K) -> Seen<T, K> {
        match event {
            Ok(Event::Init) => {
                self.listed = Some(HashSet::new());
                Seen::Nothing
            }
            Ok(Event::InitApply(object)) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(key(&object));
                }
                Seen::Applied(object)
            }
            Ok(Event::InitDone) => {
                self.readiness.there(self.name);
                self.listed.take().map_or(Seen::Nothing, Seen::Listed)
            }
            Ok(Event::Apply(object)) => Seen::Applied(object),
            Ok(Event::Delete(object)) => Seen::Deleted(object),
            Err(error) => {
                let why = explain(&error);
                if self.readiness.is_missing(self.name) {
                    tracing::warn!(watch = self.name, error = why, "can't list yet");
                    self.readiness.missing(self.name, why);
                } else {
                    tracing::info!(watch = self.name, error = why, "watch interrupted");
                }
                Seen::Nothing
            }
        }
    }
}

/// What is wrong, and what helps where that is known.
fn explain(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 => {
            "the API server does not know the resource: install the custom resource definitions".to_owned()
        }
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403 => {
            format!("the operator's service account lacks a permission: {}", status.message)
        }
        error => error.to_string(),
    }
}
