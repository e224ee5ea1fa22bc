use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use carillon_tenant::ConnectionId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::timeout,
};

use super::{BACKLOG_BYTES_MAX, ENGINE_WAITS_BYTES, Fault, Line, MARK, SendError, frame};
use crate::{
    heartbeat::{Heartbeat, Pulse},
    transport::{Transport, Wire},
    turnstile::{READERS_PER_TURN, Turnstile},
};

const US: ConnectionId = ConnectionId(7);
const PATIENCE: Duration = Duration::from_secs(20);

fn pulse(timeout: Duration) -> Arc<Pulse> {
    Pulse::new(Heartbeat { interval: PATIENCE, timeout, connect_timeout: PATIENCE })
}

/// A line, the engine's end of it, and the client.
async fn unopened_line(patience: Duration) -> (Arc<Line>, Wire, TcpStream) {
    unopened_line_at(Turnstile::default(), patience).await
}

/// The same, which passes `turnstile`.
async fn unopened_line_at(turnstile: Turnstile, patience: Duration) -> (Arc<Line>, Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let line = Line::new(listener.accept().await.unwrap().0, pulse(patience));
    (line.clone(), Wire::new(line, turnstile), client)
}

/// The same, which carries frames.
async fn line(patience: Duration) -> (Arc<Line>, Wire, TcpStream) {
    let (line, wire, client) = unopened_line(patience).await;
    line.carry_frames();
    (line, wire, client)
}

/// The same, past its mark.
async fn open_line(patience: Duration) -> (Arc<Line>, Wire, TcpStream) {
    let (line, mut wire, client) = line(patience).await;
    line.await_mark(US, Vec::new()).unwrap();
    wire.write_all(&mark(US)).await.unwrap();
    (line, wire, client)
}

fn text(message: &str) -> Bytes {
    frame::text(&[message])
}

fn mark(connection: ConnectionId) -> Bytes {
    text(&format!("42[\"{MARK}\",{}]", connection.0))
}

/// A binary frame of one byte.
fn binary(byte: u8) -> Vec<u8> {
    vec![0x82, 1, byte]
}

async fn heard(client: &mut TcpStream, expected: &[&[u8]]) {
    let expected = expected.concat();
    let mut bytes = vec![0; expected.len()];
    timeout(PATIENCE, client.read_exact(&mut bytes)).await.expect("it comes in time").unwrap();
    assert_eq!(bytes, expected, "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn clients_who_speak_at_once_are_read_in_turns() {
    const ALL: usize = 5 * READERS_PER_TURN;
    let (turnstile, read) = (Turnstile::default(), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for _ in 0..ALL {
        let (_, wire, client) = unopened_line_at(turnstile.clone(), PATIENCE).await;
        let (mut wire, read) = (wire.in_turn(), read.clone());
        tokio::spawn(async move {
            wire.read_u8().await.unwrap();
            read.fetch_add(1, Ordering::AcqRel)
        });
        clients.push(client);
    }
    yield_now().await;
    clients.iter().for_each(|client| assert_eq!(client.try_write(b"x").unwrap(), 1));
    let all_read = async {
        while read.load(Ordering::Acquire) < ALL {
            let before = read.load(Ordering::Acquire);
            yield_now().await;
            let together = read.load(Ordering::Acquire) - before;
            assert!(together <= READERS_PER_TURN, "{together} were read while somebody else was ready");
        }
    };
    timeout(PATIENCE, all_read).await.expect("all are read in time");
}

#[tokio::test]
async fn what_is_sent_waits_for_the_mark_and_the_mark_is_never_seen() {
    let (line, mut wire, mut client) = line(PATIENCE).await;
    assert_eq!(line.send(US, &text("too soon")), Err(SendError::Closed));
    line.await_mark(US, vec![text("first")]).unwrap();
    line.send(US, &text("second")).unwrap();
    wire.write_all(&[text("40{}"), mark(ConnectionId(8)), text("queued before")].concat()).await.unwrap();
    heard(&mut client, &[&text("40{}"), &text("queued before")]).await;
    line.send(US, &text("third")).unwrap();
    wire.write_all(&[text("just before"), mark(US), text("just after")].concat()).await.unwrap();
    line.send(US, &text("fourth")).unwrap();
    let all = ["just before", "first", "second", "third", "just after", "fourth"].map(text);
    heard(&mut client, &all.each_ref().map(|frame| &frame[..])).await;
}

#[tokio::test]
async fn the_header_of_the_first_message_is_read_alone_however_it_came() {
    for read_before in [0, 5, 8, 20] {
        let (_line, wire, mut client) = line(PATIENCE).await;
        let bytes: Vec<u8> = (0..100).collect();
        let mut wire = wire.with_read_before(&bytes[..read_before]).with_header_alone();
        client.write_all(&bytes[read_before..]).await.unwrap();
        let mut read = [0; 128];
        let first = timeout(PATIENCE, wire.read(&mut read)).await.expect("it comes in time").unwrap();
        assert!((1..=8).contains(&first), "{first}");
        let rest = timeout(PATIENCE, wire.read_exact(&mut read[first..100])).await.expect("it comes in time").unwrap();
        assert_eq!((first + rest, &read[..100]), (100, &bytes[..]), "{read_before}");
    }
}

#[tokio::test]
async fn nothing_gets_between_a_packet_and_its_attachments() {
    let (line, mut wire, mut client) = open_line(PATIENCE).await;
    let event = text(r#"452-["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    wire.write_all(&event).await.unwrap();
    line.send(US, &text("1")).unwrap();
    wire.write_all(&binary(1)).await.unwrap();
    line.send(US, &text("2")).unwrap();
    wire.write_all(&[binary(2), text("pong").to_vec()].concat()).await.unwrap();
    line.send(US, &text("3")).unwrap();
    heard(&mut client, &[&event, &binary(1), &binary(2), &text("1"), &text("2"), &text("pong"), &text("3")]).await;
}

#[tokio::test]
async fn one_connection_after_the_other() {
    let (line, mut wire, mut client) = open_line(PATIENCE).await;
    let next = ConnectionId(8);
    line.release(next);
    line.send(US, &text("still")).unwrap();
    line.release(US);
    assert_eq!(line.send(US, &text("no more")), Err(SendError::Closed));
    line.await_mark(next, Vec::new()).unwrap();
    assert_eq!(line.send(US, &text("no more")), Err(SendError::Closed));
    wire.write_all(&mark(US)).await.unwrap();
    line.send(next, &text("next")).unwrap();
    wire.write_all(&mark(next)).await.unwrap();
    heard(&mut client, &[&text("still"), &text("next")]).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_makes_the_engine_wait_and_then_publishers_fail() {
    let (line, mut wire, mut client) = open_line(PATIENCE).await;
    let piece = text(&"x".repeat(50_000));
    let mut sent = 0;
    let ended = loop {
        match line.send(US, &piece) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(ended, SendError::Full);
    assert!(sent * piece.len() >= BACKLOG_BYTES_MAX);
    let answer = text("430[]");
    assert!(timeout(Duration::from_millis(50), wire.write_all(&answer)).await.is_err(), "{ENGINE_WAITS_BYTES} bytes wait already");
    let engine = tokio::spawn(async move {
        wire.write_all(&answer).await.unwrap();
        wire
    });
    heard(&mut client, &vec![&piece[..]; sent]).await;
    heard(&mut client, &[&text("430[]")]).await;
    line.send(US, &text("again")).unwrap();
    heard(&mut client, &[&text("again")]).await;
    assert_eq!(line.fault(), None);
    drop(engine);
}

#[tokio::test]
async fn one_message_may_be_larger_than_the_bound() {
    let (line, _wire, mut client) = open_line(PATIENCE).await;
    let large = text(&"x".repeat(16 * BACKLOG_BYTES_MAX));
    line.send(US, &large).unwrap();
    assert_eq!(line.send(US, &large), Err(SendError::Full));
    heard(&mut client, &[&large]).await;
}

#[tokio::test]
async fn what_waits_too_long_ends_the_line() {
    let (line, mut wire, client) = open_line(Duration::from_millis(50)).await;
    line.send(US, &text(&"x".repeat(8 * BACKLOG_BYTES_MAX))).unwrap();
    let end = timeout(PATIENCE, wire.read_u8()).await.expect("it ends in time");
    assert!(end.is_err());
    assert_eq!(line.fault(), Some(Fault::Overdue));
    assert_eq!(line.send(US, &text("more")), Err(SendError::Closed));
    assert!(wire.write_all(&text("more")).await.is_err());
    drop(client);
}

#[tokio::test]
async fn what_waits_goes_out_after_the_engine_is_gone() {
    let (line, wire, mut client) = open_line(PATIENCE).await;
    let large = text(&"x".repeat(8 * BACKLOG_BYTES_MAX));
    line.send(US, &large).unwrap();
    drop(wire);
    assert_eq!(line.send(US, &text("more")), Err(SendError::Closed));
    heard(&mut client, &[&large]).await;
    assert_eq!(timeout(PATIENCE, client.read(&mut [0])).await.expect("it ends in time").unwrap(), 0);
}

#[tokio::test]
async fn a_part_of_a_frame_ends_the_line() {
    let (line, mut wire, _client) = open_line(PATIENCE).await;
    assert!(wire.write_all(&text("abc")[..3]).await.is_err());
    assert_eq!(line.send(US, &text("more")), Err(SendError::Closed));
}

#[tokio::test]
async fn a_session_has_upgraded_when_its_client_says_so() {
    let (line, mut wire, mut client) = unopened_line(PATIENCE).await;
    let transport = Transport::new(None, false, None);
    wire.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
    line.carry_probe(Arc::downgrade(&transport));
    wire.write_all(&text("3probe")).await.unwrap();
    assert!(!line.carries_frames());
    client.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'5']).await.unwrap();
    wire.read_exact(&mut [0; 7]).await.unwrap();
    assert!(line.carries_frames());
    heard(&mut client, &[b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &text("3probe")]).await;
    drop(wire);
    assert!(!transport.has_ended());
}

#[tokio::test]
async fn a_session_whose_upgrade_breaks_off_has_ended() {
    let (line, wire, _client) = unopened_line(PATIENCE).await;
    let transport = Transport::new(None, false, None);
    line.carry_probe(Arc::downgrade(&transport));
    drop(wire);
    assert!(transport.has_ended());
}

#[tokio::test]
async fn the_engine_opens_with_our_heartbeat_and_does_not_ask_by_itself() {
    let (_line, mut wire, mut client) = line(PATIENCE).await;
    let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":9,"pingTimeout":9,"maxPayload":9}"#;
    wire.write_all(&[text(open), text("2"), text("40{}")].concat()).await.unwrap();
    let ours = pulse(PATIENCE).heartbeat().open_packet("abc", "");
    heard(&mut client, &[&text(&ours), &text("40{}")]).await;
}

#[tokio::test]
async fn a_client_is_asked_but_not_between_a_packet_and_its_attachments() {
    let (line, mut wire, mut client) = open_line(PATIENCE).await;
    assert_eq!(line.ask(), Ok(true));
    let event = text(r#"451-["file",{"_placeholder":true,"num":0}]"#);
    wire.write_all(&event).await.unwrap();
    assert_eq!(line.ask(), Ok(false));
    wire.write_all(&binary(1)).await.unwrap();
    assert_eq!(line.ask(), Ok(true));
    heard(&mut client, &[&text("2"), &event, &binary(1), &text("2")]).await;
    line.end();
    assert_eq!(line.ask(), Err(SendError::Closed));
}

#[tokio::test]
async fn whatever_is_read_is_a_sign_of_life_and_silence_ends_the_line() {
    let (line, mut wire, mut client) = open_line(PATIENCE).await;
    line.ask().unwrap();
    assert!(!line.was_heard());
    client.write_all(b"x").await.unwrap();
    wire.read_u8().await.unwrap();
    assert!(line.was_heard());
    line.ask().unwrap();
    assert!(!line.was_heard());
    line.fall_silent();
    assert_eq!(line.fault(), Some(Fault::Silent));
    assert_eq!(wire.read(&mut [0]).await.unwrap(), 0);
}
