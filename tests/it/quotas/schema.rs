//! Every quota that the schema has is met by a real client, and by none when it is set high: the schema is walked, and a field without an
//! entry here, or an entry that does not make the difference, is an error.

use std::{collections::BTreeSet, sync::Arc};

use carillon_tests::{
    driver::{Driver, Socket},
    fleet::{Fleet, Setup},
    http::notify,
    node,
    tenants::{Tenant, api_key_of, tenant},
    tokens::token,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How often each way is gone; more often than any limit here lets through.
const ATTEMPTS: usize = 8;
/// Servers that the attempts are shared out to.
const SERVERS: usize = 2;

/// One field of `spec.quotas`.
struct Quota {
    field: &'static str,
    /// What meets it.
    low: Value,
    /// What doesn't.
    high: Value,
    /// What has to be set with it.
    given: &'static [(&'static str, u64)],
    /// What clients do.
    way: Way,
    /// What they are told. A `connect_error` has room for the code alone.
    told: Value,
}

/// What clients do again and again, until they are refused.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Everyone connects.
    Connect,
    /// One user connects several times.
    ConnectAsOneUser,
    /// One client joins one room after the other.
    JoinRooms,
    /// Several clients join one room.
    JoinOneRoom,
    /// Several clients send one message after the other.
    SendInTurn,
    /// One client sends.
    Send,
    /// One client sends a large message.
    SendLarge,
    /// A backend publishes to a client.
    Publish,
    /// A backend publishes something large.
    PublishLarge,
}

/// All fields there are.
fn quotas() -> Vec<Quota> {
    use Way::*;
    let quota = |field, low: Value, high: Value, given, way, told| Quota { field, low, high, given, way, told };
    let unlimited = || json!("Unlimited");
    let rate = |code: &str, scope: &str| json!({"code": code, "scope": scope, "limit": 1, "fatal": false});
    let count = |code: &str, scope: &str, max: u64| json!({"code": code, "scope": scope, "limit": max, "current": max, "fatal": false});
    let bytes = |code: &str| json!({"code": code, "scope": "message", "limit": 100, "fatal": true});
    let only = |code: &str| json!({"code": code});
    vec![
        quota("connections.max", json!(3), unlimited(), &[], Connect, only("connections_max")),
        quota("connections.maxPerUser", json!(3), unlimited(), &[], ConnectAsOneUser, only("connections_per_user_max")),
        quota("connections.ratePerSecond", json!(1), unlimited(), &[("connections.burst", 1)], Connect, only("connections_rate")),
        quota("connections.burst", json!(1), json!(1000), &[("connections.ratePerSecond", 1)], Connect, only("connections_rate")),
        quota("rooms.max", json!(3), unlimited(), &[], JoinRooms, count("rooms_max", "tenant", 3)),
        quota("rooms.maxMembers", json!(3), unlimited(), &[], JoinOneRoom, count("room_members_max", "room", 3)),
        quota("rooms.maxPerConnection", json!(3), json!(100), &[], JoinRooms, count("rooms_per_connection_max", "connection", 3)),
        quota("rooms.createRatePerSecond", json!(1), unlimited(), &[], JoinRooms, rate("room_create_rate", "tenant")),
        quota("messages.ratePerSecond", json!(1), unlimited(), &[("messages.burst", 1)], SendInTurn, rate("messages_rate", "tenant")),
        quota("messages.burst", json!(1), json!(1000), &[("messages.ratePerSecond", 1)], SendInTurn, rate("messages_rate", "tenant")),
        quota(
            "messages.ratePerSecondPerConnection",
            json!(1),
            unlimited(),
            &[("messages.burstPerConnection", 1)],
            Send,
            rate("messages_rate_per_connection", "connection"),
        ),
        quota(
            "messages.burstPerConnection",
            json!(1),
            json!(1000),
            &[("messages.ratePerSecondPerConnection", 1)],
            Send,
            rate("messages_rate_per_connection", "connection"),
        ),
        quota("messages.maxBytes", json!(100), json!(10_000), &[], SendLarge, bytes("message_bytes_max")),
        quota("publish.ratePerSecond", json!(1), unlimited(), &[("publish.burst", 1)], Publish, only("publish_rate")),
        quota("publish.burst", json!(1), json!(1000), &[("publish.ratePerSecond", 1)], Publish, only("publish_rate")),
        quota("publish.maxBytes", json!(100), json!(10_000), &[], PublishLarge, only("publish_bytes_max")),
        quota("egress.bytesPerSecond", json!(1000), unlimited(), &[], PublishLarge, only("egress_rate")),
        quota("enforcement", json!("Enforce"), json!("DryRun"), &[("connections.max", 3)], Connect, only("connections_max")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_quota_of_the_schema_is_met_by_a_real_client() {
    let definition: Value = serde_saphyr::from_str(&carillon_crds::realtime_tenant_definition_yaml()).expect("the definition is YAML");
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/quotas";
    let mut fields = BTreeSet::new();
    leaves(definition.pointer(spec).expect("the schema has quotas"), "", &mut fields);
    let known: BTreeSet<_> = quotas().iter().map(|quota| quota.field.to_owned()).collect();
    assert_eq!(fields, known, "every quota of the schema has an entry here, and no entry is without its quota");

    let tenants: Vec<_> = quotas().iter().flat_map(|quota| [quota.tenant(true), quota.tenant(false)]).collect();
    let setup = Setup { servers: SERVERS, redis: true, ..Setup::default() };
    let fleet = Arc::new(Fleet::with(setup, &tenants).await);
    fleet.is_one().await;
    let node = Arc::new(node::start().await);
    let mut tasks = JoinSet::new();
    for quota in quotas() {
        let (fleet, node) = (fleet.clone(), node.clone());
        tasks.spawn(async move { quota.makes_the_difference(&fleet, &node).await.map_err(|error| format!("{}: {error}", quota.field)) });
    }
    let results = tasks.join_all().await;
    let wrong: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths of everything that can be set under `schema`.
fn leaves(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(properties) => properties.iter().for_each(|(name, schema)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(schema, &path, fields);
        }),
        None => _ = fields.insert(path.to_owned()),
    }
}

impl Quota {
    async fn makes_the_difference(&self, fleet: &Fleet, node: &Driver) -> Result<(), String> {
        let Some(mut refusal) = self.way.go(fleet, node, &self.tenant(true).id).await else {
            return Err("set low it refuses nothing".to_owned());
        };
        let whole = refusal.to_string();
        let parts = refusal.as_object_mut().expect("a refusal is an object");
        let waits = parts.remove("retryAfterMs").is_some_and(|wait| wait.as_u64().is_some_and(|wait| wait > 0));
        let speaks = parts.remove("message").is_some_and(|message| message.is_string());
        if self.told.get("current").is_none() {
            parts.remove("current");
        }
        let is_object = self.told.get("scope").is_some();
        let is_rate = self.told["code"].as_str().is_some_and(|code| code.contains("rate"));
        if refusal != self.told || is_object && (!speaks || waits != is_rate) {
            return Err(format!("set low it is told as {whole}, not as {}", self.told));
        }
        match self.way.go(fleet, node, &self.tenant(false).id).await {
            Some(refusal) => Err(format!("set high it refuses, too: {refusal}")),
            None => Ok(()),
        }
    }

    fn tenant(&self, low: bool) -> Tenant {
        let id = format!("{}-{}", self.field.replace('.', "-"), if low { "low" } else { "high" });
        let at = |field: &str| format!("/quotas/{}", field.replace('.', "/"));
        let tenant = self.given.iter().fold(tenant(&id), |tenant, (field, value)| tenant.with(&at(field), *value));
        tenant.with(&at(self.field), if low { self.low.clone() } else { self.high.clone() })
    }
}

impl Way {
    /// Gives the first refusal that a client is told.
    async fn go(self, fleet: &Fleet, node: &Driver, tenant: &str) -> Option<Value> {
        let mut sockets: Vec<Socket> = Vec::new();
        let everyone = matches!(self, Self::Connect | Self::ConnectAsOneUser | Self::JoinOneRoom | Self::SendInTurn);
        for number in 0..if everyone { ATTEMPTS } else { 1 } {
            let user = if matches!(self, Self::ConnectAsOneUser) { 0 } else { number };
            let mut socket = node.open(&fleet.url_of(number % SERVERS), Some(&token(tenant, user)), &json!({"transports": ["websocket"]}));
            tokio::select! {
                () = socket.heard_of("connect") => sockets.push(socket),
                () = socket.heard_of("connect_error") => {
                    let message = socket.expect("connect_error").await;
                    let code = message.as_str().and_then(|message| message.strip_prefix("Quota exceeded: "));
                    return Some(json!({"code": code.unwrap_or_else(|| panic!("{message}"))}));
                }
            }
        }
        let large = "x".repeat(1000);
        for attempt in 0..ATTEMPTS {
            let at = attempt % sockets.len();
            let address = fleet.addresses()[attempt % SERVERS];
            let backend = api_key_of(tenant);
            let answer = match self {
                Self::Connect | Self::ConnectAsOneUser => return None,
                Self::JoinRooms => sockets[at].call("rt:join", &json!({"room": format!("room-{attempt}")})).await,
                Self::JoinOneRoom | Self::SendInTurn | Self::Send => sockets[at].call("rt:join", &json!({"room": "lobby"})).await,
                Self::SendLarge => sockets[at].call("rt:join", &json!({"room": "lobby", "more": large})).await,
                Self::Publish => told(&notify(address, tenant, &backend, &json!({"event": "e", "data": 1})).await),
                Self::PublishLarge => told(&notify(address, tenant, &backend, &json!({"event": "e", "data": large})).await),
            };
            if answer["ok"] == false {
                return Some(answer["error"].clone());
            }
        }
        None
    }
}

/// The HTTP API's answer in the shape of an acknowledgement.
fn told(answer: &carillon_tests::http::Response) -> Value {
    match answer.status.as_u16() {
        202 => json!({"ok": true}),
        429 => {
            assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|wait| wait > 0), "{answer:?}");
            let code = &answer.json()["code"];
            let limit = ["ratelimit", "ratelimit-policy"].map(|header| !answer.header(header).is_empty());
            assert_eq!(limit, [*code == "publish_rate"; 2], "{answer:?}");
            json!({"ok": false, "error": {"code": code}})
        }
        _ => json!({"ok": false, "error": {"code": answer.json()["code"]}}),
    }
}
