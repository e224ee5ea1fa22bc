//! Requests that are refused: each with its exact answer, and without a trace at the clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use jsonwebtoken::{Algorithm, Header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    golden::assert_golden,
    openapi::described_problems,
    polling::PollingClient,
    server::TestServer,
    tenants::{
        ACME_IDLE_KEY, ACME_KEY, ACME_PUBLISH_BYTES_MAX, ACME_SECRET, FROZEN_KEY, GLOBEX_KEY, GLOBEX_SECRET, STRICT_SECRET, claims, now,
        token, token_with,
    },
};

/// A good request; cases change it where they are bad.
struct Case {
    name: &'static str,
    method: Method,
    path: String,
    authorization: Option<String>,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

fn case(name: &'static str) -> Case {
    Case {
        name,
        method: Method::POST,
        path: "/v1/tenants/acme/events".to_owned(),
        authorization: Some(format!("Bearer {ACME_KEY}")),
        headers: vec![("Content-Type", "application/json")],
        body: br#"{"event":"bad"}"#.to_vec(),
    }
}

impl Case {
    fn to(self, tenant: &str) -> Self {
        Self { path: format!("/v1/tenants/{tenant}/events"), ..self }
    }

    fn bearer(self, credentials: impl AsRef<str>) -> Self {
        Self { authorization: Some(format!("Bearer {}", credentials.as_ref())), ..self }
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

/// Whoever has proven nothing: all of them must be answered alike.
fn without_proof() -> Vec<Case> {
    let acme = |change| token(ACME_SECRET, &claims("acme", change));
    let header = |kid: &str, algorithm| Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    let none = "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRfaWQiOiJhY21lIn0.";
    let crit = "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsiZXhwIl0sImtpZCI6ImsxIn0.eyJ0ZW5hbnRfaWQiOiJhY21lIn0.AAAA";
    vec![
        case("an API key of nobody").bearer("nobodys-key-0123456789abcdef-0123456789abcdef"),
        case("an API key of another tenant").bearer(GLOBEX_KEY),
        case("the other way round").to("globex"),
        case("an unknown tenant, the API key of another").to("nosuch"),
        case("an unknown tenant, the token of another").to("nosuch").bearer(acme(json!({}))),
        case("an unknown tenant, a token that claims it").to("nosuch").bearer(token(ACME_SECRET, &claims("nosuch", json!({})))),
        case("a tenant id that is none").to("%20..%2f"),
        case("a tenant id that is not text").to("%ff"),
        case("a token of another tenant").bearer(token(GLOBEX_SECRET, &claims("globex", json!({})))),
        case("a token that claims this tenant, signed by another").bearer(token(GLOBEX_SECRET, &claims("acme", json!({})))),
        case("a token of a tenant with the same key").to("twin").bearer(acme(json!({}))),
        case("an expired token of an unknown signer").bearer(token(GLOBEX_SECRET, &claims("acme", json!({"exp": 1})))),
        case("an unknown kid").bearer(token_with(&header("k2", Algorithm::HS256), ACME_SECRET, &claims("acme", json!({})))),
        case("another algorithm").bearer(token_with(&header("k1", Algorithm::HS512), ACME_SECRET, &claims("acme", json!({})))),
        case("a revoked user's token of an unknown signer")
            .to("strict")
            .bearer(token(GLOBEX_SECRET, &claims("strict", json!({"sub": "mallory"})))),
        case("no algorithm").bearer(none),
        case("an extension that is not understood").bearer(crit),
        case("the same at an unknown tenant").to("nosuch").bearer(crit),
    ]
}

fn unauthenticated() -> Vec<Case> {
    let acme = |change| token(ACME_SECRET, &claims("acme", change));
    let strict = |change| token(STRICT_SECRET, &claims("strict", change));
    let good = json!({"iss": "https://id.example", "aud": "realtime"});
    let but = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    vec![
        Case { authorization: None, ..case("no credentials") },
        Case { authorization: None, ..case("no credentials for an unknown tenant").to("nosuch") },
        Case { authorization: Some("Basic YTpi".to_owned()), ..case("another scheme") },
        Case { authorization: Some("Bearer".to_owned()), ..case("a scheme and nothing else") },
        case("a malformed token").bearer("eyJub3QiOiJhIHRva2VuIn0.e30.AAAA"),
        case("a malformed token for an unknown tenant").to("nosuch").bearer("eyJub3QiOiJhIHRva2VuIn0.e30.AAAA"),
        case("an expired token").bearer(acme(json!({"exp": now() - 60}))),
        case("a token of tomorrow").bearer(acme(json!({"nbf": now() + 86_400}))),
        case("a token without user").bearer(acme(json!({"sub": null}))),
        case("a token without exp").bearer(acme(json!({"exp": null}))),
        case("a token without tenant").bearer(acme(json!({"tenant_id": null}))),
        case("another issuer").to("strict").bearer(strict(but("iss", json!("https://evil.example")))),
        case("another audience").to("strict").bearer(strict(but("aud", json!(["chat"])))),
        case("too long a life").to("strict").bearer(strict(but("exp", json!(now() + 7200)))),
        case("a revoked user").to("strict").bearer(strict(but("sub", json!("mallory")))),
        case("a revoked token").to("strict").bearer(strict(but("jti", json!("stolen")))),
    ]
}

fn forbidden() -> Vec<Case> {
    vec![
        case("an API key without the permission").bearer(ACME_IDLE_KEY),
        case("a token of a person").bearer(token(ACME_SECRET, &claims("acme", json!({"role": "editor"})))),
        case("a token without role").bearer(token(ACME_SECRET, &claims("acme", json!({"role": null})))),
        case("a suspended tenant").to("frozen").bearer(FROZEN_KEY),
    ]
}

fn malformed() -> Vec<Case> {
    let name = |text: &str| json!({"event": text}).to_string();
    let many = |count: usize| json!(vec![json!({"event": "bad"}); count]).to_string();
    let users = |count: usize| json!({"event": "bad", "users": (0..count).collect::<Vec<_>>()}).to_string();
    vec![
        case("nothing").body(""),
        case("no JSON").body("event=bad"),
        case("half a body").body(r#"{"event":"bad","data":{"a":"#),
        case("more than one body").body(r#"{"event":"bad"} {"event":"bad"}"#),
        case("a string").body(r#""bad""#),
        case("no event").body("{\n  \"data\": 1\n}"),
        case("a list instead of an event").body(r#"[["bad", 1]]"#),
        case("the second of three is wrong").body("[\n  {\"event\": \"bad\"},\n  {\"event\": 7},\n  {\"event\": \"bad\"}\n]"),
        case("an unknown field").body(r#"{"event":"bad","rooom":"a"}"#),
        case("an unknown field in a list").body("[{\"event\":\"bad\"},\n{\"event\":\"bad\",\"idempotencyKey\":\"a\"}]"),
        case("a field twice").body(r#"{"event":"bad","event":"worse"}"#),
        case("data that is no JSON").body(r#"[{"event":"bad","data":{"a":undefined}}]"#),
        case("data that is not UTF-8").body(b"{\"event\":\"bad\",\"data\":\"\xff\"}".as_slice()),
        case("no events").body("[]"),
        case("too many events").body(many(101)),
        case("an empty name").body(name("")),
        case("a long name").body(name(&"x".repeat(129))),
        case("a name with a newline").body(name("a\nb")),
        case("connect").body(name("connect")),
        case("connect_error").body(name("connect_error")),
        case("disconnect").body(name("disconnect")),
        case("disconnecting").body(name("disconnecting")),
        case("newListener").body(name("newListener")),
        case("removeListener").body(name("removeListener")),
        case("one of our own names").body(name("rt:quota")),
        case("an empty room").body(r#"{"event":"bad","room":""}"#),
        case("a room that is a number").body(r#"{"event":"bad","room":7}"#),
        case("a room with a control character").body(r#"{"event":"bad","room":"a\u0000"}"#),
        case("the room of another tenant").body(r#"[{"event":"bad"},{"event":"bad","room":"tenant:globex"}]"#),
        case("a room and users").body(r#"[{"event":"bad","room":"a","users":[1]}]"#),
        case("no users").body(r#"{"event":"bad","users":[]}"#),
        case("a user that is no id").body(r#"[{"event":"bad","users":["a",1.5]}]"#),
        case("an empty user").body(r#"{"event":"bad","users":["a",""]}"#),
        case("too many users").body(users(1001)),
        case("something long").body(format!(r#"{{"{0}":"{0}"}}"#, "ä".repeat(10_000))),
    ]
}

fn other() -> Vec<Case> {
    let data = |bytes: usize| format!(r#"{{"event":"bad","data":"{}"}}"#, "x".repeat(bytes - 2));
    vec![
        case("too much data").body(data(ACME_PUBLISH_BYTES_MAX + 1)),
        case("too much data in a list").body(format!(r#"[{{"event":"bad"}},{}]"#, data(ACME_PUBLISH_BYTES_MAX + 1))),
        case("too large a body").body(vec![b' '; (4 << 20) + 1]),
        Case { headers: vec![], ..case("no content type") },
        Case { headers: vec![("Content-Type", "text/plain")], ..case("another content type") },
        Case { headers: vec![("Content-Type", "application/json"), ("Content-Encoding", "gzip")], ..case("a compressed body") },
        Case { method: Method::GET, ..case("another method") },
        Case { method: Method::OPTIONS, headers: vec![("Origin", "https://a.example")], ..case("a preflight") },
        Case { path: "/v1/tenants/acme".to_owned(), ..case("another path") },
        Case { path: "/".to_owned(), method: Method::GET, ..case("no path") },
    ]
}

struct Answer {
    status: u16,
    headers: String,
    body: String,
}

async fn send(server: &TestServer, case: &Case) -> Answer {
    let mut request = server.client.request(case.method.clone(), server.url(&case.path)).body(case.body.clone());
    for (name, value) in &case.headers {
        request = request.header(*name, *value);
    }
    if let Some(authorization) = &case.authorization {
        request = request.header("Authorization", authorization);
    }
    let answer = request.send().await.unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
    let told = ["Content-Type", "WWW-Authenticate", "Retry-After", "Allow", "Connection", "Access-Control-Allow-Origin"];
    let headers = told.iter().filter_map(|name| Some(format!("{name}: {}\n", answer.headers().get(*name)?.to_str().unwrap())));
    Answer { status: answer.status().as_u16(), headers: headers.collect(), body: answer.text().await.unwrap() }
}

fn describe(golden: &mut String, case: &Case, answer: &Answer) {
    writeln!(golden, "# {}\n{}\n{}{}\n", case.name, answer.status, answer.headers, answer.body).unwrap();
}

#[tokio::test]
async fn refusals_are_exactly_these_and_publish_nothing() {
    let server = TestServer::start().await;
    let mut client = PollingClient::connect(&server, json!(7)).await;
    let mut golden = String::new();
    let mut met: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let cases = [without_proof(), unauthenticated(), forbidden(), malformed(), other()].into_iter().flatten();
    for case in cases {
        let answer = send(&server, &case).await;
        describe(&mut golden, &case, &answer);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], answer.status, "{}", case.name);
        if case.method == Method::POST && case.path.ends_with("/events") {
            met.entry(answer.status.into()).or_default().insert(problem["code"].as_str().unwrap().to_owned());
        }
        for secret in [ACME_KEY, ACME_IDLE_KEY, GLOBEX_KEY, ACME_SECRET, "eyJ"] {
            assert!(!answer.body.contains(secret), "{} is told a secret", case.name);
        }
    }

    let good = case("a good one after all that").body(r#"{"event":"good"}"#);
    assert_eq!(send(&server, &good).await.status, 202);
    assert_eq!(client.event().await, r#"["good",null]"#, "nothing that was refused arrived before");

    let unprogrammed = TestServer::unprogrammed().await;
    let unknowing = case("a server without configuration");
    describe(&mut golden, &unknowing, &send(&unprogrammed, &unknowing).await);
    met.entry(503).or_default().insert("not_programmed".to_owned());
    assert_golden("problems.txt", &golden);

    // These need a client that stalls, a room that is behind, and tenants with tighter limits.
    met.entry(408).or_default().insert("body_timeout".to_owned());
    met.entry(503).or_default().insert("overloaded".to_owned());
    met.entry(429).or_default().extend(["publish_rate".to_owned(), "egress_rate".to_owned()]);
    assert_eq!(met, described_problems(), "openapi.json describes exactly what there is");
}

#[tokio::test]
async fn a_server_that_drains_still_publishes_and_asks_to_go_elsewhere() {
    let server = TestServer::start().await;
    let mut client = PollingClient::connect(&server, json!(7)).await;
    server.core().start_draining();
    let answer = send(&server, &case("while it drains").body(r#"{"event":"late"}"#)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert!(answer.headers.to_ascii_lowercase().contains("connection: close"), "{}", answer.headers);
    assert_eq!(client.event().await, r#"["late",null]"#);
}

#[tokio::test]
async fn who_proves_nothing_learns_nothing_of_tenants() {
    let server = TestServer::start().await;
    let mut answers = BTreeSet::new();
    for case in without_proof() {
        let Answer { status, headers, body } = send(&server, &case).await;
        let malformed = body.contains("token_malformed");
        assert_eq!(malformed, case.name.contains("malformed"), "{}: {body}", case.name);
        answers.insert((status, headers, body));
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
}

#[tokio::test]
async fn the_largest_that_may_be_published_is_published() {
    let server = TestServer::start().await;
    let data = format!("\"{}\"", "x".repeat(ACME_PUBLISH_BYTES_MAX - 2));
    let body = format!(r#"{{"event":"{}","data":{data},"room":"{}"}}"#, "e".repeat(128), "r".repeat(128));
    let users: Vec<_> = (0..1000).collect();
    let hundred = json!(vec![json!({"event": "e", "users": users}); 100]).to_string();
    for body in [body, hundred, format!("{}{}", " ".repeat((4 << 20) - 13), r#"{"event":"e"}"#)] {
        let answer = send(&server, &case("large").body(body)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

#[tokio::test]
async fn refusals_of_the_known_are_counted() {
    let server = TestServer::start().await;
    for case in [forbidden(), other()].into_iter().flatten() {
        send(&server, &case).await;
    }
    let metrics = server.core().metrics.encode();
    for line in [
        r#"carillon_quota_refusals_total{tenant="acme",code="publish_not_allowed",enforced="true"} 3"#,
        r#"carillon_quota_refusals_total{tenant="acme",code="publish_bytes_max",enforced="true"} 2"#,
        r#"carillon_quota_refusals_total{tenant="frozen",code="tenant_suspended",enforced="true"} 1"#,
        "carillon_api_requests_total 10",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}
