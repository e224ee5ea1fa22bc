//! Holds the table of conditions in the documentation against the code: users look up there what a reason means.

use std::{collections::BTreeSet, path::Path};

/// Every condition type and reason, as the code spells them.
fn words() -> BTreeSet<&'static str> {
    let code = include_str!("../src/conditions.rs");
    let arms = code.lines().filter(|line| line.trim_start().starts_with("Self::"));
    arms.filter_map(|line| line.split('"').nth(1)).collect()
}

#[test]
fn every_condition_and_reason_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tenants.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let section =
        docs.split("\n## ").find(|section| section.starts_with("Conditions\n")).expect("docs/tenants.md has a section Conditions");
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells: BTreeSet<_> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let words = words();
    assert!(words.len() > 30 && words.contains("QuotaSaturated"), "{words:?}");
    let missing: Vec<_> = words.iter().filter(|word| !cells.contains(*word)).collect();
    assert!(missing.is_empty(), "docs/tenants.md, section Conditions, lacks {missing:?}");
}
