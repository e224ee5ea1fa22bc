//! What an idle connection costs: a browser's request must not be kept for as long as its connection lives.

use std::{fs, net::SocketAddr};

use carillon_tests::{
    client::Client,
    command::Dev,
    eventually::eventually,
    tokens::{claims, signed_by},
};
use serde_json::json;

/// Connections that are measured.
const CONNECTIONS: usize = 200;
/// Memory of one, in bytes: well above what it takes, and well below that with the 12 KiB of its request's head.
const CONNECTION_BYTES_MAX: usize = 26 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_request_head_is_not_kept_with_its_connection() {
    let dev = Dev::start(&[]).await;
    let address: SocketAddr = dev.url.trim_start_matches("http://").parse().expect("an address");
    // The first ones pay for what the process makes once.
    let mut open = Vec::new();
    for user in 0..100 {
        open.push(connect(address, user).await);
    }
    let before = resident_bytes(dev.id());
    for user in 100..100 + CONNECTIONS {
        open.push(connect(address, user).await);
    }
    eventually("an idle connection takes little memory", || {
        let each = resident_bytes(dev.id()).saturating_sub(before) / CONNECTIONS;
        if each < CONNECTION_BYTES_MAX { Ok(()) } else { Err(each) }
    })
    .await;
    drop(open);
}

async fn connect(address: SocketAddr, user: usize) -> Client {
    let cookie = "x".repeat(12 << 10);
    let mut client = Client::open_with(address, &[("Cookie", &cookie)]).await.expect("the server opens a WebSocket");
    let token = signed_by("2026-11", &claims("acme", user), b"acme-example-signing-secret-not-for-production");
    client.authenticate(&json!({"token": token})).await.expect("the server lets the client in");
    client
}

fn resident_bytes(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says how much memory a process has");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB") * 1024
}
