//! The program itself: started, programmed, used, and ended by a signal.

use std::{collections::HashMap, net::SocketAddr, process::Stdio};

use carillon_tenant::push::{Answer, SNAPSHOT_PATH};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{
    certificates::{Authority, Directory},
    polling::PollingClient,
    server::{plain_client, snapshot},
    tenants,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_carillon-server");

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: String,
}

impl Process {
    fn start(directory: &Directory, arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .env_clear()
            .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--health-listen=127.0.0.1:0", "--log-filter=debug"])
            .arg("--admin-tls-directory")
            .arg(directory.path())
            .args(arguments)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, log: String::new() }
    }

    /// Reads on in the log to the line with this message.
    async fn logged(&mut self, message: &str) -> Value {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.log.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            if line["message"] == message {
                return line;
            }
        }
        panic!("{message:?} was never logged: {}", self.log);
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }

    /// The ports, in the order in which they open.
    async fn addresses(&mut self) -> HashMap<&'static str, SocketAddr> {
        let mut addresses = HashMap::new();
        for port in ["health", "admin", "server"] {
            let line = self.logged(&format!("{port} listening")).await;
            addresses.insert(port, line["address"].as_str().unwrap().parse().unwrap());
        }
        addresses
    }
}

#[tokio::test]
async fn lives_from_start_to_drain() {
    let authority = Authority::new();
    let directory = Directory::new(&authority);
    let mut process = Process::start(&directory, &["--drain-seconds=3600"]);
    let addresses = process.addresses().await;
    let client = plain_client();
    let health = format!("http://{}", addresses["health"]);
    let ask = async |path: &str| client.get(format!("{health}{path}")).send().await.unwrap().status().as_u16();
    assert_eq!((ask("/livez").await, ask("/readyz").await), (200, 503));

    let operator = authority.client(addresses["admin"], Some(&authority.sign("carillon-operator"))).build().unwrap();
    let url = format!("https://carillon-server:{}{SNAPSHOT_PATH}", addresses["admin"].port());
    let push = operator.put(url).json(&snapshot(tenants::all())).send().await.unwrap();
    assert_eq!(push.json::<Answer>().await.unwrap().rejected, []);
    assert_eq!(ask("/readyz").await, 200);

    let publish = client.post(format!("http://{}/v1/tenants/acme/events", addresses["server"])).json(&json!({"event": "e"}));
    assert_eq!(publish.try_clone().unwrap().bearer_auth(tenants::ACME_KEY).send().await.unwrap().status(), 202);
    assert_eq!(publish.bearer_auth("wrong-key-marker").send().await.unwrap().status(), 401);

    // One client, for whom the drain waits.
    let _client = PollingClient::connect_to(addresses["server"], json!(7)).await;
    process.signal("-TERM").await;
    process.logged("draining").await;
    assert_eq!((ask("/livez").await, ask("/readyz").await), (200, 503), "it drains for an hour");
    process.signal("-INT").await;
    let status = process.child.wait().await.unwrap();
    assert_eq!(status.code(), Some(1), "a second signal cuts the drain short");
    for secret in [tenants::ACME_KEY, tenants::ACME_SECRET, "wrong-key-marker"] {
        assert!(!process.log.contains(secret), "{}", process.log);
    }
}

#[tokio::test]
async fn ends_by_itself_when_it_is_drained() {
    let directory = Directory::new(&Authority::new());
    let mut process = Process::start(&directory, &["--drain-seconds=0"]);
    process.addresses().await;
    process.signal("-TERM").await;
    process.logged("drained").await;
    assert!(process.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn says_what_is_wrong_and_keeps_secrets() {
    let directory = Directory::new(&Authority::new());
    let table: [(&[&str], &str); 8] = [
        (&["--listen=here"], "write an IP address and a port, as in 0.0.0.0:3000"),
        (&["--redis-url=http://:hunter2@redis"], "--redis-url (REDIS_URL) must be a URL that begins with one of redis, rediss,"),
        (&["--frontend-url=app"], "\"app\" is no origin"),
        (&["--operator-identity=10.0.0.1"], "write a DNS name, as in carillon-operator"),
        (&["--ping-interval-seconds=0"], "0 is not in 1..=3600"),
        (&["--log-filter=carillon=loud"], "the log filter \"carillon=loud\" can't be read"),
        (&["--admin-tls-directory=/nowhere"], "see --admin-tls-directory: /nowhere/tls.crt: No such file"),
        (&["--listen=192.0.2.1:1"], "--listen 192.0.2.1:1"),
    ];
    for (arguments, expected) in table {
        let mut command = Command::new(PROGRAM);
        let addresses = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--health-listen=127.0.0.1:0"];
        let given = arguments[0].split('=').next().unwrap();
        command.env_clear().args(addresses.iter().filter(|argument| !argument.starts_with(given)));
        if given != "--admin-tls-directory" {
            command.arg("--admin-tls-directory").arg(directory.path());
        }
        let output = command.args(arguments).output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let help = Command::new(PROGRAM).arg("--help").env("REDIS_URL", "redis://:hunter2@redis").output().await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--redis-url") && !help.contains("hunter2"), "{help}");
}
