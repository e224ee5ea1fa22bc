//! Redis as a pod. There is no registry to pull from, so it runs the machine's own `redis-server` in an image made for something else.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Api, SLOW, api::path_of, eventually, release::SERVER_IMAGE};

const NAMESPACE: &str = "carillon-redis";
const PORT: u16 = 6379;

/// The Redis of the release.
#[derive(Clone, Copy, Debug)]
pub struct Redis {
    address: SocketAddr,
}

impl Redis {
    /// The one that runs, or a new one.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub async fn start(api: &Api) -> Self {
        api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await;
        let service = api.apply(&service()).await;
        let ip = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()).expect("a Service has a ClusterIP");
        let redis = Self { address: SocketAddr::new(ip, PORT) };
        redis.revive(api).await;
        redis
    }

    /// The URL for pods: it names the Service.
    pub fn url() -> String {
        format!("redis://redis.{NAMESPACE}:{PORT}")
    }

    /// Ends it as a crash would, for as long as nobody calls [`revive`](Self::revive).
    ///
    /// # Panics
    ///
    /// When it doesn't end.
    pub async fn kill(&self, api: &Api) {
        let path = path_of(&pod());
        api.delete(&format!("{path}?gracePeriodSeconds=0")).await;
        eventually(SLOW, "the Redis pod is gone", async || api.get(&path).await.map_or(Ok(()), Err)).await;
        eventually(SLOW, "nobody answers for Redis", async || if self.ping().await { Err(()) } else { Ok(()) }).await;
    }

    /// Starts it, with nothing in it, and awaits its first answer over the Service.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub async fn revive(&self, api: &Api) {
        api.apply(&pod()).await;
        eventually(SLOW, "Redis answers", async || if self.ping().await { Ok(()) } else { Err(()) }).await;
    }

    async fn ping(&self) -> bool {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            stream.write_all(b"PING\r\n").await.ok()?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).await.ok()?;
            (&answer == b"+PONG\r\n").then_some(())
        };
        timeout(Duration::from_secs(1), exchange).await.is_ok_and(|pong| pong.is_some())
    }
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "redis"}, "ports": [{"port": PORT}]},
    })
}

fn pod() -> Value {
    // The image has no libraries, so /usr comes from the machine and the dynamic linker is called by name.
    let linker = Path::new("/usr/bin/ld.so").canonicalize().expect("Debian's libc6 has /usr/bin/ld.so");
    let server = ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", "/tmp"];
    let command: Vec<_> = linker.to_str().into_iter().chain(server).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "redis", "namespace": NAMESPACE, "labels": {"app": "redis"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "redis", "image": SERVER_IMAGE, "imagePullPolicy": "Never", "command": command,
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                "volumeMounts": [{"name": "usr", "mountPath": "/usr", "readOnly": true}],
            }],
            "volumes": [{"name": "usr", "hostPath": {"path": "/usr"}}],
        },
    })
}
