//! What clients do, and what goes wrong.

use std::time::Duration;

use crate::{
    plan::{ROOMS_COMMON, USERS_COMMON, limits},
    world::{Event, World},
};

/// The clock of Redis is set no more often than that.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

impl World<'_> {
    /// Lets clients come and go, and things go wrong.
    pub fn begin_chaos(&mut self) {
        self.after(Duration::ZERO, Event::Act);
        if self.plan.fault_ms.is_some() {
            let wait = self.dice.millis(0, 3000);
            self.after(wait, Event::Fault);
        }
    }

    /// Clients do something.
    pub fn act(&mut self) {
        if self.now >= self.plan.chaos {
            return;
        }
        let clients: Vec<u64> = self.clients.keys().copied().collect();
        let connected: Vec<u64> = self.clients.iter().filter(|(_, client)| client.connected).map(|(number, _)| *number).collect();
        match self.dice.below(100) {
            0..35 => self.some_connect(1),
            35..38 => {
                let count = self.dice.between(3, 20);
                self.some_connect(count);
            }
            38..60 => {
                // Many at once, now and then.
                let count = if self.dice.per_mille(50) { 20 } else { 1 };
                for _ in 0..count {
                    if let Some(number) = self.dice.pick(&clients)
                        && self.runs(number)
                    {
                        self.disconnect(number);
                    }
                }
            }
            60..88 => {
                let room = usize::try_from(self.dice.below(ROOMS_COMMON as u64)).expect("small");
                let may_create = self.dice.per_mille(900);
                if let Some(number) = self.dice.pick(&connected)
                    && self.runs(number)
                {
                    self.join(number, room, may_create);
                }
            }
            _ => {
                if let Some(number) = self.dice.pick(&connected)
                    && self.runs(number)
                    && let Some(room) = self.clients[&number].rooms.first().copied()
                {
                    self.leave(number, room);
                }
            }
        }
        let wait = self.dice.millis(0, self.plan.act_ms);
        self.after(wait, Event::Act);
    }

    /// True when the client's pod runs.
    fn runs(&self, number: u64) -> bool {
        let pod = self.clients.get(&number).map(|client| client.pod);
        self.pods.iter().flatten().any(|other| Some(other.id) == pod && other.paused.is_none())
    }

    fn some_connect(&mut self, count: u64) {
        let Some(pod) = self.dice.pick(&self.running()) else { return };
        for _ in 0..count {
            let user = usize::try_from(self.dice.below(USERS_COMMON as u64)).expect("small");
            self.connect(pod, user);
        }
    }

    /// Something goes wrong.
    pub fn fault(&mut self) {
        let Some(between) = self.plan.fault_ms else { return };
        if self.now >= self.plan.chaos {
            return;
        }
        let lasts = match self.dice.below(100) {
            0..3 => self.dice.millis(20_000, 40_000),
            3..20 => self.dice.millis(4000, 15_000),
            _ => self.dice.millis(50, 4000),
        };
        let running = self.dice.pick(&self.running());
        match self.dice.below(100) {
            0..18 => {
                if let Some(id) = running {
                    self.end(id);
                    self.after(lasts, Event::Start(id.slot));
                }
            }
            18..36 => {
                if let Some(id) = running {
                    if self.dice.per_mille(500) {
                        self.pod(id).expect("it runs").stops_for = Some(lasts);
                    } else {
                        self.pause(id, lasts);
                    }
                }
            }
            36..54 => {
                let slot = usize::try_from(self.dice.below(self.pods.len() as u64)).expect("small");
                if self.links_up[slot] {
                    self.note(|_| format!("slot {slot} is cut off for {lasts:?}"));
                    self.links_up[slot] = false;
                    self.after(lasts, Event::Mend(slot));
                    self.reach_changed();
                }
            }
            54..64 => {
                if self.redis_up {
                    self.note(|_| format!("Redis is away for {lasts:?}"));
                    self.redis_up = false;
                    self.after(lasts, Event::RedisBack);
                    self.reach_changed();
                    if self.plan.data_loss && self.dice.per_mille(300) {
                        self.lose_data(true);
                    }
                }
            }
            64..70 => {
                self.note(|_| format!("Redis stands still for {lasts:?}"));
                self.redis_stalled_until = self.now + lasts;
            }
            70..78 => {
                if self.now >= self.stepped_at + BETWEEN_STEPS || self.stepped_at.is_zero() {
                    let step = i64::try_from(self.dice.below(200_000)).expect("small") - 100_000;
                    let step = if self.dice.per_mille(500) { step / 30 } else { step };
                    self.note(|_| format!("the clock of Redis is set by {step} ms"));
                    self.stepped_at = self.now;
                    self.wall_step += step;
                }
            }
            78..86 => {
                if let Some(id) = running {
                    self.note(|_| format!("{id:?} is to end"));
                    let clients: Vec<u64> = self.clients.iter().filter(|(_, client)| client.pod == id).map(|(number, _)| *number).collect();
                    self.pod(id).expect("it runs").leaves = true;
                    clients.into_iter().for_each(|number| self.disconnect(number));
                    self.stir(id);
                }
            }
            86..94 => {
                if self.plan.data_loss && self.now >= self.lost_at + BETWEEN_STEPS {
                    let all = self.dice.per_mille(500);
                    self.lose_data(all);
                }
            }
            _ => {
                if self.plan.limits_move {
                    let enforcement = self.quotas.enforcement;
                    self.quotas = limits(&mut self.dice);
                    self.quotas.enforcement = enforcement;
                    self.note(|world| format!("new limits {:?}", world.quotas));
                    let (quotas, now) = (self.quotas.clone(), self.now);
                    self.law.moved(&quotas, now);
                    let pods: Vec<_> = self.pods.iter().flatten().map(|pod| pod.id).collect();
                    for pod in pods {
                        let wait = self.dice.millis(0, 1000);
                        self.after(wait, Event::Limits(pod));
                    }
                }
            }
        }
        let wait = self.dice.millis(0, between);
        self.after(wait, Event::Fault);
    }
}
