//! What the program that Carillon is made for does, with its own client code: connect, join the tenant, hear notifications, be online.

use carillon_tests::{
    client::Client,
    driver::{Driver, Socket},
    fleet::Fleet,
    node, python,
    tenants::tenant,
    tokens::token,
};
use serde_json::{Value, json};

fn node_transports() -> [(Value, &'static str); 3] {
    [(json!({}), "polling"), (json!({"transports": ["polling"]}), "polling"), (json!({"transports": ["websocket"]}), "websocket")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_clients_hear_their_tenant_on_every_transport() {
    hears_its_tenant(node::start().await, node_transports()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_clients_hear_their_tenant_on_every_transport() {
    let transports =
        [(json!({}), "polling"), (json!({"transports": ["polling"]}), "polling"), (json!({"transports": ["websocket"]}), "websocket")];
    hears_its_tenant(python::start().await, transports).await;
}

async fn hears_its_tenant(driver: Driver, transports: [(Value, &str); 3]) {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut sockets = Vec::new();
    for (options, _) in &transports {
        for user in [1, 2] {
            sockets.push(driver.open(&fleet.url(), Some(&token("acme", user)), options));
        }
    }
    let mut stranger = driver.open(&fleet.url(), Some(&token("globex", 1)), &json!({}));
    for socket in sockets.iter_mut().chain([&mut stranger]) {
        socket.expect("connect").await;
    }
    fleet.publish("acme", "record:created", &json!({"id": 7, "table": "orders"}));
    for socket in &mut sockets {
        assert_eq!(socket.expect("record:created").await, json!({"id": 7, "table": "orders"}));
    }
    fleet.publish("globex", "fence", &json!(1));
    stranger.expect("fence").await;
    assert_eq!(stranger.count("record:created"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_transports_upgrade_to_websocket() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let node = node::start().await;
    let mut socket = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({}));
    assert_eq!(socket.expect("open").await, "polling");
    assert_eq!(socket.expect("upgrade").await, "websocket");
    fleet.publish("acme", "dashboard:update", &json!({"active_users": 1}));
    assert_eq!(socket.expect("dashboard:update").await, json!({"active_users": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_online_is_told_to_everyone_else() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let node = node::start().await;
    let open = async |tenant, user: Value, options| {
        let mut socket: Socket = node.open(&fleet.url(), Some(&token(tenant, user)), &options);
        socket.expect("connect").await;
        socket
    };
    let mut number = open("acme", json!(7), json!({"transports": ["websocket"]})).await;
    let mut text = open("acme", json!("7b"), json!({})).await;
    let mut polling = open("acme", json!(9), json!({"transports": ["polling"]})).await;
    let mut stranger = open("globex", json!(7), json!({})).await;
    number.emit("user:online", &json!({}));
    for socket in [&mut text, &mut polling] {
        assert_eq!(socket.expect("user:status").await, json!({"user_id": 7, "status": "online"}));
    }
    text.emit("user:online", &json!({}));
    assert_eq!(number.expect("user:status").await, json!({"user_id": "7b", "status": "online"}));
    assert_eq!(number.count("user:status"), 1, "the sender does not hear itself");
    fleet.publish("globex", "fence", &json!(1));
    stranger.expect("fence").await;
    assert_eq!(stranger.count("user:status"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_reaches_every_socket_and_none_of_another_tenant() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut ours = Vec::new();
    for user in 0..30 {
        ours.push(Client::connect(fleet.address(), &token("acme", user % 10)).await);
    }
    let mut other = Client::connect(fleet.address(), &token("globex", 0)).await;
    fleet.publish("acme", "record:created", &json!({"text": "Grüße 🎐 \u{0} \" \\ </script>"}));
    for client in &mut ours {
        assert_eq!(client.expect("record:created").await, json!({"text": "Grüße 🎐 \u{0} \" \\ </script>"}));
    }
    fleet.publish("globex", "fence", &Value::Null);
    other.expect("fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_drops_comes_back_by_itself() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let node = node::start().await;
    let mut socket = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({"transports": ["websocket"], "reconnectionDelay": 10}));
    socket.expect("connect").await;
    for session in fleet.tenant("acme").sessions().iter() {
        session.outlet.cut();
    }
    assert_eq!(socket.expect("disconnect").await, "transport close");
    socket.expect("connect").await;
    fleet.publish("acme", "record:created", &json!(2));
    assert_eq!(socket.expect("record:created").await, 2);
    fleet.uses("acme", 1, 1, 0).await;
}
