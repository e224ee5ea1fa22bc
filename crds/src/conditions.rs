//! Condition types and reasons, as fixed words: what users, alerts and tests match on.

/// The conditions a `RealtimeTenant` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The resource says something valid that this operator takes up.
    Accepted,
    /// Everything the resource refers to was found.
    ResolvedRefs,
    /// Every eligible server pod has acknowledged exactly `status.configVersion`.
    Programmed,
    /// All of the above: users of this tenant are served by what the resource says.
    Ready,
}

impl ConditionType {
    /// The `type` of the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
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
    /// ResolvedRefs=True: every reference was found.
    ResolvedRefs,
    /// ResolvedRefs=False: a Secret does not exist.
    SecretNotFound,
    /// ResolvedRefs=False: a Secret exists but lacks the key that is named.
    SecretKeyNotFound,
    /// ResolvedRefs=False: a Secret's content can't be used: empty, too short, not PEM or JWK, wrong kind of key.
    SecretInvalid,
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
    /// Ready=True.
    Ready,
    /// Ready=True: everything is in force, and the tenant is suspended by its own spec.
    Suspended,
}

impl Reason {
    /// The `reason` of the condition: CamelCase, as the Kubernetes API conventions ask.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::Conflicted => "Conflicted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretKeyNotFound => "SecretKeyNotFound",
            Self::SecretInvalid => "SecretInvalid",
            Self::Programmed => "Programmed",
            Self::Pending => "Pending",
            Self::Rejected => "Rejected",
            Self::NoServers => "NoServers",
            Self::NotCompiled => "NotCompiled",
            Self::Ready => "Ready",
            Self::Suspended => "Suspended",
        }
    }
}
