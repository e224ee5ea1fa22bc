//! The program itself, as a cluster runs it.

use std::process::{Command, Output};

fn operator(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon-operator"));
    command.env_clear().args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

#[test]
fn every_option_can_be_given_in_the_environment() {
    let output = operator(&["--help"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let options: Vec<_> = said.split("\n      --").skip(1).collect();
    assert!(options.len() > 10, "{said}");
    for option in options {
        assert!(option.contains("[env: CARILLON_"), "--{option}");
    }
}

#[test]
fn what_it_must_be_told_and_is_not_is_named() {
    let output = operator(&[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--namespace"), "{said}");
    let output = operator(&["--namespace", "carillon", "--status-listen", "everywhere"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--status-listen") && said.contains("everywhere"), "{said}");
}
