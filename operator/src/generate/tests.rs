use carillon_tenant::{
    SecretBytes, TenantMessage,
    generated::{LEDGER_KEY, Role},
};
use serde_json::{Value, json};

use super::{plan::*, *};
use crate::fixtures::id;

const NOW: i64 = 1_000_000;

/// What a key is used for, and until when.
type Use = (Role, Option<i64>);

/// A Secret, and whoever leads.
struct World {
    secret: Option<Stored>,
    want: Want,
    now: i64,
    drawn: u8,
}

impl World {
    fn new(generate: Value) -> Self {
        let generate = serde_json::from_value(generate).unwrap();
        let want = Want { generate: Some(generate), tenant_id: id("acme"), endpoint: Some("https://rt.example".into()), rotation: None };
        Self { secret: None, want, now: NOW, drawn: 0 }
    }

    fn plan(&mut self, announced: bool) -> Plan {
        let drawn = &mut self.drawn;
        plan(self.secret.as_ref(), &self.want, announced, self.now, &mut || {
            *drawn += 1;
            [*drawn; 32]
        })
    }

    /// Does what is to be done, and says what that was.
    fn step(&mut self, announced: bool) -> Option<Made> {
        match self.plan(announced) {
            Plan::Nothing => None,
            Plan::Delete => {
                self.secret = None;
                Some(Made::Other)
            }
            Plan::Write(data, made) => {
                let ledger = Ledger::read(data[LEDGER_KEY].expose()).expect("what is written can be read");
                self.secret = Some(Stored { ledger: Some(ledger), newer: false, data });
                Some(made)
            }
        }
    }

    fn text(&self, key: &str) -> String {
        self.secret
            .as_ref()
            .and_then(|secret| secret.data.get(key))
            .map(|bytes| String::from_utf8(bytes.expose().to_vec()).unwrap())
            .unwrap_or_default()
    }

    fn ledger(&self) -> &Ledger {
        self.secret.as_ref().unwrap().ledger.as_ref().unwrap()
    }

    fn roles(&self) -> (Vec<Use>, Vec<Use>) {
        let ledger = self.ledger();
        let jwt = ledger.jwt.iter().map(|key| (key.role, key.not_after));
        (jwt.collect(), ledger.api.iter().map(|key| (key.role, key.not_after)).collect())
    }

    /// What servers run of it.
    fn message(&self) -> TenantMessage {
        let spec = serde_json::from_value(json!({"auth": {"generate": self.want.generate}})).unwrap();
        let found = carillon_tenant::ResolvedSecrets::default().with_generated(self.ledger().clone().into());
        carillon_tenant::compile::compile("acme", 1, &spec, &Ok(None), &found).unwrap()
    }
}

const fn kept(role: Role) -> Use {
    (role, None)
}

#[test]
fn the_first_keys_are_there_at_once() {
    let mut world = World::new(json!({"jwtKey": {}, "apiKey": {}}));
    world.want.rotation = Some("long ago".to_owned());
    assert_eq!(world.step(false), Some(Made::New));
    assert_eq!(
        (world.text("endpoint"), world.text("tenantId"), world.text("jwtAlgorithm")),
        ("https://rt.example".into(), "acme".into(), "HS256".into())
    );
    assert!(
        world.text("jwtKey").len() >= 32 && world.text("apiKey").starts_with("carillon_") && world.text("jwtKid").starts_with("carillon-")
    );
    assert_eq!(world.step(false), None, "what was asked for before there were keys is no rotation");
    assert_eq!(world.roles(), (vec![kept(Role::Current)], vec![kept(Role::Current)]));
    let message = world.message();
    assert_eq!(message.jwt.keys[0].material.expose(), world.text("jwtKey").as_bytes());
}

#[test]
fn a_rotation_announces_then_replaces_then_forgets_and_every_step_can_be_taken_again() {
    let mut world = World::new(json!({"jwtKey": {"algorithm": "EdDSA"}, "apiKey": {}, "overlapSeconds": 100}));
    world.step(false);
    let before = (world.text("jwtKey"), world.text("jwtKid"), world.text("apiKey"));
    let now = |world: &World| (world.text("jwtKey"), world.text("jwtKid"), world.text("apiKey"));
    world.want.rotation = Some("once".to_owned());
    assert_eq!(world.step(false), Some(Made::Announced));
    assert_eq!(now(&world), before, "apps use what they used");
    assert_eq!(world.roles().0, [kept(Role::Current), kept(Role::Next)]);
    let ledger = world.ledger().clone().without_private();
    let message = world.message();
    assert_eq!((message.jwt.keys.len(), message.api_keys.len()), (2, 2));
    assert!(ledger.is_announced_by(&message.jwt.keys, &message.api_keys));
    assert!(!ledger.is_announced_by(&message.jwt.keys[..1], &message.api_keys));
    // Whoever leads next, and whoever waits, does nothing before every pod runs them.
    world.now += 1_000_000;
    assert_eq!(world.step(false), None);
    world.now = NOW;

    assert_eq!(world.step(true), Some(Made::Rotated));
    let after = now(&world);
    assert!(after.0 != before.0 && after.1 != before.1 && after.2 != before.2);
    let ended = (Role::Old, Some(NOW + 100));
    assert_eq!(world.roles(), (vec![ended, kept(Role::Current)], vec![ended, kept(Role::Current)]));
    assert_eq!(world.message().jwt.keys[0].kid.as_ref(), Some(&after.1));
    assert!(world.ledger().jwt.iter().all(|key| key.signing.is_none()), "what signs stands in one place");
    // A leader who does not know that it was done does it not again.
    assert_eq!((world.step(true), world.step(false)), (None, None));

    world.now = NOW + 99;
    assert_eq!(world.step(false), None);
    world.now = NOW + 100;
    assert_eq!(world.step(false), Some(Made::Other));
    assert_eq!((world.roles(), now(&world)), ((vec![kept(Role::Current)], vec![kept(Role::Current)]), after));
    assert_eq!(world.step(false), None);
}

#[test]
fn who_asks_again_before_the_new_keys_are_used_gets_these_and_too_many_rotations_wait() {
    let mut world = World::new(json!({"jwtKey": {}, "overlapSeconds": 100}));
    world.step(false);
    for value in ["a", "b"] {
        world.want.rotation = Some(value.to_owned());
        assert!(world.step(false).is_some());
    }
    assert_eq!((world.roles().0.len(), world.ledger().rotation.as_deref()), (2, Some("b")));
    for value in ["c", "d", "e", "f"] {
        assert_eq!(world.step(true), Some(Made::Rotated));
        world.want.rotation = Some(value.to_owned());
        world.step(false);
    }
    assert_eq!((world.roles().0.len(), world.ledger().rotation.as_deref()), (5, Some("e")), "the last one waits");
    world.now += 100;
    assert_eq!(world.step(false), Some(Made::Announced));
    assert_eq!((world.roles().0.len(), world.ledger().rotation.as_deref()), (2, Some("f")));
    // Without the annotation nothing more happens.
    world.step(true);
    world.want.rotation = None;
    assert_eq!(world.step(false), None);
}

#[test]
fn what_is_asked_for_changes() {
    let mut world = World::new(json!({"jwtKey": {}}));
    world.step(false);
    assert_eq!(world.text("apiKey"), "");
    world.want.generate = serde_json::from_value(json!({"jwtKey": {"algorithm": "ES256"}, "apiKey": {}, "overlapSeconds": 10})).unwrap();
    assert_eq!(world.step(false), Some(Made::Announced), "another algorithm is a rotation, another key is there at once");
    assert!(world.text("apiKey").starts_with("carillon_") && world.text("jwtAlgorithm") == "HS256");
    world.want.generate.as_mut().unwrap().jwt_key.as_mut().unwrap().algorithm = carillon_crds::GeneratedAlgorithm::EdDSA;
    assert_eq!(world.step(false), Some(Made::Announced), "one that was never used is replaced");
    assert_eq!(world.roles().0.len(), 2);
    assert_eq!(world.step(true), Some(Made::Rotated));
    assert!(world.text("jwtAlgorithm") == "EdDSA" && world.text("jwtKey").starts_with("-----BEGIN PRIVATE KEY-----"));

    world.want.endpoint = Some("https://other.example".into());
    let key = world.text("jwtKey");
    assert_eq!((world.step(false), world.text("endpoint"), world.text("jwtKey")), (Some(Made::Other), "https://other.example".into(), key));
    world.want.generate.as_mut().unwrap().jwt_key = None;
    assert_eq!((world.step(false), world.text("jwtKey"), world.text("jwtKid")), (Some(Made::Other), String::new(), String::new()));
    assert!(!world.text("apiKey").is_empty());
    world.want.generate = None;
    assert_eq!((world.step(false), world.step(false)), (Some(Made::Other), None));
    assert_eq!(world.secret, None);
}

#[test]
fn what_is_damaged_is_made_anew_and_nothing_else_is() {
    let all = json!({"jwtKey": {}, "apiKey": {}});
    let spoil = |world: &mut World, key: &str, value: Option<&str>| {
        let secret = world.secret.as_mut().unwrap();
        match value {
            Some(value) => _ = secret.data.insert(key.to_owned(), SecretBytes::from(value.as_bytes().to_vec())),
            None => _ = secret.data.remove(key),
        }
        secret.ledger = secret.data.get(LEDGER_KEY).and_then(|bytes| Ledger::read(bytes.expose()).ok());
    };
    // What is spoilt, with what; what that is, and which keys stay.
    let cases = [
        (LEDGER_KEY, Some("{}"), Made::Anew, false, false),
        (LEDGER_KEY, None, Made::Anew, false, false),
        ("jwtKey", Some("another-secret-of-more-than-thirty-two-bytes"), Made::Anew, false, true),
        ("apiKey", None, Made::Anew, true, false),
        ("jwtKid", Some("another"), Made::Other, true, true),
        ("endpoint", None, Made::Other, true, true),
    ];
    for (key, value, made, jwt_stays, api_stays) in cases {
        let mut world = World::new(all.clone());
        world.step(false);
        let before = (world.text("jwtKey"), world.text("apiKey"));
        spoil(&mut world, key, value);
        spoil(&mut world, "mine", Some("stays"));
        assert_eq!(world.step(false), Some(made), "{key}");
        assert_eq!((world.text("jwtKey") == before.0, world.text("apiKey") == before.1), (jwt_stays, api_stays), "{key}");
        assert_eq!((world.text("mine").as_str(), world.step(false)), ("stays", None), "{key}");
    }
}

#[test]
fn what_a_newer_operator_wrote_is_left_alone() {
    let mut world = World::new(json!({"jwtKey": {}}));
    world.step(false);
    let secret = world.secret.as_mut().unwrap();
    (secret.ledger, secret.newer) = (None, true);
    world.want.endpoint = None;
    assert_eq!(world.step(true), None);
}

#[test]
fn the_secret_of_another_object_is_nobodys_business() {
    let world = World::new(json!({"jwtKey": {}}));
    let secret = |uid: &str| {
        serde_json::from_value::<Secret>(json!({"metadata": {"name": "acme-carillon", "ownerReferences": [
            {"apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "name": "acme", "uid": uid},
        ]}}))
        .unwrap()
    };
    let seen = |secret: Option<&Secret>| {
        let seen = Seen::of(secret, "mine", &world.want, true, Timestamp::UNIX_EPOCH);
        (seen.keys.found, seen.due)
    };
    assert_eq!(seen(None), (Generated::Missing, true));
    assert_eq!(seen(Some(&secret("mine"))), (Generated::Missing, true));
    assert_eq!(seen(Some(&secret("another"))), (Generated::NotOwned, false));
}

#[test]
fn each_fleet_has_its_own_endpoint() {
    let public_urls = ["default=https://rt.example.com/", "noisy=http://noisy:8080"].map(|text| text.parse().unwrap()).into();
    let arguments = GenerateArgs { enabled: true, public_urls };
    let endpoint = |name: &str| arguments.endpoint(&FleetName::new(name).unwrap()).map(|url| url.to_string());
    assert_eq!(endpoint("default").as_deref(), Some("https://rt.example.com"));
    assert_eq!(endpoint("noisy").as_deref(), Some("http://noisy:8080"));
    assert_eq!(endpoint("quiet"), None, "no address is better than another fleet's");
    for text in [
        "",
        "https://rt.example.com",
        "default=rt.example.com",
        "default=https://",
        "default=ftp://x",
        "Default=https://a",
        "default=https://a b",
    ] {
        assert!(text.parse::<PublicUrl>().is_err(), "{text}");
    }
}
