//! What a client may emit. Messages of one connection are handled here one after the other, in the order sent: the engine calls this
//! from the connection's own read loop. Nothing in here waits but for a place in a room that other pods have to be asked for; what
//! comes meanwhile waits behind it in the connection's [`Inbox`].

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use carillon_tenant::{Code, Refusal, RoomName, Scope};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{json, value::RawValue};
use socketioxide::{
    SendError, SocketError,
    adapter::LocalAdapter,
    extract::AckSender,
    handler::{FromMessageParts, MessageHandler, Value},
    socket::Socket,
};

use crate::{
    fan_out::{Message, Publication, Target},
    handler::Handler,
    refresh::refresh,
    session::{Joining, Session},
};

/// Messages of one connection that may wait behind a join.
const INBOX_MESSAGES_MAX: usize = 64;

/// The engine's handler of every event.
pub struct Commands(pub Arc<Session>);

/// What waits behind a message that is being handled; `None` while nothing is. Boxed, for few connections have any.
#[derive(Default)]
pub struct Inbox(Mutex<Option<Box<Waiting>>>);

/// Messages in the order in which they came.
#[derive(Default)]
struct Waiting(VecDeque<Packet>);

impl fmt::Debug for Inbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Inbox").field(&self.lock().as_ref().map(|waiting| waiting.0.len())).finish()
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Waiting>>> {
        self.0.lock().expect("no panic under this lock")
    }

    /// The next message; none ends the waiting.
    fn next(&self) -> Option<Packet> {
        let mut waiting = self.lock();
        let next = waiting.as_mut()?.0.pop_front();
        if next.is_none() {
            *waiting = None;
        }
        next
    }
}

/// A message and the way to answer it.
struct Packet {
    value: Value,
    ack: Option<AckSender<LocalAdapter>>,
}

type Answer = Result<serde_json::Value, Refusal>;

/// What handling a message comes to.
enum Handled {
    Done(Answer),
    Waits(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl MessageHandler<LocalAdapter, Handler> for Commands {
    fn call(&self, socket: Arc<Socket<LocalAdapter>>, mut value: Value, ack_id: Option<i64>) {
        let session = &self.0;
        session.tenant.metrics.messages_received.inc();
        let ack = ack_id.and_then(|_| AckSender::from_message_parts(&socket, &mut value, &ack_id).ok());
        // Metered on the raw bytes, before anything is parsed.
        if let Err(refusal) = session.admit_message(&session.tenant.config(), raw_bytes(&value)) {
            return answer(session, ack, Err(refusal));
        }
        if let Some(waiting) = &mut *session.inbox.lock() {
            if waiting.0.len() < INBOX_MESSAGES_MAX {
                waiting.0.push_back(Packet { value, ack });
            } else {
                let max = INBOX_MESSAGES_MAX as u64;
                let refusal = Refusal::limit(Code::MessagesRatePerConnection, Scope::Connection, max, max).retry_after_ms(100);
                answer(session, ack, Err(refusal));
            }
            return;
        }
        match handle(session, &value) {
            Handled::Done(result) => answer(session, ack, result),
            Handled::Waits(result) => {
                *session.inbox.lock() = Some(Box::default());
                tokio::spawn(go_on(session.clone(), ack, result));
            }
        }
    }
}

/// Waits for a result, then handles what has come meanwhile.
async fn go_on(session: Arc<Session>, ack: Option<AckSender<LocalAdapter>>, result: Pin<Box<dyn Future<Output = Answer> + Send>>) {
    answer(&session, ack, result.await);
    while let Some(Packet { value, ack }) = session.inbox.next() {
        let result = match handle(&session, &value) {
            Handled::Done(result) => result,
            Handled::Waits(result) => result.await,
        };
        answer(&session, ack, result);
    }
}

fn answer(session: &Session, ack: Option<AckSender<LocalAdapter>>, result: Answer) {
    match (result, ack) {
        (Ok(result), Some(ack)) => acknowledge(session, ack, &result),
        (Ok(_), None) => {}
        (Err(refusal), ack) => {
            session.tenant.count_refusal(refusal.code);
            tracing::debug!(tenant = %session.tenant.id, user = %session.user, connection = %session.id, code = %refusal.code, "refused");
            match ack {
                Some(ack) => acknowledge(session, ack, &json!({"ok": false, "error": refusal})),
                None => session.notice(&refusal),
            }
        }
    }
}

/// Answers. A client that has so much waiting that the answer can't even be queued is cut: it must not wait for it in vain.
fn acknowledge(session: &Session, ack: AckSender<LocalAdapter>, answer: &serde_json::Value) {
    if let Err(SendError::Socket(SocketError::InternalChannelFull)) = ack.send(answer) {
        session.drop_slow_consumer();
    }
}

fn handle(session: &Arc<Session>, value: &Value) -> Handled {
    let text = value.as_str().map_or("", |text| text.as_str());
    let Ok(event) = serde_json::from_str::<Event<'_>>(text) else { return Handled::Done(Err(Code::EventNotAllowed.into())) };
    match event.name.as_ref() {
        "user:online" => Handled::Done(online(session)),
        "rt:join" => match room_name(event.first) {
            Ok(name) => join(session, name),
            Err(refusal) => Handled::Done(Err(refusal)),
        },
        "rt:leave" => Handled::Done(room_name(event.first).map(|name| {
            session.leave(&name);
            json!({"ok": true, "room": name})
        })),
        "rt:refresh" => Handled::Done(refresh(session, event.first)),
        _ => Handled::Done(Err(Code::EventNotAllowed.into())),
    }
}

fn join(session: &Arc<Session>, name: RoomName) -> Handled {
    let config = session.tenant.config().clone();
    let joined = |name: RoomName| json!({"ok": true, "room": name});
    match session.join(&config, &name) {
        Joining::Done(result) => Handled::Done(result.map(|()| joined(name))),
        Joining::Waits(result) => Handled::Waits(Box::pin(async move { result.await.map(|()| joined(name)) })),
    }
}

/// `user:online` becomes `user:status` for everyone else of the tenant.
fn online(session: &Arc<Session>) -> Answer {
    session.tenant.admit_egress(&session.tenant.config().quotas)?;
    let data = json!({"user_id": session.user, "status": "online"});
    let data = RawValue::from_string(data.to_string()).expect("JSON's own text is JSON");
    let publication = Publication { target: Target::Tenant, except: Some(session.id), message: Message::new("user:status", data) };
    match session.tenant.publish(&publication) {
        Ok(()) => Ok(json!({"ok": true})),
        Err(_) => Err(Refusal::new(Code::MessagesRatePerConnection).retry_after_ms(1000)),
    }
}

fn room_name(argument: Option<&RawValue>) -> Result<RoomName, Refusal> {
    #[derive(Deserialize)]
    struct Argument<'a> {
        #[serde(borrow)]
        room: Cow<'a, str>,
    }
    let argument: Argument<'_> = argument.and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or(Code::RoomNotAllowed)?;
    RoomName::new(&argument.room).map_err(|_| Code::RoomNotAllowed.into())
}

/// Size of a message: its text and its attachments.
fn raw_bytes(value: &Value) -> usize {
    match value {
        Value::Str(text, attachments) => text.len() + attachments.iter().flatten().map(|attachment| attachment.len()).sum::<usize>(),
        Value::Bytes(bytes) => bytes.len(),
    }
}

/// An event's name and its first argument; further arguments are nothing we know.
struct Event<'a> {
    name: Cow<'a, str>,
    first: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Arguments;
        impl<'de> Visitor<'de> for Arguments {
            type Value = Event<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array that begins with the event's name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Event<'de>, A::Error> {
                let name: &RawValue = sequence.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
                let name = serde_json::from_str(name.get()).map_err(serde::de::Error::custom)?;
                let first = sequence.next_element()?;
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Event { name, first })
            }
        }
        deserializer.deserialize_seq(Arguments)
    }
}
