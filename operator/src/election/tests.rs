use super::*;

const ME: &str = "operator-0";
const OTHER: &str = "operator-1";

fn wall(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(holder: Option<&str>, transitions: i32, renewed: i64) -> Record {
    let holder = holder.map(str::to_owned);
    Record { holder, transitions, duration: LEASE, acquired: Some(wall(0)), renewed: Some(wall(renewed)) }
}

/// Times in seconds after some start.
struct Clock(Instant);

impl Clock {
    fn at(&self, second: u64) -> Instant {
        self.0 + Duration::from_secs(second)
    }
}

fn fresh() -> (Candidate, Clock) {
    (Candidate::new(ME.to_owned()), Clock(Instant::now()))
}

/// One that took the Lease over at second 0, which another held before.
fn leader() -> (Candidate, Clock) {
    let (mut candidate, clock) = fresh();
    candidate.see(Some(record(None, 4, 0)), clock.at(0));
    let claim = candidate.claim(wall(0));
    candidate.wrote(claim, clock.at(0));
    (candidate, clock)
}

#[test]
fn takes_what_nobody_holds_and_waits_for_what_another_does() {
    let (_, clock) = fresh();
    // What the Lease said when it was seen first, and when again; what to do then, and in which epoch it would lead.
    let short = Record { duration: Duration::from_secs(15), ..record(Some(OTHER), 4, 1) };
    let cases = [
        ("there is none", None, None, 0, Action::TakeOver, 1),
        ("it was released", Some(record(Some(OTHER), 4, 1)), Some(record(None, 4, 1)), 1, Action::TakeOver, 6),
        ("held, and just seen", Some(record(Some(OTHER), 4, 1)), Some(record(Some(OTHER), 4, 1)), 1, Action::Wait(clock.at(60)), 6),
        ("about to run out", Some(record(Some(OTHER), 4, 1)), Some(record(Some(OTHER), 4, 1)), 59, Action::Wait(clock.at(60)), 6),
        ("run out", Some(record(Some(OTHER), 4, 1)), Some(record(Some(OTHER), 4, 1)), 60, Action::TakeOver, 6),
        ("renewed in time", Some(record(Some(OTHER), 4, 1)), Some(record(Some(OTHER), 4, 2)), 60, Action::Wait(clock.at(120)), 6),
        (
            "renewed by a clock that goes back",
            Some(record(Some(OTHER), 4, 9)),
            Some(record(Some(OTHER), 4, 2)),
            60,
            Action::Wait(clock.at(120)),
            6,
        ),
        ("taken over by a third", Some(record(Some(OTHER), 4, 1)), Some(record(Some("third"), 5, 1)), 60, Action::Wait(clock.at(120)), 7),
        ("its holder promised less", Some(short.clone()), Some(short), 15, Action::TakeOver, 6),
        ("an earlier process of this pod holds it", None, Some(record(Some(ME), 4, 1)), 0, Action::TakeOver, 6),
        ("it was deleted", Some(record(Some(OTHER), 4, 1)), None, 1, Action::TakeOver, 6),
    ];
    for (name, first, then, second, action, epoch) in cases {
        let mut candidate = Candidate::new(ME.to_owned());
        candidate.see(first, clock.at(0));
        candidate.see(then, clock.at(second));
        assert_eq!(candidate.decide(clock.at(second)), action, "{name}");
        let claim = candidate.claim(wall(second.try_into().unwrap()));
        assert_eq!((claim.epoch(), claim.holder.as_deref()), (Epoch::new(epoch), Some(ME)), "{name}");
        assert_eq!(candidate.lead(clock.at(second)), None, "{name}: nobody leads by wanting to");
    }
}

#[test]
fn a_leader_renews_and_leads_for_a_while_without() {
    let (mut candidate, clock) = leader();
    let epoch = Epoch::new(6);
    assert_eq!(candidate.lead(clock.at(0)), Some(Lead { epoch, until: clock.at(40) }));
    assert_eq!(candidate.decide(clock.at(3)), Action::Renew(clock.at(10)));
    let claim = candidate.claim(wall(10));
    assert_eq!(claim, Record { renewed: Some(wall(10)), ..record(Some(ME), 5, 0) }, "transitions and the time it was acquired stay");
    candidate.wrote(claim.clone(), clock.at(10));
    assert_eq!(candidate.lead(clock.at(49)), Some(Lead { epoch, until: clock.at(50) }));
    assert_eq!(candidate.lead(clock.at(50)), None);
    assert_eq!(candidate.lead(clock.at(49)), None, "over is over");
    // It is still named there, and nobody else may take it over before second 70; but what it was is over.
    candidate.see(Some(claim), clock.at(55));
    assert_eq!(candidate.decide(clock.at(55)), Action::TakeOver);
    assert_eq!(candidate.claim(wall(55)).epoch(), Epoch::new(7));
}

#[test]
fn a_leader_stops_when_it_is_not_named_any_more() {
    let others = [
        ("another", Some(record(Some(OTHER), 6, 9))),
        ("another who did not count", Some(record(Some(OTHER), 5, 9))),
        ("nobody", Some(record(None, 5, 9))),
        ("itself, in an epoch it knows nothing of", Some(record(Some(ME), 6, 9))),
        ("there is no Lease", None),
    ];
    for (name, seen) in others {
        let (mut candidate, clock) = leader();
        candidate.see(seen, clock.at(5));
        assert_eq!(candidate.lead(clock.at(5)), None, "{name}");
        assert!(candidate.claim(wall(5)).epoch() > Epoch::new(6), "{name}: no epoch comes again");
        assert_eq!(candidate.release(wall(5)), None, "{name}: what is another's is not let go");
    }
    let (mut candidate, clock) = leader();
    candidate.see(Some(candidate.claim(wall(0))), clock.at(5));
    assert!(candidate.lead(clock.at(5)).is_some(), "it is named");
}

#[test]
fn a_leader_stops_when_it_hears_of_a_later_one_and_next_time_comes_after_it() {
    let (mut candidate, clock) = leader();
    candidate.hear(Epoch::new(5));
    candidate.hear(Epoch::new(6));
    assert!(candidate.lead(clock.at(1)).is_some());
    // As when the Lease was deleted while servers remember, and counts anew.
    candidate.hear(Epoch::new(90));
    assert_eq!(candidate.lead(clock.at(1)), None);
    assert_eq!(candidate.decide(clock.at(1)), Action::TakeOver);
    assert_eq!(candidate.claim(wall(1)).epoch(), Epoch::new(91));
}

#[test]
fn what_is_released_is_free_at_once() {
    let (candidate, clock) = leader();
    let released = candidate.release(wall(3)).unwrap();
    let mut other = Candidate::new(OTHER.to_owned());
    other.see(Some(candidate.claim(wall(0))), clock.at(1));
    assert_eq!(other.decide(clock.at(2)), Action::Wait(clock.at(61)));
    other.see(Some(released), clock.at(3));
    assert_eq!(other.decide(clock.at(3)), Action::TakeOver);
    assert_eq!(other.claim(wall(3)).epoch(), Epoch::new(7));
}
