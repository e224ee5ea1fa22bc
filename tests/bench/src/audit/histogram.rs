//! Blocks by size.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write};

use serde_json::Value;

/// Frames of those who ask for memory for others.
const CARRIERS: [&str; 8] = ["alloc::", "core::", "std::", "dhat::", "hashbrown::", "[root]", "__rust", "tokio::util"];
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

/// The innermost frame of a stack that is not there for others. Frames read as `0x1234: path::to::function (file:line:column)`.
fn origin<'a>(stack: impl Iterator<Item = &'a str>) -> String {
    let name = |frame: &'a str| {
        let name = frame.split_once(": ").map_or(frame, |(_, name)| name);
        name.rsplit_once(" (").map_or(name, |(name, _)| name)
    };
    let carries = |name: &str| CARRIERS.iter().any(|carrier| name.trim_start_matches('<').starts_with(carrier));
    let mut names = stack.map(name);
    names.find(|name| !carries(name)).unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_that_live_are_told_by_size() {
        let profile = json!({
            "ftbl": ["[root]", "0x1: alloc::vec::Vec<T>::push (vec.rs:1:2)", "0x2: engine::socket::open (socket.rs:3:4)", "0x3: table::grow (t.rs:5:6)"],
            "pps": [
                {"eb": 5408, "ebk": 1, "fs": [1, 2]},
                {"eb": 2000, "ebk": 4, "fs": [1, 2]},
                {"eb": 1000, "ebk": 2, "fs": [3]},
                {"eb": 0, "ebk": 0, "fs": [3]},
            ],
        });
        let text = Histogram::read(&profile).unwrap().markdown(2);
        let expected = "| 5408 | 0.50 | 2704 | `engine::socket::open` |\n| 500 | 3.00 | 1500 | `engine::socket::open` |\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.ends_with("| all | | 4204 | |\n"), "{text}");
        assert!(Histogram::read(&json!({})).is_none());
    }
}
