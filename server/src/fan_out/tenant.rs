//! One tenant, live: its configuration in force, who is connected, which rooms there are. Nothing here can name another tenant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use arc_swap::{ArcSwap, Guard};
use carillon_tenant::{
    Code, Quotas, Refusal, RoomName, Scope, TenantConfig, TenantId, UserId,
    push::{FleetUsage, TenantUsage},
};

use super::{Publication, Room, Target, UnknownKids, rooms::QueueFull};
use crate::{
    expiry::Expiries,
    fleet::Fleet,
    jwt::{Identity, UnverifiedToken},
    metrics::{Metrics, TenantMetrics},
    quota::{
        Counts, Place, Settled,
        book::{Answer, Excess, Refused},
        egress::Egress,
        monotonic,
        rates::{Budget, Demand, Rates},
        refusals::Refusals,
        wire::{Reply, Request},
    },
    session::Session,
};

/// A tenant as this pod serves it.
#[derive(Debug)]
pub struct Tenant {
    /// The tenant.
    pub id: TenantId,
    /// Its own metrics.
    pub metrics: TenantMetrics,
    /// The server's metrics.
    pub counters: Arc<Metrics>,
    /// The other servers.
    pub fleet: Fleet,
    /// What it counts over the fleet.
    pub counts: Arc<Counts>,
    /// What it may do how fast.
    pub rates: Rates,
    /// What is delivered to its connections.
    pub egress: Egress,
    /// Which quotas were met lately.
    pub refusals: Refusals,
    /// When its sessions' tokens expire.
    pub expiries: Expiries,
    /// By which keys tokens were signed that it has not.
    unknown_kids: UnknownKids,
    config: ArcSwap<TenantConfig>,
    everyone: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, Vec<Arc<Session>>>,
    rooms: HashMap<RoomName, Arc<Room>>,
}

/// What a tenant uses on this pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Connections.
    pub connections: u64,
    /// Different users among them.
    pub users: u64,
    /// Rooms with members.
    pub rooms: u64,
}

/// A place among the tenant's connections. It is given back when this is dropped, whatever happened in between.
#[derive(Debug)]
pub struct Admission {
    tenant: Arc<Tenant>,
    _place: Place,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tenant.metrics.connections.dec();
        self.tenant.fleet.unhost(&self.tenant.id);
    }
}

impl Tenant {
    /// A tenant that nobody is connected to yet.
    pub fn new(config: Arc<TenantConfig>, counters: Arc<Metrics>, fleet: Fleet) -> Arc<Self> {
        let tenant = Arc::new_cyclic(|tenant| Self {
            id: config.id.clone(),
            metrics: counters.tenant(&config.id),
            counters,
            counts: Counts::new(tenant.clone(), fleet.pod(), !fleet.is_alone()),
            fleet,
            rates: Rates::default(),
            egress: Egress::default(),
            refusals: Refusals::default(),
            expiries: Expiries::default(),
            unknown_kids: UnknownKids::default(),
            everyone: Arc::default(),
            state: Mutex::default(),
            config: ArcSwap::new(config),
        });
        tenant.report_limits();
        if !tenant.fleet.is_alone() {
            tenant.part_from_fleet(tenant.fleet.pods(), &tenant.config().quotas);
        }
        tenant
    }

    /// Verifies a token as [`UnverifiedToken::verify`] does, and notes a name of a key that nobody knows.
    ///
    /// # Errors
    ///
    /// The code of the first rule that is broken.
    pub fn verify(&self, token: &UnverifiedToken<'_>, config: &TenantConfig, now: i64) -> Result<Identity, Code> {
        token.verify(config, now).inspect_err(|code| {
            if *code == Code::KeyUnknown {
                token.kid().into_iter().for_each(|kid| self.unknown_kids.note(kid));
            }
        })
    }

    /// The configuration in force. Load it once per event, and finish with it.
    pub fn config(&self) -> Guard<Arc<TenantConfig>> {
        self.config.load()
    }

    /// Puts `config` in force and closes for good whom it no longer lets in.
    pub fn reconfigure(&self, config: Arc<TenantConfig>) {
        self.config.store(config.clone());
        self.report_limits();
        for session in self.everyone.sessions() {
            session.follow(&config);
        }
    }

    /// Closes every connection for good: the tenant is gone.
    pub fn close(&self) {
        for session in self.everyone.sessions() {
            session.end(Code::TenantUnknown);
        }
        self.counters.forget(&self.id);
    }

    /// Ends every transport, so that clients come back by themselves: another fleet carries the tenant.
    pub fn send_elsewhere(&self) {
        for session in self.everyone.sessions() {
            session.outlet.cut();
        }
        self.counters.forget(&self.id);
    }

    /// Takes a place for a connection of `user`, and hears the tenant's messages from other pods from then on.
    ///
    /// # Errors
    ///
    /// The limit that was met.
    pub async fn admit(self: &Arc<Self>, config: &TenantConfig, user: &UserId) -> Result<Admission, Refusal> {
        let quotas = &config.quotas;
        self.admit_rate(Budget::Connects, 1, quotas)?;
        let place = self.conclude(quotas, self.counts.connection(user, quotas).await)?.1;
        self.metrics.connections.inc();
        // Made before the wait, so that a cancelled handshake gives the place back, too. The bus counts it from its first moment on.
        let admission = Admission { tenant: self.clone(), _place: place };
        self.fleet.host(&self.id).await;
        Ok(admission)
    }

    /// What a claim came to: whether a room came into being, and the place; or the refusal. In a dry run a refusal is only noted.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn conclude(&self, quotas: &Quotas, (answer, place): Settled) -> Result<(bool, Place), Refusal> {
        let refusal = |Refused { code, limit, current }| {
            let refusal = Refusal::limit(code, Scope::of(code), limit, current);
            if code.is_rate() { refusal.retry_after_ms(1000) } else { refusal }
        };
        match (answer, place) {
            (Answer::Taken { created }, Some(place)) => Ok((created, place)),
            (Answer::TakenBeyond(refused), Some(place)) => self.refuse(quotas, refusal(refused)).map(|()| (false, place)),
            // Also when limits have just ceased to be enforced: there is no place.
            (Answer::Refused(refused) | Answer::TakenBeyond(refused), _) => {
                let refusal = refusal(refused);
                Err(self.refuse(quotas, refusal.clone()).err().unwrap_or(refusal))
            }
            (Answer::Taken { .. }, None) => unreachable!("what is taken is a place"),
        }
    }

    /// Whether a room may come into being by a join: true when that was charged, and is to be refunded if none does.
    ///
    /// # Errors
    ///
    /// The refusal, if one has to.
    pub fn reserve_room(&self, quotas: &Quotas, name: &RoomName) -> Result<bool, Refusal> {
        if self.lock().rooms.contains_key(name) {
            return Ok(false);
        }
        self.rates.admit(Budget::RoomCreations, 1, quotas, monotonic()).map(|()| true)
    }

    /// Lets a connected session hear the tenant and its user.
    pub fn enter(&self, session: &Arc<Session>) {
        self.everyone.join(session);
        self.lock().users.entry(session.user.clone()).or_insert_with(|| Vec::with_capacity(1)).push(session.clone());
    }

    /// The opposite of [`enter`](Self::enter).
    pub fn exit(&self, session: &Session) {
        self.everyone.leave(session);
        let mut state = self.lock();
        if let Some(sessions) = state.users.get_mut(&session.user) {
            sessions.retain(|other| other.id != session.id);
            if sessions.is_empty() {
                state.users.remove(&session.user);
            }
        }
    }

    /// Closes the transports of connections whose places other pods took while this one was cut off: those that came last. Their
    /// clients come back by themselves, and are let in or refused as anybody.
    pub fn cut(&self, excess: &Excess) {
        let mut cut = 0;
        let mut cut_last = |mut sessions: Vec<Arc<Session>>, count: u32| {
            sessions.sort_by_key(|session| session.age());
            cut += sessions.iter().take(count as usize).filter(|session| session.outlet.cut()).count() as u64;
        };
        for (room, count) in &excess.rooms {
            let members = self.lock().rooms.get(room).map(|room| room.sessions());
            cut_last(members.unwrap_or_default(), *count);
        }
        for (user, count) in &excess.users {
            cut_last(self.lock().users.get(user).cloned().unwrap_or_default(), *count);
        }
        let (gone, standing): (Vec<_>, Vec<_>) = self.everyone.sessions().into_iter().partition(|session| session.outlet.is_cut());
        let gone = u32::try_from(gone.len()).unwrap_or(u32::MAX);
        cut_last(standing, excess.connections.saturating_sub(gone));
        self.counters.quota_evictions.inc_by(cut);
        tracing::warn!(tenant = %self.id, connections = cut, "connections closed: other pods took their places while this pod was cut off");
    }

    /// Adds `session` to a room, which is made when it is not there.
    pub fn join(&self, session: &Arc<Session>, name: &RoomName) -> Arc<Room> {
        // Under the lock, so that a room that empties can't be removed between its look-up and the join.
        let mut state = self.lock();
        let room = state.rooms.entry(name.clone()).or_insert_with(|| {
            self.metrics.rooms.inc();
            Arc::default()
        });
        room.join(session);
        room.clone()
    }

    /// Removes a connection from a room, which goes when it is empty.
    pub fn leave(&self, session: &Session, name: &RoomName) {
        let mut state = self.lock();
        if state.rooms.get(name).is_some_and(|room| room.leave(session)) {
            state.rooms.remove(name);
            self.metrics.rooms.dec();
        }
    }

    /// Delivers to the members on this pod and hands to the other pods. Never waits.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] when this pod can't take it; then it went nowhere.
    pub fn publish(self: &Arc<Self>, publication: &Publication) -> Result<(), QueueFull> {
        self.deliver(publication)?;
        self.fleet.publish(&self.id, publication);
        Ok(())
    }

    /// Delivers to the members on this pod. Never waits.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] when a room has too much waiting.
    pub fn deliver(self: &Arc<Self>, publication: &Publication) -> Result<(), QueueFull> {
        let Publication { target, except, message } = publication;
        match target {
            Target::Tenant => self.everyone.publish(self, message, *except),
            Target::Room(name) => {
                let room = self.lock().rooms.get(name).cloned();
                room.map_or(Ok(()), |room| room.publish(self, message, *except))
            }
            Target::Users(users) => {
                for user in users.iter() {
                    let sessions = self.lock().users.get(user).cloned().unwrap_or_default();
                    for session in sessions.iter().filter(|session| Some(session.id) != *except) {
                        session.deliver(message);
                    }
                }
                Ok(())
            }
            Target::Pods => {
                self.counts.recalled();
                Ok(())
            }
        }
    }

    /// What the tenant uses on this pod.
    pub fn usage(&self) -> Usage {
        let (connections, users, rooms) = self.counts.used();
        Usage { connections: connections.into(), users: users.into(), rooms: rooms.into() }
    }

    /// What the operator is told of it; `None` when there is nothing to tell.
    pub fn usage_report(&self) -> Option<TenantUsage> {
        let Usage { connections, users, rooms } = self.usage();
        let now = monotonic();
        let messages_per_second = self.rates.demand(now).messages_per_second;
        let limited = self.refusals.lately(now);
        let unknown_kids = self.unknown_kids.take();
        let something = connections + users + rooms + messages_per_second > 0 || !limited.is_empty() || !unknown_kids.is_empty();
        let (tenant_id, fleet) = (self.id.clone(), self.counts.fleet());
        something.then_some(TenantUsage { tenant_id, connections, users, rooms, messages_per_second, fleet, limited, unknown_kids })
    }

    /// What all pods use together, as they last told: within a quarter of a second. `None` when there is no other pod, or Redis is away.
    pub async fn fleet_usage(&self) -> Option<FleetUsage> {
        let look = Request::look();
        let arguments = look.arguments(&self.config().quotas, self.fleet.pods(), Demand::default());
        let numbers = self.fleet.exchange(&self.id, arguments).await?;
        match Reply::read(&numbers, &look)? {
            Reply::Granted(fleet) => Some(FleetUsage {
                connections: fleet.connections_of_others.1,
                users: fleet.users_total,
                rooms: fleet.rooms_total,
                messages_per_second: fleet.demand.messages_per_second,
            }),
            Reply::Unknown => None,
        }
    }

    /// Every open connection on this pod.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.everyone.sessions()
    }

    fn report_limits(&self) {
        if self.metrics.has_label {
            self.metrics.connections_limit.set(self.config().quotas.connections_max.max().map_or(-1, i64::from));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}
