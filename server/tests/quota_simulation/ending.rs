//! How every world ends: nothing goes wrong any more, the fleet fills up to the brim, and everybody leaves.

use std::time::Duration;

use crate::{
    law::{limits, name},
    plan::{ROOMS, ROOMS_COMMON, USERS, USERS_COMMON},
    pod::PodId,
    redis::KEYS,
    world::{Answers, Event, World},
};

/// So long after a crash everything free can be had again.
const RECOVERED: Duration = Duration::from_secs(10);
/// The same after all pods crashed.
const RECOVERED_FLEET: Duration = Duration::from_secs(8);
/// What was sent before may arrive so much later, in a world of disorder.
const DISORDER: Duration = Duration::from_secs(4);
/// So long after everybody left nothing is left of them.
const SWEPT: Duration = Duration::from_secs(12);

impl World<'_> {
    /// The whole story of a seed.
    pub fn play(&mut self) -> Result<(), String> {
        self.begin_chaos();
        self.run_until(self.plan.chaos)?;
        let recovered = self.calm();
        self.wait_and_try(recovered)?;
        self.is_within()?;
        self.fill_up()?;
        self.empty()
    }

    /// Nothing goes wrong any more, once the last pods have crashed. The time when all is well again.
    fn calm(&mut self) -> Duration {
        self.plan.loss = 0;
        let mut recovered = RECOVERED;
        if self.plan.disorder {
            recovered += DISORDER;
            self.plan.disorder = false;
        }
        let crashed = self.dice.below(self.pods.len() as u64 + 1);
        let ids: Vec<_> = self.pods.iter().flatten().map(|pod| pod.id).collect();
        self.note(|_| "calm".into());
        if ids.len() as u64 == crashed && !self.dice.per_mille(300) {
            return self.recover(recovered);
        }
        if self.dice.per_mille(600) {
            for id in ids.into_iter().take(usize::try_from(crashed).expect("small")) {
                self.end(id);
            }
            if self.pods.iter().all(Option::is_none) && recovered == RECOVERED && self.stepped_at.is_zero() {
                recovered = RECOVERED_FLEET;
            }
        }
        self.recover(recovered)
    }

    fn recover(&mut self, recovered: Duration) -> Duration {
        self.redis_stalled_until = self.now;
        self.redis_up = true;
        self.links_up.iter_mut().for_each(|up| *up = true);
        let paused: Vec<_> = self.pods.iter().flatten().filter(|pod| pod.paused.is_some()).map(|pod| pod.id).collect();
        for id in paused {
            self.after(Duration::ZERO, Event::Wake(id));
        }
        self.reach_changed();
        (0..self.pods.len()).for_each(|slot| self.start(slot));
        let quotas = self.quotas.clone();
        for pod in self.pods.iter_mut().flatten() {
            pod.quotas = quotas.clone();
            pod.held_before = pod.held.clone();
            (pod.leaves, pod.stops_for) = (false, None);
        }
        self.now + recovered
    }

    /// Time passes, and somebody tries to get in every second, as clients do: leases run out by what exchanges prove to have passed.
    fn wait_and_try(&mut self, end: Duration) -> Result<(), String> {
        let user = USERS - 1;
        while self.now < end {
            if let Some(pod) = self.dice.pick(&self.running()) {
                self.connect(pod, user);
            }
            let step = self.now + Duration::from_secs(1);
            self.run_until(step.min(end))?;
            let tried: Vec<u64> = self.clients.iter().filter(|(_, client)| client.user == user).map(|(number, _)| *number).collect();
            tried.into_iter().for_each(|number| self.disconnect(number));
        }
        // What they gave back is told.
        self.run_until(self.now + Duration::from_millis(500))
    }

    /// All pods together are within the limits, or at least within what was stated.
    fn is_within(&mut self) -> Result<(), String> {
        let (all, counted) = self.sums();
        if all != counted {
            return Err(format!("at {:?}: not every pod has a good lease again", self.now));
        }
        if self.plan.data_loss || self.plan.limits_move || !self.quotas.enforced() {
            return Ok(());
        }
        match all.numbers().zip(limits(&self.quotas)).enumerate().find(|(_, (held, limit))| held > limit) {
            Some((index, (held, limit))) => Err(format!("{held} {} of {limit}, long after all is well", name(index))),
            None => Ok(()),
        }
    }

    /// Some come everywhere, so that every pod has places in advance, and then as many as fit to one pod.
    fn fill_up(&mut self) -> Result<(), String> {
        for _ in 0..self.dice.below(4) {
            let Some(pod) = self.dice.pick(&self.running()) else { break };
            let user = usize::try_from(self.dice.below(USERS_COMMON as u64)).expect("small");
            self.connect(pod, user);
            let wait = self.dice.millis(0, 300);
            self.run_until(self.now + wait)?;
        }
        self.settle()?;
        let Some(pod) = self.dice.pick(&self.running()) else { return Err("no pod runs".into()) };
        let limits: Vec<u32> = limits(&self.quotas).collect();
        let held: Vec<u32> = self.sums().0.numbers().collect();
        self.note(|_| format!("filling up at {pod:?}, held {held:?}"));
        // Connections, each of a user of its own.
        let connections = self.fill(0, limits[0], held[0], 45, |world, index| world.connect(pod, USERS_COMMON + index))?;
        let held: Vec<u32> = self.sums().0.numbers().collect();
        let Some(client) = self.a_client(pod) else {
            return if connections > 0 { Err("nobody is in".into()) } else { Ok(()) };
        };
        // Rooms, all of one client.
        self.fill(1, limits[1], held[1], 20, |world, index| world.join(client, ROOMS_COMMON + index, true))?;
        Ok(())
    }

    fn a_client(&self, pod: PodId) -> Option<u64> {
        let clients = self.clients.iter();
        clients.filter(|(_, client)| client.pod == pod && client.connected && !client.closing).map(|(number, _)| *number).next()
    }

    /// Asks for `most` places more of a number of which `held` are held: exactly what is left is to be had.
    fn fill(&mut self, what: usize, limit: u32, held: u32, most: usize, ask: impl Fn(&mut Self, usize)) -> Result<u32, String> {
        self.answers = Answers::default();
        let free = limit.saturating_sub(held);
        let most = most.min(if what == 0 { USERS - USERS_COMMON - 1 } else { ROOMS - ROOMS_COMMON });
        let one_by_one = self.dice.per_mille(300);
        for index in 0..most {
            ask(self, index);
            if one_by_one {
                self.run_until(self.now + Duration::from_millis(30))?;
            }
        }
        self.settle()?;
        let expected = free.min(u32::try_from(most).expect("small"));
        let beyond = u32::try_from(most).expect("small") - expected;
        let Answers { taken, beyond: taken_beyond, refused } = self.answers;
        let enforced = self.quotas.enforced();
        // Nobody waits for what others may give back when nothing is refused anyway: what they hold in advance counts as taken.
        if !enforced && refused == 0 && taken <= expected && taken_beyond >= beyond {
            return Ok(taken);
        }
        if taken != expected || refused != (if enforced { beyond } else { 0 }) || taken_beyond != (if enforced { 0 } else { beyond }) {
            return Err(format!(
                "at {:?}: {taken} {} of {limit} could be taken, where {expected} were free; {refused} were refused, {taken_beyond} beyond",
                self.now,
                name(what)
            ));
        }
        Ok(taken)
    }

    /// Everybody is answered.
    fn settle(&mut self) -> Result<(), String> {
        let end = self.now + Duration::from_secs(5);
        while self.waiting() > 0 && self.now < end {
            self.run_until(self.now + Duration::from_millis(10))?;
        }
        if self.waiting() > 0 { Err(format!("at {:?}: {} wait for ever", self.now, self.waiting())) } else { Ok(()) }
    }

    /// Everybody leaves, and nothing is left of them.
    fn empty(&mut self) -> Result<(), String> {
        self.note(|_| "everybody leaves".into());
        self.plan.metering = false;
        self.pods.iter_mut().flatten().for_each(|pod| pod.metering = false);
        let clients: Vec<u64> = self.clients.keys().copied().collect();
        for number in clients {
            if self.dice.per_mille(100) {
                let wait = self.dice.millis(0, 1000);
                self.run_until(self.now + wait)?;
            }
            self.disconnect(number);
        }
        self.run_until(self.now + SWEPT)?;
        if let Some(pod) = self.pods.iter().flatten().find(|pod| pod.driven || pod.book.used() != (0, 0, 0)) {
            return Err(format!("the book of {:?} does not rest: {:?}", pod.id, pod.book.used()));
        }
        let left: Vec<_> = KEYS[1..].iter().map(|key| self.redis.len(key)).collect();
        if left != [0, 0] {
            return Err(format!("users and rooms are left in Redis: {:?}", self.redis.data()));
        }
        if self.redis.data().get(KEYS[0]).is_some_and(|pods| pods.keys().any(|name| !name.starts_with('#'))) {
            return Err(format!("leases are left in Redis: {:?}", self.redis.data()));
        }
        Ok(())
    }
}
