//! Publishing faster, or to more, than a tenant may.

use std::time::Duration;

use carillon_server::quota::monotonic;
use carillon_tenant::Code;
use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    polling::PollingClient,
    server::{TestServer, eventually, snapshot},
    tenants,
};

/// A server with two tenants: acme with these quotas, and globex with none of its own.
async fn limited(quotas: Value) -> TestServer {
    let server = TestServer::unprogrammed().await;
    let mut acme = tenants::simple(tenants::ACME_SECRET, tenants::ACME_KEY, false);
    acme["quotas"] = quotas;
    let globex = tenants::simple(tenants::GLOBEX_SECRET, tenants::GLOBEX_KEY, false);
    let answer = server.core().config.replace(snapshot(vec![tenants::tenant("acme", &acme), tenants::tenant("globex", &globex)])).unwrap();
    assert_eq!(answer.rejected, []);
    server
}

async fn publish(server: &TestServer, body: impl Into<reqwest::Body>) -> Response {
    let request = server.client.post(server.url("/v1/tenants/acme/events")).bearer_auth(tenants::ACME_KEY);
    request.header("Content-Type", "application/json").body(body).send().await.unwrap()
}

fn events(count: usize) -> String {
    json!(vec![json!({"event": "e"}); count]).to_string()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn metric(server: &TestServer, code: &str, enforced: bool) -> u64 {
    let name = format!(r#"carillon_quota_refusals_total{{tenant="acme",code="{code}",enforced="{enforced}"}} "#);
    let metrics = server.core().metrics.encode();
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn too_fast_is_refused_whole_and_says_when_to_come_again() {
    let server = limited(json!({"publish": {"ratePerSecond": 2, "burst": 5}})).await;
    let mut client = PollingClient::connect(&server, json!(7)).await;

    let answer = publish(&server, events(4)).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(header(&answer, "RateLimit-Policy"), r#""publish";q=5;w=3"#);
    assert_eq!(header(&answer, "RateLimit"), r#""publish";r=1;t=2"#);

    let refused = publish(&server, events(3)).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "Retry-After"), "1");
    assert_eq!(header(&refused, "RateLimit-Policy"), r#""publish";q=5;w=3"#);
    assert_eq!(header(&refused, "RateLimit"), r#""publish";r=1;t=2"#);
    let mut problem: Value = refused.json().await.unwrap();
    let wait = problem.as_object_mut().unwrap().remove("retryAfterMs").unwrap().as_u64().unwrap();
    assert!((1..=1000).contains(&wait), "{wait}");
    let expected = json!({
        "type": "about:blank", "title": "Too Many Requests", "status": 429, "code": "publish_rate",
        "detail": "events are published too fast: slow down", "limit": 2, "scope": "tenant", "fatal": false,
    });
    assert_eq!(problem, expected);

    // Nobody else is refused for it, and what is refused costs nothing: it passes when the time told is over.
    let other = server.client.post(server.url("/v1/tenants/globex/events")).bearer_auth(tenants::GLOBEX_KEY);
    assert_eq!(other.json(&json!({"event": "e"})).send().await.unwrap().status(), 202);
    let told = tokio::time::Instant::now() + Duration::from_millis(wait);
    tokio::time::sleep_until(told).await;
    assert_eq!(publish(&server, events(3)).await.status(), 202);
    for _ in 0..7 {
        assert_eq!(client.event().await, r#"["e",null]"#);
    }
    assert_eq!(metric(&server, "publish_rate", true), 1);
    assert_eq!(server.core().config.view().tenant("acme").unwrap().refusals.lately(monotonic()), [Code::PublishRate]);
}

#[tokio::test]
async fn more_at_once_than_ever_may_be_is_refused_for_good() {
    let server = limited(json!({"publish": {"ratePerSecond": 2, "burst": 5}})).await;
    let refused = publish(&server, events(6)).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "Retry-After")), (429, ""));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(
        problem,
        json!({
            "type": "about:blank", "title": "Too Many Requests", "status": 429, "code": "publish_rate",
            "detail": "6 events at once can never pass, for the tenant may publish 5 at once: send smaller arrays, or raise spec.quotas.publish.burst",
            "limit": 5, "current": 6, "scope": "tenant", "fatal": true,
        })
    );
    assert_eq!(publish(&server, events(5)).await.status(), 202);
}

#[tokio::test]
async fn what_is_malformed_counts_so_that_parsing_is_limited_too() {
    let server = limited(json!({"publish": {"ratePerSecond": 1, "burst": 3}})).await;
    for expected in [400, 400, 400, 429] {
        assert_eq!(publish(&server, r#"{"event": 7}"#).await.status(), expected);
    }
}

#[tokio::test]
async fn a_dry_run_refuses_nothing_and_counts_all() {
    let quotas = json!({"publish": {"ratePerSecond": 1, "burst": 2, "maxBytes": 64}, "enforcement": "DryRun"});
    let server = limited(quotas).await;
    let mut client = PollingClient::connect(&server, json!(7)).await;
    let large = json!({"event": "e", "data": "x".repeat(100)}).to_string();
    for body in [events(2), events(1), events(3), large] {
        assert_eq!(publish(&server, body).await.status(), 202);
    }
    for _ in 0..7 {
        assert!(client.event().await.starts_with(r#"["e","#));
    }
    assert_eq!((metric(&server, "publish_rate", false), metric(&server, "publish_bytes_max", false)), (3, 1));
    assert_eq!((metric(&server, "publish_rate", true), metric(&server, "publish_bytes_max", true)), (0, 0));
    let lately = server.core().config.view().tenant("acme").unwrap().refusals.lately(monotonic());
    assert_eq!(lately, [Code::PublishRate, Code::PublishBytesMax]);
}

#[tokio::test]
async fn what_was_delivered_beyond_the_limit_is_waited_for() {
    let server = limited(json!({"egress": {"bytesPerSecond": 10_000}})).await;
    let mut clients = [PollingClient::connect(&server, json!(7)).await, PollingClient::connect(&server, json!(8)).await];
    let data = "x".repeat(10_998);
    let body = json!({"event": "e", "data": data}).to_string();
    assert_eq!(publish(&server, body).await.status(), 202);
    // Two members of 11 kB each: 2 kB more than the burst, which is two seconds of the rate.
    for client in &mut clients {
        assert_eq!(client.event().await, format!(r#"["e","{data}"]"#), "nothing is dropped on its way");
    }
    let refused = publish(&server, events(1)).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "Retry-After")), (429, "1"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["limit"], &problem["scope"]), (&json!("egress_rate"), &json!(10_000), &json!("tenant")));
    assert!(problem["retryAfterMs"].as_u64().unwrap() <= 200, "{problem}");
    eventually("the debt is paid", || async { (publish(&server, events(1)).await.status() == 202).then_some(()) }).await;
}

#[tokio::test]
async fn clients_that_publish_are_held_to_the_egress_too() {
    let server = limited(json!({"egress": {"bytesPerSecond": 10}})).await;
    let mut speaker = PollingClient::connect(&server, json!(7)).await;
    let _listener = PollingClient::connect(&server, json!(8)).await;
    assert_eq!(speaker.emit(json!(["user:online"])).await, r#"431[{"ok":true}]"#);
    let refused = speaker.emit(json!(["user:online"])).await;
    let answer: Value = serde_json::from_str(refused.strip_prefix("431").unwrap()).unwrap();
    assert_eq!((&answer[0]["ok"], &answer[0]["error"]["code"]), (&json!(false), &json!("egress_rate")), "{refused}");
    assert!(answer[0]["error"]["retryAfterMs"].as_u64().unwrap() > 0);
    assert_eq!(metric(&server, "egress_rate", true), 1);
}
