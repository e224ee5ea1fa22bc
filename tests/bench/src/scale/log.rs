//! The operator's log, read on from where it was read to.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::moment::Moment;

/// A log that is being written.
pub struct Log {
    path: PathBuf,
    read: u64,
    /// A line that was not complete yet.
    rest: Vec<u8>,
    /// When every pod had acknowledged a change, by its name, as in `tenant-7@2-1a2b3c4d`.
    acknowledged: HashMap<String, Moment>,
    /// When each pod was pushed something for the first time.
    first_pushes: HashMap<String, Moment>,
    /// Warnings and errors.
    pub complaints: Vec<String>,
    restarts: HashSet<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    #[serde(default)]
    message: String,
    change: Option<String>,
    pod: Option<String>,
    boot_id: Option<String>,
}

impl Log {
    /// The log at `path`, from its beginning.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            rest: Vec::new(),
            acknowledged: HashMap::new(),
            first_pushes: HashMap::new(),
            complaints: Vec::new(),
            restarts: HashSet::new(),
        }
    }

    /// Reads what was written since.
    pub fn read_on(&mut self) -> Result<()> {
        let mut file = File::open(&self.path).with_context(|| format!("read {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(&mut self.rest)? as u64;
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        for line in lines.split(|byte| *byte == b'\n') {
            self.take(line);
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) {
        let Ok(Line { timestamp, level, message, change, pod, boot_id }) = serde_json::from_slice(line) else { return };
        let Some(at) = Moment::parse(timestamp) else { return };
        match (message.as_str(), change, pod) {
            ("acknowledged by every pod", Some(change), _) => _ = self.acknowledged.entry(change).or_insert(at),
            ("pushed", _, Some(pod)) => _ = self.first_pushes.entry(pod).or_insert(at),
            ("learnt what the pod runs", _, _) => self.restarts.extend(boot_id),
            _ if level == "WARN" || level == "ERROR" => self.complaints.push(String::from_utf8_lossy(line).into_owned()),
            _ => {}
        }
    }

    /// When every pod had acknowledged that change.
    pub fn acknowledged(&self, change: &str) -> Option<Moment> {
        self.acknowledged.get(change).copied()
    }

    /// When so many pods had been pushed something, counted from `begin`.
    pub fn all_pushed(&self, pods: usize, begin: Moment) -> Option<std::time::Duration> {
        let last = self.first_pushes.values().map(|at| *at - begin).max();
        last.filter(|_| self.first_pushes.len() == pods)
    }

    /// How many different processes of servers were met.
    pub fn processes(&self) -> usize {
        self.restarts.len()
    }
}
