//! What a client may emit. Messages of one connection are handled here one after the other, in the order sent: the engine calls this
//! from the connection's own read loop, and nothing in here waits.

use std::{borrow::Cow, fmt, sync::Arc};

use carillon_tenant::{Code, Refusal, RoomName, TenantConfig};
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
    quota::monotonic,
    session::Session,
};

/// The engine's handler of every event.
pub struct Commands(pub Arc<Session>);

impl MessageHandler<LocalAdapter, Handler> for Commands {
    fn call(&self, socket: Arc<Socket<LocalAdapter>>, mut value: Value, ack_id: Option<i64>) {
        let session = &self.0;
        session.tenant.metrics.messages_received.inc();
        let answer = handle(session, &value);
        let ack = ack_id.map(|_| AckSender::from_message_parts(&socket, &mut value, &ack_id));
        match (answer, ack) {
            (Ok(answer), Some(Ok(ack))) => acknowledge(session, ack, &answer),
            (Ok(_), _) => {}
            (Err(refusal), ack) => {
                session.tenant.counters.refusal(&session.tenant.metrics, refusal.code, true);
                tracing::debug!(tenant = %session.tenant.id, user = %session.user, connection = %session.id, code = %refusal.code, "refused");
                match ack {
                    Some(Ok(ack)) => acknowledge(session, ack, &json!({"ok": false, "error": refusal})),
                    _ => session.notice(&refusal),
                }
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

fn handle(session: &Arc<Session>, value: &Value) -> Result<serde_json::Value, Refusal> {
    let config = session.tenant.config();
    // Metered on the raw bytes, before anything is parsed.
    session.admit_message(&config, raw_bytes(value))?;
    let text = value.as_str().map_or("", |text| text.as_str());
    let event: Event<'_> = serde_json::from_str(text).map_err(|_| Code::EventNotAllowed)?;
    match event.name.as_ref() {
        "user:online" => online(session, &config),
        "rt:join" => {
            let name = room_name(event.first)?;
            session.join(&config, &name)?;
            Ok(json!({"ok": true, "room": name}))
        }
        "rt:leave" => {
            let name = room_name(event.first)?;
            session.leave(&name);
            Ok(json!({"ok": true, "room": name}))
        }
        _ => Err(Code::EventNotAllowed.into()),
    }
}

/// `user:online` becomes `user:status` for everyone else of the tenant.
fn online(session: &Arc<Session>, config: &TenantConfig) -> Result<serde_json::Value, Refusal> {
    let (tenant, quotas) = (&session.tenant, &config.quotas);
    tenant.egress.admit(quotas, monotonic()).or_else(|refusal| tenant.refuse(quotas, refusal))?;
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
