//! The program itself, as a person runs it.

use std::process::{Command, Output};

fn carillon(arguments: &[&str]) -> Output {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/examples");
    Command::new(env!("CARGO_BIN_EXE_carillon")).args(arguments).current_dir(examples).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

#[test]
fn the_examples_are_valid() {
    let output = carillon(&["validate", "."]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_mistake_is_named_and_fails() {
    let file = std::env::temp_dir().join(format!("carillon-validate-{}.yaml", std::process::id()));
    let example = include_str!("../../crds/examples/globex.yaml");
    std::fs::write(&file, example.replace("algorithm: HS256", "algorithm: HS265")).unwrap();
    let output = carillon(&["validate", file.to_str().unwrap()]);
    std::fs::remove_file(&file).ok();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("spec.auth.jwt.keys[0].algorithm") && said.contains("HS256"), "{said}");
}

#[test]
fn a_token_is_three_parts_on_one_line_and_nothing_else() {
    let output = carillon(&["token", "--tenant", "acme", "--user", "7"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(said.trim_end().split('.').count(), 3, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_unknown_tenant_is_told_which_there_are() {
    let output = carillon(&["token", "--tenant", "nobody", "--user", "7"]);
    let said = text(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("acme") && said.contains("globex"), "{said}");
}

#[test]
fn every_command_explains_itself() {
    for command in ["dev", "token", "validate", "status"] {
        let output = carillon(&[command, "--help"]);
        assert!(output.status.success() && text(&output.stdout).contains("Usage: carillon"), "{command}");
    }
}

#[test]
fn as_a_plugin_of_kubectl_it_says_so() {
    let folder = std::env::temp_dir().join(format!("carillon-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let plugin = folder.join("kubectl-carillon");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_carillon"), &plugin).unwrap();
    let said = |arguments: &[&str]| text(&Command::new(&plugin).args(arguments).output().expect("the program starts").stdout);
    let (all, status) = (said(&["--help"]), said(&["status", "--help"]));
    std::fs::remove_dir_all(&folder).ok();
    assert!(all.contains("Usage: kubectl carillon <COMMAND>"), "{all}");
    assert!(
        status.contains("Usage: kubectl carillon status [OPTIONS]") && status.contains("  kubectl carillon status team-acme/acme"),
        "{status}"
    );
    assert!(!status.contains("  carillon status"), "{status}");
}

#[test]
fn without_a_cluster_status_says_what_is_missing() {
    let missing = carillon(&["status", "--kubeconfig", "/nowhere/config"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("--kubeconfig /nowhere/config"), "{}", text(&missing.stderr));
    let wrong = carillon(&["status", "--state", "good"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("rejected"), "{}", text(&wrong.stderr));
}
