//! The body of a publish request: one event, or an array of them. Pure.
//!
//! What is wrong is told with its field, line and column. The data of an event is never parsed, only found to be JSON.

use std::{borrow::Cow, fmt, marker::PhantomData};

use carillon_tenant::{IdError, RoomName, UserId};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

/// Events in one request.
pub const EVENTS_MAX: usize = 100;
/// Users one event may be for.
pub const USERS_MAX: usize = 1000;
/// Length of an event's name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 128;
/// Names that Socket.IO gives a meaning of their own.
pub const EVENT_NAMES_RESERVED: [&str; 6] = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
/// What the names of our own events begin with.
pub const EVENT_PREFIX_RESERVED: &str = "rt:";
/// How much of a wrong body is quoted, in characters.
const QUOTED_CHARACTERS_MAX: usize = 200;

/// One event to publish.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its data, as the request had it.
    pub data: &'a RawValue,
    /// Whom it is for.
    pub audience: Audience<'a>,
}

/// Whom an event is for.
#[derive(Debug)]
pub enum Audience<'a> {
    /// Everyone of the tenant that the path names.
    Everyone,
    /// Everyone of the tenant of this id.
    TenantRoom(Cow<'a, str>),
    /// The members of a room.
    Room(RoomName),
    /// These users, each once.
    Users(Vec<UserId>),
}

/// The events of a request, and how they were sent.
#[derive(Debug)]
pub enum Events<'a> {
    /// One event by itself.
    One(Event<'a>),
    /// An array of them.
    Many(Vec<Event<'a>>),
}

impl<'a> Events<'a> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// What is wrong, beginning with the field it is wrong in.
    pub fn parse(body: &'a [u8]) -> Result<Self, String> {
        let begin = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if begin == Some(&b'[') {
            let List(events) = parse(body, "events")?;
            Ok(Self::Many(events))
        } else {
            parse(body, "").map(Self::One)
        }
    }

    /// The events in order.
    pub fn as_slice(&self) -> &[Event<'a>] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Many(events) => events,
        }
    }

    /// What a field of the event at `index` is called in messages.
    pub fn field(&self, index: usize, field: &str) -> String {
        match self {
            Self::One(_) => field.to_owned(),
            Self::Many(_) => format!("events[{index}].{field}"),
        }
    }
}

/// How many events `body` holds, found without parsing it: right for every body that is well formed. At least one, and at most
/// [`EVENTS_MAX`] and one more.
pub fn count(body: &[u8]) -> u32 {
    let mut bytes = body.iter().skip_while(|byte| byte.is_ascii_whitespace());
    if bytes.next() != Some(&b'[') {
        return 1;
    }
    let (mut count, mut depth, mut in_string) = (1, 0_u32, false);
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => _ = bytes.next(),
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                count += 1;
                if count as usize > EVENTS_MAX {
                    break;
                }
            }
            _ => {}
        }
    }
    count
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], root: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        // Only a body that is wrong pays for keeping track of where.
        let tracked = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(body));
        let path = tracked.err().map(|error| error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let problem = error.to_string();
        let problem = shorten(problem.strip_suffix(&position).unwrap_or(&problem));
        let place = format!("(line {}, column {})", error.line(), error.column());
        match format!("{root}{path}").as_str() {
            "" => format!("{problem} {place}"),
            field => format!("{}: {problem} {place}", shorten(field)),
        }
    })
}

/// What is wrong may be quoted, and may be as long as the body.
fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    event: Name<'a>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    room: Option<RoomField<'a>>,
    #[serde(default)]
    users: Option<Users>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Takes objects only: a derived struct would take an array of its fields, too.
        struct Object<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
            type Value = Event<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event: an object with `event`, and possibly `data`, `room` or `users`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Event<'a>, A::Error> {
                let Fields { event: Name(name), data, room, users } = Fields::deserialize(MapAccessDeserializer::new(map))?;
                let audience = match (room, users) {
                    (None, None) => Audience::Everyone,
                    (Some(RoomField(audience)), None) => audience,
                    (None, Some(Users(users))) => Audience::Users(users),
                    (Some(_), Some(_)) => return Err(A::Error::custom("`room` and `users` exclude each other: send two events")),
                };
                Ok(Event { name, data: data.unwrap_or(RawValue::NULL), audience })
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// From 1 to [`EVENTS_MAX`] events.
struct List<'a>(Vec<Event<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bounded { max: EVENTS_MAX, of: "events", kind: PhantomData }).map(List)
    }
}

/// From 1 to [`USERS_MAX`] users, each kept once.
struct Users(Vec<UserId>);

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let users: Vec<UserId> = deserializer.deserialize_seq(Bounded { max: USERS_MAX, of: "users", kind: PhantomData })?;
        let mut seen = std::collections::HashSet::with_capacity(users.len());
        Ok(Self(users.into_iter().filter(|user| seen.insert(user.clone())).collect()))
    }
}

/// A list that is not read further than it may be long.
struct Bounded<T> {
    max: usize,
    of: &'static str,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an array of 1 to {} {}", self.max, self.of)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.max {
            match sequence.next_element()? {
                Some(item) => items.push(item),
                None if items.is_empty() => return Err(A::Error::invalid_length(0, &self)),
                None => return Ok(items),
            }
        }
        match sequence.next_element::<IgnoredAny>()? {
            None => Ok(items),
            Some(_) => Err(A::Error::custom(format_args!("more than {} {}", self.max, self.of))),
        }
    }
}

/// An event's name.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        let problem = match name.len() {
            0 => Some("must not be empty".to_owned()),
            length if length > EVENT_NAME_BYTES_MAX => Some(IdError::TooLong { length, max: EVENT_NAME_BYTES_MAX }.to_string()),
            _ if name.chars().any(char::is_control) => Some("may hold only printable characters".to_owned()),
            _ if EVENT_NAMES_RESERVED.contains(&name.as_ref()) => Some(format!("{name:?} is reserved by Socket.IO")),
            _ if name.starts_with(EVENT_PREFIX_RESERVED) => Some(format!("names that begin with {EVENT_PREFIX_RESERVED:?} are reserved")),
            _ => None,
        };
        problem.map_or(Ok(Self(name)), |problem| Err(D::Error::custom(problem)))
    }
}

/// A room, or `tenant:<id>`, which is everyone of that tenant.
struct RoomField<'a>(Audience<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for RoomField<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        if let Some(tenant) = name.strip_prefix("tenant:") {
            return Ok(Self(Audience::TenantRoom(tenant.to_owned().into())));
        }
        RoomName::new(&name).map(|room| Self(Audience::Room(room))).map_err(D::Error::custom)
    }
}

/// A string, borrowed from the body where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_as_they_will_be_parsed() {
        let event = r#"{"event":"a,b\"]","data":[1,{"b":[2,3]},"\\"],"users":["c","d"]}"#;
        for count_of in [1, 2, 7, 100] {
            let body = format!(" [{}\n]", vec![event; count_of].join(" ,\n"));
            assert_eq!(Events::parse(body.as_bytes()).unwrap().as_slice().len(), count_of);
            assert_eq!(count(body.as_bytes()) as usize, count_of);
        }
        assert_eq!(count(event.as_bytes()), 1);
    }

    #[test]
    fn what_is_malformed_counts_as_something() {
        for body in ["", "[", "[]", "]]]]", "[\"", "[\"\\", "7"] {
            assert_eq!(count(body.as_bytes()), 1, "{body}");
        }
        assert_eq!(count(",".repeat(1000).as_bytes()), 1);
        assert_eq!(count(format!("[{}", ",".repeat(1000)).as_bytes()) as usize, EVENTS_MAX + 1);
    }
}
