//! The admin port: who is let in, and what the operator may say there.

use std::{io::Write, net::SocketAddr};

use carillon_server::{
    config_api,
    side_port::{self, Bounds},
    tls::Certificates,
};
use carillon_tenant::{
    Position,
    push::{
        Answer, Conflict, ConflictCode, DELTA_PATH, Delta, Elsewhere, PROTOCOL_VERSION, PUSH_BYTES_MAX, PushError, SNAPSHOT_PATH,
        STATE_PATH, Snapshot, State, USAGE_PATH, UsageReport,
    },
};
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    certificates::{Authority, Directory},
    polling::PollingClient,
    server::{TestServer, loopback, snapshot},
    tenants,
};

/// A server with its admin port, and its operator.
struct Admin {
    server: TestServer,
    authority: Authority,
    _directory: Directory,
    address: SocketAddr,
    operator: reqwest::Client,
    _stop: DropGuard,
}

impl Admin {
    async fn start() -> Self {
        let server = TestServer::unprogrammed().await;
        let authority = Authority::new();
        let directory = Directory::new(&authority);
        let certificates = Certificates::load(directory.path(), "carillon-operator".try_into().unwrap()).unwrap();
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let routes = config_api::router(server.core().config.clone());
        tokio::spawn(side_port::serve(listener, Some(certificates.configs()), Bounds::ADMIN, routes, stop.clone()));
        // Dropping the certificates leaves those in force in force.
        let operator = authority.client(address, Some(&authority.sign("carillon-operator"))).build().unwrap();
        Self { server, authority, _directory: directory, address, operator, _stop: stop.drop_guard() }
    }

    fn url(&self, path: &str) -> String {
        format!("https://carillon-server:{}{path}", self.address.port())
    }

    async fn push(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self.operator.request(method, self.url(path)).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Tenants with their connections, users and rooms.
    async fn usage(&self) -> Vec<(String, [u64; 3])> {
        let report: UsageReport = self.operator.get(self.url(USAGE_PATH)).send().await.unwrap().json().await.unwrap();
        assert_eq!(report.boot_id, self.state().await.boot_id);
        report.tenants.iter().map(|tenant| (tenant.tenant_id.to_string(), [tenant.connections, tenant.users, tenant.rooms])).collect()
    }

    async fn state(&self) -> State {
        self.operator.get(self.url(STATE_PATH)).send().await.unwrap().json().await.unwrap()
    }
}

fn parse<T: serde::de::DeserializeOwned>((status, body): (u16, String), expected: u16) -> T {
    assert_eq!(status, expected, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn body(push: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(push).unwrap()
}

#[tokio::test]
async fn only_the_operator_is_let_in_and_only_over_tls_13() {
    let admin = Admin::start().await;
    let stranger = Authority::new();
    let authority = &admin.authority;
    let operator = authority.sign("carillon-operator");
    let table = [
        ("no certificate", authority.client(admin.address, None)),
        ("a certificate of another authority", authority.client(admin.address, Some(&stranger.sign("carillon-operator")))),
        ("a server's certificate", authority.client(admin.address, Some(&authority.sign("carillon-server")))),
        ("a name that only begins so", authority.client(admin.address, Some(&authority.sign("carillon-operator.evil.example")))),
        ("a wildcard", authority.client(admin.address, Some(&authority.sign("*.example")))),
        ("TLS 1.2", authority.client(admin.address, Some(&operator)).tls_version_max(reqwest::tls::Version::TLS_1_2)),
    ];
    for (who, client) in table {
        let client = client.build().unwrap();
        let put = client.put(admin.url(SNAPSHOT_PATH)).body(body(&snapshot(tenants::all()))).send().await;
        assert!(put.is_err(), "{who}: {put:?}");
        assert!(!admin.server.core().config.programmed(), "{who}");
    }
    let plain = admin.server.client.get(format!("http://{}{STATE_PATH}", admin.address)).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let trusting_another = stranger.client(admin.address, Some(&operator)).build().unwrap();
    assert!(trusting_another.get(admin.url(STATE_PATH)).send().await.is_err(), "the server proves who it is");
    assert!(!admin.state().await.programmed);
}

#[tokio::test]
async fn a_server_is_programmed_by_snapshot_and_delta() {
    let admin = Admin::start().await;
    let empty = admin.state().await;
    assert_eq!((empty.protocol_version, empty.programmed, empty.applied.len()), (PROTOCOL_VERSION, false, 0));

    let tenants = tenants::all();
    let answer: Answer = parse(admin.push(Method::PUT, SNAPSHOT_PATH, body(&snapshot(tenants.clone()))).await, 200);
    assert_eq!((answer.applied.len(), &answer.rejected[..], &answer.boot_id), (tenants.len(), &[][..], &empty.boot_id));
    let state = admin.state().await;
    assert!(state.programmed);
    assert_eq!((&state.digest, state.applied.len()), (&answer.digest, tenants.len()));

    let newcomer = tenants::tenant("newcomer", &tenants::simple(tenants::GLOBEX_SECRET, tenants::GLOBEX_KEY, false));
    let delta = Delta {
        protocol_version: PROTOCOL_VERSION,
        position: state.position,
        base_digest: state.digest.clone(),
        upserts: vec![newcomer],
        removals: vec![tenants[0].tenant_id.clone()],
        moved: Vec::new(),
        elsewhere: Elsewhere::new(),
    };
    let answer: Answer = parse(admin.push(Method::PATCH, DELTA_PATH, body(&delta)).await, 200);
    assert_eq!(answer.applied[0].tenant_id.as_str(), "newcomer");
    let after = admin.state().await;
    assert_eq!(after.digest, answer.digest);
    let ids: Vec<_> = after.applied.iter().map(|applied| applied.tenant_id.as_str()).collect();
    assert!(ids.contains(&"newcomer") && !ids.contains(&"acme"), "{ids:?}");

    // The same again is on top of what is no longer there.
    let conflict: Conflict = parse(admin.push(Method::PATCH, DELTA_PATH, body(&delta)).await, 409);
    assert_eq!((conflict.code, &conflict.state.digest), (ConflictCode::BaseDigest, &answer.digest));

    // A later leader, with nothing to say but that it is there; and then the one before.
    let claim =
        Delta { position: Position::new(7, 1), base_digest: answer.digest.clone(), upserts: Vec::new(), removals: Vec::new(), ..delta };
    let claimed: Answer = parse(admin.push(Method::PATCH, DELTA_PATH, body(&claim)).await, 200);
    assert_eq!((&claimed.digest, claimed.applied.len()), (&answer.digest, 0));
    let late = Snapshot { position: Position::new(6, 99), ..snapshot(tenants) };
    let conflict: Conflict = parse(admin.push(Method::PUT, SNAPSHOT_PATH, body(&late)).await, 409);
    assert_eq!((conflict.code, &conflict.state), (ConflictCode::StaleEpoch, &admin.state().await));
    assert_eq!((conflict.state.position, conflict.state.digest), (Position::new(7, 1), answer.digest));
}

#[tokio::test]
async fn pushes_may_be_compressed_but_not_beyond_measure() {
    let admin = Admin::start().await;
    let gzip = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = admin.operator.put(admin.url(SNAPSHOT_PATH)).header("Content-Encoding", encoding).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let good = gzip(&body(&snapshot(tenants::all())));

    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..=PUSH_BYTES_MAX >> 20 {
        bomb.write_all(&spaces).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 4 << 20);
    let error: PushError = parse(send("gzip", bomb).await, 413);
    assert_eq!(error.code, "too_large");

    for (encoding, sent, status) in [
        ("gzip", good[..good.len() / 2].to_vec(), 400),
        ("gzip", b"{}".to_vec(), 400),
        ("br", good.clone(), 415),
        ("identity", good.clone(), 400),
    ] {
        let error: PushError = parse(send(encoding, sent).await, status);
        assert_eq!(error.code, "malformed", "{encoding}: {}", error.message);
    }
    assert!(!admin.server.core().config.programmed());
    parse::<Answer>(send("gzip", good).await, 200);
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_without_its_secrets() {
    const MARKER: &str = "bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms=";
    let admin = Admin::start().await;
    let mut good: Value = serde_json::to_value(snapshot(tenants::all())).unwrap();
    good["tenants"][0]["jwt"]["keys"][0]["material"] = json!(MARKER);
    let change = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let material = "/tenants/0/jwt/keys/0/material";
    let table = [
        ("not base64", change(material, json!(format!("{MARKER}!"))), "malformed", "tenants[0].jwt.keys[0].material"),
        ("a list", change(material, json!([MARKER])), "malformed", "tenants[0].jwt.keys[0].material"),
        ("another type", change(material, json!(5_317_317)), "malformed", "tenants[0].jwt.keys[0].material"),
        ("elsewhere", change("/tenants/0/suspended", json!(MARKER)), "malformed", "tenants[0].suspended"),
        ("not of an enum", change("/tenants/0/jwt/keys/0/algorithm", json!(MARKER)), "malformed", "tenants[0].jwt.keys[0].algorithm"),
        ("cut off", good.to_string()[..good.to_string().find(MARKER).unwrap() + 9].to_owned(), "malformed", "is not JSON"),
        ("another version", change("/protocolVersion", json!(2)), "protocol_version", "version 2"),
        ("another version with other fields", json!({"protocolVersion": 2, "world": MARKER}).to_string(), "protocol_version", "version 2"),
        ("no version", json!({"tenants": []}).to_string(), "malformed", "is not what the protocol says"),
        ("nothing", String::new(), "malformed", "is not JSON"),
    ];
    for (what, push, code, part) in table {
        let (status, answer) = admin.push(Method::PUT, SNAPSHOT_PATH, push).await;
        let error: PushError = parse((status, answer.clone()), 400);
        assert_eq!(error.code, code, "{what}: {answer}");
        assert!(error.message.contains(part), "{what}: {answer}");
        for secret in [MARKER, "marker", "5317317", "bWFya2V"] {
            assert!(!answer.contains(secret), "{what}: {answer}");
        }
    }

    // A key that does not fit its algorithm is that tenant's trouble alone, and told without it, too.
    let mut other = good.clone();
    other["tenants"][1]["jwt"]["keys"][0]["algorithm"] = json!("RS256");
    other["tenants"][1]["jwt"]["keys"][0]["material"] = json!(MARKER);
    let (status, text) = admin.push(Method::PUT, SNAPSHOT_PATH, other.to_string()).await;
    let answer: Answer = parse((status, text.clone()), 200);
    assert_eq!((answer.applied.len(), answer.rejected.len()), (4, 1));
    assert_eq!(answer.rejected[0].tenant_id.as_str(), "twin");
    let state = serde_json::to_string(&admin.state().await).unwrap();
    for secret in [MARKER, "marker", tenants::ACME_KEY, tenants::GLOBEX_SECRET] {
        assert!(!text.contains(secret) && !state.contains(secret), "{text} {state}");
    }
}

#[tokio::test]
async fn the_operator_hears_what_tenants_use_and_of_idle_ones_nothing() {
    let admin = Admin::start().await;
    assert!(admin.usage().await.is_empty(), "a server without tenants");
    parse::<Answer>(admin.push(Method::PUT, SNAPSHOT_PATH, body(&snapshot(tenants::all()))).await, 200);
    assert!(admin.usage().await.is_empty(), "tenants without clients");
    let mut seven = PollingClient::connect(&admin.server, json!(7)).await;
    let _seven_again = PollingClient::connect(&admin.server, json!(7)).await;
    let _eight = PollingClient::connect(&admin.server, json!(8)).await;
    assert_eq!(seven.emit(json!(["rt:join", {"room": "record:7"}])).await, r#"431[{"ok":true,"room":"record:7"}]"#);
    assert_eq!(admin.usage().await, [("acme".to_owned(), [3, 2, 1])]);
    parse::<Answer>(admin.push(Method::PUT, SNAPSHOT_PATH, body(&snapshot(Vec::new()))).await, 200);
    assert!(admin.usage().await.is_empty(), "a tenant that is gone");
}

#[tokio::test]
async fn the_operator_hears_once_of_keys_that_nobody_knows() {
    let admin = Admin::start().await;
    parse::<Answer>(admin.push(Method::PUT, SNAPSHOT_PATH, body(&snapshot(tenants::all()))).await, 200);
    let signed_by = |kid: &str| {
        let header = jsonwebtoken::Header { kid: Some(kid.to_owned()), ..Default::default() };
        tenants::token_with(&header, tenants::ACME_SECRET, &tenants::claims("acme", json!({})))
    };
    let publish = async |token: String| {
        let url = admin.server.url("/v1/tenants/acme/events");
        let request = admin.server.client.post(url).bearer_auth(token).json(&json!({"event": "e", "data": 1}));
        request.send().await.unwrap().status().as_u16()
    };
    let kids = async || {
        let report: UsageReport = admin.operator.get(admin.url(USAGE_PATH)).send().await.unwrap().json().await.unwrap();
        report.tenants.into_iter().map(|tenant| (tenant.tenant_id.to_string(), tenant.unknown_kids)).collect::<Vec<_>>()
    };
    let long = "x".repeat(129);
    for kid in ["new", "new", &long, "k1"] {
        assert_eq!(publish(signed_by(kid)).await, if kid == "k1" { 202 } else { 401 }, "{kid}");
    }
    PollingClient::refused(&admin.server, &signed_by("newer")).await;
    let told = kids().await.into_iter().find(|(tenant, _)| tenant == "acme").unwrap().1;
    assert_eq!(told, ["new", "newer"]);
    assert!(kids().await.into_iter().all(|(_, kids)| kids.is_empty()), "told once");
}
