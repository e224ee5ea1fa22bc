//! What the operator is told about certificates.

use clap::{Args, value_parser};

use super::plan::Lives;

/// Shortest life of a side's certificate, in seconds: a renewal waits for kubelets, which take minutes.
const CERTIFICATE_MIN: i64 = 3600;
/// Longest one: two years.
const CERTIFICATE_MAX: i64 = 63_072_000;
/// Longest life of an authority: twenty years.
const AUTHORITY_MAX: i64 = 630_720_000;
/// An authority outlives so many of the certificates that it signs, so that none is cut short.
const LIVES_IN_AUTHORITY: u32 = 3;

/// Who makes the certificates of the admin port.
#[derive(Args, Clone, Debug)]
pub struct CertificateArgs {
    /// The Secret in --namespace that the operator keeps its certificate authority in. It then makes and renews the certificates of the
    /// servers' admin port and its own. Default: it makes none, and its own is in --admin-tls-directory.
    #[arg(long, env = "CARILLON_AUTHORITY_SECRET")]
    pub authority_secret: Option<String>,

    /// The Secret in --namespace that the operator keeps the servers' certificate in, which they mount.
    #[arg(long, env = "CARILLON_SERVER_TLS_SECRET", default_value = "carillon-server-tls")]
    pub server_tls_secret: String,

    /// The Secret in --namespace that the operator keeps its own certificate in.
    #[arg(long, env = "CARILLON_OPERATOR_TLS_SECRET", default_value = "carillon-operator-tls")]
    pub operator_tls_secret: String,

    /// The DNS name in the operator's certificate, by which servers know it.
    #[arg(long, env = "CARILLON_OPERATOR_IDENTITY", default_value = "carillon-operator")]
    pub operator_identity: String,

    /// How long an authority lasts: three times --certificate-seconds, or longer.
    #[arg(long, env = "CARILLON_AUTHORITY_SECONDS", default_value_t = 31_536_000, value_parser = value_parser!(u32).range(CERTIFICATE_MIN..=AUTHORITY_MAX))]
    pub authority_seconds: u32,

    /// How long the certificates of servers and operator last. All are renewed when two thirds of their time are over.
    #[arg(long, env = "CARILLON_CERTIFICATE_SECONDS", default_value_t = 7_776_000, value_parser = value_parser!(u32).range(CERTIFICATE_MIN..=CERTIFICATE_MAX))]
    pub certificate_seconds: u32,

    /// The Deployment in --namespace that the Secrets belong to, and go with. Default: they stay.
    #[arg(long, env = "CARILLON_OWNER_DEPLOYMENT")]
    pub owner_deployment: Option<String>,
}

impl CertificateArgs {
    /// How long they last.
    ///
    /// # Errors
    ///
    /// When an authority would not outlast what it signs.
    pub(super) fn lives(&self) -> Result<Lives, String> {
        let (authority, certificate) = (self.authority_seconds, self.certificate_seconds);
        if authority / LIVES_IN_AUTHORITY < certificate {
            return Err(format!(
                "--authority-seconds {authority}: must be {LIVES_IN_AUTHORITY} times --certificate-seconds ({certificate}) or more"
            ));
        }
        Ok(Lives { authority, certificate })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        certificates: CertificateArgs,
    }

    #[test]
    fn an_authority_outlasts_what_it_signs() {
        for (arguments, expected) in [
            (&[][..], Ok((31_536_000, 7_776_000))),
            (&["--authority-seconds=10800", "--certificate-seconds=3600"], Ok((10_800, 3600))),
            (
                &["--certificate-seconds=63072000"],
                Err("--authority-seconds 31536000: must be 3 times --certificate-seconds (63072000) or more"),
            ),
        ] {
            let line = Line::parse_from([&["operator"], arguments].concat());
            let lives = line.certificates.lives().map(|lives| (lives.authority, lives.certificate));
            assert_eq!(lives.as_ref().map_err(String::as_str), expected.as_ref().map_err(|error| *error), "{arguments:?}");
        }
        for bad in
            ["--certificate-seconds=3599", "--certificate-seconds=63072001", "--authority-seconds=0", "--authority-seconds=630720001"]
        {
            assert!(Line::try_parse_from(["operator", bad]).is_err(), "{bad}");
        }
    }
}
