//! Rooms, counted over the whole fleet: how many there are, how many are in one, and that whoever goes makes place at once.

use std::collections::BTreeMap;

use carillon_tests::{
    client::Client,
    eventually::{eventually_async, within_deadline},
    processes::Processes,
    tokens::token,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{AT_ONCE, RECOVERED, boundless};

const SERVERS: usize = 4;

async fn clients(fleet: &Processes, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for user in 0..count {
        clients.push(Client::connect(fleet.address(user % SERVERS), &token("acme", user)).await);
    }
    clients
}

async fn join(client: &mut Client, room: &str) -> Result<(), Value> {
    let answer = client.call("rt:join", &json!({"room": room})).await;
    if answer["ok"] == true { Ok(()) } else { Err(answer["error"].clone()) }
}

/// Tries until it works, but not for long.
async fn joins_at_once(client: &mut Client, room: &str) {
    eventually_async(AT_ONCE, &format!("there is place in {room}"), async || join(client, room).await).await;
}

/// Every client joins its rooms, all clients at once. Gives the clients, each with the rooms it is in, and the refusals.
async fn all_join(clients: Vec<Client>, rooms_of: impl Fn(usize) -> Vec<String>) -> (Vec<(Client, Vec<String>)>, Vec<Value>) {
    let mut tasks = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let rooms = rooms_of(number);
        tasks.spawn(async move {
            let (mut joined, mut refusals) = (Vec::new(), Vec::new());
            for room in rooms {
                match join(&mut client, &room).await {
                    Ok(()) => joined.push(room),
                    Err(refusal) => refusals.push(refusal),
                }
            }
            (number, (client, joined), refusals)
        });
    }
    let (mut members, mut refusals) = (BTreeMap::new(), Vec::new());
    within_deadline("every client has its answers", async {
        while let Some(done) = tasks.join_next().await {
            let (number, member, refused) = done.expect("a client's task goes well");
            members.insert(number, member);
            refusals.extend(refused);
        }
    })
    .await;
    (members.into_values().collect(), refusals)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_thousand_rooms_a_thousand_come_alive() {
    let fleet = Processes::start(SERVERS, &[boundless("acme").with("/quotas/rooms/max", 1000)]).await;
    let clients = clients(&fleet, 100).await;
    let rooms_of = |client: usize| (0..50).map(|room| format!("room-{client}-{room}")).collect();
    let (mut members, refusals) = all_join(clients, rooms_of).await;
    let alive: usize = members.iter().map(|(_, rooms)| rooms.len()).sum();
    assert_eq!((alive, refusals.len()), (1000, 4000));
    for refusal in &refusals {
        let told = (&refusal["code"], &refusal["scope"], &refusal["limit"], &refusal["fatal"]);
        assert_eq!(told, (&json!("rooms_max"), &json!("tenant"), &json!(1000), &json!(false)), "{refusal}");
    }
    fleet.uses(RECOVERED, "acme", 100, 1000).await;

    // A room that is alive takes no place when a client of another server joins it.
    members.retain(|(_, rooms)| !rooms.is_empty());
    let (mut leaver, rooms) = members.pop().expect("some got rooms");
    let shared = &members[0].1[0];
    let mut newcomers = Vec::new();
    for server in 0..SERVERS {
        newcomers.push(Client::connect(fleet.address(server), &token("acme", "newcomer")).await);
        assert_eq!(join(&mut newcomers[server], shared).await, Ok(()), "on server {server}");
    }
    // Whoever leaves a room makes place for another one, on any server.
    assert_eq!(leaver.call("rt:leave", &json!({"room": rooms[0]})).await["ok"], true);
    joins_at_once(&mut newcomers[3], "after-one-was-left").await;
    assert_eq!(join(&mut newcomers[1], "one-too-many").await.unwrap_err()["code"], "rooms_max");
    // So does whoever goes.
    drop(leaver);
    for number in 1..rooms.len() {
        joins_at_once(&mut newcomers[number % SERVERS], &format!("after-one-went-{number}")).await;
    }
    assert_eq!(join(&mut newcomers[0], "one-too-many").await.unwrap_err()["code"], "rooms_max");
    // Only the members with rooms are left, and the newcomers.
    fleet.uses(RECOVERED, "acme", members.len() + SERVERS, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_has_so_many_members_on_all_servers_together() {
    let fleet = Processes::start(SERVERS, &[boundless("acme").with("/quotas/rooms/maxMembers", 10)]).await;
    let clients = clients(&fleet, 40).await;
    let (members, refusals) = all_join(clients, |_| vec!["small".to_owned(), "large".to_owned()]).await;
    assert_eq!(refusals.len(), 2 * 30);
    for refusal in &refusals {
        let told = (&refusal["code"], &refusal["scope"], &refusal["limit"], &refusal["fatal"]);
        assert_eq!(told, (&json!("room_members_max"), &json!("room"), &json!(10), &json!(false)), "{refusal}");
    }
    let mut inside: Vec<Client> =
        members.into_iter().filter(|(_, rooms)| rooms.iter().any(|room| room == "small")).map(|(client, _)| client).collect();
    assert_eq!(inside.len(), 10);
    for server in 0..SERVERS {
        let mut leaver = inside.pop().expect("ten are inside");
        if server % 2 == 0 {
            assert_eq!(leaver.call("rt:leave", &json!({"room": "small"})).await["ok"], true);
        } else {
            drop(leaver);
        }
        let mut next = Client::connect(fleet.address(server), &token("acme", "next")).await;
        joins_at_once(&mut next, "small").await;
        let mut late = Client::connect(fleet.address((server + 1) % SERVERS), &token("acme", "late")).await;
        assert_eq!(join(&mut late, "small").await.unwrap_err()["code"], "room_members_max");
        // Both stay to the end.
        inside.insert(0, next);
    }
}
