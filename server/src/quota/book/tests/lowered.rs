//! Limits that are lowered below what is in use.

use super::{Answer, Book, Claim, Code, Limit, Quotas, RoomName, TAKEN, asks, at, connection, grant, leased, member, served, user};
use crate::quota::wire::Reply;

fn up_to(connections_max: u32) -> Quotas {
    Quotas { connections_max: Limit::Max(connections_max), connections_per_user_max: Limit::Unlimited, ..Quotas::default() }
}

/// A book with five connections of ten granted ones.
fn five() -> Book<u8> {
    let mut book = leased(&up_to(100), at(0));
    for who in 1..5 {
        assert_eq!(book.claim(connection("x"), &up_to(100), at(10), who), Some((who, TAKEN)));
    }
    book
}

/// Has what is asked for answered with so many connections.
fn answered(book: &mut Book<u8>, quotas: &Quotas, now: u64, connections: u32) -> Vec<u8> {
    let asked = asks(book, quotas, at(now));
    let mut granted = grant(&asked.request, connections);
    granted.tight_for_ms = 1000;
    served(&book.answered(asked, Reply::Granted(granted), quotas, at(now))).into_iter().map(|(who, _)| who).collect()
}

#[test]
fn what_was_granted_before_is_not_taken() {
    let mut book = five();
    assert_eq!(book.claim(connection("x"), &up_to(8), at(20), 5), None, "Redis may have given the rest to others");
    assert_eq!(answered(&mut book, &up_to(8), 300, 8), [5]);
    assert_eq!(book.claim(connection("x"), &up_to(8), at(310), 6), Some((6, TAKEN)), "granted under the new limit");
}

#[test]
fn what_gets_free_beyond_the_limit_is_not_taken_again() {
    let mut book = five();
    assert_eq!(book.claim(connection("x"), &up_to(3), at(20), 5), None);
    assert_eq!(answered(&mut book, &up_to(3), 300, 5), [5], "refused: all five stay");
    book.release_connection(&user("x"));
    assert_eq!(book.claim(connection("x"), &up_to(3), at(310), 6), None);
    assert_eq!(answered(&mut book, &up_to(3), 600, 4), [6]);
    assert_eq!(book.used().0, 4);
}

#[test]
fn what_gets_free_between_the_change_and_the_answer_is_not_taken_again() {
    let mut book = five();
    assert_eq!(book.claim(connection("x"), &up_to(3), at(20), 5), None);
    book.release_connection(&user("x"));
    assert_eq!(book.claim(connection("x"), &up_to(3), at(20), 6), None);
}

#[test]
fn what_gets_free_while_an_answer_is_on_its_way_is_not_taken_again() {
    let mut book = five();
    let asked = asks(&mut book, &up_to(3), at(300));
    book.release_connection(&user("x"));
    let granted = grant(&asked.request, 5);
    book.answered(asked, Reply::Granted(granted), &up_to(3), at(310));
    assert_eq!(book.claim(connection("x"), &up_to(3), at(320), 5), None, "granted was what it held when it asked");
    assert_eq!(answered(&mut book, &up_to(3), 600, 4), [5]);
    assert_eq!(book.used().0, 4);
}

#[test]
fn whoever_asked_under_the_higher_limit_asks_again() {
    let mut book = leased(&up_to(100), at(0));
    for who in 1..10 {
        assert!(book.claim(connection("x"), &up_to(100), at(10), who).is_some());
    }
    assert_eq!(book.claim(connection("x"), &up_to(100), at(10), 10), None);
    let asked = asks(&mut book, &up_to(100), at(300));
    let granted = grant(&asked.request, 11);
    assert_eq!(served(&book.answered(asked, Reply::Granted(granted), &up_to(5), at(310))), []);
    assert_eq!(answered(&mut book, &up_to(5), 600, 10), [10]);
    assert_eq!(book.used().0, 10);
}

#[test]
fn rooms_and_their_members_follow() {
    let with_members = |members| Quotas { room_members_max: Limit::Max(members), ..Quotas::default() };
    let room = RoomName::new("r").expect("a good name");
    let join = |book: &mut Book<u8>, quotas: &Quotas, now, who| {
        book.claim(Claim::Member { may_create: true, room: room.clone() }, quotas, at(now), who)
    };
    let mut book = leased(&with_members(10), at(0));
    for who in 1..4 {
        assert_eq!(join(&mut book, &with_members(10), 300, who), None);
    }
    assert_eq!(answered(&mut book, &with_members(10), 300, 10), [1, 2, 3]);
    book.release_member(&room);
    assert_eq!(book.claim(member("r"), &with_members(10), at(310), 4), Some((4, Answer::Taken { created: false })));
    assert_eq!(join(&mut book, &with_members(2), 320, 5), None);
    assert_eq!(answered(&mut book, &with_members(2), 600, 10), [5], "refused: all three stay");
    book.release_member(&room);
    assert_eq!(join(&mut book, &with_members(2), 610, 6), None);
    let asked = asks(&mut book, &with_members(2), at(900));
    book.release_member(&room);
    let mut granted = grant(&asked.request, 1);
    granted.rooms[0].members = 3;
    granted.tight_for_ms = 1000;
    let outcome = book.answered(asked, Reply::Granted(granted), &with_members(2), at(910));
    assert_eq!(served(&outcome), [(6, Some(Code::RoomMembersMax))]);
}
