//! The world: pods, clients, a network and a Redis, in virtual time. One thing happens after another, and after each the law is held
//! against what the pods hold.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use carillon_server::quota::{
    book::{Answer, Excess, Outcome},
    rates::Demand,
    wire::Reply,
};
use carillon_tenant::Quotas;

use crate::{
    dice::Dice,
    law::{Law, Tally, limits, name},
    plan::Plan,
    pod::{Pod, PodId, VALID, Wish, room, user},
    redis::{Data, FakeRedis},
};

/// How long a command to Redis may take.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the task of a tenant looks when nothing is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// At most one recall in this time.
const RECALL_INTERVAL: Duration = Duration::from_millis(100);
/// Nobody may wait longer for an answer.
const WAIT_MAX: Duration = Duration::from_secs(4);
/// What a failover loses.
const REPLICA_LAG: Duration = Duration::from_millis(500);
/// What Redis' clock shows when the world begins.
const WALL_MS: i64 = 1_700_000_000_000;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The task of a pod looks.
    Poll(PodId),
    /// A request arrives at Redis; whoever sent it waits for the answer, unless this is a second copy.
    Request { pod: PodId, exchange: Option<u64>, arguments: Vec<String> },
    /// An answer arrives at a pod.
    Reply { pod: PodId, exchange: u64, numbers: Vec<i64> },
    /// An answer did not arrive.
    Timeout { pod: PodId, exchange: u64 },
    /// A pod is asked to give back what it doesn't use.
    Recall(PodId),
    /// A pod sees Redis come or go.
    Reach(PodId),
    /// A pod hears of other limits.
    Limits(PodId),
    /// A client that has to go is gone.
    Closed { pod: PodId, client: u64 },
    /// Clients do something.
    Act,
    /// Something goes wrong.
    Fault,
    /// A pod that stood still goes on.
    Wake(PodId),
    /// A pod reaches Redis again.
    Mend(usize),
    /// A pod starts where there is none.
    Start(usize),
    /// Redis answers again.
    RedisBack,
    /// Somebody looks at everything.
    Look,
}

/// A client that is connected, or wants to be.
#[derive(Debug)]
pub struct Client {
    /// Its pod.
    pub pod: PodId,
    /// Its user.
    pub user: usize,
    /// Whether it was let in.
    pub connected: bool,
    /// Whether it has to go.
    pub closing: bool,
    /// Rooms it is in.
    pub rooms: Vec<usize>,
    /// Rooms it waits for.
    pub joining: Vec<usize>,
}

/// A claim that waits.
#[derive(Debug)]
pub struct Ticket {
    pod: PodId,
    client: u64,
    wish: Wish,
    since: Duration,
}

/// What was answered in the ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub taken: u32,
    pub beyond: u32,
    pub refused: u32,
}

/// All there is.
pub struct World<'a> {
    pub dice: Dice,
    pub plan: Plan,
    pub now: Duration,
    pub quotas: Quotas,
    pub pods: Vec<Option<Pod>>,
    pub links_up: Vec<bool>,
    pub clients: BTreeMap<u64, Client>,
    pub redis: &'a FakeRedis,
    pub redis_up: bool,
    /// Redis answers nobody until then; what it is sent waits.
    pub redis_stalled_until: Duration,
    /// How far the clock of Redis was set, in milliseconds.
    pub wall_step: i64,
    pub law: Law,
    /// When the last thing that went wrong was over.
    pub disturbed_until: Duration,
    pub answers: Answers,
    pub lives: u32,
    /// When the clock of Redis was last set, and when it last lost data.
    pub stepped_at: Duration,
    pub lost_at: Duration,
    tickets: BTreeMap<u64, Ticket>,
    queue: BTreeMap<(Duration, u64), Event>,
    numbers: u64,
    history: VecDeque<(Duration, Data)>,
    /// Whether something was taken, given back or granted since the law was held against it.
    changed: bool,
    broken: Option<String>,
    trace: Option<Vec<String>>,
}

impl<'a> World<'a> {
    /// The world of a seed.
    pub fn new(seed: u64, redis: &'a FakeRedis, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        redis.restore(Data::new());
        let quotas = plan.quotas.clone();
        let mut world = Self {
            now: Duration::ZERO,
            law: Law::new(&quotas),
            quotas,
            pods: (0..plan.pods).map(|_| None).collect(),
            links_up: vec![true; plan.pods],
            clients: BTreeMap::new(),
            redis,
            redis_up: true,
            redis_stalled_until: Duration::ZERO,
            wall_step: 0,
            disturbed_until: Duration::ZERO,
            answers: Answers::default(),
            lives: 0,
            stepped_at: Duration::ZERO,
            lost_at: Duration::ZERO,
            tickets: BTreeMap::new(),
            queue: BTreeMap::new(),
            numbers: 0,
            history: VecDeque::new(),
            changed: true,
            broken: None,
            trace: traced.then(Vec::new),
            dice,
            plan,
        };
        world.note(|world| format!("{:?}", world.plan));
        (0..world.plan.pods).for_each(|slot| world.start(slot));
        world.after(Duration::from_millis(500), Event::Look);
        world
    }

    /// Lets things happen until then, or until something is broken.
    pub fn run_until(&mut self, end: Duration) -> Result<(), String> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(event);
            if let Some(broken) = self.broken.take() {
                return Err(format!("at {:?}: {broken}", self.now));
            }
        }
        self.now = end;
        Ok(())
    }

    /// What happened, when that was written down.
    pub fn trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// Writes something down.
    pub fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>12.6} {}", self.now.as_secs_f64(), what(self));
            self.trace.as_mut().expect("just looked").push(line);
        }
    }

    /// Something is not as it must be.
    pub fn break_down(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    /// Lets something happen later.
    pub fn after(&mut self, wait: Duration, event: Event) {
        self.numbers += 1;
        self.queue.insert((self.now + wait, self.numbers), event);
    }

    /// The pod, if that one still lives.
    pub fn pod(&mut self, id: PodId) -> Option<&mut Pod> {
        self.changed = true;
        self.pods[id.slot].as_mut().filter(|pod| pod.id == id)
    }

    /// Pods that live and run.
    pub fn running(&self) -> Vec<PodId> {
        self.pods.iter().flatten().filter(|pod| pod.paused.is_none() && !pod.leaves).map(|pod| pod.id).collect()
    }

    /// Starts a pod where there is none.
    pub fn start(&mut self, slot: usize) {
        if self.pods[slot].is_some() {
            return;
        }
        self.lives += 1;
        let id = PodId { slot, life: self.lives };
        let offset = self.dice.millis(0, 1_000_000);
        let pods = u32::try_from(self.plan.pods).expect("small");
        let mut pod = Pod::new(id, offset, self.quotas.clone(), self.plan.metering, pods);
        pod.reaches = self.redis_up && self.links_up[slot];
        self.pods[slot] = Some(pod);
        self.note(|_| format!("{id:?} starts"));
        self.stir(id);
    }

    /// Ends a pod, and all of its clients with it.
    pub fn end(&mut self, id: PodId) {
        self.note(|_| format!("{id:?} ends"));
        self.pods[id.slot] = None;
        self.clients.retain(|_, client| client.pod != id);
        self.tickets.retain(|_, ticket| ticket.pod != id);
    }

    /// A client comes.
    pub fn connect(&mut self, id: PodId, user: usize) {
        self.numbers += 1;
        let number = self.numbers;
        self.clients.insert(number, Client { pod: id, user, connected: false, closing: false, rooms: Vec::new(), joining: Vec::new() });
        self.claim(id, number, Wish::Connection(user));
    }

    /// A client joins a room.
    pub fn join(&mut self, number: u64, room: usize, may_create: bool) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if !client.connected || client.closing || client.rooms.contains(&room) || client.joining.contains(&room) {
            return;
        }
        client.joining.push(room);
        let id = client.pod;
        self.claim(id, number, Wish::Member(room, may_create));
    }

    /// A client leaves a room.
    pub fn leave(&mut self, number: u64, index: usize) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let (id, closing) = (client.pod, client.closing);
        let Some(position) = client.rooms.iter().position(|room| *room == index) else { return };
        client.rooms.remove(position);
        if let Some(pod) = self.pod(id) {
            pod.book.release_member(&room(index));
            pod.held.members[index] -= 1;
            pod.closing.members[index] -= u32::from(closing);
        }
        self.note(|_| format!("client {number} leaves room {index} of {id:?}"));
        self.stir(id);
    }

    /// A client goes. Whoever waits for it gives back what it gets.
    pub fn disconnect(&mut self, number: u64) {
        let Some(rooms) = self.clients.get(&number).map(|client| client.rooms.clone()) else { return };
        rooms.into_iter().for_each(|room| self.leave(number, room));
        let Some(client) = self.clients.remove(&number) else { return };
        if client.connected
            && let Some(pod) = self.pod(client.pod)
        {
            pod.book.release_connection(&user(client.user));
            pod.held.connections -= 1;
            pod.held.users[client.user] -= 1;
            if client.closing {
                pod.closing.connections -= 1;
                pod.closing.users[client.user] -= 1;
            }
        }
        self.note(|_| format!("client {number} of {:?} goes", client.pod));
        self.stir(client.pod);
    }

    /// The network or Redis came or went: every pod that this concerns sees it within a second.
    pub fn reach_changed(&mut self) {
        let pods: Vec<_> = self.pods.iter().flatten().map(|pod| pod.id).collect();
        for pod in pods {
            let wait = self.dice.millis(0, 1000);
            self.after(wait, Event::Reach(pod));
        }
    }

    /// Redis loses what it was told lately, or all it was ever told.
    pub fn lose_data(&mut self, all: bool) {
        let horizon = self.now.saturating_sub(REPLICA_LAG);
        let before = self.history.iter().rev().find(|(at, _)| *at <= horizon).map(|(_, data)| data.clone());
        self.redis.restore(if all { Data::new() } else { before.unwrap_or_default() });
        self.history.clear();
        self.lost_at = self.now;
        let pods = self.pods.len().max(1);
        let granted = self
            .pods
            .iter()
            .flatten()
            .map(|pod| if pod.is_sure(self.now) { pod.granted.max(pod.held.connections) } else { pod.held.connections });
        // Every slot may have a pod soon.
        let granted: Vec<_> = granted.chain(std::iter::repeat(0)).take(pods).collect();
        self.law.lost_data(&self.quotas, granted.into_iter(), u32::try_from(pods).expect("small"), self.now);
        self.note(|_| format!("Redis loses {}", if all { "everything" } else { "half a second" }));
    }

    /// What all pods hold, and what those hold whose lease is good, without what is being closed.
    pub fn sums(&self) -> (Tally, Tally) {
        let (mut all, mut counted, nothing) = (Tally::new(), Tally::new(), Tally::new());
        for pod in self.pods.iter().flatten() {
            all.add(&pod.held, &nothing);
            if pod.is_sure(self.now) {
                counted.add(&pod.held, &pod.closing);
            }
        }
        (all, counted)
    }

    /// Claims that wait.
    pub fn waiting(&self) -> usize {
        self.tickets.len()
    }

    fn happen(&mut self, event: Event) {
        let pod = match &event {
            Event::Poll(pod) | Event::Recall(pod) | Event::Reach(pod) | Event::Limits(pod) => Some(*pod),
            Event::Reply { pod, .. } | Event::Timeout { pod, .. } => Some(*pod),
            Event::Closed { pod, .. } => Some(*pod),
            _ => None,
        };
        if let Some(id) = pod {
            let Some(pod) = self.pods[id.slot].as_mut().filter(|pod| pod.id == id) else { return };
            if let Some(deferred) = &mut pod.paused {
                deferred.push(event);
                return;
            }
        }
        match event {
            Event::Poll(id) => self.poll(id),
            Event::Request { pod, exchange, arguments } => self.execute(pod, exchange, arguments),
            Event::Reply { pod, exchange, numbers } => self.replied(pod, exchange, Some(&numbers)),
            Event::Timeout { pod, exchange } => self.replied(pod, exchange, None),
            Event::Recall(id) => {
                let now = self.now;
                if let Some(pod) = self.pod(id) {
                    pod.book.recalled(now + pod.offset);
                    self.stir(id);
                }
            }
            Event::Reach(id) => {
                let (now, reaches) = (self.now, self.redis_up && self.links_up[id.slot]);
                if let Some(pod) = self.pod(id)
                    && pod.reaches != reaches
                {
                    pod.reaches = reaches;
                    if pod.driven {
                        pod.book.try_again(now + pod.offset);
                        self.poll(id);
                    }
                    self.note(|_| format!("{id:?} sees Redis {}", if reaches { "come" } else { "go" }));
                }
            }
            Event::Limits(id) => {
                let quotas = self.quotas.clone();
                if let Some(pod) = self.pod(id) {
                    pod.quotas = quotas;
                    pod.held_before = pod.held.clone();
                }
            }
            Event::Closed { client, .. } => self.disconnect(client),
            Event::Act => self.act(),
            Event::Fault => self.fault(),
            Event::Wake(id) => self.wake(id),
            Event::Mend(slot) => {
                self.note(|_| format!("slot {slot} reaches Redis"));
                self.links_up[slot] = true;
                self.reach_changed();
            }
            Event::Start(slot) => self.start(slot),
            Event::RedisBack => {
                self.note(|_| "Redis is back".into());
                self.redis_up = true;
                self.reach_changed();
            }
            Event::Look => {
                self.look();
                self.after(Duration::from_millis(250), Event::Look);
            }
        }
        if std::mem::take(&mut self.changed) {
            self.hold_law();
        }
    }

    /// Something has to be told, perhaps.
    pub fn stir(&mut self, id: PodId) {
        if let Some(pod) = self.pod(id) {
            pod.driven = true;
            if pod.paused.is_none() {
                self.poll(id);
            }
        }
    }

    fn poll(&mut self, id: PodId) {
        let now = self.now;
        loop {
            let Some(pod) = self.pods[id.slot].as_mut().filter(|pod| pod.id == id) else { return };
            if !pod.driven || pod.paused.is_some() {
                return;
            }
            if !pod.metering && pod.book.rest() {
                pod.driven = false;
                pod.polls_at = Duration::MAX;
                pod.valid_until = Duration::ZERO;
                if pod.leaves {
                    self.end(id);
                    let wait = self.dice.millis(500, 3000);
                    self.after(wait, Event::Start(id.slot));
                }
                return;
            }
            let local = now + pod.offset;
            match pod.book.due(pod.metering) {
                Some(due) if due <= local => self.ask(id),
                due => {
                    let wait = due.map_or(LOOK_INTERVAL, |due| due - local).min(LOOK_INTERVAL);
                    if pod.polls_at <= now || pod.polls_at > now + wait {
                        pod.polls_at = now + wait;
                        self.after(wait, Event::Poll(id));
                    }
                    return;
                }
            }
        }
    }

    fn ask(&mut self, id: PodId) {
        self.numbers += 1;
        let (now, exchange) = (self.now, self.numbers);
        let Some(pod) = self.pods[id.slot].as_mut().filter(|pod| pod.id == id) else { return };
        let mut asked = pod.book.ask(&pod.quotas, now + pod.offset, pod.metering);
        // The order of names is chance of another kind, which no seed rules.
        asked.request.users.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        asked.request.rooms.sort_by(|(a, _), (b, _)| a.cmp(b));
        let request = asked.request.clone();
        if request.holder.is_none() {
            pod.valid_until = Duration::ZERO;
        }
        let arguments = request.arguments(&pod.quotas, pod.pods, Demand::default());
        let reaches = pod.reaches;
        pod.exchange = Some((exchange, now, asked));
        self.note(|_| format!("{id:?} asks {exchange} {request:?}"));
        if !reaches {
            self.replied(id, exchange, None);
            return;
        }
        self.after(COMMAND_TIMEOUT, Event::Timeout { pod: id, exchange });
        if self.dice.per_mille(self.plan.loss) {
            self.note(|_| format!("request {exchange} is lost"));
            return;
        }
        let wait = self.latency();
        if self.plan.disorder && self.dice.per_mille(20) {
            self.note(|_| format!("request {exchange} comes twice"));
            let late = wait + self.dice.millis(0, 1000);
            self.after(late, Event::Request { pod: id, exchange: None, arguments: arguments.clone() });
        }
        self.after(wait, Event::Request { pod: id, exchange: Some(exchange), arguments });
        if let Some(lasts) = self.pod(id).and_then(|pod| pod.stops_for.take()) {
            self.pause(id, lasts);
        }
    }

    /// A pod stands still.
    pub fn pause(&mut self, id: PodId, lasts: Duration) {
        self.note(|_| format!("{id:?} stands still for {lasts:?}"));
        if let Some(pod) = self.pod(id) {
            pod.paused = Some(Vec::new());
            self.after(lasts, Event::Wake(id));
        }
    }

    fn latency(&mut self) -> Duration {
        if self.plan.disorder && self.dice.per_mille(30) { self.dice.millis(0, 2000) } else { self.dice.millis(0, 4) }
    }

    fn execute(&mut self, id: PodId, exchange: Option<u64>, arguments: Vec<String>) {
        if !self.redis_up || !self.links_up[id.slot] {
            self.note(|_| format!("request {exchange:?} does not arrive"));
            return;
        }
        if self.now < self.redis_stalled_until {
            let wait = (self.redis_stalled_until - self.now).min(Duration::from_millis(100));
            self.after(wait, Event::Request { pod: id, exchange, arguments });
            return;
        }
        let elapsed = i64::try_from(self.now.as_millis()).expect("a short time");
        let wall = u64::try_from(WALL_MS + self.wall_step + elapsed).expect("after 1970");
        let numbers = self.redis.run(wall, &arguments);
        if self.plan.data_loss {
            self.history.push_back((self.now, self.redis.data()));
            while self.history.len() > 2 && self.history[1].0 + REPLICA_LAG <= self.now {
                self.history.pop_front();
            }
        }
        self.note(|world| format!("request {exchange:?} is answered {numbers:?}; Redis: {:?}", world.redis.data()));
        let Some(exchange) = exchange else { return };
        if self.dice.per_mille(self.plan.loss) {
            self.note(|_| format!("answer {exchange} is lost"));
            return;
        }
        let wait = self.latency();
        self.after(wait, Event::Reply { pod: id, exchange, numbers });
    }

    fn replied(&mut self, id: PodId, exchange: u64, numbers: Option<&[i64]>) {
        let now = self.now;
        if numbers.is_some() && !self.links_up[id.slot] {
            return;
        }
        let Some(pod) = self.pod(id) else { return };
        let local = now + pod.offset;
        let Some((_, sent_at, asked)) = pod.exchange.take_if(|(current, ..)| *current == exchange) else { return };
        let reply = numbers.map(|numbers| Reply::read(numbers, &asked.request).expect("an answer that can be read"));
        let mut forgotten = false;
        let outcome = match reply {
            Some(reply) => {
                match &reply {
                    Reply::Granted(granted) => {
                        pod.granted = granted.connections;
                        pod.valid_until = sent_at + VALID;
                    }
                    Reply::Unknown => {
                        forgotten = pod.is_sure(now) && asked.request.holder.is_some();
                        pod.valid_until = Duration::ZERO;
                    }
                }
                pod.book.answered(asked, reply, &pod.quotas, local)
            }
            None => {
                if pod.is_sure(now) {
                    pod.held_before = pod.held.clone();
                }
                let outcome = pod.book.failed(asked, pod.reaches, pod.pods, &pod.quotas, local);
                if pod.book.is_on_share() {
                    pod.valid_until = Duration::ZERO;
                }
                outcome
            }
        };
        if forgotten && !self.plan.data_loss {
            self.break_down(format!("Redis forgot a lease of {id:?} that is still good"));
        }
        self.note(|_| format!("{id:?} learns of {exchange}: {outcome:?}"));
        let Outcome { served, excess, recall } = outcome;
        for (ticket, answer) in served {
            self.served(ticket, answer);
        }
        if excess != Excess::default() {
            self.cut(id, &excess);
        }
        if recall {
            self.recall(id);
        }
        if let Some(pod) = self.pod(id) {
            pod.driven = true;
        }
        self.poll(id);
    }

    fn claim(&mut self, id: PodId, client: u64, wish: Wish) {
        self.numbers += 1;
        let (now, ticket) = (self.now, self.numbers);
        self.tickets.insert(ticket, Ticket { pod: id, client, wish, since: now });
        let Some(pod) = self.pod(id) else { return };
        let answer = pod.book.claim(wish.claim(), &pod.quotas, now + pod.offset, ticket);
        self.note(|_| format!("client {client} of {id:?} wants {wish:?}: {answer:?}"));
        if let Some((ticket, answer)) = answer {
            self.served(ticket, answer);
        }
        self.stir(id);
    }

    fn served(&mut self, ticket: u64, answer: Answer) {
        let Some(Ticket { pod: id, client: number, wish, since }) = self.tickets.remove(&ticket) else { return };
        if self.now - since > WAIT_MAX {
            self.break_down(format!("{wish:?} was answered after {:?}", self.now - since));
        }
        match answer {
            Answer::Taken { .. } => self.answers.taken += 1,
            Answer::TakenBeyond(_) => self.answers.beyond += 1,
            Answer::Refused(_) => self.answers.refused += 1,
        }
        let enforced = self.pod(id).is_some_and(|pod| pod.quotas.enforced());
        if matches!(answer, Answer::TakenBeyond(_)) == enforced && !matches!(answer, Answer::Taken { .. }) {
            self.break_down(format!("{wish:?} was answered {answer:?}"));
        }
        let taken = !matches!(answer, Answer::Refused(_));
        let closing = self.clients.get(&number).is_some_and(|client| client.closing);
        if taken && let Some(pod) = self.pod(id) {
            // A client that is gone gives its place back in the same breath.
            match wish {
                Wish::Connection(user) => {
                    pod.held.connections += 1;
                    pod.held.users[user] += 1;
                }
                Wish::Member(room, _) => {
                    pod.held.members[room] += 1;
                    pod.closing.members[room] += u32::from(closing);
                }
            }
        }
        if let Some(client) = self.clients.get_mut(&number) {
            match wish {
                Wish::Connection(_) if taken => client.connected = true,
                Wish::Connection(_) => _ = self.clients.remove(&number),
                Wish::Member(room, _) => {
                    client.joining.retain(|other| *other != room);
                    if taken {
                        client.rooms.push(room);
                    }
                }
            }
            return;
        }
        if taken && let Some(pod) = self.pod(id) {
            match wish {
                Wish::Connection(index) => {
                    pod.book.release_connection(&user(index));
                    pod.held.connections -= 1;
                    pod.held.users[index] -= 1;
                }
                Wish::Member(index, _) => {
                    pod.book.release_member(&room(index));
                    pod.held.members[index] -= 1;
                }
            }
        }
    }

    /// Closes the youngest, as the server does.
    fn cut(&mut self, id: PodId, excess: &Excess) {
        self.note(|_| format!("{id:?} closes {excess:?}"));
        let mut chosen = Vec::new();
        let of_pod = |world: &Self, fits: &dyn Fn(&Client) -> bool| -> Vec<u64> {
            let clients = world.clients.iter().rev().filter(|(_, client)| client.pod == id && client.connected && fits(client));
            clients.map(|(number, _)| *number).collect()
        };
        for (name, count) in &excess.rooms {
            let fits = |client: &Client| client.rooms.iter().any(|index| room(*index) == *name);
            chosen.extend(of_pod(self, &fits).into_iter().take(*count as usize));
        }
        for (name, count) in &excess.users {
            chosen.extend(of_pod(self, &|client| user(client.user) == *name).into_iter().take(*count as usize));
        }
        for number in chosen {
            self.close(number);
        }
        let standing = of_pod(self, &|client| !client.closing);
        let gone = of_pod(self, &|client| client.closing).len();
        for number in standing.into_iter().take((excess.connections as usize).saturating_sub(gone)) {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if std::mem::replace(&mut client.closing, true) {
            return;
        }
        let (id, user, rooms) = (client.pod, client.user, client.rooms.clone());
        if let Some(pod) = self.pod(id) {
            pod.closing.connections += 1;
            pod.closing.users[user] += 1;
            rooms.iter().for_each(|room| pod.closing.members[*room] += 1);
        }
        let wait = if self.dice.per_mille(500) { Duration::ZERO } else { self.dice.millis(0, 1000) };
        self.after(wait, Event::Closed { pod: id, client: number });
    }

    fn recall(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.pod(id) else { return };
        if pod.recalled_at.is_some_and(|at| now - at < RECALL_INTERVAL) {
            return;
        }
        pod.recalled_at = Some(now);
        if !self.redis_up || !self.links_up[id.slot] {
            return;
        }
        let others: Vec<_> = self.pods.iter().flatten().map(|pod| pod.id).filter(|other| *other != id).collect();
        for other in others {
            if self.links_up[other.slot] && !self.dice.per_mille(self.plan.loss) {
                let wait = self.dice.millis(0, 5);
                self.after(wait, Event::Recall(other));
            }
        }
    }

    fn wake(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.pod(id) else { return };
        let mut deferred = pod.paused.take().unwrap_or_default();
        self.note(|_| format!("{id:?} wakes"));
        // What came meanwhile comes in any order.
        while !deferred.is_empty() {
            let index = usize::try_from(self.dice.below(deferred.len() as u64)).expect("an index");
            let event = deferred.swap_remove(index);
            let wait = self.dice.millis(0, 2);
            self.after(wait, event);
        }
        // Nobody counts the time in which a pod stood still.
        self.tickets.values_mut().filter(|ticket| ticket.pod == id).for_each(|ticket| ticket.since = now);
        self.disturbed_until = self.disturbed_until.max(now);
        self.poll(id);
    }

    fn hold_law(&mut self) {
        let now = self.now;
        let (all, counted) = self.sums();
        let quotas = self.quotas.clone();
        if quotas.enforced()
            && let Err(broken) = self.law.check(&counted, &all, &quotas, now)
        {
            self.break_down(broken);
        }
        let mut broken = None;
        for pod in self.pods.iter_mut().flatten() {
            let used = pod.book.used();
            if used != pod.held.used() {
                broken = Some(format!("the book of {:?} counts {used:?}, and it holds {:?}", pod.id, pod.held.used()));
            }
            if now < pod.valid_until || !quotas.enforced() {
                pod.held_before = pod.held.clone();
                continue;
            }
            // Without a lease a pod keeps what it has, and takes nothing but an even share.
            let most = pod.held_before.numbers().zip(limits(&pod.quotas)).map(|(before, limit)| before.max(pod.share(limit)));
            if let Some((index, (held, most))) = pod.held.numbers().zip(most).enumerate().find(|(_, (held, most))| held > most) {
                broken = Some(format!("{:?} without a lease has {held} {}, where {most} are allowed", pod.id, name(index)));
            }
        }
        if let Some(broken) = broken {
            self.break_down(broken);
        }
    }

    fn look(&mut self) {
        let now = self.now;
        let pods = &self.pods;
        let waits =
            |ticket: &&Ticket| pods[ticket.pod.slot].as_ref().is_some_and(|pod| pod.paused.is_none()) && now - ticket.since > WAIT_MAX;
        if let Some(ticket) = self.tickets.values().find(waits) {
            self.broken.get_or_insert(format!("{ticket:?} has no answer"));
        }
    }
}
