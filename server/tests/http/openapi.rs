//! The description of the HTTP API says what the code does.

use std::collections::{BTreeMap, BTreeSet};

use carillon_server::http_api::{EVENTS_PATH, OPENAPI, OPENAPI_PATH, USAGE_PATH};
use serde_json::{Value, json};

use crate::server::TestServer;

/// What the description says a publish request may be answered with: codes by status.
pub fn described_problems() -> BTreeMap<u64, BTreeSet<String>> {
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    let responses = openapi["paths"][EVENTS_PATH]["post"]["responses"].as_object().unwrap();
    let problems = responses.iter().filter(|(status, _)| *status != "202").map(|(status, response)| {
        let schema = &response["content"]["application/problem+json"]["schema"]["allOf"];
        assert_eq!(schema[0], json!({"$ref": "#/components/schemas/Problem"}));
        let codes = schema[1]["properties"]["code"]["enum"].as_array().unwrap();
        (status.parse().unwrap(), codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
    });
    problems.collect()
}

#[tokio::test]
async fn is_served_as_it_stands_in_the_repository() {
    let server = TestServer::unprogrammed().await;
    let answer = server.client.get(server.url(OPENAPI_PATH)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["Content-Type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), OPENAPI);
}

#[test]
fn names_every_path_and_limit() {
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(openapi["openapi"], "3.1.0");
    assert_eq!(openapi["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths: BTreeSet<&str> = openapi["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(paths, BTreeSet::from([EVENTS_PATH, OPENAPI_PATH, USAGE_PATH]));
    for response in openapi["paths"][EVENTS_PATH]["post"]["responses"].as_object().unwrap().values() {
        let problem = &response["content"]["application/problem+json"];
        let codes = problem["schema"]["allOf"][1]["properties"]["code"]["enum"].as_array();
        assert!(codes.is_none_or(|codes| codes.contains(&problem["example"]["code"])), "the example {problem} shows one of its codes");
    }
}
