//! OpenID Connect Discovery 1.0: from an issuer to its key set.

use serde::Deserialize;

use crate::FetchError;

/// What is read of a discovery document (section 3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where the discovery document of `issuer` is (section 4.1).
pub fn url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// Where the key set of `issuer` is. A document that speaks of another issuer must not be used (section 4.3).
pub fn key_set_url(issuer: &str, document: &[u8]) -> Result<String, FetchError> {
    let wrong = |why| FetchError::Discovery { url: url(issuer), why };
    let document: Document = serde_json::from_slice(document).map_err(|_| wrong("is no JSON object with issuer and jwks_uri"))?;
    if document.issuer != issuer {
        return Err(wrong("is that of another issuer: write spec.auth.jwt.jwks[].issuer exactly as its member issuer has it"));
    }
    if document.jwks_uri.len() > 512 {
        return Err(wrong("names a jwks_uri of more than 512 bytes"));
    }
    Ok(document.jwks_uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_speaks_for_itself_alone() {
        assert_eq!(url("https://id/realms/a/"), "https://id/realms/a/.well-known/openid-configuration");
        let document = br#"{"issuer": "https://id", "jwks_uri": "https://keys/jwks", "scopes_supported": []}"#;
        assert_eq!(key_set_url("https://id", document), Ok("https://keys/jwks".to_owned()));
        assert!(key_set_url("https://id/", document).unwrap_err().to_string().contains("is that of another issuer"));
        assert!(key_set_url("https://id", b"{}").is_err());
    }
}
