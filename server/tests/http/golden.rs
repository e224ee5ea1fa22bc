//! Files that say how things are. `UPDATE_GOLDEN=1 cargo test -p carillon-server` rewrites them.

use std::{env, fs, path::Path};

/// Holds `found` to the golden file `name`.
pub fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    for (golden, found) in golden.lines().zip(found.lines()) {
        assert_eq!(golden, found, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
    }
    assert_eq!(golden.lines().count(), found.lines().count(), "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}
