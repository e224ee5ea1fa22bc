//! Keys made of entropy that was brought from elsewhere.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use carillon_crds::GeneratedAlgorithm;
use jsonwebtoken::{
    Algorithm, EncodingKey,
    jwk::{AlgorithmParameters, Jwk},
};
use sha2::{Digest, Sha256};

use crate::{SecretBytes, push::to_hex};

/// PKCS #8 (RFC 5208) around an Ed25519 seed (RFC 8410).
const ED25519: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// PKCS #8 around an ECPrivateKey (RFC 5915) on P-256, up to the private key ...
const P256: &[u8] = &[
    0x30, 0x81, 0x87, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x6d,
    0x30, 0x6b, 2, 1, 1, 4, 0x20,
];
/// ... and from there to the public key, an uncompressed point.
const P256_PUBLIC: &[u8] = &[0xa1, 0x44, 3, 0x42, 0, 4];
/// The same without a public key, which follows from the private one.
const P256_PRIVATE_ONLY: &[u8] = &[
    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x27, 0x30,
    0x25, 2, 1, 1, 4, 0x20,
];

/// A key that signs tokens, just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewJwtKey {
    /// Its `kid`: `carillon-` and 16 hex digits.
    pub kid: String,
    /// What it signs with.
    pub algorithm: GeneratedAlgorithm,
    /// What signs: the secret as text, of 43 characters, or a private key as PKCS #8 in PEM.
    pub signing: SecretBytes,
    /// What verifies: the same secret, or the public key as JWK.
    pub verification: SecretBytes,
}

impl fmt::Debug for NewJwtKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewJwtKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl NewJwtKey {
    /// Makes a key of 256 bits that nobody can guess.
    ///
    /// # Panics
    ///
    /// Never: of as many hashes one is a private key.
    pub fn of(algorithm: GeneratedAlgorithm, entropy: [u8; 32]) -> Self {
        let (signing, verification) = match algorithm {
            GeneratedAlgorithm::HS256 => {
                let secret = URL_SAFE_NO_PAD.encode(entropy).into_bytes();
                (secret.clone(), secret)
            }
            GeneratedAlgorithm::EdDSA => {
                let der = [ED25519, &entropy].concat();
                let jwk = Jwk::from_encoding_key(&EncodingKey::from_ed_der(&der), Algorithm::EdDSA).expect("every seed is a key");
                (pem(&der), public(&jwk))
            }
            // Nearly every number of 256 bits is a private key: one of 2^32 isn't.
            GeneratedAlgorithm::ES256 => std::iter::successors(Some(entropy), |last| Some(Sha256::digest(last).into()))
                .take(16)
                .find_map(|scalar| p256(&scalar))
                .expect("one of these is a private key"),
        };
        let id = to_hex(&Sha256::digest([b"carillon kid\0", verification.as_slice()].concat())[..8]);
        Self { kid: format!("carillon-{id}"), algorithm, signing: signing.into(), verification: verification.into() }
    }
}

fn p256(scalar: &[u8; 32]) -> Option<(Vec<u8>, Vec<u8>)> {
    let der = [P256_PRIVATE_ONLY, scalar].concat();
    let jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(&der), Algorithm::ES256).ok()?;
    let AlgorithmParameters::EllipticCurve(point) = &jwk.algorithm else { return None };
    let (x, y) = (URL_SAFE_NO_PAD.decode(&point.x).ok()?, URL_SAFE_NO_PAD.decode(&point.y).ok()?);
    // With the public key in it, as every tool can read it.
    (x.len() == 32 && y.len() == 32).then(|| (pem(&[P256, scalar, P256_PUBLIC, &x, &y].concat()), public(&jwk)))
}

fn public(jwk: &Jwk) -> Vec<u8> {
    serde_json::to_vec(jwk).expect("a JWK serialises to JSON")
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| [line, b"\n"].concat());
    [b"-----BEGIN PRIVATE KEY-----\n".to_vec(), lines.collect::<Vec<_>>().concat(), b"-----END PRIVATE KEY-----\n".to_vec()].concat()
}

/// Entropy for one purpose out of a secret for many: HMAC-SHA256 (RFC 2104).
pub fn derive(secret: &[u8; 32], purpose: &str) -> [u8; 32] {
    let keyed = |pad: u8, text: &[u8]| {
        let mut block = [pad; 64];
        block.iter_mut().zip(secret).for_each(|(pad, byte)| *pad ^= byte);
        <[u8; 32]>::from(Sha256::new().chain_update(block).chain_update(text).finalize())
    };
    keyed(0x5c, &keyed(0x36, purpose.as_bytes()))
}

/// A key for the HTTP API, just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey(pub SecretBytes);

impl NewApiKey {
    /// Makes a key of 256 bits that nobody can guess: `carillon_` and 43 characters.
    pub fn of(entropy: [u8; 32]) -> Self {
        Self(format!("carillon_{}", URL_SAFE_NO_PAD.encode(entropy)).into_bytes().into())
    }
}
