//! Every refusal there is: its code, what the client is told, and whether trying again can help.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A stable code: the same word in answers, metrics, logs and Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The client sent no token.
    TokenMissing,
    /// The token is no JWT, or its claims have the wrong type.
    TokenMalformed,
    /// `exp` has passed.
    TokenExpired,
    /// `nbf` or `iat` lies ahead.
    TokenNotYetValid,
    /// The token is valid for longer than the tenant allows.
    TokenLifetime,
    /// No key of the tenant verifies the signature.
    SignatureInvalid,
    /// The token's `kid` is none of the tenant's, or its key has passed its `notAfter`.
    KeyUnknown,
    /// The token's `alg` is not the one its key is pinned to.
    AlgorithmRefused,
    /// A claim that is needed is absent.
    ClaimMissing,
    /// `iss` is not the tenant's issuer.
    IssuerMismatch,
    /// `aud` holds none of the tenant's audiences.
    AudienceMismatch,
    /// The token, its user, or all tokens of its age were revoked.
    TokenRevoked,
    /// No tenant of that id is configured here.
    TenantUnknown,
    /// The page's origin is not allowed.
    OriginRefused,
    /// The tenant has all the connections it may have.
    ConnectionsMax,
    /// The user has all the connections it may have.
    ConnectionsPerUserMax,
    /// The tenant's clients connect too fast.
    ConnectionsRate,
    /// The tenant has all the rooms it may have.
    RoomsMax,
    /// The room has all the members it may have.
    RoomMembersMax,
    /// The connection is in all the rooms it may be in.
    RoomsPerConnectionMax,
    /// New rooms come into being too fast.
    RoomCreateRate,
    /// The tenant's clients together send too fast.
    MessagesRate,
    /// The connection sends too fast.
    MessagesRatePerConnection,
    /// The message is too large.
    MessageBytesMax,
    /// Events are published too fast.
    PublishRate,
    /// The published data is too large.
    PublishBytesMax,
    /// More was delivered to the tenant's clients than may be.
    EgressRate,
    /// The tenant is suspended.
    TenantSuspended,
    /// The room's name is none that can be joined.
    RoomNotAllowed,
    /// The bearer may not publish.
    PublishNotAllowed,
    /// Clients may not emit that event.
    EventNotAllowed,
    /// The server is shutting down.
    Draining,
    /// The server has no configuration yet.
    NotProgrammed,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 33] = [
        Self::TokenMissing,
        Self::TokenMalformed,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenLifetime,
        Self::SignatureInvalid,
        Self::KeyUnknown,
        Self::AlgorithmRefused,
        Self::ClaimMissing,
        Self::IssuerMismatch,
        Self::AudienceMismatch,
        Self::TokenRevoked,
        Self::TenantUnknown,
        Self::OriginRefused,
        Self::ConnectionsMax,
        Self::ConnectionsPerUserMax,
        Self::ConnectionsRate,
        Self::RoomsMax,
        Self::RoomMembersMax,
        Self::RoomsPerConnectionMax,
        Self::RoomCreateRate,
        Self::MessagesRate,
        Self::MessagesRatePerConnection,
        Self::MessageBytesMax,
        Self::PublishRate,
        Self::PublishBytesMax,
        Self::EgressRate,
        Self::TenantSuspended,
        Self::RoomNotAllowed,
        Self::PublishNotAllowed,
        Self::EventNotAllowed,
        Self::Draining,
        Self::NotProgrammed,
    ];

    /// The code as it stands in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenMalformed => "token_malformed",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenLifetime => "token_lifetime",
            Self::SignatureInvalid => "signature_invalid",
            Self::KeyUnknown => "key_unknown",
            Self::AlgorithmRefused => "algorithm_refused",
            Self::ClaimMissing => "claim_missing",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::AudienceMismatch => "audience_mismatch",
            Self::TokenRevoked => "token_revoked",
            Self::TenantUnknown => "tenant_unknown",
            Self::OriginRefused => "origin_refused",
            Self::ConnectionsMax => "connections_max",
            Self::ConnectionsPerUserMax => "connections_per_user_max",
            Self::ConnectionsRate => "connections_rate",
            Self::RoomsMax => "rooms_max",
            Self::RoomMembersMax => "room_members_max",
            Self::RoomsPerConnectionMax => "rooms_per_connection_max",
            Self::RoomCreateRate => "room_create_rate",
            Self::MessagesRate => "messages_rate",
            Self::MessagesRatePerConnection => "messages_rate_per_connection",
            Self::MessageBytesMax => "message_bytes_max",
            Self::PublishRate => "publish_rate",
            Self::PublishBytesMax => "publish_bytes_max",
            Self::EgressRate => "egress_rate",
            Self::TenantSuspended => "tenant_suspended",
            Self::RoomNotAllowed => "room_not_allowed",
            Self::PublishNotAllowed => "publish_not_allowed",
            Self::EventNotAllowed => "event_not_allowed",
            Self::Draining => "draining",
            Self::NotProgrammed => "not_programmed",
        }
    }

    /// What the code means and what helps, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TokenMissing => "no token was sent: put a JWT into auth.token",
            Self::TokenMalformed => "the token is no well-formed JWT",
            Self::TokenExpired => "the token has expired: get a new one",
            Self::TokenNotYetValid => "the token is not valid yet: check the issuer's clock",
            Self::TokenLifetime => "the token is valid for longer than the tenant allows, or lacks iat",
            Self::SignatureInvalid => "no key of the tenant verifies the token's signature",
            Self::KeyUnknown => "the token's kid is none of the tenant's keys in force",
            Self::AlgorithmRefused => "the token's alg is not the one its key is for",
            Self::ClaimMissing => "the token lacks the tenant, user or exp claim",
            Self::IssuerMismatch => "the token's iss is not the tenant's issuer",
            Self::AudienceMismatch => "the token's aud holds none of the tenant's audiences",
            Self::TokenRevoked => "the token was revoked",
            Self::TenantUnknown => "no such tenant",
            Self::OriginRefused => "pages of this origin may not connect",
            Self::ConnectionsMax => "the tenant has all the connections it may have",
            Self::ConnectionsPerUserMax => "the user has all the connections one user may have",
            Self::ConnectionsRate => "the tenant's clients connect too fast: wait before trying again",
            Self::RoomsMax => "the tenant has all the rooms it may have",
            Self::RoomMembersMax => "the room has all the members it may have",
            Self::RoomsPerConnectionMax => "the connection is in all the rooms it may be in: leave one first",
            Self::RoomCreateRate => "the tenant's clients make new rooms too fast: wait before trying again",
            Self::MessagesRate => "the tenant's clients together send too fast: slow down",
            Self::MessagesRatePerConnection => "the connection sends too fast: slow down",
            Self::MessageBytesMax => "the message is too large",
            Self::PublishRate => "events are published too fast: slow down",
            Self::PublishBytesMax => "the data is too large",
            Self::EgressRate => "more was delivered to the tenant's clients than may be: publish less, or to fewer",
            Self::TenantSuspended => "the tenant is suspended",
            Self::RoomNotAllowed => "this room can't be joined",
            Self::PublishNotAllowed => "this bearer may not publish",
            Self::EventNotAllowed => "clients may not emit this event",
            Self::Draining => "the server is shutting down: connect again",
            Self::NotProgrammed => "the server has no configuration yet: try again soon",
        }
    }

    /// True when trying again with the same request can't help.
    pub const fn fatal(self) -> bool {
        !(self.is_rate() || self.is_count() || matches!(self, Self::Draining | Self::NotProgrammed))
    }

    /// True when the limit is one of how fast, not of how much: waiting helps.
    pub const fn is_rate(self) -> bool {
        matches!(
            self,
            Self::ConnectionsRate
                | Self::RoomCreateRate
                | Self::MessagesRate
                | Self::MessagesRatePerConnection
                | Self::PublishRate
                | Self::EgressRate
        )
    }

    /// True when the limit is one of how many at a time: it helps when others go.
    const fn is_count(self) -> bool {
        matches!(
            self,
            Self::ConnectionsMax | Self::ConnectionsPerUserMax | Self::RoomsMax | Self::RoomMembersMax | Self::RoomsPerConnectionMax
        )
    }

    /// True when a quota of the tenant was met: in a dry run such a refusal is only counted.
    pub const fn is_quota(self) -> bool {
        self.is_rate() || self.is_count() || matches!(self, Self::MessageBytesMax | Self::PublishBytesMax)
    }

    /// The `message` of the `connect_error` a refused client gets. Of a failed authentication nothing more is told.
    pub fn connect_error(self) -> String {
        match self {
            Self::ConnectionsMax | Self::ConnectionsPerUserMax | Self::ConnectionsRate => format!("Quota exceeded: {self}"),
            Self::TenantSuspended => "Tenant suspended: tenant_suspended".to_owned(),
            Self::Draining | Self::NotProgrammed => format!("Service unavailable: {self}"),
            _ => "Authentication error".to_owned(),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::ALL.into_iter().find(|code| code.as_str() == word).ok_or_else(|| de::Error::custom("no code of this version"))
    }
}

/// What a limit counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All of a tenant.
    Tenant,
    /// One user.
    User,
    /// One room.
    Room,
    /// One connection.
    Connection,
    /// One message.
    Message,
}

impl Scope {
    /// What the quota of `code` counts over; what is no quota counts over the tenant.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::ConnectionsPerUserMax => Self::User,
            Code::RoomMembersMax => Self::Room,
            Code::RoomsPerConnectionMax | Code::MessagesRatePerConnection => Self::Connection,
            Code::MessageBytesMax | Code::PublishBytesMax => Self::Message,
            _ => Self::Tenant,
        }
    }
}

/// A refusal as a value: the limit that was met, ready to be told to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// For people: what the code means and what helps.
    pub message: &'static str,
    /// What the limit counts over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was found when the limit was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// When trying again can help, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// True when trying again can't help.
    pub fatal: bool,
}

impl Refusal {
    /// A refusal that has no numbers.
    pub const fn new(code: Code) -> Self {
        Self { code, message: code.text(), scope: None, limit: None, current: None, retry_after_ms: None, fatal: code.fatal() }
    }

    /// A refusal by a limit.
    pub const fn limit(code: Code, scope: Scope, limit: u64, current: u64) -> Self {
        Self {
            code,
            message: code.text(),
            scope: Some(scope),
            limit: Some(limit),
            current: Some(current),
            retry_after_ms: None,
            fatal: code.fatal(),
        }
    }

    /// The same refusal with the time after which trying again can help.
    #[must_use]
    pub const fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_snake_case() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[test]
    fn tells_nothing_of_a_failed_authentication() {
        assert_eq!(Code::SignatureInvalid.connect_error(), "Authentication error");
        assert_eq!(Code::TokenRevoked.connect_error(), "Authentication error");
        assert_eq!(Code::TenantUnknown.connect_error(), "Authentication error");
        assert_eq!(Code::OriginRefused.connect_error(), "Authentication error");
        assert_eq!(Code::ConnectionsMax.connect_error(), "Quota exceeded: connections_max");
        assert_eq!(Code::TenantSuspended.connect_error(), "Tenant suspended: tenant_suspended");
        assert_eq!(Code::NotProgrammed.connect_error(), "Service unavailable: not_programmed");
    }
}
