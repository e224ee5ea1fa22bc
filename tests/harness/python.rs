//! The real `python-socketio`.

use std::{env, path::PathBuf};

use tokio::{process::Command, sync::OnceCell};

use crate::{driver::Driver, file};

static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();

/// Starts a Python process that opens sockets.
pub async fn start() -> Driver {
    let mut command = Command::new(INSTALLED.get_or_init(install).await);
    command.arg(file("python/client.py"));
    Driver::start(command)
}

/// Makes the virtual environment, when it is not there yet, and installs what `requirements.txt` pins. Gives its interpreter.
async fn install() -> PathBuf {
    let cache = env::var_os("CARILLON_CACHE")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").expect("HOME or CARILLON_CACHE is set")).join(".cache/carillon"), PathBuf::from);
    let folder = cache.join("python");
    let requirements = file("python/requirements.txt");
    let wanted = std::fs::read(&requirements).expect("the requirements are there");
    let installed = folder.join("installed-requirements.txt");
    let interpreter = folder.join("bin/python");
    if std::fs::read(&installed).is_ok_and(|found| found == wanted) {
        return interpreter;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).await;
    run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements)).await;
    std::fs::write(&installed, wanted).expect("the cache can be written");
    interpreter
}

async fn run(command: &mut Command) {
    let output = command.output().await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
