//! Whatever comes late, or twice, or from a leader that is none any more: what is newer stays.

use std::collections::BTreeMap;

use carillon_server::config_store::ConfigStore;
use carillon_tenant::{
    Position, TenantId, TenantMessage,
    push::{ConflictCode, Delta, Elsewhere, FleetSettings, PROTOCOL_VERSION, Snapshot, digest},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    server::TestServer,
    tenants::{self, GLOBEX_KEY, GLOBEX_SECRET},
};

/// Tenants in all, of which a state has some.
const TENANTS: usize = 4;
/// Leaders that push, one after the other by right, and all at once here.
const LEADERS: u64 = 3;
/// States that each of them publishes.
const STATES: u64 = 12;
/// Pushes that come, most of them more than once.
const ARRIVALS: usize = 400;

/// What all tenants should be.
type Tenants = BTreeMap<TenantId, TenantMessage>;

#[derive(Clone, Debug)]
enum Push {
    Snapshot(Snapshot),
    Delta(Delta),
}

impl Push {
    fn position(&self) -> Position {
        match self {
            Self::Snapshot(snapshot) => snapshot.position,
            Self::Delta(delta) => delta.position,
        }
    }

    /// What comes of it in a server that runs `tenants`; `None` when it doesn't go with that.
    fn result(&self, tenants: &Tenants) -> Option<Tenants> {
        match self {
            Self::Snapshot(snapshot) => Some(by_id(&snapshot.tenants)),
            Self::Delta(delta) if delta.base_digest != digest_of(tenants) => None,
            Self::Delta(delta) => {
                let mut tenants = tenants.clone();
                tenants.retain(|id, _| !delta.removals.contains(id));
                tenants.extend(by_id(&delta.upserts));
                Some(tenants)
            }
        }
    }

    fn apply(self, store: &ConfigStore) -> Result<(), ConflictCode> {
        match self {
            Self::Snapshot(snapshot) => store.replace(snapshot),
            Self::Delta(delta) => store.change(delta),
        }
        .map(|answer| assert_eq!(answer.rejected, []))
    }
}

fn by_id(tenants: &[TenantMessage]) -> Tenants {
    tenants.iter().map(|tenant| (tenant.tenant_id.clone(), tenant.clone())).collect()
}

fn digest_of(tenants: &Tenants) -> String {
    digest(tenants.iter().map(|(id, tenant)| (id, &tenant.config_version)))
}

fn snapshot(position: Position, tenants: &Tenants) -> Push {
    let fleet = FleetSettings { session_key: vec![7; 32].into() };
    let tenants = tenants.values().cloned().collect();
    Push::Snapshot(Snapshot { protocol_version: PROTOCOL_VERSION, position, fleet, tenants, keep: Vec::new(), elsewhere: Elsewhere::new() })
}

fn delta(position: Position, before: &Tenants, after: &Tenants) -> Push {
    let upserts = after.values().filter(|tenant| before.get(&tenant.tenant_id) != Some(*tenant)).cloned().collect();
    let removals = before.keys().filter(|id| !after.contains_key(*id)).cloned().collect();
    Push::Delta(Delta {
        protocol_version: PROTOCOL_VERSION,
        position,
        base_digest: digest_of(before),
        upserts,
        removals,
        moved: Vec::new(),
        elsewhere: Elsewhere::new(),
    })
}

/// Every push that any leader makes: each state as a snapshot, and as deltas on top of what a leader may think that runs.
fn pushes(random: &mut StdRng) -> Vec<Push> {
    let versions: Vec<[TenantMessage; 2]> = (0..TENANTS)
        .map(|number| {
            [false, true]
                .map(|suspended| tenants::tenant(&format!("tenant-{number}"), &tenants::simple(GLOBEX_SECRET, GLOBEX_KEY, suspended)))
        })
        .collect();
    let mut pushes = Vec::new();
    let mut before = vec![Tenants::new()];
    for position in (1..=LEADERS).flat_map(|epoch| (1..=STATES).map(move |seq| Position::new(epoch, seq))) {
        let some: Vec<_> = versions.iter().filter_map(|both| both.choose(random).filter(|_| random.random_bool(0.7)).cloned()).collect();
        let state = by_id(&some);
        pushes.push(snapshot(position, &state));
        pushes.extend(before.sample(random, 3).map(|base| delta(position, base, &state)));
        before.push(state);
    }
    pushes
}

#[tokio::test]
async fn no_push_undoes_a_newer_one_in_whatever_order_they_come() {
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let pushes = pushes(&mut random);
    let server = TestServer::unprogrammed().await;
    let store = &server.core().config;
    let (mut position, mut runs, mut programmed) = (Position::default(), Tenants::new(), false);
    let (mut taken, mut refused) = (0, 0);
    for arrival in 0..ARRIVALS {
        // At first the early ones are likelier, so that there are steps to take.
        let likely = pushes.len() * (arrival + 20) / ARRIVALS;
        let push = &pushes[random.random_range(0..likely.clamp(1, pushes.len()))];
        let fits = push.result(&runs).filter(|_| programmed || matches!(push, Push::Snapshot(_)));
        let expected = match (push.position() < position, push.position().epoch < position.epoch, &fits) {
            (true, true, _) => Err(ConflictCode::StaleEpoch),
            (true, false, _) => Err(ConflictCode::StaleSeq),
            (false, _, None) => Err(ConflictCode::BaseDigest),
            (false, _, Some(_)) => Ok(()),
        };
        assert_eq!(push.clone().apply(store), expected, "seed {seed}, arrival {arrival}");
        position = position.max(push.position());
        if let (Ok(()), Some(after)) = (expected, fits) {
            (runs, programmed, taken) = (after, true, taken + 1);
        } else {
            refused += 1;
        }
        let state = store.state();
        assert_eq!(
            (state.position, state.digest, state.programmed),
            (position, digest_of(&runs), programmed),
            "seed {seed}, arrival {arrival}"
        );
    }
    assert!(taken > 5 && refused > 50, "seed {seed}: the story tells something: {taken} taken, {refused} refused");

    // The last word of the last leader stays, even when everything that was ever said comes once more.
    let last = snapshot(Position::new(LEADERS, STATES + 1), &runs);
    last.apply(store).unwrap();
    let state = store.state();
    for push in pushes {
        assert!(matches!(push.apply(store), Err(ConflictCode::StaleEpoch | ConflictCode::StaleSeq)), "seed {seed}");
    }
    assert_eq!(store.state(), state, "seed {seed}");
}

#[tokio::test]
async fn a_push_that_does_not_go_with_what_runs_still_ends_the_time_of_the_leader_before() {
    let server = TestServer::start().await;
    let store = &server.core().config;
    let all = by_id(&tenants::all());
    let before = store.state();
    let late = delta(Position::new(1, 9), &all, &Tenants::new());
    let elsewhere = delta(Position::new(2, 1), &Tenants::new(), &all);
    assert_eq!(elsewhere.apply(store), Err(ConflictCode::BaseDigest));
    assert_eq!(late.apply(store), Err(ConflictCode::StaleEpoch));
    let claimed = store.state();
    assert_eq!((claimed.position, &claimed.digest), (Position::new(2, 1), &before.digest));
    // What a new leader says that finds everything as it should be.
    delta(Position::new(3, 1), &all, &all).apply(store).unwrap();
    let claimed = store.state();
    assert_eq!((claimed.position, claimed.digest), (Position::new(3, 1), before.digest));
}
