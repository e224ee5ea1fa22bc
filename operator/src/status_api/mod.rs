//! What the leading replica knows of every tenant on every pod, for people: `GET /v1/status`, read by `carillon status`.
//!
//! It listens on a loopback address of its own and asks nobody who they are. Who reaches it came through the API server's port-forward, so that
//! the cluster's own rights decide. Nothing can be changed through it, and it holds no secrets: ids, versions, ages, and errors as statuses tell
//! them.

mod page;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, ensure};
use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use carillon_tenant::{
    FleetName,
    report::{FleetReport, REPORT_PATH, REPORT_TENANTS_MAX, REPORT_VERSION, ReportQuery},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    acks::Ledger,
    desired::Desired,
    fleet::{Pod, PodUid},
};

/// Pages made at once; more wait.
const PAGES_MAX: usize = 2;

/// Every pod with its ledger while this replica leads, `None` while it doesn't.
pub type Fleet = Option<Arc<Vec<(PodUid, PodHandle)>>>;

/// What is known of one pod, as its pusher keeps it.
#[derive(Clone, Debug)]
pub struct PodHandle {
    /// What it is known to run.
    pub ledger: Arc<Ledger>,
    /// The pod as it was last seen.
    pub pod: watch::Receiver<Pod>,
}

impl PodHandle {
    fn pod(&self) -> Pod {
        self.pod.borrow().clone()
    }
}

/// What the report is made of: the very things that pushers work with.
#[derive(Clone, Debug)]
pub struct Source {
    /// Who this replica is.
    pub replica: String,
    /// What the pods of each fleet should run.
    pub desired: BTreeMap<FleetName, watch::Receiver<Option<Arc<Desired>>>>,
    /// The pods.
    pub fleet: watch::Receiver<Fleet>,
}

/// Takes the address.
///
/// # Errors
///
/// When it is no loopback address, or is taken.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    ensure!(
        address.ip().is_loopback(),
        "--status-listen {address}: must be a loopback address, such as 127.0.0.1:8081; people reach it by port-forward"
    );
    TcpListener::bind(address).await.with_context(|| format!("--status-listen {address}"))
}

/// Serves until `shutdown`.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(listener: TcpListener, source: Source, shutdown: CancellationToken) -> std::io::Result<()> {
    let state = Arc::new((source, Semaphore::new(PAGES_MAX)));
    let router = Router::new().route(REPORT_PATH, get(report)).with_state(state);
    // A page is short, and no reader is waited for that keeps its connection.
    tokio::select! {
        result = axum::serve(listener, router) => result,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn report(State(state): State<Arc<(Source, Semaphore)>>, query: Result<Query<ReportQuery>, QueryRejection>) -> Response {
    let (source, pages) = &*state;
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{}\n", error.body_text())).into_response(),
    };
    if query.limit.is_some_and(|limit| limit == 0 || limit > REPORT_TENANTS_MAX) {
        return (StatusCode::BAD_REQUEST, format!("limit: must be 1 to {REPORT_TENANTS_MAX}\n")).into_response();
    }
    let _permit = pages.acquire().await;
    Json(source.report(&query, Instant::now())).into_response()
}

impl Source {
    /// The page that was asked for.
    fn report(&self, query: &ReportQuery, now: Instant) -> FleetReport {
        let fleet = self.fleet.borrow().clone();
        let desired: Vec<_> = self.desired.iter().filter_map(|(name, desired)| Some((name, desired.borrow().clone()?))).collect();
        let mut report = FleetReport {
            report_version: REPORT_VERSION,
            replica: self.replica.clone(),
            leads: fleet.is_some(),
            position: desired.iter().map(|(_, desired)| desired.position).max(),
            pods: Vec::new(),
            tenants: Vec::new(),
            next: None,
        };
        if let Some(fleet) = fleet {
            page::fill(&mut report, &fleet, &desired, query, now);
        }
        report
    }
}
