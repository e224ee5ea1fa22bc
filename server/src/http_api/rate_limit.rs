//! What is left of a rate, as headers: draft-ietf-httpapi-ratelimit-headers, version 10.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::quota::rates::Remaining;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The headers `RateLimit-Policy` and `RateLimit`.
#[derive(Debug)]
pub struct RateLimit {
    policy: String,
    limit: String,
}

impl RateLimit {
    /// The headers of the rate `name`: how many cells in how many seconds, how many of them are left on this pod, and in how many seconds
    /// all are there again.
    pub fn new(name: &'static str, remaining: &Remaining) -> Self {
        let Remaining { burst, window, cells, until_full } = *remaining;
        Self {
            policy: format!("\"{name}\";q={burst};w={}", whole_seconds(window).max(1)),
            limit: format!("\"{name}\";r={cells};t={}", whole_seconds(until_full)),
        }
    }

    /// Puts them into `headers`.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in [(POLICY, &self.policy), (LIMIT, &self.limit)] {
            headers.insert(name, HeaderValue::from_str(value).expect("a word and numbers are printable"));
        }
    }
}

/// Rounded up: who waits so long has waited long enough.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_items_of_structured_fields() {
        let remaining = Remaining { burst: 400, window: Duration::from_secs(2), cells: 399, until_full: Duration::from_millis(5) };
        let mut headers = HeaderMap::new();
        RateLimit::new("publish", &remaining).add_to(&mut headers);
        assert_eq!(headers["RateLimit-Policy"], "\"publish\";q=400;w=2");
        assert_eq!(headers["RateLimit"], "\"publish\";r=399;t=1");
    }
}
