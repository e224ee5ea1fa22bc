//! One room: its members on this pod, and the order of what is published to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use carillon_tenant::ConnectionId;
use tokio::{runtime::Handle, task::JoinSet};

use super::{Message, Tenant, member::Member, message::Bundle, unix_time_ms};
use crate::session::Session;

/// Messages that may wait in one room's queue.
const QUEUE_MESSAGES_MAX: usize = 1024;
/// Bytes of data that may wait in one room's queue.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Up to so many members, the publisher delivers by itself instead of starting a task.
const INLINE_MEMBERS_MAX: usize = 64;
/// Up to so many members are served in one turn. So a small room is through with a message after one turn of every other that is busy.
const SMALL_ROOM_MEMBERS: usize = 128;
/// Of larger rooms, so many members are served before their writers, and everybody else, get a turn: fewer than the tasks that a worker
/// runs between two looks at its driver (61), so that its own queue runs empty in between. Only then it takes what waits in the queue that
/// all workers share; with larger chunks one busy room keeps it waiting there, the writers of other rooms among it.
const CHUNK_MEMBERS: usize = 16;
/// Members of a room that are worth a core of their own, if there are more cores.
const MEMBERS_PER_CORE_MIN: usize = 1024;
/// Of so many members the memory is fetched at the same time, where one after the other would wait for theirs before each write.
const FETCHED_TOGETHER: usize = 16;
/// Messages that wait together go out together, up to so many bytes: one write then carries all of them.
const BUNDLE_BYTES: usize = 64 << 10;

/// The room's queue is full: messages come faster than this pod can deliver them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// A room. All members see its messages in one order: whoever publishes first starts the only drain, the others queue.
#[derive(Debug, Default)]
pub struct Room {
    state: Mutex<State>,
}

/// A message and who does not get it.
type Queued = (Arc<Message>, Option<ConnectionId>);

#[derive(Debug, Default)]
struct State {
    /// By number: what was made in order lies in order in memory, here and in the kernel, and is met so by each message.
    members: BTreeMap<u64, Arc<Session>>,
    /// The members as a list, made when it is first needed after a change.
    listed: Option<Arc<[Member]>>,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    draining: bool,
}

impl Room {
    /// Adds a member. False when it was there.
    pub fn join(&self, session: &Arc<Session>) -> bool {
        let mut state = self.lock();
        state.listed = None;
        state.members.insert(session.number, session.clone()).is_none()
    }

    /// Removes a member; true when the room is now empty.
    pub fn leave(&self, session: &Session) -> bool {
        let mut state = self.lock();
        state.listed = None;
        state.members.remove(&session.number);
        state.members.is_empty()
    }

    /// Members on this pod, in the order in which they came.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().members.values().cloned().collect()
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
            let Some((bundle, members)) = self.next() else { return true };
            deliver(tenant, &members, &bundle);
            observe(tenant, &bundle);
            if members.len() > INLINE_MEMBERS_MAX {
                return false;
            }
        }
        false
    }

    async fn drain(self: Arc<Self>, tenant: Arc<Tenant>) {
        let cores = Handle::current().metrics().num_workers();
        let mut served = 0;
        while let Some((bundle, members)) = self.next() {
            let parts = (members.len() / MEMBERS_PER_CORE_MIN).min(cores);
            if parts > 1 {
                serve_side_by_side(&tenant, &members, Arc::new(bundle), parts).await;
            } else {
                serve(&tenant, &members, &bundle, &mut served).await;
                observe(&tenant, &bundle);
            }
        }
    }

    /// What goes out next; `None` ends the drain.
    fn next(&self) -> Option<(Bundle, Arc<[Member]>)> {
        let mut state = self.lock();
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while let Some((message, except)) =
            state.queue.pop_front_if(|(message, _)| bytes == 0 || bytes + message.data.get().len() <= BUNDLE_BYTES)
        {
            bytes += message.data.get().len().max(1);
            state.queued_bytes -= message.data.get().len();
            messages.push((message, except));
        }
        if messages.is_empty() {
            state.draining = false;
            state.queue = VecDeque::new();
            return None;
        }
        let members = state.list();
        drop(state);
        Some((Bundle::new(messages), members))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}

impl State {
    fn list(&mut self) -> Arc<[Member]> {
        self.listed.get_or_insert_with(|| self.members.values().cloned().map(Member::new).collect()).clone()
    }
}

/// Delivers to `members`, turn by turn; `served` counts those of the turn that has begun.
async fn serve(tenant: &Tenant, members: &[Member], bundle: &Bundle, served: &mut usize) {
    let turn = if members.len() <= SMALL_ROOM_MEMBERS { SMALL_ROOM_MEMBERS } else { CHUNK_MEMBERS };
    for chunk in members.chunks(turn) {
        deliver(tenant, chunk, bundle);
        // Others get their turn before the next chunk: no room holds up another.
        *served += chunk.len();
        if *served >= turn {
            *served = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Delivers to `members` in so many parts at a time. All have `bundle` before this ends, so that what comes after it comes after it for each.
async fn serve_side_by_side(tenant: &Arc<Tenant>, members: &Arc<[Member]>, bundle: Arc<Bundle>, parts: usize) {
    let size = members.len().div_ceil(parts);
    let mut crew = JoinSet::new();
    for start in (0..members.len()).step_by(size) {
        let (tenant, members, bundle) = (tenant.clone(), members.clone(), bundle.clone());
        crew.spawn(async move {
            let part = &members[start..members.len().min(start + size)];
            serve(&tenant, part, &bundle, &mut 0).await;
        });
    }
    while crew.join_next().await.is_some() {}
    observe(tenant, &bundle);
}

fn deliver(tenant: &Tenant, members: &[Member], bundle: &Bundle) {
    let (mut delivered, mut bytes) = (0, 0);
    for few in members.chunks(FETCHED_TOGETHER) {
        few.iter().for_each(Member::fetch);
        for member in few {
            let (count, data) = member.send(bundle);
            delivered += count;
            bytes += data;
        }
    }
    tenant.metrics.messages_delivered.inc_by(delivered);
    tenant.egress.charge(bytes);
}

fn observe(tenant: &Tenant, bundle: &Bundle) {
    let now_ms = unix_time_ms();
    for message in bundle.messages() {
        #[expect(clippy::cast_precision_loss, reason = "a latency in milliseconds is far below 2^52")]
        tenant.counters.delivery_latency_seconds.observe(now_ms.saturating_sub(message.published_at_ms) as f64 / 1000.0);
    }
}
