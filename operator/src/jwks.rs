//! How the operator is told to fetch key sets.

use std::path::PathBuf;

use anyhow::Context as _;
use carillon_jwks::{AddressPolicy, Fetcher, Options, authorities, built_in};
use clap::Args;

/// How key sets are fetched.
#[derive(Clone, Debug, Args)]
pub struct JwksArgs {
    /// Where key sets may be fetched from besides public addresses: networks as in 10.96.0.0/12, with commas between them, or `all`.
    #[arg(long = "jwks-allow-addresses", env = "CARILLON_JWKS_ALLOW_ADDRESSES", default_value = "")]
    pub allow_addresses: AddressPolicy,

    /// Fetch from http:// URLs, too. Whoever is on the way can then put in keys of their own.
    #[arg(long = "jwks-allow-insecure-urls", env = "CARILLON_JWKS_ALLOW_INSECURE_URLS", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_insecure_urls: bool,

    /// A file with certificates of authorities (PEM) that are believed besides those that browsers know. Read at the start.
    #[arg(long = "jwks-ca-file", env = "CARILLON_JWKS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// The fetcher that `args` describe.
///
/// # Errors
///
/// When the file of authorities can't be used.
pub fn fetcher(args: &JwksArgs) -> anyhow::Result<Fetcher> {
    let mut roots = built_in();
    if let Some(path) = args.ca_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        let pem = std::fs::read(path).with_context(|| format!("--jwks-ca-file {}", path.display()))?;
        let certificates = authorities(&pem).with_context(|| format!("--jwks-ca-file {}", path.display()))?;
        roots.add_parsable_certificates(certificates);
    }
    Ok(Fetcher::new(Options::new(args.allow_addresses.clone(), args.allow_insecure_urls, roots)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        jwks: JwksArgs,
    }

    #[test]
    fn by_default_only_public_addresses_are_asked_and_only_with_tls() {
        let args = Line::parse_from(["operator"]).jwks;
        assert_eq!((args.allow_addresses.clone(), args.allow_insecure_urls), (AddressPolicy::default(), false));
        fetcher(&args).unwrap();
        let line = ["operator", "--jwks-allow-addresses", "10.0.0.0/8,fd00::/8", "--jwks-allow-insecure-urls"];
        let args = Line::parse_from(line).jwks;
        assert!(args.allow_addresses.allows("10.1.1.1".parse().unwrap()) && args.allow_insecure_urls);
        assert!(Line::try_parse_from(["operator", "--jwks-allow-addresses", "everything"]).is_err());
    }

    #[test]
    fn a_file_of_authorities_that_cannot_be_used_is_told() {
        let args = Line::parse_from(["operator", "--jwks-ca-file", "/nowhere/ca.crt"]).jwks;
        assert!(fetcher(&args).unwrap_err().to_string().contains("--jwks-ca-file /nowhere/ca.crt"));
        assert_eq!(authorities(b"text").unwrap_err().to_string(), "holds no certificate in PEM");
    }
}
