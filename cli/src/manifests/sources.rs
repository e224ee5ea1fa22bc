//! Where the files come from.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The project's own examples: the binary works anywhere.
const EXAMPLES: [(&str, &str); 4] = [
    ("examples/acme.yaml", include_str!("../../../crds/examples/acme.yaml")),
    ("examples/globex.yaml", include_str!("../../../crds/examples/globex.yaml")),
    ("examples/initech.yaml", include_str!("../../../crds/examples/initech.yaml")),
    ("examples/standard.yaml", include_str!("../../../crds/examples/standard.yaml")),
];
/// Ends of the names of files that are read from a folder, as `kubectl apply -f` does.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Files and folders, or the examples that are built in.
#[derive(Clone, Debug)]
pub struct Sources {
    paths: Vec<PathBuf>,
}

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name for people.
    pub name: Arc<str>,
    /// Its text, or why it could not be read.
    pub text: Result<String, String>,
}

impl Sources {
    /// `paths`, or the examples when there are none.
    pub fn new(paths: &[PathBuf]) -> Self {
        Self { paths: paths.to_vec() }
    }

    /// True for the examples that are built in.
    pub fn are_examples(&self) -> bool {
        self.paths.is_empty()
    }

    /// The files and folders.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// What they are, for people.
    pub fn describe(&self) -> String {
        if self.are_examples() {
            return "the examples that are built in".to_owned();
        }
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Reads all of them now: paths in the order given, the files of a folder in the order of their names.
    pub fn read(&self) -> Vec<SourceFile> {
        if self.are_examples() {
            return EXAMPLES.map(|(name, text)| SourceFile { name: name.into(), text: Ok(text.to_owned()) }).into();
        }
        self.paths.iter().flat_map(|path| read_path(path)).collect()
    }
}

fn read_path(path: &Path) -> Vec<SourceFile> {
    let failed = |error: io::Error| vec![SourceFile { name: path.display().to_string().into(), text: Err(error.to_string()) }];
    if !path.is_dir() {
        return vec![read_file(path)];
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return failed(error),
    };
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|file| is_manifest(file)).collect();
    files.sort();
    files.iter().map(|file| read_file(file)).collect()
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.is_file() && path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

fn read_file(path: &Path) -> SourceFile {
    SourceFile { name: path.display().to_string().into(), text: fs::read_to_string(path).map_err(|error| error.to_string()) }
}
