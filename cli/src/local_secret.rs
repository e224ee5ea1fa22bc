//! A secret of the user on this machine, from which keys are derived that stand in for generated ones: so `carillon dev` and `carillon token` have
//! the same, and nobody else can guess them.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The secret, made when there is none.
///
/// # Errors
///
/// Says why there can be none.
pub fn of_this_user() -> Result<[u8; 32], String> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    let folder = state.ok_or("neither XDG_STATE_HOME nor HOME says where to keep them")?.join("carillon");
    read_or_make(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn read_or_make(folder: &Path) -> io::Result<[u8; 32]> {
    let path = folder.join("local-keys");
    match fs::read(&path) {
        Ok(bytes) => return bytes.try_into().map_err(|_| io::Error::other("local-keys is damaged: delete it")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Whole or not at all, and the first of several who do this at once is the one that counts.
    let draft = folder.join(format!(".local-keys-{:016x}", rand::random::<u64>()));
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
        file.write_all(&rand::random::<[u8; 32]>())?;
        match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    fs::remove_file(&draft).ok();
    written?;
    fs::read(&path)?.try_into().map_err(|_| io::Error::other("local-keys is damaged: delete it"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_for_its_user_alone() {
        let folder = env::temp_dir().join(format!("carillon-secret-{:016x}", rand::random::<u64>()));
        let first = read_or_make(&folder).unwrap();
        assert_eq!(read_or_make(&folder).unwrap(), first);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.clone()), mode(folder.join("local-keys"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::write(folder.join("local-keys"), "short").unwrap();
        assert!(read_or_make(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
