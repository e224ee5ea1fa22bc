//! What Kubernetes and Prometheus are told.

use carillon_server::health::{self, Health};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    server::{TestServer, loopback, plain_client, snapshot},
    tenants,
};

async fn serve(health: &Health) -> (String, tokio_util::sync::DropGuard) {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(health::serve(listener, health.router(), stop.clone()));
    (url, stop.drop_guard())
}

async fn ask(url: &str, path: &str) -> (u16, String) {
    let answer = plain_client().get(format!("{url}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn ready_once_programmed_and_until_draining() {
    let health = Health::default();
    let (url, _stop) = serve(&health).await;
    let alive = (200, "ok\n".to_owned());
    assert_eq!(ask(&url, "/livez").await, alive);
    assert_eq!(ask(&url, "/readyz").await, (503, "not ready: the server is starting\n".to_owned()));
    assert_eq!(ask(&url, "/metrics").await.0, 503);

    let server = TestServer::unprogrammed().await;
    health.started(server.core().clone());
    let missing = "not ready: no configuration yet: the operator has not pushed one since this process started\n";
    assert_eq!(ask(&url, "/readyz").await, (503, missing.to_owned()));

    server.core().config.replace(snapshot(tenants::all())).unwrap();
    assert_eq!(ask(&url, "/readyz").await, alive);

    server.core().start_draining();
    assert_eq!(ask(&url, "/readyz").await, (503, "not ready: the server is draining: it is shutting down\n".to_owned()));
    assert_eq!(ask(&url, "/livez").await, alive);
    assert_eq!(ask(&url, "/elsewhere").await.0, 404);
}

#[tokio::test]
async fn metrics_are_openmetrics_with_the_process_among_them() {
    let server = TestServer::start().await;
    let health = Health::default();
    health.started(server.core().clone());
    let (url, _stop) = serve(&health).await;
    let answer = plain_client().get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(answer.headers()["Content-Type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    for name in [
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "carillon_config_age_seconds",
        "carillon_config_tenants",
        "carillon_api_requests_total",
        "carillon_certificate_reload_failures_total",
    ] {
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_else(|| panic!("{name} in {text}"));
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{name} {value}");
    }
    let age: f64 = text.lines().find_map(|line| line.strip_prefix("carillon_config_age_seconds ")).unwrap().parse().unwrap();
    assert!(age > 0.0 && age < 60.0, "{age}");
}
