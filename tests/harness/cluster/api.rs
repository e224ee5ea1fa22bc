//! The API server, through a `kubectl proxy` of the test's own.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{SLOW, eventually};
use crate::{eventually::within_deadline, http};

/// Who sets fields, as the API server notes it.
const FIELD_MANAGER: &str = "carillon-tests";

/// The API server. It is out of reach when this value ends.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    kubectl: Kubectl,
    _proxy: Child,
}

/// The program that brings us to an API server, and how it finds it.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Kubectl {
    /// `program`, with the configuration at `kubeconfig`.
    pub const fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig: Some(kubeconfig) }
    }

    /// To be given arguments.
    pub fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.envs(self.kubeconfig.as_ref().map(|path| ("KUBECONFIG", path)));
        command
    }
}

impl Api {
    /// Connects with the configuration that kubectl finds, and waits until the API server is ready.
    ///
    /// # Panics
    ///
    /// When there is no configuration, or the API server doesn't become ready.
    pub async fn connect() -> Self {
        let api = Self::connect_by(Kubectl { program: "kubectl".into(), kubeconfig: None }).await;
        // Where it ended and was started again, one test may fail by that, but not all that follow.
        eventually(SLOW, "the API server is ready", async || {
            let (status, answer) = api.request(Method::GET, "/readyz", "text/plain", &Value::Null).await;
            if status.is_success() { Ok(()) } else { Err(answer) }
        })
        .await;
        api
    }

    /// Connects by a program of the test's own.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub async fn connect_by(kubectl: Kubectl) -> Self {
        let mut command = Command::from(kubectl.command());
        command.args(["proxy", "--port", "0"]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut proxy = command.spawn().expect("kubectl is there: these tests run under `tests/cluster/cluster run`");
        let mut lines = BufReader::new(proxy.stdout.take().expect("stdout is piped")).lines();
        let line =
            within_deadline("kubectl proxy starts", lines.next_line()).await.expect("its output is text").expect("kubectl proxy starts");
        let address = line.rsplit(' ').next().and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("an address in {line:?}"));
        Self { address, kubectl, _proxy: proxy }
    }

    /// The program that brings us there.
    pub const fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Asks for an object or a list; `None` when there is no such thing.
    ///
    /// # Panics
    ///
    /// When the API server can't tell.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let (status, answer) = self.request(Method::GET, path, "application/json", &Value::Null).await;
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path}: {answer}");
        status.is_success().then_some(answer)
    }

    /// Whether there is such a list; false also while the API server isn't sure.
    pub async fn serves(&self, path: &str) -> bool {
        self.request(Method::GET, path, "application/json", &Value::Null).await.0.is_success()
    }

    /// The items of a list.
    ///
    /// # Panics
    ///
    /// When there is no such list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut list = self.get(path).await.unwrap_or_else(|| panic!("no {path}"));
        serde_json::from_value(list["items"].take()).expect("a list has items")
    }

    /// Makes an object, or what was applied of it before, as `object` says.
    ///
    /// # Panics
    ///
    /// When the API server refuses it.
    pub async fn apply(&self, object: &Value) -> Value {
        let path = format!("{}?fieldManager={FIELD_MANAGER}&force=true&fieldValidation=Strict", path_of(object));
        let (status, answer) = self.request(Method::PATCH, &path, "application/apply-patch+yaml", object).await;
        assert!(status.is_success(), "{object}: {answer}");
        answer
    }

    /// What the API server would make of a new object, if it takes it; fields that the schema doesn't know are refused. It makes none.
    ///
    /// # Errors
    ///
    /// What it says against it.
    pub async fn try_create(&self, object: &Value) -> Result<Value, String> {
        let path = path_of(object);
        let (collection, _) = path.rsplit_once('/').expect("a path has slashes");
        let path = format!("{collection}?dryRun=All&fieldValidation=Strict");
        let (status, answer) = self.request(Method::POST, &path, "application/json", object).await;
        if status.is_success() { Ok(answer) } else { Err(answer["message"].as_str().unwrap_or_default().to_owned()) }
    }

    /// Changes some fields of an object: a JSON merge patch.
    ///
    /// # Errors
    ///
    /// What the API server says against it.
    pub async fn try_patch(&self, path: &str, patch: &Value) -> Result<Value, String> {
        let (status, answer) = self.request(Method::PATCH, path, "application/merge-patch+json", patch).await;
        if status.is_success() { Ok(answer) } else { Err(answer["message"].as_str().unwrap_or_default().to_owned()) }
    }

    /// Changes some fields of an object: a JSON merge patch.
    ///
    /// # Panics
    ///
    /// When the API server refuses it.
    pub async fn patch(&self, path: &str, patch: &Value) -> Value {
        self.try_patch(path, patch).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Begins to delete an object, if there is one.
    ///
    /// # Panics
    ///
    /// When the API server refuses it.
    pub async fn delete(&self, path: &str) {
        let (status, answer) = self.request(Method::DELETE, path, "application/json", &Value::Null).await;
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path}: {answer}");
    }

    async fn request(&self, method: Method, path: &str, content_type: &str, body: &Value) -> (StatusCode, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = http::request(self.address, method, path, &[("content-type", content_type)], body).await;
        let answer = serde_json::from_str(&response.body).unwrap_or(Value::String(response.body));
        (response.status, answer)
    }
}

/// Where an object is.
pub fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let namespace = match &object["metadata"]["namespace"] {
        Value::String(namespace) => format!("/namespaces/{namespace}"),
        _ => String::new(),
    };
    let plural = if kind.ends_with('s') { "es" } else { "s" };
    format!("{root}/{version}{namespace}/{}{plural}/{}", kind.to_lowercase(), text(&object["metadata"]["name"]))
}
