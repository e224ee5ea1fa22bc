//! Many servers on one Redis: what is published on one is heard on all, and a Redis that goes takes nothing local with it.

use std::time::{Duration, Instant};

use carillon_server::fan_out::Target;
use carillon_tenant::{RoomName, UserId};
use carillon_tests::{
    client::Client,
    eventually::{eventually, within},
    fleet::{Fleet, Setup},
    tenants::tenant,
    tokens::token,
};
use serde_json::{Value, json};

/// How soon messages pass between servers again once Redis is back.
const HEALED: Duration = Duration::from_secs(5);

async fn fleet_of(servers: usize) -> Fleet {
    let fleet = Fleet::with(Setup { servers, redis: true, ..Setup::default() }, &[tenant("acme"), tenant("globex")]).await;
    fleet.is_one().await;
    fleet
}

async fn on_each(fleet: &Fleet, tenant: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for (user, address) in fleet.addresses().iter().enumerate() {
        clients.push(Client::connect(*address, &token(tenant, user)).await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_on_any_server_is_heard_on_all_by_one_tenant() {
    let fleet = fleet_of(3).await;
    let mut ours = on_each(&fleet, "acme").await;
    let mut others = on_each(&fleet, "globex").await;
    for server in 0..3 {
        fleet.publish_on(server, "acme", "record:created", &json!({"from": server}));
        for client in &mut ours {
            assert_eq!(client.expect("record:created").await, json!({"from": server}));
        }
    }
    fleet.publish_on(1, "globex", "fence", &Value::Null);
    for client in &mut others {
        client.expect("fence").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_tenants_sockets_can_publish_to_them() {
    let fleet = fleet_of(2).await;
    let mut client = Client::connect(fleet.addresses()[0], &token("acme", 1)).await;
    fleet.publish_on(1, "acme", "record:created", &json!(1));
    assert_eq!(client.expect("record:created").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_and_users_reach_across_servers() {
    let fleet = fleet_of(3).await;
    let mut clients = on_each(&fleet, "acme").await;
    for client in &mut clients[..2] {
        client.call("rt:join", &json!({"room": "lobby"})).await;
    }
    let room = Target::Room(RoomName::new("lobby").unwrap());
    fleet.publish_to(2, "acme", room, "in-room", &json!(1));
    let user = UserId::from_claim(&json!(2)).unwrap();
    fleet.publish_to(0, "acme", Target::Users([user].into()), "to-user", &json!(2));
    for client in &mut clients[..2] {
        assert_eq!(client.expect("in-room").await, 1);
    }
    assert_eq!(clients[2].expect("to-user").await, 2);
    fleet.publish_on(0, "acme", "fence", &Value::Null);
    for client in &mut clients {
        client.expect("fence").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sender_alone_is_left_out_on_every_server() {
    let fleet = fleet_of(3).await;
    let mut clients = on_each(&fleet, "acme").await;
    clients[1].emit("user:online", &json!({})).await;
    for server in [0, 2] {
        assert_eq!(clients[server].expect("user:status").await, json!({"user_id": 1, "status": "online"}));
    }
    fleet.publish_on(1, "acme", "fence", &Value::Null);
    clients[1].expect("fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_server_arrive_whole_and_in_order_on_another() {
    let fleet = fleet_of(2).await;
    let mut client = Client::connect(fleet.addresses()[1], &token("acme", 1)).await;
    for number in 0..2000 {
        fleet.publish_on(0, "acme", "n", &json!(number));
        if number % 500 == 499 {
            for expected in number - 499..=number {
                assert_eq!(client.expect("n").await, expected);
            }
        }
    }
    assert_eq!(lost(&fleet), 0.0);
}

fn lost(fleet: &Fleet) -> f64 {
    let stages = [r#"carillon_adapter_lost_total{stage="publish"}"#, r#"carillon_adapter_lost_total{stage="receive"}"#];
    (0..fleet.addresses().len()).flat_map(|server| stages.map(|stage| fleet.metric(server, stage))).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_takes_nothing_local_with_it_and_comes_back() {
    let mut fleet = fleet_of(2).await;
    let mut local = Client::connect(fleet.addresses()[0], &token("acme", 1)).await;
    let mut remote = Client::connect(fleet.addresses()[1], &token("acme", 2)).await;
    let mut number = 0;
    let mut publish = async |fleet: &Fleet, local: &mut Client| {
        number += 1;
        let began = Instant::now();
        fleet.publish_on(0, "acme", "n", &json!(number));
        assert_eq!(local.expect("n").await, number);
        assert!(began.elapsed() < Duration::from_secs(1), "a local delivery took {:?}", began.elapsed());
        number
    };
    for _ in 0..100 {
        let sent = publish(&fleet, &mut local).await;
        assert_eq!(remote.expect("n").await, sent);
    }
    assert_eq!(lost(&fleet), 0.0);

    fleet.redis.as_mut().unwrap().kill();
    eventually("the loss of Redis is noticed", || carillon_tests::eventually::is(fleet.metric(0, "carillon_redis_up"), &0.0)).await;
    for _ in 0..100 {
        publish(&fleet, &mut local).await;
    }
    let mut newcomer = Client::connect(fleet.addresses()[0], &token("acme", 3)).await;
    let sent = publish(&fleet, &mut local).await;
    assert_eq!(newcomer.expect("n").await, sent, "clients are let in without Redis");
    eventually("what could not be sent is counted", || if lost(&fleet) >= 101.0 { Ok(()) } else { Err(lost(&fleet)) }).await;

    fleet.redis.as_mut().unwrap().restart().await;
    // From here on messages pass again before the limit is over.
    let healed = async {
        loop {
            publish(&fleet, &mut local).await;
            if let Ok(Some((name, data))) = tokio::time::timeout(Duration::from_millis(50), remote.next()).await {
                assert_eq!(name, "n");
                return data.as_i64().unwrap();
            }
        }
    };
    let first = within(HEALED, "a message passes between servers again", healed).await;
    assert!(first > 201, "number {first} was published while Redis was away, and is too old");
    let mut next = first + 1;
    let last = publish(&fleet, &mut local).await;
    while next <= last {
        assert_eq!(remote.expect("n").await, next, "nothing is lost any more");
        next += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_starts_without_its_redis_and_finds_it_later() {
    let setup = Setup { servers: 2, redis: true, ..Setup::default() };
    let mut fleet = Fleet::with_redis_away(setup, &[tenant("acme")]).await;
    let mut local = Client::connect(fleet.addresses()[0], &token("acme", 1)).await;
    let mut remote = Client::connect(fleet.addresses()[1], &token("acme", 2)).await;
    fleet.publish_on(0, "acme", "n", &json!(1));
    assert_eq!(local.expect("n").await, 1);
    fleet.redis.as_mut().unwrap().restart().await;
    fleet.is_one().await;
    let healed = async {
        loop {
            fleet.publish_on(0, "acme", "n", &json!(2));
            if let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(50), remote.next()).await {
                return event;
            }
        }
    };
    assert_eq!(within(HEALED, "messages pass between the servers", healed).await.1, json!(2));
}
