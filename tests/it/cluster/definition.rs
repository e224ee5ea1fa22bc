//! What the API server says to good and to bad tenants and classes, before any of our own code sees them.

use carillon_tests::{
    cluster::{Api, Release, Team, kubectl, run},
    file,
};
use serde_json::{Value, json};

const LIMIT: &str = "must be a whole number from 1 to 2000000000 or the string Unlimited";
const NEEDS_VALUES: &str = "In and NotIn need values, Exists and DoesNotExist take none";

/// The API server with our definitions. No pod of ours is needed.
async fn with_definitions() -> Api {
    let api = Api::connect().await;
    for plural in ["realtimetenants", "realtimetenantclasses"] {
        let name = format!("{plural}.carillon.dev");
        if run("kubectl", &["get", "crd", &name]).await.is_err() {
            let definition = file(&format!("../crds/{plural}.yaml"));
            kubectl(&["apply", "-f", definition.to_str().expect("paths of the project are UTF-8")]).await;
            kubectl(&["wait", "crd", &name, "--for=condition=Established", "--timeout=30s"]).await;
        }
    }
    api
}

/// A spec with every field.
fn full() -> Value {
    let reference = |key: &str| json!({"name": "keys", "key": key});
    json!({
        "tenantId": "Acme_Corp.eu-1",
        "className": "gold.example",
        "suspended": false,
        "auth": {
            "jwt": {
                "keys": [
                    {"kid": "2026-10", "algorithm": "HS256", "secretKeyRef": reference("old"), "notAfter": "2030-01-01T00:00:00Z"},
                    {"kid": "2026-11", "algorithm": "ES256", "secretKeyRef": reference("new.pem")},
                    {"algorithm": "EdDSA", "secretKeyRef": reference("jwk")},
                ],
                "issuer": "https://id.example.com",
                "audiences": ["realtime", "web"],
                "leewaySeconds": 0,
                "maxLifetimeSeconds": 86400,
                "claims": {"tenant": "org", "user": "uid"},
                "onExpiry": "Keep",
            },
            "revocation": {"tokensNotBefore": "2026-11-01T00:00:00Z", "users": ["7", "ada lovelace", "ä"], "tokenIds": ["0f8e"]},
            "apiKeys": [{"name": "backend", "secretKeyRef": reference("api"), "permissions": ["Publish"]}],
        },
        "allowedOrigins": ["https://app.example.com", "https://*.example.com", "http://localhost:5173"],
        "quotas": {
            "connections": {"max": 2_000_000_000, "maxPerUser": "Unlimited", "ratePerSecond": 1, "burst": 1_000_000},
            "rooms": {"max": "Unlimited", "maxMembers": 1, "maxPerConnection": 1000, "createRatePerSecond": 2_000_000_000},
            "messages": {
                "ratePerSecond": "Unlimited", "burst": 1,
                "ratePerSecondPerConnection": 1, "burstPerConnection": 100_000, "maxBytes": 1_048_576,
            },
            "publish": {"ratePerSecond": 1, "burst": 1_000_000, "maxBytes": 64},
            "egress": {"bytesPerSecond": 2_000_000_000},
            "enforcement": "DryRun",
        },
    })
}

/// `spec` with `value` at a JSON pointer; the last part of the path may be new.
fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    spec.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[field] = value;
    spec
}

fn object(team: &Team<'_>, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant",
        "metadata": {"name": name, "namespace": team.namespace}, "spec": spec,
    })
}

fn keys(count: usize, kid: impl Fn(usize) -> String) -> Value {
    let key = |index| json!({"kid": kid(index), "algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "first"}});
    (0..count).map(key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn good_tenants_are_taken() {
    let api = with_definitions().await;
    for example in ["acme", "globex", "initech", "standard"] {
        let path = file(&format!("../crds/examples/{example}.yaml"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("team-{example}")}});
        api.apply(&namespace).await;
        kubectl(&["apply", "--validate=strict", "--dry-run=server", "-f", path.to_str().expect("UTF-8")]).await;
    }
    let team = Team::new(&api).await;
    api.try_create(&object(&team, "full", &full())).await.expect("every field is taken");
    let sources =
        json!([{"url": "https://id.example.com:8443/keys?tenant=a", "refreshSeconds": 60}, {"issuer": "https://[2001:db8::1]/realms/a/"}]);
    let fetched = with(with(full(), "/tenantId", json!("fetched")), "/auth/jwt/jwks", sources);
    api.try_create(&object(&team, "fetched", &fetched)).await.expect("key sets are taken beside keys");
    let alone = json!({"auth": {"jwt": {"jwks": [{"issuer": "https://id.example.com"}]}}});
    let made = api.try_create(&object(&team, "alone", &alone)).await.expect("key sets are taken without keys");
    assert_eq!(made["spec"]["auth"]["jwt"]["jwks"][0]["refreshSeconds"], 300);
    let least = json!({"auth": {"jwt": {"keys": [{"algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "first"}}]}}});
    let made = api.try_create(&object(&team, "least", &least)).await.expect("the least is taken");
    assert_eq!(made["spec"]["suspended"], false, "defaults are filled in: {made}");
    assert_eq!(made["spec"]["auth"]["jwt"]["claims"], json!({}), "what a class may give isn't: {made}");
    let generated = json!({"auth": {"generate": {"jwtKey": {}, "apiKey": {}}}});
    let made = api.try_create(&object(&team, "generated", &generated)).await.expect("keys can be made");
    let expected = json!({"jwtKey": {"algorithm": "HS256"}, "apiKey": {"permissions": ["Publish"]}, "overlapSeconds": 86_400});
    assert_eq!(made["spec"]["auth"]["generate"], expected);
    api.try_create(&object(&team, "classed", &json!({"auth": {}}))).await.expect("a class may have what it needs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn bad_tenants_are_refused_with_the_field_and_what_helps() {
    let api = with_definitions().await;
    let team = Team::new(&api).await;
    let long = |length: usize| json!("a".repeat(length));
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("/tenantId", json!("-acme"), &["spec.tenantId", "should match"]),
        ("/tenantId", json!("acme corp"), &["spec.tenantId", "should match"]),
        ("/tenantId", json!(""), &["spec.tenantId"]),
        ("/tenantId", long(64), &["spec.tenantId", "63"]),
        ("/tenantId", json!(7), &["spec.tenantId", "string"]),
        ("/className", json!("Gold"), &["spec.className", "should match"]),
        ("/className", json!(""), &["spec.className"]),
        ("/className", long(254), &["spec.className", "253"]),
        ("/suspended", json!("yes"), &["spec.suspended", "boolean"]),
        ("/suspendedd", json!(true), &["spec.suspendedd"]),
        ("/quotas/connections/maximum", json!(1), &["spec.quotas.connections.maximum"]),
        ("/auth/jwt/keys/0/secret", json!("inline"), &["spec.auth.jwt.keys[0].secret"]),
        ("/quotas/connections/max", json!(0), &["spec.quotas.connections.max", LIMIT]),
        ("/quotas/connections/max", json!(-1), &["spec.quotas.connections.max", LIMIT]),
        ("/quotas/connections/max", json!("unlimited"), &["spec.quotas.connections.max", LIMIT]),
        ("/quotas/connections/max", json!("100"), &["spec.quotas.connections.max", LIMIT]),
        ("/quotas/connections/max", json!(2_000_000_001), &["spec.quotas.connections.max", LIMIT]),
        ("/quotas/connections/max", json!(1.5), &["spec.quotas.connections.max", "integer"]),
        ("/quotas/connections/max", json!(true), &["spec.quotas.connections.max", "integer"]),
        ("/quotas/connections/maxPerUser", json!(0), &["spec.quotas.connections.maxPerUser", LIMIT]),
        ("/quotas/connections/ratePerSecond", json!(0), &["spec.quotas.connections.ratePerSecond", LIMIT]),
        ("/quotas/connections/burst", json!(0), &["spec.quotas.connections.burst", "greater than or equal to 1"]),
        ("/quotas/connections/burst", json!("Unlimited"), &["spec.quotas.connections.burst", "integer"]),
        ("/quotas/connections", json!(5), &["spec.quotas.connections"]),
        ("/quotas/rooms/max", json!(0), &["spec.quotas.rooms.max", LIMIT]),
        ("/quotas/rooms/maxMembers", json!("none"), &["spec.quotas.rooms.maxMembers", LIMIT]),
        ("/quotas/rooms/createRatePerSecond", json!(-1), &["spec.quotas.rooms.createRatePerSecond", LIMIT]),
        ("/quotas/rooms/maxPerConnection", json!(0), &["spec.quotas.rooms.maxPerConnection", "greater than or equal to 1"]),
        ("/quotas/rooms/maxPerConnection", json!(1001), &["spec.quotas.rooms.maxPerConnection", "less than or equal to 1000"]),
        ("/quotas/rooms/maxPerConnection", json!("Unlimited"), &["spec.quotas.rooms.maxPerConnection", "integer"]),
        ("/quotas/messages/ratePerSecond", json!(2_000_000_001), &["spec.quotas.messages.ratePerSecond", LIMIT]),
        ("/quotas/messages/burst", json!(1_000_001), &["spec.quotas.messages.burst", "1000000"]),
        ("/quotas/messages/ratePerSecondPerConnection", json!("unlimited"), &["spec.quotas.messages.ratePerSecondPerConnection", LIMIT]),
        ("/quotas/messages/burstPerConnection", json!(0), &["spec.quotas.messages.burstPerConnection", "greater than or equal to 1"]),
        ("/quotas/messages/burstPerConnection", json!(100_001), &["spec.quotas.messages.burstPerConnection", "100000"]),
        ("/quotas/messages/maxBytes", json!(63), &["spec.quotas.messages.maxBytes", "greater than or equal to 64"]),
        ("/quotas/publish/ratePerSecond", json!(0), &["spec.quotas.publish.ratePerSecond", LIMIT]),
        ("/quotas/publish/burst", json!(0), &["spec.quotas.publish.burst", "greater than or equal to 1"]),
        ("/quotas/publish/maxBytes", json!(1_048_577), &["spec.quotas.publish.maxBytes", "1048576"]),
        ("/quotas/egress/bytesPerSecond", json!("unlimited"), &["spec.quotas.egress.bytesPerSecond", LIMIT]),
        ("/quotas/enforcement", json!("dryRun"), &["spec.quotas.enforcement", "Enforce", "DryRun"]),
        ("/quotas/enforced", json!(true), &["spec.quotas.enforced"]),
        ("/allowedOrigins", json!([]), &["spec.allowedOrigins", "at least 1 items"]),
        ("/allowedOrigins", json!(["ftp://app.example.com"]), &["spec.allowedOrigins[0]", "should match", "https?://"]),
        ("/allowedOrigins", json!(["https://app.example.com/path"]), &["spec.allowedOrigins[0]", "should match"]),
        ("/allowedOrigins", json!(["https://a.example.com", "https://a.example.com"]), &["spec.allowedOrigins[1]", "Duplicate value"]),
        ("/allowedOrigins", (0..33).map(|n| json!(format!("https://a{n}.example.com"))).collect(), &["spec.allowedOrigins", "at most 32"]),
        ("/allowedOrigins", json!([format!("https://{}", "a".repeat(250))]), &["spec.allowedOrigins[0]", "255"]),
        ("/auth/jwt/onExpiry", json!("disconnect"), &["spec.auth.jwt.onExpiry", "Disconnect", "Keep"]),
        ("/auth/revocation/user", json!(["ada"]), &["spec.auth.revocation.user"]),
        ("/auth/revocation/users", json!([7]), &["spec.auth.revocation.users[0]", "string"]),
        ("/auth/revocation/users", json!([""]), &["spec.auth.revocation.users[0]"]),
        ("/auth/revocation/users", json!(["a\nb"]), &["spec.auth.revocation.users[0]", "should match"]),
        ("/auth/revocation/users", json!(["ada", "ada"]), &["spec.auth.revocation.users[1]", "Duplicate value"]),
        ("/auth/revocation/users", (0..1001).map(|n| json!(n.to_string())).collect(), &["spec.auth.revocation.users", "at most 1000"]),
        ("/auth/revocation/tokenIds", json!(["a".repeat(257)]), &["spec.auth.revocation.tokenIds[0]", "256"]),
        ("/auth/revocation/tokensNotBefore", json!("yesterday"), &["spec.auth.revocation.tokensNotBefore", "date-time"]),
        ("/auth/generate", json!({}), &["spec.auth.generate", "say what to generate: jwtKey, apiKey or both"]),
        ("/auth/generate", json!({"jwtKey": {"algorithm": "RS256"}}), &["spec.auth.generate.jwtKey.algorithm", "HS256", "EdDSA"]),
        ("/auth/generate", json!({"apiKey": {"permissions": []}}), &["spec.auth.generate.apiKey.permissions", "at least 1 items"]),
        (
            "/auth/generate",
            json!({"apiKey": {}, "overlapSeconds": 9}),
            &["spec.auth.generate.overlapSeconds", "greater than or equal to 10"],
        ),
        ("/auth/generate", json!({"apiKey": {}, "overlapSeconds": 2_592_001}), &["spec.auth.generate.overlapSeconds", "2592000"]),
        ("/auth/jwt/jwks", json!([{}]), &["spec.auth.jwt.jwks[0]", "give either url or issuer"]),
        ("/auth/jwt/jwks", json!([{"url": "https://a", "issuer": "https://a"}]), &["spec.auth.jwt.jwks[0]", "give either url or issuer"]),
        ("/auth/jwt/jwks", json!([{"url": "ftp://id/keys"}]), &["spec.auth.jwt.jwks[0].url", "should match"]),
        ("/auth/jwt/jwks", json!([{"url": "https://user@id/keys"}]), &["spec.auth.jwt.jwks[0].url", "should match"]),
        ("/auth/jwt/jwks", json!([{"url": "https://id/keys#a"}]), &["spec.auth.jwt.jwks[0].url", "should match"]),
        ("/auth/jwt/jwks", json!([{"issuer": "https://id?a=b"}]), &["spec.auth.jwt.jwks[0].issuer", "should match"]),
        ("/auth/jwt/jwks", json!([{"url": "https://id", "refreshSeconds": 59}]), &["spec.auth.jwt.jwks[0].refreshSeconds", "60"]),
        ("/auth/jwt/jwks", json!([{"url": "https://id", "refreshSeconds": 86_401}]), &["spec.auth.jwt.jwks[0].refreshSeconds", "86400"]),
        ("/auth/jwt/jwks", vec![json!({"url": "https://id"}); 5].into(), &["spec.auth.jwt.jwks", "at most 4 items"]),
        ("/auth/jwt/keys", keys(17, |n| n.to_string()), &["spec.auth.jwt.keys", "at most 16 items"]),
        ("/auth/jwt/keys", keys(2, |_| "same".to_owned()), &["spec.auth.jwt.keys", "kid must be unique within the tenant"]),
        ("/auth/jwt/keys", keys(1, |_| "k".repeat(129)), &["spec.auth.jwt.keys[0].kid", "128"]),
        ("/auth/jwt/keys/0/kid", json!(""), &["spec.auth.jwt.keys[0].kid"]),
        ("/auth/jwt/keys/0/algorithm", json!("none"), &["spec.auth.jwt.keys[0].algorithm", "HS256", "EdDSA"]),
        ("/auth/jwt/keys/0/algorithm", json!("hs256"), &["spec.auth.jwt.keys[0].algorithm", "HS256"]),
        ("/auth/jwt/keys/0/algorithm", Value::Null, &["spec.auth.jwt.keys[0].algorithm"]),
        ("/auth/jwt/keys/0/notAfter", json!("tomorrow"), &["spec.auth.jwt.keys[0].notAfter", "date-time"]),
        ("/auth/jwt/keys/0/secretKeyRef/name", json!("Keys"), &["spec.auth.jwt.keys[0].secretKeyRef.name", "should match"]),
        ("/auth/jwt/keys/0/secretKeyRef/name", long(254), &["spec.auth.jwt.keys[0].secretKeyRef.name", "253"]),
        ("/auth/jwt/keys/0/secretKeyRef/key", json!("a/b"), &["spec.auth.jwt.keys[0].secretKeyRef.key", "should match"]),
        ("/auth/jwt/keys/0/secretKeyRef", json!({"name": "keys"}), &["spec.auth.jwt.keys[0].secretKeyRef.key", "Required"]),
        ("/auth/jwt/issuer", long(513), &["spec.auth.jwt.issuer", "512"]),
        ("/auth/jwt/audiences", json!([]), &["spec.auth.jwt.audiences", "at least 1 items"]),
        ("/auth/jwt/audiences", (0..17).map(|n| json!(n.to_string())).collect(), &["spec.auth.jwt.audiences", "at most 16"]),
        ("/auth/jwt/audiences", json!([7]), &["spec.auth.jwt.audiences[0]", "string"]),
        ("/auth/jwt/leewaySeconds", json!(301), &["spec.auth.jwt.leewaySeconds", "less than or equal to 300"]),
        ("/auth/jwt/leewaySeconds", json!(-1), &["spec.auth.jwt.leewaySeconds", "greater than or equal to 0"]),
        ("/auth/jwt/leewaySeconds", json!("30s"), &["spec.auth.jwt.leewaySeconds", "integer"]),
        ("/auth/jwt/maxLifetimeSeconds", json!(59), &["spec.auth.jwt.maxLifetimeSeconds", "greater than or equal to 60"]),
        ("/auth/jwt/maxLifetimeSeconds", json!(31_536_001), &["spec.auth.jwt.maxLifetimeSeconds", "31536000"]),
        ("/auth/jwt/claims/tenant", json!(""), &["spec.auth.jwt.claims.tenant"]),
        ("/auth/jwt/claims/user", long(129), &["spec.auth.jwt.claims.user", "128"]),
        ("/auth/apiKeys/0/permissions", json!([]), &["spec.auth.apiKeys[0].permissions", "at least 1 items"]),
        ("/auth/apiKeys/0/permissions", json!(["Admin"]), &["spec.auth.apiKeys[0].permissions[0]", "Publish"]),
        ("/auth/apiKeys/0/name", json!("Backend"), &["spec.auth.apiKeys[0].name", "should match"]),
        ("/auth/apiKeys/0/name", long(64), &["spec.auth.apiKeys[0].name", "63"]),
    ];
    let mut wrong = Vec::new();
    for (pointer, value, expected) in cases {
        let spec = with(full(), pointer, value.clone());
        match api.try_create(&object(&team, "bad", &spec)).await {
            Ok(_) => wrong.push(format!("{pointer} = {value} is taken")),
            Err(message) if !expected.iter().all(|part| message.contains(part)) => {
                wrong.push(format!("{pointer} = {value} is refused with {message}; expected {expected:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let twice = json!([full()["auth"]["apiKeys"][0], full()["auth"]["apiKeys"][0]]);
    let refusal = api.try_create(&object(&team, "bad", &with(full(), "/auth/apiKeys", twice))).await;
    assert!(refusal.is_err_and(|message| message.contains("apiKeys")), "API keys have names of their own");
    let mut nameless = full();
    nameless.as_object_mut().expect("a spec is an object").remove("tenantId");
    let refusal = api.try_create(&object(&team, &"a".repeat(64), &nameless)).await.expect_err("the name is too long");
    assert!(refusal.contains("spec.tenantId is needed when metadata.name is longer than 63 characters"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn bad_classes_are_refused_with_the_field_and_what_helps() {
    let api = with_definitions().await;
    let quotas = full()["quotas"].clone();
    let mut ceilings = quotas.clone();
    ceilings.as_object_mut().expect("quotas are an object").remove("enforcement");
    let expression = |operator: &str, values: Value| json!([{"key": "example.com/tier", "operator": operator, "values": values}]);
    let full = json!({
        "defaults": {"quotas": quotas},
        "ceilings": {"quotas": ceilings},
        "allowedNamespaces": {"matchLabels": {"team": "acme"}, "matchExpressions": expression("In", json!(["gold", ""]))},
    });
    let class = |spec: &Value| json!({"apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenantClass", "metadata": {"name": "any"}, "spec": spec});
    for good in [json!({}), json!({"allowedNamespaces": {}}), json!({"fleet": "noisy"}), full.clone()] {
        api.try_create(&class(&good)).await.unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("/fleet", json!("Noisy fleet"), &["spec.fleet", "should match"]),
        ("/defaults/quotas/connections/max", json!(0), &["spec.defaults.quotas.connections.max", LIMIT]),
        ("/defaults/quotas/enforcement", json!("dryRun"), &["spec.defaults.quotas.enforcement", "Enforce", "DryRun"]),
        ("/ceilings/quotas/enforcement", json!("Enforce"), &["spec.ceilings.quotas.enforcement"]),
        ("/ceilings/quotas/connections/max", json!("none"), &["spec.ceilings.quotas.connections.max", LIMIT]),
        ("/ceilings/quotas/messages/maxBytes", json!(1), &["spec.ceilings.quotas.messages.maxBytes", "greater than or equal to 64"]),
        ("/allowedNamespaces/matchLabels", json!({"team": "a b"}), &["spec.allowedNamespaces.matchLabels.team", "should match"]),
        ("/allowedNamespaces/matchExpressions", expression("Is", json!([])), &["spec.allowedNamespaces.matchExpressions[0].operator"]),
        ("/allowedNamespaces/matchExpressions", expression("In", json!([])), &[NEEDS_VALUES]),
        ("/allowedNamespaces/matchExpressions", expression("Exists", json!(["gold"])), &[NEEDS_VALUES]),
    ];
    let mut wrong = Vec::new();
    for (pointer, value, expected) in cases {
        match api.try_create(&class(&with(full.clone(), pointer, value.clone()))).await {
            Ok(_) => wrong.push(format!("{pointer} = {value} is taken")),
            Err(message) if !expected.iter().all(|part| message.contains(part)) => {
                wrong.push(format!("{pointer} = {value} is refused with {message}; expected {expected:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_tenant_id_stays_what_it_is() {
    let api = with_definitions().await;
    let team = Team::new(&api).await;
    let mut unnamed = full();
    unnamed.as_object_mut().expect("a spec is an object").remove("tenantId");
    let named = object(&team, "named", &with(full(), "/tenantId", json!(format!("id-{}", team.namespace))));
    let unnamed = object(&team, "unnamed", &unnamed);
    let path = |name: &str| format!("/apis/carillon.dev/v1alpha1/namespaces/{}/realtimetenants/{name}", team.namespace);
    api.apply(&named).await;
    api.apply(&unnamed).await;
    for (name, change) in [
        ("named", json!({"spec": {"tenantId": "other"}})),
        ("named", json!({"spec": {"tenantId": null}})),
        ("unnamed", json!({"spec": {"tenantId": "unnamed"}})),
    ] {
        let refusal = api.try_patch(&path(name), &change).await.expect_err("the tenant id is immutable");
        assert!(refusal.contains("tenantId is immutable: create another RealtimeTenant for another tenant"), "{refusal}");
    }
    api.patch(&path("named"), &json!({"spec": {"suspended": true}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn kubectl_shows_and_explains_tenants() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.uses(&tenant, "0/1000").await;
    let columns =
        |table: &str| table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>();
    let table = columns(&kubectl(&["get", "rtt", "--namespace", &team.namespace]).await);
    assert_eq!(table[0], ["NAME", "CLASS", "CONNECTIONS", "PROGRAMMED", "READY", "REASON", "AGE"]);
    assert_eq!(table[1][..5], ["acme", "0/1000", "3/3", "True", "Ready"]);
    let wide = columns(&kubectl(&["get", "rtt", "-o", "wide", "--namespace", &team.namespace]).await);
    assert_eq!(wide[0], ["NAME", "CLASS", "TENANT", "CONNECTIONS", "PROGRAMMED", "READY", "REASON", "VERSION", "AGE"]);
    assert_eq!(wide[1][1], tenant.id);
    let all = kubectl(&["get", "carillon", "--namespace", &team.namespace]).await;
    assert!(all.contains("acme"), "{all}");
    let explained = kubectl(&["explain", "rtt.spec.quotas.connections.max"]).await;
    assert!(explained.contains("Connections of the tenant. Default: 1000."), "{explained}");
    let explained = kubectl(&["explain", "rtt.spec", "--recursive"]).await;
    for field in ["tenantId", "allowedOrigins", "leewaySeconds", "ratePerSecondPerConnection"] {
        assert!(explained.contains(field), "{explained}");
    }
}
