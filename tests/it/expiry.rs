//! Tokens that expire under open sockets: who hears what, who goes, who stays.

use carillon_tests::{
    client::Client,
    driver::{Driver, Socket},
    fleet::Fleet,
    http::notify,
    node,
    processes::Processes,
    tenants::{Tenant, api_key_of, secret_of, tenant},
    tokens::{claims, now, signed, signed_by, token},
};
use serde_json::{Value, json};

/// Long enough for a client to hear the warning and answer it on a busy machine.
const SHORT_SECONDS: u64 = 8;

/// A tenant that forgives no clock difference, so that `exp` is the end.
fn strict(id: &str) -> Tenant {
    tenant(id).with("/auth/jwt/leewaySeconds", 0)
}

fn token_until(tenant: &str, user: impl Into<Value>, expires_at: u64) -> String {
    let mut claims = claims(tenant, user);
    claims["exp"] = json!(expires_at);
    signed(&claims, secret_of(tenant, "first").as_bytes())
}

/// Unix time as a resource has it.
fn rfc3339(seconds: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut days, mut year, mut month) = (seconds / 86_400, 1970, 0);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}T{:02}:{:02}:{:02}Z", month + 1, days + 1, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

async fn connected(node: &Driver, url: &str, token: &str, transport: &str) -> Socket {
    let mut socket = node.open(url, Some(token), &json!({"transports": [transport], "reconnection": false}));
    socket.expect("connect").await;
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_warned_and_closed_on_whatever_server_and_transport() {
    let fleet = Processes::start(2, &[strict("acme")]).await;
    let node = node::start().await;
    let mut long = connected(&node, &format!("http://{}", fleet.address(0)), &token("acme", 2), "websocket").await;
    let expires_at = now() + SHORT_SECONDS;
    let short = token_until("acme", 1, expires_at);
    let mut sockets = Vec::new();
    for server in [0, 1] {
        for transport in ["websocket", "polling"] {
            sockets.push(connected(&node, &format!("http://{}", fleet.address(server)), &short, transport).await);
        }
    }
    for socket in &mut sockets {
        let seconds = socket.expect("rt:expiring").await["expiresInSeconds"].as_u64().unwrap();
        assert!((1..=SHORT_SECONDS).contains(&seconds), "{seconds}");
        assert_eq!(socket.count("disconnect"), 0);
    }
    for socket in &mut sockets {
        assert_eq!(socket.expect("disconnect").await, "io server disconnect");
        assert!(now() >= expires_at);
        assert_eq!(socket.count("rt:expiring"), 1);
        socket.tell("connect");
        assert_eq!(socket.expect("connect_error").await, "Authentication error");
    }
    notify(fleet.address(1), "acme", &api_key_of("acme"), &json!({"event": "fence"})).await;
    long.expect("fence").await;
    assert_eq!((long.count("disconnect"), long.count("rt:expiring")), (0, 0));
    assert_eq!(fleet.metric_of_all(r#"carillon_connections_ended_total{tenant="acme",code="token_expired"}"#).await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_refreshes_when_it_is_warned_stays() {
    let fleet = Fleet::start(&[strict("acme")]).await;
    let node = node::start().await;
    let expires_at = now() + SHORT_SECONDS;
    let short = token_until("acme", 7, expires_at);
    let mut refreshing = connected(&node, &fleet.url(), &short, "websocket").await;
    let mut polling = connected(&node, &fleet.url(), &short, "polling").await;
    let mut idle = connected(&node, &fleet.url(), &short, "websocket").await;
    let later = now() + 3600;
    for socket in [&mut refreshing, &mut polling] {
        socket.expect("rt:expiring").await;
        let answer = socket.call("rt:refresh", &json!({"token": token_until("acme", "7", later)})).await;
        assert_eq!(answer, json!({"ok": true, "expiresAt": later}), "7 and \"7\" are one user");
    }
    // What is still open then has outlived its first token.
    assert_eq!(idle.expect("disconnect").await, "io server disconnect");
    fleet.publish("acme", "fence", &Value::Null);
    for socket in [&mut refreshing, &mut polling] {
        socket.expect("fence").await;
        assert_eq!((socket.count("disconnect"), socket.count("rt:expiring")), (0, 1));
    }
    // Each token has a warning of its own.
    let answer = refreshing.call("rt:refresh", &json!({"token": token_until("acme", 7, now() + SHORT_SECONDS)})).await;
    assert_eq!(answer["ok"], true);
    refreshing.expect("rt:expiring").await;
    assert_eq!(refreshing.expect("disconnect").await, "io server disconnect");
    fleet.uses("acme", 1, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_proves_nothing_is_refused_and_changes_nothing() {
    let acme = || strict("acme").with_keys(&[(Some("k1"), "HS256", "shared")]).with_secret("shared", secret_of("shared", "first"));
    let twin = || strict("twin").with_keys(&[(Some("k1"), "HS256", "shared")]).with_secret("shared", secret_of("shared", "first"));
    let fleet = Fleet::start(&[acme(), twin()]).await;
    let sign = |claims: &Value| signed_by("k1", claims, secret_of("shared", "first").as_bytes());
    let with = |claim: &str, value: Value| {
        let mut claims = claims("acme", "ada");
        claims[claim] = value;
        claims
    };
    let mut client = Client::connect(fleet.address(), &sign(&claims("acme", "ada"))).await;
    let secret = secret_of("shared", "first");
    let none = "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRfaWQiOiJhY21lIn0.";
    let table = [
        ("no argument's token", json!({}), "token_missing"),
        ("a number", json!({"token": 7}), "token_missing"),
        ("no object", json!("token"), "token_missing"),
        ("empty", json!({"token": ""}), "token_missing"),
        ("garbage", json!({"token": "garbage"}), "token_malformed"),
        ("too long", json!({"token": "a".repeat(20_000)}), "token_malformed"),
        ("another user", json!({"token": sign(&claims("acme", "bob"))}), "signature_invalid"),
        (
            "another user, expired",
            json!({"token": sign(&{ let mut bob = claims("acme", "bob"); bob["exp"] = json!(1); bob })}),
            "signature_invalid",
        ),
        ("another tenant of the same key", json!({"token": sign(&claims("twin", "ada"))}), "signature_invalid"),
        ("no tenant", json!({"token": sign(&with("tenant_id", Value::Null))}), "signature_invalid"),
        ("an unknown kid", json!({"token": signed_by("k2", &claims("acme", "ada"), secret.as_bytes())}), "signature_invalid"),
        ("another key", json!({"token": signed_by("k1", &claims("acme", "ada"), b"another")}), "signature_invalid"),
        ("no algorithm", json!({"token": none}), "signature_invalid"),
        ("expired", json!({"token": sign(&with("exp", json!(now() - 1)))}), "token_expired"),
        ("not yet valid", json!({"token": sign(&with("nbf", json!(now() + 60)))}), "token_not_yet_valid"),
    ];
    for (why, argument, code) in table {
        let answer = client.call("rt:refresh", &argument).await;
        assert_eq!(
            (&answer["ok"], &answer["error"]["code"], &answer["error"]["fatal"]),
            (&json!(false), &json!(code), &json!(false)),
            "{why}"
        );
        assert!(!answer.to_string().contains("bob"), "{why}: {answer}");
    }
    assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);
    // Without an acknowledgement it is told as any refusal is.
    client.emit("rt:refresh", &json!({"token": "garbage"})).await;
    assert_eq!(client.expect("rt:quota").await["code"], "token_malformed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_refresh_does_not_keep_the_socket() {
    let fleet = Fleet::start(&[strict("acme")]).await;
    let node = node::start().await;
    let mut socket = connected(&node, &fleet.url(), &token_until("acme", 7, now() + SHORT_SECONDS), "websocket").await;
    socket.expect("rt:expiring").await;
    assert_eq!(socket.call("rt:refresh", &json!({"token": token("acme", 8)})).await["error"]["code"], "signature_invalid");
    assert_eq!(socket.expect("disconnect").await, "io server disconnect");
    assert_eq!(socket.count("rt:expiring"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshing_is_a_message_like_any_other() {
    let acme = || strict("acme").with("/quotas/messages/ratePerSecondPerConnection", 1).with("/quotas/messages/burstPerConnection", 2);
    let fleet = Fleet::start(&[acme()]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for _ in 0..2 {
        assert_eq!(client.call("rt:refresh", &json!({"token": token("acme", 1)})).await["ok"], true);
    }
    let refusal = client.call("rt:refresh", &json!({"token": token("acme", 1)})).await;
    assert_eq!(refusal["error"]["code"], "messages_rate_per_connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_may_keep_its_sockets() {
    let keep = || strict("acme").with("/auth/jwt/onExpiry", "Keep");
    let fleet = Fleet::start(&[keep(), strict("globex")]).await;
    let node = node::start().await;
    let expires_at = now() + SHORT_SECONDS;
    let mut kept = connected(&node, &fleet.url(), &token_until("acme", 1, expires_at), "websocket").await;
    let mut gone = connected(&node, &fleet.url(), &token_until("acme", 2, expires_at), "websocket").await;
    let mut clock = connected(&node, &fleet.url(), &token_until("globex", 1, expires_at), "websocket").await;
    assert_eq!(clock.expect("disconnect").await, "io server disconnect");
    assert_eq!(kept.call("rt:join", &json!({"room": "a"})).await["ok"], true);
    assert_eq!((kept.count("disconnect"), kept.count("rt:expiring")), (0, 0));
    assert!(Client::try_connect(fleet.address(), &token_until("acme", 1, expires_at)).await.is_err(), "it opens nothing any more");
    assert_eq!(kept.call("rt:refresh", &json!({"token": token_until("acme", 1, now() + 60)})).await, json!({"ok": true}));

    // Thought better of: the refreshed one has its minute, and one whose token has expired goes.
    assert_eq!(gone.count("disconnect"), 0);
    fleet.push(&[strict("acme"), strict("globex")]);
    assert_eq!(gone.expect("disconnect").await, "io server disconnect");
    fleet.publish("acme", "fence", &Value::Null);
    kept.expect("fence").await;
    assert_eq!(kept.count("disconnect"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_ends_lets_nobody_in_and_drops_nobody() {
    let ending = |seconds: u64| {
        let at = rfc3339(now() + seconds);
        let first = json!({"kid": "k1", "algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "first"}, "notAfter": at});
        let second = json!({"kid": "k2", "algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "second"}});
        strict("acme").with("/auth/jwt/keys", json!([first, second]))
    };
    let by = |kid: &str, secret: &str| signed_by(kid, &claims("acme", 1), secret_of("acme", secret).as_bytes());
    let (old, new) = (by("k1", "first"), by("k2", "second"));
    let retiring = |fleet: &Fleet| fleet.metric(0, r#"carillon_connects_retiring_key_total{tenant="acme"}"#);
    let fleet = Fleet::start(&[ending(25 * 3600)]).await;
    Client::connect(fleet.address(), &old).await;
    assert_eq!(retiring(&fleet), 0.0);
    fleet.push(&[ending(23 * 3600)]);
    Client::connect(fleet.address(), &new).await;
    assert_eq!(retiring(&fleet), 0.0);
    let mut client = Client::connect(fleet.address(), &old).await;
    assert_eq!(retiring(&fleet), 1.0);

    fleet.push(&[ending(0)]);
    assert!(Client::try_connect(fleet.address(), &old).await.is_err());
    assert_eq!(client.call("rt:refresh", &json!({"token": old})).await["error"]["code"], "signature_invalid");
    assert_eq!(client.call("rt:refresh", &json!({"token": new})).await["ok"], true);
    assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);
}
