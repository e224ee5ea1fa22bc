//! The form in which Secrets hold certificates: what is found in them, and what they should hold next. No I/O.

use std::{collections::BTreeMap, sync::Arc};

use carillon_tenant::{CertificateFingerprint, SecretBytes, Validity};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::{
    make::{self, Pair, Signer},
    plan::{Found, Known, Leaf, Lives, Side, Step},
};

/// On the authority's Secret: whoever puts anything new there asks for everything to be renewed.
pub(super) const RENEW: &str = "carillon.dev/renew";
/// What [`RENEW`] was when the authority was made.
const RENEWED: &str = "carillon.dev/renewed";

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
/// Authorities before, without their keys.
const OLDER: &str = "older.crt";
/// As many certificates are read from one place.
const BUNDLE_MAX: usize = 8;

/// One of the three Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Authority,
    Of(Side),
}

impl Place {
    pub(super) const ALL: [Self; 3] = [Self::Authority, Self::Of(Side::Server), Self::Of(Side::Operator)];

    /// As in the labels of metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Of(Side::Server) => "server",
            Self::Of(Side::Operator) => "operator",
        }
    }
}

/// The Secrets as they were read.
pub(super) type Secrets = BTreeMap<Place, Secret>;

/// The DNS names in the sides' certificates.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) server: ServerName<'static>,
    pub(super) operator: ServerName<'static>,
}

impl Names {
    fn of(&self, side: Side) -> &ServerName<'static> {
        match side {
            Side::Server => &self.server,
            Side::Operator => &self.operator,
        }
    }
}

/// What was found, and what it is made of.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) found: Found,
    signer: Option<Signer>,
    /// Every authority's certificate, in PEM.
    authorities: BTreeMap<CertificateFingerprint, String>,
}

impl Content {
    pub(super) fn read(secrets: &Secrets, names: &Names) -> Self {
        let mut content = Self::default();
        let authority = secrets.get(&Place::Authority);
        let annotation = |name: &str| authority.and_then(|secret| secret.annotations().get(name).cloned());
        (content.found.asked, content.found.done) = (annotation(RENEW), annotation(RENEWED));
        let mut certificates = bundle(authority, AUTHORITY);
        if let Some((certificate, signer)) = authority.and_then(signer) {
            content.found.authority = content.keep(&certificate);
            content.signer = Some(signer);
        } else {
            // With the key gone, those that the sides believe are what is left.
            for side in [Side::Server, Side::Operator] {
                certificates.extend(bundle(secrets.get(&Place::Of(side)), AUTHORITY));
            }
        }
        certificates.extend(bundle(authority, OLDER));
        for certificate in &certificates {
            if !content.authorities.contains_key(&CertificateFingerprint::of(certificate)) {
                let older = content.keep(certificate);
                content.found.older.extend(older);
            }
        }
        let authorities: Vec<_> = bundle(authority, AUTHORITY).into_iter().chain(certificates).collect();
        let leaf = |side| secrets.get(&Place::Of(side)).and_then(|secret| leaf(secret, side, names.of(side), &authorities));
        (content.found.server, content.found.operator) = (leaf(Side::Server), leaf(Side::Operator));
        content
    }

    fn keep(&mut self, certificate: &CertificateDer<'_>) -> Option<Known> {
        let known = known(certificate)?;
        self.authorities.insert(known.fingerprint.clone(), pem(certificate));
        Some(known)
    }

    /// The Secret that `step` is about, as it should be written; `None` for a step that writes nothing.
    ///
    /// # Errors
    ///
    /// When something can't be made. Holds no byte of a key.
    pub(super) fn written(
        &self,
        secrets: &Secrets,
        step: &Step,
        lives: Lives,
        names: &Names,
        now: i64,
    ) -> Result<Option<(Place, Secret)>, String> {
        let failed = |error: rcgen::Error| error.to_string();
        let (place, data) = match step {
            Step::MakeAuthority { older, .. } => {
                let Pair { certificate, key } = make::authority(now, lives.authority).map_err(failed)?;
                let mut data = vec![(AUTHORITY, certificate.into_bytes()), (AUTHORITY_KEY, key.expose().to_vec())];
                if !older.is_empty() {
                    data.push((OLDER, self.pem_of(older)));
                }
                (Place::Authority, data)
            }
            Step::Forget => (Place::Authority, kept(secrets.get(&Place::Authority), [AUTHORITY, AUTHORITY_KEY])),
            Step::MakeCertificate(side, _) => {
                let signer = self.signer.as_ref().ok_or("there is no authority")?;
                let name = names.of(*side).to_str();
                let Pair { certificate, key } = signer.certificate(*side, &name, now, lives.certificate).map_err(failed)?;
                let believed = self.pem_of(&self.found.believed(now));
                (Place::Of(*side), vec![(CERTIFICATE, certificate.into_bytes()), (KEY, key.expose().to_vec()), (AUTHORITY, believed)])
            }
            Step::Believe(side) => {
                let mut data = kept(secrets.get(&Place::Of(*side)), [CERTIFICATE, KEY]);
                data.push((AUTHORITY, self.pem_of(&self.found.believed(now))));
                (Place::Of(*side), data)
            }
            Step::Rest { .. } => return Ok(None),
        };
        let mut secret = secrets.get(&place).cloned().unwrap_or_else(|| Secret {
            type_: Some(if place == Place::Authority { "Opaque" } else { "kubernetes.io/tls" }.to_owned()),
            ..Secret::default()
        });
        secret.data = Some(data.into_iter().map(|(name, bytes)| (name.to_owned(), ByteString(bytes))).collect());
        if let (Step::MakeAuthority { .. }, Some(asked)) = (step, &self.found.asked) {
            secret.annotations_mut().insert(RENEWED.to_owned(), asked.clone());
        }
        self.proven(step, place, &secret, names)?;
        Ok(Some((place, secret)))
    }

    /// What was made must be found usable again, or it would be made again and again.
    fn proven(&self, step: &Step, place: Place, secret: &Secret, names: &Names) -> Result<(), String> {
        let usable = match (step, place) {
            (Step::MakeCertificate(side, _), _) => {
                let authorities: Vec<_> = self.authorities.values().filter_map(|pem| certificates(pem.as_bytes()).pop()).collect();
                leaf(secret, *side, names.of(*side), &authorities).is_some()
            }
            (Step::MakeAuthority { .. }, _) => signer(secret).is_some(),
            _ => true,
        };
        let word = place.word();
        usable
            .then_some(())
            .ok_or_else(|| format!("the {word}'s new certificate can't be used: delete the authority's Secret, and all is made anew"))
    }

    fn pem_of(&self, fingerprints: &[CertificateFingerprint]) -> Vec<u8> {
        fingerprints.iter().filter_map(|fingerprint| self.authorities.get(fingerprint)).flat_map(|pem| pem.bytes()).collect()
    }
}

/// A side's certificate, its key and whom it believes, in PEM.
pub(super) fn files(secret: &Secret) -> Option<[SecretBytes; 3]> {
    let file = |name: &str| Some(SecretBytes::from(data(secret, name)?.to_vec()));
    Some([file(CERTIFICATE)?, file(KEY)?, file(AUTHORITY)?])
}

fn data<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    Some(&secret.data.as_ref()?.get(name)?.0)
}

fn kept<const N: usize>(secret: Option<&Secret>, names: [&'static str; N]) -> Vec<(&'static str, Vec<u8>)> {
    names.into_iter().filter_map(|name| Some((name, data(secret?, name)?.to_vec()))).collect()
}

fn bundle(secret: Option<&Secret>, name: &str) -> Vec<CertificateDer<'static>> {
    secret.and_then(|secret| data(secret, name)).map(certificates).unwrap_or_default()
}

/// Those that can be read.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).take(BUNDLE_MAX).filter_map(Result::ok).collect()
}

fn pem(der: &CertificateDer<'_>) -> String {
    // What the API server takes for bytes is base64.
    let text = serde_json::to_value(ByteString(der.to_vec())).ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn known(certificate: &CertificateDer<'_>) -> Option<Known> {
    Some(Known { fingerprint: CertificateFingerprint::of(certificate), validity: Validity::of(certificate)? })
}

/// The certificate in front of `name`, if `key` is its key.
fn paired(secret: &Secret, name: &str, key: &str) -> Option<CertificateDer<'static>> {
    let chain = bundle(Some(secret), name);
    let key = PrivateKeyDer::from_pem_slice(data(secret, key)?).ok()?;
    CertifiedKey::from_der(chain.clone(), key, &aws_lc_rs::default_provider()).ok()?;
    chain.into_iter().next()
}

fn signer(secret: &Secret) -> Option<(CertificateDer<'static>, Signer)> {
    let certificate = paired(secret, AUTHORITY, AUTHORITY_KEY)?;
    let key = std::str::from_utf8(data(secret, AUTHORITY_KEY)?).ok()?;
    let signer = Signer::load(key, Validity::of(&certificate)?).ok()?;
    Some((certificate, signer))
}

/// What the Secret holds of a side, if one of `authorities` signed it for its purpose and its name.
fn leaf(secret: &Secret, side: Side, name: &ServerName<'static>, authorities: &[CertificateDer<'static>]) -> Option<Leaf> {
    let certificate = paired(secret, CERTIFICATE, KEY)?;
    let known = known(&certificate)?;
    let issuer = authorities.iter().find(|authority| is_signed_by(&certificate, authority, side, name, known.validity))?;
    let believes = bundle(Some(secret), AUTHORITY).iter().map(|certificate| CertificateFingerprint::of(certificate)).collect();
    Some(Leaf { known, issuer: CertificateFingerprint::of(issuer), believes })
}

/// Whether the other side would take `certificate` if it believed `authority`, at the time from which it is valid.
fn is_signed_by(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'static>,
    side: Side,
    name: &ServerName<'static>,
    validity: Validity,
) -> bool {
    let mut roots = RootCertStore::empty();
    if roots.add(authority.clone()).is_err() {
        return false;
    }
    let (roots, provider) = (Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(validity.not_before.max(0).unsigned_abs()));
    match side {
        Side::Server => WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .is_ok_and(|verifier| verifier.verify_server_cert(certificate, &[], name, &[], at).is_ok()),
        Side::Operator => {
            let names = ParsedCertificate::try_from(certificate).and_then(|parsed| verify_server_name(&parsed, name));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            names.is_ok() && verifier.is_ok_and(|verifier| verifier.verify_client_cert(certificate, &[], at).is_ok())
        }
    }
}
