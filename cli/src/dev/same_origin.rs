//! Who may use the playground's own endpoints: the playground page, in a browser on this machine.
//!
//! They hand out tokens, so a page of another site must not reach them, neither across origins (the `Origin` header tells) nor by
//! pointing a name of its own to this address (the `Host` header tells: such a name is neither `localhost` nor an address).

use axum::http::{HeaderMap, header};

/// True when a request with these headers comes from a page of this very server.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let Some(host) = text(header::HOST).filter(|host| is_own_name(host)) else { return false };
    match (text(header::ORIGIN), text(header::HeaderName::from_static("sec-fetch-site"))) {
        (_, Some(site)) if site != "same-origin" => false,
        (Some(origin), _) => origin.split_once("://").is_some_and(|(_, of_page)| of_page.eq_ignore_ascii_case(host)),
        // Browsers send no Origin with a GET of their own origin.
        (None, site) => site.is_some(),
    }
}

/// True for `localhost`, names under it, and addresses: names that no other site can own.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.split_once(']').is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn lets_only_its_own_page_in() {
        let table = [
            ("127.0.0.1:3000", Some("http://127.0.0.1:3000"), Some("same-origin"), true),
            ("localhost:3000", Some("http://localhost:3000"), None, true),
            ("app.localhost:3000", Some("http://app.localhost:3000"), None, true),
            ("[::1]:3000", Some("http://[::1]:3000"), None, true),
            ("localhost:3000", None, Some("same-origin"), true),
            ("localhost:3000", None, None, false),
            ("localhost:3000", None, Some("none"), false),
            ("localhost:3000", None, Some("cross-site"), false),
            ("localhost:3000", Some("https://evil.example"), None, false),
            ("localhost:3000", Some("http://localhost:3001"), Some("same-site"), false),
            ("localhost:3000", Some("null"), None, false),
            ("evil.example:3000", Some("http://evil.example:3000"), Some("same-origin"), false),
            ("localhost.evil.example", Some("http://localhost.evil.example"), Some("same-origin"), false),
        ];
        for (host, origin, site, expected) in table {
            let mut headers = HeaderMap::new();
            let mut set = |name, value: Option<&'static str>| value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
            set(header::HOST, Some(host));
            set(header::ORIGIN, origin);
            set(header::HeaderName::from_static("sec-fetch-site"), site);
            assert_eq!(is_same_origin(&headers), expected, "{host} {origin:?} {site:?}");
        }
    }
}
