//! Who is let in, and how little the others are told.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    fleet::Fleet,
    node,
    polling::Polling,
    tenants::{secret_of, tenant},
    tokens::{assembled, claims, now, signed, signed_by, signed_with, token},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const REFUSED: &str = "Authentication error";

fn changed(claim: &str, value: Value) -> Value {
    let mut claims = claims("acme", 7);
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims("acme", 7);
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

/// Why, and a token that must not open anything at the tenant `acme`.
fn bad_tokens() -> Vec<(&'static str, String)> {
    let (acme, globex) = (secret_of("acme", "first"), secret_of("globex", "first"));
    let sign = |claims: Value| signed(&claims, acme.as_bytes());
    let good = token("acme", 7);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = |alg: &str| assembled(&json!({"alg": alg, "typ": "JWT"}), &claims("acme", 7), "");
    let hs512 = signed_with(&Header::new(Algorithm::HS512), &claims("acme", 7), &EncodingKey::from_secret(acme.as_bytes()));
    let crit = assembled(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims("acme", 7), signature);
    vec![
        ("empty", String::new()),
        ("garbage", "garbage".into()),
        ("dots", "..".into()),
        ("many dots", ".".repeat(1000)),
        ("not base64", "ä.ö.ü".into()),
        ("header no object", "MQ.MQ.MQ".into()),
        ("long", "a".repeat(20_000)),
        ("nul", "\0".into()),
        ("no signature", format!("{head}.")),
        ("cut", good[..good.len() - 1].to_owned()),
        ("a part more", format!("{good}.x")),
        ("padded", format!("{good}=")),
        ("expired", sign(changed("exp", json!(now() - 3600)))),
        ("no exp", sign(without("exp"))),
        ("exp is text", sign(changed("exp", json!((now() + 3600).to_string())))),
        ("exp is null", sign(changed("exp", Value::Null))),
        ("exp is an object", sign(changed("exp", json!({})))),
        ("exp below zero", sign(changed("exp", json!(-1)))),
        ("nbf ahead", sign(changed("nbf", json!(now() + 3600)))),
        ("nbf is text", sign(changed("nbf", json!("0")))),
        ("iat ahead", sign(changed("iat", json!(now() + 3600)))),
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("alg empty", none("")),
        ("alg of no key", hs512),
        ("crit", crit),
        ("other tenant's key", signed(&claims("acme", 7), globex.as_bytes())),
        ("empty key", signed(&claims("acme", 7), b"")),
        ("unknown tenant", signed(&claims("initech", 7), acme.as_bytes())),
        ("two tenants", sign(changed("tenant_id", json!(["acme", "globex"])))),
        ("tenant is a path", sign(changed("tenant_id", json!("../acme")))),
        ("no tenant", sign(without("tenant_id"))),
        ("no user", sign(without("sub"))),
        ("user is an object", sign(changed("sub", json!({"$ne": 1})))),
        ("user is a fraction", sign(changed("sub", json!(1.5)))),
        ("unknown kid", signed_by("2025-01", &claims("acme", 7), acme.as_bytes())),
        ("kid is a path", signed_by("../../../../dev/null", &claims("acme", 7), b"")),
        ("kid is a query", signed_by("' OR 1=1 --", &claims("acme", 7), acme.as_bytes())),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_token_is_refused_with_the_same_words() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut wrong = Vec::new();
    for (why, token) in bad_tokens() {
        let answer = Client::try_connect(fleet.address(), &token).await.map(|client| client.id);
        if answer != Err(REFUSED.to_owned()) {
            wrong.push((why, answer));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(Polling::connect(fleet.address(), "garbage").await.err().as_deref(), Some(REFUSED));
    fleet.uses("acme", 0, 0, 0).await;
    Client::connect(fleet.address(), &token("acme", 7)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_without_a_token_is_refused_with_the_same_words() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    for auth in
        [json!({}), json!({"token": null}), json!({"token": 1}), json!({"token": ["a"]}), json!({"Token": "x"}), json!([]), json!("x")]
    {
        let mut client = Client::open(fleet.address()).await;
        assert_eq!(client.authenticate(&auth).await, Err(REFUSED.to_owned()), "{auth}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_clients_get_a_connect_error() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex").with("/suspended", true)]).await;
    let node = node::start().await;
    let expired = signed(&changed("exp", json!(now() - 3600)), secret_of("acme", "first").as_bytes());
    let suspended = token("globex", 1);
    let table = [
        (None, REFUSED),
        (Some("garbage"), REFUSED),
        (Some(expired.as_str()), REFUSED),
        (Some(suspended.as_str()), "Tenant suspended: tenant_suspended"),
    ];
    for (token, message) in table {
        for options in [json!({}), json!({"transports": ["websocket"]}), json!({"transports": ["polling"]})] {
            let mut socket = node.open(&fleet.url(), token, &options);
            assert_eq!(socket.expect("connect_error").await, message, "{options}");
            assert_eq!(socket.count("connect"), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_key_is_no_shared_secret() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let public = pair.public_key_pem();
    let acme = tenant("acme").with_keys(&[(Some("rsa"), "RS256", "public")]).with_secret("public", public.clone());
    let fleet = Fleet::start(&[acme]).await;
    let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    let good = signed_with(&Header::new(Algorithm::RS256), &claims("acme", 7), &private);
    Client::connect(fleet.address(), &good).await;
    for secret in [public.as_bytes(), public.trim().as_bytes(), pair.public_key_raw()] {
        for confused in [signed(&claims("acme", 7), secret), signed_by("rsa", &claims("acme", 7), secret)] {
            assert_eq!(Client::try_connect(fleet.address(), &confused).await.map(drop), Err(REFUSED.to_owned()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuer_audience_and_lifetime_are_checked_where_set() {
    let acme = tenant("acme")
        .with("/auth/jwt/issuer", "https://id.acme.example")
        .with("/auth/jwt/audiences", json!(["realtime", "all"]))
        .with("/auth/jwt/maxLifetimeSeconds", 3600);
    let fleet = Fleet::start(&[acme]).await;
    let good = json!({"tenant_id": "acme", "sub": 7, "iat": now(), "exp": now() + 3600, "iss": "https://id.acme.example", "aud": ["x", "realtime"]});
    let connect =
        async |claims: &Value| Client::try_connect(fleet.address(), &signed(claims, secret_of("acme", "first").as_bytes())).await.map(drop);
    assert_eq!(connect(&good).await, Ok(()));
    for (claim, value) in [
        ("iss", json!("https://id.acme.example/")),
        ("iss", Value::Null),
        ("aud", json!("realtim")),
        ("aud", json!([])),
        ("aud", json!({"realtime": true})),
        ("exp", json!(now() + 7200)),
        ("iat", Value::Null),
    ] {
        let mut bad = good.clone();
        bad[claim] = value;
        assert_eq!(connect(&bad).await, Err(REFUSED.to_owned()), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_that_stays_is_cut() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::open(fleet.address()).await;
    client.authenticate(&json!({"token": "garbage"})).await.unwrap_err();
    client.ends_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenants_message_is_heard_before_connect() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::open(fleet.address()).await;
    fleet.publish("acme", "record:created", &json!(1));
    client.authenticate(&json!({"token": token("acme", 1)})).await.unwrap();
    fleet.publish("acme", "fence", &json!(1));
    client.expect("fence").await;
}
