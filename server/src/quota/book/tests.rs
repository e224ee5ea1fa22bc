//! Rules of the book, one by one. What comes of them together is simulated in `tests/quota_simulation`.

mod lowered;

use std::time::Duration;

use carillon_tenant::{Code, Limit, Quotas, RoomName, UserId};

use super::{Answer, Asked, Book, Claim, Excess, Outcome, Refused};
use crate::quota::{
    rates::Demand,
    wire::{Granted, Need, Reply, Request, RoomGranted, RoomResult},
};

const TAKEN: Answer = Answer::Taken { created: false };

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn quotas(connections_max: u32, connections_per_user_max: u32) -> Quotas {
    Quotas {
        connections_max: Limit::Max(connections_max),
        connections_per_user_max: Limit::Max(connections_per_user_max),
        rooms_max: Limit::Max(2),
        ..Quotas::default()
    }
}

fn user(name: &str) -> UserId {
    UserId::from_claim(&name.into()).expect("a good id")
}

fn connection(name: &str) -> Claim {
    Claim::Connection(user(name))
}

fn member(name: &str) -> Claim {
    Claim::Member { room: RoomName::new(name).expect("a good name"), may_create: true }
}

/// A grant of so many connections, with all that is asked of users and rooms.
fn grant(request: &Request, connections: u32) -> Granted {
    Granted {
        pods: 2,
        connections,
        connections_of_others: (0, 0),
        tight_for_ms: 0,
        held_back: false,
        sweeping: false,
        users_total: 0,
        rooms_total: 0,
        demand: Demand::default(),
        users: request.users.iter().map(|(_, need)| (need.needed, 0)).collect(),
        rooms: request
            .rooms
            .iter()
            .map(|(_, need)| RoomGranted { members: need.members.needed, others: 0, result: RoomResult::Known })
            .collect(),
    }
}

/// A book whose first client was let in by a lease of 10 connections, asked for at that time.
fn leased(quotas: &Quotas, now: Duration) -> Book<u8> {
    let mut book = Book::new("a", true);
    assert_eq!(book.claim(connection("x"), quotas, now, 0), None);
    let asked = book.ask(quotas, now, false);
    let reply = Reply::Granted(grant(&asked.request, 10));
    assert_eq!(book.answered(asked, reply, quotas, now).served, [(0, TAKEN)]);
    book
}

fn asks(book: &mut Book<u8>, quotas: &Quotas, now: Duration) -> Asked {
    assert!(book.due(false).is_some_and(|due| due <= now), "an exchange is due: {:?}", book.due(false));
    book.ask(quotas, now, false)
}

fn served(outcome: &Outcome<u8>) -> Vec<(u8, Option<Code>)> {
    let code = |answer: Answer| match answer {
        Answer::Taken { .. } => None,
        Answer::TakenBeyond(Refused { code, .. }) | Answer::Refused(Refused { code, .. }) => Some(code),
    };
    outcome.served.iter().map(|(who, answer)| (*who, code(*answer))).collect()
}

#[test]
fn blocks_are_a_quarter_of_the_limit_while_clients_come() {
    for (max, wished) in [(1, 1), (7, 1), (100, 25), (1000, 250), (1_000_000, 1000)] {
        let quotas = quotas(max, 5);
        let mut book = Book::new("a", true);
        book.claim(connection("x"), &quotas, at(0), 0);
        assert_eq!(book.ask(&quotas, at(0), false).request.connections, Need { held: 0, needed: 1, wished }, "of {max}");
    }
    let quotas = quotas(100, 5);
    let mut book = leased(&quotas, at(0));
    assert_eq!(asks(&mut book, &quotas, at(4000)).request.connections.wished, 0, "nobody came for a while");
    let mut book = leased(&quotas, at(0));
    book.recalled(at(10));
    assert_eq!(asks(&mut book, &quotas, at(20)).request.connections, Need { held: 1, needed: 1, wished: 0 }, "another pod lacks places");
}

#[test]
fn what_was_granted_is_taken_at_once_until_the_lease_runs_out() {
    let quotas = quotas(100, 5);
    for (now, answer) in [(10, Some((1, TAKEN))), (4999, Some((1, TAKEN))), (5000, None)] {
        let mut book = leased(&quotas, at(0));
        // A user that is known has a place of its own to be granted, so limits by user are off here.
        let quotas = Quotas { connections_per_user_max: Limit::Unlimited, ..quotas.clone() };
        assert_eq!(book.claim(connection("y"), &quotas, at(now), 1), answer, "after {now} ms");
    }
}

#[test]
fn a_lease_that_ran_out_is_only_claimed_and_one_that_was_forgotten_is_held() {
    let quotas = quotas(100, 5);
    for (now, claim) in [(2000, false), (4000, false), (6000, true)] {
        let mut book = leased(&quotas, at(0));
        let asked = asks(&mut book, &quotas, at(now));
        assert!(!asked.request.full);
        book.answered(asked, Reply::Unknown, &quotas, at(now));
        let asked = asks(&mut book, &quotas, at(now));
        assert!(asked.request.full && asked.request.claim == claim, "after {now} ms");
        assert_eq!((asked.request.holder.as_deref(), &*asked.request.ended), (Some("a-2"), &["a-1".to_owned()][..]));
    }
}

#[test]
fn a_lost_request_turns_nothing_held_into_a_claim() {
    let quotas = quotas(100, 5);
    let mut book = leased(&quotas, at(0));
    let asked = asks(&mut book, &quotas, at(2000));
    book.answered(asked, Reply::Unknown, &quotas, at(2000));
    let lost = asks(&mut book, &quotas, at(2000));
    book.failed(lost, true, 2, &quotas, at(2500));
    let asked = asks(&mut book, &quotas, at(2600));
    book.answered(asked, Reply::Unknown, &quotas, at(2600));
    assert!(!asks(&mut book, &quotas, at(2600)).request.claim, "the lease it was held by is good until 5000");
}

#[test]
fn what_others_took_meanwhile_has_to_go() {
    let strict = quotas(100, 5);
    let mut book = leased(&strict, at(0));
    let asked = asks(&mut book, &strict, at(9000));
    book.answered(asked, Reply::Unknown, &strict, at(9000));
    let asked = asks(&mut book, &strict, at(9000));
    let mut granted = grant(&asked.request, 0);
    granted.users = vec![(0, 5)];
    let outcome = book.answered(asked, Reply::Granted(granted), &strict, at(9000));
    assert_eq!(outcome.excess, Excess { connections: 1, users: vec![(user("x"), 1)], rooms: Vec::new() });
    assert_eq!(book.claim(connection("y"), &strict, at(9000), 1), None);
    let asked = asks(&mut book, &strict, at(9050));
    assert_eq!(asked.request.connections, Need { held: 0, needed: 1, wished: 25 }, "who has to go holds nothing, even while it is there");
}

#[test]
fn an_answer_that_comes_late_gives_nothing() {
    let quotas = quotas(100, 5);
    let mut book = leased(&quotas, at(0));
    book.claim(connection("y"), &quotas, at(1000), 1);
    let asked = asks(&mut book, &quotas, at(1000));
    let reply = Reply::Granted(grant(&asked.request, 10));
    // The pod stood still: others may have been given all that this pod was granted.
    let outcome = book.answered(asked, reply, &quotas, at(31_000));
    assert_eq!(outcome.served, []);
    let asked = asks(&mut book, &quotas, at(31_000));
    assert_eq!(asked.request.users.len(), 2, "what was said is said again");
}

#[test]
fn what_nobody_took_is_told_again() {
    let quotas = quotas(100, 1);
    let mut book = leased(&quotas, at(0));
    book.claim(connection("y"), &quotas, at(1000), 1);
    let asked = asks(&mut book, &quotas, at(1000));
    let mut granted = grant(&asked.request, 1);
    granted.tight_for_ms = 1000;
    let outcome = book.answered(asked, Reply::Granted(granted), &quotas, at(1000));
    assert_eq!(served(&outcome), [(1, Some(Code::ConnectionsMax))]);
    let asked = asks(&mut book, &quotas, at(1020));
    assert_eq!(asked.request.users, [(user("y"), Need::default())], "the user's place is given back");
}

#[test]
fn patience_lasts_while_others_may_give_back() {
    // Places held in advance by others, for how long they have been scarce, whether the record is new, how long it was waited, who is refused.
    let cases = [
        (5, 1000, false, 999, false),
        (5, 1000, false, 1000, true),
        (0, 0, false, 500, false),
        (0, 1000, false, 10, true),
        (0, 1000, true, 2999, false),
        (0, 1000, true, 3000, true),
    ];
    for case in cases {
        let (slack, tight_for_ms, held_back, waited, refused) = case;
        let quotas = quotas(100, 5);
        let mut book = leased(&quotas, at(0));
        book.claim(connection("y"), &quotas, at(1000), 1);
        let asked = asks(&mut book, &quotas, at(1000 + waited));
        let mut granted = grant(&asked.request, 1);
        (granted.connections_of_others, granted.tight_for_ms, granted.held_back) = ((99 + slack, 99), tight_for_ms, held_back);
        let outcome = book.answered(asked, Reply::Granted(granted), &quotas, at(1000 + waited));
        assert_eq!((outcome.served.len(), outcome.recall), (usize::from(refused), !refused), "{case:?}");
    }
}

#[test]
fn an_outage_leaves_an_even_share() {
    // The limit, the pods, how many of three are let in.
    for (max, pods, taken) in [(100, 4, 3), (8, 4, 2), (3, 4, 1), (1, 9, 1)] {
        let quotas = quotas(max, 100);
        let mut book = Book::new("a", true);
        (0..3).for_each(|who| assert_eq!(book.claim(connection("x"), &quotas, at(0), who), None));
        let asked = book.ask(&quotas, at(0), false);
        let outcome = book.failed(asked, false, pods, &quotas, at(1));
        assert_eq!(served(&outcome).iter().filter(|(_, code)| code.is_none()).count(), taken, "{max} on {pods} pods");
        assert!(book.is_on_share());
        let asked = asks(&mut book, &quotas, at(1001));
        assert!(asked.request.full && asked.request.claim, "then everything is claimed");
    }
}

#[test]
fn three_failures_are_an_outage_and_nobody_waits_for_more_than_three_seconds() {
    let quotas = quotas(100, 5);
    let mut book = leased(&quotas, at(0));
    book.claim(connection("y"), &quotas, at(1000), 1);
    for (now, answers) in [(1500, 0), (2100, 0), (2700, 1)] {
        let asked = asks(&mut book, &quotas, at(now - 500));
        assert_eq!(book.failed(asked, true, 2, &quotas, at(now)).served.len(), answers, "at {now} ms");
    }
    let mut book = leased(&quotas, at(0));
    book.claim(connection("y"), &quotas, at(1000), 1);
    let asked = asks(&mut book, &quotas, at(3600));
    assert_eq!(served(&book.failed(asked, true, 2, &quotas, at(4000))), [(1, Some(Code::ConnectionsRate))]);
}

#[test]
fn the_lease_that_was_good_is_ended_even_after_a_long_outage() {
    let quotas = quotas(100, 5);
    let mut book = leased(&quotas, at(0));
    for second in 2..60 {
        let asked = asks(&mut book, &quotas, at(second * 1000));
        book.failed(asked, false, 2, &quotas, at(second * 1000));
    }
    let ended = asks(&mut book, &quotas, at(61_000)).request.ended;
    assert_eq!((ended.len(), &*ended[0]), (16, "a-1"), "{ended:?}");
}

#[test]
fn a_dry_run_refuses_and_claims_nothing() {
    let dry = Quotas { enforcement: carillon_crds::Enforcement::DryRun, ..quotas(1, 1) };
    let mut book = leased(&dry, at(0));
    book.claim(connection("x"), &dry, at(1000), 1);
    let asked = asks(&mut book, &dry, at(1000));
    let mut granted = grant(&asked.request, 1);
    granted.users = vec![(1, 0)];
    let outcome = book.answered(asked, Reply::Granted(granted), &dry, at(1000));
    assert!(matches!(outcome.served[..], [(1, Answer::TakenBeyond(_))]), "{outcome:?}");
    assert_eq!(book.used(), (2, 1, 0));
    let asked = asks(&mut book, &dry, at(9000));
    book.answered(asked, Reply::Unknown, &dry, at(9000));
    assert!(!asks(&mut book, &dry, at(9000)).request.claim);
}

#[test]
fn a_room_comes_into_being_once() {
    let quotas = quotas(100, 5);
    // What became of the room, and what those hear who joined it.
    let cases = [
        (RoomResult::Created, 2, [None, None]),
        (RoomResult::Created, 1, [None, Some(Code::RoomMembersMax)]),
        (RoomResult::Full, 0, [Some(Code::RoomsMax), Some(Code::RoomsMax)]),
        (RoomResult::NotAllowed, 0, [Some(Code::RoomCreateRate), Some(Code::RoomCreateRate)]),
    ];
    for (result, members, codes) in cases {
        let mut book = leased(&quotas, at(0));
        (1..3).for_each(|who| assert_eq!(book.claim(member("r"), &quotas, at(1000), who), None));
        let asked = asks(&mut book, &quotas, at(1000));
        let mut granted = grant(&asked.request, 10);
        granted.tight_for_ms = 1000;
        granted.rooms = vec![RoomGranted { members, others: 0, result }];
        let outcome = book.answered(asked, Reply::Granted(granted), &quotas, at(1000));
        assert_eq!(served(&outcome), [(1, codes[0]), (2, codes[1])], "{result:?}");
        let created = outcome.served.iter().filter(|(_, answer)| *answer == Answer::Taken { created: true }).count();
        assert_eq!(created, usize::from(result == RoomResult::Created));
        assert_eq!(book.used(), (1, 1, u32::from(members > 0)));
    }
}

#[test]
fn whoever_holds_nothing_gives_the_lease_back_and_rests() {
    let quotas = quotas(100, 5);
    let mut book = leased(&quotas, at(0));
    assert!(!book.rest());
    book.release_connection(&user("x"));
    let asked = asks(&mut book, &quotas, at(200));
    assert_eq!((&asked.request.holder, &*asked.request.ended), (&None, &["a-1".to_owned()][..]));
    book.answered(asked, Reply::Unknown, &quotas, at(201));
    assert!(book.rest() && book.used() == (0, 0, 0) && book.due(false).is_none());
}
