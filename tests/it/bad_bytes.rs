//! Bytes that no client library sends. Whoever sends them may lose the connection; nobody else may notice.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    eventually::within,
    fleet::Fleet,
    http, panics,
    polling::{self, Polling},
    tenants::tenant,
    tokens::token,
    websocket::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT},
};
use hyper::Method;
use serde_json::json;

/// How long another client may have to wait.
const HANG_LIMIT: Duration = Duration::from_secs(1);

/// A client that must not notice anything.
struct Bystander(Client);

impl Bystander {
    async fn at(fleet: &Fleet) -> Self {
        Self(Client::connect(fleet.address(), &token("acme", "bystander")).await)
    }

    async fn is_served(&mut self, after: &str) {
        let answer =
            within(HANG_LIMIT, format!("an answer to another client after {after}"), self.0.call("rt:join", &json!({"room": "a"}))).await;
        assert_eq!(answer["ok"], true, "after {after}");
        panics::assert_none();
    }
}

/// Text packets that are none, or wrong ones.
fn packets() -> Vec<(&'static str, String)> {
    let deep = |depth: usize| format!("42[\"rt:join\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    vec![
        ("nothing", String::new()),
        ("an unknown engine packet", "9".into()),
        ("a letter", "x".into()),
        ("an open packet", "0{}".into()),
        ("an upgrade packet", "5".into()),
        ("a probe", "2probe".into()),
        ("a noop", "6".into()),
        ("a pong nobody asked for", "3".into()),
        ("base64 text", "bAAAA".into()),
        ("no packet type", "4".into()),
        ("an unknown packet type", "49[\"x\"]".into()),
        ("a letter as packet type", "4x".into()),
        ("an event without data", "42".into()),
        ("an event that is an object", "42{\"a\":1}".into()),
        ("an event that is a string", "42\"a\"".into()),
        ("an empty event", "42[]".into()),
        ("a number as event", "42[1]".into()),
        ("null as event", "42[null]".into()),
        ("an object as event", "42[{\"toString\":\"x\"}]".into()),
        ("an array as event", "42[[\"rt:join\"]]".into()),
        ("cut JSON", "42[\"rt:join\",{\"room\":\"a\"".into()),
        ("JSON with more behind", "42[\"rt:join\",{}]]]]".into()),
        ("a lone surrogate", "42[\"\\ud800\",{}]".into()),
        ("a huge number", format!("42[\"rt:join\",{{\"room\":1{}}}]", "0".repeat(5000))),
        ("deep JSON", deep(30_000)),
        ("deep JSON, unclosed", format!("42[\"rt:join\",{}", "[".repeat(60_000))),
        ("deep JSON as event", format!("42{}", "[".repeat(60_000))),
        ("deep JSON in auth", format!("40{}", "[".repeat(60_000))),
        ("an ack id beyond 64 bits", "42999999999999999999999999[\"rt:join\",{}]".into()),
        ("the largest ack id", "429223372036854775807[\"rt:join\",{}]".into()),
        ("an ack id below zero", "42-1[\"rt:join\",{}]".into()),
        ("an ack nobody asked for", "431[1]".into()),
        ("a huge ack nobody asked for", "4318446744073709551615[1]".into()),
        ("a binary ack nobody asked for", "461-1[{\"_placeholder\":true,\"num\":0}]".into()),
        ("absurdly many attachments", "45999999999999-[\"x\"]".into()),
        ("attachments beyond 64 bits", "4599999999999999999999999-[\"x\"]".into()),
        ("a negative number of attachments", "45-1-[\"x\"]".into()),
        ("attachments without a number", "45-[\"x\"]".into()),
        ("no attachments at all", "450-[\"x\"]".into()),
        ("a binary event without a dash", "45[\"x\"]".into()),
        ("a placeholder out of range", "451-[\"x\",{\"_placeholder\":true,\"num\":7}]".into()),
        ("a placeholder of the wrong type", "451-[\"x\",{\"_placeholder\":true,\"num\":\"splice\"}]".into()),
        ("a placeholder without binary", "42[\"rt:join\",{\"room\":{\"_placeholder\":true,\"num\":0}}]".into()),
        ("a second CONNECT", "40{\"token\":\"x\"}".into()),
        ("a CONNECT with broken auth", "40{\"token\":".into()),
        ("a CONNECT to nowhere", "40/nowhere,{}".into()),
        ("a namespace without a comma", "40/nowhere".into()),
        ("a namespace with a query", "42/?a=b,[\"x\"]".into()),
        ("a namespace with a hash", "42/#,[\"x\"]".into()),
        ("a namespace that is long", format!("40/{},{{}}", "n".repeat(60_000))),
        ("an event to another namespace", "42/nowhere,[\"rt:join\",{}]".into()),
        ("a disconnect of another namespace", "41/nowhere,".into()),
        ("a connect_error", "44{\"message\":\"x\"}".into()),
        ("a polling body", "42[\"x\"]\u{1e}42[\"x\"]".into()),
        ("nul bytes", "42[\"\0\",\"\0\"]\0".into()),
        ("a bell and a byte order mark", "\u{feff}42[\"\u{7}\"]".into()),
        ("prototype pollution", "42[\"__proto__\",{\"__proto__\":{\"room\":\"a\"},\"constructor\":{}}]".into()),
        ("a long event", format!("42[\"{}\"]", "e".repeat(60_000))),
        ("many arguments", format!("42[\"rt:join\"{}]", ",0".repeat(30_000))),
        ("a close", "1".into()),
        ("a disconnect", "41".into()),
        ("a disconnect with data", "41{\"a\":1}".into()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_packets_over_a_websocket() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut bystander = Bystander::at(&fleet).await;
    for (what, packet) in packets() {
        let mut before = Client::open(fleet.address()).await;
        let mut after = Client::connect(fleet.address(), &token("acme", 1)).await;
        for client in [&mut before, &mut after] {
            client.socket.send(&packet).await;
            client.socket.send_frame(&Frame::new(BINARY, vec![0xff; 10])).await;
            client.socket.send(&packet).await;
        }
        bystander.is_served(what).await;
    }
    drop(bystander);
    fleet.uses("acme", 0, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_packets_over_polling() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/maxPerUser", "Unlimited")]).await;
    let mut bystander = Bystander::at(&fleet).await;
    for (what, packet) in packets() {
        let before = Polling::open(fleet.address()).await;
        let after = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
        for client in [&before, &after] {
            let body = format!("{packet}\u{1e}\u{1e}{packet}\u{1e}");
            let status = within(HANG_LIMIT * 5, what, client.post(&body)).await.status;
            assert!(status.as_u16() < 500, "{what}: {status}");
            client.post("1").await;
        }
        bystander.is_served(what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_polling_bodies() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/maxPerUser", "Unlimited")]).await;
    let mut bystander = Bystander::at(&fleet).await;
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("separators", vec![0x1e; 10_000]),
        ("invalid UTF-8", vec![b'4', b'2', b'[', b'"', 0xff, 0xfe, b'"', b']']),
        ("half a character", "42[\"ä".as_bytes()[..5].to_vec()),
        ("binary", (0..=255).collect()),
        ("base64 that is none", b"b!!!!".to_vec()),
        ("base64 that ends early", b"bAAA".to_vec()),
        ("lengths of an old protocol", b"6:42[\"x\"]9999999999:4".to_vec()),
        ("thousands of packets", "42[\"x\"]\u{1e}".repeat(3000).into_bytes()),
        ("thousands of connects", "40{}\u{1e}".repeat(3000).into_bytes()),
        ("thousands of namespaces", (0..3000).map(|number| format!("40/n{number},{{}}\u{1e}")).collect::<String>().into_bytes()),
        ("thousands of attachments that never come", "4516-[\"x\"]\u{1e}".repeat(3000).into_bytes()),
    ];
    for (what, body) in bodies {
        let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
        let status = within(HANG_LIMIT * 5, what, client.post_as(&client.sid, &body)).await.status;
        assert!(status.as_u16() < 500, "{what}: {status}");
        bystander.is_served(what).await;
        client.post("1").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_requests_out_of_turn() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/maxPerUser", "Unlimited")]).await;
    let mut bystander = Bystander::at(&fleet).await;
    let connect = async || Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();

    let twice = connect().await;
    // Whether both are answered is such a client's own affair.
    let polls = tokio::time::timeout(HANG_LIMIT, async { tokio::join!(twice.get(), twice.get()) }).await;
    if let Ok((first, second)) = polls {
        assert!(first.status.as_u16() < 500 && second.status.as_u16() < 500, "{first:?} {second:?}");
    }
    bystander.is_served("two polls at once").await;

    let posts = connect().await;
    let (first, second) = tokio::join!(posts.post(r#"42["x"]"#), posts.post(r#"42["x"]"#));
    assert!(first.status.as_u16() < 500 && second.status.as_u16() < 500, "{first:?} {second:?}");
    bystander.is_served("two posts at once").await;

    let closed = connect().await;
    closed.post("1").await;
    assert_eq!(closed.post(r#"42["x"]"#).await.status, 400);
    assert_eq!(closed.get().await.status, 400);

    let aborted = connect().await;
    tokio::time::timeout(Duration::from_millis(50), aborted.get()).await.ok();
    fleet.publish("acme", "fence", &json!(1));
    bystander.0.expect("fence").await;
    bystander.is_served("an aborted poll").await;

    let methods = connect().await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD, Method::TRACE] {
        let response = http::try_request(fleet.address(), method.clone(), &polling::path(&methods.sid), &[], "x").await;
        assert!(response.is_some_and(|response| response.status.is_client_error()), "{method}");
    }
    bystander.is_served("other methods").await;

    for query in [
        "",
        "EIO=4",
        "EIO=3&transport=polling",
        "EIO=9&transport=polling",
        "EIO=4&transport=carrier-pigeon",
        "transport=polling&EIO=4&EIO=3",
        "EIO=4&transport=websocket",
        "%00",
        "EIO=4&transport=polling&j=0",
        "EIO=4&transport=polling&b64=1",
    ] {
        let response = http::request(fleet.address(), Method::GET, &format!("/socket.io/?{query}"), &[], "").await;
        assert!(response.status.as_u16() < 500, "{query}: {response:?}");
    }
    bystander.is_served("odd queries").await;
}

/// Frames, or bytes that are none.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |flags: u8, opcode: u8, masked: bool, payload: &[u8]| Frame { flags, opcode, masked, payload: payload.to_vec() }.encode();
    let event = br#"42["rt:join",{"room":"a"}]"#;
    vec![
        ("an unmasked frame", frame(0x80, TEXT, false, event)),
        ("a reserved bit", frame(0xc0, TEXT, true, event)),
        ("all reserved bits", frame(0xf0, TEXT, true, event)),
        ("an unknown opcode", frame(0x80, 3, true, event)),
        ("an unknown control opcode", frame(0x80, 15, true, event)),
        ("a continuation of nothing", frame(0x80, CONTINUATION, true, event)),
        ("a message begun twice", [frame(0, TEXT, true, b"42"), frame(0x80, TEXT, true, event)].concat()),
        ("an oversize ping", frame(0x80, PING, true, &[0; 200])),
        ("a fragmented ping", frame(0, PING, true, b"x")),
        ("a pong nobody asked for", frame(0x80, PONG, true, b"x")),
        ("a flood of pings", frame(0x80, PING, true, &[0; 125]).repeat(5000)),
        ("a flood of pongs", frame(0x80, PONG, true, &[0; 125]).repeat(5000)),
        ("invalid UTF-8", frame(0x80, TEXT, true, &[b'4', b'2', 0xff, 0xfe])),
        ("half a character", frame(0x80, TEXT, true, &[b'4', b'2', 0xc3])),
        ("a close with one byte", frame(0x80, CLOSE, true, &[3])),
        ("a close with a reserved code", frame(0x80, CLOSE, true, &[0x03, 0xee])),
        ("a close with invalid UTF-8", frame(0x80, CLOSE, true, &[0x03, 0xe8, 0xff])),
        ("frames after a close", [frame(0x80, CLOSE, true, &[]), frame(0x80, TEXT, true, event)].concat()),
        ("a length of 2^63", [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat()),
        ("a length that needs no 64 bits", [&[0x81, 0xff][..], &1u64.to_be_bytes(), &[0; 4], b"4"].concat()),
        ("a header cut short", vec![0x81, 0xfe, 0x10]),
        ("a frame cut short", frame(0x80, TEXT, true, event)[..10].to_vec()),
        ("twenty thousand tiny fragments", [frame(0, TEXT, true, b"42"), frame(0, CONTINUATION, true, b"x").repeat(20_000)].concat()),
        ("twenty thousand empty fragments", [frame(0, TEXT, true, b""), frame(0, CONTINUATION, true, b"").repeat(20_000)].concat()),
        ("a flood of empty messages", frame(0x80, TEXT, true, b"").repeat(5000)),
        ("a flood of empty binaries", frame(0x80, BINARY, true, b"").repeat(5000)),
        ("binary nobody announced", frame(0x80, BINARY, true, &[0; 60_000])),
        ("attachments that never come", frame(0x80, TEXT, true, b"4516-[\"x\"]")),
        ("text between attachments", [frame(0x80, TEXT, true, b"452-[\"x\"]"), frame(0x80, TEXT, true, event)].concat()),
        ("a flood of half attachments", [frame(0x80, TEXT, true, b"452-[\"x\"]"), frame(0x80, BINARY, true, b"a")].concat().repeat(2000)),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc]),
        ("zeros", vec![0; 50_000]),
        ("ones", vec![0xff; 50_000]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut bystander = Bystander::at(&fleet).await;
    for (what, bytes) in frames() {
        let mut before = Client::open(fleet.address()).await;
        let mut after = Client::connect(fleet.address(), &token("acme", 1)).await;
        for client in [&mut before, &mut after] {
            tokio::time::timeout(HANG_LIMIT, client.socket.send_bytes(&bytes)).await.ok();
        }
        bystander.is_served(what).await;
    }
    drop(bystander);
    fleet.uses("acme", 0, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut bystander = Bystander::at(&fleet).await;
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let polling = "POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let requests: Vec<(&str, Vec<u8>)> = vec![
        ("binary", vec![0xff; 1000]),
        ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, b'\r', b'\n', b'\r', b'\n']),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a huge header", format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(100_000)).into_bytes()),
        ("a huge path", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)).into_bytes()),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: a\r\n".repeat(1000)).into_bytes()),
        ("no version", format!("{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").into_bytes()),
        ("no key", format!("{head}Sec-WebSocket-Version: 13\r\n\r\n").into_bytes()),
        ("an old version", format!("{head}Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").into_bytes()),
        ("a key that is none", format!("{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ?\r\n\r\n").into_bytes()),
        ("two lengths", format!("{polling}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx").into_bytes()),
        ("a length and chunks", format!("{polling}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes()),
        ("a length below zero", format!("{polling}Content-Length: -1\r\n\r\n").into_bytes()),
        ("a chunk that is too long", format!("{polling}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n").into_bytes()),
        (
            "a line feed in a header",
            b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: https://a\n b\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        (
            "bytes above ASCII in Origin",
            b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: \xff\xfe\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        ("an absolute path", b"GET http://x/socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("a tunnel", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("dots", b"GET /socket.io/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in requests {
        let answer = tokio::time::timeout(HANG_LIMIT, http::raw(fleet.address(), &bytes, 200)).await.unwrap_or_default();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or(400);
        assert!(status < 500, "{what}: {answer}");
        bystander.is_served(what).await;
    }
}
