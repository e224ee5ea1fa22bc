//! The known word that a misspelt one probably meant.

/// The word of `known` nearest to `word`, when it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distances = known.into_iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate));
    let (distance, candidate) = distances.min()?;
    // A third of the letters wrong is another word.
    (distance * 3 <= word.chars().count().max(3)).then_some(candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // What it takes from nothing, or to nothing, stands in the first row and column.
    let mut rows: Vec<Vec<usize>> = (0..=from.len()).map(|row| (row..=row + to.len()).collect()).collect();
    for row in 1..=from.len() {
        for column in 1..=to.len() {
            let replaced = rows[row - 1][column - 1] + usize::from(from[row - 1] != to[column - 1]);
            let mut least = replaced.min(rows[row - 1][column] + 1).min(rows[row][column - 1] + 1);
            if row > 1 && column > 1 && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1] {
                least = least.min(rows[row - 2][column - 2] + 1);
            }
            rows[row][column] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_what_was_probably_meant() {
        let known = ["connections", "maxPerUser", "kid", "algorithm", "issuer"];
        let table = [
            ("conections", Some("connections")),
            ("maxperuser", Some("maxPerUser")),
            ("max_per_user", Some("maxPerUser")),
            ("kdi", Some("kid")),
            ("algoritm", Some("algorithm")),
            ("isuer", Some("issuer")),
            ("password", None),
            ("x", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
