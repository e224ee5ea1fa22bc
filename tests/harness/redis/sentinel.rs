//! A real Sentinel, which watches over a master and its replica.

use std::fs;

use super::Redis;
use crate::{
    eventually::{DEADLINE, eventually_async},
    folder::Folder,
    loopback::{free_address, host},
};

/// What the Sentinel calls the two.
const SERVICE: &str = "carillon";

/// A master, a replica and the Sentinel that puts the one into the place of the other. They end with this value.
#[derive(Debug)]
pub struct Sentinel {
    sentinel: Redis,
    /// The first master at first; after a failover the replica is it.
    nodes: [Redis; 2],
    _folder: Folder,
}

impl Sentinel {
    /// Starts all three and awaits that the replica follows and the Sentinel knows of it.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn start() -> Self {
        let (host, folder) = (host(), Folder::new("redis-sentinel"));
        // A replica gets what there is as a file.
        let files = ["--dir".to_owned(), folder.path().to_string_lossy().into_owned()];
        let mut master = Redis::at(free_address(host), &files);
        master.restart().await;
        let (ip, port) = (host.to_string(), master.address.port());
        // By itself it would be known by where its connection comes from.
        let arguments = ["--replicaof".to_owned(), format!("{ip} {port}"), "--replica-announce-ip".to_owned(), ip.clone()];
        let mut replica = Redis::at(free_address(host), &[arguments.as_slice(), &files].concat());
        replica.restart().await;
        let file = folder.path().join("sentinel.conf");
        let settings = [
            format!("sentinel monitor {SERVICE} {ip} {port} 1"),
            format!("sentinel down-after-milliseconds {SERVICE} 500"),
            format!("sentinel failover-timeout {SERVICE} 3000"),
            format!("dir {}", folder.path().display()),
        ];
        fs::write(&file, settings.join("\n")).expect("the test's folder takes files");
        // The file stands first: what follows it are single settings.
        let mut sentinel = Redis::at(free_address(host), &[file.to_string_lossy().into_owned(), "--sentinel".to_owned()]);
        sentinel.restart().await;
        let known = format!("name={SERVICE},status=ok,address={ip}:{port},slaves=1,sentinels=1");
        eventually_async(DEADLINE, "the Sentinel knows both", async || match sentinel.ask(&["INFO", "sentinel"]).await {
            info if info.contains(&known) => Ok(()),
            info => Err(info),
        })
        .await;
        let sentinel = Self { sentinel, nodes: [master, replica], _folder: folder };
        sentinel.replicates().await;
        sentinel
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis-sentinel://{}?sentinelServiceName={SERVICE}", self.sentinel.address)
    }

    /// Ends the master as a crash would and awaits that the replica has taken its place.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn fail_over(&mut self) {
        self.nodes[0].kill();
        eventually_async(DEADLINE, "the replica is the master", async || match self.nodes[1].ask(&["ROLE"]).await {
            role if role.starts_with("master") => Ok(()),
            role => Err(role),
        })
        .await;
    }

    async fn replicates(&self) {
        eventually_async(DEADLINE, "the replica follows", async || match self.nodes[1].ask(&["INFO", "replication"]).await {
            info if info.contains("master_link_status:up") => Ok(()),
            info => Err(info),
        })
        .await;
    }
}
