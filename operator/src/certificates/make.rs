//! Makes keys and certificates: ECDSA P-256, and each for one purpose.

use carillon_tenant::{SecretBytes, Validity};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};

use super::plan::{BACKDATE, Side};

/// A certificate and its key, both in PEM.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: SecretBytes,
}

/// An authority's key, which signs.
pub(super) struct Signer {
    key: KeyPair,
    validity: Validity,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Makes an authority that signs itself and, beneath it, nothing but certificates of sides.
///
/// # Errors
///
/// When no key can be made.
pub(super) fn authority(now: i64, life: u32) -> Result<Pair, Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = authority_params(&key);
    lasts(&mut params, Validity { not_before: now - BACKDATE, not_after: now + i64::from(life) });
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem().into_bytes().into() })
}

impl Signer {
    /// That of the authority with this key, valid for that long.
    ///
    /// # Errors
    ///
    /// When it is no key.
    pub(super) fn load(key: &str, validity: Validity) -> Result<Self, Error> {
        Ok(Self { key: KeyPair::from_pem(key)?, validity })
    }

    /// Makes the certificate of one side, for that DNS name. It does not outlast the authority.
    ///
    /// # Errors
    ///
    /// When the name is none, or no key can be made.
    pub(super) fn certificate(&self, side: Side, name: &str, now: i64, life: u32) -> Result<Pair, Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = named(name);
        params.serial_number = Some(serial());
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match side {
            Side::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Side::Operator => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let not_before = (now - BACKDATE).max(self.validity.not_before);
        let not_after = (now + i64::from(life)).min(self.validity.not_after);
        lasts(&mut params, Validity { not_before, not_after });
        let issuer = Issuer::new(authority_params(&self.key), &self.key);
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem().into_bytes().into() })
    }
}

/// What follows from an authority's key alone: so it signs the same after it was stored.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Two authorities that are believed at once are told apart.
    let id: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = named(&format!("carillon authority {id}"));
    params.serial_number = Some(serial());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// 126 random bits: positive, and of the same length each time.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn lasts(params: &mut CertificateParams, Validity { not_before, not_after }: Validity) {
    let time = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds.max(0).unsigned_abs());
    (params.not_before, params.not_after) = (time(not_before), time(not_after));
}
