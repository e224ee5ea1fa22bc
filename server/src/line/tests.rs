use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use carillon_tenant::ConnectionId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{BACKLOG_BYTES_MAX, ENGINE_WAITS_BYTES, Line, MARK, SendError, frame};
use crate::transport::{Transport, Wire};

const US: ConnectionId = ConnectionId(7);
const PATIENCE: Duration = Duration::from_secs(20);

/// A line that carries frames, the engine's end of it, and the client.
async fn line(patience: Duration) -> (Arc<Line>, Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let line = Line::new(listener.accept().await.unwrap().0, patience);
    line.carry_frames();
    (line.clone(), Wire::new(line), client)
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
    let ping = text("2");
    assert!(timeout(Duration::from_millis(50), wire.write_all(&ping)).await.is_err(), "{ENGINE_WAITS_BYTES} bytes wait already");
    let engine = tokio::spawn(async move {
        wire.write_all(&ping).await.unwrap();
        wire
    });
    heard(&mut client, &vec![&piece[..]; sent]).await;
    heard(&mut client, &[&text("2")]).await;
    line.send(US, &text("again")).unwrap();
    heard(&mut client, &[&text("again")]).await;
    assert!(!line.overdue());
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
    assert!(line.overdue());
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
async fn a_session_has_upgraded_when_something_follows_the_probe() {
    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let line = Line::new(listener.accept().await.unwrap().0, PATIENCE);
    let mut wire = Wire::new(line.clone());
    let transport = Arc::new(Transport::new(None, false));
    wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    line.expect_upgrade(Arc::downgrade(&transport));
    wire.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    line.expect_upgrade(Weak::new());
    wire.write_all(ANSWER).await.unwrap();
    assert!(!line.carries_frames());
    wire.write_all(&text("3probe")).await.unwrap();
    assert!(!line.carries_frames());
    wire.write_all(&text("2")).await.unwrap();
    assert!(line.carries_frames());
    heard(&mut client, &[b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", ANSWER, &text("3probe"), &text("2")]).await;
}
