//! Origins browsers may come from (RFC 6454).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One allowed origin: exact, or any subdomain of a host.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern {
    scheme: Box<str>,
    /// For a wildcard, the host with its leading dot: `.example.com`.
    host: Box<str>,
    port: Option<u16>,
    wildcard: bool,
}

impl OriginPattern {
    /// Parses `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`.
    ///
    /// # Errors
    ///
    /// Says what an origin looks like when `text` is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is no origin: write scheme and host, as in https://app.example.com, or https://*.example.com");
        let (scheme, rest) = text.split_once("://").ok_or_else(error)?;
        if !matches!(scheme, "http" | "https") {
            return Err(error());
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| error())?)),
            None => (rest, None),
        };
        let (host, wildcard) = match host.strip_prefix('*') {
            Some(rest) => (rest, true),
            None => (host, false),
        };
        let name = if wildcard { host.strip_prefix('.').ok_or_else(error)? } else { host };
        let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.is_empty() || !name.split('.').all(label) {
            return Err(error());
        }
        Ok(Self {
            scheme: scheme.into(),
            host: host.to_ascii_lowercase().into(),
            port: port.filter(|port| *port != default_port(scheme)),
            wildcard,
        })
    }

    /// True when the `Origin` header value `origin` is this one.
    pub fn matches(&self, origin: &str) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) => (host, Some(port)),
                Err(_) => return false,
            },
            None => (rest, None),
        };
        let host_matches = if self.wildcard {
            host.len() > self.host.len()
                && host.is_char_boundary(host.len() - self.host.len())
                && host[host.len() - self.host.len()..].eq_ignore_ascii_case(&self.host)
        } else {
            host.eq_ignore_ascii_case(&self.host)
        };
        host_matches && scheme.eq_ignore_ascii_case(&self.scheme) && port.filter(|port| *port != default_port(scheme)) == self.port
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme, if self.wildcard { "*" } else { "" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl fmt::Debug for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl TryFrom<String> for OriginPattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<OriginPattern> for String {
    fn from(origin: OriginPattern) -> Self {
        origin.to_string()
    }
}

/// Which browser origins are let in. A request without `Origin` does not come from another site's page and always is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Any origin: the fleet's `FRONTEND_URL` is `*`.
    Any,
    /// Only these. Empty: none but the server's own.
    Only(Vec<OriginPattern>),
}

impl OriginPolicy {
    /// Reads `FRONTEND_URL`: `*`, or origins separated by commas. Empty means none.
    ///
    /// # Errors
    ///
    /// The part that is no origin.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let parts = text.split(',').map(|part| part.trim().trim_end_matches('/')).filter(|part| !part.is_empty());
        parts.map(OriginPattern::parse).collect::<Result<_, _>>().map(Self::Only)
    }

    /// True when a page of `origin` may connect.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_it_says_and_nothing_else() {
        let table = [
            ("https://app.acme.example", "https://app.acme.example", true),
            ("https://app.acme.example", "https://APP.acme.example", true),
            ("https://app.acme.example", "https://app.acme.example:443", true),
            ("https://app.acme.example", "http://app.acme.example", false),
            ("https://app.acme.example", "https://app.acme.example.evil", false),
            ("https://app.acme.example", "https://app.acme.example:8443", false),
            ("https://app.acme.example:8443", "https://app.acme.example:8443", true),
            ("https://*.acme.example", "https://a.acme.example", true),
            ("https://*.acme.example", "https://a.b.acme.example", true),
            ("https://*.acme.example", "https://acme.example", false),
            ("https://*.acme.example", "https://.acme.example", false),
            ("https://*.acme.example", "https://evilacme.example", false),
            ("https://*.acme.example", "null", false),
            ("http://localhost:3000", "http://localhost:3000", true),
        ];
        for (pattern, origin, expected) in table {
            assert_eq!(OriginPattern::parse(pattern).unwrap().matches(origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for bad in [
            "",
            "*",
            "app.example.com",
            "ftp://a",
            "https://",
            "https://*",
            "https://a/b",
            "https://a b",
            "https://a:b",
            "https://*a.example",
        ] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_frontend_url() {
        assert_eq!(OriginPolicy::parse("*").unwrap(), OriginPolicy::Any);
        assert_eq!(OriginPolicy::parse("").unwrap(), OriginPolicy::Only(vec![]));
        let two = OriginPolicy::parse("http://localhost:3000, https://app.example.com/").unwrap();
        assert!(two.allows("https://app.example.com") && two.allows("http://localhost:3000") && !two.allows("http://localhost:3001"));
    }
}
