//! Durations as people write them.

use std::time::Duration;

/// Reads `90`, `90s`, `15m`, `1h`, `7d` or a sum such as `1h30m`.
///
/// # Errors
///
/// Says what a duration looks like when `text` is none.
pub fn parse(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is no duration: write seconds, or a number with s, m, h or d, as in 90s, 15m, 1h30m, 7d");
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        let unit = rest[digits..].chars().next();
        let unit_seconds = match unit {
            None if digits == text.len() => 1,
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            _ => return Err(error()),
        };
        seconds = number.checked_mul(unit_seconds).and_then(|part| seconds.checked_add(part)).ok_or_else(error)?;
        rest = &rest[digits + unit.map_or(0, char::len_utf8)..];
    }
    // A hundred years are enough for a token, and keep sums far from overflow.
    if (1..=3_155_760_000).contains(&seconds) { Ok(Duration::from_secs(seconds)) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("1h30m", 5400)] {
            assert_eq!(parse(text).map(|duration| duration.as_secs()), Ok(seconds), "{text}");
        }
        for bad in ["", "0", "h", "1 h", "-1h", "1h30", "1.5h", "1w", "99999999999999999999s", "9999999999d"] {
            assert!(parse(bad).is_err_and(|error| error.contains("1h30m")), "{bad}");
        }
    }
}
