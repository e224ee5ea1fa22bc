//! Blocks by size.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write};

use serde_json::Value;

/// Files of those who ask for memory for others.
const CARRIERS: [&str; 8] = ["dhat-", "src/audit/", "alloc/src/", "core/src/", "src/raw_vec/", "src/vec/", "src/raw/", "bytes-"];
/// Names with all their parameters go on and on.
const ORIGIN_LENGTH: usize = 110;
/// Blocks that fewer connections than this share of all have are not a connection's own.
const RARE: f64 = 0.05;

/// The blocks that live.
#[derive(Debug, Default)]
pub struct Histogram {
    sizes: BTreeMap<u64, Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    count: u64,
    /// How many of them each of those has who asked for them.
    origins: BTreeMap<String, u64>,
}

impl Histogram {
    /// Reads what dhat wrote; `None` when it is something else.
    pub fn read(profile: &Value) -> Option<Self> {
        let frames: Vec<_> = profile["ftbl"].as_array()?.iter().map(|frame| frame.as_str().unwrap_or_default()).collect();
        let mut histogram = Self::default();
        for point in profile["pps"].as_array()? {
            let (bytes, count) = (point["eb"].as_u64()?, point["ebk"].as_u64()?);
            if count == 0 {
                continue;
            }
            let stack = point["fs"].as_array()?.iter().filter_map(|place| frames.get(usize::try_from(place.as_u64()?).ok()?).copied());
            // One place asks for one size nearly always; where it does not, this is the mean.
            let blocks = histogram.sizes.entry(bytes / count).or_default();
            blocks.count += count;
            *blocks.origins.entry(origin(stack)).or_default() += count;
        }
        Some(histogram)
    }

    /// The table: sizes by what they add up to, and what is left.
    pub fn markdown(&self, connections: usize) -> String {
        let each = |value: u64| value as f64 / connections as f64;
        let mut sizes: Vec<_> = self.sizes.iter().filter(|(_, blocks)| each(blocks.count) >= RARE).collect();
        sizes.sort_by_key(|(size, blocks)| Reverse(*size * blocks.count));
        let mut text = String::from("| bytes | blocks per connection | bytes per connection | mostly of |\n|--:|--:|--:|---|\n");
        let mut listed = 0;
        for (size, blocks) in sizes {
            let origin = blocks.origins.iter().max_by_key(|(_, count)| **count).map_or("", |(origin, _)| origin);
            listed += size * blocks.count;
            // Writing into a string does not fail.
            let _ = writeln!(text, "| {size} | {:.2} | {:.0} | `{origin}` |", each(blocks.count), each(size * blocks.count));
        }
        let all: u64 = self.sizes.iter().map(|(size, blocks)| size * blocks.count).sum();
        let _ = writeln!(text, "| others | | {:.0} | tables of all connections, for the most part |", each(all - listed));
        let _ = writeln!(text, "| all | | {:.0} | |", each(all));
        text
    }
}

/// What a stack's block is for: what is boxed in it, or else the innermost frame that does not ask for others. Frames read as
/// `0x1234: name<Parameters> (file:line:column)`.
fn origin<'a>(stack: impl Iterator<Item = &'a str>) -> String {
    let frames = stack.filter_map(|frame| frame.split_once(": ")?.1.strip_suffix(')')?.rsplit_once(" ("));
    let found = frames.filter_map(|(name, file)| match name.strip_prefix("new<").and_then(|rest| rest.strip_suffix('>')) {
        Some(boxed) if file.starts_with("alloc/src/boxed.rs") => Some(boxed.to_owned()),
        _ if CARRIERS.iter().any(|carrier| file.starts_with(carrier)) => None,
        _ => Some(format!("{name} ({file})")),
    });
    match found.into_iter().next() {
        Some(origin) if origin.chars().count() > ORIGIN_LENGTH => origin.chars().take(ORIGIN_LENGTH).chain(['…']).collect(),
        Some(origin) => origin,
        None => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_that_live_are_told_by_size() {
        let profile = json!({
            "ftbl": [
                "[root]",
                "0x1: with_capacity<u8> (src/vec/mod.rs:1:2)",
                "0x2: open<Client> (engine-1.0.0/src/socket.rs:3:4)",
                "0x3: new<alloc::sync::ArcInner<engine::Socket>> (alloc/src/boxed.rs:5:6)",
            ],
            "pps": [
                {"eb": 5408, "ebk": 1, "fs": [1, 2]},
                {"eb": 2000, "ebk": 4, "fs": [1, 2]},
                {"eb": 1000, "ebk": 2, "fs": [1, 3, 2]},
                {"eb": 0, "ebk": 0, "fs": [3]},
            ],
        });
        let text = Histogram::read(&profile).unwrap().markdown(2);
        let open = "`open<Client> (engine-1.0.0/src/socket.rs:3:4)`";
        let expected = format!("| 5408 | 0.50 | 2704 | {open} |\n| 500 | 3.00 | 1500 | {open} |\n");
        assert!(text.contains(&expected), "{text}");
        let boxed = json!({"ftbl": profile["ftbl"], "pps": [profile["pps"][2]]});
        assert!(Histogram::read(&boxed).unwrap().markdown(2).contains("`alloc::sync::ArcInner<engine::Socket>`"));
        assert!(text.ends_with("| all | | 4204 | |\n"), "{text}");
        assert!(Histogram::read(&json!({})).is_none());
    }
}
