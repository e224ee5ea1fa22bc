//! `GET /v1/tenants/{tenant}/usage`.

use carillon_server::http_api::{OPENAPI, USAGE_PATH};
use reqwest::Response;
use serde_json::{Value, json};

use crate::{polling::PollingClient, server::TestServer, tenants};

async fn ask(server: &TestServer, tenant: &str, credentials: &str) -> Response {
    server.client.get(server.url(&USAGE_PATH.replace("{tenant}", tenant))).bearer_auth(credentials).send().await.unwrap()
}

fn described(status: &str) -> Value {
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    openapi["paths"][USAGE_PATH]["get"]["responses"][status].clone()
}

#[tokio::test]
async fn tells_what_is_used_with_its_limits() {
    let server = TestServer::start().await;
    let mut first = PollingClient::connect(&server, json!(7)).await;
    let _second = PollingClient::connect(&server, json!(7)).await;
    let _third = PollingClient::connect(&server, json!("u-8")).await;
    first.emit(json!(["rt:join", {"room": "record:7"}])).await;

    let answer = ask(&server, "acme", tenants::ACME_KEY).await;
    assert_eq!(answer.status(), 200);
    let mut usage: Value = answer.json().await.unwrap();
    let example = &described("200")["content"]["application/json"]["example"];
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&usage), names(example));
    let observed_at = usage["observedAt"].take();
    let observed_at = observed_at.as_str().unwrap();
    assert!(observed_at.len() == 20 && observed_at.starts_with("20") && observed_at.ends_with('Z'), "{observed_at}");
    let expected = json!({
        "tenant": "acme", "observedAt": null, "scope": "Pod", "enforcement": "Enforce",
        "connections": {"current": 3, "max": 1000}, "users": {"current": 2}, "rooms": {"current": 1, "max": 1000},
        "messages": {"perSecond": usage["messages"]["perSecond"], "ratePerSecond": 1000},
        "publish": {"perSecond": 0, "ratePerSecond": 200},
        "egress": {"bytesPerSecond": 0, "maxBytesPerSecond": "Unlimited"},
    });
    assert_eq!(usage, expected);
}

#[tokio::test]
async fn any_key_and_any_service_may_ask_and_nobody_else() {
    let server = TestServer::start().await;
    let service = tenants::token(tenants::ACME_SECRET, &tenants::claims("acme", json!({})));
    let person = tenants::token(tenants::ACME_SECRET, &tenants::claims("acme", json!({"role": null})));
    for (tenant, credentials, status, code) in [
        ("acme", tenants::ACME_KEY, 200, None),
        ("acme", tenants::ACME_IDLE_KEY, 200, None),
        ("acme", &service, 200, None),
        ("frozen", tenants::FROZEN_KEY, 200, None),
        ("acme", &person, 403, Some("usage_not_allowed")),
        ("acme", tenants::GLOBEX_KEY, 401, Some("signature_invalid")),
        ("nosuch", tenants::ACME_KEY, 401, Some("signature_invalid")),
    ] {
        let answer = ask(&server, tenant, credentials).await;
        assert_eq!(answer.status(), status, "{tenant}");
        let Some(code) = code else { continue };
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code);
        let problem = &described(&status.to_string())["content"]["application/problem+json"];
        let codes = &problem["schema"]["allOf"][1]["properties"]["code"]["enum"];
        assert!(codes.as_array().unwrap().contains(&json!(code)), "{code} is among {codes}");
    }
}
