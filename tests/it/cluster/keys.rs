//! Keys that change while clients come and go, and secrets that are told nowhere.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tests::{
    client::Client,
    cluster::{NAMESPACE, Pod, Release, Team, clients_on_each, eventually, kubectl, refused_by_each, try_publish},
    tenants::secret_of,
    tokens::{claims, signed, signed_by},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{SOON, all_hear};

/// The time between two clients that come under load.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients that come to one pod after the other, and go again, until this is awaited.
struct Load {
    token: watch::Sender<String>,
    counts: watch::Receiver<(usize, Vec<String>)>,
    task: JoinHandle<()>,
}

impl Load {
    fn on(pods: &[Pod], token: String) -> Self {
        let (token, tokens) = watch::channel(token);
        let (sender, counts) = watch::channel((0, Vec::new()));
        let pods = pods.to_vec();
        let task = tokio::spawn(async move {
            for pod in pods.iter().cycle() {
                let token = tokens.borrow().clone();
                let came = Client::try_connect(pod.http(), &token).await;
                sender.send_modify(|(connects, refusals)| match came {
                    Ok(_) => *connects += 1,
                    Err(refusal) => refusals.push(refusal),
                });
                sleep(PAUSE).await;
            }
        });
        Self { token, counts, task }
    }

    /// Awaits that many more came in than until now.
    async fn goes_on(&self, more: usize) {
        let before = self.counts.borrow().0;
        eventually(SOON * 4, "clients come in", async || {
            let now = self.counts.borrow().0;
            if now >= before + more { Ok(()) } else { Err(now - before) }
        })
        .await;
    }

    /// Nobody was refused.
    fn was_served(self) {
        self.task.abort();
        assert_eq!(self.counts.borrow().1, Vec::<String>::new());
    }
}

/// How many connections were ended for good on all of `pods`, by that code.
async fn ended(pods: &[Pod], tenant: &str, code: &str) -> f64 {
    let mut sum = 0.0;
    for pod in pods {
        sum += pod.metric(&format!(r#"carillon_connections_ended_total{{tenant="{tenant}",code="{code}"}}"#)).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn keys_and_users_go_under_load_and_are_gone_everywhere_when_the_status_says_so() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let token = |kid: &str, key: &str, user: u64| signed_by(kid, &claims(&tenant.id, user), secret_of(&tenant.id, key).as_bytes());
    let keys = |keys: &[(&str, &str)]| {
        let keys: Vec<_> = keys.iter().map(|(kid, key)| tenant.key(Some(kid), key)).collect();
        json!({"auth": {"jwt": {"keys": keys}}})
    };
    let (october, november) = (("2026-10", "first"), ("2026-11", "second"));

    team.change(&tenant, &keys(&[october])).await;
    let load = Load::on(&pods, token("2026-10", "first", 100));
    let mut by_october = clients_on_each(&pods, &token("2026-10", "first", 1)).await;
    load.goes_on(20).await;
    team.change(&tenant, &keys(&[october, november])).await;
    load.goes_on(20).await;
    load.token.send_replace(token("2026-11", "second", 100));
    let mut ada = clients_on_each(&pods, &token("2026-11", "second", 2)).await;
    let mut bob = clients_on_each(&pods, &token("2026-11", "second", 3)).await;
    load.goes_on(20).await;
    assert_eq!(ended(&pods, &tenant.id, "key_unknown").await, 0.0);

    team.change(&tenant, &keys(&[november])).await;
    // Whoever was about to be let in by the old key when it went may have been closed, too.
    assert!(ended(&pods, &tenant.id, "key_unknown").await >= 3.0, "gone before the status says that this is in force");
    for client in &mut by_october {
        client.ends_within(SOON).await;
    }
    refused_by_each(&pods, &token("2026-10", "first", 1), "Authentication error").await;
    load.goes_on(20).await;

    team.change(&tenant, &json!({"auth": {"revocation": {"users": ["2"]}}})).await;
    assert_eq!(ended(&pods, &tenant.id, "token_revoked").await, 3.0);
    for client in &mut ada {
        client.ends_within(SOON).await;
    }
    refused_by_each(&pods, &token("2026-11", "second", 2), "Authentication error").await;
    load.goes_on(20).await;
    all_hear(&mut bob, pods[0].http(), &tenant, "record:created").await;
    load.was_served();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn no_secret_is_told_anywhere() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let marker = |what: &str| format!("marker-{what}-{}-of-more-than-thirty-two-characters", tenant.id);
    let (first, second, api) =
        (marker("signing"), format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", marker("pem")), marker("api"));
    team.keys(&tenant, &json!({"first": first, "second": second, "api": api})).await;
    let good = signed(&claims(&tenant.id, 1), first.as_bytes());
    let mut clients = eventually(SOON * 4, "the keys are in force", async || {
        let mut clients = Vec::new();
        for pod in &pods {
            clients.push(Client::try_connect(pod.http(), &good).await?);
        }
        Ok::<_, String>(clients)
    })
    .await;
    // What goes right, what can't be used, and what is not let in.
    let body = json!({"event": "record:created", "data": {"number": 1}});
    assert!(try_publish(pods[0].http(), &tenant, &body).await.is_some(), "it is answered, with the key of before");
    let broken = json!({"auth": {"jwt": {"keys": [tenant.key(None, "first"), {"algorithm": "RS256", "secretKeyRef": {"name": tenant.secret(), "key": "second"}}]}}});
    team.change_only(&tenant, &broken).await;
    team.says(&tenant, "ResolvedRefs", "False", "SecretInvalid").await;
    let forged = signed(&claims(&tenant.id, 1), marker("forged").as_bytes());
    refused_by_each(&pods, &forged, "Authentication error").await;
    team.change(&tenant, &json!({"auth": {"jwt": {"keys": [tenant.key(None, "first")]}}})).await;
    for client in &mut clients {
        assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);
    }

    let made = team.tenant_saying("made", json!({"auth": {"generate": {"jwtKey": {}, "apiKey": {}}}})).await;
    team.in_force(&made).await;
    let data = release.api.get(&format!("/api/v1/namespaces/{}/secrets/made-carillon", team.namespace)).await.expect("it was made");
    let generated =
        ["jwtKey", "apiKey"].map(|key| STANDARD.decode(data["data"][key].as_str().unwrap_or_default()).expect("Secrets are base64"));
    let generated = generated.map(|key| String::from_utf8(key).expect("keys are text"));

    let mut told = vec![
        kubectl(&["get", "events", "--all-namespaces", "--output", "yaml"]).await,
        kubectl(&["get", "rtt,rttc", "--all-namespaces", "--output", "yaml"]).await,
        kubectl(&["get", "leases,endpointslices,configmaps", "--namespace", NAMESPACE, "--output", "yaml"]).await,
    ];
    for pod in release.pods().await.iter().chain(&release.running().await) {
        let log = kubectl(&["--namespace", NAMESPACE, "logs", &pod.name, "--tail=-1"]).await;
        assert!(log.contains(&tenant.id), "{} has something to tell of the tenant", pod.name);
        told.push(log);
        for path in ["/metrics", "/readyz"] {
            told.extend(pod.health(path).await.map(|(_, text)| text));
        }
    }
    let session_key = release.secret("carillon-session-key").await["key"].as_str().map(str::to_owned).expect("the chart made it");
    let session_key = String::from_utf8(STANDARD.decode(session_key).expect("Secrets are base64")).expect("the chart makes text");
    let mut secrets = vec![first, marker("pem"), api, marker("forged"), session_key, signature_of(&good), signature_of(&forged)];
    for (secret, key) in [("carillon-ca", "ca.key"), ("carillon-server-tls", "tls.key"), ("carillon-operator-tls", "tls.key")] {
        let pem = release.secret(secret).await[key].as_str().map(str::to_owned).expect("the operator made it");
        let pem = String::from_utf8(STANDARD.decode(pem).expect("Secrets are base64")).expect("PEM is text");
        secrets.push(pem.lines().nth(1).expect("a key has a body").to_owned());
    }
    secrets.extend(generated);
    for secret in &secrets {
        for form in [secret.clone(), STANDARD.encode(secret).trim_end_matches('=').to_owned()] {
            let found = told.iter().find_map(|text| text.lines().find(|line| line.contains(&form)));
            assert_eq!(found, None, "{form}");
        }
    }
}

/// What makes a token worth something.
fn signature_of(token: &str) -> String {
    token.rsplit('.').next().unwrap_or_default().to_owned()
}
