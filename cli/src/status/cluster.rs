//! The API server, by the user's own configuration and rights.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use carillon_crds::RealtimeTenant;
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};

use super::tenant::Tenant;

/// Objects in one answer.
const PAGE: u32 = 500;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster, and which namespace the user is in.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    namespace: String,
}

/// Tenants, and what should be said about how they were chosen.
#[derive(Debug, Default)]
pub struct Found {
    pub tenants: Vec<Tenant>,
    pub note: Option<String>,
}

impl Cluster {
    /// Reads the configuration as kubectl does: `--kubeconfig`, `KUBECONFIG`, `~/.kube/config`, or that of the pod this runs in.
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Self> {
        // Fails when there is one already, which is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let mut config = match (kubeconfig, context) {
            (Some(path), _) => {
                let read = || format!("--kubeconfig {}", path.display());
                let file = Kubeconfig::read_from(path).with_context(read)?;
                Config::from_custom_kubeconfig(file, &options).await.with_context(read)?
            }
            (None, Some(context)) => Config::from_kubeconfig(&options).await.with_context(|| format!("--context {context}"))?,
            (None, None) => Config::infer().await.context("no cluster is configured: set KUBECONFIG, or give --kubeconfig")?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        let namespace = config.default_namespace.clone();
        Ok(Self { client: Client::try_from(config)?, namespace })
    }

    /// All tenants or, where a user may not see them, those of the context's namespace.
    pub async fn tenants(&self, namespace: Option<&str>) -> anyhow::Result<Found> {
        match self.list(namespace).await {
            Ok(tenants) => Ok(Found { tenants, note: None }),
            Err(kube::Error::Api(status)) if status.code == 403 && namespace.is_none() => {
                let tenants = self.list(Some(&self.namespace)).await.map_err(|_| anyhow!("{}", status.message))?;
                let note = format!("only namespace {}: you may not list RealtimeTenants in all of them", self.namespace);
                Ok(Found { tenants, note: Some(note) })
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                bail!("this cluster has no RealtimeTenants: install the chart first, or choose another --context")
            }
            Err(error) => Err(anyhow!("{}", said(&error)).context("RealtimeTenants can't be listed")),
        }
    }

    /// One tenant as it is now; `None` when it is gone.
    pub async fn tenant(&self, namespace: &str, name: &str) -> kube::Result<Option<Tenant>> {
        Ok(self.api(Some(namespace)).get_opt(name).await?.map(Tenant::read))
    }

    async fn list(&self, namespace: Option<&str>) -> kube::Result<Vec<Tenant>> {
        let api = self.api(namespace);
        let (mut tenants, mut parameters) = (Vec::new(), ListParams::default().limit(PAGE));
        loop {
            let page = api.list(&parameters).await?;
            tenants.extend(page.items.into_iter().map(Tenant::read));
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => parameters.continue_token = Some(next),
                None => return Ok(tenants),
            }
        }
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<RealtimeTenant>(&());
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

/// What went wrong, for people.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                if !text.contains(&cause.to_string()) {
                    text = format!("{text}: {cause}");
                }
                source = cause.source();
            }
            text
        }
    }
}
