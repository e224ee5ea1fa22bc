//! Which quotas are in force for a tenant, and who said so.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{Enforcement, Limit};

/// What is in force for a tenant, as of `configVersion`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveStatus {
    /// The class it was compiled with: the one it names, or the default class. Absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub class_name: Option<String>,
    /// Every quota, with who said so.
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub quotas: Vec<EffectiveQuota>,
    /// Every field of `spec.auth.jwt` that a class may give, with who said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub auth: Vec<EffectiveAuth>,
}

/// Who said how tokens are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveAuth {
    /// The field of `spec.auth`, as in `jwt.issuer`.
    pub field: AuthField,
    /// Who said so.
    pub source: QuotaSource,
}

/// One quota in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveQuota {
    /// The field of `spec.quotas`, as in `connections.max`.
    pub field: QuotaField,
    /// What holds: a number or a word.
    pub value: QuotaValue,
    /// Who said so.
    pub source: QuotaSource,
}

macro_rules! fields {
    ($(#[$doc:meta])* $Type:ident, $below:literal: $($variant:ident = $name:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $Type {
            $(#[doc = concat!("`", $name, "`.")] #[serde(rename = $name)] $variant,)+
        }

        impl $Type {
            #[doc = concat!("The field, as it is written below `", $below, "`.")]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl JsonSchema for $Type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($Type).into()
            }

            // No enumeration: an operator that knows more fields than the definition must still be able to write its status.
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": 64})
            }
        }
    };
}

fields! {
    /// A field of a tenant's quotas: what names it takes little room in an operator that holds thousands of them.
    QuotaField, "spec.quotas":
    ConnectionsMax = "connections.max",
    ConnectionsMaxPerUser = "connections.maxPerUser",
    ConnectionsRatePerSecond = "connections.ratePerSecond",
    ConnectionsBurst = "connections.burst",
    RoomsMax = "rooms.max",
    RoomsMaxMembers = "rooms.maxMembers",
    RoomsMaxPerConnection = "rooms.maxPerConnection",
    RoomsCreateRatePerSecond = "rooms.createRatePerSecond",
    MessagesRatePerSecond = "messages.ratePerSecond",
    MessagesBurst = "messages.burst",
    MessagesRatePerSecondPerConnection = "messages.ratePerSecondPerConnection",
    MessagesBurstPerConnection = "messages.burstPerConnection",
    MessagesMaxBytes = "messages.maxBytes",
    PublishRatePerSecond = "publish.ratePerSecond",
    PublishBurst = "publish.burst",
    PublishMaxBytes = "publish.maxBytes",
    EgressBytesPerSecond = "egress.bytesPerSecond",
    Enforcement = "enforcement",
}

fields! {
    /// A field of a tenant's authentication that its class may give.
    AuthField, "spec.auth":
    Jwks = "jwt.jwks",
    Issuer = "jwt.issuer",
    Audiences = "jwt.audiences",
    LeewaySeconds = "jwt.leewaySeconds",
    MaxLifetimeSeconds = "jwt.maxLifetimeSeconds",
    ClaimsTenant = "jwt.claims.tenant",
    ClaimsUser = "jwt.claims.user",
    OnExpiry = "jwt.onExpiry",
}

/// What a quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QuotaValue {
    /// A number, or `Unlimited`.
    Limit(Limit),
    /// `Enforce` or `DryRun`.
    Enforcement(Enforcement),
}

impl JsonSchema for QuotaValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "QuotaValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}

/// Who said what a quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum QuotaSource {
    /// The tenant's own spec.
    Tenant,
    /// Its class: a default or, where there is none and the built-in default is higher, the ceiling.
    Class,
    /// Nobody: it is the default that stands with the field.
    BuiltIn,
}
