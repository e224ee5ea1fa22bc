//! No sticky sessions: any server serves any request of any session.

use std::time::Duration;

use carillon_tests::{
    balancer::Balancer,
    driver::Socket,
    fleet::{Fleet, Setup},
    node, python,
    tenants::tenant,
    tokens::token,
};
use serde_json::{Value, json};

const SOCKETS: u64 = 20;

async fn three_servers() -> (Fleet, Balancer) {
    let setup = Setup { servers: 3, redis: true, ..Setup::default() };
    let fleet = Fleet::with(setup, &[tenant("acme")]).await;
    fleet.is_one().await;
    let balancer = Balancer::start(fleet.addresses().to_vec()).await;
    (fleet, balancer)
}

async fn all_hear(fleet: &Fleet, sockets: &mut [Socket]) {
    for number in 0..3 {
        fleet.publish_on(number, "acme", "record:created", &json!(number));
    }
    for socket in sockets {
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(socket.expect("record:created").await.as_u64().unwrap());
        }
        heard.sort_unstable();
        assert_eq!(heard, [0, 1, 2]);
        assert_eq!((socket.count("disconnect"), socket.count("connect_error")), (0, 0), "{:?}", socket.heard());
    }
}

async fn twenty_of_twenty(options: Value) {
    let (fleet, balancer) = three_servers().await;
    let node = node::start().await;
    let mut sockets: Vec<_> = (0..SOCKETS).map(|user| node.open(&balancer.url(), Some(&token("acme", user)), &options)).collect();
    for socket in &mut sockets {
        socket.expect("connect").await;
    }
    if options.as_object().is_some_and(serde_json::Map::is_empty) {
        for socket in &mut sockets {
            socket.heard_of("upgrade").await;
        }
    }
    all_hear(&fleet, &mut sockets).await;
    sockets[0].emit("user:online", &json!({}));
    for socket in &mut sockets[1..] {
        assert_eq!(socket.expect("user:status").await, json!({"user_id": 0, "status": "online"}));
    }
    let counts: Vec<_> = (0..3).map(|server| fleet.tenant_on(server, "acme").usage().connections).collect();
    assert_eq!(counts.iter().sum::<u64>(), SOCKETS);
    assert!(counts.iter().all(|count| *count > 0), "one request after the other went to the next server: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_works_behind_a_balancer_without_affinity() {
    twenty_of_twenty(json!({"transports": ["polling"]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_work_behind_a_balancer_without_affinity() {
    twenty_of_twenty(json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_work_behind_a_balancer_without_affinity() {
    twenty_of_twenty(json!({"transports": ["websocket"]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_works_behind_a_balancer_without_affinity() {
    let (fleet, balancer) = three_servers().await;
    let python = python::start().await;
    let options = [json!({"transports": ["polling"]}), json!({}), json!({"transports": ["websocket"]})];
    let mut sockets: Vec<_> = options.iter().map(|options| python.open(&balancer.url(), Some(&token("acme", 1)), options)).collect();
    for socket in &mut sockets {
        socket.expect("connect").await;
    }
    all_hear(&fleet, &mut sockets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_server_that_goes_come_back_on_another() {
    let (mut fleet, balancer) = three_servers().await;
    let node = node::start().await;
    let options = json!({"reconnectionDelay": 10, "reconnectionDelayMax": 100});
    let mut sockets: Vec<_> = (0..12).map(|user| node.open(&balancer.url(), Some(&token("acme", 100 + user)), &options)).collect();
    for socket in &mut sockets {
        socket.expect("connect").await;
        socket.heard_of("upgrade").await;
    }
    balancer.remove(fleet.addresses()[0]);
    fleet.shut_down(0).await;
    let mut moved = 0;
    for socket in &mut sockets {
        if socket.count("rt:draining") > 0 {
            moved += 1;
            assert_eq!(socket.expect("disconnect").await, "transport close");
            socket.expect("connect").await;
        }
    }
    assert!(moved > 0, "no socket was on the server that went");
    carillon_tests::eventually::eventually("every socket is on a server that stays", || {
        let connections: u64 = [1, 2].map(|server| fleet.tenant_on(server, "acme").usage().connections).iter().sum();
        if connections == 12 { Ok(()) } else { Err(connections) }
    })
    .await;
    fleet.publish_on(1, "acme", "record:created", &json!(1));
    for socket in &mut sockets {
        assert_eq!(socket.expect("record:created").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polling_session_of_a_server_that_died_is_unknown_soon() {
    let (mut fleet, balancer) = three_servers().await;
    let session = carillon_tests::polling::Polling::connect(fleet.addresses()[0], &token("acme", 1)).await.unwrap();
    fleet.shut_down(0).await;
    balancer.remove(fleet.addresses()[0]);
    let through = carillon_tests::polling::Polling { address: balancer.address(), ..session };
    let answer = carillon_tests::eventually::within(Duration::from_secs(5), "an answer for a lost session", through.get()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["message"].as_str().unwrap_or_default()), (400, "Session ID unknown"));
}
