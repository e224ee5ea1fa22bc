//! Tenants for tests: resources as a user would write them, compiled as the operator does it.

use carillon_crds::RealtimeTenantSpec;
use carillon_tenant::{ResolvedSecrets, TenantMessage, compile::compile};
use serde_json::{Value, json};

/// The secret that the key `name` of a tenant's Secret holds.
pub fn secret_of(tenant: &str, name: &str) -> String {
    format!("{tenant}-{name}-signing-secret-for-tests-only")
}

/// The key a tenant's backend presents to the HTTP API.
pub fn api_key_of(tenant: &str) -> String {
    secret_of(tenant, "api")
}

/// A `RealtimeTenant` in the making.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    spec: Value,
    generation: i64,
    secrets: Vec<(String, Vec<u8>)>,
}

/// A tenant with one HS256 key, one API key and quotas that no test meets by accident.
pub fn tenant(id: &str) -> Tenant {
    let spec = json!({
        "tenantId": id,
        "auth": {
            "jwt": {"keys": [{"algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "first"}}]},
            "apiKeys": [{"name": "backend", "secretKeyRef": {"name": "keys", "key": "api"}, "permissions": ["Publish"]}],
        },
        "quotas": {
            "connections": {"ratePerSecond": "Unlimited"},
            "rooms": {"createRatePerSecond": "Unlimited"},
            "messages": {"ratePerSecond": "Unlimited", "ratePerSecondPerConnection": "Unlimited"},
            "publish": {"ratePerSecond": "Unlimited"},
        },
    });
    Tenant { id: id.to_owned(), spec, generation: 1, secrets: Vec::new() }
}

impl Tenant {
    /// The same tenant, one generation later, with `value` at `pointer` of its spec, as in `/quotas/connections/max`.
    ///
    /// # Panics
    ///
    /// When the path leads through something that is no object.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.spec;
        for part in pointer.trim_start_matches('/').split('/') {
            at = at.as_object_mut().expect("the path leads through objects").entry(part).or_insert_with(|| json!({}));
        }
        *at = value.into();
        self.generation += 1;
        self
    }

    /// The same tenant with these verification keys: kid, algorithm, and the key of its Secret.
    #[must_use]
    pub fn with_keys(self, keys: &[(Option<&str>, &str, &str)]) -> Self {
        let key = |(kid, algorithm, name): &(Option<&str>, &str, &str)| {
            let mut key = json!({"algorithm": algorithm, "secretKeyRef": {"name": "keys", "key": name}});
            if let Some(kid) = kid {
                key["kid"] = json!(kid);
            }
            key
        };
        self.with("/auth/jwt/keys", keys.iter().map(key).collect::<Vec<_>>())
    }

    /// The same tenant with `bytes` under `name` in its Secret.
    #[must_use]
    pub fn with_secret(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.secrets.push((name.to_owned(), bytes.into()));
        self
    }

    /// What is pushed to servers.
    ///
    /// # Panics
    ///
    /// When the tenant does not compile.
    pub fn compile(&self) -> TenantMessage {
        let spec: RealtimeTenantSpec = serde_json::from_value(self.spec.clone()).expect("the test's tenant is well-formed");
        let secrets = ResolvedSecrets::resolve(&spec, |reference| {
            let given = self.secrets.iter().find(|(name, _)| *name == reference.key).map(|(_, bytes)| bytes.clone());
            Ok(given.unwrap_or_else(|| secret_of(&self.id, &reference.key).into_bytes()).into())
        });
        compile(&self.id, self.generation, &spec, &Ok(None), &secrets).expect("the test's tenant compiles")
    }
}
