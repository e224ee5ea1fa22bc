//! The chart on two nodes, in a namespace that allows the least, and what clients meet there.

use std::net::SocketAddr;

use carillon_tests::{
    client::Client,
    cluster::{
        self, NAMESPACE, OPERATORS, Pod, Release, SLOW, Team, Tenant, clients_on_each, eventually, inflict, kubectl, publish,
        refused_by_each,
    },
    http, node,
    polling::{Polling, path},
    tenants::secret_of,
    tokens::{assembled, claims, now, signed, signed_by, token},
    websocket,
};
use hyper::Method;
use serde_json::{Value, json};

use super::all_hear;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn server_pods_are_ready_when_they_are_programmed_and_not_before() {
    let release = Release::ready().await;
    kubectl(&["delete", "rtt", "--all", "--all-namespaces", "--timeout=60s"]).await;
    release.uninstall().await;

    // The operator makes what servers start with, and then it goes, and they have to start anew.
    release.install(&["bootConfig.enabled=false"]).await;
    release.all_ready().await;
    release.scale_operator(0).await;
    kubectl(&["--namespace", NAMESPACE, "delete", "pods", "--selector", "app.kubernetes.io/component=server"]).await;
    let pods = eventually(SLOW, "server pods wait to be programmed", async || {
        let pods = release.pods().await;
        for pod in &pods {
            match pod.health("/readyz").await {
                Some((503, body)) if body.contains("no configuration yet") => {}
                other => return Err(format!("{}: {other:?}", pod.name)),
            }
        }
        if pods.len() == 3 { Ok(pods) } else { Err(format!("{pods:?}")) }
    })
    .await;
    assert!(pods.iter().all(|pod| !pod.ready));
    for pod in &pods {
        assert_eq!(pod.health("/livez").await.map(|(status, _)| status), Some(200));
    }
    unprogrammed_refuse(&pods).await;

    release.scale_operator(OPERATORS).await;
    let ready = release.all_ready().await;
    assert_eq!(uids(&ready), uids(&pods), "the same pods");
    assert!(ready.iter().all(|pod| pod.restarts == 0), "{ready:?}");
    assert!(ready.iter().any(|pod| pod.node != ready[0].node), "both nodes have some: {ready:?}");
    for pod in &ready {
        assert_eq!(pod.metric("carillon_config_tenants").await, 0.0, "a fleet without tenants is programmed, too");
        assert_eq!(pod.metric("carillon_redis_up").await, 1.0);
    }
    let operator = release.operator().await;
    assert_eq!(operator.metric("carillon_operator_pushes_total").await, 3.0, "one snapshot for each pod");
    assert_eq!(operator.metric(r#"carillon_operator_pods{fleet="default",state="programmed"}"#).await, 3.0);
    release.install(&[]).await;
    release.all_ready().await;
}

/// Clients are told to come again: no answer of such a pod is final.
async fn unprogrammed_refuse(pods: &[Pod]) {
    for pod in pods {
        let response = http::request(pod.http(), Method::GET, "/socket.io/?EIO=4&transport=polling", &[], "").await;
        assert_eq!((response.status.as_u16(), &response.json()["code"]), (503, &json!("not_programmed")), "{response:?}");
        assert_eq!(Client::open_with(pod.http(), &[]).await.err(), Some(503));
    }
}

fn uids(pods: &[Pod]) -> Vec<String> {
    let mut uids: Vec<_> = pods.iter().map(|pod| pod.uid.clone()).collect();
    uids.sort();
    uids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_pod_that_did_not_acknowledge_does_not_count() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let operator = release.operator().await;
    let pods = release.pods().await;
    let away: Vec<_> = pods.iter().filter(|pod| pod.node != operator.node).collect();
    assert!(!away.is_empty() && away.len() < 3, "pods are spread: {pods:?}");
    let number = away[0].node.trim_start_matches("node");

    inflict(&["node-cut", number]).await;
    team.change_only(&tenant, &json!({"quotas": {"connections": {"max": 7}}})).await;
    let summary = format!("{}/3", 3 - away.len());
    let status = team
        .status(&tenant, "cut off pods lag behind", |status, generation| {
            status["observedGeneration"] == *generation && status["fleet"]["summary"] == summary.as_str()
        })
        .await;
    let lagging: Vec<_> = status["fleet"]["lagging"].as_array().into_iter().flatten().map(|lagging| lagging["pod"].clone()).collect();
    inflict(&["node-up", number]).await;
    assert_eq!(lagging.len(), away.len(), "{status}");
    assert!(away.iter().all(|pod| lagging.contains(&json!(pod.name))), "{status}");
    let message = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Programmed");
    assert_eq!(message.map(|condition| (&condition["status"], &condition["reason"])), Some((&json!("False"), &json!("Pending"))));

    team.in_force(&tenant).await;
    release.all_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn clients_come_in_through_the_service_on_every_transport() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let service = release.service().await;
    let by_name = "http://carillon-server.carillon.svc.cluster.local".to_owned();
    let driver = node::start().await;
    let mut sockets = Vec::new();
    for user in 0..4 {
        for (options, transport) in
            [(json!({}), "websocket"), (json!({"transports": ["polling"]}), "polling"), (json!({"transports": ["websocket"]}), "websocket")]
        {
            let url = if user == 0 { by_name.clone() } else { format!("http://{service}") };
            let mut socket = driver.open(&url, Some(&token(&tenant.id, user)), &options);
            socket.expect("connect").await;
            if options == json!({}) && socket.count("upgrade") == 0 {
                assert_eq!(socket.expect("upgrade").await, transport);
            }
            sockets.push(socket);
        }
    }
    let hosts = pods_with_connections(&release, &tenant).await;
    assert!(hosts > 1, "the Service spreads connections");
    for number in 0..10 {
        publish(service, &tenant, "record:created", &json!(number)).await;
        for socket in &mut sockets {
            assert_eq!(socket.expect("record:created").await, number);
        }
    }
    for socket in &sockets {
        assert_eq!((socket.count("record:created"), socket.count("disconnect")), (10, 0), "once each: {:?}", socket.heard());
    }
}

async fn pods_with_connections(release: &Release, tenant: &Tenant) -> usize {
    let mut hosts = 0;
    for pod in release.pods().await {
        if pod.metric(&format!(r#"carillon_connections{{tenant="{}""#, tenant.id)).await > 0.0 {
            hosts += 1;
        }
    }
    hosts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn every_request_of_a_session_may_come_to_another_pod() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let user = json!({"token": token(&tenant.id, 1)});
    let [first, second, third] = [pods[0].http(), pods[1].http(), pods[2].http()];
    let through = |session: &Polling, address: SocketAddr| Polling { address, ..session.clone() };

    // Each request opens a connection of its own, to the pod it names.
    let session = Polling::open(first).await;
    assert_eq!(through(&session, second).post(&format!("40{user}")).await.status, 200);
    assert!(through(&session, third).next_packet("4").await.starts_with("40"));
    for (number, pod) in pods.iter().enumerate() {
        publish(pod.http(), &tenant, "record:created", &json!(number)).await;
        let packet = through(&session, pods[(number + 1) % 3].http()).next_packet("42").await;
        assert_eq!(packet, format!(r#"42["record:created",{number}]"#));
    }
    let upgrade = path(&session.sid).replace("transport=polling", "transport=websocket");
    let mut socket = websocket::open(second, &upgrade, &[]).await.expect("another pod upgrades the session");
    socket.send("2probe").await;
    assert_eq!(socket.next().await.map(|frame| frame.payload), Some(b"3probe".to_vec()));
    socket.send("5").await;
    publish(third, &tenant, "record:created", &json!("over the WebSocket")).await;
    let news = loop {
        let frame = socket.next().await.expect("the session goes on");
        if frame.payload.starts_with(b"42") {
            break String::from_utf8(frame.payload).expect("text");
        }
    };
    assert_eq!(news, r#"42["record:created","over the WebSocket"]"#);

    // The same by chance: the Service gives every request to some pod, for none is sent over a connection that was kept.
    let service = release.service().await;
    for _ in 0..5 {
        let session = Polling::connect(service, &token(&tenant.id, 2)).await.expect("connects request by request");
        publish(service, &tenant, "record:created", &json!(1)).await;
        assert!(session.next_packet("42").await.contains("record:created"));
    }
    let driver = node::start().await;
    let mut sockets = Vec::new();
    for options in [json!({"agent": false, "transports": ["polling"]}), json!({"agent": false})] {
        for user in 0..5 {
            let mut socket = driver.open(&format!("http://{service}"), Some(&token(&tenant.id, user)), &options);
            socket.expect("connect").await;
            sockets.push(socket);
        }
    }
    for number in 0..5 {
        publish(service, &tenant, "record:updated", &json!(number)).await;
        for socket in &mut sockets {
            assert_eq!(socket.expect("record:updated").await, number);
        }
    }
    assert!(sockets.iter().all(|socket| socket.count("disconnect") == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn bad_tokens_are_told_nothing_on_any_pod() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let (tenant, other) = (team.tenant("acme").await, team.tenant("globex").await);
    let secret = secret_of(&tenant.id, "first");
    let good = claims(&tenant.id, 1);
    let expired = json!({"tenant_id": tenant.id, "sub": 1, "iat": now() - 7200, "exp": now() - 3600});
    let bad = [
        ("no token at all", String::new()),
        ("garbage", "garbage".to_owned()),
        ("another key", signed(&good, b"some-other-secret-of-32-bytes-or-more")),
        ("expired", signed(&expired, secret.as_bytes())),
        ("alg none", assembled(&json!({"alg": "none"}), &good, "")),
        ("another tenant's key", signed(&good, secret_of(&other.id, "first").as_bytes())),
        ("no such tenant", signed(&claims("nobody", 1), secret.as_bytes())),
        ("a kid that nobody has", signed_by("nobody", &good, secret.as_bytes())),
    ];
    let driver = node::start().await;
    let url = format!("http://{}", release.service().await);
    for (what, token) in bad {
        refused_by_each(&pods, &token, "Authentication error").await;
        let mut socket = driver.open(&url, Some(&token), &json!({}));
        assert_eq!(socket.expect("connect_error").await, "Authentication error", "{what}");
    }
    let mut socket = driver.open(&url, None, &json!({}));
    assert_eq!(socket.expect("connect_error").await, "Authentication error", "without auth");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn what_one_tenant_hears_it_hears_on_every_pod_and_no_other_does() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let (acme, globex) = (team.tenant("acme").await, team.tenant("globex").await);
    let mut ours = clients_on_each(&pods, &token(&acme.id, 1)).await;
    ours.extend(clients_on_each(&pods, &token(&acme.id, 2)).await);
    let mut theirs = clients_on_each(&pods, &token(&globex.id, 1)).await;

    for pod in &pods {
        all_hear(&mut ours, pod.http(), &acme, "record:created").await;
    }
    for sender in 0..ours.len() {
        ours[sender].emit("user:online", &json!({})).await;
        let user = if sender < pods.len() { 1 } else { 2 };
        for (listener, client) in ours.iter_mut().enumerate() {
            if listener != sender {
                assert_eq!(client.expect("user:status").await, json!({"user_id": user, "status": "online"}));
            }
        }
    }
    // `expect` fails when anything else comes first: nobody heard itself, and nobody the other tenant.
    all_hear(&mut ours, pods[0].http(), &acme, "fence").await;
    all_hear(&mut theirs, pods[1].http(), &globex, "fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn rooms_span_pods_and_end_at_the_tenant() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let (acme, globex) = (team.tenant("acme").await, team.tenant("globex").await);
    let mut members = clients_on_each(&pods, &token(&acme.id, 1)).await;
    let mut outsiders = clients_on_each(&pods, &token(&acme.id, 2)).await;
    let mut strangers = clients_on_each(&pods, &token(&globex.id, 1)).await;
    for client in members.iter_mut().chain(&mut strangers) {
        join(client, "record:7").await;
    }

    for pod in &pods {
        let body = json!({"event": "record:updated", "room": "record:7", "data": pod.name});
        assert_eq!(cluster::try_publish(pod.http(), &acme, &body).await.map(|status| status.as_u16()), Some(202));
        for client in &mut members {
            assert_eq!(client.expect("record:updated").await, pod.name.as_str());
        }
    }
    let mut left = members.swap_remove(0);
    assert_eq!(left.call("rt:leave", &json!({"room": "record:7"})).await["ok"], true);
    let body = json!({"event": "record:deleted", "room": "record:7", "data": null});
    assert_eq!(cluster::try_publish(pods[2].http(), &acme, &body).await.map(|status| status.as_u16()), Some(202));
    for client in &mut members {
        assert_eq!(client.expect("record:deleted").await, Value::Null);
    }
    outsiders.push(left);
    all_hear(members.iter_mut().chain(&mut outsiders), pods[0].http(), &acme, "fence").await;
    all_hear(&mut strangers, pods[0].http(), &globex, "fence").await;
}

async fn join(client: &mut Client, room: &str) {
    let answer = client.call("rt:join", &json!({"room": room})).await;
    assert_eq!(answer["ok"], true, "{answer}");
}
