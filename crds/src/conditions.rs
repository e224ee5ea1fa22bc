//! Condition types and reasons, as fixed words: what users, alerts and tests match on.

/// The conditions a `RealtimeTenant` carries, and of which a `RealtimeTenantClass` has the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The resource says something valid that this operator takes up.
    Accepted,
    /// Everything the resource refers to was found.
    ResolvedRefs,
    /// Every eligible server pod has acknowledged exactly `status.configVersion`.
    Programmed,
    /// The tenant is at a limit, or something of it was refused by one within the last minute. `Ready` does not depend on it.
    QuotaSaturated,
    /// Accepted, resolved and programmed: users of this tenant are served by what the resource says.
    Ready,
}

impl ConditionType {
    /// The `type` of the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
            Self::QuotaSaturated => "QuotaSaturated",
            Self::Ready => "Ready",
        }
    }
}

/// Why a condition stands as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Accepted=True: the resource is valid.
    Accepted,
    /// Accepted=False: a field has a value that can't be used; the message names it.
    Invalid,
    /// Accepted=False: an older `RealtimeTenant` holds the same tenant id.
    Conflicted,
    /// Accepted=False: a quota is beyond what the class allows; the message names both.
    ExceedsClass,
    /// Accepted=False: the class that is named does not exist.
    ClassNotFound,
    /// Accepted=False: the class exists but says something that can't be used, and did so ever since the operator knows it.
    ClassInvalid,
    /// Accepted=False: the class does not allow tenants of this namespace.
    NamespaceNotAllowed,
    /// Accepted=False, of a class and of its tenants: the class names a fleet that the operator doesn't serve.
    FleetNotFound,
    /// Accepted=True, of a class: it is valid, but not the default class it asks to be, because an older one is.
    NotDefault,
    /// ResolvedRefs=True: every reference was found.
    ResolvedRefs,
    /// ResolvedRefs=False: a Secret does not exist.
    SecretNotFound,
    /// ResolvedRefs=False: a Secret exists but lacks the key that is named.
    SecretKeyNotFound,
    /// ResolvedRefs=False: a Secret's content can't be used: empty, too short, not PEM or JWK, wrong kind of key.
    SecretInvalid,
    /// ResolvedRefs=False: a key set was never fetched since the operator started; what was in force before stays.
    JwksUnavailable,
    /// ResolvedRefs=False: a key set could not be fetched for longer than `refreshSeconds`; its last keys stay in force.
    JwksStale,
    /// ResolvedRefs=False: the operator has not made yet, or can't write, the Secret with the keys that it is to generate.
    GeneratedSecretPending,
    /// ResolvedRefs=False: there is a Secret of the name that generated keys would have, and it does not belong to this tenant.
    GeneratedSecretNotOwned,
    /// ResolvedRefs=False: keys are to be generated, and this operator may not.
    GenerateDisabled,
    /// Programmed=True: all eligible pods have acknowledged this version.
    Programmed,
    /// Programmed=False: some pods have not acknowledged this version yet.
    Pending,
    /// Programmed=False: a pod refused this version; it keeps the last good one.
    Rejected,
    /// Programmed=False: there is no server pod to program.
    NoServers,
    /// Programmed=False: nothing was ever compiled from this resource.
    NotCompiled,
    /// QuotaSaturated=True: the tenant has all the connections it may have.
    ConnectionsMax,
    /// QuotaSaturated=True: users have all the connections one may have.
    ConnectionsPerUserMax,
    /// QuotaSaturated=True: clients connect too fast.
    ConnectionsRate,
    /// QuotaSaturated=True: the tenant has all the rooms it may have.
    RoomsMax,
    /// QuotaSaturated=True: a room has all the members it may have.
    RoomMembersMax,
    /// QuotaSaturated=True: connections are in all the rooms one may be in.
    RoomsPerConnectionMax,
    /// QuotaSaturated=True: new rooms come into being too fast.
    RoomCreateRate,
    /// QuotaSaturated=True: all clients together send too fast.
    MessagesRate,
    /// QuotaSaturated=True: single connections send too fast.
    MessagesRatePerConnection,
    /// QuotaSaturated=True: clients send messages that are too large.
    MessageBytesMax,
    /// QuotaSaturated=True: events are published too fast.
    PublishRate,
    /// QuotaSaturated=True: data is published that is too large.
    PublishBytesMax,
    /// QuotaSaturated=True: more is delivered than may be.
    EgressRate,
    /// QuotaSaturated=False: no limit is reached, and nothing was refused by one lately.
    WithinLimits,
    /// Ready=True.
    Ready,
    /// Ready=True: everything is in force, and the tenant is suspended by its own spec.
    Suspended,
    /// Accepted=Unknown, ResolvedRefs=Unknown: paused by annotation, so that what the resource says now was not looked at. Ready=True: it is
    /// in force, and would not be replaced.
    Paused,
}

impl Reason {
    /// The `reason` of the condition: CamelCase, as the Kubernetes API conventions ask.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::Conflicted => "Conflicted",
            Self::ExceedsClass => "ExceedsClass",
            Self::ClassNotFound => "ClassNotFound",
            Self::ClassInvalid => "ClassInvalid",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::FleetNotFound => "FleetNotFound",
            Self::NotDefault => "NotDefault",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretKeyNotFound => "SecretKeyNotFound",
            Self::SecretInvalid => "SecretInvalid",
            Self::JwksUnavailable => "JwksUnavailable",
            Self::JwksStale => "JwksStale",
            Self::GeneratedSecretPending => "GeneratedSecretPending",
            Self::GeneratedSecretNotOwned => "GeneratedSecretNotOwned",
            Self::GenerateDisabled => "GenerateDisabled",
            Self::Programmed => "Programmed",
            Self::Pending => "Pending",
            Self::Rejected => "Rejected",
            Self::NoServers => "NoServers",
            Self::NotCompiled => "NotCompiled",
            Self::ConnectionsMax => "ConnectionsMax",
            Self::ConnectionsPerUserMax => "ConnectionsPerUserMax",
            Self::ConnectionsRate => "ConnectionsRate",
            Self::RoomsMax => "RoomsMax",
            Self::RoomMembersMax => "RoomMembersMax",
            Self::RoomsPerConnectionMax => "RoomsPerConnectionMax",
            Self::RoomCreateRate => "RoomCreateRate",
            Self::MessagesRate => "MessagesRate",
            Self::MessagesRatePerConnection => "MessagesRatePerConnection",
            Self::MessageBytesMax => "MessageBytesMax",
            Self::PublishRate => "PublishRate",
            Self::PublishBytesMax => "PublishBytesMax",
            Self::EgressRate => "EgressRate",
            Self::WithinLimits => "WithinLimits",
            Self::Ready => "Ready",
            Self::Suspended => "Suspended",
            Self::Paused => "Paused",
        }
    }
}
