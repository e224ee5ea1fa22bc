//! Keys that an issuer publishes, as `carillon dev` fetches them.

use std::{fs, net::SocketAddr, time::Duration};

use axum::{Json, Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_tests::{command::Dev, eventually::eventually_async, folder::Folder, http::notify, tokens};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// Who signs with ES256 on P-256.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate().expect("keys can be made"))
    }

    /// The public key, without an `alg`.
    fn jwk(&self, kid: &str) -> Value {
        // An uncompressed point: a byte that says so, x, and y.
        let point = self.0.der_bytes();
        let [x, y] = [&point[1..33], &point[33..65]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig"})
    }

    /// A token of one of acme's services.
    fn token(&self, kid: &str) -> String {
        self.token_of("acme", kid)
    }

    /// The same of another tenant's.
    fn token_of(&self, tenant: &str, kid: &str) -> String {
        let mut claims = tokens::claims(tenant, "backend");
        claims["role"] = json!("service");
        let key = EncodingKey::from_ec_pem(self.0.serialize_pem().as_bytes()).expect("PKCS #8");
        jsonwebtoken::encode(&Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) }, &claims, &key).expect("it signs")
    }
}

/// An issuer that publishes `keys`, until the second value is dropped.
async fn issuer(keys: Vec<Value>) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let issuer = format!("http://{}/realm", listener.local_addr().expect("it is bound"));
    let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    let keys = json!({ "keys": keys });
    let router = Router::new().route("/realm/.well-known/openid-configuration", get(Json(document))).route("/realm/keys", get(Json(keys)));
    let mut task = JoinSet::new();
    task.spawn(async { axum::serve(listener, router).await.expect("it serves") });
    (issuer, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_lets_in_who_comes_with_a_token_of_the_issuer() {
    let (ours, strange) = (Signer::new(), Signer::new());
    let (issuer, _running) =
        issuer(vec![ours.jwk("one"), json!({"kty": "oct", "k": "c2VjcmV0LXRoYXQtZXZlcnlvbmUtY2FuLXJlYWQtYW5k", "kid": "two"})]).await;
    let folder = Folder::new("key-sets");
    let tenant = json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "metadata": {"name": "acme"},
        "spec": {"auth": {"jwt": {"jwks": [{"issuer": issuer}]}}},
    });
    fs::write(folder.path().join("acme.json"), tenant.to_string()).expect("the folder takes files");
    let dev = Dev::start(&["--tenants", folder.path().to_str().expect("UTF-8")]).await;
    assert!(dev.welcome.contains("spec.auth.jwt.jwks[0].issuer: was not fetched"), "{}", dev.welcome);

    let address: SocketAddr = dev.url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address");
    let publish = async |token: &str| notify(address, "acme", token, &json!({"event": "e", "data": 1})).await.status.as_u16();
    eventually_async(Duration::from_secs(20), "the keys are fetched", async || match publish(&ours.token("one")).await {
        202 => Ok(()),
        status => Err(status),
    })
    .await;
    assert_eq!(publish(&strange.token("one")).await, 401);
    assert_eq!(publish(&ours.token("two")).await, 401);
    let forged = jsonwebtoken::encode(
        &Header { kid: Some("two".to_owned()), ..Header::new(Algorithm::HS256) },
        &tokens::claims("acme", "backend"),
        &EncodingKey::from_secret(b"secret-that-everyone-can-read-and"),
    );
    assert_eq!(publish(&forged.expect("it signs")).await, 401, "a published secret verifies nothing");
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_names_the_issuer_of_tenants_that_name_none() {
    let signer = Signer::new();
    let (issuer, _running) = issuer(vec![signer.jwk("one")]).await;
    let folder = Folder::new("class-key-sets");
    let object = |kind: &str, name: &str, spec: Value| {
        let annotations = json!({"carillon.dev/is-default-class": "true"});
        let metadata = if kind == "RealtimeTenant" { json!({"name": name}) } else { json!({"name": name, "annotations": annotations}) };
        let object = json!({"apiVersion": "carillon.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
        fs::write(folder.path().join(format!("{name}.json")), object.to_string()).expect("the folder takes files");
    };
    object("RealtimeTenantClass", "standard", json!({"defaults": {"auth": {"jwt": {"jwks": [{"issuer": issuer}]}}}}));
    object("RealtimeTenant", "acme", json!({"auth": {}}));
    object("RealtimeTenant", "globex", json!({"auth": {"jwt": {"issuer": "https://another.example"}}}));
    let dev = Dev::start(&["--tenants", folder.path().to_str().expect("UTF-8")]).await;
    let address: SocketAddr = dev.url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address");
    let publish = async |tenant: &str, token: &str| notify(address, tenant, token, &json!({"event": "e", "data": 1})).await.status.as_u16();
    eventually_async(Duration::from_secs(20), "the keys are fetched", async || match publish("acme", &signer.token("one")).await {
        202 => Ok(()),
        status => Err(status),
    })
    .await;
    assert_eq!(publish("globex", &signer.token("one")).await, 401, "a token is for one tenant");
    assert_eq!(publish("globex", &signer.token_of("globex", "one")).await, 401, "this one asks for another issuer");
    dev.stop().await;
}
