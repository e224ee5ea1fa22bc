//! Documents that hold what was measured, between two lines that say so.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// The line before such a part and the line after it.
pub type Marks = [&'static str; 2];

/// Puts these texts in place of what stands between their marks.
pub fn rewrite(file: &Path, parts: &[(Marks, String)]) -> Result<()> {
    let mut document = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    for (marks, text) in parts {
        document = replaced(&document, *marks, text).with_context(|| format!("{} has no lines {marks:?}", file.display()))?;
    }
    fs::write(file, document).with_context(|| format!("write {}", file.display()))
}

fn replaced(document: &str, marks: Marks, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(marks[0])?;
    let (_, after) = rest.split_once(marks[1])?;
    Some(format!("{before}{}\n\n{}\n\n{}{after}", marks[0], text.trim_end(), marks[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_all_but_its_part() {
        let marks @ [begin, end] = ["<!-- begin -->", "<!-- end -->"];
        let document = format!("before\n{begin}\nold\n{end}\nafter\n");
        let once = replaced(&document, marks, "| new |\n").unwrap();
        assert_eq!(once, format!("before\n{begin}\n\n| new |\n\n{end}\nafter\n"));
        assert_eq!(replaced(&once, marks, "| new |\n"), Some(once));
        assert_eq!(replaced("none", marks, ""), None);
    }
}
