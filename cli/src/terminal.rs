//! What people read on standard output and standard error.

use std::io::{self, Write};

/// Writes to standard output. A reader that has gone, as in `carillon validate . | head -1`, is no failure.
pub fn print(text: &str) {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).ok();
}

/// Says on standard error what is worth knowing besides.
pub fn print_note(note: &str) {
    writeln!(io::stderr(), "note: {note}").ok();
}

/// Says on standard error what ended the command.
pub fn print_error(error: &anyhow::Error) {
    writeln!(io::stderr(), "error: {error:#}").ok();
}
