//! Tokens that are revoked: every socket that came in with one is gone from every server before the push is acknowledged, and no other.

use carillon_tests::{
    client::{Client, End},
    driver::{Driver, Socket},
    eventually::{DEADLINE, within_deadline},
    fleet::Fleet,
    http::notify,
    node,
    processes::Processes,
    tenants::{Tenant, api_key_of, secret_of, tenant},
    tokens::{claims, signed, signed_by, token},
};
use serde_json::{Value, json};

const SERVERS: usize = 4;
/// The beginning of 2026 as a resource has it, and as a token has it.
const FROM: (&str, u64) = ("2026-01-01T00:00:00Z", 1_767_225_600);
const REFUSED: &str = "Authentication error";

/// A good token of acme's, with claims changed; null takes one away.
fn token_with(user: &str, change: Value) -> String {
    let mut claims = claims("acme", user);
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    signed(&claims, secret_of("acme", "first").as_bytes())
}

fn revoking(revocation: Value) -> Tenant {
    tenant("acme").with("/auth/revocation", revocation)
}

async fn connected(node: &Driver, fleet: &Processes, server: usize, token: &str) -> Socket {
    let url = format!("http://{}", fleet.address(server));
    let mut socket = node.open(&url, Some(token), &json!({"reconnection": false}));
    socket.expect("connect").await;
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_closed_on_every_server_and_stays_out() {
    let mut fleet = Processes::start(SERVERS, &[tenant("acme"), tenant("globex")]).await;
    let node = node::start().await;
    let (from, from_seconds) = FROM;
    let revoked = [
        token_with("ada", json!({"jti": "fine"})),
        token_with("bob", json!({"jti": "stolen"})),
        token_with("cora", json!({"iat": from_seconds - 1})),
        token_with("dan", json!({"iat": null})),
    ];
    let good = [token_with("bob", json!({"jti": "fine"})), token_with("Ada", json!({"iat": from_seconds})), token("globex", "ada")];
    let (mut closed, mut staying) = (Vec::new(), Vec::new());
    for server in 0..SERVERS {
        for token in &revoked {
            closed.push(connected(&node, &fleet, server, token).await);
        }
        for token in &good {
            staying.push(connected(&node, &fleet, server, token).await);
        }
    }

    let revocation = json!({"users": ["ada"], "tokenIds": ["stolen"], "tokensNotBefore": from});
    fleet.push(&[revoking(revocation.clone()), tenant("globex")]).await;
    // Every server has answered: nobody is left to be closed.
    let here: u64 = fleet.usage("acme").await.iter().map(|usage| usage.connections).sum();
    assert_eq!(here, 2 * SERVERS as u64);
    for socket in &mut closed {
        assert_eq!(socket.expect("disconnect").await, "io server disconnect");
        socket.tell("connect");
        assert_eq!(socket.expect("connect_error").await, REFUSED);
    }
    for tenant in ["acme", "globex"] {
        notify(fleet.address(1), tenant, &api_key_of(tenant), &json!({"event": "fence"})).await;
    }
    for socket in &mut staying {
        socket.expect("fence").await;
        assert_eq!(socket.count("disconnect"), 0);
    }
    let each = (revoked.len() * SERVERS) as f64;
    assert_eq!(fleet.metric_of_all(r#"carillon_connections_ended_total{tenant="acme",code="token_revoked"}"#).await, each);
    assert_eq!(fleet.metric_of_all(r#"carillon_connects_total{tenant="acme",result="token_revoked"}"#).await, each);

    // A server that comes later obeys it from its first moment; and what is taken back is forgotten.
    fleet.kill(0).await;
    fleet.restart(0).await;
    assert_eq!(Client::try_connect(fleet.address(0), &revoked[1]).await.map(drop), Err(REFUSED.to_owned()));
    fleet.push(&[tenant("acme"), tenant("globex")]).await;
    for token in &revoked {
        Client::connect(fleet.address(0), token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_slips_in_while_a_revocation_comes() {
    const CLIENTS: usize = 60;
    let fleet =
        Fleet::start(&[tenant("acme").with("/quotas/connections", json!({"maxPerUser": "Unlimited", "ratePerSecond": "Unlimited"}))]).await;
    let address = fleet.address();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                match Client::attempt(address, &token("acme", "ada")).await {
                    // Whoever is in hears that it is to stay away, or is cut if it came in that very moment.
                    Ok(mut client) => within_deadline("the end", client.stay()).await != End::Transport,
                    Err(_) => false,
                }
            })
        })
        .collect();
    carillon_tests::eventually::eventually_within(DEADLINE, "some are in", || match fleet.tenant("acme").usage().connections {
        0 => Err(0),
        some => Ok(some),
    })
    .await;
    fleet.push(&[tenant("acme")
        .with("/quotas/connections", json!({"maxPerUser": "Unlimited", "ratePerSecond": "Unlimited"}))
        .with("/auth/revocation/users", json!(["ada"]))]);
    let mut told = 0;
    for client in clients {
        told += usize::from(client.await.unwrap());
    }
    assert!(told > 0, "somebody was in");
    fleet.uses("acme", 0, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refreshed_socket_is_judged_by_its_new_token() {
    let keys = [(Some("old"), "HS256", "first"), (Some("new"), "HS256", "second")];
    let acme = || tenant("acme").with_keys(&keys);
    let sign = |kid: &str, secret: &str, id: &str| {
        let mut claims = claims("acme", "ada");
        claims["jti"] = json!(id);
        signed_by(kid, &claims, secret_of("acme", secret).as_bytes())
    };
    let (old, new) = (sign("old", "first", "a"), sign("new", "second", "b"));
    let fleet = Fleet::start(&[acme()]).await;
    let node = node::start().await;
    let open = async |token: &str| {
        let mut socket = node.open(&fleet.url(), Some(token), &json!({"reconnection": false}));
        socket.expect("connect").await;
        socket
    };
    let (mut refreshed, mut unrefreshed, mut backwards) = (open(&old).await, open(&old).await, open(&new).await);
    assert_eq!(refreshed.call("rt:refresh", &json!({"token": new})).await["ok"], true);
    assert_eq!(backwards.call("rt:refresh", &json!({"token": old})).await["ok"], true);

    fleet.push(&[acme().with("/auth/revocation/tokenIds", json!(["a"]))]);
    for socket in [&mut unrefreshed, &mut backwards] {
        assert_eq!(socket.expect("disconnect").await, "io server disconnect");
    }
    let refusal = refreshed.call("rt:refresh", &json!({"token": old})).await;
    assert_eq!((&refusal["error"]["code"], &refusal["error"]["fatal"]), (&json!("token_revoked"), &json!(false)));

    fleet.push(&[acme().with_keys(&keys[1..])]);
    fleet.publish("acme", "fence", &Value::Null);
    refreshed.expect("fence").await;
    assert_eq!(refreshed.count("disconnect"), 0);

    fleet.push(&[acme().with_keys(&keys[..1])]);
    assert_eq!(refreshed.expect("disconnect").await, "io server disconnect");
    fleet.uses("acme", 0, 0, 0).await;
}
