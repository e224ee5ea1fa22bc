//! Writes every custom resource definition into a folder: `crdgen FOLDER`. `make generate` calls it.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "say which folder: crdgen FOLDER"))?;
    for (name, yaml) in carillon_crds::definitions() {
        fs::write(folder.join(name), yaml)?;
    }
    Ok(())
}
