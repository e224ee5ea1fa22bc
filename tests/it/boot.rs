//! Servers that start while no operator is there.

use std::time::Duration;

use carillon_tests::{
    driver::Socket,
    eventually::{DEADLINE, eventually, eventually_async},
    http, node,
    processes::Processes,
    tenants::tenant,
    tokens::{claims, signed, token},
};
use hyper::Method;
use serde_json::json;

const FROM_BOOT: &str = "carillon_config_from_boot";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_start_with_what_the_operator_wrote_and_send_nobody_away_for_good() {
    let age = Duration::from_secs(1000);
    let mut fleet = Processes::start_on_their_own(2, &[tenant("acme")], age).await;
    let driver = node::start().await;
    let url = |server: usize| format!("http://{}", fleet.address(server));
    let options = json!({"reconnectionDelay": 50, "reconnectionDelayMax": 100});
    // They wait for the operator first. Clients try again by themselves, on each transport.
    let mut known = Vec::new();
    for server in 0..2 {
        known.push(driver.open(&url(server), Some(&token("acme", server)), &options));
    }
    for socket in &mut known {
        socket.expect("connect").await;
    }
    // What may be wrong is told to nobody: a tenant, or a key, that came after that was written.
    let mut later = driver.open(&url(0), Some(&token("globex", 1)), &options);
    let forged = driver.open(&url(1), Some(&signed(&claims("acme", 1), b"a secret that was never any tenant's own")), &options);
    for server in 0..2 {
        assert_eq!(fleet.metric(server, FROM_BOOT).await, 1.0);
        assert!(fleet.metric(server, "carillon_config_age_seconds").await >= 1000.0);
    }
    for (server, result) in [(0, "tenant_unknown"), (1, "signature_invalid")] {
        eventually_async(DEADLINE, "a client that is not let in tries again and again", async || {
            let metrics = fleet.metrics(server).await;
            let refused: f64 =
                metrics.lines().filter(|line| line.contains(result)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
            if refused >= 3.0 { Ok(()) } else { Err(metrics) }
        })
        .await;
    }
    assert!(!was_refused(&later) && !was_refused(&forged), "{:?} {:?}", later.heard(), forged.heard());
    let answer = http::request(fleet.address(0), Method::GET, "/v1/tenants/globex/usage", &[("authorization", "Bearer any")], "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("not_programmed")));

    fleet.push(&[tenant("acme"), tenant("globex")]).await;
    later.expect("connect").await;
    eventually("a forged token is refused for good", || if was_refused(&forged) { Ok(()) } else { Err(forged.heard()) }).await;
    for server in 0..2 {
        assert_eq!(fleet.metric(server, FROM_BOOT).await, 0.0);
    }
    for socket in &known {
        assert_eq!(socket.count("disconnect"), 0, "{:?}", socket.heard());
    }
}

fn was_refused(socket: &Socket) -> bool {
    socket.heard().iter().any(|event| event.data.iter().any(|data| data.to_string().contains("Authentication error")))
}
