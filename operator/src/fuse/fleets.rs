//! The fuses of all fleets, and the one word that is said of them.

use std::collections::{BTreeMap, BTreeSet};

use carillon_tenant::{FleetName, TenantId};
use tokio::time::Instant;

use super::{Blown, Fuse};
use crate::{
    desired::{Carried, Desired},
    moves::Share,
};

/// One fuse a fleet.
#[derive(Debug, Default)]
pub struct Fuses {
    fuses: BTreeMap<FleetName, Fuse>,
    blown: Option<Blown>,
}

impl Fuses {
    /// What all of them hold; `None` while all are whole.
    pub const fn blown(&self) -> Option<&Blown> {
        self.blown.as_ref()
    }

    /// What was released of a fleet: its pods may drop it, however much it is.
    pub fn released(&self, fleet: &FleetName) -> BTreeSet<TenantId> {
        self.fuses.get(fleet).map(|fuse| fuse.released().clone()).unwrap_or_default()
    }

    /// How many tenants were released.
    pub fn released_count(&self) -> usize {
        self.fuses.values().map(|fuse| fuse.released().len()).sum()
    }

    /// Judges what each fleet should run by what was published `before`, and adds to it what is held. `carried` are the tenants that some fleet
    /// carries, and `said` is what someone said to have tenants removed.
    pub fn judge<'a>(
        &mut self,
        shares: &mut BTreeMap<FleetName, Share>,
        before: impl Fn(&FleetName) -> Option<&'a Desired>,
        carried: &Carried,
        said: Option<&str>,
        now: Instant,
    ) {
        for (fleet, share) in shares.iter() {
            self.fuses.entry(fleet.clone()).or_default().judge(before(fleet), share, carried, now);
        }
        self.look();
        if self.blown.as_ref().is_some_and(|blown| said == Some(blown.code.as_str())) {
            self.fuses.values_mut().for_each(Fuse::release);
            self.look();
        }
        for (fleet, share) in shares {
            if let Some(fuse) = self.fuses.get(fleet) {
                fuse.fill(share);
            }
        }
    }

    /// Takes up that a pod of a fleet would lose `excess`, which is too much.
    pub fn hold(&mut self, fleet: &FleetName, excess: impl IntoIterator<Item = TenantId>) {
        self.fuses.entry(fleet.clone()).or_default().hold(excess);
        self.look();
    }

    fn look(&mut self) {
        let held: BTreeSet<_> = self.fuses.values().flat_map(|fuse| fuse.held.keys()).collect();
        self.blown = Blown::of(held.iter().copied()).map(|blown| {
            let fleets = self.fuses.iter().filter(|(_, fuse)| fuse.is_blown()).map(|(fleet, _)| fleet.clone());
            Blown { fleets: if self.fuses.len() > 1 { fleets.collect() } else { Vec::new() }, ..blown }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{ops::Range, sync::Arc};

    use super::*;
    use crate::fixtures::{desired, fleet as settings, message};

    /// A controller's part: what it published last in each fleet, and the fuses.
    #[derive(Default)]
    struct Publisher {
        fuses: Fuses,
        before: BTreeMap<FleetName, Desired>,
    }

    impl Publisher {
        /// Publishes the tenants of these numbers; gives how many each fleet runs.
        fn publish(&mut self, default: Range<u32>, noisy: Range<u32>, said: Option<&str>, now: Instant) -> [usize; 2] {
            let share = |numbers: Range<u32>| {
                let messages = numbers.map(|number| message(&format!("tenant-{number:03}"), 1));
                let tenants = messages.map(|message| (message.tenant_id.clone(), Arc::new(message))).collect();
                Share { tenants, ..Share::default() }
            };
            let names = ["default", "noisy"].map(|name| FleetName::new(name).unwrap());
            let mut shares: BTreeMap<_, _> = names.clone().into_iter().zip([share(default), share(noisy)]).collect();
            let carried: Carried = shares.values().flat_map(|share| share.tenants.clone()).collect();
            self.fuses.judge(&mut shares, |fleet| self.before.get(fleet), &carried, said, now);
            let position = desired(&[], &[]).position;
            let publish = |(fleet, share): (FleetName, Share)| {
                let state = Desired::new(position, settings(), share.tenants, share.keep);
                (fleet, state.beside_others(share.guests, Arc::new(carried.clone())))
            };
            self.before = shares.into_iter().map(publish).collect();
            names.map(|name| self.before[&name].tenants.len())
        }
    }

    #[test]
    fn a_small_fleet_that_loses_all_is_held_however_many_there_are_elsewhere() {
        let (mut publisher, now) = (Publisher::default(), Instant::now());
        assert_eq!(publisher.publish(0..200, 200..215, None, now), [200, 15]);
        assert_eq!(publisher.publish(0..200, 0..0, None, now), [200, 15]);
        let blown = publisher.fuses.blown().unwrap().clone();
        assert_eq!((blown.tenants, blown.fleets), (15, vec![FleetName::new("noisy").unwrap()]));
        assert_eq!(publisher.publish(0..200, 0..0, Some(&blown.code), now), [200, 0]);
        assert_eq!((publisher.fuses.blown(), publisher.fuses.released_count()), (None, 15));
    }

    #[test]
    fn tenants_that_move_are_no_loss_however_many() {
        let (mut publisher, now) = (Publisher::default(), Instant::now());
        publisher.publish(0..100, 100..101, None, now);
        assert_eq!(publisher.publish(0..0, 0..101, None, now), [0, 101]);
        assert_eq!(publisher.publish(0..101, 0..0, None, now), [101, 0]);
        assert_eq!(publisher.publish(0..80, 80..101, None, now), [80, 21], "some of them");
        assert_eq!(publisher.fuses.blown(), None);
        // What is lost meanwhile is lost all the same.
        assert_eq!(publisher.publish(0..20, 80..101, None, now), [80, 21]);
        assert_eq!(publisher.fuses.blown().unwrap().tenants, 60);
    }

    #[test]
    fn one_word_releases_what_all_of_them_hold() {
        let (mut publisher, now) = (Publisher::default(), Instant::now());
        publisher.publish(0..50, 50..100, None, now);
        assert_eq!(publisher.publish(0..0, 0..0, None, now), [50, 50]);
        let blown = publisher.fuses.blown().unwrap().clone();
        assert_eq!((blown.tenants, blown.fleets.len()), (100, 2));
        assert_eq!(publisher.publish(0..0, 0..0, Some(&blown.code), now), [0, 0]);
    }
}
