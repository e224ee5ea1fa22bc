//! A folder for the files of one test.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// A folder of its own. It goes with this value, unless the test has failed: then it is kept for a look.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one, whose name says what it is for.
    ///
    /// # Panics
    ///
    /// When it can't be made.
    pub fn new(purpose: &str) -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("carillon-test-{purpose}-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("there is space for temporary files");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
