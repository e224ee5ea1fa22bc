//! `rt:refresh`: a client that is in presents another token of its user, and is judged by that one from then on.

use std::{borrow::Cow, sync::Arc};

use carillon_tenant::{Code, Refusal, TenantConfig};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    fan_out::unix_time,
    grant::Grant,
    jwt::{Identity, UnverifiedToken, is_proven},
    session::Session,
};

/// What a client is told of a token that proves nothing about itself.
const NOT_YOURS: &str = "no key of the tenant verifies the token, or it is none of this connection's user";

#[derive(Deserialize)]
struct Argument<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

/// Puts the token in `argument` in the place of the session's own.
///
/// # Errors
///
/// The refusal. The session goes on with the token it has.
pub fn refresh(session: &Arc<Session>, argument: Option<&RawValue>) -> Result<Value, Refusal> {
    let argument: Option<Argument<'_>> = argument.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let token = argument.as_ref().map_or("", |argument| &argument.token);
    let now = unix_time();
    let refreshed = take(session, token, now).and_then(|grant| session.renew(grant, now).map_err(Refused::exactly));
    let refused = match refreshed {
        Ok(Some(ends_at)) => return Ok(json!({"ok": true, "expiresAt": ends_at})),
        Ok(None) => return Ok(json!({"ok": true})),
        Err(refused) => refused,
    };
    let Refused { code, told } = refused;
    tracing::info!(tenant = %session.tenant.id, user = %session.user, connection = %session.id, %code, "refresh refused");
    let refusal = Refusal { fatal: false, ..Refusal::new(told) };
    Err(if told == Code::SignatureInvalid { Refusal { message: NOT_YOURS, ..refusal } } else { refusal })
}

/// Why a token is refused, and what its bearer is told.
struct Refused {
    code: Code,
    told: Code,
}

impl Refused {
    const fn exactly(code: Code) -> Self {
        Self { code, told: code }
    }
}

fn take(session: &Session, token: &str, now: i64) -> Result<Grant, Refused> {
    let token = UnverifiedToken::parse(token).map_err(Refused::exactly)?;
    let config = session.tenant.config().clone();
    // Tenants may share a key, and a user has no business with another's token, nor with what is wrong with it.
    let own = is_of(session, &config, &token);
    match session.tenant.verify(&token, &config, now) {
        Ok(Identity { grant, .. }) if own => Ok(grant),
        Ok(_) => Err(Refused::exactly(Code::SignatureInvalid)),
        Err(code) => Err(Refused { code, told: if own && is_proven(code) { code } else { Code::SignatureInvalid } }),
    }
}

/// True when the token says that it is of the session's tenant and user.
fn is_of(session: &Session, config: &TenantConfig, token: &UnverifiedToken<'_>) -> bool {
    token.id_claim(&config.jwt.tenant_claim).as_deref() == Some(session.tenant.id.as_str())
        && token.user(&config.jwt).is_ok_and(|user| user == session.user)
}
