//! What fails, and what is promised then.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use carillon_tests::{
    client::Client,
    cluster::{
        NAMESPACE, OPERATORS, Pod, Release, SLOW, Team, Tenant, clients_on_each, eventually, kubectl, publish, refused_by_each, try_publish,
    },
    driver::{Driver, Event, Socket},
    eventually::within,
    node,
    tenants::secret_of,
    tokens::{claims, signed, token},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use super::{Bystanders, SOON, all_hear};

/// How long cross-pod delivery may take to heal once Redis is back.
const HEALED: Duration = Duration::from_secs(5);
/// Between two publications of steady traffic.
const PACE: Duration = Duration::from_millis(50);

/// Publications at a steady pace, numbered from 0.
struct Traffic {
    published: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Traffic {
    fn through(entry: SocketAddr, tenant: &Tenant, event: &str) -> Self {
        let (published, failed) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (tenant, event, counts) = (tenant.clone(), event.to_owned(), (published.clone(), failed.clone()));
        let task = tokio::spawn(async move {
            loop {
                let body = json!({"event": event, "data": counts.0.load(Ordering::Relaxed)});
                match try_publish(entry, &tenant, &body).await {
                    Some(status) if status == 202 => _ = counts.0.fetch_add(1, Ordering::Relaxed),
                    // The pod is leaving, and says so: another one is to be asked.
                    Some(status) if status == 503 => {}
                    other => counts.1.lock().expect("nobody panics with it").push(format!("{body}: {other:?}")),
                }
                sleep(PACE).await;
            }
        });
        Self { published, failed, task }
    }

    fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// What was not accepted, and what the answer was.
    fn failed(&self) -> Vec<String> {
        self.failed.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Clients as users have them, through the Service, on all transports.
async fn users(driver: &Driver, service: SocketAddr, tenant: &Tenant, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for user in 0..count {
        let transports = [json!(["polling", "websocket"]), json!(["polling"]), json!(["websocket"])][user % 3].clone();
        let options = json!({"transports": transports, "reconnectionDelay": 100, "reconnectionDelayMax": 1000});
        let mut socket = driver.open(&format!("http://{service}"), Some(&token(&tenant.id, user)), &options);
        socket.expect("connect").await;
        sockets.push(socket);
    }
    sockets
}

/// Awaits that `sockets` are all connected.
async fn all_connected(sockets: &[Socket]) {
    eventually(SLOW, "every client is back", async || {
        // An attempt that fails is told as a disconnect, too: the last word counts.
        let is_connected = |heard: &[Event]| {
            let last = heard.iter().rev().find(|event| ["connect", "disconnect", "connect_error"].contains(&event.event.as_str()));
            last.is_some_and(|event| event.event == "connect")
        };
        let away: Vec<_> = sockets.iter().map(Socket::heard).filter(|heard| !is_connected(heard)).collect();
        if away.is_empty() { Ok(()) } else { Err(away) }
    })
    .await;
}

/// Awaits one more publication through `entry` on every socket.
async fn all_users_hear(sockets: &mut [Socket], entry: SocketAddr, tenant: &Tenant, event: &str) {
    publish(entry, tenant, event, &json!(1)).await;
    for socket in sockets {
        socket.expect(event).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_crashed_and_a_deleted_server_come_back_and_their_clients_go_elsewhere() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let service = release.service().await;
    let driver = node::start().await;
    let mut users = users(&driver, service, &tenant, 9).await;
    let pods = release.pods().await;
    let mut elsewhere = clients_on_each(&pods[1..], &token(&tenant.id, 1)).await;

    let victim = busiest(&pods, &tenant).await;
    let bystanders_of = |victim: &Pod| pods[1..].iter().position(|pod| pod.uid == victim.uid);
    if let Some(theirs) = bystanders_of(&victim) {
        elsewhere.remove(theirs);
    }
    victim.crash().await;
    eventually(SLOW, "the crashed container runs again", async || {
        let pod = release.pods().await.into_iter().find(|pod| pod.uid == victim.uid);
        if pod.as_ref().is_some_and(|pod| pod.restarts > victim.restarts) { Ok(()) } else { Err(pod) }
    })
    .await;
    let back = release.all_ready().await;
    assert!(back.iter().any(|pod| pod.uid == victim.uid), "the pod itself stayed");
    all_connected(&users).await;
    assert!(users.iter().any(|socket| socket.count("disconnect") > 0), "some were on the crashed pod");
    team.in_force(&tenant).await;
    for pod in &back {
        all_users_hear(&mut users, pod.http(), &tenant, &format!("after-crash:{}", pod.name)).await;
    }

    let victim = busiest(&back, &tenant).await;
    kubectl(&["--namespace", NAMESPACE, "delete", "pod", &victim.name, "--wait=false"]).await;
    let replaced = eventually(SLOW, "another pod is ready instead", async || {
        let pods = release.pods().await;
        let gone = pods.iter().all(|pod| pod.uid != victim.uid);
        if gone && pods.len() == 3 && pods.iter().all(|pod| pod.ready) { Ok(pods) } else { Err(pods) }
    })
    .await;
    eventually(SLOW, "the deleted pod's clients are told and leave", async || {
        let told: usize = users.iter().map(|socket| socket.count("rt:draining")).sum();
        if told > 0 { Ok(()) } else { Err(told) }
    })
    .await;
    eventually(SLOW, "the deleted pod is gone", async || {
        release.api.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{}", victim.name)).await.map_or(Ok(()), |_| Err(()))
    })
    .await;
    all_connected(&users).await;
    team.in_force(&tenant).await;
    for pod in &replaced {
        all_users_hear(&mut users, pod.http(), &tenant, &format!("after-delete:{}", pod.name)).await;
    }
}

/// The pod with the most connections of a tenant.
async fn busiest(pods: &[Pod], tenant: &Tenant) -> Pod {
    let mut most = (-1.0, &pods[0]);
    for pod in pods {
        let connections = pod.metric(&format!(r#"carillon_connections{{tenant="{}""#, tenant.id)).await;
        if connections > most.0 {
            most = (connections, pod);
        }
    }
    most.1.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn without_the_operator_everything_goes_on_and_its_return_disturbs_nobody() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods[1..]).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    eventually(SLOW, "the tenant is written down for pods that start", async || {
        let written = release.written_down(&tenant.id).await;
        if written { Ok(()) } else { Err(()) }
    })
    .await;

    release.scale_operator(0).await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;
    team.change_only(&tenant, &json!({"suspended": true})).await;
    pods[0].crash().await;
    eventually(SLOW, "the crashed pod serves again", async || {
        let pod = release.pods().await.into_iter().find(|pod| pod.uid == pods[0].uid && pod.restarts > pods[0].restarts && pod.ready);
        pod.ok_or("not yet")
    })
    .await;
    assert_eq!(pods[0].metric("carillon_config_from_boot").await, 1.0);
    clients.remove(0);
    // The fleet grows, too. The change that nobody saw is not in force there.
    release.scale_servers(4).await;
    let grown = eventually(SLOW, "a fourth pod serves", async || {
        let pod = release.pods().await.into_iter().find(|pod| pod.ready && pods.iter().all(|old| old.uid != pod.uid));
        pod.ok_or("not yet")
    })
    .await;
    assert_eq!(grown.metric("carillon_config_from_boot").await, 1.0);
    let mut there = clients_on_each(std::slice::from_ref(&grown), &token(&tenant.id, 1)).await;
    all_hear(&mut there, pods[1].http(), &tenant, "record:created").await;
    let last = "controller.kubernetes.io/pod-deletion-cost=-1";
    kubectl(&["--namespace", NAMESPACE, "annotate", "pod", &grown.name, last]).await;
    release.scale_servers(3).await;
    release.servers_ready().await;
    drop(there);
    for client in &mut clients {
        client.expect("record:created").await;
    }
    all_hear(&mut clients, pods[1].http(), &tenant, "record:created").await;
    team.change_only(&tenant, &json!({"suspended": false})).await;

    release.scale_operator(1).await;
    release.servers_ready().await;
    team.in_force(&tenant).await;
    let operator = release.operator().await;
    // The spec was changed twice, so its version is another; the other two pods take it as one delta each.
    assert_eq!(operator.metric("carillon_operator_pushes_total").await, 3.0, "one delta for each pod");
    all_hear(&mut clients, pods[1].http(), &tenant, "record:updated").await;
    bystanders.are_undisturbed().await;

    team.uses(&tenant, "2/1000").await;
    let before = release.api.get(&tenant.path()).await.expect("the tenant is there");
    operator.crash().await;
    eventually(SLOW, "the operator runs again and knows every pod", async || {
        let pod = release.operator().await;
        if pod.restarts > operator.restarts
            && pod.ready
            && pod.metric(r#"carillon_operator_pods{fleet="default",state="programmed"}"#).await == 3.0
        {
            Ok(())
        } else {
            Err(pod)
        }
    })
    .await;
    // It takes up a change, so what it had to say about the old state, it has said.
    let other = team.tenant("globex").await;
    let operator = release.operator().await;
    let pushes = operator.metric("carillon_operator_pushes_total").await;
    assert!((6.0..=9.0).contains(&pushes), "deltas that tell of the new leader and of the new tenant alone, not {pushes} pushes");
    clients_on_each(&release.pods().await, &token(&other.id, 1)).await;
    let after = release.api.get(&tenant.path()).await.expect("the tenant is there");
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "nothing to say, nothing written");
    all_hear(&mut clients, pods[1].http(), &tenant, "record:deleted").await;
    bystanders.are_undisturbed().await;
    release.scale_operator(OPERATORS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_broken_tenant_says_so_keeps_its_last_good_and_harms_no_other() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let good = token(&tenant.id, 1);
    let mut clients = clients_on_each(&pods, &good).await;
    let field = "spec.auth.jwt.keys[0].secretKeyRef";

    let key = |name: &str, key: &str, algorithm: &str| json!({"auth": {"jwt": {"keys": [{"algorithm": algorithm, "secretKeyRef": {"name": name, "key": key}}]}}});
    team.keys(&tenant, &json!({"second": "-----BEGIN PUBLIC KEY-----\nbroken\n-----END PUBLIC KEY-----\n"})).await;
    let breakages = [
        (key("nowhere", "first", "HS256"), "SecretNotFound", r#"Secret "nowhere" does not exist"#),
        (key(&tenant.secret(), "third", "HS256"), "SecretKeyNotFound", r#"has no key "third""#),
        (key(&tenant.secret(), "second", "RS256"), "SecretInvalid", r#"key "second""#),
        (key(&tenant.secret(), "first", "HS512"), "SecretInvalid", "64"),
    ];
    for (spec, reason, what) in breakages {
        team.change_only(&tenant, &spec).await;
        let message = team.says(&tenant, "ResolvedRefs", "False", reason).await;
        assert!(message.contains(field) && message.contains(what), "{reason}: {message}");
        assert!(!message.contains("BEGIN"), "no byte of a Secret: {message}");
        assert_eq!(team.says(&tenant, "Ready", "False", reason).await, message);
        let note = team.warns(&tenant, reason).await;
        assert!(note.contains(field), "{note}");
        clients.extend(clients_on_each(&pods, &good).await);
        all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;
    }
    team.change(&tenant, &key(&tenant.secret(), "first", "HS256")).await;
    all_hear(&mut clients, pods[1].http(), &tenant, "record:created").await;

    // A Secret that changes needs no change of the tenant.
    team.keys(&tenant, &json!({"first": "short"})).await;
    let message = team.says(&tenant, "ResolvedRefs", "False", "SecretInvalid").await;
    assert!(message.contains(field) && message.contains("32"), "{message}");
    clients.extend(clients_on_each(&pods, &good).await);
    let rotated = "another-signing-secret-of-the-tenant-for-tests";
    team.keys(&tenant, &json!({"first": rotated})).await;
    let by_rotated = signed(&claims(&tenant.id, 1), rotated.as_bytes());
    eventually(SLOW, "the new key is in force on every pod", async || {
        let fresh = Client::try_connect(pods[0].http(), &by_rotated).await;
        fresh.map(drop)
    })
    .await;
    team.in_force(&tenant).await;
    refused_by_each(&pods, &good, "Authentication error").await;
    let mut fresh = clients_on_each(&pods, &by_rotated).await;
    all_hear(&mut fresh, pods[2].http(), &tenant, "record:created").await;
    for client in &mut clients {
        client.ends_within(SOON).await;
    }

    kubectl(&["--namespace", &team.namespace, "delete", "secret", &tenant.secret()]).await;
    let message = team.says(&tenant, "ResolvedRefs", "False", "SecretNotFound").await;
    assert!(message.contains(field), "{message}");
    fresh.extend(clients_on_each(&pods, &by_rotated).await);
    all_hear(&mut fresh, pods[0].http(), &tenant, "record:created").await;
    bystanders.are_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn the_oldest_holds_a_tenant_id_and_the_next_takes_over() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let (old, young) = (Team::new(&release.api).await, Team::new(&release.api).await);
    let holder = old.tenant("acme").await;
    let mut clients = clients_on_each(&pods, &token(&holder.id, 1)).await;

    let theirs = "the-younger-tenants-own-signing-secret";
    let claimant = young.tenant_of_id("acme", &holder.id).await;
    young.keys(&claimant, &json!({"first": theirs})).await;
    let message = young.says(&claimant, "Accepted", "False", "Conflicted").await;
    assert!(message.contains(&format!("{}/acme", old.namespace)), "{message}");
    young.warns(&claimant, "Conflicted").await;
    let by_younger = signed(&claims(&holder.id, 1), theirs.as_bytes());
    refused_by_each(&pods, &by_younger, "Authentication error").await;
    all_hear(&mut clients, pods[0].http(), &holder, "record:created").await;

    old.delete(&holder).await;
    young.in_force(&claimant).await;
    refused_by_each(&pods, &token(&holder.id, 1), "Authentication error").await;
    for client in &mut clients {
        client.ends_within(SOON).await;
    }
    let mut clients = clients_on_each(&pods, &by_younger).await;
    all_hear(&mut clients, pods[1].http(), &claimant, "record:created").await;
    bystanders.are_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn without_redis_pods_serve_their_own_and_with_it_they_find_each_other_again() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    let lost_before = lost(&pods).await;
    let traffic: Vec<_> = pods.iter().map(|pod| Traffic::through(pod.http(), &tenant, &pod.name)).collect();
    let mut heard = vec![BTreeMap::new(); pods.len()];
    for (client, heard) in clients.iter_mut().zip(&mut heard) {
        hear_until(client, heard, |heard| pods.iter().all(|pod| heard.contains_key(&pod.name))).await;
    }

    release.redis.kill(&release.api).await;
    eventually(SLOW, "every pod has noticed", async || {
        for pod in &pods {
            if pod.metric("carillon_redis_up").await != 0.0 {
                return Err(pod.name.clone());
            }
        }
        Ok(())
    })
    .await;
    for (((client, heard), pod), traffic) in clients.iter_mut().zip(&mut heard).zip(&pods).zip(&traffic) {
        let until = traffic.published() + 20;
        hear_until(client, heard, |heard| heard.get(&pod.name).is_some_and(|numbers| numbers.last() >= Some(&until))).await;
    }
    let mut newcomer = Client::connect(pods[0].http(), &token(&tenant.id, 2)).await;
    newcomer.expect(&pods[0].name).await;
    assert!(release.pods().await.iter().all(|pod| pod.ready), "readiness does not ask Redis");

    release.redis.revive(&release.api).await;
    let back: BTreeMap<_, _> = pods.iter().zip(&traffic).map(|(pod, traffic)| (pod.name.clone(), traffic.published())).collect();
    let healed = async {
        for (client, heard) in clients.iter_mut().zip(&mut heard) {
            let all = |heard: &Heard| back.iter().all(|(pod, back)| heard.get(pod).is_some_and(|numbers| numbers.last() > Some(back)));
            hear_until(client, heard, all).await;
        }
    };
    within(HEALED, "what any pod publishes is heard on every pod again", healed).await;

    for (pod, heard) in pods.iter().zip(&heard) {
        for (publisher, numbers) in heard {
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order and once: {publisher} on {}: {numbers:?}", pod.name);
        }
        let own = &heard[&pod.name];
        let all: Vec<u64> = (own[0]..=own[own.len() - 1]).collect();
        assert_eq!(*own, all, "local delivery never stops");
    }
    assert!(lost(&pods).await > lost_before, "losses are counted");
    let after = release.all_ready().await;
    assert!(pods.iter().all(|pod| after.contains(pod)), "no pod was restarted: {after:?}");
    assert!(traffic.iter().all(|traffic| traffic.failed().is_empty()));
}

/// The numbers a client heard, by the name of the event.
type Heard = BTreeMap<String, Vec<u64>>;

/// Takes up events, each with a number, until `enough`.
async fn hear_until(client: &mut Client, heard: &mut Heard, enough: impl Fn(&Heard) -> bool) {
    while !enough(heard) {
        let (event, number) = client.next().await.expect("the connection lasts");
        heard.entry(event).or_default().push(number.as_u64().expect("a number"));
    }
}

async fn lost(pods: &[Pod]) -> f64 {
    let mut lost = 0.0;
    for pod in pods {
        lost += pod.metric("carillon_adapter_lost_total").await;
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_rolling_restart_under_traffic_loses_no_client_and_no_capacity() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let service = release.service().await;
    let driver = node::start().await;
    let mut users = users(&driver, service, &tenant, 12).await;
    let before = release.pods().await;
    let traffic = Traffic::through(service, &tenant, "tick");

    release.restart_servers().await;
    let after = eventually(SLOW, "every pod is a new one", async || {
        let pods = release.pods().await;
        let ready = pods.iter().filter(|pod| pod.ready).count();
        assert!(ready >= before.len(), "there are never fewer than before: {pods:?}");
        let renewed = pods.iter().all(|pod| before.iter().all(|old| old.uid != pod.uid));
        if renewed && ready == 3 && pods.len() == 3 { Ok(pods) } else { Err(pods) }
    })
    .await;
    eventually(SLOW, "the old pods are gone", async || {
        let pods = release.api.list(&format!("/api/v1/namespaces/{NAMESPACE}/pods")).await;
        if pods.len() == before.len() + OPERATORS { Ok(()) } else { Err(pods.len()) }
    })
    .await;
    all_connected(&users).await;
    assert!(users.iter().all(|socket| socket.count("connect") > 1), "everyone was moved");
    assert_eq!(traffic.failed(), [""; 0], "of {} publications through the Service", traffic.published());
    drop(traffic);
    for socket in &users {
        let heard: Vec<_> = socket.heard().into_iter().filter(|event| event.event == "tick").map(|event| event.data[0].as_u64()).collect();
        let once: BTreeSet<_> = heard.iter().collect();
        assert_eq!(once.len(), heard.len(), "each once: {heard:?}");
    }
    for pod in &after {
        all_users_hear(&mut users, pod.http(), &tenant, &format!("after-restart:{}", pod.name)).await;
    }
    team.in_force(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_namespace_goes_with_the_tenants_in_it() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let mut clients = Vec::new();
    for name in ["acme", "globex", "initech"] {
        let tenant = team.tenant(name).await;
        clients.extend(clients_on_each(&pods, &token(&tenant.id, 1)).await);
    }
    let broken = team.tenant("hooli").await;
    team.keys(&broken, &json!({"first": "short"})).await;
    team.says(&broken, "ResolvedRefs", "False", "SecretInvalid").await;

    kubectl(&["delete", "namespace", &team.namespace, "--timeout=60s"]).await;
    for client in &mut clients {
        client.ends_within(SOON).await;
    }
    refused_by_each(&pods, &signed(&claims(&broken.id, 1), secret_of(&broken.id, "first").as_bytes()), "Authentication error").await;
    let left: Vec<Value> = release.api.list("/apis/carillon.dev/v1alpha1/realtimetenants").await;
    assert!(left.iter().all(|tenant| tenant["metadata"]["namespace"] != team.namespace.as_str()));
    bystanders.are_undisturbed().await;
}
