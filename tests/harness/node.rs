//! The real `socket.io-client` under Node.

use tokio::{process::Command, sync::OnceCell};

use crate::{driver::Driver, file};

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// Starts a Node process that opens sockets as the original program does.
pub async fn start() -> Driver {
    run("node/client.js").await
}

/// Starts a Node process whose sockets check what they hear, while they ask for things themselves and stop reading now and then.
pub async fn checker() -> Driver {
    run("node/checker.js").await
}

async fn run(script: &str) -> Driver {
    install().await;
    let mut command = Command::new("node");
    command.arg(file(script));
    Driver::start(command)
}

/// Installs what `package-lock.json` pins, when it is not there yet.
///
/// # Panics
///
/// When npm fails.
pub async fn install() {
    let install = async {
        let folder = file("node");
        if folder.join("node_modules/.package-lock.json").exists() {
            return;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        let output = command.output().await.expect("npm is installed");
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    };
    INSTALLED.get_or_init(|| install).await;
}
