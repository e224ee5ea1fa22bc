//! A push that revokes: whom it hits is out before it is acknowledged, at the sockets and at the HTTP API.

use carillon_server::fan_out::Usage;
use carillon_tenant::push::Snapshot;
use serde_json::{Value, json};

use crate::{
    polling::PollingClient,
    server::{TestServer, eventually, snapshot},
    tenants::{ACME_SECRET, all, claims, now, tenant, token},
};

/// All tenants, with acme's spec changed.
fn acme_with(auth: &str, value: Value) -> Snapshot {
    let key = json!({"kid": "k1", "algorithm": "HS256", "secretKeyRef": {"name": ACME_SECRET, "key": "k"}});
    let mut spec = json!({"auth": {"jwt": {"keys": [key]}}});
    spec["auth"].as_object_mut().unwrap().insert(auth.to_owned(), value);
    let acme = tenant("acme", &spec);
    snapshot(all().into_iter().map(|message| if message.tenant_id == acme.tenant_id { acme.clone() } else { message }).collect())
}

fn connections(server: &TestServer) -> Usage {
    server.core().config.view().tenant("acme").unwrap().usage()
}

async fn publish(server: &TestServer, claims: &Value) -> (u16, Value) {
    let request = server.client.post(server.url("/v1/tenants/acme/events")).bearer_auth(token(ACME_SECRET, claims));
    let answer = request.json(&json!({"event": "e"})).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn whom_a_push_hits_is_out_when_it_is_answered() {
    let server = TestServer::start().await;
    let mut ada = PollingClient::connect(&server, json!("ada")).await;
    let mut bob = PollingClient::connect(&server, json!("bob")).await;
    assert_eq!(connections(&server), Usage { connections: 2, users: 2, rooms: 0 });

    let answer = server.core().config.replace(acme_with("revocation", json!({"users": ["ada"]}))).unwrap();
    assert_eq!(answer.rejected, []);
    assert_eq!(connections(&server), Usage { connections: 1, users: 1, rooms: 0 });
    assert_eq!(ada.packet().await, "41");
    let acme = server.core().config.view().tenant("acme").unwrap().clone();
    acme.publish(&publication()).unwrap();
    assert_eq!(bob.event().await, r#"["fence",null]"#);

    let metrics = server.core().metrics.encode();
    assert!(metrics.contains("carillon_connections_ended_total{tenant=\"acme\",code=\"token_revoked\"} 1\n"), "{metrics}");
}

fn publication() -> carillon_server::fan_out::Publication {
    use carillon_server::fan_out::{Message, Publication, Target};
    let data = serde_json::value::RawValue::NULL.to_owned();
    Publication { target: Target::Tenant, except: None, message: Message::new("fence", data) }
}

#[tokio::test]
async fn the_http_api_obeys_it_from_then_on() {
    let server = TestServer::start().await;
    let by = |change: Value| claims("acme", change);
    let early = json!({"sub": "early", "iat": now() - 300});
    let table = [
        (json!({"sub": "revoked"}), 401),
        (json!({"sub": "backend", "jti": "stolen"}), 401),
        (early, 401),
        (json!({"sub": "timeless", "iat": null}), 401),
        (json!({"sub": "backend", "jti": "another"}), 202),
    ];
    for (change, _) in &table {
        assert_eq!(publish(&server, &by(change.clone())).await.0, 202, "{change}");
    }
    let before = jiff::Timestamp::from_second(i64::try_from(now()).unwrap() - 60).unwrap().to_string();
    let revocation = json!({"users": ["revoked"], "tokenIds": ["stolen"], "tokensNotBefore": before});
    server.core().config.replace(acme_with("revocation", revocation)).unwrap();
    for (change, status) in &table {
        let (answered, body) = publish(&server, &by(change.clone())).await;
        assert_eq!(answered, *status, "{change}: {body}");
        assert!(answered == 202 || body["code"] == "token_revoked", "{body}");
    }
    server.core().config.replace(acme_with("revocation", json!({}))).unwrap();
    for (change, _) in &table {
        assert_eq!(publish(&server, &by(change.clone())).await.0, 202, "{change}");
    }
}

#[tokio::test]
async fn what_is_due_for_a_token_follows_the_configuration() {
    let server = TestServer::start().await;
    let short = json!({"sub": "ada", "role": null, "exp": now() + 1});
    let mut client = PollingClient::connect_with(server.server.address(), &token(ACME_SECRET, &claims("acme", short))).await;
    // With the usual leeway it would be open for half a minute.
    let key = json!({"kid": "k1", "algorithm": "HS256", "secretKeyRef": {"name": ACME_SECRET, "key": "k"}});
    server.core().config.replace(acme_with("jwt", json!({"keys": [key], "leewaySeconds": 0}))).unwrap();
    eventually("the connection ends", async || (connections(&server).connections == 0).then_some(())).await;
    let mut last = client.packet().await;
    if last != "41" {
        assert!(last.starts_with(r#"42["rt:expiring","#), "{last}");
        last = client.packet().await;
    }
    assert_eq!(last, "41");
}
