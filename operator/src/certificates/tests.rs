//! Whole lives of certificates in virtual time: real keys and real Secrets, played crashes, clocks, kubelets and leaders.

mod world;

use k8s_openapi::ByteString;
use kube::ResourceExt;

use self::world::{DAY, HOUR, LIVES, World};
use super::{
    plan::Side,
    stored::{Place, RENEW},
};

const SERVER: Place = Place::Of(Side::Server);
const OPERATOR: Place = Place::Of(Side::Operator);

#[test]
fn a_fresh_release_has_everything_at_once() {
    let mut world = World::new(1, 0);
    let mut writes = 0;
    while world.act(0) {
        writes += 1;
    }
    assert_eq!(writes, 3);
    let found = world.found();
    let authority = found.authority.unwrap();
    let (server, operator) = (found.server.unwrap(), found.operator.unwrap());
    assert_eq!((&server.issuer, &operator.issuer), (&authority.fingerprint, &authority.fingerprint));
    assert_eq!(authority.validity.not_after, world.now + i64::from(LIVES.authority));
    assert_eq!(server.known.validity.not_after, world.now + i64::from(LIVES.certificate));
    assert_eq!(server.known.validity.not_before, world.now - HOUR);
    assert_ne!(server.known.fingerprint, operator.known.fingerprint);
    for (place, kind) in [(Place::Authority, "Opaque"), (SERVER, "kubernetes.io/tls"), (OPERATOR, "kubernetes.io/tls")] {
        assert_eq!(world.secrets[&place].type_.as_deref(), Some(kind));
    }
}

#[test]
fn years_go_by_without_a_failed_handshake() {
    for seed in 0..3 {
        let mut world = World::new(seed, 3);
        world.crashes = 0.3;
        world.clocks_differ(300);
        world.settles();
        let end = world.now + 3 * 365 * DAY;
        while world.now < end {
            world.passes();
            world.nobody_was_refused();
            assert!(world.found().believed(world.now).len() <= 2);
        }
        let made = world.made;
        // A year's authority is renewed after 243 days, a certificate of 90 days after 60, and whenever its authority is.
        assert!((4..=6).contains(&made[&Place::Authority]), "{made:?}");
        assert!((18..=26).contains(&made[&SERVER]) && (18..=26).contains(&made[&OPERATOR]), "{made:?}");
    }
}

#[test]
fn two_leaders_at_once_do_no_harm() {
    for seed in 10..16 {
        let mut world = World::new(seed, 3);
        world.settles();
        world.second_leader();
        for request in 0..4 {
            world.ask(&format!("{request}"));
            for _ in 0..400 {
                world.passes();
                world.nobody_was_refused();
            }
            world.settles();
        }
        assert!(world.conflicts > 0, "they were in each other's way");
    }
}

#[test]
fn whoever_asks_gets_all_of_it_anew_and_once() {
    let mut world = World::new(2, 3);
    world.settles();
    let before = world.found();
    world.ask("today");
    world.settles();
    let after = world.found();
    assert!(world.now - world.began < 15 * 60, "kubelets take most of it: {} s", world.now - world.began);
    world.nobody_was_refused();
    assert_ne!(before.authority, after.authority);
    assert_ne!(before.server.unwrap().known, after.server.as_ref().unwrap().known);
    assert_ne!(before.operator.unwrap().known, after.operator.as_ref().unwrap().known);
    assert_eq!((after.older.len(), after.done.as_deref()), (0, Some("today")));
    assert!(!world.secrets[&Place::Authority].data.as_ref().unwrap().contains_key("older.crt"));

    world.ask("today");
    world.settles();
    assert_eq!(world.found(), after);
}

#[test]
fn one_secret_that_is_lost_or_damaged_is_made_up_for_unnoticed() {
    let table: [(Place, Option<&str>); 10] = [
        (Place::Authority, None),
        (Place::Authority, Some("ca.crt")),
        (Place::Authority, Some("ca.key")),
        (SERVER, None),
        (SERVER, Some("tls.crt")),
        (SERVER, Some("tls.key")),
        (SERVER, Some("ca.crt")),
        (OPERATOR, None),
        (OPERATOR, Some("tls.key")),
        (OPERATOR, Some("ca.crt")),
    ];
    for (seed, (place, file)) in (20..).zip(table) {
        let mut world = World::new(seed, 3);
        world.settles();
        let before = world.found();
        world.began = world.now;
        match file {
            None => _ = world.secrets.remove(&place),
            Some(file) => {
                let secret = world.secrets.get_mut(&place).unwrap();
                secret.data.as_mut().unwrap().insert(file.to_owned(), ByteString(b"garbage".to_vec()));
                world.touched(place);
            }
        }
        world.settles();
        world.nobody_was_refused();
        let after = world.found();
        assert!(after.authority.is_some() && after.older.is_empty(), "{place:?} {file:?}");
        assert_eq!(before.authority == after.authority, place != Place::Authority, "{place:?} {file:?}");
    }
}

#[test]
fn everything_lost_at_once_is_back_when_kubelets_have_brought_it() {
    let mut world = World::new(3, 3);
    world.settles();
    world.secrets.clear();
    for _ in 0..40 {
        world.passes();
    }
    world.refused = 0;
    world.settles();
    world.nobody_was_refused();
}

#[test]
fn a_release_that_slept_for_years_begins_anew() {
    let mut world = World::new(4, 2);
    world.settles();
    let before = world.found();
    world.now += 5 * 365 * DAY;
    for _ in 0..40 {
        world.passes();
    }
    world.refused = 0;
    world.settles();
    world.nobody_was_refused();
    assert_ne!(before.authority, world.found().authority);
}

#[test]
fn a_pod_that_cant_be_heard_holds_nothing_up_for_ever() {
    let mut world = World::new(5, 3);
    world.settles();
    world.pods[1].away = true;
    world.ask("all");
    world.settles();
    let took = world.now - world.began;
    let patience = i64::try_from(LIVES.patience().as_secs()).unwrap();
    assert!((patience..=3 * patience).contains(&took), "{took} s");
    world.nobody_was_refused();

    // Its kubelet is back before it is, or soon after.
    world.pods[1].away = false;
    for _ in 0..40 {
        world.passes();
    }
    world.refused = 0;
    world.settles();
    world.nobody_was_refused();
}

#[test]
fn a_pod_of_an_older_version_is_waited_for_and_then_trusted() {
    let mut world = World::new(6, 2);
    world.pods[0].says_nothing = true;
    world.settles();
    world.ask("all");
    world.settles();
    world.nobody_was_refused();
    assert!(world.now - world.began >= i64::try_from(LIVES.patience().as_secs()).unwrap());
}

#[test]
fn nothing_shows_a_key() {
    let mut world = World::new(7, 1);
    world.settles();
    let content = world.content();
    let shown = format!("{content:?} {:?}", world.found());
    assert!(!shown.contains("PRIVATE"), "{shown}");
    assert!(world.secrets[&OPERATOR].annotations().is_empty());
    assert!(!world.secrets[&Place::Authority].annotations().contains_key(RENEW));
}
