//! Which versions of the push protocol each side speaks, and which one they have in common.
//!
//! A server tells the versions it speaks with its state; the operator pushes in the highest that both speak, pod by pod, so that either may
//! be a version ahead of the other while an update is rolled out.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::value::StrDeserializer};

use crate::{Code, RejectionCode, push::PROTOCOL_VERSION};

/// The versions that one side speaks: from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// The lowest.
    pub minimum: u32,
    /// The highest.
    pub maximum: u32,
}

impl Versions {
    /// Those that are spoken here: the latest and, once there is one, the version before.
    pub const SPOKEN: Self = Self { minimum: 1, maximum: PROTOCOL_VERSION };

    /// True when `version` is one of them.
    pub const fn contains(self, version: u32) -> bool {
        self.minimum <= version && version <= self.maximum
    }

    /// The highest version of both; `None` when they have none in common.
    pub fn common(self, other: Self) -> Option<u32> {
        Some(self.maximum.min(other.maximum)).filter(|version| self.contains(*version) && other.contains(*version))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.minimum == self.maximum {
            write!(formatter, "version {}", self.minimum)
        } else {
            write!(formatter, "versions {} to {}", self.minimum, self.maximum)
        }
    }
}

/// What the state of a server of any version holds, whatever else it does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Greeting {
    protocol_version: u32,
    #[serde(default)]
    protocol_versions: Option<Versions>,
}

impl Greeting {
    /// The versions it speaks.
    pub fn versions(&self) -> Versions {
        self.protocol_versions.unwrap_or(Versions { minimum: self.protocol_version, maximum: self.protocol_version })
    }
}

/// The version of a message, whatever else it holds; `None` when it holds none.
pub fn version_of(message: &[u8]) -> Option<u32> {
    /// What the messages of every version hold.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        protocol_version: u32,
    }

    serde_json::from_slice(message).ok().map(|Versioned { protocol_version }| protocol_version)
}

/// Reads a code; a word that came with a later version is some reason to refuse, too.
pub(crate) fn known_or_invalid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RejectionCode, D::Error> {
    let word = String::deserialize(deserializer)?;
    Ok(known(&word).unwrap_or(RejectionCode::Invalid))
}

/// Reads codes, and leaves out words that came with a later version.
pub(crate) fn known_only<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Code>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    Ok(words.iter().filter_map(|word| known(word)).collect())
}

fn known<'de, T: Deserialize<'de>>(word: &'de str) -> Option<T> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(word)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::push::{Answer, Conflict, Delta, Snapshot, State, UsageReport};

    #[test]
    fn both_speak_the_highest_version_they_have_in_common() {
        let versions = |(minimum, maximum)| Versions { minimum, maximum };
        for (ours, theirs, expected) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 2), (1, 1), Some(1)),
            ((1, 1), (1, 2), Some(1)),
            ((1, 2), (1, 2), Some(2)),
            ((1, 2), (2, 3), Some(2)),
            ((2, 3), (1, 2), Some(2)),
            ((1, 1), (2, 3), None),
            ((2, 3), (1, 1), None),
            ((1, 2), (2, 1), None),
        ] {
            assert_eq!(versions(ours).common(versions(theirs)), expected, "{ours:?} and {theirs:?}");
        }
        assert!(Versions::SPOKEN.contains(PROTOCOL_VERSION));
        assert_eq!((versions((1, 1)).to_string(), versions((1, 2)).to_string()), ("version 1".to_owned(), "versions 1 to 2".to_owned()));
    }

    #[test]
    fn a_server_that_names_no_versions_speaks_one() {
        let greeting = |value: Value| serde_json::from_value::<Greeting>(value).unwrap().versions();
        assert_eq!(greeting(json!({"protocolVersion": 1, "bootId": "b"})), Versions { minimum: 1, maximum: 1 });
        let later = json!({"protocolVersion": 4, "protocolVersions": {"minimum": 4, "maximum": 5, "draft": 6}, "applied": "differently"});
        assert_eq!(greeting(later), Versions { minimum: 4, maximum: 5 });
    }

    /// A message as the golden file holds it, with one field more in the object at `pointer`.
    fn with_more(golden: &str, pointer: &str) -> String {
        let mut value: Value = serde_json::from_str(golden).unwrap();
        value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("later".to_owned(), json!({"is": "more"}));
        value.to_string()
    }

    #[test]
    fn what_answers_hold_more_is_ignored() {
        fn read<T: for<'de> Deserialize<'de> + PartialEq + fmt::Debug>(golden: &str, pointers: &[&str]) {
            for pointer in pointers {
                let more: T = serde_json::from_str(&with_more(golden, pointer)).unwrap();
                assert_eq!(more, serde_json::from_str(golden).unwrap(), "{pointer}");
            }
        }
        read::<State>(include_str!("../golden/state.json"), &["", "/applied/0"]);
        read::<Answer>(include_str!("../golden/answer.json"), &["", "/applied/0", "/rejected/0"]);
        read::<Conflict>(include_str!("../golden/conflict.json"), &["", "/state"]);
        read::<UsageReport>(include_str!("../golden/usage.json"), &["", "/tenants/0", "/tenants/0/fleet"]);
    }

    #[test]
    fn words_of_later_versions_stall_nothing() {
        let answer = include_str!("../golden/answer.json").replace("secret_invalid", "moon_is_full");
        assert_eq!(serde_json::from_str::<Answer>(&answer).unwrap().rejected[0].code, RejectionCode::Invalid);
        let usage = include_str!("../golden/usage.json").replace("connections_max", "moons_max");
        assert_eq!(serde_json::from_str::<UsageReport>(&usage).unwrap().tenants[0].limited, [Code::MessagesRate]);
    }

    #[test]
    fn what_a_push_holds_more_is_refused() {
        let refused = |error: Option<serde_json::Error>| error.is_some_and(|error| error.to_string().contains("unknown field"));
        for pointer in [
            "",
            "/position",
            "/fleet",
            "/tenants/0",
            "/tenants/0/jwt",
            "/tenants/0/jwt/keys/0",
            "/tenants/0/apiKeys/0",
            "/tenants/0/quotas",
        ] {
            let push = with_more(include_str!("../golden/snapshot.json"), pointer);
            assert!(refused(serde_json::from_str::<Snapshot>(&push).err()), "{pointer}: what is not understood would not be enforced");
        }
        assert!(refused(serde_json::from_str::<Delta>(&with_more(include_str!("../golden/delta.json"), "")).err()));
    }
}
