//! Asking the operator that leads: through the API server's port-forward to its pod, so that the cluster's own rights decide who may.

use std::{net::SocketAddr, time::Duration};

use carillon_tenant::{
    TenantId,
    report::{FleetReport, REPORT_PATH, REPORT_PORT, REPORT_PORT_NAME, REPORT_VERSION, ReportQuery},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest, header::HOST};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{
    cluster::{Cluster, said},
    fleet::Fleet,
};

/// What marks the operator's pods.
const SELECTOR: &str = "app.kubernetes.io/part-of=carillon,app.kubernetes.io/component=operator";
/// Where releases usually are.
const NAMESPACE: &str = "carillon";
/// In the operator's pod: the name of the Lease.
const LEASE_NAME: &str = "CARILLON_LEASE_NAME";
/// Largest page that is read, in bytes.
const PAGE_BYTES_MAX: usize = 64 << 20;
/// How long one pod may take to be reached, and to give one page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the reason for a broken port-forward is waited for.
const TROUBLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whatever HTTP can be spoken over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Where to ask.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a pod of this namespace or, if none is given, wherever there is one.
    Pods(Option<String>),
    /// At an address that the user has made a way to.
    Address(SocketAddr),
}

/// Everything about the tenant or the pod that is named, or else about all of them.
///
/// # Errors
///
/// Why the operator can't be asked, in words.
pub async fn ask(cluster: &Cluster, place: &Place, tenant: Option<&str>, pod: Option<&str>) -> Result<Fleet, String> {
    let tenant = tenant.map(TenantId::new).transpose().map_err(|error| format!("tenant id {error}"))?;
    let query = ReportQuery { tenant, pod: pod.map(str::to_owned), ..ReportQuery::default() };
    let namespace = match place {
        Place::Address(address) => {
            let stream = timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await;
            let stream = stream.map_err(|_| format!("{address} does not answer"))?.map_err(|error| format!("{address}: {error}"))?;
            return pages(stream, query).await?.ok_or_else(|| format!("the operator at {address} doesn't lead"));
        }
        Place::Pods(namespace) => namespace.as_deref(),
    };
    let mut failures = Vec::new();
    for pod in pods(cluster, namespace).await? {
        match timeout(ANSWER_TIMEOUT, forward(cluster, &pod)).await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok((stream, trouble)) => match pages(stream, query.clone()).await {
                Ok(Some(fleet)) => return Ok(fleet),
                // It stands by.
                Ok(None) => {}
                Err(error) => {
                    let trouble = timeout(TROUBLE_TIMEOUT, trouble).await.ok().flatten();
                    failures.push(format!("{}: {}", pod.name_any(), trouble.as_deref().map_or(error.as_str(), str::trim)));
                }
            },
            Err(error) => failures.push(format!("{}: {error}", pod.name_any())),
        }
    }
    Err(if failures.is_empty() { "no pod of the operator leads now".to_owned() } else { failures.join("; ") })
}

/// The operator's pods, the one that the Lease names first.
async fn pods(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Pod>, String> {
    let parameters = ListParams::default().labels(SELECTOR);
    let of = async |namespace: &str| Api::<Pod>::namespaced(cluster.client.clone(), namespace).list(&parameters).await;
    let (pods, place) = match namespace {
        Some(namespace) => (of(namespace).await, format!("in namespace {namespace}")),
        None => match Api::<Pod>::all(cluster.client.clone()).list(&parameters).await {
            Err(kube::Error::Api(status)) if status.code == 403 => (of(NAMESPACE).await, format!("in namespace {NAMESPACE}")),
            pods => (pods, "in any namespace".to_owned()),
        },
    };
    let mut pods = pods.map_err(|error| format!("{} (--operator-namespace says where the release is)", said(&error)))?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() && phase(pod) == "Running");
    if pods.is_empty() {
        return Err(format!("no pod of the operator runs {place}"));
    }
    let leader = leader(cluster, &pods[0]).await;
    pods.sort_by_key(|pod| (Some(pod.name_any()) != leader, pod.name_any()));
    Ok(pods)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Who holds the Lease; `None` when that can't be told: then each pod is asked.
async fn leader(cluster: &Cluster, pod: &Pod) -> Option<String> {
    let environment = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.env.iter().flatten());
    let name = environment.filter(|variable| variable.name == LEASE_NAME).find_map(|variable| variable.value.clone())?;
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &pod.namespace()?);
    leases.get_opt(&name).await.ok()??.spec?.holder_identity
}

/// A connection to the pod's own loopback address, and what its node says if it can't be had.
async fn forward(cluster: &Cluster, pod: &Pod) -> Result<(impl Stream, impl Future<Output = Option<String>>), String> {
    let ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
    let named =
        ports.filter(|port| port.name.as_deref() == Some(REPORT_PORT_NAME)).find_map(|port| u16::try_from(port.container_port).ok());
    let port = named.unwrap_or(REPORT_PORT);
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &pod.namespace().unwrap_or_default());
    let mut forwarded = pods.portforward(&pod.name_any(), &[port]).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 403 => "you may not port-forward to it (get and create pods/portforward)".to_owned(),
        error => said(&error),
    })?;
    let trouble = forwarded.take_error(port);
    forwarded.take_stream(port).zip(trouble).ok_or_else(|| "no port-forward".to_owned())
}

/// Every page of the report; `None` when whoever answers doesn't lead.
async fn pages(stream: impl Stream, mut query: ReportQuery) -> Result<Option<Fleet>, String> {
    let closed = |error: hyper::Error| format!("no answer: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(closed)?;
    let driver = tokio::spawn(async move { _ = connection.await });
    let mut fleet = Fleet::unknown(String::new());
    let outcome = loop {
        let report = match timeout(ANSWER_TIMEOUT, page(&mut sender, &query)).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => break Err(error),
            Err(_) => break Err("no answer in time".to_owned()),
        };
        if !report.leads {
            break Ok(None);
        }
        if report.position.is_none() {
            break Err("it leads, and has not published anything yet".to_owned());
        }
        let next = report.next.clone();
        fleet.add(report);
        match next {
            Some(next) => query.after = Some(next),
            None => break Ok(Some(fleet)),
        }
    };
    driver.abort();
    outcome
}

async fn page(sender: &mut SendRequest<Empty<Bytes>>, query: &ReportQuery) -> Result<FleetReport, String> {
    let closed = |error: hyper::Error| format!("no answer: {error}");
    let request = Request::get(format!("{REPORT_PATH}?{}", encoded(query))).header(HOST, "localhost").body(Empty::new());
    let request = request.map_err(|error| error.to_string())?;
    sender.ready().await.map_err(closed)?;
    let answer = sender.send_request(request).await.map_err(closed)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim()));
    }
    let version = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|report| report["reportVersion"].as_u64());
    if version != Some(REPORT_VERSION.into()) {
        return Err(format!(
            "it reports in version {version:?}, and this carillon reads {REPORT_VERSION}: use the one of the same release"
        ));
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer can't be read: {error}"))
}

/// Ids and names of pods hold nothing that must be escaped, but what a user gave as one may.
fn encoded(query: &ReportQuery) -> String {
    let escaped = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
    };
    let parts = [
        query.after.as_ref().map(|id| format!("after={}", escaped(id.as_str()))),
        query.tenant.as_ref().map(|id| format!("tenant={}", escaped(id.as_str()))),
        query.pod.as_ref().map(|name| format!("pod={}", escaped(name))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, extract::Query, http::StatusCode, response::IntoResponse, routing::get};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    /// Whoever answers so on a port of its own.
    async fn served<F, R>(answer: F) -> TcpStream
    where
        F: Fn(ReportQuery) -> R + Clone + Send + Sync + 'static,
        R: IntoResponse,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route(REPORT_PATH, get(async move |Query(query): Query<ReportQuery>| answer(query)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        TcpStream::connect(address).await.unwrap()
    }

    /// A page whose one pod has that name, with one tenant that isn't in sync there.
    fn page(pod: &str, tenant: &str, next: Option<&str>) -> Value {
        json!({
            "reportVersion": 1, "replica": "operator-0", "leads": true, "position": {"epoch": 1, "seq": 2}, "next": next,
            "pods": [{"name": pod, "uid": pod, "ready": true, "state": "OK"}],
            "tenants": [{"tenantId": tenant, "version": "1-00000001", "synced": 0, "cells": [{"pod": 0, "state": "STALE"}]}],
        })
    }

    #[tokio::test]
    async fn every_page_is_read_and_speaks_of_its_own_pods() {
        let answer = |query: ReportQuery| match query.after {
            None => Json(page("server-a", "one", Some("one"))),
            Some(after) => Json(page("server-b", if after.as_str() == "one" { "two" } else { "wrong" }, None)),
        };
        let fleet = pages(served(answer).await, ReportQuery::default()).await.unwrap().expect("it leads");
        let on = |tenant: &str| fleet.tenants[tenant].cells[0].pod.to_string();
        assert_eq!((on("one"), on("two"), fleet.tenants.len()), ("server-a".to_owned(), "server-b".to_owned(), 2));
        assert_eq!(fleet.pods[0].name, "server-b", "as they are now");
    }

    #[tokio::test]
    async fn what_is_asked_for_arrives_as_it_was_meant() {
        let query = ReportQuery { tenant: TenantId::new("a.b_c-d").ok(), pod: Some("50% off & more".to_owned()), ..ReportQuery::default() };
        let wanted = query.clone();
        let answer = move |found: ReportQuery| {
            assert_eq!(found, wanted);
            Json(page("server-a", "one", None))
        };
        pages(served(answer).await, query).await.unwrap().expect("it leads");
    }

    #[tokio::test]
    async fn who_stands_by_and_who_is_of_another_release_are_told_apart() {
        let stands_by = |_| Json(json!({"reportVersion": 1, "replica": "operator-1", "leads": false}));
        assert!(pages(served(stands_by).await, ReportQuery::default()).await.unwrap().is_none());
        let cases: [(Value, &str); 2] = [
            (json!({"reportVersion": 2, "everything": "else"}), "use the one of the same release"),
            (json!({"reportVersion": 1, "replica": "operator-0", "leads": true}), "has not published anything yet"),
        ];
        for (body, said) in cases {
            let error = pages(served(move |_| Json(body.clone())).await, ReportQuery::default()).await.unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let refused = |_| (StatusCode::BAD_REQUEST, "limit: must be less\n");
        let error = pages(served(refused).await, ReportQuery::default()).await.unwrap_err();
        assert_eq!(error, "400 Bad Request: limit: must be less");
    }
}
