//! Which origins any tenant lets in, for the HTTP requests that come before a tenant is known.

use std::{collections::HashSet, ops::Deref, sync::Arc};

use carillon_tenant::{OriginPolicy, TenantConfig};

/// Every tenant's and the fleet's origins in one set. A wildcard is found by trying the origin's own parents.
#[derive(Debug, Default)]
pub struct OriginIndex {
    any: bool,
    patterns: HashSet<String>,
}

impl OriginIndex {
    /// Collects the fleet's origins and those of `configs`.
    pub fn new<C: Deref<Target = Arc<TenantConfig>>>(fleet: &OriginPolicy, configs: impl Iterator<Item = C>) -> Self {
        let mut index = Self::default();
        index.add(fleet);
        for config in configs {
            if let Some(policy) = &config.origins {
                index.add(policy);
            }
        }
        index
    }

    /// True when some policy allows `origin`.
    pub fn allows(&self, origin: &str) -> bool {
        if self.any {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        let Some((scheme, host)) = origin.split_once("://") else { return false };
        let host = match (scheme, host.strip_suffix(":443"), host.strip_suffix(":80")) {
            ("https", Some(host), _) | ("http", _, Some(host)) => host,
            _ => host,
        };
        let parents = host.match_indices('.').filter(|(index, _)| *index > 0).map(|(index, _)| format!("{scheme}://*{}", &host[index..]));
        self.patterns.contains(&format!("{scheme}://{host}")) || parents.into_iter().any(|parent| self.patterns.contains(&parent))
    }

    fn add(&mut self, policy: &OriginPolicy) {
        match policy {
            OriginPolicy::Any => self.any = true,
            OriginPolicy::Only(patterns) => self.patterns.extend(patterns.iter().map(ToString::to_string)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_policies_it_is_made_of() {
        let policy = OriginPolicy::parse("https://app.acme.example,https://*.globex.example,http://localhost:3000").unwrap();
        let index = OriginIndex::new(&policy, std::iter::empty::<&Arc<TenantConfig>>());
        for origin in [
            "https://app.acme.example",
            "https://APP.acme.example:443",
            "https://a.globex.example",
            "https://a.b.globex.example",
            "https://globex.example",
            "http://a.globex.example",
            "http://localhost:3000",
            "http://localhost",
            "null",
            "https://.globex.example",
        ] {
            assert_eq!(index.allows(origin), policy.allows(origin), "{origin}");
        }
    }
}
