//! Markdown, and the figures in it.

/// A table, if there are lines for it.
pub fn table(header: &[String], lines: Vec<Vec<String>>) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let rule = format!("|---|{}\n", "--:|".repeat(header.len() - 1));
    let lines: String = lines.iter().map(|cells| row(cells)).collect();
    Some(row(header) + &rule + &lines)
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The middle one of sorted values; of two, their mean.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The median, and the lowest and the highest.
pub fn spread(sorted: &[f64]) -> String {
    match (median(sorted), sorted) {
        (Some(median), [lowest, .., highest]) => format!("**{}** ({}–{})", figure(median), figure(*lowest), figure(*highest)),
        (Some(median), _) => format!("**{}**", figure(median)),
        (None, _) => "–".to_owned(),
    }
}

/// Three significant digits.
pub fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_two_is_their_mean() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
    }
}
