//! A real Redis for one test: alone, as a cluster of three, or watched by a Sentinel.

mod cluster;
mod sentinel;

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use tokio::process;

pub use self::{cluster::RedisCluster, sentinel::Sentinel};
use crate::{
    eventually::{DEADLINE, eventually_async},
    loopback::{free_address, host},
};

/// A `redis-server` of its own, on loopback, which keeps nothing. It ends with this value.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    /// Starts one and awaits its first answer.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub async fn start() -> Self {
        let mut redis = Self::not_started();
        redis.restart().await;
        redis
    }

    /// One that will be started by [`restart`](Self::restart).
    pub fn not_started() -> Self {
        Self::at(free_address(host()), &[])
    }

    fn at(address: SocketAddr, arguments: &[String]) -> Self {
        Self { address, arguments: arguments.to_vec(), process: None }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it as a crash would.
    ///
    /// # Panics
    ///
    /// When it can't be ended.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("our own child can be killed");
            process.wait().expect("our own child can be awaited");
        }
    }

    /// Starts it anew on the same port, with nothing in it.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub async fn restart(&mut self) {
        self.kill();
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut command = Command::new("redis-server");
        // First our own: a configuration file is read only there.
        command.args(&self.arguments);
        command.args(["--bind", &host, "--port", &port, "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        command.stdout(Stdio::null());
        self.process = Some(command.spawn().expect("redis-server is installed (Debian package redis-server)"));
        self.answers().await;
    }

    /// Forgets everything, as an operator's `FLUSHALL` does.
    pub async fn flush(&self) {
        assert_eq!(self.ask(&["FLUSHALL"]).await, "OK");
    }

    /// What it answers to a command, as `redis-cli` shows it.
    pub async fn ask(&self, command: &[&str]) -> String {
        ask(self.address, command).await
    }

    async fn answers(&self) {
        eventually_async(DEADLINE, "redis-server answers", async || match self.ask(&["PING"]).await {
            answer if answer == "PONG" => Ok(()),
            answer => Err(answer),
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn ask(address: SocketAddr, command: &[&str]) -> String {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut client = process::Command::new("redis-cli");
    let output = client.args(["-h", &host, "-p", &port]).args(command).output().await.expect("redis-cli comes with redis-server");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
}
