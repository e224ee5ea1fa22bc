//! HTTP/1.1, as much of it as the benchmark's own clients speak.

use anyhow::{Context, Result};

use crate::credentials::API_KEY;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A WebSocket; this is what its key has to be answered with.
    Upgrade { key: &'a str },
    /// That a tenant's members get what stands in the body.
    Publish { tenant: &'a str, body: &'a [u8] },
    /// The same, without the key for it.
    Unauthorized,
    /// Anything else.
    Unknown,
}

/// The first request in `bytes` and its length, once it is complete.
pub fn first(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>> {
    let Some(end) = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END) else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (request_line.next(), request_line.next().unwrap_or_default());
    let (mut length, mut key, mut authorized) = (0, None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().context("Content-Length")?;
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = Some(value);
        } else if name.eq_ignore_ascii_case("authorization") {
            authorized = value.strip_prefix("Bearer ") == Some(API_KEY);
        }
    }
    let start = end + HEAD_END.len();
    let Some(body) = bytes.get(start..start + length) else { return Ok(None) };
    let tenant = || path.strip_prefix("/v1/tenants/")?.strip_suffix("/events");
    let request = match (method, key, tenant()) {
        (Some("GET"), Some(key), _) => Request::Upgrade { key },
        (Some("POST"), _, Some(_)) if !authorized => Request::Unauthorized,
        (Some("POST"), _, Some(tenant)) => Request::Publish { tenant, body },
        _ => Request::Unknown,
    };
    Ok(Some((request, start + length)))
}

/// An answer without a body.
pub fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(key: &str, body: &str) -> String {
        let length = body.len();
        format!("POST /v1/tenants/bench/events HTTP/1.1\r\nauthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    #[test]
    fn a_request_is_taken_once_it_is_complete() {
        let text = publish(API_KEY, "{}");
        for end in 0..text.len() {
            assert_eq!(first(&text.as_bytes()[..end]).unwrap(), None, "{end}");
        }
        let two = format!("{text}{text}");
        assert_eq!(first(two.as_bytes()).unwrap(), Some((Request::Publish { tenant: "bench", body: b"{}" }, text.len())));
    }

    #[test]
    fn requests_are_told_apart() {
        let cases = [
            ("GET /socket.io/?EIO=4 HTTP/1.1\r\nSec-WebSocket-Key: abc=\r\n\r\n", Request::Upgrade { key: "abc=" }),
            (&publish("another", ""), Request::Unauthorized),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Request::Unknown),
        ];
        for (text, expected) in cases {
            assert_eq!(first(text.as_bytes()).unwrap().unwrap().0, expected, "{text}");
        }
    }
}
