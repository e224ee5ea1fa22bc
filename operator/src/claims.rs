//! Which object holds a tenant id: the oldest that asks for it, and the next one when that goes.

use std::collections::HashMap;

use carillon_tenant::TenantId;
use k8s_openapi::jiff::Timestamp;

use crate::{few::Few, object::ObjectKey};

/// Every claim to every tenant id, oldest first, then by namespace and name.
#[derive(Debug, Default)]
pub struct Claims(HashMap<TenantId, Few<(Timestamp, ObjectKey)>>);

impl Claims {
    /// Takes up the claim of `key`, created at `created`.
    pub fn claim(&mut self, id: &TenantId, created: Timestamp, key: &ObjectKey) {
        self.0.entry(id.clone()).or_default().insert((created, key.clone()));
    }

    /// Takes the claim back.
    pub fn release(&mut self, id: &TenantId, created: Timestamp, key: &ObjectKey) {
        if let Some(claims) = self.0.get_mut(id) {
            claims.remove(&(created, key.clone()));
            if claims.is_empty() {
                self.0.remove(id);
            }
        }
    }

    /// The object that holds `id`.
    pub fn holder(&self, id: &TenantId) -> Option<&ObjectKey> {
        self.0.get(id)?.first().map(|(_, key)| key)
    }

    /// Everyone who claims `id`.
    pub fn claimants(&self, id: &TenantId) -> impl Iterator<Item = &ObjectKey> {
        self.0.get(id).into_iter().flatten().map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("n", name)
    }

    #[test]
    fn the_oldest_holds_the_id_and_the_next_takes_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let id = TenantId::new("acme").unwrap();
        let mut claims = Claims::default();
        assert_eq!(claims.holder(&id), None);
        claims.claim(&id, at(5), &key("b"));
        claims.claim(&id, at(9), &key("a"));
        claims.claim(&id, at(5), &key("c"));
        assert_eq!(claims.holder(&id), Some(&key("b")));
        claims.claim(&id, at(1), &key("z"));
        assert_eq!(claims.holder(&id), Some(&key("z")));
        assert_eq!(claims.claimants(&id).count(), 4);
        for (second, released, then) in [(1, "z", Some("b")), (5, "b", Some("c")), (5, "c", Some("a")), (9, "a", None)] {
            claims.release(&id, at(second), &key(released));
            assert_eq!(claims.holder(&id), then.map(key).as_ref());
        }
    }
}
