//! A real Redis Cluster: three masters that share the slots.

use super::Redis;
use crate::{
    eventually::{DEADLINE, eventually_async},
    folder::Folder,
    loopback::{free_address, host},
};

/// All slots there are, in three parts.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// Three nodes, each with a third of the slots. They end with this value.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    _folder: Folder,
}

impl RedisCluster {
    /// Starts the nodes, makes them one, and awaits that every node says so.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn start() -> Self {
        let (host, folder) = (host(), Folder::new("redis-cluster"));
        let (mut nodes, mut first_node) = (Vec::new(), None::<(String, String)>);
        for (number, (first, last)) in SLOTS.into_iter().enumerate() {
            // The bus has a port of its own choice: by default it is 10,000 higher, where there may be none.
            let bus = free_address(host).port().to_string();
            let file = folder.path().join(format!("node-{number}.conf"));
            // By itself it would be known by where its connections come from.
            let own = ["--cluster-announce-ip".to_owned(), host.to_string(), "--cluster-port".to_owned(), bus.clone()];
            let shared = ["--cluster-enabled", "yes", "--cluster-config-file", &file.to_string_lossy()].map(str::to_owned);
            let mut node = Redis::at(free_address(host), &[own, shared].concat());
            node.restart().await;
            assert_eq!(node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await, "OK");
            match &first_node {
                Some((port, bus)) => assert_eq!(node.ask(&["CLUSTER", "MEET", &host.to_string(), port, bus]).await, "OK"),
                None => first_node = Some((node.address.port().to_string(), bus)),
            }
            nodes.push(node);
        }
        for node in &nodes {
            eventually_async(DEADLINE, "the cluster is whole", async || {
                let info = node.ask(&["CLUSTER", "INFO"]).await;
                let whole = ["cluster_state:ok", "cluster_known_nodes:3", "cluster_size:3"].iter().all(|part| info.contains(part));
                if whole { Ok(()) } else { Err(info) }
            })
            .await;
        }
        Self { nodes, _folder: folder }
    }

    /// Where it is: one node, and the others as alternatives.
    pub fn url(&self) -> String {
        let address = |node: &Redis| node.address.to_string();
        format!("redis-cluster://{}?node={}&node={}", address(&self.nodes[0]), address(&self.nodes[1]), address(&self.nodes[2]))
    }
}
