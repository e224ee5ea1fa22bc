//! Tenants whose keys the operator makes: one YAML, and nobody hands over a key.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tests::{
    client::Client,
    cluster::{Api, Pod, Release, SLOW, Team, Tenant, eventually, refused_by_each},
    http, node,
    tokens::{claims, signed_by},
};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::SOON;

/// The time between two looks of an app at its Secret.
const PAUSE: Duration = Duration::from_millis(50);

/// What an app reads.
#[derive(Clone, Debug, PartialEq)]
struct Keys(BTreeMap<String, String>);

impl Keys {
    async fn of(api: &Api, path: &str) -> Option<Self> {
        let mut secret = api.get(path).await?;
        let data: BTreeMap<String, String> = serde_json::from_value(secret["data"].take()).ok()?;
        let text = |value: &String| String::from_utf8(STANDARD.decode(value).ok()?).ok();
        data.iter().map(|(key, value)| Some((key.clone(), text(value)?))).collect::<Option<_>>().map(Self)
    }

    fn token(&self, user: u64) -> String {
        signed_by(&self.0["jwtKid"], &claims(&self.0["tenantId"], user), self.0["jwtKey"].as_bytes())
    }

    async fn publish(&self, pod: &Pod) -> StatusCode {
        http::notify(pod.http(), &self.0["tenantId"], &self.0["apiKey"], &json!({"event": "record:created", "data": 1})).await.status
    }
}

/// An app that reads its Secret, connects and publishes, again and again, on one pod after the other.
struct App {
    /// How often it was served, with which `kid` last, and what it was refused.
    seen: watch::Receiver<(usize, String, Vec<String>)>,
    task: JoinHandle<()>,
}

impl App {
    async fn start(pods: &[Pod], path: String) -> Self {
        let api = Api::connect().await;
        let (sender, seen) = watch::channel((0, String::new(), Vec::new()));
        let pods = pods.to_vec();
        let task = tokio::spawn(async move {
            for pod in pods.iter().cycle() {
                let Some(keys) = Keys::of(&api, &path).await else { continue };
                let came = Client::try_connect(pod.http(), &keys.token(1)).await.map(drop);
                let published = keys.publish(pod).await;
                sender.send_modify(|(served, kid, refusals)| {
                    refusals.extend(came.err());
                    refusals.extend((published != StatusCode::ACCEPTED).then(|| published.to_string()));
                    kid.clone_from(&keys.0["jwtKid"]);
                    *served += 1;
                });
                sleep(PAUSE).await;
            }
        });
        Self { seen, task }
    }

    /// Awaits that it was served that many times more, with the key `kid` in the end.
    async fn goes_on(&self, more: usize, kid: &str) {
        let before = self.seen.borrow().0;
        eventually(SLOW, "the app goes on", async || {
            let (served, used, _) = &*self.seen.borrow();
            if *served >= before + more && used == kid { Ok(()) } else { Err((*served, used.clone())) }
        })
        .await;
    }

    fn was_never_refused(self) {
        self.task.abort();
        assert_eq!(self.seen.borrow().2, Vec::<String>::new());
    }
}

fn secret_path(team: &Team<'_>, tenant: &Tenant) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}-carillon", team.namespace, tenant.name)
}

async fn rotate(release: &Release, tenant: &Tenant, value: &str) {
    release.api.patch(&tenant.path(), &json!({"metadata": {"annotations": {"carillon.dev/rotate-keys": value}}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn one_resource_is_all_a_team_needs_and_its_keys_rotate_without_one_refusal() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant_saying("acme", json!({"auth": {"generate": {"jwtKey": {}, "apiKey": {}, "overlapSeconds": 20}}})).await;
    team.in_force(&tenant).await;
    let path = secret_path(&team, &tenant);
    let first = Keys::of(&release.api, &path).await.expect("the Secret is there when the tenant is ready");
    assert_eq!(first.0["endpoint"], "http://carillon-server.carillon.svc");
    let driver = node::start().await;
    let mut socket = driver.open(&pods[0].url(), Some(&first.token(7)), &json!({"transports": ["websocket"]}));
    socket.expect("connect").await;
    assert_eq!(first.publish(&pods[1]).await, StatusCode::ACCEPTED);
    assert_eq!(socket.expect("record:created").await, json!(1));

    let app = App::start(&pods, path.clone()).await;
    app.goes_on(10, &first.0["jwtKid"]).await;
    rotate(&release, &tenant, "once").await;
    let status = team.status(&tenant, "rotated", |status, _| status["generated"]["observedRotation"] == "once").await;
    let kid = status["generated"]["jwtKid"].as_str().expect("a key signs").to_owned();
    assert_ne!(kid, first.0["jwtKid"]);
    assert_eq!(status["generated"]["secretName"], "acme-carillon");
    let sources: Vec<_> = status["keys"].as_array().into_iter().flatten().map(|key| key["source"].clone()).collect();
    assert!(sources.iter().all(|source| source == "Generated/acme-carillon") && !sources.is_empty(), "{status}");
    app.goes_on(10, &kid).await;
    // What is signed with the old key is good until the overlap has passed.
    let settled = |status: &Value, _: &Value| status["generated"]["rotation"] == "Settled";
    team.status(&tenant, "settled", settled).await;
    team.in_force(&tenant).await;
    refused_by_each(&pods, &first.token(7), "Authentication error").await;
    assert_eq!(first.publish(&pods[0]).await, StatusCode::UNAUTHORIZED);
    socket.expect("disconnect").await;
    app.goes_on(10, &kid).await;

    // Another operator goes on where this one was.
    let leader = release.operator().await;
    rotate(&release, &tenant, "twice").await;
    leader.crash().await;
    let status = team.status(&tenant, "rotated", |status, _| status["generated"]["observedRotation"] == "twice").await;
    app.goes_on(10, status["generated"]["jwtKid"].as_str().expect("a key signs")).await;
    app.was_never_refused();

    team.delete(&tenant).await;
    eventually(SLOW, "the Secret goes with the tenant", async || match release.api.get(&path).await {
        None => Ok(()),
        Some(_) => Err("it is still there"),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_secret_of_somebody_else_is_not_touched_and_one_that_is_lost_is_made_anew() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let metadata = json!({"name": "acme-carillon", "namespace": team.namespace});
    release.api.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"mine": "stays"}})).await;
    let tenant = team.tenant_saying("acme", json!({"auth": {"generate": {"jwtKey": {}, "apiKey": {}}}})).await;
    let message = team.says(&tenant, "ResolvedRefs", "False", "GeneratedSecretNotOwned").await;
    assert!(message.contains("spec.auth.generate") && message.contains("acme-carillon"), "{message}");
    let path = secret_path(&team, &tenant);
    let foreign = release.api.get(&path).await.expect("it is still there");
    assert_eq!(foreign["data"], json!({"mine": STANDARD.encode("stays")}));

    release.api.delete(&path).await;
    team.in_force(&tenant).await;
    let keys = Keys::of(&release.api, &path).await.expect("it is made when its name is free");
    release.api.delete(&path).await;
    team.warns(&tenant, "KeysGeneratedAnew").await;
    let anew = eventually(SOON * 4, "new keys", async || match Keys::of(&release.api, &path).await {
        Some(anew) if anew != keys => Ok(anew),
        other => Err(other.map(|_| "the same")),
    })
    .await;
    eventually(SOON * 4, "they are in force", async || Client::try_connect(pods[0].http(), &anew.token(1)).await.map(drop)).await;
    refused_by_each(&pods, &keys.token(1), "Authentication error").await;

    team.change_only(&tenant, &json!({"auth": {"generate": null, "jwt": {"jwks": [{"url": "https://nowhere.invalid/keys"}]}}})).await;
    eventually(SLOW, "what nobody wants any more is deleted", async || {
        release.api.get(&path).await.map_or(Ok(()), |_| Err("it is still there"))
    })
    .await;
}
