//! How long an answer may be taken for fresh (RFC 9111), as far as that matters here.

use std::time::Duration;

use hyper::{
    HeaderMap,
    header::{AGE, CACHE_CONTROL},
};

/// How much longer the answer is fresh; `None` when it doesn't say, or says that it never is: then the tenant's own interval counts.
pub fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut seconds = None;
    for directive in headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return None,
            "max-age" => seconds = value.trim().trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    // What a cache on the way should have renewed already says nothing.
    seconds?.checked_sub(age).filter(|left| *left > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_caches_are_told() {
        let cases = [
            ("max-age=120", None, Some(120)),
            ("public, Max-Age=120, must-revalidate", None, Some(120)),
            ("public, max-age=\"60\"", None, Some(60)),
            ("max-age=120", Some("100"), Some(20)),
            ("max-age=120", Some("120"), None),
            ("max-age=120, no-cache", None, None),
            ("no-store", None, None),
            ("max-age=0", None, None),
            ("max-age=-1", None, None),
            ("max-age=x", None, None),
            ("s-maxage=9", None, None),
            ("", None, None),
        ];
        for (control, age, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, control.parse().unwrap());
            if let Some(age) = age {
                headers.insert(AGE, age.parse().unwrap());
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{control}");
        }
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
