//! A limit that is a number or, said aloud, `Unlimited`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The word that switches a limit off. Absent never means unlimited.
pub const UNLIMITED: &str = "Unlimited";

/// The largest number a limit takes.
pub const LIMIT_MAX: u32 = 2_000_000_000;

/// How many of something a tenant may have: a number from 1 to 2,000,000,000, or the string `Unlimited`, which is more than any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// At most this many.
    Max(u32),
    /// No limit.
    Unlimited,
}

impl Limit {
    /// True when `count` more than what is there may not be admitted: `current` has reached the limit.
    pub const fn reached_by(self, current: u64) -> bool {
        match self {
            Self::Max(max) => current >= max as u64,
            Self::Unlimited => false,
        }
    }

    /// The number, or `None` when unlimited.
    pub const fn max(self) -> Option<u32> {
        match self {
            Self::Max(max) => Some(max),
            Self::Unlimited => None,
        }
    }
}

impl From<u32> for Limit {
    fn from(max: u32) -> Self {
        Self::Max(max)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max(max) => max.fmt(formatter),
            Self::Unlimited => formatter.write_str(UNLIMITED),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Max(max) => serializer.serialize_u32(*max),
            Self::Unlimited => serializer.serialize_str(UNLIMITED),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Limit;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "a whole number from 1 to {LIMIT_MAX} or the string \"{UNLIMITED}\"")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Limit, E> {
                match u32::try_from(value) {
                    Ok(max) if (1..=LIMIT_MAX).contains(&max) => Ok(Limit::Max(max)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Limit, E> {
                match u64::try_from(value) {
                    Ok(value) => self.visit_u64(value),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Limit, E> {
                if value == UNLIMITED { Ok(Limit::Unlimited) } else { Err(E::invalid_value(de::Unexpected::Str(value), &self)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-validations": [{
                "rule": format!("type(self) == int ? int(self) >= 1 && int(self) <= {LIMIT_MAX} : string(self) == '{UNLIMITED}'"),
                "message": format!("must be a whole number from 1 to {LIMIT_MAX} or the string {UNLIMITED}"),
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn reads_numbers_and_the_word() {
        assert_eq!(serde_json::from_str::<Limit>("7").unwrap(), Limit::Max(7));
        assert_eq!(serde_json::from_str::<Limit>("\"Unlimited\"").unwrap(), Limit::Unlimited);
    }

    #[test]
    fn refuses_anything_else_and_says_what_it_takes() {
        for bad in ["0", "-1", "2000000001", "\"unlimited\"", "\"7\"", "1.5", "null", "true"] {
            let error = serde_json::from_str::<Limit>(bad).unwrap_err().to_string();
            assert!(error.contains("from 1 to 2000000000 or the string \"Unlimited\""), "{bad}: {error}");
        }
    }

    #[test]
    fn unlimited_is_more_than_any_number() {
        assert!(Limit::Max(2) > Limit::Max(1) && Limit::Unlimited > Limit::Max(super::LIMIT_MAX) && Limit::Unlimited <= Limit::Unlimited);
        assert_eq!((Limit::Max(7).to_string(), Limit::Unlimited.to_string()), ("7".to_owned(), "Unlimited".to_owned()));
    }

    #[test]
    fn is_reached_at_its_number_and_never_when_unlimited() {
        assert!(!Limit::Max(2).reached_by(1));
        assert!(Limit::Max(2).reached_by(2));
        assert!(!Limit::Unlimited.reached_by(u64::MAX));
    }
}
