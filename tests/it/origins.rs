//! Pages of which origins may connect, over plain HTTP and at the handshake.

use carillon_tenant::OriginPolicy;
use carillon_tests::{
    client::{Client, WEBSOCKET_PATH},
    fleet::{Fleet, Setup},
    http,
    tenants::tenant,
    tokens::token,
    websocket,
};
use hyper::Method;
use serde_json::json;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

async fn fleet() -> Fleet {
    let setup = Setup { frontend: OriginPolicy::parse("https://app.example.com, https://*.shop.example.com").unwrap(), ..Setup::default() };
    Fleet::with(setup, &[tenant("acme").with("/allowedOrigins", json!(["https://acme.example"])), tenant("globex")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_somebody_allows_may_poll_and_others_not() {
    let fleet = fleet().await;
    let get = async |origin: &str| http::request(fleet.address(), Method::GET, POLLING, &[("origin", origin)], "").await;
    for origin in ["https://app.example.com", "https://a.shop.example.com", "https://acme.example"] {
        let response = get(origin).await;
        assert_eq!((response.status.as_u16(), response.header("access-control-allow-origin")), (200, origin), "{response:?}");
        assert_eq!(response.header("access-control-allow-credentials"), "true");
        assert!(response.header("vary").to_ascii_lowercase().contains("origin"));
    }
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://shop.example.com",
        "https://evilshop.example.com",
        "https://app.example.com:8443",
        "null",
        "",
        "https://",
        "https://app.example.com, https://evil.example",
        "file://",
    ] {
        let response = get(origin).await;
        assert_eq!((response.status.as_u16(), response.header("access-control-allow-origin")), (403, ""), "{origin}: {response:?}");
        assert_eq!(response.json()["code"], "origin_refused");
    }
    assert_eq!(http::request(fleet.address(), Method::GET, POLLING, &[], "").await.status, 200, "no page of another site");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_is_answered() {
    let fleet = fleet().await;
    let preflight = async |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
        http::request(fleet.address(), Method::OPTIONS, POLLING, &headers, "").await
    };
    let allowed = preflight("https://app.example.com").await;
    assert!(allowed.status.is_success());
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.com");
    assert_eq!(allowed.header("access-control-allow-methods"), "GET,POST");
    assert!(allowed.header("access-control-allow-headers").to_ascii_lowercase().contains("content-type"));
    let refused = preflight("https://evil.example").await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    assert_eq!(refused.header("access-control-allow-methods"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_of_another_site_is_refused() {
    let fleet = fleet().await;
    let open = async |origin| websocket::open(fleet.address(), WEBSOCKET_PATH, &[("Origin", origin)]).await.map(drop);
    assert_eq!(open("https://evil.example").await, Err(403));
    assert_eq!(open("https://app.example.com").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_names_its_origins_means_exactly_these() {
    let fleet = fleet().await;
    let own = format!("http://{}", fleet.address());
    let connect = async |origin: &str, tenant: &str| {
        let mut client = Client::open_with(fleet.address(), &[("Origin", origin)]).await.expect("somebody allows the origin");
        client.authenticate(&json!({"token": token(tenant, 1)})).await
    };
    let refused = Err("Authentication error".to_owned());
    assert_eq!(connect("https://acme.example", "acme").await, Ok(()));
    assert_eq!(connect("https://app.example.com", "acme").await, refused);
    assert_eq!(connect(&own, "acme").await, refused);
    assert_eq!(connect("https://app.example.com", "globex").await, Ok(()));
    assert_eq!(connect(&own, "globex").await, Ok(()));
    assert_eq!(connect("https://acme.example", "globex").await, refused);
    assert_eq!(fleet.metric(0, r#"carillon_connects_total{tenant="acme",result="origin_refused"}"#), 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_lets_every_page_in() {
    let fleet = Fleet::with(Setup { frontend: OriginPolicy::Any, ..Setup::default() }, &[tenant("acme")]).await;
    let mut client = Client::open_with(fleet.address(), &[("Origin", "https://anything.example")]).await.unwrap();
    client.authenticate(&json!({"token": token("acme", 1)})).await.unwrap();
}
