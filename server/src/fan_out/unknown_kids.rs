//! Names of keys that tokens were signed with and the tenant has not: its issuer may have begun to use a new key.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Names kept until the operator asks. Anyone may make up more.
const KIDS_MAX: usize = 8;
/// Longest name that a key can have, in bytes.
const KID_BYTES_MAX: usize = 128;

/// What was met since the operator asked last. The lock guards plain data, never across an await.
#[derive(Debug, Default)]
pub struct UnknownKids(Mutex<BTreeSet<String>>);

impl UnknownKids {
    /// A token named `kid`.
    pub fn note(&self, kid: &str) {
        if kid.is_empty() || kid.len() > KID_BYTES_MAX {
            return;
        }
        let mut kids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kids.len() < KIDS_MAX && !kids.contains(kid) {
            kids.insert(kid.to_owned());
        }
    }

    /// What was met, which is told once.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_short_names_are_told_once() {
        let kids = UnknownKids::default();
        kids.note("a");
        kids.note("a");
        kids.note("");
        kids.note(&"x".repeat(129));
        assert_eq!(kids.take(), ["a"]);
        assert!(kids.take().is_empty());
        (0..100).for_each(|index| kids.note(&index.to_string()));
        assert_eq!(kids.take().len(), KIDS_MAX);
    }
}
