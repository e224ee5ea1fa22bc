//! What is written to standard error: one line per event, as text or as JSON.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object per line, for machines
    #[default]
    Json,
    /// Plain lines, for people; coloured on a terminal
    Text,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter can't be read.
    #[error("the log filter {filter:?} can't be read: write a level, as in info, or levels by module, as in info,carillon_server=debug")]
    Filter {
        /// What was given.
        filter: String,
    },
    /// Somebody else has done it.
    #[error("logging was set up before")]
    Twice,
}

/// Logs from here on what `filter` lets through: a level, or levels by module.
///
/// # Errors
///
/// [`LoggingError`] when the filter can't be read, or logging was set up before.
pub fn init(format: Format, filter: &str) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder().parse(filter).map_err(|_| LoggingError::Filter { filter: filter.to_owned() })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = match format {
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    set.map_err(|_| LoggingError::Twice)
}
