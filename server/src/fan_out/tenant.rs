//! One tenant, live: its configuration in force, who is connected, which rooms there are. Nothing here can name another tenant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use arc_swap::{ArcSwap, Guard};
use carillon_tenant::{Code, ConnectionId, Refusal, RoomName, Scope, TenantConfig, TenantId, UserId, push::TenantUsage};

use super::{Publication, Room, Target, rooms::QueueFull};
use crate::{
    fleet::Fleet,
    metrics::{Metrics, TenantMetrics},
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
    config: ArcSwap<TenantConfig>,
    fleet: Fleet,
    everyone: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: u64,
    users: HashMap<UserId, User>,
    rooms: HashMap<RoomName, Arc<Room>>,
}

#[derive(Debug, Default)]
struct User {
    admitted: u64,
    sessions: Vec<Arc<Session>>,
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
    user: UserId,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tenant.release(&self.user);
        self.tenant.fleet.unhost(&self.tenant.id);
    }
}

impl Tenant {
    /// A tenant that nobody is connected to yet.
    pub fn new(config: Arc<TenantConfig>, counters: Arc<Metrics>, fleet: Fleet) -> Arc<Self> {
        let tenant = Self {
            id: config.id.clone(),
            metrics: counters.tenant(&config.id),
            counters,
            fleet,
            everyone: Arc::default(),
            state: Mutex::default(),
            config: ArcSwap::new(config),
        };
        tenant.report_limits();
        Arc::new(tenant)
    }

    /// The configuration in force. Load it once per event, and finish with it.
    pub fn config(&self) -> Guard<Arc<TenantConfig>> {
        self.config.load()
    }

    /// Puts `config` in force and closes for good whom it no longer lets in.
    pub fn reconfigure(&self, config: Arc<TenantConfig>) {
        self.config.store(config.clone());
        self.report_limits();
        for session in self.everyone.members().iter() {
            if config.suspended {
                session.end(Code::TenantSuspended);
            } else if !config.jwt.has_key(session.key) {
                session.end(Code::KeyUnknown);
            }
        }
    }

    /// Closes every connection for good: the tenant is gone.
    pub fn close(&self) {
        for session in self.everyone.members().iter() {
            session.end(Code::TenantUnknown);
        }
        self.counters.forget(&self.id);
    }

    /// Takes a place for a connection of `user`, and hears the tenant's messages from other pods from then on.
    ///
    /// # Errors
    ///
    /// The limit that was met.
    pub async fn admit(self: &Arc<Self>, config: &TenantConfig, user: &UserId) -> Result<Admission, Refusal> {
        {
            let mut state = self.lock();
            let quotas = &config.quotas;
            if let Some(max) = quotas.connections_max.max().filter(|_| quotas.connections_max.reached_by(state.connections)) {
                return Err(Refusal::limit(Code::ConnectionsMax, Scope::Tenant, max.into(), state.connections));
            }
            let of_user = state.users.get(user).map_or(0, |user| user.admitted);
            if let Some(max) = quotas.connections_per_user_max.max().filter(|_| quotas.connections_per_user_max.reached_by(of_user)) {
                return Err(Refusal::limit(Code::ConnectionsPerUserMax, Scope::User, max.into(), of_user));
            }
            state.connections += 1;
            state.users.entry(user.clone()).or_default().admitted += 1;
            self.metrics.connections.inc();
        }
        // Made before the wait, so that a cancelled handshake gives the place back, too.
        let admission = Admission { tenant: self.clone(), user: user.clone() };
        self.fleet.host(&self.id).await;
        Ok(admission)
    }

    /// Lets a connected session hear the tenant and its user.
    pub fn enter(&self, session: &Arc<Session>) {
        self.everyone.join(session);
        if let Some(user) = self.lock().users.get_mut(&session.user) {
            user.sessions.push(session.clone());
        }
    }

    /// The opposite of [`enter`](Self::enter).
    pub fn exit(&self, session: &Session) {
        self.everyone.leave(session.id);
        if let Some(user) = self.lock().users.get_mut(&session.user) {
            user.sessions.retain(|other| other.id != session.id);
        }
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
    pub fn leave(&self, id: ConnectionId, name: &RoomName) {
        let mut state = self.lock();
        if state.rooms.get(name).is_some_and(|room| room.leave(id)) {
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
                    let sessions = self.lock().users.get(user).map(|user| user.sessions.clone()).unwrap_or_default();
                    for session in sessions.iter().filter(|session| Some(session.id) != *except) {
                        session.deliver(message);
                    }
                }
                Ok(())
            }
        }
    }

    /// What the tenant uses on this pod.
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        Usage { connections: state.connections, users: state.users.len() as u64, rooms: state.rooms.len() as u64 }
    }

    /// What the operator is told of it; `None` when there is nothing to tell.
    pub fn usage_report(&self) -> Option<TenantUsage> {
        let Usage { connections, users, rooms } = self.usage();
        let tenant_id = self.id.clone();
        (connections + users + rooms > 0).then(|| TenantUsage {
            tenant_id,
            connections,
            users,
            rooms,
            messages_per_second: 0,
            fleet: None,
            limited: Vec::new(),
        })
    }

    /// Every open connection on this pod.
    pub fn sessions(&self) -> Arc<[Arc<Session>]> {
        self.everyone.members()
    }

    fn release(&self, user: &UserId) {
        let mut state = self.lock();
        state.connections -= 1;
        if let Some(entry) = state.users.get_mut(user) {
            entry.admitted -= 1;
            if entry.admitted == 0 {
                state.users.remove(user);
            }
        }
        self.metrics.connections.dec();
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
