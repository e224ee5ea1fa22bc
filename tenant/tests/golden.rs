//! The wire format, held against files: what an operator of one version says, servers of another must read.
//! `make generate` writes them anew.

use std::path::PathBuf;

use carillon_crds::{Limit, OnExpiry, RealtimeTenantSpec};
use carillon_tenant::{
    CertificateFingerprint, Code, ConfigVersion, FleetName, Permission, Position, Rejection, RejectionCode, ResolvedSecrets, SecretBytes,
    TenantId, TenantMessage,
    compile::compile,
    protocol::{Greeting, Versions},
    push::{
        Answer, Applied, CertificatesInForce, Conflict, ConflictCode, Delta, Elsewhere, FleetSettings, FleetUsage, PROTOCOL_VERSION,
        PushError, Rejected, Snapshot, State, TenantUsage, UsageReport, digest,
    },
    report::{CellReport, CellState, FleetReport, PodReport, PodState, REPORT_VERSION, TenantReport},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "{name} has changed: a server of the version before has to read it; `make generate` writes it anew");
    assert_eq!(&serde_json::from_str::<T>(&written).unwrap(), value);
}

fn spec() -> RealtimeTenantSpec {
    serde_json::from_value(json!({
        "tenantId": "acme",
        "auth": {
            "jwt": {
                "keys": [
                    {"kid": "2026-11", "algorithm": "HS256", "secretKeyRef": {"name": "jwt", "key": "current"}, "notAfter": "2027-01-01T00:00:00Z"},
                    {"algorithm": "HS512", "secretKeyRef": {"name": "jwt", "key": "next"}},
                ],
                "issuer": "https://id.acme.example",
                "audiences": ["realtime"],
                "maxLifetimeSeconds": 3600,
                "claims": {"tenant": "org"},
                "onExpiry": "Keep",
            },
            "revocation": {"tokensNotBefore": "2026-11-01T00:00:00Z", "users": ["7", "ada"], "tokenIds": ["0f8e"]},
            "apiKeys": [{"name": "backend", "secretKeyRef": {"name": "api", "key": "key"}, "permissions": ["Publish"]}],
        },
        "allowedOrigins": ["https://app.acme.example", "https://*.acme.example:8443"],
        "quotas": {"connections": {"max": "Unlimited", "maxPerUser": 3}, "messages": {"maxBytes": 1024}, "egress": {"bytesPerSecond": 2_000_000_000}, "enforcement": "DryRun"},
    }))
    .unwrap()
}

fn message() -> TenantMessage {
    let spec = spec();
    let secrets = ResolvedSecrets::resolve(&spec, |reference| {
        Ok(SecretBytes::from(
            format!("{}/{} is sixty-four bytes long, and is no secret that anybody would keep", reference.name, reference.key).into_bytes(),
        )
        .map_spaces())
    });
    compile("acme", 7, &spec, &Ok(None), &secrets).unwrap()
}

trait MapSpaces {
    fn map_spaces(self) -> Self;
}

impl MapSpaces for SecretBytes {
    fn map_spaces(self) -> Self {
        self.expose().iter().map(|byte| if *byte == b' ' { b'_' } else { *byte }).collect::<Vec<u8>>().into()
    }
}

/// What the operator tells people's `carillon`, which may be of another version.
#[test]
fn the_report_of_a_fleet() {
    let id = |text| TenantId::new(text).unwrap();
    let pod = |name: &str, state, error: Option<&str>| PodReport {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        fleet: if name == "server-c" { FleetName::new("noisy").unwrap() } else { FleetName::default() },
        ready: true,
        state,
        error: error.map(str::to_owned),
        error_seconds: error.map(|_| 60),
        heard_seconds: Some(4),
        boot_id: Some("00c0ffee".to_owned()),
    };
    let version = message().config_version;
    let cell = |pod, state, version: Option<&ConfigVersion>, error: Option<&str>| CellReport {
        pod,
        state,
        version: version.cloned(),
        seconds: version.map(|_| 3600),
        error: error.map(str::to_owned),
    };
    let cells = vec![
        cell(0, CellState::Synced, Some(&version), None),
        cell(1, CellState::Stale, Some(&version), Some("can't be reached")),
        cell(2, CellState::Never, None, None),
        cell(3, CellState::Rejected, None, Some("spec.quotas: too much")),
    ];
    let report = FleetReport {
        report_version: REPORT_VERSION,
        replica: "carillon-operator-0".to_owned(),
        leads: true,
        position: Some(Position::new(3, 41)),
        pods: vec![
            pod("server-0", PodState::Ok, None),
            pod("server-1", PodState::Troubled, Some("can't be reached")),
            pod("server-2", PodState::New, None),
            pod("server-3", PodState::Ok, None),
        ],
        tenants: vec![
            TenantReport {
                tenant_id: id("acme"),
                version: Some(version.clone()),
                fleet: FleetName::default(),
                moving_from: vec![FleetName::new("noisy").unwrap()],
                synced: 1,
                cells,
            },
            TenantReport {
                tenant_id: id("kept"),
                version: None,
                fleet: FleetName::default(),
                moving_from: Vec::new(),
                synced: 4,
                cells: Vec::new(),
            },
        ],
        next: Some(id("kept")),
    };
    golden("fleet-report.json", &report);
}

#[test]
fn pushes_and_answers() {
    let message = message();
    assert_eq!(message.quotas.connections_max, Limit::Unlimited);
    assert_eq!(message.api_keys[0].permissions, [Permission::Publish]);
    let settings = FleetSettings { session_key: SecretBytes::from(vec![7; 32]) };
    let applied = Applied { tenant_id: message.tenant_id.clone(), config_version: message.config_version.clone() };
    let digest = digest([(&applied.tenant_id, &applied.config_version)]);
    golden("tenant.json", &message);
    let position = Position::new(3, 41);
    let kept = TenantId::new("globex").unwrap();
    let elsewhere = Elsewhere::from([("org".to_owned(), vec![TenantId::new("initech").unwrap()])]);
    golden(
        "snapshot.json",
        &Snapshot {
            protocol_version: PROTOCOL_VERSION,
            position,
            fleet: settings.clone(),
            tenants: vec![message.clone()],
            keep: vec![kept.clone()],
            elsewhere: elsewhere.clone(),
        },
    );
    golden(
        "delta.json",
        &Delta {
            protocol_version: PROTOCOL_VERSION,
            position,
            base_digest: digest.clone(),
            upserts: vec![message.clone()],
            removals: vec![kept.clone()],
            moved: vec![kept],
            elsewhere,
        },
    );
    let state = State {
        protocol_version: Versions::SPOKEN.minimum,
        protocol_versions: Some(Versions::SPOKEN),
        boot_id: "00c0ffee".into(),
        programmed: true,
        position,
        fleet_digest: Some(settings.digest()),
        digest: digest.clone(),
        applied: vec![applied.clone()],
        certificates: Some(CertificatesInForce {
            serving: CertificateFingerprint::of(b"serving"),
            authorities: vec![CertificateFingerprint::of(b"new"), CertificateFingerprint::of(b"old")],
        }),
    };
    golden("state.json", &state);
    golden("conflict.json", &Conflict { code: ConflictCode::StaleEpoch, state });
    let rejected = Rejected {
        tenant_id: TenantId::new("initech").unwrap(),
        config_version: message.config_version.clone(),
        code: RejectionCode::SecretInvalid,
        field: "spec.auth.jwt.keys[0]".into(),
        message: "is empty".into(),
    };
    golden("answer.json", &Answer { boot_id: "00c0ffee".into(), digest, applied: vec![applied], rejected: vec![rejected] });
    let usage = TenantUsage {
        tenant_id: TenantId::new("acme").unwrap(),
        connections: 3,
        users: 2,
        rooms: 1,
        messages_per_second: 40,
        fleet: Some(FleetUsage { connections: 12, users: 7, rooms: 2, messages_per_second: 90 }),
        limited: vec![Code::ConnectionsMax, Code::MessagesRate],
        unknown_kids: vec!["2026-12".into()],
    };
    golden("usage.json", &UsageReport { boot_id: "00c0ffee".into(), tenants: vec![usage] });
    golden(
        "push-error.json",
        &PushError { code: "malformed".into(), message: "position is not what the protocol says, at line 1 column 40".into() },
    );
}

/// `golden/v<version>` keeps what a version that is still spoken said when it was the latest: a copy of `golden` at its last release.
#[test]
fn what_older_versions_said_is_read() {
    fn read<T: Serialize + DeserializeOwned>(version: u32, name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}/{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str::<T>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    for version in (1..PROTOCOL_VERSION).filter(|version| Versions::SPOKEN.contains(*version)) {
        read::<TenantMessage>(version, "tenant");
        read::<Snapshot>(version, "snapshot");
        read::<Delta>(version, "delta");
        read::<State>(version, "state");
        read::<Answer>(version, "answer");
        read::<Conflict>(version, "conflict");
        read::<UsageReport>(version, "usage");
        read::<PushError>(version, "push-error");
    }
}

/// Before servers told a range, they told one version.
#[test]
fn a_state_without_a_range_is_read() {
    let text = include_str!("../golden/older/state.json");
    let state: State = serde_json::from_str(text).unwrap();
    assert_eq!((state.protocol_version, state.protocol_versions), (1, None));
    let greeting: Greeting = serde_json::from_str(text).unwrap();
    assert_eq!(Versions::SPOKEN.common(greeting.versions()), Some(1));
}

#[test]
fn no_debug_output_holds_a_secret() {
    let text = format!("{:?} {:?}", message(), carillon_tenant::TenantConfig::try_from(message()).unwrap());
    assert!(!text.contains("sixty-four"), "{text}");
    assert!(text.contains("[redacted]"));
}

#[test]
fn the_version_moves_with_everything_that_is_compiled() {
    let base = message().config_version;
    assert_eq!(message().config_version, base, "the same input gives the same version");
    let with = |generation: i64, change: &dyn Fn(&mut RealtimeTenantSpec), secret: &str| {
        let mut spec = spec();
        change(&mut spec);
        let secrets = ResolvedSecrets::resolve(&spec, |reference| {
            Ok(SecretBytes::from(format!("{}{}{secret:_<64}", reference.name, reference.key).into_bytes()))
        });
        compile("acme", generation, &spec, &Ok(None), &secrets).unwrap().config_version
    };
    let versions = [
        base,
        with(7, &|_| {}, "a"),
        with(7, &|_| {}, "b"),
        with(8, &|_| {}, "a"),
        with(7, &|spec| spec.suspended = true, "a"),
        with(7, &|spec| spec.quotas.connections.max = Some(Limit::Max(5)), "a"),
        with(7, &|spec| spec.allowed_origins = None, "a"),
        with(7, &|spec| spec.auth.jwt.on_expiry = Some(OnExpiry::Disconnect), "a"),
        with(7, &|spec| spec.auth.revocation.users = vec!["7".to_owned()], "a"),
        with(7, &|spec| spec.auth.revocation.token_ids.clear(), "a"),
        with(7, &|spec| spec.auth.revocation.tokens_not_before = None, "a"),
    ];
    let unique: std::collections::BTreeSet<_> = versions.iter().collect();
    assert_eq!(unique.len(), versions.len(), "{versions:?}");
}

#[test]
fn says_everything_that_is_wrong_at_once() {
    let rsa_private = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    type Expected = &'static [(RejectionCode, &'static str, &'static str)];
    let table: [(serde_json::Value, &str, Expected); 8] = [
        (json!({}), "", &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "is empty")]),
        (
            json!({}),
            "short",
            &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "is 5 bytes long; HS256 needs at least 32")],
        ),
        (
            json!({"algorithm": "RS256"}),
            "not a key, but long enough to be a secret",
            &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "is neither a PEM public key nor a JWK")],
        ),
        (
            json!({"algorithm": "RS256"}),
            rsa_private,
            &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "holds a private key")],
        ),
        (
            json!({"algorithm": "ES256"}),
            RSA_PUBLIC,
            &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "it needs an elliptic-curve public key on P-256")],
        ),
        (
            json!({"algorithm": "HS256"}),
            RSA_PUBLIC,
            &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "it needs a random secret")],
        ),
        (
            json!({"algorithm": "RS256"}),
            "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
            &[(RejectionCode::SecretInvalid, "spec.auth.jwt.keys[0].secretKeyRef", "it needs an RSA public key")],
        ),
        (
            json!({"secretKeyRef": {"name": "gone", "key": "x"}}),
            "irrelevant",
            &[(RejectionCode::SecretNotFound, "spec.auth.jwt.keys[0].secretKeyRef", "Secret \"gone\" does not exist")],
        ),
    ];
    for (key, secret, expected) in table {
        let mut key_spec = json!({"algorithm": "HS256", "secretKeyRef": {"name": "jwt", "key": "k"}});
        key_spec.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        let spec: RealtimeTenantSpec = serde_json::from_value(json!({"auth": {"jwt": {"keys": [key_spec]}}})).unwrap();
        let secrets = ResolvedSecrets::resolve(&spec, |reference| {
            if reference.name == "gone" {
                Err(carillon_tenant::SecretError::SecretNotFound)
            } else {
                Ok(SecretBytes::from(secret.as_bytes().to_vec()))
            }
        });
        let rejections = compile("acme", 1, &spec, &Ok(None), &secrets).unwrap_err();
        assert_eq!(rejections.len(), expected.len(), "{rejections:?}");
        for (Rejection { code, field, message }, expected) in rejections.iter().zip(expected) {
            assert_eq!((*code, field.as_str()), (expected.0, expected.1), "{message}");
            assert!(message.contains(expected.2), "{message:?} lacks {:?}", expected.2);
            assert!(secret.is_empty() || !message.contains(secret), "a message must not hold a Secret's bytes");
        }
    }
    let spec: RealtimeTenantSpec = serde_json::from_value(json!({
        "tenantId": "no spaces",
        "auth": {"jwt": {"keys": [], "leewaySeconds": 301, "claims": {"tenant": ""}}},
        "allowedOrigins": ["app.acme.example"],
        "quotas": {"rooms": {"maxPerConnection": 0}, "messages": {"maxBytes": 1}},
    }))
    .unwrap();
    let rejections = compile("acme", 1, &spec, &Ok(None), &ResolvedSecrets::default()).unwrap_err();
    let fields: Vec<_> = rejections.iter().map(|rejection| rejection.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.tenantId",
            "spec.auth.jwt.keys",
            "spec.auth.jwt.leewaySeconds",
            "spec.auth.jwt.claims.tenant",
            "spec.allowedOrigins[0]",
            "spec.quotas.rooms.maxPerConnection",
            "spec.quotas.messages.maxBytes",
        ]
    );
}

const RSA_PUBLIC: &str = include_str!("rsa-public.pem");
