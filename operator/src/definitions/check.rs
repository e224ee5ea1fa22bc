//! Asks the API server which definitions are installed, until they are what this operator needs.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use tokio::time::sleep;

use super::{Fields, Needed, needed};
use crate::{health::Readiness, metrics::Metrics};

const DEFINITIONS: &str = "CustomResourceDefinitions";
/// How often they are looked at while they don't fit.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What became of looking at one definition.
enum Found {
    /// It fits, or nothing can be said.
    Fits,
    /// It lacks so many fields; this is what to do.
    Lacks(usize, String),
}

/// Waits until every definition has what this operator needs, and says meanwhile what is missing.
pub async fn agree(client: Client, readiness: Readiness, metrics: Arc<Metrics>) {
    readiness.missing(DEFINITIONS, "not looked at yet");
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let needed = needed();
    let mut told = String::new();
    loop {
        let (mut missing, mut problems) = (0, Vec::new());
        for needed in &needed {
            match look(&api, needed).await {
                Found::Fits => {}
                Found::Lacks(fields, problem) => {
                    missing += fields;
                    problems.push(problem);
                }
            }
        }
        metrics.definitions_lack(missing);
        if problems.is_empty() {
            readiness.there(DEFINITIONS);
            return;
        }
        let problems = problems.join("; ");
        if problems != told {
            tracing::error!("{problems}");
        }
        readiness.missing(DEFINITIONS, problems.clone());
        told = problems;
        sleep(LOOK_INTERVAL).await;
    }
}

async fn look(api: &Api<CustomResourceDefinition>, needed: &Needed) -> Found {
    let fix = concat!(
        "; install those of carillon ",
        env!("CARGO_PKG_VERSION"),
        ": helm upgrade with crds.install=true, or kubectl apply --server-side -f charts/carillon/files/crds"
    );
    match api.get(needed.name).await {
        Ok(installed) => {
            let skew = needed.compare(&serde_json::to_value(installed).unwrap_or_default());
            if !skew.unknown.is_empty() {
                tracing::info!(definition = needed.name, fields = %Fields(&skew.unknown), "the installed definition is newer: this operator does not read these fields");
            }
            match skew.missing.len() {
                0 => Found::Fits,
                count => {
                    Found::Lacks(count, format!("{} is older than this operator and lacks {}{fix}", needed.name, Fields(&skew.missing)))
                }
            }
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Found::Lacks(1, format!("{} is not installed{fix}", needed.name)),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            tracing::warn!(
                definition = needed.name,
                error = status.message,
                "not looked at: whether it is older than this operator is not known"
            );
            Found::Fits
        }
        Err(error) => Found::Lacks(0, format!("{} can't be looked at: {error}", needed.name)),
    }
}
