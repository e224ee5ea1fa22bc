//! Replicas of the operator as processes of the test's own, with what those in pods have.

use std::{fs, net::SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tenant::{
    Position,
    push::{Answer, DELTA_PATH, Delta, Elsewhere, PROTOCOL_VERSION, STATE_PATH, State},
};
use serde_json::Value;
use tokio::process::Command;

use super::{NAMESPACE, Pod, Release};
use crate::{
    certificates, file,
    folder::Folder,
    operator::{Operator, Replica},
};

/// The very program that the image holds.
const PROGRAM: &str = "../target/x86_64-unknown-linux-musl/image/carillon-operator";
/// Where a server pod takes pushes.
const ADMIN_PORT: u16 = 9443;

/// What a replica in a pod has mounted, in a folder.
#[derive(Debug)]
pub struct Credentials {
    folder: Folder,
    certificate: String,
    key: String,
    authority: String,
}

impl Credentials {
    /// Those of the release.
    pub async fn of(release: &Release) -> Self {
        let folder = Folder::new("operators");
        let (tls, session) = (release.secret("carillon-operator-tls").await, release.secret("carillon-session-key").await);
        let write = |secret: &Value, name: &str| {
            let content = STANDARD.decode(secret[name].as_str().unwrap_or_default()).expect("Secrets are base64");
            fs::write(folder.path().join(name), &content).expect("the test's folder takes files");
            content
        };
        write(&session, "key");
        let [certificate, key, authority] =
            ["tls.crt", "tls.key", "ca.crt"].map(|name| String::from_utf8(write(&tls, name)).expect("PEM is text"));
        Self { folder, certificate, key, authority }
    }

    /// Starts a replica and awaits that it has all it needs.
    ///
    /// # Panics
    ///
    /// When it ends instead.
    pub async fn start(&self, identity: &str) -> Operator {
        let replica = Replica { identity, namespace: NAMESPACE, folder: self.folder.path() };
        Operator::start(Command::new(file(PROGRAM)), replica).await
    }

    /// The operator's client for a pod's admin port, and where it is asked.
    pub fn admin_of(&self, pod: &Pod) -> (reqwest::Client, String) {
        certificates::operator_with(&self.authority, &self.certificate, &self.key, SocketAddr::new(pod.ip, ADMIN_PORT))
    }

    /// Tells a pod what a leader of `epoch` would that finds everything as it should be.
    ///
    /// # Panics
    ///
    /// When the pod doesn't take it.
    pub async fn claim(&self, pod: &Pod, epoch: u64) {
        let (client, base) = self.admin_of(pod);
        let state = client.get(format!("{base}{STATE_PATH}")).send().await.expect("the pod answers");
        let state: State = state.json().await.expect("it tells its state");
        let position = Position::new(epoch, 1);
        let delta = Delta {
            protocol_version: PROTOCOL_VERSION,
            position,
            base_digest: state.digest,
            upserts: Vec::new(),
            removals: Vec::new(),
            moved: Vec::new(),
            elsewhere: Elsewhere::new(),
        };
        let answer = client.patch(format!("{base}{DELTA_PATH}")).json(&delta).send().await.expect("the pod answers");
        answer.json::<Answer>().await.expect("it takes what a later leader says");
    }
}
