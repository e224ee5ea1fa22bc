//! What labels say: every value there is.

use prometheus_client::encoding::EncodeLabelValue;

use crate::acks::{Touched, Trouble};

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder) -> Result<(), std::fmt::Error> {
                let text = match self { $(Self::$variant => $text),+ };
                EncodeLabelValue::encode(&text, encoder)
            }
        }
    };
}

label_values!(
    /// What resolving and compiling a tenant came to.
    Outcome {
        /// Another version than before.
        Changed = "changed",
        /// The same version.
        Unchanged = "unchanged",
        /// It doesn't compile.
        Rejected = "rejected",
        /// The API server could not be asked; tried again.
        Error = "error",
    }
);

label_values!(
    /// How a push went.
    PushResult {
        /// Answered as it should be.
        Ok = "ok",
        /// No connection, or it broke.
        Unreachable = "unreachable",
        /// TLS handshake failed.
        Tls = "tls",
        /// No answer in time.
        TimedOut = "timed_out",
        /// Another protocol version.
        ProtocolVersion = "protocol_version",
        /// The server refused the whole push.
        Refused = "refused",
        /// The answer made no sense.
        Malformed = "malformed",
        /// The server ran something else than was thought.
        Conflict = "conflict",
        /// A later leader had pushed before.
        StaleEpoch = "stale_epoch",
    }
);

label_values!(
    /// How a write of the boot configuration went.
    BootWrite {
        /// Written.
        Ok = "ok",
        /// The API server did not take it.
        Failed = "failed",
        /// It does not fit into a Secret.
        TooLarge = "too_large",
    }
);

label_values!(
    /// How the write of a certificate went.
    CertificateWrite {
        /// Written.
        Ok = "ok",
        /// It could not be made, or the API server did not take it; tried again.
        Failed = "failed",
    }
);

label_values!(
    /// The state of a pod.
    PodState {
        /// It serves.
        Programmed = "programmed",
        /// It was not asked yet, or has no configuration yet.
        Unprogrammed = "unprogrammed",
        /// The last exchange with it failed.
        Troubled = "troubled",
        /// It speaks no version of the push protocol that the operator speaks.
        Incompatible = "incompatible",
    }
);

label_values!(
    /// The state of a tenant, as its Ready condition tells it.
    TenantState {
        /// Ready.
        Ready = "ready",
        /// On its way to the pods.
        Pending = "pending",
        /// Accepted=False or ResolvedRefs=False.
        Invalid = "invalid",
        /// Another object holds its id.
        Conflicted = "conflicted",
        /// A pod refused it.
        Rejected = "rejected",
        /// There is no server pod.
        NoServers = "no_servers",
        /// It has changed since it was paused.
        Paused = "paused",
        /// Its object is being deleted.
        Deleting = "deleting",
    }
);

label_values!(
    /// How far a change has come.
    Stage {
        /// Something came of it that pods should run.
        Compiled = "compiled",
        /// Every pod acknowledged it.
        Acknowledged = "acknowledged",
        /// The status says so.
        Programmed = "programmed",
    }
);

label_values!(
    /// How the write of a status went.
    WriteResult {
        /// Written.
        Ok = "ok",
        /// Failed; tried again.
        Error = "error",
    }
);

impl From<&Result<Touched, Trouble>> for PushResult {
    fn from(result: &Result<Touched, Trouble>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(Trouble::Unreachable) => Self::Unreachable,
            Err(Trouble::Tls) => Self::Tls,
            Err(Trouble::TimedOut) => Self::TimedOut,
            Err(Trouble::ProtocolVersion) => Self::ProtocolVersion,
            Err(Trouble::Refused) => Self::Refused,
            Err(Trouble::Malformed) => Self::Malformed,
            Err(Trouble::Conflict) => Self::Conflict,
            Err(Trouble::StaleEpoch(_)) => Self::StaleEpoch,
        }
    }
}
