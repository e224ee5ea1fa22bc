//! Tokens (RFC 7519) that a tenant's own rules let in.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail, ensure};
use carillon_server::jwt::UnverifiedToken;
use carillon_tenant::{SecretBytes, TenantConfig, TenantMessage, UserId, VerificationKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use crate::manifests::Served;

/// How long a token is valid unless that is said, or the tenant allows less.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What to put into a token.
#[derive(Debug)]
pub struct Wish {
    /// Whom it is for.
    pub user: UserId,
    /// Further claims; they replace those that are made here.
    pub claims: Map<String, Value>,
    /// How long it is valid.
    pub expires_in: Option<Duration>,
    /// Which key signs it; otherwise the first that can.
    pub kid: Option<String>,
    /// The private key, for tenants whose own key is a public one: a PEM file.
    pub signing_key: Option<PathBuf>,
}

/// Signs tokens of one tenant.
#[derive(Debug)]
pub struct Signer {
    config: TenantConfig,
    /// A generated key that signs, and its `kid`.
    generated: Option<(String, SecretBytes)>,
}

impl Signer {
    /// A signer for a compiled tenant.
    ///
    /// # Errors
    ///
    /// When a server would refuse the tenant, which compiling rules out.
    pub fn new(message: &TenantMessage) -> anyhow::Result<Self> {
        let config = TenantConfig::try_from(message.clone()).map_err(|rejection| anyhow!("{rejection}"))?;
        Ok(Self { config, generated: None })
    }

    /// The same, which knows the keys that were generated for the tenant.
    ///
    /// # Errors
    ///
    /// When a server would refuse the tenant, which compiling rules out.
    pub fn of(served: &Served) -> anyhow::Result<Self> {
        let generated = served.generated.as_ref().and_then(|credentials| credentials.signing.clone());
        Ok(Self { generated, ..Self::new(&served.message)? })
    }

    /// True when tokens can be made from what the tenant's Secrets hold.
    pub fn has_secret(&self) -> bool {
        self.key(None, false).is_ok_and(|key| is_hmac(key.algorithm) || self.private(key).is_some())
    }

    /// A token that fulfils `wish`, signed now.
    ///
    /// # Errors
    ///
    /// Says what stands in the way and what helps.
    pub fn sign(&self, wish: &Wish) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let key = self.key(wish.kid.as_deref(), wish.signing_key.is_some())?;
        let header = Header { kid: key.kid.clone(), ..Header::new(key.algorithm) };
        let claims = self.claims(wish, now)?;
        let token = jsonwebtoken::encode(&header, &claims, &encoding_key(key, wish, self.private(key))?).context("the key can't sign")?;
        // The server's own judgement: a wrong private key or a claim that spoils the token is told here, not at connect.
        UnverifiedToken::parse(&token)
            .and_then(|unverified| unverified.verify(&self.config, i64::try_from(now).unwrap_or(i64::MAX)))
            .map_err(|code| anyhow!("the tenant would refuse this token: {} ({code})", code.text()))?;
        Ok(token)
    }

    /// What signs for a generated key whose public half verifies.
    fn private(&self, key: &VerificationKey) -> Option<&SecretBytes> {
        let (kid, signing) = self.generated.as_ref()?;
        (key.kid.as_ref() == Some(kid)).then_some(signing)
    }

    fn claims(&self, wish: &Wish, now: u64) -> anyhow::Result<Value> {
        let policy = &self.config.jwt;
        let longest = policy.max_lifetime_seconds.map_or(u64::MAX, u64::from);
        let lifetime = wish.expires_in.map_or_else(|| LIFETIME.as_secs().min(longest), |lifetime| lifetime.as_secs());
        ensure!(lifetime <= longest, "tenant {} takes tokens for at most {longest} s (maxLifetimeSeconds); ask for less", self.config.id);
        let mut claims = Map::new();
        claims.insert(policy.tenant_claim.clone(), json!(self.config.id));
        claims.insert(policy.user_claim.clone(), wish.user.to_json());
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(now.saturating_add(lifetime)));
        if let Some(issuer) = &policy.issuer {
            claims.insert("iss".to_owned(), json!(issuer));
        }
        if let Some(audience) = policy.audiences.iter().flatten().next() {
            claims.insert("aud".to_owned(), json!(audience));
        }
        claims.extend(wish.claims.clone());
        Ok(Value::Object(claims))
    }

    /// The key that signs: one whose secret is known, unless a private key comes from elsewhere.
    fn key(&self, kid: Option<&str>, private_key_given: bool) -> anyhow::Result<&VerificationKey> {
        let keys = &self.config.jwt.keys;
        if let Some(kid) = kid {
            let kids: Vec<_> = keys.iter().filter_map(|key| key.kid.as_deref()).collect();
            let has = if kids.is_empty() { "its keys have no kid".to_owned() } else { format!("it has {}", kids.join(", ")) };
            return keys
                .iter()
                .find(|key| key.kid.as_deref() == Some(kid))
                .with_context(|| format!("tenant {} has no key with kid {kid:?}; {has}", self.config.id));
        }
        let signs = |key: &&VerificationKey| (is_hmac(key.algorithm) || self.private(key).is_some()) != private_key_given;
        let wanted = keys.iter().find(signs);
        wanted
            .or(keys.first())
            .with_context(|| format!("tenant {} has no key here: tokens that its jwks verify are signed by its issuer", self.config.id))
    }
}

fn encoding_key(key: &VerificationKey, wish: &Wish, private: Option<&SecretBytes>) -> anyhow::Result<EncodingKey> {
    let algorithm = key.algorithm;
    if is_hmac(algorithm) {
        ensure!(wish.signing_key.is_none(), "this key is a secret ({algorithm:?}), and it signs: leave --signing-key out");
        return Ok(EncodingKey::from_secret(key.decoding.try_get_as_bytes()?));
    }
    if let Some(pem) = private.filter(|_| wish.signing_key.is_none()) {
        return private_key(algorithm, pem.expose()).context("the generated key can't be read");
    }
    let Some(path) = &wish.signing_key else {
        bail!(
            "the tenant's key is for {algorithm:?}: its Secret holds the public key only, which verifies but can't sign. \
             Give the private key that belongs to it with --signing-key FILE (PEM)"
        );
    };
    let pem = std::fs::read(path).with_context(|| format!("--signing-key {}", path.display()))?;
    private_key(algorithm, &pem)
        .map_err(|_| anyhow!("--signing-key {} holds no private key in PEM that is for {algorithm:?}", path.display()))
}

fn private_key(algorithm: Algorithm, pem: &[u8]) -> jsonwebtoken::errors::Result<EncodingKey> {
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    }
}

const fn is_hmac(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::manifests::{Manifests, Program, SourceFile};

    fn signer(jwt: &str, secret: &str) -> Signer {
        let text = format!(
            "apiVersion: carillon.dev/v1alpha1\nkind: RealtimeTenant\nmetadata: {{name: t}}\nspec: {{auth: {{jwt: {jwt}}}}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {secret:?}}}\n"
        );
        let program = Program::compile(Manifests::read(&[SourceFile { name: "t.yaml".into(), text: Ok(text) }]));
        assert!(program.findings.is_empty(), "{:?}", program.findings);
        Signer::new(&program.served[0].message).unwrap()
    }

    fn wish(user: Value) -> Wish {
        Wish { user: UserId::from_claim(&user).unwrap(), claims: Map::new(), expires_in: None, kid: None, signing_key: None }
    }

    fn part(token: &str, index: usize) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
    }

    const SECRET: &str = "a-signing-secret-for-tests-only-0123456789";

    #[test]
    fn honours_the_tenants_rules() {
        let rules = "{keys: [{kid: '1', algorithm: HS256, secretKeyRef: {name: s, key: k}}], issuer: me, audiences: [b, a], \
                     maxLifetimeSeconds: 600, claims: {tenant: org, user: uid}}";
        let signer = signer(rules, SECRET);
        let token = signer.sign(&wish(json!(7))).unwrap();
        let claims = part(&token, 1);
        assert_eq!(part(&token, 0)["kid"], "1");
        for (claim, value) in [("org", json!("t")), ("uid", json!(7)), ("iss", json!("me")), ("aud", json!("a"))] {
            assert_eq!(claims[claim], value, "{claim}");
        }
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
        let too_long = Wish { expires_in: Some(Duration::from_secs(601)), ..wish(json!("x")) };
        assert!(signer.sign(&too_long).unwrap_err().to_string().contains("at most 600 s"));
    }

    #[test]
    fn refuses_what_the_server_would_refuse() {
        let signer = signer("{keys: [{algorithm: HS256, secretKeyRef: {name: s, key: k}}]}", SECRET);
        let spoilt = Wish { claims: json!({"exp": 1}).as_object().unwrap().clone(), ..wish(json!("x")) };
        assert!(signer.sign(&spoilt).unwrap_err().to_string().contains("token_expired"));
        let unknown = Wish { kid: Some("9".to_owned()), ..wish(json!("x")) };
        assert!(signer.sign(&unknown).unwrap_err().to_string().contains("its keys have no kid"));
        let pem = Wish { signing_key: Some("x.pem".into()), ..wish(json!("x")) };
        assert!(signer.sign(&pem).unwrap_err().to_string().contains("leave --signing-key out"));
    }

    #[test]
    fn explains_public_keys() {
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let signer = signer("{keys: [{algorithm: EdDSA, secretKeyRef: {name: s, key: k}}]}", public);
        assert!(!signer.has_secret());
        let error = signer.sign(&wish(json!("x"))).unwrap_err().to_string();
        assert!(error.contains("public key only") && error.contains("--signing-key FILE"), "{error}");
    }
}
