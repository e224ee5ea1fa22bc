//! Ids as types, checked where they enter.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Longer than the id may be.
    #[error("is {length} bytes long; at most {max} are allowed")]
    TooLong {
        /// Length found, in bytes.
        length: usize,
        /// Length allowed, in bytes.
        max: usize,
    },
    /// Characters that the id may not hold.
    #[error("may hold only {allowed}")]
    Characters {
        /// The characters that are allowed, in words.
        allowed: &'static str,
    },
}

fn check_length(text: &str, max: usize) -> Result<(), IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        length if length > max => Err(IdError::TooLong { length, max }),
        _ => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes an id of it.
            ///
            /// # Errors
            ///
            /// [`IdError`] when `text` is empty, too long or holds characters the id may not.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> Result<(), IdError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

text_id!(
    /// A tenant id: 1 to 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit. It stands in
    /// Redis keys and channel names, so it can hold nothing that has a meaning there.
    TenantId,
    |text| {
        check_length(text, 63)?;
        let word = |byte: u8| byte.is_ascii_alphanumeric();
        let bytes = text.as_bytes();
        let inside = |byte: u8| word(byte) || matches!(byte, b'-' | b'_' | b'.');
        if word(bytes[0]) && word(bytes[bytes.len() - 1]) && bytes.iter().copied().all(inside) {
            Ok(())
        } else {
            Err(IdError::Characters { allowed: "letters, digits, '-', '_' and '.', with a letter or digit first and last" })
        }
    }
);

text_id!(
    /// The name of a fleet: 1 to 32 lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit. It stands in
    /// names of Kubernetes objects and in Redis keys.
    FleetName,
    |text| {
        check_length(text, 32)?;
        let bytes = text.as_bytes();
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if bytes[0].is_ascii_lowercase() && bytes[bytes.len() - 1] != b'-' && bytes.iter().copied().all(inside) {
            Ok(())
        } else {
            Err(IdError::Characters { allowed: "lower-case letters, digits and '-', with a letter first and no '-' last" })
        }
    }
);

impl Default for FleetName {
    fn default() -> Self {
        Self(carillon_crds::DEFAULT_FLEET.into())
    }
}

impl FleetName {
    /// True for the fleet of tenants whose class names none.
    pub fn is_default(&self) -> bool {
        self.as_str() == carillon_crds::DEFAULT_FLEET
    }
}

text_id!(
    /// The name of a room inside a tenant: 1 to 128 bytes without control characters. `tenant:` in front is reserved for the
    /// room of the whole tenant.
    RoomName,
    |text| {
        check_length(text, 128)?;
        if text.starts_with("tenant:") {
            return Err(IdError::Characters { allowed: "names that don't begin with 'tenant:', which is the tenant's own room" });
        }
        if text.chars().any(char::is_control) {
            return Err(IdError::Characters { allowed: "printable characters" });
        }
        Ok(())
    }
);

/// A connection as people and the HTTP API know it: random, and unrelated to the engine's session id, which is a capability.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A user within a tenant, kept as the token has it: a string of 1 to 256 bytes, or an integer. `7` and `"7"` are different users
/// to read, but they count as one: they are the same text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub struct UserId {
    text: Arc<str>,
    number: bool,
}

impl UserId {
    /// Takes a claim's value.
    ///
    /// # Errors
    ///
    /// [`IdError`] unless it is a string of 1 to 256 bytes without control characters, or an integer.
    pub fn from_claim(value: &serde_json::Value) -> Result<Self, IdError> {
        match value {
            serde_json::Value::String(text) => {
                check_length(text, 256)?;
                if text.chars().any(char::is_control) {
                    return Err(IdError::Characters { allowed: "printable characters" });
                }
                Ok(Self { text: text.as_str().into(), number: false })
            }
            serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => {
                Ok(Self { text: number.to_string().into(), number: true })
            }
            _ => Err(IdError::Characters { allowed: "a string or a whole number" }),
        }
    }

    /// The id as text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id as the token had it: a JSON string or number.
    pub fn to_json(&self) -> serde_json::Value {
        if self.number {
            serde_json::from_str(&self.text).expect("a number's own text is JSON")
        } else {
            serde_json::Value::String(self.text.as_ref().to_owned())
        }
    }
}

impl TryFrom<serde_json::Value> for UserId {
    type Error = IdError;
    fn try_from(value: serde_json::Value) -> Result<Self, IdError> {
        Self::from_claim(&value)
    }
}

impl From<UserId> for serde_json::Value {
    fn from(user: UserId) -> Self {
        user.to_json()
    }
}

impl PartialEq for UserId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for UserId {}

impl std::hash::Hash for UserId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tenant_ids_are_safe_in_keys_and_channels() {
        for good in ["a", "acme", "42", "A.b_c-9", &"x".repeat(63)] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a{b}", "ä", "a:b", "a/b", "a\0", &"x".repeat(64)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn room_names_leave_the_tenants_own_room_alone() {
        for good in ["lobby", "record:7", "tenants", "räum 1"] {
            assert!(RoomName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "tenant:acme", "tenant:", "a\nb", &"x".repeat(129)] {
            assert!(RoomName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn users_keep_their_json_type() {
        assert_eq!(UserId::from_claim(&json!(7)).unwrap().to_json(), json!(7));
        assert_eq!(UserId::from_claim(&json!("7")).unwrap().to_json(), json!("7"));
        for bad in [json!(null), json!(1.5), json!(true), json!([]), json!({}), json!(""), json!("a\u{0}")] {
            assert!(UserId::from_claim(&bad).is_err(), "{bad}");
        }
    }
}
