//! Lines in columns, and colours where there is a terminal.

use std::io::{IsTerminal, stdout};

/// Longest text that is shown whole in a table, in characters.
const WIDTH_MAX: usize = 120;

/// Whether words of state are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colours,
}

impl Paint {
    /// Colours on a terminal, unless the user has said no: <https://no-color.org>.
    pub fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && stdout().is_terminal() { Self::Colours } else { Self::Plain }
    }

    fn word(self, text: &str, padded: String) -> String {
        let colour = match text {
            _ if self == Self::Plain => return padded,
            "SYNCED" | "OK" | "True" => "32",
            "STALE" | "NEVER" | "NEW" | "Unknown" => "33",
            "REJECTED" | "TROUBLED" | "False" => "31",
            _ => return padded,
        };
        format!("\x1b[{colour}m{padded}\x1b[0m")
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        if self == Self::Plain { text.to_owned() } else { format!("\x1b[1m{text}\x1b[0m") }
    }
}

/// `rows` below `header`, each column as wide as it must be. Columns without a heading are left out.
pub fn grid<const N: usize>(header: [&str; N], rows: &[[String; N]], paint: Paint) -> String {
    let mut widths = header.map(str::len);
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|text| harmless(text))).collect();
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate().filter(|(index, _)| !header[*index].is_empty()) {
            let last = cells[index + 1..].iter().all(|cell| cell.is_empty());
            let padded = if last { (*cell).to_owned() } else { format!("{cell:width$}") };
            text.push_str(&paint.word(cell, padded));
            if last {
                break;
            }
            text.push_str("  ");
        }
        text.push('\n');
    };
    line(header);
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// As it may stand on one line of a terminal: what comes from a cluster may hold anything.
pub fn harmless(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Cut to what is readable in a table.
pub fn shortened(text: &str) -> String {
    if text.chars().count() <= WIDTH_MAX {
        return text.to_owned();
    }
    text.chars().take(WIDTH_MAX - 1).chain(['…']).collect()
}

/// `45s`, `12m`, `3h`, `5d`: as kubectl tells ages.
pub fn age(seconds: Option<u64>) -> String {
    match seconds {
        None => String::new(),
        Some(seconds @ 0..=119) => format!("{seconds}s"),
        Some(seconds @ 120..=7199) => format!("{}m", seconds / 60),
        Some(seconds @ 7200..=172_799) => format!("{}h", seconds / 3600),
        Some(seconds) => format!("{}d", seconds / 86_400),
    }
}

/// `10,000`.
pub fn number(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_lines_end_with_their_text() {
        let rows =
            [["a".to_owned(), "SYNCED".to_owned(), String::new()], ["long\u{1b}[31mer".to_owned(), "STALE".to_owned(), "why".to_owned()]];
        let plain = grid(["NAME", "STATE", "WHY"], &rows, Paint::Plain);
        assert_eq!(plain, "NAME         STATE   WHY\na            SYNCED\nlong [31mer  STALE   why\n");
        let coloured = grid(["NAME", "STATE", "WHY"], &rows, Paint::Colours);
        assert!(coloured.contains("\x1b[32mSYNCED\x1b[0m\n") && coloured.contains("\x1b[33mSTALE \x1b[0m  why"), "{coloured:?}");
        assert_eq!(coloured.matches('\x1b').count(), 4, "none of the cluster's own");
    }

    #[test]
    fn numbers_and_ages_are_short() {
        assert_eq!([0, 999, 1000, 10_000, 1_234_567].map(number), ["0", "999", "1,000", "10,000", "1,234,567"]);
        assert_eq!([Some(0), Some(119), Some(120), Some(7200), Some(200_000), None].map(age), ["0s", "119s", "2m", "2h", "2d", ""]);
    }
}
