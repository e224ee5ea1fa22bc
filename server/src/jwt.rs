//! JSON Web Tokens (RFC 7519), verified against one tenant's keys. Pure: the clock is passed in.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use carillon_tenant::{Code, JwtPolicy, Revocation, TenantConfig, UserId, VerificationKey};
use jsonwebtoken::crypto;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::grant::Grant;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// A key that ends within this time is about to retire: tokens should be signed with another by now.
const RETIRING_SECONDS: i64 = 24 * 60 * 60;

/// A token taken apart. Nothing in it is proven.
pub struct UnverifiedToken<'a> {
    header: Header,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// What a verified token says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// True for a token of the tenant's own services: its `role` is `service`.
    pub service: bool,
    /// What is remembered of it.
    pub grant: Grant,
    /// True when the key that verified it is about to retire.
    pub retiring: bool,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    ///
    /// [`Code::TokenMissing`] or [`Code::TokenMalformed`].
    pub fn parse(token: &'a str) -> Result<Self, Code> {
        if token.is_empty() {
            return Err(Code::TokenMissing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Code::TokenMalformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Code::TokenMalformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Code::TokenMalformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Code::TokenMalformed);
        let header = serde_json::from_slice(&decode(header)?).map_err(|_| Code::TokenMalformed)?;
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Code::TokenMalformed)?;
        Ok(Self { header, claims, signed, signature })
    }

    /// The value of a claim as an id: a string, or a whole number.
    pub fn id_claim(&self, name: &str) -> Option<String> {
        match self.claims.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            _ => None,
        }
    }

    /// The key it names.
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The user that it says it was issued to.
    ///
    /// # Errors
    ///
    /// [`Code::ClaimMissing`] or [`Code::TokenMalformed`].
    pub fn user(&self, policy: &JwtPolicy) -> Result<UserId, Code> {
        let user = self.claims.get(&policy.user_claim).or_else(|| self.claims.get("id")).ok_or(Code::ClaimMissing)?;
        UserId::from_claim(user).map_err(|_| Code::TokenMalformed)
    }

    /// Verifies signature and claims at `now`, in seconds of Unix time, and that it was not revoked.
    ///
    /// # Errors
    ///
    /// The code of the first rule that is broken.
    pub fn verify(&self, config: &TenantConfig, now: i64) -> Result<Identity, Code> {
        let policy = &config.jwt;
        let key = self.verify_signature(policy, now)?;
        let (issued_at, expires_at) = self.verify_times(policy, now)?;
        if policy.issuer.as_ref().is_some_and(|issuer| self.claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return Err(Code::IssuerMismatch);
        }
        if let Some(audiences) = &policy.audiences {
            let listed = |value: &Value| value.as_str().is_some_and(|audience| audiences.contains(audience));
            let matches = match self.claims.get("aud") {
                Some(Value::Array(values)) => values.iter().any(listed),
                Some(value) => listed(value),
                None => false,
            };
            if !matches {
                return Err(Code::AudienceMismatch);
            }
        }
        let user = self.user(policy)?;
        let token_id = self.id_claim("jti").filter(|id| id.len() <= Revocation::TOKEN_ID_BYTES_MAX);
        if config.revocation.hits(&user, issued_at, token_id.as_deref()) {
            return Err(Code::TokenRevoked);
        }
        let service = self.claims.get("role").and_then(Value::as_str) == Some("service");
        let retiring = key.not_after.is_some_and(|end| end.saturating_sub(now) <= RETIRING_SECONDS);
        let grant = Grant { key: key.fingerprint, issued_at, expires_at, token_id: token_id.map(Into::into) };
        Ok(Identity { user, service, grant, retiring })
    }

    fn verify_signature<'k>(&self, policy: &'k JwtPolicy, now: i64) -> Result<&'k VerificationKey, Code> {
        // RFC 7515 section 4.1.11: extensions that are not understood must not be ignored.
        if self.header.crit.is_some() {
            return Err(Code::TokenMalformed);
        }
        let in_force = policy.keys.iter().filter(|key| key.not_after.is_none_or(|end| now < end));
        let mut refused = Code::KeyUnknown;
        for key in in_force {
            // A kid only looks up; the algorithm comes from the key, and the header has to agree with it.
            if self.header.kid.as_ref().is_some_and(|kid| key.kid.as_ref() != Some(kid)) {
                continue;
            }
            if !algorithm_is(key.algorithm, &self.header.alg) {
                refused = if refused == Code::SignatureInvalid { refused } else { Code::AlgorithmRefused };
                continue;
            }
            match crypto::verify(self.signature, self.signed.as_bytes(), &key.decoding, key.algorithm) {
                Ok(true) => return Ok(key),
                _ => refused = Code::SignatureInvalid,
            }
        }
        Err(refused)
    }

    /// `iat`, if there is one, and `exp`.
    fn verify_times(&self, policy: &JwtPolicy, now: i64) -> Result<(Option<i64>, i64), Code> {
        let leeway = i64::from(policy.leeway_seconds);
        let expires = self.time("exp")?.ok_or(Code::ClaimMissing)?;
        if now >= expires.saturating_add(leeway) {
            return Err(Code::TokenExpired);
        }
        if self.time("nbf")?.is_some_and(|from| now < from.saturating_sub(leeway)) {
            return Err(Code::TokenNotYetValid);
        }
        let issued = self.time("iat")?;
        if issued.is_some_and(|issued| now < issued.saturating_sub(leeway)) {
            return Err(Code::TokenNotYetValid);
        }
        match (policy.max_lifetime_seconds, issued) {
            (Some(max), Some(issued)) if expires.saturating_sub(issued) <= i64::from(max) => Ok((Some(issued), expires)),
            (Some(_), _) => Err(Code::TokenLifetime),
            (None, issued) => Ok((issued, expires)),
        }
    }

    /// A NumericDate (RFC 7519 section 2), which may have a fraction; it is rounded down.
    fn time(&self, name: &str) -> Result<Option<i64>, Code> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                #[expect(clippy::cast_possible_truncation, reason = "out-of-range dates saturate, which is what they mean")]
                let seconds = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64));
                seconds.map(Some).ok_or(Code::TokenMalformed)
            }
            Some(_) => Err(Code::TokenMalformed),
        }
    }
}

fn algorithm_is(algorithm: jsonwebtoken::Algorithm, name: &str) -> bool {
    name.parse::<jsonwebtoken::Algorithm>().is_ok_and(|named| named == algorithm)
}

/// False for what is found, or may be, before the signature is verified: that tells of the tenant's keys.
pub const fn is_proven(code: Code) -> bool {
    !matches!(code, Code::KeyUnknown | Code::AlgorithmRefused | Code::TokenMalformed)
}
