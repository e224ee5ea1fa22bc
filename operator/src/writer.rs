//! What the operator writes to the API server about a tenant, its status and its own finalizer, and about a class, its status.

use carillon_crds::{FINALIZER, RealtimeTenant, RealtimeTenantClass, RealtimeTenantClassStatus, RealtimeTenantStatus};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use crate::{events::REPORTER, object::TenantObject};

/// The API of the tenants in `namespace`, as dynamic objects: answers are never refused for what a spec holds.
fn api(client: Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &ApiResource::erase::<RealtimeTenant>(&()))
}

/// Writes the status, by server-side apply, and returns the resource version that came of it.
///
/// # Errors
///
/// What the API server says. 404 and 409: the object is gone.
pub async fn write_status(client: Client, object: &TenantObject, status: &RealtimeTenantStatus) -> kube::Result<Option<String>> {
    let patch = json!({
        "apiVersion": RealtimeTenant::api_version(&()),
        "kind": RealtimeTenant::kind(&()),
        // Of another object that has the same name by now this status says nothing.
        "metadata": {"name": object.key.name, "uid": object.uid},
        "status": status,
    });
    let parameters = PatchParams::apply(REPORTER).force();
    let written = api(client, &object.key.namespace).patch_status(&object.key.name, &parameters, &Patch::Apply(patch)).await?;
    Ok(written.metadata.resource_version)
}

/// Writes the status of the class `name`, by server-side apply, and returns the resource version that came of it.
///
/// # Errors
///
/// What the API server says. 404 and 409: the object is gone.
pub async fn write_class_status(client: Client, name: &str, uid: &str, status: &RealtimeTenantClassStatus) -> kube::Result<Option<String>> {
    let patch = json!({
        "apiVersion": RealtimeTenantClass::api_version(&()),
        "kind": RealtimeTenantClass::kind(&()),
        "metadata": {"name": name, "uid": uid},
        "status": status,
    });
    let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::erase::<RealtimeTenantClass>(&()));
    let written = api.patch_status(name, &PatchParams::apply(REPORTER).force(), &Patch::Apply(patch)).await?;
    Ok(written.metadata.resource_version)
}

/// Puts the operator's finalizer on `object`, or takes it off, if the object is still as it was seen.
///
/// # Errors
///
/// What the API server says. 404: the object is gone. 409: it changed meanwhile.
pub async fn write_finalizer(client: Client, object: &TenantObject, wanted: bool) -> kube::Result<()> {
    let others = object.finalizers.iter().map(String::as_str).filter(|finalizer| *finalizer != FINALIZER);
    let finalizers: Vec<_> = others.chain(wanted.then_some(FINALIZER)).collect();
    let patch = json!({"metadata": {"uid": object.uid, "resourceVersion": object.resource_version, "finalizers": finalizers}});
    let parameters = PatchParams { field_manager: Some(REPORTER.to_owned()), ..PatchParams::default() };
    api(client, &object.key.namespace).patch_metadata(&object.key.name, &parameters, &Patch::Merge(patch)).await?;
    Ok(())
}
