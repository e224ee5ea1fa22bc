//! Rates over the whole fleet: offered three times as much as may be, nearly all of it to one server, what comes through is the limit.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use carillon_tests::{
    client::{Client, Failure},
    http::notify,
    processes::Processes,
    tenants::{api_key_of, tenant},
    tokens::token,
};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, interval},
};

use super::MACHINE;

const SERVERS: usize = 4;
/// Of a hundred attempts so many go to each server.
const SHARES: [u64; SERVERS] = [90, 5, 3, 2];
/// The fleet has this long to find out who needs what.
const SETTLING: Duration = Duration::from_secs(2);
/// Then it is measured.
const MEASURED: Duration = Duration::from_secs(10);
/// What comes through may differ from the limit by so much.
const ERROR_PERCENT: u64 = 5;

/// Offers three times `per_second`, and holds what came through against it. An attempt gives whether it did.
async fn comes_through<F>(what: &str, per_second: u64, attempt: impl Fn(usize) -> F) -> Result<(), String>
where
    F: Future<Output = bool> + Send + 'static,
{
    let (began, admitted) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let (mut offered, mut ticks) = (0, interval(Duration::from_millis(10)));
    while began.elapsed() < SETTLING + MEASURED {
        ticks.tick().await;
        while u128::from(offered) * 1000 < began.elapsed().as_millis() * u128::from(3 * per_second) {
            let (attempt, admitted) = (attempt(server_of(offered)), admitted.clone());
            tokio::spawn(async move {
                if attempt.await && (SETTLING..SETTLING + MEASURED).contains(&began.elapsed()) {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            });
            offered += 1;
        }
    }
    let (admitted, expected) = (admitted.load(Ordering::Relaxed), per_second * MEASURED.as_secs());
    let told = format!("{what}: {admitted} came through, {expected} may, {offered} were offered");
    eprintln!("{told}");
    if admitted.abs_diff(expected) * 100 <= expected * ERROR_PERCENT { Ok(()) } else { Err(told) }
}

/// The server of an attempt: any hundred in a row are shared out as [`SHARES`] says, well mixed.
fn server_of(attempt: u64) -> usize {
    let mut point = attempt * 37 % 100;
    SHARES.iter().position(|share| point.checked_sub(*share).map(|rest| point = rest).is_none()).expect("the shares are 100 together")
}

/// So many connected clients on each server, used in turn.
struct Pool {
    clients: Vec<Vec<Mutex<Client>>>,
    turn: AtomicU64,
}

impl Pool {
    async fn of(fleet: &Processes, tenant: &str, counts: [usize; SERVERS]) -> Arc<Self> {
        let mut clients = Vec::new();
        for (server, count) in counts.into_iter().enumerate() {
            let mut here = Vec::new();
            for number in 0..count {
                here.push(Mutex::new(Client::connect(fleet.address(server), &token(tenant, number)).await));
            }
            clients.push(here);
        }
        Arc::new(Self { clients, turn: AtomicU64::new(0) })
    }

    /// Asks for a room and gives how many were passed before this one.
    async fn join(&self, server: usize, room: impl Fn(u64) -> String) -> bool {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let here = &self.clients[server];
        let mut client = here[usize::try_from(turn).expect("few enough") % here.len()].lock().await;
        let name = json!({"room": room(turn)});
        let answer = client.call("rt:join", &name).await;
        if answer["ok"] == true {
            if name["room"] != "lobby" {
                client.call("rt:leave", &name).await;
            }
            return true;
        }
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        assert!(matches!(code, "messages_rate" | "room_create_rate"), "{answer}");
        assert!(answer["error"]["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0), "{answer}");
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_through_is_the_limit_however_unevenly_it_is_offered() {
    let _machine = MACHINE.lock().await;
    let limited = |id: &str, quota: &str, value: Value| tenant(id).with(&format!("/quotas/{quota}"), value);
    let tenants = [
        limited("senders", "messages", json!({"ratePerSecond": 200, "burst": 200, "ratePerSecondPerConnection": "Unlimited"})),
        limited("backends", "publish", json!({"ratePerSecond": 80, "burst": 80})),
        limited("comers", "connections", json!({"ratePerSecond": 60, "burst": 60, "max": "Unlimited", "maxPerUser": "Unlimited"})),
        limited("makers", "rooms/createRatePerSecond", json!(50)),
    ];
    let fleet = Processes::start(SERVERS, &tenants).await;
    let addresses: [_; SERVERS] = fleet.addresses().try_into().expect("so many servers");
    let senders = Pool::of(&fleet, "senders", [16, 4, 4, 4]).await;
    let makers = Pool::of(&fleet, "makers", [8, 2, 2, 2]).await;
    let send = |server| {
        let senders = senders.clone();
        async move { senders.join(server, |_| "lobby".to_owned()).await }
    };
    let make = |server| {
        let makers = makers.clone();
        async move { makers.join(server, |turn| format!("room-{turn}")).await }
    };
    let publish = |server: usize| async move {
        let answer = notify(addresses[server], "backends", &api_key_of("backends"), &json!({"event": "e", "data": 1})).await;
        assert!(answer.status == 202 || answer.status == 429 && answer.json()["code"] == "publish_rate", "{answer:?}");
        answer.status == 202
    };
    let come = |server: usize| async move {
        match Client::attempt(addresses[server], &token("comers", "someone")).await {
            Ok(_) => true,
            Err(Failure::Refused(message)) if message == "Quota exceeded: connections_rate" => false,
            Err(failure) => panic!("{failure:?}"),
        }
    };
    let results: [Result<(), String>; 4] = tokio::join!(
        comes_through("messages", 200, send),
        comes_through("publishes", 80, publish),
        comes_through("connects", 60, come),
        comes_through("new rooms", 50, make),
    )
    .into();
    let wrong: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
