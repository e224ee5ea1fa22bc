//! What is published over HTTP arrives as it was sent, where it was sent to.

use serde_json::{Value, json};

use crate::{polling::PollingClient, server::TestServer, tenants};

async fn publish(server: &TestServer, body: impl Into<reqwest::Body>) -> Value {
    let request = server.client.post(server.url("/v1/tenants/acme/events")).bearer_auth(tenants::ACME_KEY);
    let answer = request.header("Content-Type", "application/json; charset=utf-8").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["Content-Type"], "application/json");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn data_arrives_as_the_text_it_was() {
    let server = TestServer::start().await;
    let mut client = PollingClient::connect(&server, json!(7)).await;
    let long = "9".repeat(300);
    let texts = ["1.00", "1e400", &long, r#"{"b":1,"a":2,"b":3}"#, r#""\u00e4 ä""#, "[ 1 ,\t2 ]", "null", "-0"];
    for data in texts {
        publish(&server, format!(r#" {{ "event" : "e" , "data" : {data} }} "#)).await;
        assert_eq!(client.event().await, format!(r#"["e",{data}]"#));
    }
    publish(&server, r#"{"event":"é\n".trim()"#.replace(r#"\n".trim()"#, r#"\u0301 x"}"#)).await;
    assert_eq!(client.event().await, "[\"é\u{301} x\",null]");
}

#[tokio::test]
async fn events_reach_whom_they_are_for() {
    let server = TestServer::start().await;
    let mut number = PollingClient::connect(&server, json!(7)).await;
    let mut text = PollingClient::connect(&server, json!("u-8")).await;
    assert_eq!(number.emit(json!(["rt:join", {"room": "record:7"}])).await, r#"431[{"ok":true,"room":"record:7"}]"#);

    let answer = publish(
        &server,
        json!([
            {"event": "to-room", "room": "record:7"},
            {"event": "to-users", "users": ["7", 7, "u-9"]},
            {"event": "to-other", "users": ["u-8"], "room": null},
            {"event": "to-tenant-room", "room": "tenant:acme"},
            {"event": "to-tenant", "users": null},
        ])
        .to_string(),
    )
    .await;

    assert_eq!(answer["published"], 5);
    let ids: Vec<&str> = answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?} sort by time");
    for expected in ["to-room", "to-users", "to-tenant-room", "to-tenant"] {
        assert_eq!(number.event().await, format!(r#"["{expected}",null]"#));
    }
    for expected in ["to-other", "to-tenant-room", "to-tenant"] {
        assert_eq!(text.event().await, format!(r#"["{expected}",null]"#));
    }
}

#[tokio::test]
async fn a_service_may_publish_with_its_token_to_its_tenant() {
    let server = TestServer::start().await;
    for (tenant, token) in [
        ("acme", tenants::token(tenants::ACME_SECRET, &tenants::claims("acme", json!({})))),
        ("twin", tenants::token(tenants::ACME_SECRET, &tenants::claims("twin", json!({"sub": null, "id": 1})))),
    ] {
        let request =
            server.client.post(server.url(&format!("/v1/tenants/{tenant}/events"))).header("Authorization", format!("bEaReR   {token}"));
        let answer = request.json(&json!({"event": "e"})).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{tenant}");
    }
    let metrics = server.core().metrics.encode();
    assert!(metrics.contains("carillon_api_requests_total 2\n"), "{metrics}");
}
