//! A real Redis for one test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::eventually::DEADLINE;

/// A `redis-server` of its own, on loopback, which keeps nothing. It ends with this value.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
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
        Self { address: free_address(), process: None }
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
        let port = self.address.port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        self.process = Some(command.stdout(Stdio::null()).spawn().expect("redis-server is installed (Debian package redis-server)"));
        let answers = async {
            while self.ping().await.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, answers).await.expect("redis-server answers");
    }

    async fn ping(&self) -> Option<()> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"+PONG\r\n").then_some(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that was free a moment ago.
///
/// # Panics
///
/// When there is none.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
