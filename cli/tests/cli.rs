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
    for command in ["dev", "token", "validate"] {
        let output = carillon(&[command, "--help"]);
        assert!(output.status.success() && text(&output.stdout).contains("Usage: carillon"), "{command}");
    }
}
