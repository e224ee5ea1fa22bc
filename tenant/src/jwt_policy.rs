//! Verification keys and claim rules, prepared once so that a handshake only verifies.

use std::{collections::BTreeSet, fmt};

use carillon_crds::{OnExpiry, SigningAlgorithm};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::SecretBytes;

/// Why key material can't be used. Never holds a byte of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMaterialError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// HMAC secret shorter than RFC 7518 section 3.2 asks for.
    #[error("is {length} bytes long; {algorithm} needs at least {min} (RFC 7518 section 3.2)")]
    TooShort {
        /// Length found, in bytes.
        length: usize,
        /// Length needed, in bytes.
        min: usize,
        /// The algorithm the key is for.
        algorithm: &'static str,
    },
    /// Private key material where a public key belongs.
    #[error("holds a private key; put the public key there, and keep the private one with the issuer of tokens")]
    PrivateKey,
    /// Neither PEM nor JWK.
    #[error("is neither a PEM public key nor a JWK")]
    Unreadable,
    /// Readable, but for another algorithm.
    #[error("holds a key that is not for {algorithm}: {needs}")]
    WrongKind {
        /// The algorithm the key should be for.
        algorithm: &'static str,
        /// What that algorithm needs.
        needs: &'static str,
    },
}

/// Tells one key from another without telling what it is: sessions remember by which key they were let in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint(u64);

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// One key as it travels to the servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyMessage {
    /// The `kid` it answers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The only algorithm it verifies.
    pub algorithm: SigningAlgorithm,
    /// The Secret's bytes.
    pub material: SecretBytes,
    /// Unix time in seconds from which on it verifies nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// The rules for a tenant's tokens as they travel to the servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtMessage {
    /// Verification keys.
    pub keys: Vec<KeyMessage>,
    /// The `iss` tokens must carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The values of which `aud` must hold one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audiences: Option<BTreeSet<String>>,
    /// Clock difference forgiven, in seconds.
    pub leeway_seconds: u32,
    /// The longest validity, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime_seconds: Option<u32>,
    /// The claim with the tenant id.
    pub tenant_claim: String,
    /// The claim with the user id; `id` is read when it is absent.
    pub user_claim: String,
    /// What becomes of a socket whose token expires.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_expiry: OnExpiry,
}

fn is_default(on_expiry: &OnExpiry) -> bool {
    *on_expiry == OnExpiry::default()
}

/// A key ready to verify.
#[derive(Clone)]
pub struct VerificationKey {
    /// The `kid` it answers to.
    pub kid: Option<String>,
    /// The only algorithm it verifies.
    pub algorithm: Algorithm,
    /// Unix time in seconds from which on it verifies nothing.
    pub not_after: Option<i64>,
    /// The key itself.
    pub decoding: DecodingKey,
    /// What sessions remember of it.
    pub fingerprint: KeyFingerprint,
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerificationKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The rules for a tenant's tokens, ready to enforce.
#[derive(Clone, Debug)]
pub struct JwtPolicy {
    /// Verification keys, in the resource's order.
    pub keys: Vec<VerificationKey>,
    /// The `iss` tokens must carry.
    pub issuer: Option<String>,
    /// The values of which `aud` must hold one.
    pub audiences: Option<BTreeSet<String>>,
    /// Clock difference forgiven, in seconds.
    pub leeway_seconds: u32,
    /// The longest validity, in seconds.
    pub max_lifetime_seconds: Option<u32>,
    /// The claim with the tenant id.
    pub tenant_claim: String,
    /// The claim with the user id; `id` is read when it is absent.
    pub user_claim: String,
    /// What becomes of a socket whose token expires.
    pub on_expiry: OnExpiry,
}

impl JwtPolicy {
    /// True when a key with this fingerprint is among the tenant's.
    pub fn has_key(&self, fingerprint: KeyFingerprint) -> bool {
        self.keys.iter().any(|key| key.fingerprint == fingerprint)
    }
}

impl TryFrom<JwtMessage> for JwtPolicy {
    /// The index of the key that can't be used, and why.
    type Error = (usize, KeyMaterialError);

    fn try_from(message: JwtMessage) -> Result<Self, Self::Error> {
        let keys = message.keys.into_iter().enumerate();
        Ok(Self {
            keys: keys.map(|(index, key)| prepare(key).map_err(|error| (index, error))).collect::<Result<_, _>>()?,
            issuer: message.issuer,
            audiences: message.audiences,
            leeway_seconds: message.leeway_seconds,
            max_lifetime_seconds: message.max_lifetime_seconds,
            tenant_claim: message.tenant_claim,
            user_claim: message.user_claim,
            on_expiry: message.on_expiry,
        })
    }
}

/// Checks and prepares one key.
///
/// # Errors
///
/// [`KeyMaterialError`] when the material is not what the key's algorithm needs.
pub fn prepare(key: KeyMessage) -> Result<VerificationKey, KeyMaterialError> {
    let decoding = decoding_key(key.algorithm, key.material.expose())?;
    let mut hash = Sha256::new();
    hash.update(key.algorithm.as_str());
    hash.update([0]);
    hash.update(key.material.expose());
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    Ok(VerificationKey {
        kid: key.kid,
        algorithm: algorithm(key.algorithm),
        not_after: key.not_after,
        decoding,
        fingerprint: KeyFingerprint(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
    })
}

fn algorithm(signing: SigningAlgorithm) -> Algorithm {
    match signing {
        SigningAlgorithm::HS256 => Algorithm::HS256,
        SigningAlgorithm::HS384 => Algorithm::HS384,
        SigningAlgorithm::HS512 => Algorithm::HS512,
        SigningAlgorithm::RS256 => Algorithm::RS256,
        SigningAlgorithm::RS384 => Algorithm::RS384,
        SigningAlgorithm::RS512 => Algorithm::RS512,
        SigningAlgorithm::PS256 => Algorithm::PS256,
        SigningAlgorithm::PS384 => Algorithm::PS384,
        SigningAlgorithm::PS512 => Algorithm::PS512,
        SigningAlgorithm::ES256 => Algorithm::ES256,
        SigningAlgorithm::ES384 => Algorithm::ES384,
        SigningAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

fn decoding_key(signing: SigningAlgorithm, material: &[u8]) -> Result<DecodingKey, KeyMaterialError> {
    if material.is_empty() {
        return Err(KeyMaterialError::Empty);
    }
    let trimmed = material.trim_ascii();
    if let Some(min) = signing.hmac_secret_min_bytes() {
        let secret = match parse_jwk(trimmed) {
            Some(jwk) => DecodingKey::from_jwk(&checked_jwk(signing, jwk)?).map_err(|_| KeyMaterialError::Unreadable)?,
            None if trimmed.starts_with(b"-----BEGIN") => return Err(wrong_kind(signing)),
            None => DecodingKey::from_secret(material),
        };
        let length = secret.try_get_as_bytes().map_or(0, <[u8]>::len);
        return if length < min { Err(KeyMaterialError::TooShort { length, min, algorithm: signing.as_str() }) } else { Ok(secret) };
    }
    let key = match parse_jwk(trimmed) {
        Some(jwk) => DecodingKey::from_jwk(&checked_jwk(signing, jwk)?).map_err(|_| KeyMaterialError::Unreadable)?,
        None => pem(signing, trimmed)?,
    };
    check_size(signing, &key)?;
    Ok(key)
}

fn parse_jwk(material: &[u8]) -> Option<Jwk> {
    material.starts_with(b"{").then(|| serde_json::from_slice(material).ok()).flatten()
}

fn checked_jwk(signing: SigningAlgorithm, jwk: Jwk) -> Result<Jwk, KeyMaterialError> {
    use SigningAlgorithm as S;
    let fits = match (&jwk.algorithm, signing) {
        (AlgorithmParameters::OctetKey(_), S::HS256 | S::HS384 | S::HS512) => true,
        (AlgorithmParameters::RSA(_), S::RS256 | S::RS384 | S::RS512 | S::PS256 | S::PS384 | S::PS512) => true,
        (AlgorithmParameters::EllipticCurve(parameters), S::ES256) => parameters.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(parameters), S::ES384) => parameters.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(parameters), S::EdDSA) => parameters.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let says_so = jwk
        .common
        .key_algorithm
        .as_ref()
        .is_none_or(|said| said.to_string() == signing.as_str() || *said == KeyAlgorithm::UNKNOWN_ALGORITHM);
    if fits && says_so { Ok(jwk) } else { Err(wrong_kind(signing)) }
}

fn pem(signing: SigningAlgorithm, material: &[u8]) -> Result<DecodingKey, KeyMaterialError> {
    use SigningAlgorithm as S;
    let text = std::str::from_utf8(material).map_err(|_| KeyMaterialError::Unreadable)?;
    if !text.starts_with("-----BEGIN") {
        return Err(KeyMaterialError::Unreadable);
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyMaterialError::PrivateKey);
    }
    let readable =
        [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem].iter().any(|read| read(material).is_ok());
    let key = match signing {
        S::ES256 | S::ES384 => DecodingKey::from_ec_pem(material),
        S::EdDSA => DecodingKey::from_ed_pem(material),
        _ => DecodingKey::from_rsa_pem(material),
    };
    key.map_err(|_| if readable { wrong_kind(signing) } else { KeyMaterialError::Unreadable })
}

/// Public keys of the wrong curve or of too few bits parse; they are told by their size.
fn check_size(signing: SigningAlgorithm, key: &DecodingKey) -> Result<(), KeyMaterialError> {
    use SigningAlgorithm as S;
    use jsonwebtoken::DecodingKeyKind;
    let fits = match (key.kind(), signing) {
        // A DER RSAPublicKey of 2,048 bits has 256 bytes of modulus and a few around it.
        (DecodingKeyKind::SecretOrDer(der), S::RS256 | S::RS384 | S::RS512 | S::PS256 | S::PS384 | S::PS512) => der.len() >= 262,
        (DecodingKeyKind::RsaModulusExponent { n, .. }, _) => n.len() >= 256,
        (DecodingKeyKind::SecretOrDer(point), S::ES256) => point.len() == 65,
        (DecodingKeyKind::SecretOrDer(point), S::ES384) => point.len() == 97,
        (DecodingKeyKind::SecretOrDer(point), _) => point.len() == 32,
    };
    if fits { Ok(()) } else { Err(wrong_kind(signing)) }
}

fn wrong_kind(signing: SigningAlgorithm) -> KeyMaterialError {
    use SigningAlgorithm as S;
    let needs = match signing {
        S::HS256 | S::HS384 | S::HS512 => "it needs a random secret, or a JWK of kty oct",
        S::ES256 => "it needs an elliptic-curve public key on P-256",
        S::ES384 => "it needs an elliptic-curve public key on P-384",
        S::EdDSA => "it needs an Ed25519 public key",
        _ => "it needs an RSA public key of 2048 bits or more",
    };
    KeyMaterialError::WrongKind { algorithm: signing.as_str(), needs }
}
