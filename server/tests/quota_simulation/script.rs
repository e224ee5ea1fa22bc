//! Rules of the script, one by one: what it is asked and what it answers, to the letter.

use crate::redis::FakeRedis;

/// What a pod asks. The numbers of rates are left out.
struct Ask {
    holder: &'static str,
    ended: &'static str,
    full: bool,
    claim: bool,
    /// Held, needed, wished.
    connections: [u32; 3],
    sequence: u32,
    acknowledged: u32,
    /// Name, held, needed.
    users: &'static [(&'static str, u32, u32)],
    /// Name, held, needed, may create.
    rooms: &'static [(&'static str, u32, u32, bool)],
}

const ASK: Ask = Ask {
    holder: "a-1",
    ended: "",
    full: true,
    claim: false,
    connections: [0, 0, 0],
    sequence: 1,
    acknowledged: 0,
    users: &[],
    rooms: &[],
};

/// Limits of every tenant here: connections, of one user, rooms, members.
const LIMITS: [&str; 4] = ["10", "2", "2", "3"];
/// When the record has been there for long enough.
const SETTLED: u64 = 10_000;

impl Ask {
    /// Runs the script at that time, and tells what it answers without the rates.
    fn of(&self, redis: &FakeRedis, at: u64) -> Vec<i64> {
        let flag = |flag: bool| if flag { "1" } else { "0" }.to_owned();
        let mut arguments = vec![self.holder.to_owned(), self.ended.to_owned(), flag(self.full), flag(self.claim), "2".to_owned()];
        arguments.push(LIMITS[0].to_owned());
        arguments.extend(self.connections.iter().map(u32::to_string));
        arguments.extend(LIMITS[1..].iter().map(|limit| (*limit).to_owned()));
        arguments.extend([self.sequence.to_string(), self.acknowledged.to_string(), "0".to_owned()]);
        arguments.extend([self.users.len().to_string(), self.rooms.len().to_string()]);
        for (name, held, needed) in self.users {
            arguments.extend([(*name).to_owned(), held.to_string(), needed.to_string()]);
        }
        for (name, held, needed, may_create) in self.rooms {
            arguments.extend([(*name).to_owned(), held.to_string(), needed.to_string(), flag(*may_create)]);
        }
        redis.run(1_700_000_000_000 + at, &arguments)
    }
}

/// A Redis whose record is old enough, with one pod that holds nothing and is renewed as time passes.
fn settled() -> FakeRedis {
    let redis = FakeRedis::new();
    for sequence in 0..5 {
        Ask { holder: "z-1", sequence: sequence + 1, ..ASK }.of(&redis, u64::from(sequence) * 2000);
    }
    redis
}

#[test]
fn blocks_shrink_towards_the_limit() {
    let redis = settled();
    // Others have, needed, wished, granted: half of what is left, by the pods there are, and never less than is needed.
    let answers: Vec<i64> = [("a-1", 1, 8), ("b-1", 1, 8), ("c-1", 1, 8), ("d-1", 1, 8)]
        .into_iter()
        .map(|(holder, needed, wished)| Ask { holder, connections: [0, needed, wished], ..ASK }.of(&redis, SETTLED)[2])
        .collect();
    assert_eq!(answers, [3, 2, 1, 1]);
    let answer = Ask { holder: "e-1", connections: [0, 9, 8], ..ASK }.of(&redis, SETTLED);
    // Pods, granted, granted to others, used by them, scarce for, held back, sweeping, users, rooms.
    assert_eq!(answer, [1, 6, 3, 7, 4, 1, 0, 0, 0, 0], "the last places go to who needs them");
}

#[test]
fn a_new_record_gives_even_shares() {
    let redis = FakeRedis::new();
    assert_eq!(Ask { connections: [0, 9, 5], ..ASK }.of(&redis, 0)[..7], [1, 1, 5, 0, 0, 1, 1]);
    assert_eq!(Ask { holder: "b-1", connections: [8, 9, 5], ..ASK }.of(&redis, 1)[..7], [1, 2, 8, 5, 5, 2, 0], "what is held stays");
    let renewed = Ask { full: false, connections: [5, 9, 0], sequence: 2, ..ASK };
    assert_eq!(renewed.of(&redis, 3000)[2], 5, "nobody gets more before the fleet is below the limit");
}

#[test]
fn a_lease_runs_out_by_what_exchanges_prove() {
    for (step, known) in [(7999, true), (8000, false)] {
        let redis = settled();
        Ask { connections: [1, 1, 0], ..ASK }.of(&redis, SETTLED);
        for part in 1..=4 {
            Ask { holder: "z-1", sequence: 90 + part, ..ASK }.of(&redis, SETTLED + u64::from(part) * step / 4);
        }
        let answer = Ask { full: false, connections: [1, 1, 0], sequence: 2, ..ASK }.of(&redis, SETTLED + step);
        assert_eq!(answer[0] == 1, known, "after {step} ms");
    }
    let redis = settled();
    Ask { connections: [1, 1, 0], ..ASK }.of(&redis, SETTLED);
    let answer = Ask { full: false, connections: [1, 1, 0], sequence: 2, ..ASK }.of(&redis, SETTLED + 1_000_000);
    assert_eq!(answer[0], 1, "a clock that jumps ends no lease");
}

#[test]
fn what_is_claimed_may_be_gone_and_what_is_held_stays() {
    for (claim, granted) in [(true, [3, 0, 0]), (false, [4, 2, 3])] {
        let redis = settled();
        let other = Ask { holder: "b-1", connections: [7, 7, 0], users: &[("u", 2, 2)], rooms: &[("r", 3, 3, true)], ..ASK };
        other.of(&redis, SETTLED);
        let ask = Ask { claim, connections: [4, 5, 0], users: &[("u", 2, 3)], rooms: &[("r", 3, 3, false)], ..ASK };
        let answer = ask.of(&redis, SETTLED);
        assert_eq!([answer[2], answer[10], answer[12]], granted, "claimed: {claim}");
    }
}

#[test]
fn nobody_gets_a_connection_whose_user_has_none_left() {
    let redis = settled();
    let answer = Ask { connections: [1, 5, 0], users: &[("u", 1, 5)], ..ASK }.of(&redis, SETTLED);
    assert_eq!((answer[2], &answer[10..]), (2, &[2, 0][..]));
}

#[test]
fn what_was_overtaken_says_nothing() {
    let redis = settled();
    assert_eq!(Ask { sequence: 5, connections: [1, 1, 0], ..ASK }.of(&redis, SETTLED)[0], 1);
    let before = redis.data();
    for sequence in [4, 5] {
        assert_eq!(Ask { sequence, full: false, connections: [9, 9, 0], ..ASK }.of(&redis, SETTLED + 1), [0]);
    }
    assert!(redis.data() == before);
}

#[test]
fn a_redis_that_forgot_the_last_words_asks_for_everything() {
    let redis = settled();
    Ask { sequence: 5, ..ASK }.of(&redis, SETTLED);
    assert_eq!(Ask { sequence: 8, acknowledged: 6, full: false, ..ASK }.of(&redis, SETTLED), [0]);
    assert_eq!(Ask { sequence: 9, acknowledged: 5, full: false, ..ASK }.of(&redis, SETTLED)[0], 1);
}

#[test]
fn rooms_come_into_being_within_the_limit() {
    let redis = settled();
    let rooms: &[_] =
        &[("new", 0, 1, true), ("not allowed", 0, 1, false), ("held", 1, 1, false), ("full", 0, 1, true), ("new", 0, 4, true)];
    let answer = Ask { rooms, ..ASK }.of(&redis, SETTLED);
    // Members, those of others, and 0 known, 1 created, 2 full, 3 not allowed.
    assert_eq!(answer[10..], [1, 0, 1, 0, 0, 3, 1, 0, 0, 0, 0, 2, 3, 0, 0]);
    assert_eq!(redis.len("rooms"), 2);
}

#[test]
fn rooms_of_the_dead_make_room() {
    let redis = settled();
    Ask { rooms: &[("r", 0, 1, true), ("s", 0, 1, true)], ..ASK }.of(&redis, SETTLED);
    let ask = Ask { holder: "a-2", ended: "a-1", rooms: &[("s", 0, 1, true), ("t", 0, 1, true), ("u", 0, 1, true)], ..ASK };
    assert_eq!(ask.of(&redis, SETTLED)[10..], [1, 0, 1, 1, 0, 1, 0, 0, 2]);
}

#[test]
fn the_last_pod_takes_everything_along() {
    let redis = settled();
    Ask { users: &[("u", 1, 1)], rooms: &[("r", 1, 1, true)], ..ASK }.of(&redis, SETTLED);
    assert_eq!(Ask { holder: "", ended: "a-1", full: false, ..ASK }.of(&redis, SETTLED), [0]);
    assert_eq!((redis.len("users"), redis.len("rooms")), (1, 1), "another pod is there, and sweeps");
    assert_eq!(Ask { holder: "", ended: "z-1", full: false, ..ASK }.of(&redis, SETTLED), [0]);
    assert_eq!((redis.len("users"), redis.len("rooms")), (0, 0));
}
