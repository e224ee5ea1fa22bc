//! Cross-origin requests of browsers (Fetch standard, CORS protocol): methods GET and POST, as long-polling needs them.

use http::{HeaderMap, HeaderValue, header};

use crate::config_store::{ConfigStore, View};

/// What is known of a request's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No `Origin` header: no page of another site.
    Absent,
    /// The page came from this very host.
    Same(Box<str>),
    /// A page of another site that someone here lets in.
    Allowed(Box<str>),
    /// A page of another site that nobody here lets in.
    Refused,
}

impl Origin {
    /// Judges the request with `headers`.
    pub fn of(headers: &HeaderMap, view: &View, config: &ConfigStore) -> Self {
        let Some(origin) = headers.get(header::ORIGIN) else { return Self::Absent };
        let Ok(origin) = origin.to_str() else { return Self::Refused };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if host.is_some_and(|host| origin.split_once("://").is_some_and(|(_, of_page)| of_page.eq_ignore_ascii_case(host))) {
            return Self::Same(origin.into());
        }
        if config.frontend().allows(origin) || view.allows_origin(origin) { Self::Allowed(origin.into()) } else { Self::Refused }
    }

    /// The header's value, where the page may come in.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Same(origin) | Self::Allowed(origin) => Some(origin),
            Self::Absent | Self::Refused => None,
        }
    }

    /// Lets the page read the response.
    pub fn allow(&self, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.text().and_then(|origin| HeaderValue::from_str(origin).ok()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Answers a preflight request.
    pub fn preflight(&self, headers: &mut HeaderMap) {
        self.allow(headers);
        if self.text().is_some() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type,Authorization"));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
}
