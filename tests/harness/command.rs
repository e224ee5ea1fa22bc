//! The project's programs, as users have them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::OnceCell,
};

use crate::{eventually::within_deadline, file};

/// The `carillon` binary, built when it is not.
pub async fn binary() -> PathBuf {
    programs().await.join("carillon")
}

/// The `carillon-server` binary, built when it is not.
pub async fn server_binary() -> PathBuf {
    programs().await.join("carillon-server")
}

/// The `carillon-operator` binary, built when it is not.
pub async fn operator_binary() -> PathBuf {
    programs().await.join("carillon-operator")
}

/// Where the project's programs are.
async fn programs() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = async {
        // Tests stand in <target>/<profile>/deps, the benchmark beside the programs that were built with it.
        let this = env::current_exe().expect("this process has a binary");
        let folder = this.parent().expect("programs stand in folders");
        if !folder.ends_with("deps") {
            return folder.to_owned();
        }
        let profile = folder.parent().expect("tests stand in the target folder");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // As a part of the whole workspace's tests, which this binary is, too: any other selection builds every dependency again. A
        // program is built with the tests of its crate: `cli` are those of `carillon`, `http` those of `carillon-server`,
        // `program` that of `carillon-operator`.
        cargo
            .args(["test", "--quiet", "--workspace", "--test", "cli", "--test", "http", "--test", "program", "--no-run"])
            .arg("--target-dir")
            .arg(profile.parent().expect("a profile is in a target folder"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let output = cargo.current_dir(file("..")).output().await.expect("cargo is installed");
        assert!(output.status.success(), "{cargo:?}: {}", String::from_utf8_lossy(&output.stderr));
        profile.to_owned()
    };
    BUILT.get_or_init(|| build).await
}

/// Runs `carillon` with `arguments` to its end.
///
/// # Panics
///
/// When it can't be run.
pub async fn run(arguments: &[&str]) -> Output {
    command().await.args(arguments).output().await.expect("the binary runs")
}

async fn command() -> Command {
    let mut command = Command::new(binary().await);
    // Keys that stand in for generated ones are kept there.
    command.env("XDG_STATE_HOME", binary().await.with_file_name("test-state"));
    command.env_remove("REDIS_URL").env_remove("FRONTEND_URL").current_dir(file("..")).kill_on_drop(true);
    command
}

/// A running `carillon dev`. It ends with this value.
#[derive(Debug)]
pub struct Dev {
    /// Where clients and pages come in.
    pub url: String,
    /// What it said when it was up.
    pub welcome: String,
    process: Child,
}

impl Dev {
    /// Starts one on free ports and awaits its welcome.
    ///
    /// # Panics
    ///
    /// When it ends instead.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut command = command().await;
        command.args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-filter", "warn"]).args(arguments);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C") {
            let line = within_deadline("carillon dev is up", lines.next_line()).await.expect("its output is text");
            welcome.push_str(&line.unwrap_or_else(|| panic!("carillon dev ended after: {welcome}")));
            welcome.push('\n');
        }
        // Its later output has to go somewhere.
        tokio::spawn(async move { while matches!(lines.next_line().await, Ok(Some(_))) {} });
        let url = welcome.lines().find_map(|line| line.trim().strip_prefix("Playground")).expect("it says where it is").trim();
        Self { url: url.trim_end_matches('/').to_owned(), welcome, process }
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn id(&self) -> u32 {
        self.process.id().expect("it still runs")
    }

    /// Asks it to end, as Ctrl-C does, and awaits that.
    ///
    /// # Panics
    ///
    /// When it doesn't.
    pub async fn stop(mut self) {
        let id = self.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs");
        let status = within_deadline("carillon dev ends", self.process.wait()).await.expect("it can be awaited");
        assert!(status.success(), "{status}");
    }
}
