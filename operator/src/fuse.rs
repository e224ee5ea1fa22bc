//! The fuse: what would take most tenants from the pods is held until someone says that it is meant. Pure: the clock is handed in.
//!
//! Tenants vanish together when something is wrong: a watch that lists too little, an API server restored from a backup, a pruned
//! folder, `kubectl delete --all`. A deletion that was ordered counts like one that wasn't: it shows that someone deleted, not that this
//! many were meant, and the price of asking is a command, that of not asking is every client of every tenant. Its object goes all the same,
//! once the finalizer's deadline has passed.
//!
//! Each fleet has a fuse of its own, so that a small one is not lost among many tenants elsewhere, and what moves from one to another is a
//! loss for neither. What is said releases what all of them hold.
//!
//! Two look. This one sees what was published before, and so has what it takes to keep serving it, to new pods, too. After a restart there
//! is nothing before: then each pusher looks at [what its pod runs](crate::acks::Ledger::excess), and tells.

mod fleets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carillon_tenant::{ConfigVersion, FleetName, TenantId, TenantMessage, push::digest};
use tokio::time::Instant;

pub use self::fleets::Fuses;
use crate::{
    desired::{Carried, Desired},
    moves::Share,
};

/// So many may always go.
const FEW: usize = 10;
/// By how many they became fewer within this time counts, too: a list of deletions is carried out one by one. Tenants that come and go
/// make them no fewer.
const WINDOW: Duration = Duration::from_secs(60);
/// Tenants named as examples.
const EXAMPLES: usize = 3;

/// True when the fuse blows: more than half of `of` would be gone, and more than ten.
pub const fn too_many(gone: usize, of: usize) -> bool {
    gone > FEW && gone > of / 2
}

/// Whole, or blown by tenants that it holds. While it is blown nothing is taken from any pod.
#[derive(Debug, Default)]
pub struct Fuse {
    /// What is held: as it was last published, or `None` when only pods know it.
    held: BTreeMap<TenantId, Option<Arc<TenantMessage>>>,
    /// The most there were since the window began.
    peak: Option<(Instant, usize)>,
    /// What was held and then released, as long as it doesn't come back.
    released: BTreeSet<TenantId>,
}

/// What a blown fuse holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blown {
    /// How many tenants.
    pub tenants: usize,
    /// Some of them.
    pub examples: Vec<TenantId>,
    /// What must be said to have them removed. It stands for exactly these: when more vanish, it is another.
    pub code: String,
    /// The fleets whose pods keep them, where there are several.
    pub fleets: Vec<FleetName>,
}

impl Fuse {
    /// What it holds; `None` while it is whole.
    #[cfg(test)]
    pub fn blown(&self) -> Option<Blown> {
        Blown::of(self.held.keys())
    }

    /// What was released: pods may drop it, however much it is.
    pub const fn released(&self) -> &BTreeSet<TenantId> {
        &self.released
    }

    /// Judges what pods should run by what was published `before`. `carried` are the tenants that some fleet carries: what another has is not
    /// lost.
    pub fn judge(&mut self, before: Option<&Desired>, wanted: &Share, carried: &Carried, now: Instant) {
        let is_wanted = |id: &TenantId| wanted.tenants.contains_key(id) || wanted.keep.contains(id);
        let is_there = |id: &TenantId| is_wanted(id) || carried.contains_key(id);
        self.held.retain(|id, _| !is_there(id));
        self.released.retain(|id| !is_there(id));
        if let Some(before) = before {
            let own = before.tenants.keys().chain(&before.keep).filter(|id| !before.guests.contains(*id));
            let moved = own.filter(|id| carried.contains_key(*id) && (!is_wanted(id) || wanted.guests.contains(*id))).count();
            let (there, left) = (before.own() - moved, wanted.own());
            let window = self.peak.filter(|(at, _)| now.duration_since(*at) < WINDOW);
            let (begun, peak) = window.map_or((now, there), |(at, peak)| (at, peak.saturating_sub(moved).max(there)));
            self.peak = Some((begun, peak));
            let known = |id: &TenantId| is_there(id) || self.held.contains_key(id) || self.released.contains(id);
            let missing: Vec<_> = before.tenants.keys().chain(&before.keep).filter(|id| !known(id)).cloned().collect();
            if self.is_blown() || too_many(missing.len(), there) || too_many(peak.saturating_sub(left), peak) {
                self.held.extend(missing.into_iter().map(|id| {
                    let message = before.tenants.get(&id).cloned();
                    (id, message)
                }));
            }
        }
    }

    /// Lets go of everything that is held: someone said so.
    fn release(&mut self) {
        self.released.extend(std::mem::take(&mut self.held).into_keys());
        self.peak = None;
    }

    /// Adds what is held to what pods should run.
    fn fill(&self, share: &mut Share) {
        for (id, message) in &self.held {
            match message {
                Some(message) => _ = share.tenants.insert(id.clone(), Arc::clone(message)),
                None => _ = share.keep.insert(id.clone()),
            }
        }
    }

    /// Takes up that a pod would lose `excess`, which is too much.
    pub fn hold(&mut self, excess: impl IntoIterator<Item = TenantId>) {
        let excess: Vec<_> = excess.into_iter().filter(|id| !self.released.contains(id)).collect();
        if self.is_blown() || excess.len() > FEW {
            excess.into_iter().for_each(|id| _ = self.held.entry(id).or_default());
        }
    }

    fn is_blown(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Blown {
    /// What it means to hold these, if there are any.
    fn of<'a>(held: impl Iterator<Item = &'a TenantId> + Clone) -> Option<Self> {
        let version = ConfigVersion::new(0, &[0; 32]);
        let tenants = held.clone().count();
        let mut code = digest(held.clone().map(|id| (id, &version)));
        code.truncate(8);
        (tenants > 0).then(|| Self { tenants, examples: held.take(EXAMPLES).cloned().collect(), code, fleets: Vec::new() })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::fixtures::{desired, id, message};

    /// A controller's part: what it published last, and the fuse.
    #[derive(Default)]
    pub struct Publisher {
        pub fuse: Fuse,
        before: Option<Desired>,
    }

    impl Publisher {
        /// Publishes the tenants of these numbers, of that generation; gives what pods should run.
        pub fn publish(&mut self, numbers: impl IntoIterator<Item = u32>, generation: i64, said: Option<&str>, now: Instant) -> &Desired {
            let messages: Vec<_> = numbers.into_iter().map(|number| message(&name(number), generation)).collect();
            let Desired { tenants, keep, position, fleet, .. } = desired(&messages, &[]);
            let mut share = Share { tenants, keep, guests: BTreeSet::new() };
            self.fuse.judge(self.before.as_ref(), &share, &Carried::new(), now);
            if self.fuse.blown().is_some_and(|blown| said == Some(blown.code.as_str())) {
                self.fuse.release();
            }
            self.fuse.fill(&mut share);
            self.before.insert(Desired::new(position, fleet, share.tenants, share.keep).releasing(self.fuse.released().clone()))
        }
    }

    pub fn name(number: u32) -> String {
        format!("tenant-{number:03}")
    }

    fn held(publisher: &Publisher) -> usize {
        publisher.fuse.blown().map_or(0, |blown| blown.tenants)
    }

    #[test]
    fn it_blows_when_more_than_half_and_more_than_ten_go() {
        let now = Instant::now();
        // So many were there, so many are left, so many are held.
        for (there, left, expected) in
            [(10, 0, 0), (11, 0, 11), (11, 1, 0), (22, 11, 0), (22, 10, 12), (23, 12, 0), (23, 11, 12), (100, 0, 100)]
        {
            let mut publisher = Publisher::default();
            publisher.publish(0..there, 1, None, now);
            let runs = publisher.publish(0..left, 1, None, now).tenants.len();
            assert_eq!((held(&publisher), runs), (expected, (left as usize) + expected), "{there} to {left}");
        }
    }

    #[test]
    fn what_goes_within_a_minute_counts_together_and_one_by_one_is_fine() {
        let start = Instant::now();
        let mut publisher = Publisher::default();
        for left in (0..=100).rev() {
            publisher.publish(0..left, 1, None, start + WINDOW * (100 - left) / 10);
            assert_eq!(held(&publisher), 0, "ten a minute: {left} left");
        }
        let mut publisher = Publisher::default();
        publisher.publish(0..100, 1, None, start);
        publisher.publish(0..60, 1, None, start);
        assert_eq!(held(&publisher), 0);
        let soon = start + WINDOW / 2;
        assert_eq!(publisher.publish(0..40, 1, None, soon).tenants.len(), 60, "what is left stays");
        assert_eq!(held(&publisher), 20);
    }

    #[test]
    fn tenants_that_come_and_go_blow_nothing() {
        let start = Instant::now();
        let mut publisher = Publisher::default();
        for number in 0..200 {
            publisher.publish((0..5).chain(number..number + 3), 1, None, start + WINDOW * number / 30);
            assert_eq!(held(&publisher), 0, "{number}");
        }
        // What came lately is missed all the same.
        for left in [100, 80, 60, 49] {
            publisher.publish(0..left, 1, None, start + WINDOW * 20);
        }
        assert_eq!(held(&publisher), 11);
    }

    #[test]
    fn while_it_is_blown_changes_go_out_and_nothing_is_removed() {
        let now = Instant::now();
        let mut publisher = Publisher::default();
        publisher.publish(0..100, 1, None, now);
        publisher.publish(0..40, 1, None, now);
        assert_eq!(held(&publisher), 60);
        let later = now + WINDOW * 2;
        let runs = publisher.publish((0..39).chain(200..202), 2, None, later);
        assert_eq!(runs.tenants.len(), 102);
        assert_eq!(runs.tenants[&id("tenant-000")], message("tenant-000", 2).into());
        assert_eq!(runs.tenants[&id("tenant-099")], message("tenant-099", 1).into(), "as it was");
        assert_eq!(held(&publisher), 61, "one more, however late");
        publisher.publish(0..99, 2, None, later);
        assert_eq!(held(&publisher), 3, "until the last one is back, or gone on purpose");
        assert!(publisher.publish((0..100).chain(200..202), 2, None, later).keep.is_empty());
        assert_eq!(publisher.fuse.blown(), None);
        publisher.publish((0..99).chain(200..202), 2, None, later);
        assert_eq!(publisher.publish((0..98).chain(200..202), 2, None, later).tenants.len(), 100, "whole again");
    }

    #[test]
    fn the_code_releases_exactly_what_it_was_made_for() {
        let now = Instant::now();
        let mut publisher = Publisher::default();
        publisher.publish(0..100, 1, None, now);
        publisher.publish(0..40, 1, Some("remove"), now);
        let first = publisher.fuse.blown().unwrap();
        assert_eq!((first.tenants, &first.examples[..]), (60, &[id("tenant-040"), id("tenant-041"), id("tenant-042")][..]));
        publisher.publish(0..39, 1, Some(&first.code), now);
        let second = publisher.fuse.blown().unwrap();
        assert_ne!(first.code, second.code, "nobody has seen the one more");
        let runs = publisher.publish(0..39, 1, Some(&second.code), now);
        assert_eq!((runs.tenants.len(), runs.released.len()), (39, 61));
        assert_eq!(publisher.fuse.blown(), None);
        // What was said stays said, and means nothing any more.
        assert_eq!(publisher.publish(0..38, 1, Some(&second.code), now).tenants.len(), 38);
        assert_eq!(publisher.publish(0..10, 1, Some(&second.code), now).tenants.len(), 38, "another one");
        publisher.publish(0..100, 1, None, now);
        assert!(publisher.fuse.released().is_empty(), "what is back may not go again unasked");
    }

    #[test]
    fn what_only_pods_know_they_keep() {
        let now = Instant::now();
        let mut publisher = Publisher::default();
        publisher.publish(0..5, 1, None, now);
        publisher.fuse.hold((5..30).map(|number| id(&name(number))));
        let runs = publisher.publish(0..6, 1, None, now);
        assert_eq!((runs.tenants.len(), runs.keep.len()), (6, 24));
        let code = publisher.fuse.blown().unwrap().code.clone();
        let runs = publisher.publish(0..6, 1, Some(&code), now);
        assert_eq!((runs.tenants.len(), runs.keep.len(), runs.released.len()), (6, 0, 24));
        publisher.fuse.hold((6..30).map(|number| id(&name(number))));
        assert_eq!(publisher.fuse.blown(), None, "a pod that comes back may drop it, too");
    }
}
