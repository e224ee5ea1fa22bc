//! The `carillon` binary on a machine without a cluster.

use std::fs;

use carillon_tests::{
    command::{Dev, binary, run},
    driver::Driver,
    file,
    folder::Folder,
    node,
};
use serde_json::{Value, json};
use tokio::process::Command;

async fn token(arguments: &[&str]) -> String {
    let output = run(&[&["token"], arguments].concat()).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The example tenants, in a folder of their own.
struct Examples(Folder);

impl Examples {
    fn copied() -> Self {
        let folder = Folder::new("examples");
        for example in ["acme.yaml", "globex.yaml", "standard.yaml"] {
            fs::copy(file("../crds/examples").join(example), folder.path().join(example)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let file = self.0.path().join(name);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_serves_the_examples_to_a_client_with_a_token_of_its_own() {
    let dev = Dev::start(&[]).await;
    let node = node::start().await;
    let mut seven = node.open(&dev.url, Some(&token(&["--tenant", "acme", "--user", "7", "--user-number"]).await), &json!({}));
    let mut ada = node.open(&dev.url, Some(&token(&["--tenant", "acme", "--user", "ada"]).await), &json!({}));
    seven.expect("connect").await;
    ada.expect("connect").await;
    seven.emit("user:online", &json!({}));
    assert_eq!(ada.expect("user:status").await, json!({"user_id": 7, "status": "online"}));
    // The example that it prints, run as it stands.
    let begin = dev.welcome.find("curl").expect("an example of publishing");
    let example = dev.welcome[begin..].split("\n\n").next().unwrap();
    let output = Command::new("sh").args(["-c", example]).output().await.expect("curl is installed");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?} of {example}"));
    assert_eq!(answer["published"], 1);
    for socket in [&mut seven, &mut ada] {
        assert_eq!(socket.expect("record:created").await, json!({"id": 1}));
    }
    dev.stop().await;
    seven.expect("disconnect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_file_takes_effect_without_dropping_anyone_else() {
    let folder = Examples::copied();
    let dev = Dev::start(&["--tenants", folder.path()]).await;
    let node: Driver = node::start().await;
    let tenants = ["--tenants", folder.path()];
    let acme = token(&[&tenants[..], &["--tenant", "acme", "--user", "7"]].concat()).await;
    let globex = token(&[&tenants[..], &["--tenant", "globex", "--user", "7"]].concat()).await;
    let mut ours = node.open(&dev.url, Some(&acme), &json!({}));
    let mut others = node.open(&dev.url, Some(&globex), &json!({}));
    ours.expect("connect").await;
    others.expect("connect").await;

    folder.edit("acme.yaml", "maxPerUser: 20", "maxPerUser: 1");
    carillon_tests::eventually::within_deadline("the new limit is in force", async {
        loop {
            let mut second = node.open(&dev.url, Some(&acme), &json!({"transports": ["websocket"], "reconnection": false}));
            let refused = tokio::select! {
                _ = second.heard_of("connect") => None,
                error = async { second.heard_of("connect_error").await } => Some(error),
            };
            if refused.is_some() {
                assert_eq!(second.expect("connect_error").await, "Quota exceeded: connections_per_user_max");
                return;
            }
            second.tell("disconnect");
        }
    })
    .await;
    folder.edit("acme.yaml", "tenantId: acme", "tenantId: acme\n  suspended: true");
    assert_eq!(ours.expect("disconnect").await, "io server disconnect");
    // A file that is broken changes nothing.
    folder.edit("globex.yaml", "spec:", "spec: [");
    folder.edit("acme.yaml", "suspended: true", "suspended: false");
    carillon_tests::eventually::within_deadline("the tenant is back", async {
        loop {
            let mut again = node.open(&dev.url, Some(&acme), &json!({"transports": ["websocket"], "reconnection": false}));
            tokio::select! {
                _ = again.heard_of("connect") => return,
                _ = again.heard_of("connect_error") => {}
            }
            again.expect("connect_error").await;
        }
    })
    .await;
    others.call("rt:join", &json!({"room": "a"})).await;
    assert_eq!((others.count("connect"), others.count("disconnect")), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_in_a_file_closes_whom_it_hits() {
    let folder = Examples::copied();
    let dev = Dev::start(&["--tenants", folder.path()]).await;
    let node: Driver = node::start().await;
    let of = |user: &'static str| ["--tenants", folder.path(), "--tenant", "acme", "--user", user];
    let mut ada = node.open(&dev.url, Some(&token(&of("ada")).await), &json!({}));
    let mut bob = node.open(&dev.url, Some(&token(&of("bob")).await), &json!({}));
    ada.expect("connect").await;
    bob.expect("connect").await;
    folder.edit("acme.yaml", "  auth:\n", "  auth:\n    revocation: {users: [ada]}\n");
    assert_eq!(ada.expect("disconnect").await, "io server disconnect");
    assert_eq!(bob.call("rt:refresh", &json!({"token": token(&of("bob")).await})).await["ok"], true);
    assert_eq!(bob.count("disconnect"), 0);
    let refused = run(&[&["token"], &of("ada")[..]].concat()).await;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("token_revoked"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_says_what_status_would_say() {
    let folder = Examples::copied();
    let good = run(&["validate", "--strict", folder.path()]).await;
    assert!(good.status.success(), "{good:?}");
    folder.edit("acme.yaml", "{name: acme-jwt, key: current}", "{name: acme-jwt, key: gone}");
    folder.edit("globex.yaml", "algorithm: HS256", "algorithm: HS257");
    folder.edit("standard.yaml", "connections: {max: 2000,", "connections: {max: 100,");
    let bad = run(&["validate", "--strict", folder.path()]).await;
    let text = String::from_utf8_lossy(&bad.stdout);
    assert!(!bad.status.success());
    for needed in [
        "standard.yaml",
        "spec.defaults.quotas.connections.max: 200 is more than this class's own ceiling, 100",
        "acme.yaml",
        "spec.auth.jwt.keys[0].secretKeyRef",
        "acme-jwt",
        "gone",
        "globex.yaml",
        "HS257",
    ] {
        assert!(text.contains(needed), "{needed:?} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_works_in_a_browser() {
    node::install().await;
    let dev = Dev::start(&[]).await;
    let screenshot = binary().await.parent().unwrap().parent().unwrap().join("playground.png");
    let mut command = Command::new("node");
    command.arg(file("node/playground.js")).args([dev.url.as_str(), "/usr/bin/chromium"]).arg(&screenshot).kill_on_drop(true);
    let output = command.output().await.expect("node is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["events"].as_array().unwrap().len(), 2, "{seen}");
    assert_ne!(seen["before"], seen["after"], "the dashboard's numbers move");
    assert!(seen["people"].as_str().unwrap().contains("ada"), "{seen}");
    assert!(fs::metadata(&screenshot).unwrap().len() > 10_000);
}
