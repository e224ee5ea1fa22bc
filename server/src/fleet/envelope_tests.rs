use std::{fs, path::Path};

use rand::RngExt;
use serde_json::json;

use super::*;

fn publication(target: Target, except: Option<ConnectionId>, event: &str, data: &str) -> Publication {
    let data = RawValue::from_string(data.to_owned()).unwrap();
    Publication { target, except, message: Message::published_at(1_795_000_000_123, event, data) }
}

fn users(ids: &[serde_json::Value]) -> Target {
    Target::Users(ids.iter().map(|id| UserId::from_claim(id).unwrap()).collect())
}

fn examples() -> Vec<(&'static str, Publication)> {
    let room = Target::Room(RoomName::new("record:7").unwrap());
    vec![
        ("tenant", publication(Target::Tenant, None, "user:status", r#"{"user_id":7,"status":"online"}"#)),
        ("room-except", publication(room, Some(ConnectionId(0x0102_0304_0506_0708)), "räum", "[1, 2.50,\"\\u00e4\"]")),
        ("users", publication(users(&[json!(7), json!("8"), json!("ü")]), None, "dashboard:update", "null")),
        ("nobody", publication(users(&[]), Some(ConnectionId(0)), "", "0")),
    ]
}

fn encode(publication: &Publication, sequence: u64) -> Vec<u8> {
    Unnumbered::encode("pod-1", publication).unwrap().number(sequence)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_same(left: &Publication, right: &Publication) {
    assert_eq!(left.target, right.target);
    assert_eq!(left.except, right.except);
    assert_eq!(left.message.event, right.message.event);
    assert_eq!(left.message.data.get(), right.message.data.get());
    assert_eq!(left.message.published_at_ms, right.message.published_at_ms);
    if let (Target::Users(left), Target::Users(right)) = (&left.target, &right.target) {
        let json = |users: &[UserId]| users.iter().map(UserId::to_json).collect::<Vec<_>>();
        assert_eq!(json(left), json(right), "7 stays a number");
    }
}

#[test]
fn comes_out_as_it_went_in() {
    for (name, publication) in examples() {
        let bytes = encode(&publication, 42);
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!((envelope.publisher, envelope.sequence), ("pod-1", 42), "{name}");
        assert_same(&envelope.publication().unwrap(), &publication);
    }
}

/// The bytes are a contract with the pods of the version before. `UPDATE_GOLDEN=1` rewrites the file.
#[test]
fn bytes_are_golden() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/envelope.txt");
    let lines = examples().iter().map(|(name, publication)| format!("{name} {}\n", hex(&encode(publication, 42)))).collect::<String>();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &lines).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), lines, "set UPDATE_GOLDEN=1 to accept, and think of the pods of the version before");
}

#[test]
fn survives_any_bytes() {
    let mut random = rand::rng();
    let read = |bytes: &[u8]| Envelope::decode(bytes).and_then(Envelope::publication).ok();
    for _ in 0..20_000 {
        let mut bytes = vec![0; random.random_range(0..200)];
        random.fill(&mut bytes[..]);
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        read(&bytes);
    }
    for (_, publication) in examples() {
        let good = encode(&publication, 1);
        for length in 0..good.len() {
            read(&good[..length]);
        }
        for _ in 0..5_000 {
            let mut bytes = good.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            // What can still be read can be written again.
            if let Some(publication) = read(&bytes) {
                assert_same(&read(&encode(&publication, 1)).unwrap(), &publication);
            }
        }
    }
}

#[test]
fn says_what_it_can_not_read() {
    let good = encode(&examples()[0].1, 1);
    let mut newer = good.clone();
    newer[0] = 2;
    assert_eq!(Envelope::decode(&newer).unwrap_err(), DecodeError::Version(2));
    assert_eq!(Envelope::decode(&[]).unwrap_err(), DecodeError::Malformed);
    let cut = &good[..good.len() - 1];
    assert_eq!(Envelope::decode(cut).unwrap().publication().unwrap_err(), DecodeError::Malformed, "the data is no JSON any more");
    let mut strange = good.clone();
    strange[17] |= 0x10;
    assert_eq!(
        Envelope::decode(&strange).unwrap().publication().unwrap_err(),
        DecodeError::Malformed,
        "an unknown flag changes the meaning"
    );
    let mut long = good;
    long.resize(ENVELOPE_BYTES_MAX + 1, b' ');
    assert_eq!(Envelope::decode(&long).unwrap_err(), DecodeError::Malformed);
}

#[test]
fn refuses_what_is_too_large() {
    let text = "x".repeat(ENVELOPE_BYTES_MAX);
    let too_much_data = publication(Target::Tenant, None, "e", &format!("\"{text}\""));
    let too_long_event = publication(Target::Tenant, None, &text[..=usize::from(u16::MAX)], "0");
    for publication in [too_much_data, too_long_event] {
        assert_eq!(Unnumbered::encode("pod-1", &publication).unwrap_err(), TooLarge);
    }
}
