//! The Secret in the API server. It is written only as it was read, by whoever leads, and only if it belongs to the tenant's own object.

use std::collections::BTreeMap;

use carillon_crds::{CREDENTIALS_SECRET_TYPE, RealtimeTenant};
use carillon_tenant::{
    SecretBytes,
    generated::{LEDGER_KEY, Ledger, LedgerError},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};

use super::{
    Want,
    plan::{Made, Plan, Stored, plan},
    secret_name,
};
use crate::{events::REPORTER, object::ObjectKey};

/// What is to be looked at, and done if need be.
#[derive(Clone, Debug)]
pub struct Order {
    /// The tenant's object.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// What it wants.
    pub want: Want,
    /// The next keys that every server pod runs, if it runs them; as they are in the ledger without what is private.
    pub announced: Option<Ledger>,
    /// True when there was such a Secret before, as far as anybody has told.
    pub had: bool,
}

/// True when the Secret belongs to the object `uid`.
pub fn is_owned(secret: &Secret, uid: &str) -> bool {
    secret.owner_references().iter().any(|owner| owner.uid == uid)
}

/// Reads a Secret.
pub fn read(secret: &Secret) -> Stored {
    let data: BTreeMap<_, _> =
        secret.data.iter().flatten().map(|(key, ByteString(bytes))| (key.clone(), SecretBytes::from(bytes.clone()))).collect();
    let ledger = data.get(LEDGER_KEY).map(|bytes| Ledger::read(bytes.expose()));
    Stored { newer: ledger == Some(Err(LedgerError::Newer)), ledger: ledger.and_then(Result::ok), data }
}

/// Looks at the Secret, and brings it where it should be. `None`: there is nothing to do.
///
/// # Errors
///
/// What the API server says. 404 and 409: it changed meanwhile, and is to be looked at again.
pub async fn carry_out(client: Client, order: &Order) -> kube::Result<Option<Made>> {
    let api: Api<Secret> = Api::namespaced(client, &order.key.namespace);
    let name = secret_name(&order.key);
    let secret = api.get_opt(&name).await?;
    if secret.as_ref().is_some_and(|secret| !is_owned(secret, &order.uid)) {
        return Ok(None);
    }
    let stored = secret.as_ref().map(read);
    // What was announced must be what is still there.
    let announced = order.announced.as_ref().is_some_and(|announced| {
        stored.as_ref().and_then(|stored| stored.ledger.clone()).map(Ledger::without_private).as_ref() == Some(announced)
    });
    let parameters = PostParams { field_manager: Some(REPORTER.to_owned()), ..PostParams::default() };
    match (plan(stored.as_ref(), &order.want, announced, Timestamp::now().as_second(), &mut rand::random), secret) {
        (Plan::Nothing, _) | (Plan::Delete, None) => Ok(None),
        (Plan::Delete, Some(secret)) => {
            let preconditions = Preconditions { uid: secret.metadata.uid, resource_version: secret.metadata.resource_version };
            api.delete(&name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await?;
            Ok(Some(Made::Other))
        }
        (Plan::Write(data, made), Some(mut secret)) => {
            // It still has the resource version that it was read with.
            secret.metadata.labels.get_or_insert_default().extend(labels(order));
            secret.data = Some(bytes(data));
            api.replace(&name, &parameters, &secret).await?;
            Ok(Some(made))
        }
        (Plan::Write(data, made), None) => {
            let owner = OwnerReference {
                api_version: RealtimeTenant::api_version(&()).into_owned(),
                kind: RealtimeTenant::kind(&()).into_owned(),
                name: order.key.name.clone(),
                uid: order.uid.clone(),
                controller: Some(true),
                // To hold up the tenant's deletion takes rights on its finalizers, and serves nobody.
                block_owner_deletion: None,
            };
            let metadata = ObjectMeta {
                name: Some(name),
                namespace: Some(order.key.namespace.clone()),
                labels: Some(labels(order)),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            };
            let type_ = Some(CREDENTIALS_SECRET_TYPE.to_owned());
            api.create(&parameters, &Secret { metadata, type_, data: Some(bytes(data)), ..Secret::default() }).await?;
            Ok(Some(if order.had { Made::Anew } else { made }))
        }
    }
}

fn labels(order: &Order) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/managed-by", REPORTER),
        ("app.kubernetes.io/part-of", "carillon"),
        ("carillon.dev/tenant", order.want.tenant_id.as_str()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn bytes(data: BTreeMap<String, SecretBytes>) -> BTreeMap<String, ByteString> {
    data.into_iter().map(|(key, bytes)| (key, ByteString(bytes.expose().to_vec()))).collect()
}
