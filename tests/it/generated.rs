//! Tenants whose keys are made for them, on a machine without a cluster.

use carillon_tests::{
    command::{Dev, run},
    folder::Folder,
    http, node,
};
use hyper::StatusCode;
use serde_json::json;

async fn printed(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("tokens and keys are text").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_and_token_have_the_same_keys_for_a_tenant_that_has_none() {
    let folder = Folder::new("generated");
    let algorithms = ["HS256", "ES256", "EdDSA"];
    for algorithm in algorithms {
        let name = algorithm.to_lowercase();
        let tenant = format!(
            "apiVersion: carillon.dev/v1alpha1\nkind: RealtimeTenant\nmetadata: {{name: {name}}}\nspec:\n  auth:\n    generate: \
             {{jwtKey: {{algorithm: {algorithm}}}, apiKey: {{}}}}\n"
        );
        std::fs::write(folder.path().join(format!("{name}.yaml")), tenant).expect("the folder takes files");
    }
    let path = folder.path().to_str().expect("paths of tests are text");
    let dev = Dev::start(&["--tenants", path]).await;
    let address = dev.url.trim_start_matches("http://").parse().expect("it says its address");
    let node = node::start().await;
    let mut keys = Vec::new();
    for algorithm in algorithms {
        let name = algorithm.to_lowercase();
        let tenant = ["--tenants", path, "--tenant", &name];
        let token = printed(&[&["token"], &tenant[..], &["--user", "7"]].concat()).await;
        let mut socket = node.open(&dev.url, Some(&token), &json!({}));
        socket.expect("connect").await;
        let key = printed(&[&["token"], &tenant[..], &["--api-key"]].concat()).await;
        let answer = http::notify(address, &name, &key, &json!({"event": "record:created", "data": {"id": 1}})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(socket.expect("record:created").await, json!({"id": 1}));
        assert!(!dev.welcome.contains(&key), "it is not shown");
        keys.push(key);
    }
    // Nobody has another's key.
    let answer = http::notify(address, "hs256", &keys[1], &json!({"event": "record:created"})).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    dev.stop().await;
}
