//! What there is to say about a file: where, about which object, and what helps.

use std::{fmt, sync::Arc};

use carillon_crds::Reason;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can't be used.
    Error,
    /// It can be, if something else is there.
    Warning,
    /// Good to know.
    Note,
}

/// An object's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// As in `RealtimeTenant`.
    pub kind: Arc<str>,
    /// `default` when the file names none.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the files it is: what is found is told in their order.
    pub order: usize,
    /// The file's name.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// About which object; `None` when a document could not be read.
    pub object: Option<ObjectName>,
    /// The reason that status would show.
    pub reason: Reason,
    /// Which field; empty for all of the document.
    pub field: String,
    /// What is wrong and what helps.
    pub message: String,
    /// True when what is missed may well be in the cluster, if not in these files.
    pub elsewhere: bool,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, object, field, message, severity, .. } = self;
        write!(formatter, "{place}")?;
        if let Some(object) = object {
            write!(formatter, " {object}")?;
        }
        formatter.write_str(": ")?;
        match severity {
            Severity::Error => {}
            Severity::Warning => formatter.write_str("warning: ")?,
            Severity::Note => formatter.write_str("note: ")?,
        }
        if field.is_empty() { formatter.write_str(message) } else { write!(formatter, "{field}: {message}") }
    }
}
