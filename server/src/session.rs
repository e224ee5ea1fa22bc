//! A proven identity: everything after the handshake starts from a [`Session`].

mod token;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use carillon_tenant::{Code, ConnectionId, Refusal, RoomName, Scope, TenantConfig, UserId};

use crate::{
    commands::Inbox,
    fan_out::{Admission, Message, Outlet, Tenant, unix_time},
    grant::Tenure,
    jwt::Identity,
    line::{Fault, SendError},
    quota::{
        Place, Settled, monotonic,
        rate::{Rate, RateState},
        rates::Budget,
    },
};

/// At most one `rt:quota` per connection in this time.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// The number of the next session.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// One authenticated connection.
#[derive(Debug)]
pub struct Session {
    /// Its name outside.
    pub id: ConnectionId,
    /// Its place among all connections of this server, in the order in which they came.
    pub number: u64,
    /// The tenant that its token was verified for.
    pub tenant: Arc<Tenant>,
    /// The user that its token was issued to.
    pub user: UserId,
    /// The way to it.
    pub outlet: Outlet,
    /// What waits to be handled.
    pub inbox: Inbox,
    state: Mutex<State>,
}

/// What joining a room comes to.
pub enum Joining {
    /// It is done.
    Done(Result<(), Refusal>),
    /// The other pods have to be asked.
    Waits(Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>),
}

#[derive(Debug)]
struct State {
    /// Its place among the tenant's connections; `None` once it is closed.
    admission: Option<Admission>,
    rooms: Vec<(RoomName, Place)>,
    /// Rooms that a place is waited for in.
    joining: usize,
    rate: RateState,
    connected_at: Instant,
    noticed_at: Option<Instant>,
    /// What its token gives.
    tenure: Tenure,
    /// When the tenant's expiries have it, in seconds of Unix time.
    due: Option<i64>,
    /// True once it was ended for good.
    ended: bool,
}

impl Session {
    /// A session that is not open yet.
    pub fn new(id: ConnectionId, tenant: Arc<Tenant>, identity: Identity, outlet: Outlet, admission: Admission) -> Arc<Self> {
        let state = State {
            admission: Some(admission),
            rooms: Vec::new(),
            joining: 0,
            rate: RateState::default(),
            connected_at: Instant::now(),
            noticed_at: None,
            tenure: Tenure::new(identity.grant, unix_time()),
            due: None,
            ended: false,
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, number, tenant, user: identity.user, outlet, inbox: Inbox::default(), state: Mutex::new(state) })
    }

    /// Starts to hear the tenant. What comes waits in the outlet until the client is told that it is connected.
    pub fn enter(self: &Arc<Self>) {
        // Under the lock, so that a disconnect at the same moment comes either before, and this does nothing, or after.
        let mut state = self.lock();
        if state.admission.is_some() {
            self.tenant.enter(self);
            self.schedule(&mut state, &self.tenant.config());
        }
    }

    /// Lets out what was heard: the client has been told that it is connected.
    pub fn open(&self) {
        if self.outlet.open() == Err(SendError::Full) {
            self.drop_slow_consumer();
        }
    }

    /// The client has left long-polling for a WebSocket.
    pub fn upgraded(&self) {
        if self.outlet.upgraded() == Err(SendError::Full) {
            self.drop_slow_consumer();
        }
    }

    /// Leaves every room and gives its place back; true the first time.
    pub fn close(&self) -> bool {
        let mut state = self.lock();
        let Some(_admission) = state.admission.take() else { return false };
        for (name, _place) in std::mem::take(&mut state.rooms) {
            self.tenant.leave(self, &name);
        }
        if let Some(at) = state.due.take() {
            self.tenant.expiries.remove(at, self.id);
        }
        self.tenant.exit(self);
        drop(state);
        if self.outlet.fault() == Some(Fault::Overdue) {
            self.tell_slow_consumer();
        }
        true
    }

    /// How long it has been connected.
    pub fn age(&self) -> Duration {
        self.lock().connected_at.elapsed()
    }

    /// Admits one received message of `bytes`.
    ///
    /// # Errors
    ///
    /// The limit that was met.
    pub fn admit_message(&self, config: &TenantConfig, bytes: usize) -> Result<(), Refusal> {
        let (quotas, tenant) = (&config.quotas, &self.tenant);
        let (bytes, max) = (bytes as u64, u64::from(quotas.message_bytes_max));
        if bytes > max {
            tenant.refuse(quotas, Refusal::limit(Code::MessageBytesMax, Scope::Message, max, bytes))?;
        }
        if let Some(per_second) = quotas.messages_rate_per_second_per_connection.max() {
            let rate = Rate::new(per_second, quotas.messages_burst_per_connection);
            if let Err(wait) = self.lock().rate.admit(monotonic(), rate) {
                let limit = u64::from(per_second);
                let refusal = Refusal { current: None, ..Refusal::limit(Code::MessagesRatePerConnection, Scope::Connection, limit, limit) };
                tenant.refuse(quotas, refusal.retry_after_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)))?;
            }
        }
        tenant.admit_rate(Budget::Messages, 1, quotas)
    }

    /// Joins a room, at once or when the fleet has a place in it.
    pub fn join(self: &Arc<Self>, config: &Arc<TenantConfig>, name: &RoomName) -> Joining {
        match self.start_joining(config, name) {
            Ok(joining) => joining,
            Err(refusal) => Joining::Done(Err(refusal)),
        }
    }

    fn start_joining(self: &Arc<Self>, config: &Arc<TenantConfig>, name: &RoomName) -> Result<Joining, Refusal> {
        let quotas = &config.quotas;
        {
            let mut state = self.lock();
            if state.admission.is_none() || state.rooms.iter().any(|(other, _)| other == name) {
                return Ok(Joining::Done(Ok(())));
            }
            let (current, max) = ((state.rooms.len() + state.joining) as u64, u64::from(quotas.rooms_per_connection_max));
            if current >= max {
                self.tenant.refuse(quotas, Refusal::limit(Code::RoomsPerConnectionMax, Scope::Connection, max, current))?;
            }
            state.joining += 1;
        }
        let reserved = self.tenant.reserve_room(quotas, name);
        match self.tenant.counts.member(name, reserved.is_ok(), quotas) {
            Ok(answer) => Ok(Joining::Done(self.finish_joining(config, name, reserved, answer))),
            Err(waiting) => {
                let (session, config, name) = (self.clone(), config.clone(), name.clone());
                Ok(Joining::Waits(Box::pin(async move {
                    let answer = waiting.await.expect("whoever waits is answered");
                    session.finish_joining(&config, &name, reserved, answer)
                })))
            }
        }
    }

    fn finish_joining(
        self: &Arc<Self>,
        config: &TenantConfig,
        name: &RoomName,
        reserved: Result<bool, Refusal>,
        answer: Settled,
    ) -> Result<(), Refusal> {
        let quotas = &config.quotas;
        let concluded = self.tenant.conclude(quotas, answer);
        if let (Ok(true), false) = (&reserved, matches!(concluded, Ok((true, _)))) {
            self.tenant.rates.refund(Budget::RoomCreations, 1, quotas);
        }
        let mut state = self.lock();
        state.joining -= 1;
        match (concluded, reserved) {
            // The rate knows when trying again helps.
            (Err(Refusal { code: Code::RoomCreateRate, .. }), Err(refusal)) | (Err(refusal), _) => Err(refusal),
            // One that was closed meanwhile joins nothing more: its place goes back at the end of this.
            (Ok(_), _) if state.admission.is_none() => Ok(()),
            (Ok((_, place)), _) => {
                self.tenant.join(self, name);
                state.rooms.push((name.clone(), place));
                Ok(())
            }
        }
    }

    /// Leaves a room. True when it was in.
    pub fn leave(&self, name: &RoomName) -> bool {
        let mut state = self.lock();
        let Some(index) = state.rooms.iter().position(|(other, _)| other == name) else { return false };
        self.tenant.leave(self, name);
        state.rooms.swap_remove(index);
        true
    }

    /// Sends to this connection alone.
    pub fn deliver(self: &Arc<Self>, message: &Arc<Message>) {
        match self.outlet.send(message) {
            Ok(()) => {
                self.tenant.metrics.messages_delivered.inc();
                self.tenant.egress.charge(message.data.get().len() as u64);
            }
            Err(SendError::Closed) => {}
            Err(SendError::Full) => self.drop_slow_consumer(),
        }
    }

    /// Announces a refusal that no acknowledgement carries, at most once a second.
    pub fn notice(&self, refusal: &Refusal) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.noticed_at.is_some_and(|at| now.duration_since(at) < NOTICE_INTERVAL) {
            return;
        }
        state.noticed_at = Some(now);
        drop(state);
        self.announce("rt:quota", refusal);
    }

    /// Tells the client something about its own connection.
    fn announce(&self, event: &str, data: &impl serde::Serialize) {
        let data = serde_json::value::to_raw_value(data).expect("our own values serialise to JSON");
        // As a message, for those wait when the client has not been told yet that it is connected.
        if self.outlet.send(&Message::new(event, data)) == Err(SendError::Full) {
            self.drop_slow_consumer();
        }
    }

    /// Cuts a connection whose queue is full: it has lost a message, which it learns by coming back.
    pub fn drop_slow_consumer(&self) {
        // It stays a member until the engine has noticed, and may be found full some more times.
        if self.outlet.cut() {
            self.tell_slow_consumer();
        }
    }

    fn tell_slow_consumer(&self) {
        self.tenant.counters.slow_consumer_disconnects.inc();
        tracing::warn!(tenant = %self.tenant.id, user = %self.user, connection = %self.id, "slow consumer disconnected");
    }

    /// Ends the connection for good, because of `code`.
    pub fn end(&self, code: Code) {
        let mut state = self.lock();
        // It stays a member until the engine has noticed, and may be ended some more times.
        if state.admission.is_some() && !std::mem::replace(&mut state.ended, true) {
            self.tenant.counters.ended(&self.tenant.metrics, code);
            tracing::info!(tenant = %self.tenant.id, user = %self.user, connection = %self.id, %code, "connection ended");
        }
        drop(state);
        self.outlet.disconnect();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}
