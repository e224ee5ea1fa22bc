//! What was written to the API server, by its own count.

use std::ops::Sub;

use anyhow::Result;
use axum::http::Method;
use carillon_tests::control_plane::ApiServer;

/// Writes of the operator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writes {
    /// Statuses of tenants.
    pub statuses: f64,
    /// Finalizers of tenants.
    pub finalizers: f64,
    /// Events.
    pub events: f64,
    /// The Secrets that servers start with.
    pub boot: f64,
}

impl Writes {
    /// Those there were so far. What this benchmark writes is told apart by its verb: nobody else applies specs and Secrets.
    pub async fn count(api: &ApiServer) -> Result<Self> {
        let text = api.request(Method::GET, "/metrics").send().await?.error_for_status()?.text().await?;
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let mut writes = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let Some((labels, value)) = line.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let begin = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
                begin.and_then(|label| label.strip_suffix('"')).unwrap_or_default()
            };
            let count = match (label("verb"), label("resource"), label("subresource")) {
                ("APPLY" | "PATCH" | "PUT", "realtimetenants", "status") => &mut writes.statuses,
                ("PATCH" | "PUT", "realtimetenants", "") => &mut writes.finalizers,
                ("POST" | "PATCH" | "PUT" | "APPLY", "events", _) => &mut writes.events,
                ("PATCH" | "PUT", "secrets", "") => &mut writes.boot,
                _ => continue,
            };
            *count += value.parse().unwrap_or(0.0);
        }
        writes
    }

    /// All of them.
    pub fn all(self) -> f64 {
        self.statuses + self.finalizers + self.events + self.boot
    }
}

impl Sub for Writes {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            statuses: self.statuses - earlier.statuses,
            finalizers: self.finalizers - earlier.finalizers,
            events: self.events - earlier.events,
            boot: self.boot - earlier.boot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_operator_writes_is_counted() {
        let line = |verb: &str, resource: &str, subresource: &str, count: u32| {
            let labels = format!("code=\"200\",resource=\"{resource}\",scope=\"resource\",subresource=\"{subresource}\",verb=\"{verb}\"");
            format!("apiserver_request_total{{{labels}}} {count}\n")
        };
        let text = [
            line("APPLY", "realtimetenants", "status", 1),
            line("APPLY", "realtimetenants", "", 10),
            line("PATCH", "realtimetenants", "", 2),
            line("POST", "events", "", 3),
            line("PATCH", "secrets", "", 4),
            line("APPLY", "secrets", "", 20),
            line("GET", "secrets", "", 40),
        ];
        let writes = Writes::read(&text.concat());
        assert_eq!([writes.statuses, writes.finalizers, writes.events, writes.boot], [1.0, 2.0, 3.0, 4.0]);
    }
}
