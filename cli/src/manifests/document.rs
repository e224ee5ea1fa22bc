//! YAML documents as JSON values that remember where each field stands.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// The whole document, untyped: `kid: 2026` is a number here, as it is to the API server.
    pub value: Value,
    /// The line of each field, by its path.
    lines: BTreeMap<String, u32>,
}

/// A document that is no YAML.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where reading stopped.
    pub line: u32,
    /// What was found there.
    pub message: String,
}

impl Document {
    /// The line of `field`, or of the nearest field around it that is there.
    pub fn line_of(&self, field: &str) -> u32 {
        let mut path = field;
        loop {
            match (self.lines.get(path), path.rfind(['.', '['])) {
                (Some(line), _) => return *line,
                (None, Some(end)) => path = &path[..end],
                (None, None) => return self.lines.get("").copied().unwrap_or(1),
            }
        }
    }

    /// The text at `pointer` (RFC 6901).
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }
}

/// Reads every document of `text`. Empty ones are skipped, and one that can't be read doesn't hide the others.
pub fn read(text: &str) -> Vec<Result<Document, SyntaxError>> {
    split(text).into_iter().filter_map(|(offset, part)| read_one(offset, &part).transpose()).collect()
}

fn read_one(offset: u32, text: &str) -> Result<Option<Document>, SyntaxError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let root: Option<Spanned<Node>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| u32::try_from(location.line()).unwrap_or(1));
        let message = error.to_string();
        // The place is told apart from the message here.
        let message = message.split(" at line ").next().unwrap_or_default().trim_end_matches(':').to_owned();
        SyntaxError { line: offset + line, message }
    })?;
    let Some(root) = root else { return Ok(None) };
    let mut lines = BTreeMap::new();
    let first = text.lines().position(|line| !matches!(line.trim(), "" | "---") && !line.trim_start().starts_with('#')).unwrap_or(0);
    lines.insert(String::new(), offset + 1 + u32::try_from(first).unwrap_or(0));
    let value = root.value.place(String::new(), offset, &mut lines);
    Ok((!value.is_null()).then_some(Document { value, lines }))
}

/// Documents with the number of lines before each, split as `kubectl` splits them: at lines that begin with `---`.
fn split(text: &str) -> Vec<(u32, String)> {
    let mut parts = vec![(0, String::new())];
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let separates = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separates {
            parts.push((number, String::new()));
        }
        if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
        }
    }
    parts
}

/// A YAML node, before it is taken apart into value and lines.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Node {
    fn place(self, path: String, offset: u32, lines: &mut BTreeMap<String, u32>) -> Value {
        let line = |location: serde_saphyr::Location| offset + u32::try_from(location.line()).unwrap_or(1);
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let place = |(index, item): (usize, Spanned<Self>)| {
                    let path = format!("{path}[{index}]");
                    lines.insert(path.clone(), line(item.referenced));
                    item.value.place(path, offset, lines)
                };
                Value::Array(items.into_iter().enumerate().map(place).collect())
            }
            Self::Map(fields) => {
                let place = |(key, field): (Spanned<String>, Spanned<Self>)| {
                    let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                    lines.insert(path.clone(), line(key.referenced));
                    let value = field.value.place(path, offset, lines);
                    (key.value, value)
                };
                Value::Object(fields.into_iter().map(place).collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a YAML value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Node::Map(fields))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_types_and_lines() {
        let text = "# about\na: 1\nb:\n  c: ['x', 7, true, null, 1.5]\n  d:\n    - {e: \"7\"}\n    - e: 8\n      f: |\n        ---\n";
        let documents = read(text);
        let document = documents[0].as_ref().unwrap();
        assert_eq!(document.value, json!({"a": 1, "b": {"c": ["x", 7, true, null, 1.5], "d": [{"e": "7"}, {"e": 8, "f": "---\n"}]}}));
        let table = [("", 2), ("a", 2), ("b", 3), ("b.c[1]", 4), ("b.d", 5), ("b.d[0].e", 6), ("b.d[1].f", 8), ("b.d[1].missing.x", 7)];
        for (field, line) in table {
            assert_eq!(document.line_of(field), line, "{field}");
        }
    }

    #[test]
    fn reads_every_document_and_counts_lines_through() {
        let documents = read("---\n---\n# nothing\n---\na: 1\n---\nb: [1\n--- {c: 1}\n---\r\nd: 1\n");
        let seen: Vec<_> =
            documents.iter().map(|document| document.as_ref().map(|document| document.line_of("")).map_err(|e| e.line)).collect();
        assert_eq!(seen.len(), 4, "{documents:?}");
        assert_eq!(seen[0], Ok(5));
        assert!(seen[1].is_err_and(|line| (6..=8).contains(&line)), "{seen:?}");
        assert_eq!(seen[2..], [Ok(8), Ok(10)]);
    }

    #[test]
    fn says_what_is_no_yaml() {
        for (text, line) in [("a: 1\na: 2\n", 2), ("a: [1\n", 1), ("a: 1\n b: 2\n", 2)] {
            let error = read(text).remove(0).unwrap_err();
            assert!(!error.message.is_empty() && !error.message.contains('\n'), "{text:?}: {error:?}");
            assert!(error.line >= line && error.line <= line + 1, "{text:?}: {error:?}");
        }
    }
}
