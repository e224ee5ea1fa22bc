//! The key of the MAC of session ids, where no operator pushes one: the first pod draws it, all take it.

use std::time::Duration;

use carillon_tenant::{FleetName, SecretBytes};
use tokio::time::{sleep, timeout};

use super::{
    keys,
    redis::{Redis, RedisError},
};

/// How long a pod waits for Redis before it goes without.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The wait between attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const KEY_BYTES: usize = 32;

/// The fleet's key; `None` when Redis does not answer in time.
pub async fn agree(redis: &Redis, fleet: &FleetName) -> Option<SecretBytes> {
    let name = keys::session_key(fleet);
    let candidate: [u8; KEY_BYTES] = rand::random();
    let agreed = async {
        loop {
            if redis.up() {
                match propose(redis, &name, candidate).await {
                    Ok(Some(key)) => return key,
                    Ok(None) => tracing::warn!(key = name, "not a key of {KEY_BYTES} bytes"),
                    Err(error) => tracing::debug!(error = error.details(), "no session key yet"),
                }
            }
            sleep(RETRY_INTERVAL).await;
        }
    };
    timeout(WAIT_MAX, agreed).await.ok()
}

async fn propose(redis: &Redis, name: &str, candidate: [u8; KEY_BYTES]) -> Result<Option<SecretBytes>, RedisError> {
    redis.set_new(name, candidate.to_vec().into()).await?;
    // Read back also by the pod that set it: all take what is there.
    let key = redis.get(name).await?;
    Ok(key.filter(|key| key.len() == KEY_BYTES).map(|key| key.to_vec().into()))
}
