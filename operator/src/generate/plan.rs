//! What a tenant's Secret should become. Pure: the Secret as it is, what is wanted, the clock and the entropy are handed in.
//!
//! A rotation takes three writes, each of which leaves a Secret from which anybody can go on:
//!
//! 1. The new keys go into the ledger as the next ones. Servers take them, and apps still use those of before.
//! 2. When every server pod runs them, they take the place of those of before, which get an end.
//! 3. When that has come, these are forgotten.

use std::collections::BTreeMap;

use carillon_crds::{GenerateSpec, GeneratedAlgorithm, SigningAlgorithm};
use carillon_tenant::{
    SecretBytes,
    generated::{ApiEntry, JwtEntry, LEDGER_KEY, Ledger, NewApiKey, NewJwtKey, Role},
};

use super::Want;

/// Keys of `data` that the operator writes, besides the ledger.
const ENDPOINT: &str = "endpoint";
const TENANT_ID: &str = "tenantId";
const JWT_KID: &str = "jwtKid";
const JWT_ALGORITHM: &str = "jwtAlgorithm";
const JWT_KEY: &str = "jwtKey";
const API_KEY: &str = "apiKey";

/// A Secret as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What is remembered; `None` when that can't be read.
    pub ledger: Option<Ledger>,
    /// True when it was written by a newer operator, which alone can say what is in it.
    pub newer: bool,
    /// All of its `data`.
    pub data: BTreeMap<String, SecretBytes>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is as it should be.
    Nothing,
    /// Make it, or write this in place of what it holds.
    Write(BTreeMap<String, SecretBytes>, Made),
    /// Delete it.
    Delete,
}

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The first keys.
    New,
    /// Keys in place of some that were lost.
    Anew,
    /// The next keys.
    Announced,
    /// The next keys became the current ones.
    Rotated,
    /// Old keys were forgotten, or something besides keys changed.
    Other,
}

/// What is to become of a Secret that is `stored`. `announced`: every server pod runs the next keys that are in it.
pub fn plan(stored: Option<&Stored>, want: &Want, announced: bool, now: i64, draw: &mut dyn FnMut() -> [u8; 32]) -> Plan {
    let Some(generate) = &want.generate else { return if stored.is_some() { Plan::Delete } else { Plan::Nothing } };
    if stored.is_some_and(|stored| stored.newer) {
        return Plan::Nothing;
    }
    let nothing = Stored::default();
    let before = stored.unwrap_or(&nothing);
    let mut next = Next { ledger: before.ledger.clone().unwrap_or_default(), data: before.data.clone(), made: Made::Other, lost: false };
    next.forget(generate, now);
    next.lost |= stored.is_some_and(|stored| stored.ledger.is_none());
    let first = next.ledger.jwt.is_empty() && next.ledger.api.is_empty();
    next.make_what_lacks(generate, draw);
    if first {
        // Whoever has just got keys needs no others.
        next.ledger.rotation.clone_from(&want.rotation);
    }
    if announced && next.ledger.announces() {
        next.promote(now.saturating_add(generate.overlap_seconds.into()));
    } else {
        next.announce(generate, want.rotation.as_ref(), draw);
    }
    next.describe(want);
    if stored == Some(&Stored { ledger: Some(next.ledger), newer: false, data: next.data.clone() }) {
        Plan::Nothing
    } else {
        Plan::Write(next.data, next.made)
    }
}

/// What it will be.
struct Next {
    ledger: Ledger,
    data: BTreeMap<String, SecretBytes>,
    made: Made,
    /// True when keys were there that can't be used any more.
    lost: bool,
}

impl Next {
    /// Takes away what nobody wants any more, and what is not whole.
    fn forget(&mut self, generate: &GenerateSpec, now: i64) {
        let Ledger { jwt, api, .. } = &mut self.ledger;
        let lives = |not_after: Option<i64>| not_after.is_none_or(|end| end > now);
        jwt.retain(|key| lives(key.not_after));
        api.retain(|key| lives(key.not_after));
        let signs = |key: &JwtEntry| key.role == Role::Current && key.is_half_of(self.data.get(JWT_KEY));
        let opens = |key: &ApiEntry| key.role == Role::Current && key.is(self.data.get(API_KEY));
        let (signed, opened) = (jwt.iter().any(signs), api.iter().any(opens));
        if generate.jwt_key.is_none() || !signed {
            self.lost |= generate.jwt_key.is_some() && !jwt.is_empty();
            jwt.clear();
            self.data.remove(JWT_KEY);
        }
        if generate.api_key.is_none() || !opened {
            self.lost |= generate.api_key.is_some() && !api.is_empty();
            api.clear();
            self.data.remove(API_KEY);
        }
        // The next key of another algorithm was never used.
        if let Some(wanted) = &generate.jwt_key {
            jwt.retain(|key| key.role != Role::Next || key.algorithm == wanted.algorithm && key.signing.is_some());
        }
        api.retain(|key| key.role != Role::Next || key.key.is_some());
    }

    fn make_what_lacks(&mut self, generate: &GenerateSpec, draw: &mut dyn FnMut() -> [u8; 32]) {
        if let Some(wanted) = generate.jwt_key.as_ref().filter(|_| self.ledger.current_jwt().is_none()) {
            let key = NewJwtKey::of(wanted.algorithm, draw());
            self.ledger.jwt.push(JwtEntry::new(&key, Role::Current));
            self.data.insert(JWT_KEY.to_owned(), key.signing);
            self.made = if self.lost { Made::Anew } else { Made::New };
        }
        if generate.api_key.is_some() && self.ledger.current_api().is_none() {
            let key = NewApiKey::of(draw());
            self.ledger.api.push(ApiEntry::new(&key, Role::Current));
            self.data.insert(API_KEY.to_owned(), key.0);
            self.made = if self.lost { Made::Anew } else { Made::New };
        }
    }

    /// Puts the next keys in the place of the current ones, which end at `end`.
    fn promote(&mut self, end: i64) {
        let Ledger { jwt, api, .. } = &mut self.ledger;
        if let Some(signing) = jwt.iter_mut().find(|key| key.role == Role::Next).and_then(|key| key.signing.take()) {
            self.data.insert(JWT_KEY.to_owned(), signing);
            jwt.iter_mut().for_each(|key| (key.role, key.not_after) = succeeded(key.role, key.not_after, end));
        }
        if let Some(key) = api.iter_mut().find(|key| key.role == Role::Next).and_then(|key| key.key.take()) {
            self.data.insert(API_KEY.to_owned(), key);
            api.iter_mut().for_each(|key| (key.role, key.not_after) = succeeded(key.role, key.not_after, end));
        }
        self.made = Made::Rotated;
    }

    /// Begins a rotation if one is asked for, or if the key is for another algorithm, once there is room for more keys.
    fn announce(&mut self, generate: &GenerateSpec, rotation: Option<&String>, draw: &mut dyn FnMut() -> [u8; 32]) {
        let asked = rotation.is_some() && rotation != self.ledger.rotation.as_ref();
        let has_next = |ledger: &Ledger| ledger.jwt.iter().any(|key| key.role == Role::Next);
        let other = |wanted: GeneratedAlgorithm| self.ledger.current_jwt().is_some_and(|key| key.algorithm != wanted);
        let jwt = generate.jwt_key.as_ref().map(|wanted| wanted.algorithm).filter(|wanted| asked || other(*wanted));
        let jwt = jwt.filter(|_| !has_next(&self.ledger));
        let api = asked && generate.api_key.is_some() && !self.ledger.api.iter().any(|key| key.role == Role::Next);
        if !self.ledger.has_room() {
            return;
        }
        if let Some(algorithm) = jwt {
            self.ledger.jwt.push(JwtEntry::new(&NewJwtKey::of(algorithm, draw()), Role::Next));
            self.made = Made::Announced;
        }
        if api {
            self.ledger.api.push(ApiEntry::new(&NewApiKey::of(draw()), Role::Next));
            self.made = Made::Announced;
        }
        // Keys that nobody has used yet are new enough for whoever asks again.
        if asked {
            self.ledger.rotation = rotation.cloned();
        }
    }

    /// Writes what follows from the rest.
    fn describe(&mut self, want: &Want) {
        let mut put = |field: &str, text: Option<&str>| match text {
            Some(text) => _ = self.data.insert(field.to_owned(), text.as_bytes().to_vec().into()),
            None => _ = self.data.remove(field),
        };
        put(ENDPOINT, want.endpoint.as_deref());
        put(TENANT_ID, Some(want.tenant_id.as_str()));
        let current = self.ledger.current_jwt();
        put(JWT_KID, current.map(|key| key.kid.as_str()));
        put(JWT_ALGORITHM, current.map(|key| SigningAlgorithm::from(key.algorithm).as_str()));
        self.data.insert(LEDGER_KEY.to_owned(), self.ledger.write());
    }
}

/// What becomes of a key when another takes the place of the current one.
const fn succeeded(role: Role, not_after: Option<i64>, end: i64) -> (Role, Option<i64>) {
    match role {
        Role::Next => (Role::Current, None),
        Role::Current => (Role::Old, Some(end)),
        Role::Old => (Role::Old, not_after),
    }
}
