//! Tells when files may have changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// Editors write in several steps; a change is taken up when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(120);
/// A change is taken up after this time even when it is never quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(1);
/// File systems that send no notifications, such as network mounts, are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Watches files and folders.
#[derive(Debug)]
pub struct Watch {
    touched: Arc<Notify>,
    /// `None` when the system has no watches left: then looking now and then has to do.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches `paths`, of which some may not exist yet.
    pub fn new(paths: &[PathBuf]) -> Self {
        let touched = Arc::new(Notify::new());
        let watcher = watcher(paths, touched.clone());
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files can't be watched; they are read every {} s instead", LOOK_INTERVAL.as_secs());
        }
        Self { touched, _watcher: watcher.ok() }
    }

    /// Returns when something may have changed since it was last called.
    pub async fn changed(&self) {
        if timeout(LOOK_INTERVAL, self.touched.notified()).await.is_err() {
            return;
        }
        let until = Instant::now() + QUIET_WITHIN;
        while Instant::now() < until {
            tokio::select! {
                () = self.touched.notified() => {}
                () = sleep(QUIET) => return,
            }
        }
    }
}

fn watcher(paths: &[PathBuf], touched: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // To read a file is no change of it.
        let read_only = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(kind) if !matches!(kind, AccessKind::Close(AccessMode::Write))));
        if !read_only {
            touched.notify_one();
        }
    })?;
    for path in paths {
        // Editors replace files, so a file is watched through its folder.
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "can't be watched; it is read every {} s instead", LOOK_INTERVAL.as_secs());
        }
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn tells_of_a_file_that_is_replaced() {
        let folder = std::env::temp_dir().join(format!("carillon-watch-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("tenant.yaml");
        fs::write(&file, "a").unwrap();
        let watch = Watch::new(std::slice::from_ref(&file));
        fs::write(folder.join("new"), "b").unwrap();
        fs::rename(folder.join("new"), &file).unwrap();
        let started = Instant::now();
        watch.changed().await;
        assert!(started.elapsed() < LOOK_INTERVAL, "it took a look instead of being told");
        fs::remove_dir_all(&folder).unwrap();
    }
}
