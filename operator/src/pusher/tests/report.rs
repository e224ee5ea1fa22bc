//! What people are told of pods, over the real address, while pushers are at work.

use carillon_tenant::report::{CellReport, CellState, FleetReport, PodState, REPORT_PATH, REPORT_VERSION};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::status_api::{self, Fleet, Source};

/// The address that tells of one operator's pod.
struct Board {
    address: SocketAddr,
    fleet: watch::Sender<Fleet>,
    shutdown: CancellationToken,
}

impl Board {
    async fn of(operator: &Operator) -> Self {
        let pod = (PodUid("uid".to_owned()), operator.pusher.handle());
        let (fleet, receiver) = watch::channel(Some(Arc::new(vec![pod])));
        let listener = status_api::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let source = Source {
            replica: "operator-0".to_owned(),
            desired: [(FleetName::default(), operator.desired.subscribe())].into(),
            fleet: receiver,
        };
        tokio::spawn(status_api::serve(listener, source, shutdown.clone()));
        Self { address, fleet, shutdown }
    }

    async fn ask(&self, query: &str) -> (StatusCode, String) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("{REPORT_PATH}{query}")).header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    async fn report(&self, query: &str) -> FleetReport {
        let (status, text) = self.ask(query).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn ids(report: &FleetReport) -> Vec<(&str, usize)> {
    report.tenants.iter().map(|tenant| (tenant.tenant_id.as_str(), tenant.synced)).collect()
}

#[tokio::test]
async fn who_is_in_sync_is_counted_and_who_is_not_is_named() {
    let (authority, server) = server().await;
    let (a1, a2, b1, c1) = (message("a", 1), message("a", 2), message("b", 1), message("c", 1));
    server.model().refuses = Some(id("b"));
    let mut operator = Operator::start(&authority, server.address, Some(desired(&[a1.clone(), b1.clone()], &[])));
    operator.until_programmed(&a1).await;
    let board = Board::of(&operator).await;
    let report = board.report("").await;
    assert_eq!((report.report_version, report.replica.as_str(), report.leads), (REPORT_VERSION, "operator-0", true));
    assert_eq!(report.position, Some(POSITION));
    let [pod] = report.pods.as_slice() else { panic!("{report:?}") };
    assert_eq!((pod.name.as_str(), pod.state, pod.error.as_deref()), ("server-0", PodState::Ok, None));
    assert_eq!((pod.boot_id.as_deref(), pod.heard_seconds.is_some()), (Some("boot-0"), true));
    assert_eq!(ids(&report), [("a", 1), ("b", 0)]);
    assert!(report.tenants[0].cells.is_empty(), "what is in sync is not named");
    let refused = CellReport { pod: 0, state: CellState::Rejected, version: None, seconds: None, error: Some("spec.x: no".to_owned()) };
    assert_eq!(report.tenants[1].cells, [refused]);

    // The pod is cut off, and then something changes: it runs what it had.
    server.model().failures = vec![StatusCode::SERVICE_UNAVAILABLE; 1000];
    operator.publish(&[a2.clone(), b1, c1], &[]);
    operator.until(&a2, |standing| matches!(standing, Standing::Trouble(_))).await;
    let report = board.report("").await;
    let cells: Vec<_> = report
        .tenants
        .iter()
        .flat_map(|tenant| &tenant.cells)
        .map(|cell| (cell.state, cell.version.clone(), cell.error.as_deref()))
        .collect();
    let trouble = Some("refused the whole push");
    let refusal = Some("spec.x: no");
    assert_eq!(
        cells,
        [(CellState::Stale, Some(a1.config_version), trouble), (CellState::Rejected, None, refusal), (CellState::Never, None, trouble)]
    );
    assert_eq!((report.pods[0].state, report.pods[0].error.as_deref()), (PodState::Troubled, trouble));
    assert!(report.pods[0].error_seconds.is_some());
}

#[tokio::test]
async fn one_tenant_or_one_pod_is_told_whole_and_the_rest_page_by_page() {
    let (authority, server) = server().await;
    let messages: Vec<_> = (0..7).map(|number| message(&format!("tenant-{number}"), 1)).collect();
    let mut operator = Operator::start(&authority, server.address, Some(desired(&messages, &["kept"])));
    operator.until_programmed(&messages[6]).await;
    let board = Board::of(&operator).await;

    let (mut seen, mut after) = (Vec::new(), String::new());
    let pages = loop {
        let report = board.report(&format!("?limit=3{after}")).await;
        seen.extend(report.tenants.iter().map(|tenant| tenant.tenant_id.to_string()));
        let Some(next) = report.next else { break seen.len().div_ceil(3) };
        after = format!("&after={next}");
    };
    let all: Vec<_> = std::iter::once("kept".to_owned()).chain((0..7).map(|number| format!("tenant-{number}"))).collect();
    assert_eq!((seen, pages), (all, 3));

    let one = board.report("?tenant=tenant-3").await;
    let cell = &one.tenants[0].cells[0];
    assert_eq!((ids(&one), cell.state), (vec![("tenant-3", 1)], CellState::Synced));
    assert_eq!((&cell.version, cell.seconds.is_some()), (&Some(messages[3].config_version.clone()), true));
    assert_eq!(board.report("?tenant=kept").await.tenants[0].cells[0].state, CellState::Never);
    assert!(board.report("?tenant=nobody").await.tenants.is_empty());
    let pod = board.report("?pod=server-0").await;
    assert!(pod.tenants.iter().all(|tenant| tenant.cells.len() == 1), "{pod:?}");
    assert!(board.report("?pod=server-9").await.tenants.iter().all(|tenant| tenant.cells.is_empty()));

    for (query, named) in
        [("?limit=0", "limit"), ("?limit=1001", "limit"), ("?limit=x", "limit"), ("?tenant=a%20b", "tenant"), ("?pods=a", "pods")]
    {
        let (status, text) = board.ask(query).await;
        assert!(status == StatusCode::BAD_REQUEST && text.contains(named), "{query}: {status} {text}");
    }
}

#[tokio::test]
async fn who_does_not_lead_says_so_and_nothing_else() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    let board = Board::of(&operator).await;
    board.fleet.send_replace(None);
    let report = board.report("").await;
    assert_eq!((report.leads, report.pods.len(), report.tenants.len()), (false, 0, 0));

    let refused = status_api::listen("0.0.0.0:0".parse().unwrap()).await.unwrap_err().to_string();
    assert!(refused.contains("--status-listen") && refused.contains("loopback"), "{refused}");
}
