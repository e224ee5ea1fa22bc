//! What the crowd's process is told, and what it answers, a line each.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Close all connections, and open them again.
    Reconnect,
    /// Publish for so long.
    Broadcast(Duration),
}

impl Order {
    pub(super) fn to_line(self) -> String {
        match self {
            Self::Reconnect => "reconnect\n".to_owned(),
            Self::Broadcast(duration) => format!("broadcast {}\n", duration.as_millis()),
        }
    }

    pub(super) fn from_line(line: &str) -> Option<Self> {
        match line.trim().split_once(' ') {
            None if line.trim() == "reconnect" => Some(Self::Reconnect),
            Some(("broadcast", milliseconds)) => Some(Self::Broadcast(Duration::from_millis(milliseconds.parse().ok()?))),
            _ => None,
        }
    }
}

/// What tells how it went.
pub(super) fn outcome_line(outcome: &Result<f64>) -> String {
    match outcome {
        Ok(value) => format!("{value}\n"),
        Err(problem) => format!("failed: {}\n", format!("{problem:#}").replace('\n', " ")),
    }
}

/// The same, back again.
pub(super) fn outcome_of(line: &str) -> Result<f64> {
    match line.trim().strip_prefix("failed: ") {
        Some(problem) => bail!("{problem}"),
        None => line.trim().parse().context("it has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_what_they_were_made_from() {
        for order in [Order::Reconnect, Order::Broadcast(Duration::from_millis(1500))] {
            assert_eq!(Order::from_line(&order.to_line()), Some(order));
        }
        assert_eq!(Order::from_line("rest"), None);
        assert_eq!(outcome_of(&outcome_line(&Ok(1.5))).unwrap(), 1.5);
        let failed = outcome_of(&outcome_line(&Err(anyhow::anyhow!("two\nlines")))).unwrap_err();
        assert_eq!(failed.to_string(), "two lines");
        assert!(outcome_of("").is_err());
    }
}
