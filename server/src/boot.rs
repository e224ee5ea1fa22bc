//! Starting while no operator is there, with what it last wrote for that.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use carillon_tenant::boot::{self, Boot, BootError, SHARD_BYTES_MAX, SHARDS, Shard};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::config_store::ConfigStore;

/// So long the operator is waited for: what it pushes is newer, if only by seconds, and it may have revoked something.
const OPERATOR_PATIENCE: Duration = Duration::from_secs(3);
/// How often the files are looked at until there is a configuration. The kubelet renews them about once a minute.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("no shard is there")]
    Nothing,
    #[error("shard {0} {1}")]
    Unusable(usize, BootError),
    #[error("{0}")]
    Unfit(BootError),
    #[error("shard {0} can't be read: {1}")]
    Unreadable(usize, io::Error),
}

/// Starts `store` with what is in `directory` unless the operator comes first. Ends once it has a configuration.
pub async fn start(store: ConfigStore, directory: PathBuf, stop: CancellationToken) {
    let begun = Instant::now();
    let mut wait = OPERATOR_PATIENCE;
    let mut told = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
        if store.programmed() {
            return;
        }
        wait = LOOK_INTERVAL;
        let (store, directory) = (store.clone(), directory.clone());
        let result = spawn_blocking(move || load(&store, &directory)).await.unwrap_or(Ok(()));
        let Err(error) = result else { return };
        let text = error.to_string();
        if told.as_ref() != Some(&text) {
            let waited_seconds = begun.elapsed().as_secs();
            tracing::warn!(error = text, waited_seconds, "no operator has come, and there is nothing to start with");
            told = Some(text);
        }
    }
}

fn load(store: &ConfigStore, directory: &Path) -> Result<(), ReadError> {
    let Boot { snapshot, written_at } = read(directory)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_secs(u64::try_from(written_at).unwrap_or_default()));
    let position = snapshot.position;
    if let Some(answer) = store.boot(snapshot, age) {
        let (tenants, rejected, age_seconds) = (answer.applied.len(), answer.rejected.len(), age.as_secs());
        tracing::warn!(%position, tenants, rejected, age_seconds, "no operator has come: started with what it wrote before");
    }
    Ok(())
}

fn read(directory: &Path) -> Result<Boot, ReadError> {
    let mut shards = Vec::new();
    for number in 0..SHARDS {
        match read_file(&directory.join(number.to_string())) {
            Ok(packed) => shards.push(Shard::unpack(&packed).map_err(|error| ReadError::Unusable(number, error))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ReadError::Unreadable(number, error)),
        }
    }
    if shards.is_empty() {
        return Err(ReadError::Nothing);
    }
    boot::join(shards).map_err(ReadError::Unfit)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    std::fs::File::open(path)?.take(SHARD_BYTES_MAX as u64 + 1).read_to_end(&mut packed)?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_missing_or_damaged_are_told_by_their_number() {
        let folder = std::env::temp_dir().join(format!("carillon-boot-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(matches!(read(&folder), Err(ReadError::Nothing)));
        std::fs::write(folder.join("3"), b"this is no shard at all").unwrap();
        assert_eq!(read(&folder).unwrap_err().to_string(), "shard 3 is damaged: it is not gzip");
        std::fs::write(folder.join("3"), vec![0; SHARD_BYTES_MAX + 10]).unwrap();
        assert!(matches!(read(&folder), Err(ReadError::Unusable(3, _))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
