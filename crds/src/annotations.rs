//! Annotations of a `RealtimeTenant` by which people steer the operator.

/// `"true"`: the tenant stays as it is in force, whatever its spec, Secrets or class say. It can be deleted all the same.
pub const PAUSED_ANNOTATION: &str = "carillon.dev/paused";

/// Anything new: its Secrets are read anew, and it is pushed to every server pod even if nothing differs. `status.observedSync` says when
/// that was done.
pub const SYNC_ANNOTATION: &str = "carillon.dev/sync";

/// Anything new: keys that the operator made for the tenant are replaced, with an overlap. `status.generated.observedRotation` says when the
/// Secret holds the new ones.
pub const ROTATE_KEYS_ANNOTATION: &str = "carillon.dev/rotate-keys";

/// Longest value of [`SYNC_ANNOTATION`] and [`ROTATE_KEYS_ANNOTATION`] that is told apart from others, in bytes.
pub const SYNC_BYTES_MAX: usize = 128;
