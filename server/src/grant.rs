//! What lets a session in, and for how long: what is remembered of its token. Pure: the clock is passed in.

use std::sync::Arc;

use carillon_tenant::{Code, JwtPolicy, KeyFingerprint, OnExpiry, TenantConfig, UserId};

/// How long before its end a client hears of it, in seconds; when less is left to begin with, half of that.
const WARNING_SECONDS_MAX: i64 = 60;

/// What a verified token gives. A session is judged by it again whenever the tenant's configuration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key that verified the token.
    pub key: KeyFingerprint,
    /// The token's `iat`, in seconds of Unix time.
    pub issued_at: Option<i64>,
    /// The token's `exp`, in seconds of Unix time.
    pub expires_at: i64,
    /// The token's `jti`; of one too long to be revoked by it, none.
    pub token_id: Option<Arc<str>>,
}

impl Grant {
    /// Why `config` does not let `user` in by this, be the token as good as it may.
    pub fn refused_by(&self, config: &TenantConfig, user: &UserId) -> Option<Code> {
        if config.suspended {
            Some(Code::TenantSuspended)
        } else if !config.jwt.has_key(self.key) {
            // A key past its `notAfter` is still there: the token was good when it came, and is until it expires.
            Some(Code::KeyUnknown)
        } else if config.revocation.hits(user, self.issued_at, self.token_id.as_deref()) {
            Some(Code::TokenRevoked)
        } else {
            None
        }
    }
}

/// What is due for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its client is to hear that the end is near.
    Warn,
    /// It is to be ended.
    End,
}

/// A grant in use: since when, and whether its end was announced.
#[derive(Clone, Debug)]
pub struct Tenure {
    /// What the token gave.
    pub grant: Grant,
    accepted_at: i64,
    warned: bool,
}

impl Tenure {
    /// The tenure of a token that was verified at `now`, in seconds of Unix time.
    pub const fn new(grant: Grant, now: i64) -> Self {
        Self { grant, accepted_at: now, warned: false }
    }

    /// When it ends, in seconds of Unix time: from then on the token would be refused at connect, too. `None`: sockets stay.
    pub fn ends_at(&self, policy: &JwtPolicy) -> Option<i64> {
        match policy.on_expiry {
            OnExpiry::Disconnect => Some(self.grant.expires_at.saturating_add(policy.leeway_seconds.into())),
            OnExpiry::Keep => None,
        }
    }

    /// What comes next, and when.
    pub fn next(&self, policy: &JwtPolicy) -> Option<(i64, Step)> {
        let ends_at = self.ends_at(policy)?;
        if self.warned {
            return Some((ends_at, Step::End));
        }
        // Half, so that a client that refreshes whenever it hears the warning does not do so all the time.
        let lasts = ends_at.saturating_sub(self.accepted_at).max(0);
        Some((ends_at - WARNING_SECONDS_MAX.min(lasts - lasts / 2), Step::Warn))
    }

    /// Notes that the end was announced: that is done once for each token.
    pub const fn warned(&mut self) {
        self.warned = true;
    }
}

#[cfg(test)]
mod tests {
    use carillon_tenant::{ResolvedSecrets, TenantMessage, compile::compile};
    use serde_json::{Value, json};

    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> TenantConfig {
        let key = json!({"algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "first"}});
        let mut spec = json!({"auth": {"jwt": {"keys": [key]}}});
        change(&mut spec);
        let spec = serde_json::from_value(spec).unwrap();
        let secrets = ResolvedSecrets::resolve(&spec, |reference| Ok(format!("{:_<32}", reference.key).into_bytes().into()));
        let message: TenantMessage = compile("acme", 1, &spec, &Ok(None), &secrets).unwrap();
        TenantConfig::try_from(message).unwrap()
    }

    fn grant(config: &TenantConfig, expires_at: i64) -> Grant {
        Grant { key: config.jwt.keys[0].fingerprint, issued_at: Some(1000), expires_at, token_id: Some("t-1".into()) }
    }

    #[test]
    fn is_judged_by_the_configuration_in_force() {
        let ada = UserId::from_claim(&json!("ada")).unwrap();
        let first = config(|_| {});
        let grant = grant(&first, 2000);
        let of = |field: &'static str, value: Value| config(move |spec| spec["auth"]["revocation"] = json!({field: value}));
        let table = [
            (first, None),
            (config(|spec| spec["suspended"] = json!(true)), Some(Code::TenantSuspended)),
            (config(|spec| spec["auth"]["jwt"]["keys"][0]["secretKeyRef"]["key"] = json!("second")), Some(Code::KeyUnknown)),
            (config(|spec| spec["auth"]["jwt"]["keys"][0]["notAfter"] = json!("2001-01-01T00:00:00Z")), None),
            (of("users", json!(["bob"])), None),
            (of("users", json!(["ada"])), Some(Code::TokenRevoked)),
            (of("tokenIds", json!(["t-2"])), None),
            (of("tokenIds", json!(["t-1"])), Some(Code::TokenRevoked)),
            (of("tokensNotBefore", json!("1970-01-01T00:16:40Z")), None),
            (of("tokensNotBefore", json!("1970-01-01T00:16:41Z")), Some(Code::TokenRevoked)),
        ];
        for (place, (config, code)) in table.into_iter().enumerate() {
            assert_eq!(grant.refused_by(&config, &ada), code, "row {place}");
        }
    }

    #[test]
    fn warns_a_minute_before_the_end_or_half_way() {
        let config = config(|spec| spec["auth"]["jwt"]["leewaySeconds"] = json!(30));
        // exp, when it was accepted, when the warning is due
        let table =
            [(1_000_000, 0, 999_970), (1090, 1000, 1060), (1030, 1000, 1030), (1000, 1000, 1015), (971, 1000, 1000), (900, 1000, 930)];
        for (expires_at, accepted_at, warns_at) in table {
            let mut tenure = Tenure::new(grant(&config, expires_at), accepted_at);
            assert_eq!(tenure.next(&config.jwt), Some((warns_at, Step::Warn)), "{expires_at}");
            tenure.warned();
            assert_eq!(tenure.next(&config.jwt), Some((expires_at + 30, Step::End)), "{expires_at}");
        }
        let mut endless = Tenure::new(grant(&config, i64::MAX), 0);
        endless.warned();
        assert_eq!(endless.next(&config.jwt), Some((i64::MAX, Step::End)));
    }

    #[test]
    fn nothing_is_due_where_sockets_stay() {
        let config = config(|spec| spec["auth"]["jwt"]["onExpiry"] = json!("Keep"));
        let tenure = Tenure::new(grant(&config, 1000), 0);
        assert_eq!((tenure.next(&config.jwt), tenure.ends_at(&config.jwt)), (None, None));
    }
}
