//! One room: its members on this pod, and the order of what is published to it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use carillon_tenant::ConnectionId;

use super::{Message, SendError, Tenant, unix_time_ms};
use crate::session::Session;

/// Messages that may wait in one room's queue.
const QUEUE_MESSAGES_MAX: usize = 1024;
/// Bytes of data that may wait in one room's queue.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Up to so many members, the publisher delivers by itself instead of starting a task.
const INLINE_MEMBERS_MAX: usize = 64;
/// So many members are served before other tasks get a turn.
const CHUNK_MEMBERS: usize = 256;

/// The room's queue is full: messages come faster than this pod can deliver them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// A room. All members see its messages in one order: whoever publishes first starts the only drain, the others queue.
#[derive(Debug, Default)]
pub struct Room {
    state: Mutex<State>,
}

/// A message, who does not get it, and who does.
type Delivery = (Arc<Message>, Option<ConnectionId>, Arc<[Arc<Session>]>);

#[derive(Debug, Default)]
struct State {
    members: HashMap<ConnectionId, Arc<Session>>,
    /// The members as a list, made when it is first needed after a change.
    listed: Option<Arc<[Arc<Session>]>>,
    queue: VecDeque<(Arc<Message>, Option<ConnectionId>)>,
    queued_bytes: usize,
    draining: bool,
}

impl Room {
    /// Adds a member. False when it was there.
    pub fn join(&self, session: &Arc<Session>) -> bool {
        let mut state = self.lock();
        state.listed = None;
        state.members.insert(session.id, session.clone()).is_none()
    }

    /// Removes a member; true when the room is now empty.
    pub fn leave(&self, id: ConnectionId) -> bool {
        let mut state = self.lock();
        state.listed = None;
        state.members.remove(&id);
        if state.members.capacity() > 64 && state.members.len() < state.members.capacity() / 4 {
            state.members.shrink_to_fit();
        }
        state.members.is_empty()
    }

    /// True when nobody is in.
    pub fn is_empty(&self) -> bool {
        self.lock().members.is_empty()
    }

    /// Members on this pod.
    pub fn members(&self) -> Arc<[Arc<Session>]> {
        self.lock().list()
    }

    /// Delivers `message` to every member but `except`, after all that was published before.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] when too much waits already; nothing was delivered.
    pub fn publish(self: &Arc<Self>, tenant: &Arc<Tenant>, message: &Arc<Message>, except: Option<ConnectionId>) -> Result<(), QueueFull> {
        let mut state = self.lock();
        if state.members.is_empty() {
            return Ok(());
        }
        let bytes = message.data.get().len();
        if state.queue.len() >= QUEUE_MESSAGES_MAX || (state.queued_bytes + bytes > QUEUE_BYTES_MAX && !state.queue.is_empty()) {
            return Err(QueueFull);
        }
        state.queue.push_back((message.clone(), except));
        state.queued_bytes += bytes;
        if state.draining {
            return Ok(());
        }
        state.draining = true;
        let small = state.members.len() <= INLINE_MEMBERS_MAX;
        drop(state);
        if small && self.drain_inline(tenant) {
            return Ok(());
        }
        tokio::spawn(self.clone().drain(tenant.clone()));
        Ok(())
    }

    /// Delivers what waits, as long as it is little; true when nothing is left and the drain has ended.
    fn drain_inline(&self, tenant: &Tenant) -> bool {
        for _ in 0..8 {
            let Some((message, except, members)) = self.next() else { return true };
            if members.len() > INLINE_MEMBERS_MAX {
                deliver(tenant, &members, &message, except);
                observe(tenant, &message);
                return false;
            }
            deliver(tenant, &members, &message, except);
            observe(tenant, &message);
        }
        false
    }

    async fn drain(self: Arc<Self>, tenant: Arc<Tenant>) {
        let mut since_yield = 0;
        while let Some((message, except, members)) = self.next() {
            for chunk in members.chunks(CHUNK_MEMBERS) {
                deliver(&tenant, chunk, &message, except);
                // Writers get their turn before the next chunk: their buffers stay small, and other rooms are not held up. Under a
                // backlog several messages of a small room go out in one turn, so that writers can merge them.
                since_yield += chunk.len() * 16 / (16 + self.backlog());
                if since_yield >= CHUNK_MEMBERS / 4 {
                    since_yield = 0;
                    tokio::task::yield_now().await;
                }
            }
            observe(&tenant, &message);
        }
    }

    /// The next message and who gets it; `None` ends the drain.
    fn next(&self) -> Option<Delivery> {
        let mut state = self.lock();
        let Some((message, except)) = state.queue.pop_front() else {
            state.draining = false;
            state.queue = VecDeque::new();
            return None;
        };
        state.queued_bytes -= message.data.get().len();
        let members = state.list();
        Some((message, except, members))
    }

    fn backlog(&self) -> usize {
        self.lock().queue.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}

impl State {
    fn list(&mut self) -> Arc<[Arc<Session>]> {
        self.listed.get_or_insert_with(|| self.members.values().cloned().collect()).clone()
    }
}

fn deliver(tenant: &Tenant, members: &[Arc<Session>], message: &Arc<Message>, except: Option<ConnectionId>) {
    let mut delivered = 0;
    for member in members {
        if Some(member.id) == except {
            continue;
        }
        match member.outlet.send(message) {
            Ok(()) => delivered += 1,
            Err(SendError::Closed) => {}
            Err(SendError::Full) => member.drop_slow_consumer(),
        }
    }
    tenant.metrics.messages_delivered.inc_by(delivered);
}

fn observe(tenant: &Tenant, message: &Message) {
    let milliseconds = unix_time_ms().saturating_sub(message.published_at_ms);
    #[expect(clippy::cast_precision_loss, reason = "a latency in milliseconds is far below 2^52")]
    tenant.counters.delivery_latency_seconds.observe(milliseconds as f64 / 1000.0);
}
