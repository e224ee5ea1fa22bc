//! Why a key set could not be fetched. What is told stands in a tenant's status: it holds no times and no addresses, and says the same of the same.

use carillon_tenant::KeySetError;
use hyper::StatusCode;

use crate::fetcher::{BODY_BYTES_MAX, TOTAL_TIMEOUT};

/// Why a key set could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Plain HTTP.
    #[error("{0} does not begin with https://, and anyone on the way could put in keys of their own")]
    Insecure(String),
    /// No URL that can be asked.
    #[error("{0:?} is no URL that can be asked")]
    Url(String),
    /// No such name.
    #[error("the name {0} can't be resolved")]
    Unresolved(String),
    /// An address that must not be connected to.
    #[error("{0} is at a private, loopback or otherwise special address, which the operator was not allowed to connect to")]
    AddressRefused(String),
    /// Nobody there.
    #[error("no connection to {0}")]
    Unreachable(String),
    /// Not who it should be.
    #[error("the TLS handshake with {host} failed: {why}")]
    Tls {
        /// Who was asked.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// Too slow.
    #[error("no full answer within {} s", TOTAL_TIMEOUT.as_secs())]
    TimedOut,
    /// What answers speaks no HTTP, or stopped.
    #[error("{0} broke off its answer")]
    Broken(String),
    /// Asked to go elsewhere.
    #[error("{url} redirects (status {}), which is not followed: name the URL it leads to", .status.as_u16())]
    Redirected {
        /// Who redirects.
        url: String,
        /// How.
        status: StatusCode,
    },
    /// Another answer than 200.
    #[error("{url} answers with status {}", .status.as_u16())]
    Status {
        /// Who was asked.
        url: String,
        /// What it said.
        status: StatusCode,
    },
    /// Too much.
    #[error("{0} answers with more than {BODY_BYTES_MAX} bytes")]
    TooLarge(String),
    /// A discovery document that can't be used.
    #[error("the discovery document {url} {why}")]
    Discovery {
        /// Where it is.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key set that can't be used.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

impl FetchError {
    /// A fixed word for metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Insecure(_) | Self::Url(_) => "url_refused",
            Self::Unresolved(_) => "unresolved",
            Self::AddressRefused(_) => "address_refused",
            Self::Unreachable(_) | Self::Broken(_) => "unreachable",
            Self::Tls { .. } => "tls",
            Self::TimedOut => "timed_out",
            Self::Redirected { .. } => "redirected",
            Self::Status { .. } => "status",
            Self::TooLarge(_) => "too_large",
            Self::Discovery { .. } | Self::Keys(_) => "unusable",
        }
    }

    /// Every word, and those of fetches that went well.
    pub const WORDS: [&'static str; 12] = [
        "changed",
        "unchanged",
        "url_refused",
        "unresolved",
        "address_refused",
        "unreachable",
        "tls",
        "timed_out",
        "redirected",
        "status",
        "too_large",
        "unusable",
    ];
}
