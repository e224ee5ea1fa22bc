//! The Secrets in the API server. What is written counts only if nobody has written since it was read.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{PartialObjectMeta, PostParams},
};

use super::stored::{Place, Secrets};
use crate::events::REPORTER;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Of the owner's labels, those that say what something belongs to.
const INHERITED: [&str; 3] = ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of"];

/// Those of one release.
#[derive(Clone, Debug)]
pub(super) struct KubernetesSecrets {
    api: Api<Secret>,
    deployments: Api<Deployment>,
    names: BTreeMap<Place, String>,
    owner: Option<String>,
}

/// Why a Secret was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Someone has written since.
    Conflict,
    /// Anything else.
    Failed(String),
}

/// Whom the Secrets belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Owner {
    reference: Option<OwnerReference>,
    labels: BTreeMap<String, String>,
}

impl Owner {
    /// Makes `secret` its own. True when it wasn't.
    pub(super) fn take(&self, secret: &mut Secret) -> bool {
        let before = secret.metadata.clone();
        secret.labels_mut().extend(self.labels.clone());
        // An owner that is gone would take the Secret with it.
        if let Some(reference) = &self.reference {
            secret.metadata.owner_references = Some(vec![reference.clone()]);
        }
        secret.metadata != before
    }
}

impl KubernetesSecrets {
    pub(super) fn new(client: Client, namespace: &str, names: BTreeMap<Place, String>, owner: Option<String>) -> Self {
        let deployments = Api::namespaced(client.clone(), namespace);
        Self { api: Api::namespaced(client, namespace), deployments, names, owner }
    }

    pub(super) fn name(&self, place: Place) -> &str {
        self.names.get(&place).map_or("", String::as_str)
    }

    /// Whom they should belong to.
    pub(super) async fn owner(&self) -> Result<Owner, String> {
        let mut owner = Owner::default();
        owner.labels.insert(MANAGED_BY.to_owned(), REPORTER.to_owned());
        let Some(name) = &self.owner else { return Ok(owner) };
        let found: Result<PartialObjectMeta<Deployment>, _> = self.deployments.get_metadata(name).await;
        let deployment = found.map_err(|error| format!("Deployment {name}: {error}"))?;
        for label in INHERITED {
            owner.labels.extend(deployment.labels().get_key_value(label).map(|(name, value)| (name.clone(), value.clone())));
        }
        owner.reference = Some(OwnerReference {
            api_version: Deployment::api_version(&()).into_owned(),
            kind: Deployment::kind(&()).into_owned(),
            name: name.clone(),
            uid: deployment.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        });
        Ok(owner)
    }

    pub(super) async fn read(&self) -> Result<Secrets, String> {
        let mut secrets = Secrets::new();
        for (place, name) in &self.names {
            let secret = self.api.get_opt(name).await.map_err(|error| format!("Secret {name}: {error}"))?;
            secrets.extend(secret.map(|secret| (*place, secret)));
        }
        Ok(secrets)
    }

    /// Creates it, or replaces what was read.
    pub(super) async fn write(&self, place: Place, mut secret: Secret) -> Result<(), WriteError> {
        let name = self.name(place);
        let parameters = PostParams { field_manager: Some(REPORTER.to_owned()), ..PostParams::default() };
        let written = if secret.metadata.resource_version.is_some() {
            self.api.replace(name, &parameters, &secret).await
        } else {
            secret.metadata.name = Some(name.to_owned());
            self.api.create(&parameters, &secret).await
        };
        written.map(drop).map_err(|error| match error {
            // Gone since it was read is a conflict, too.
            kube::Error::Api(status) if [404, 409].contains(&status.code) => WriteError::Conflict,
            // What the API server complains about may quote what it was sent.
            kube::Error::Api(status) => WriteError::Failed(format!("Secret {name}: {} ({})", status.reason, status.code)),
            error => WriteError::Failed(format!("Secret {name}: {error}")),
        })
    }
}
