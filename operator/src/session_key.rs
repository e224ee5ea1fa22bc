//! The key that all servers share, from a file that may change.

use std::{path::PathBuf, time::Duration};

use carillon_tenant::SecretBytes;
use tokio::sync::watch;

use crate::health::Readiness;

/// Shortest key, in bytes.
const KEY_BYTES_MIN: usize = 32;
/// Longest file that is taken for a key, in bytes.
const KEY_BYTES_MAX: usize = 4096;
/// How often the file is read. The kubelet takes a minute to renew it anyway.
const READ_INTERVAL: Duration = Duration::from_secs(10);
const MISSING: &str = "session key";

/// Follows the file at `path`: the key as it was last readable.
pub fn follow(path: PathBuf, readiness: Readiness) -> watch::Receiver<Option<SecretBytes>> {
    let (sender, receiver) = watch::channel(None);
    readiness.missing(MISSING, "not read yet");
    tokio::spawn(async move {
        while !sender.is_closed() {
            match read(&path).await {
                Ok(key) => {
                    readiness.there(MISSING);
                    sender.send_if_modified(|before| {
                        let changed = before.as_ref() != Some(&key);
                        *before = Some(key);
                        changed
                    });
                }
                // A key once read stays in force.
                Err(error) if sender.borrow().is_some() => tracing::warn!(path = %path.display(), error, "session key not readable"),
                Err(error) => readiness.missing(MISSING, format!("{}: {error}", path.display())),
            }
            tokio::time::sleep(READ_INTERVAL).await;
        }
    });
    receiver
}

async fn read(path: &std::path::Path) -> Result<SecretBytes, String> {
    let bytes = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
    match bytes.len() {
        KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(bytes.into()),
        length => Err(format!("holds {length} bytes; it must hold {KEY_BYTES_MIN} to {KEY_BYTES_MAX}")),
    }
}
