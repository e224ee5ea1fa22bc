//! `carillon validate`: what status would say, before anything is applied.

use std::{fmt::Write, path::PathBuf, process::ExitCode};

use crate::{
    manifests::{Manifests, Program, Severity, SourceFile, Sources},
    terminal,
};

/// Arguments of `carillon validate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files and folders of YAML
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Secrets, classes and namespaces that are not in these files are errors, too
    #[arg(long)]
    strict: bool,
}

/// Prints what was found; fails when there are errors.
pub fn run(arguments: &Arguments) -> ExitCode {
    let report = Report::of(&Sources::new(&arguments.paths).read(), arguments.strict);
    terminal::print(&report.text);
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Report {
    text: String,
    ok: bool,
}

impl Report {
    fn of(files: &[SourceFile], strict: bool) -> Self {
        let manifests = Manifests::read(files);
        let (documents, secrets, tenants) = (manifests.documents, manifests.secrets.len(), manifests.tenants.len());
        let classes = match manifests.classes.len() {
            0 => String::new(),
            1 => ", 1 class".to_owned(),
            count => format!(", {count} classes"),
        };
        let mut program = Program::compile(manifests);
        for finding in &mut program.findings {
            // A cluster may well have it.
            if finding.elsewhere && !strict {
                finding.severity = Severity::Warning;
                let message = finding.message.replace("does not exist in this namespace", "is not in these files");
                finding.message = message.replace("does not exist", "is not in these files");
            }
        }
        let mut text = String::new();
        for finding in &program.findings {
            writeln!(text, "{finding}").expect("writing to a string can't fail");
        }
        let (errors, warnings) = (program.count(Severity::Error), program.count(Severity::Warning));
        let ok = errors == 0;
        let verdict = if ok { "ok".to_owned() } else { counted(errors, "error") };
        let warned = if warnings == 0 { String::new() } else { format!(", {}", counted(warnings, "warning")) };
        let (files, documents) = (counted(files.len(), "file"), counted(documents, "document"));
        let (tenants, secrets) = (counted(tenants, "tenant"), counted(secrets, "Secret"));
        writeln!(text, "{verdict}{warned}: {files}, {documents}, {tenants}, {secrets}{classes}").expect("writing to a string can't fail");
        Self { text, ok }
    }
}

/// `1 file`, `2 files`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Files of `golden/validate` that are checked together, and the name of what should be said about them.
    const CASES: [(&[&str], bool, &str); 12] = [
        (&["good.yaml"], true, "good.txt"),
        (&["jwks.yaml"], true, "jwks.txt"),
        (&["fields.yaml"], false, "fields.txt"),
        (&["secrets.yaml"], false, "secrets.txt"),
        (&["good.yaml", "conflict.yaml"], false, "conflict.txt"),
        (&["warning.yaml"], false, "warning.txt"),
        (&["warning.yaml"], true, "warning-strict.txt"),
        (&["revocation.yaml"], false, "revocation.txt"),
        (&["classes.yaml"], false, "classes.txt"),
        (&["selfservice.yaml"], false, "selfservice.txt"),
        (&["class-elsewhere.yaml"], false, "class-elsewhere.txt"),
        (&["class-elsewhere.yaml"], true, "class-elsewhere-strict.txt"),
    ];

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/validate")
    }

    fn report(names: &[&str], strict: bool) -> Report {
        let read =
            |name: &&str| SourceFile { name: (*name).into(), text: fs::read_to_string(folder().join(name)).map_err(|e| e.to_string()) };
        Report::of(&names.iter().map(read).collect::<Vec<_>>(), strict)
    }

    /// `UPDATE_GOLDEN=1 cargo test -p carillon-cli` rewrites the files.
    #[test]
    fn says_what_the_golden_files_say() {
        for (names, strict, golden) in CASES {
            let path = folder().join(golden);
            let found = report(names, strict).text;
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &found).unwrap();
            }
            assert_eq!(found, fs::read_to_string(&path).unwrap_or_default(), "{golden}");
        }
    }

    #[test]
    fn only_errors_fail() {
        assert!(report(&["good.yaml"], true).ok);
        assert!(report(&["warning.yaml"], false).ok);
        assert!(!report(&["warning.yaml"], true).ok);
        assert!(!report(&["fields.yaml"], false).ok);
    }

    #[test]
    fn the_examples_are_sound() {
        let report = Report::of(&Sources::new(&[]).read(), true);
        assert!(report.ok, "{}", report.text);
    }
}
