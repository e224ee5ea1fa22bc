//! What servers count, read as Prometheus reads it.

/// The sum of the samples of a metric that carry given labels, as in `carillon_rooms{tenant="acme"}`; 0 when there are none. Labels that
/// are not given may have any value.
pub fn sum(text: &str, sample: &str) -> f64 {
    let (name, labels) = split(sample);
    let matching = text.lines().filter_map(|line| {
        let (series, value) = value_of(line)?;
        let (other, carried) = split(series);
        let matches = other == name && labels_of(labels).all(|label| labels_of(carried).any(|other| other == label));
        matches.then_some(value)
    });
    matching.sum()
}

/// A line's series and its value.
fn value_of(line: &str) -> Option<(&str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    Some((series, value.parse().ok()?))
}

/// A series' name, and what stands in its braces.
fn split(series: &str) -> (&str, &str) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    (name, labels.trim_end_matches('}'))
}

/// Our labels' values hold no commas.
fn labels_of(labels: &str) -> impl Iterator<Item = &str> {
    labels.split(',').filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_samples_with_the_labels_given() {
        let text = "# TYPE a counter\na_total{tenant=\"x\",code=\"c\",enforced=\"true\"} 2\na_total{tenant=\"x\",code=\"c\",enforced=\"false\"} 3\n\
                    a_total{tenant=\"y\",code=\"c\",enforced=\"true\"} 5\nb 7.5\n# EOF";
        assert_eq!(sum(text, r#"a_total{tenant="x",code="c"}"#), 5.0);
        assert_eq!(sum(text, r#"a_total{enforced="true"}"#), 7.0);
        assert_eq!(sum(text, r#"a_total{tenant="x",code="other"}"#), 0.0);
        assert_eq!(sum(text, "b"), 7.5);
    }
}
