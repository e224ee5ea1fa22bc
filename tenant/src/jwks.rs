//! Key sets as issuers publish them (RFC 7517): what of them is used. Pure: someone else fetches.

use std::{collections::BTreeMap, fmt, sync::Arc};

use carillon_crds::{JwksSpec, SigningAlgorithm};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::jwt_policy::{KeyMessage, prepare};

/// Most keys in a key set: a token without a `kid` may be tried against each.
pub const KEYS_MAX: usize = 32;
/// Longest `kid`, in bytes, as in the resource.
const KID_BYTES_MAX: usize = 128;
/// Notes kept of one key set.
const NOTES_MAX: usize = 3;
/// Longest value of a key set that a note repeats, in characters.
const QUOTED_MAX: usize = 64;

/// Where a key set comes from: all who name the same share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JwksSource {
    /// The key set's own URL.
    Url(String),
    /// An issuer whose discovery document says where it is.
    Issuer(String),
}

impl JwksSource {
    /// The source that `spec` names.
    ///
    /// # Errors
    ///
    /// The field that is wrong and what helps, for resources that were never held to the schema.
    pub fn of(spec: &JwksSpec) -> Result<Self, (&'static str, &'static str)> {
        let (field, source) = match (&spec.url, &spec.issuer) {
            (Some(url), None) => ("url", Self::Url(url.clone())),
            (None, Some(issuer)) => ("issuer", Self::Issuer(issuer.clone())),
            _ => return Err(("url", "give either url or issuer")),
        };
        let text = source.as_str();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let sound = |rest: &str| {
            let host = rest.split('/').next().unwrap_or_default();
            !host.is_empty() && !host.contains(['@', '?']) && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        match rest {
            Some(rest) if text.len() <= 512 && sound(rest) => Ok(source),
            _ => Err((field, "must be a URL as in https://id.example.com/keys, without a user and a fragment, at most 512 bytes long")),
        }
    }

    /// The field of [`JwksSpec`] that names it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Issuer(_) => "issuer",
        }
    }

    /// The URL or the issuer.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Url(text) | Self::Issuer(text) => text,
        }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It was tried in vain ever since: why.
    Never(String),
    /// As it should be.
    Fresh(Arc<KeySet>),
    /// It was fetched once, and is tried in vain for too long: why.
    Stale(Arc<KeySet>, String),
}

impl Fetched {
    /// The keys to use, if there are any.
    pub const fn key_set(&self) -> Option<&Arc<KeySet>> {
        match self {
            Self::Never(_) => None,
            Self::Fresh(keys) | Self::Stale(keys, _) => Some(keys),
        }
    }
}

/// What is known of all sources that a resource names.
pub type KeySets = BTreeMap<JwksSource, Fetched>;

/// The usable keys of a key set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// Each reduced to what verifies, in an order of their own: nothing else in the document makes another configuration.
    pub(crate) keys: Vec<KeyMessage>,
    /// What was left out and why, for people.
    notes: Vec<String>,
}

/// Why a document can't be used as a key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Something else.
    #[error("what is there is no JSON Web Key Set: an object with the list \"keys\"")]
    Unreadable,
    /// Too many keys.
    #[error("the key set has {count} keys; at most {KEYS_MAX} are taken")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// No key that could verify a token: no reason to refuse all.
    #[error("the key set holds no key that can be used{}{}", if .notes.is_empty() { "" } else { ": " }, .notes.join("; "))]
    NoKeys {
        /// What was left out and why.
        notes: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// What is read of a key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

impl KeySet {
    /// Reads a key set. Keys for other purposes are passed over; those that can't be used are noted.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] when there is nothing to use.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let Document { keys: entries } = serde_json::from_slice(document).map_err(|_| KeySetError::Unreadable)?;
        if entries.len() > KEYS_MAX {
            return Err(KeySetError::TooMany { count: entries.len() });
        }
        let (mut keys, mut notes) = (Vec::new(), Vec::new());
        for (index, entry) in entries.into_iter().enumerate() {
            let Ok(entry) = serde_json::from_value::<Entry>(entry) else {
                notes.push(format!("key {index} skipped: it is no JSON Web Key"));
                continue;
            };
            if !entry.verifies() {
                continue;
            }
            match entry.key() {
                Ok(key) => keys.push(key),
                Err(why) => notes.push(format!("{} skipped: {why}", entry.name(index))),
            }
        }
        let more = notes.len().saturating_sub(NOTES_MAX);
        notes.truncate(NOTES_MAX);
        if more > 0 {
            notes.push(format!("{more} more skipped"));
        }
        if keys.is_empty() {
            return Err(KeySetError::NoKeys { notes });
        }
        keys.sort_by(|one, other| order(one).cmp(&order(other)));
        keys.dedup();
        Ok(Self { keys, notes })
    }

    /// What was left out and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there are none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// True when a key answers to `kid`.
    pub fn has_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }
}

fn order(key: &KeyMessage) -> (Option<&str>, SigningAlgorithm, &[u8]) {
    (key.kid.as_deref(), key.algorithm, key.material.expose())
}

impl Entry {
    /// False for keys that say they are for something else, as for encryption.
    fn verifies(&self) -> bool {
        self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"))
    }

    fn name(&self, index: usize) -> String {
        self.kid.as_deref().map_or_else(|| format!("key {index}"), |kid| format!("key {}", quoted(kid)))
    }

    fn key(&self) -> Result<KeyMessage, String> {
        if self.kty == "oct" {
            return Err("it is a symmetric key, which everyone can read there: whoever reads it could sign".to_owned());
        }
        if self.d.is_some() {
            return Err("it holds its private part, which everyone can read there".to_owned());
        }
        if self.kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > KID_BYTES_MAX) {
            return Err(format!("its kid is not 1 to {KID_BYTES_MAX} bytes long"));
        }
        let key = KeyMessage { kid: self.kid.clone(), algorithm: self.algorithm()?, material: self.canonical()?.into(), not_after: None };
        prepare(key.clone()).map_err(|error| format!("it {error}"))?;
        Ok(key)
    }

    /// The one algorithm it verifies: its `alg` or, without one, what its type and curve are for. RSA has several; RS256 is what OpenID
    /// Connect asks everyone to know.
    fn algorithm(&self) -> Result<SigningAlgorithm, String> {
        if let Some(alg) = &self.alg {
            return match serde_json::from_value(Value::String(alg.clone())) {
                Ok(algorithm) if SigningAlgorithm::hmac_secret_min_bytes(algorithm).is_none() => Ok(algorithm),
                _ => Err(format!("alg {} is not supported", quoted(alg))),
            };
        }
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Ok(SigningAlgorithm::RS256),
            ("EC", Some("P-256")) => Ok(SigningAlgorithm::ES256),
            ("EC", Some("P-384")) => Ok(SigningAlgorithm::ES384),
            ("OKP", Some("Ed25519")) => Ok(SigningAlgorithm::EdDSA),
            ("EC" | "OKP", Some(curve)) => Err(format!("curve {} is not supported", quoted(curve))),
            (kty, _) => Err(format!("kty {} is not supported", quoted(kty))),
        }
    }

    /// The members that make the key, in the form of RFC 7638, so that the same key always has the same bytes.
    fn canonical(&self) -> Result<Vec<u8>, String> {
        let names: &[(&str, &Option<String>)] = match self.kty.as_str() {
            "RSA" => &[("e", &self.e), ("n", &self.n)],
            "EC" => &[("crv", &self.crv), ("x", &self.x), ("y", &self.y)],
            "OKP" => &[("crv", &self.crv), ("x", &self.x)],
            other => return Err(format!("kty {} is not supported", quoted(other))),
        };
        let mut members = BTreeMap::from([("kty", self.kty.as_str())]);
        for (name, value) in names {
            members.insert(name, value.as_deref().ok_or_else(|| format!("it lacks {name}"))?);
        }
        Ok(serde_json::to_vec(&members).expect("text serialises to JSON"))
    }
}

/// Text from elsewhere, fit for a message.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_MAX).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The keys of RFC 7517 appendix A.1 and RFC 8037 appendix A.2.
    fn rsa() -> Value {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsG\
                 Y4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFT\
                 WhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": "rsa"})
    }

    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
               "kid": "ec"})
    }

    fn okp() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "okp"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn parse(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(&serde_json::to_vec(&json!({ "keys": keys })).unwrap())
    }

    #[test]
    fn algorithms_are_pinned_by_alg_or_else_by_the_type_of_the_key() {
        let pinned = |key: Value| parse(json!([key])).unwrap().keys[0].algorithm.as_str();
        assert_eq!(pinned(rsa()), "RS256");
        assert_eq!(pinned(with(rsa(), "alg", json!("PS384"))), "PS384");
        assert_eq!(pinned(ec()), "ES256");
        assert_eq!(pinned(okp()), "EdDSA");
        assert_eq!(pinned(with(okp(), "alg", json!("EdDSA"))), "EdDSA");
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_noted() {
        let cases = [
            (json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s"}), "key \"s\" skipped: it is a symmetric key"),
            (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), "key 1 skipped: it is a symmetric key"),
            (with(rsa(), "alg", json!("HS256")), "alg \"HS256\" is not supported"),
            (with(rsa(), "alg", json!("RSA1_5")), "alg \"RSA1_5\" is not supported"),
            (with(rsa(), "alg", json!("ES256")), "it holds a key that is not for ES256"),
            (with(rsa(), "n", json!("AQAB")), "2048 bits or more"),
            (with(rsa(), "d", json!("x")), "it holds its private part"),
            (with(ec(), "crv", json!("P-521")), "curve \"P-521\" is not supported"),
            (with(ec(), "x", json!(null)), "it lacks x"),
            (with(ec(), "kid", json!("x".repeat(129))), "its kid is not 1 to 128 bytes long"),
            (json!({"kty": "XYZ", "kid": "\n"}), "key \"\\n\" skipped: kty \"XYZ\" is not supported"),
            (json!("text"), "key 1 skipped: it is no JSON Web Key"),
        ];
        for (key, note) in cases {
            let set = parse(json!([okp(), key])).unwrap();
            assert_eq!((set.keys.len(), set.notes.len()), (1, 1), "{note}");
            assert!(set.notes[0].contains(note), "{} lacks {note}", set.notes[0]);
            assert!(!set.notes[0].contains("c2VjcmV0"));
        }
        let many = parse(json!([okp(), 1, 2, 3, 4, 5])).unwrap();
        assert_eq!(many.notes.last().unwrap(), "2 more skipped");
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over_in_silence() {
        let encryption = with(with(rsa(), "use", json!("enc")), "alg", json!("RSA-OAEP"));
        let wrapping = with(rsa(), "key_ops", json!(["wrapKey"]));
        let set = parse(json!([encryption, wrapping, with(okp(), "use", json!("sig")), with(ec(), "key_ops", json!(["verify"]))])).unwrap();
        assert_eq!((set.len(), set.notes()), (2, &[][..]));
        assert!(set.has_kid("okp") && set.has_kid("ec") && !set.has_kid("rsa"));
    }

    #[test]
    fn only_the_keys_themselves_make_another_set() {
        let one = parse(json!([rsa(), ec()])).unwrap();
        let other = parse(json!([with(ec(), "use", json!("sig")), with(rsa(), "x5t", json!("abc")), rsa()])).unwrap();
        assert_eq!(one, other);
        assert_ne!(one, parse(json!([rsa(), with(ec(), "kid", json!("new"))])).unwrap());
    }

    #[test]
    fn documents_without_keys_to_use_are_errors() {
        for text in ["", "[]", "{}", "{\"keys\": 1}", "<html>"] {
            assert_eq!(KeySet::parse(text.as_bytes()), Err(KeySetError::Unreadable), "{text}");
        }
        assert_eq!(parse(json!([])).unwrap_err().to_string(), "the key set holds no key that can be used");
        assert!(parse(json!([{"kty": "oct"}])).unwrap_err().to_string().contains("no key that can be used: key 0 skipped: it is a symm"));
        assert_eq!(parse(json!(vec![okp(); KEYS_MAX + 1])), Err(KeySetError::TooMany { count: KEYS_MAX + 1 }));
    }

    #[test]
    fn sources_are_held_to_what_the_schema_says() {
        let spec = |url: Option<&str>, issuer: Option<&str>| JwksSpec {
            url: url.map(str::to_owned),
            issuer: issuer.map(str::to_owned),
            refresh_seconds: 300,
        };
        assert_eq!(JwksSource::of(&spec(Some("https://a/b"), None)), Ok(JwksSource::Url("https://a/b".to_owned())));
        assert_eq!(JwksSource::of(&spec(None, Some("http://a"))), Ok(JwksSource::Issuer("http://a".to_owned())));
        for bad in ["", "ftp://a", "https://", "https:///a", "https://user@a/", "https://a/#b", "https://a b", "https://a?b@c"] {
            assert!(JwksSource::of(&spec(Some(bad), None)).is_err(), "{bad}");
        }
        assert!(JwksSource::of(&spec(None, None)).is_err() && JwksSource::of(&spec(Some("https://a"), Some("https://a"))).is_err());
    }
}
