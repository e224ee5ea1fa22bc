//! Keys that the operator makes for tenants (`spec.auth.generate`), each tenant's in a Secret beside it, which also says how far a rotation
//! has come: whoever leads goes on from there.
//!
//! What the Secret should become is decided in `plan`, without I/O; `secret` reads and writes it; the loop's part is `controller::generate`.

mod plan;
mod secret;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

use carillon_crds::GenerateSpec;
use carillon_tenant::{
    FleetName, Generated, GeneratedKeys, TenantId,
    generated::{self, Ledger},
};
use clap::Args;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

use self::plan::{Stored, plan};
pub use self::{
    plan::{Made, Plan},
    secret::{Order, carry_out},
};
use crate::object::ObjectKey;

/// What the operator may make, and what it writes beside the keys.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// Make the Secrets with keys that tenants ask for, which needs the right to write Secrets in every namespace.
    #[arg(long = "generate-keys", env = "CARILLON_GENERATE_KEYS", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub enabled: bool,

    /// Where clients and backends reach the servers of each fleet, with commas between them, as in default=https://rt.example.com: it stands
    /// in the Secrets of the fleet's tenants as `endpoint`. Default: none does.
    #[arg(long = "public-url", env = "CARILLON_PUBLIC_URLS", value_name = "FLEET=URL", value_delimiter = ',')]
    pub public_urls: Vec<PublicUrl>,
}

impl GenerateArgs {
    /// Where clients and backends reach the servers of `fleet`, where that is known.
    pub fn endpoint(&self, fleet: &FleetName) -> Option<&Arc<str>> {
        self.public_urls.iter().find(|url| url.fleet == *fleet).map(|url| &url.url)
    }
}

/// Where a fleet's servers are reached: `FLEET=URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    fleet: FleetName,
    url: Arc<str>,
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (fleet, url) = text.trim().split_once('=').ok_or("write FLEET=URL, as in default=https://rt.example.com")?;
        let fleet = FleetName::new(fleet).map_err(|error| format!("the name of a fleet {error}"))?;
        let url = url.trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && url.len() <= 512 && url.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self { fleet, url: url.into() })
            }
            _ => Err(format!("fleet {fleet}: must be a URL that begins with https:// or http://, as in https://rt.example.com")),
        }
    }
}

/// What a tenant's Secret should hold.
#[derive(Clone, Debug)]
pub struct Want {
    /// Which keys; `None` when there are to be none.
    pub generate: Option<GenerateSpec>,
    /// The tenant.
    pub tenant_id: TenantId,
    /// Where its clients connect to.
    pub endpoint: Option<Arc<str>>,
    /// What a rotation was asked for with.
    pub rotation: Option<String>,
}

/// What was seen of a tenant's Secret when the tenant was compiled. Holds nothing that signs in the name of a public key.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What the tenant is compiled with.
    pub keys: GeneratedKeys,
    /// True when the Secret is not what it should be.
    pub due: bool,
    /// When keys of before end next, in Unix seconds.
    pub ends: Option<i64>,
}

impl Seen {
    /// What `secret` says to the object `uid`, which wants `want`.
    pub fn of(secret: Option<&Secret>, uid: &str, want: &Want, enabled: bool, now: Timestamp) -> Self {
        let stored = secret.map(secret::read);
        let found = match (secret, &stored) {
            (Some(secret), _) if !secret::is_owned(secret, uid) => Generated::NotOwned,
            (_, Some(Stored { ledger: Some(ledger), .. })) => Generated::Found(Box::new(ledger.clone().without_private())),
            _ => Generated::Missing,
        };
        // Nothing is drawn yet: only whether something would be.
        let step = plan(stored.as_ref(), want, false, now.as_second(), &mut || [0; 32]);
        let due = found != Generated::NotOwned && !matches!(step, Plan::Nothing);
        let ends = stored.and_then(|stored| stored.ledger?.ends().min());
        Self { keys: GeneratedKeys { found, disabled: !enabled }, due, ends }
    }

    /// The keys that are there.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.keys.ledger()
    }
}

/// The Secret of the tenant at `key`.
pub fn secret_name(key: &ObjectKey) -> String {
    generated::secret_name(&key.name)
}

impl fmt::Display for Made {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::New => "Keys were made",
            Self::Anew => "Keys were made anew, because the Secret that held them was gone or damaged: those of before are valid no more",
            Self::Announced => "New keys are being made known to every server pod; the Secret still holds those of before",
            Self::Rotated => "The Secret holds the new keys; those of before stay valid for overlapSeconds",
            Self::Other => "The Secret was brought up to date",
        })
    }
}

impl Made {
    /// The reason of the Event; `None` when it is worth none.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::New => Some("KeysGenerated"),
            Self::Anew => Some("KeysGeneratedAnew"),
            Self::Announced => Some("KeyRotationStarted"),
            Self::Rotated => Some("KeysRotated"),
            Self::Other => None,
        }
    }
}
