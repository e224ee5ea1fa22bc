//! Which tokens are refused though a key verifies them: compiled into look-ups, so that a handshake costs the same however many are listed.

use std::collections::{BTreeSet, HashSet};

use carillon_crds::{REVOKED_TOKEN_IDS_MAX, REVOKED_USERS_MAX, RevocationSpec, TOKEN_ID_BYTES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    UserId,
    compile::{Rejection, check_count, invalid},
};

/// What is revoked, as it travels to the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevocationMessage {
    /// Unix time in seconds; tokens issued before it, or without `iat`, are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_not_before: Option<i64>,
    /// Users whose tokens are refused.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// Ids of tokens that are refused.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub token_ids: BTreeSet<String>,
}

impl RevocationMessage {
    /// True when nothing is revoked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is revoked, ready to enforce.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    tokens_not_before: Option<i64>,
    users: HashSet<Box<str>>,
    token_ids: HashSet<Box<str>>,
}

impl Revocation {
    /// Longest token id that is looked up, in bytes: none that is longer can be listed.
    pub const TOKEN_ID_BYTES_MAX: usize = TOKEN_ID_BYTES_MAX;

    /// True when a token of `user` is refused that was issued at `issued_at`, in seconds of Unix time, with this `jti`.
    pub fn hits(&self, user: &UserId, issued_at: Option<i64>, token_id: Option<&str>) -> bool {
        // A token that does not say when it was issued may be as old as any.
        self.tokens_not_before.is_some_and(|from| issued_at.is_none_or(|issued_at| issued_at < from))
            || self.users.contains(user.as_str())
            || token_id.is_some_and(|id| self.token_ids.contains(id))
    }
}

impl From<RevocationMessage> for Revocation {
    fn from(message: RevocationMessage) -> Self {
        Self {
            tokens_not_before: message.tokens_not_before,
            users: message.users.into_iter().map(Into::into).collect(),
            token_ids: message.token_ids.into_iter().map(Into::into).collect(),
        }
    }
}

/// Compiles `spec.auth.revocation`.
pub(crate) fn compile_revocation(spec: &RevocationSpec, rejections: &mut Vec<Rejection>) -> RevocationMessage {
    const PATH: &str = "spec.auth.revocation";
    check_count(&format!("{PATH}.users"), spec.users.len(), 0, REVOKED_USERS_MAX, rejections);
    check_count(&format!("{PATH}.tokenIds"), spec.token_ids.len(), 0, REVOKED_TOKEN_IDS_MAX, rejections);
    for (index, user) in spec.users.iter().enumerate().take(REVOKED_USERS_MAX) {
        // What is no user id is a mistake: it would revoke nobody.
        if let Err(error) = UserId::from_claim(&Value::from(user.as_str())) {
            rejections.push(invalid(format!("{PATH}.users[{index}]"), format!("as a user id {error}")));
        }
    }
    for (index, id) in spec.token_ids.iter().enumerate().take(REVOKED_TOKEN_IDS_MAX) {
        if !(1..=TOKEN_ID_BYTES_MAX).contains(&id.len()) {
            let message = format!("must be the jti of a token, 1 to {TOKEN_ID_BYTES_MAX} bytes long");
            rejections.push(invalid(format!("{PATH}.tokenIds[{index}]"), message));
        }
    }
    RevocationMessage {
        // A token says in whole seconds when it was issued: one of the second that the time falls into is refused, too.
        tokens_not_before: spec.tokens_not_before.as_ref().map(|time| time.0.as_second() + i64::from(time.0.subsec_nanosecond() > 0)),
        users: spec.users.iter().cloned().collect(),
        token_ids: spec.token_ids.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(spec: Value) -> Result<Revocation, Vec<(String, String)>> {
        let mut rejections = Vec::new();
        let message = compile_revocation(&serde_json::from_value(spec).unwrap(), &mut rejections);
        let rejections: Vec<_> = rejections.into_iter().map(|rejection| (rejection.field, rejection.message)).collect();
        if rejections.is_empty() { Ok(message.into()) } else { Err(rejections) }
    }

    fn user(claim: Value) -> UserId {
        UserId::from_claim(&claim).unwrap()
    }

    #[test]
    fn nothing_listed_hits_nobody() {
        let nothing = compiled(json!({})).unwrap();
        assert!(!nothing.hits(&user(json!("ada")), None, None));
        assert!(RevocationMessage::default().is_empty());
    }

    #[test]
    fn hits_by_time_user_or_token() {
        let all = json!({"tokensNotBefore": "2026-11-23T12:00:00Z", "users": ["ada", "7"], "tokenIds": ["t-1"]});
        let revoked = compiled(all).unwrap();
        let noon = 1_795_435_200;
        let table = [
            ("bob", Some(noon), Some("t-2"), false),
            ("bob", Some(noon), None, false),
            ("bob", Some(noon - 1), None, true),
            ("bob", None, None, true),
            ("bob", Some(noon), Some("t-1"), true),
            ("bob", Some(noon), Some("T-1"), false),
            ("ada", Some(noon), None, true),
            ("Ada", Some(noon), None, false),
            ("7", Some(noon), None, true),
        ];
        for (name, issued_at, id, hit) in table {
            assert_eq!(revoked.hits(&user(json!(name)), issued_at, id), hit, "{name} {issued_at:?} {id:?}");
        }
        assert!(revoked.hits(&user(json!(7)), Some(noon), None), "a number and its text are one user");
    }

    #[test]
    fn a_fraction_of_a_second_counts_as_the_whole() {
        let revoked = compiled(json!({"tokensNotBefore": "2026-11-23T12:00:00.25Z"})).unwrap();
        assert!(revoked.hits(&user(json!("bob")), Some(1_795_435_200), None));
        assert!(!revoked.hits(&user(json!("bob")), Some(1_795_435_201), None));
    }

    #[test]
    fn names_each_field_that_is_wrong() {
        let users = json!({"users": ["ada", "", "a\nb"], "tokenIds": ["t-1", "x".repeat(257), ""]});
        let fields: Vec<_> = compiled(users).unwrap_err().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["users[1]", "users[2]", "tokenIds[1]", "tokenIds[2]"].map(|field| format!("spec.auth.revocation.{field}")));
        let many: Vec<_> = (0..=REVOKED_USERS_MAX).map(|number| number.to_string()).collect();
        let expected = [("spec.auth.revocation.users".to_owned(), "has 1001 items; from 0 to 1000 are allowed".to_owned())];
        assert_eq!(compiled(json!({"users": many})).unwrap_err(), expected);
    }
}
