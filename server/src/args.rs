//! The command line.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use carillon_tenant::{FleetName, OriginPolicy};
use clap::Parser;
use rustls::pki_types::ServerName;

use crate::{Options, heartbeat::Heartbeat, logging::Format};

/// Serves Socket.IO and the HTTP API to many tenants, as the Carillon operator programs it.
///
/// A server that has no configuration yet is alive, but not ready, and lets nobody in. Once it was programmed it goes on with what
/// it has, whatever happens to the operator. SIGTERM drains it: it is not ready any more, clients are told and let go little by
/// little. A second SIGTERM ends it at once.
#[derive(Clone, Debug, Parser)]
#[command(name = "carillon-server", version)]
pub struct Args {
    /// Where clients and the HTTP API come in
    #[arg(long, env = "CARILLON_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:3000", value_parser = address)]
    pub listen: SocketAddr,
    /// Where the operator comes in, over TLS 1.3 with its own certificate
    #[arg(long, env = "CARILLON_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9443", value_parser = address)]
    pub admin_listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are asked, over plain HTTP
    #[arg(long, env = "CARILLON_HEALTH_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    pub health_listen: SocketAddr,
    /// The directory with tls.crt, tls.key and ca.crt for the admin port. They are read again when they change
    #[arg(long, env = "CARILLON_ADMIN_TLS_DIRECTORY", value_name = "DIRECTORY", default_value = "/etc/carillon/tls")]
    pub admin_tls_directory: PathBuf,
    /// The DNS name in the certificate of the only client that the admin port lets in
    #[arg(long, env = "CARILLON_OPERATOR_IDENTITY", value_name = "NAME", default_value = "carillon-operator", value_parser = identity)]
    pub operator_identity: ServerName<'static>,
    /// A directory with what the operator last pushed to the fleet, in files 0 to 7. When no operator comes, the server starts with that
    #[arg(long, env = "CARILLON_BOOT_CONFIG_DIRECTORY", value_name = "DIRECTORY")]
    pub boot_config_directory: Option<PathBuf>,
    /// Redis, which makes one fleet of many servers: redis://user:password@host:6379/0, or rediss:// for TLS. Without it this server
    /// is alone
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<RedisUrl>,
    /// The fleet that this server belongs to: it finds the other servers of that fleet, and no others, in Redis
    #[arg(long, env = "CARILLON_FLEET", value_name = "NAME", default_value = "default", value_parser = FleetName::new)]
    pub fleet: FleetName,
    /// Origins whose pages may connect to tenants that name none of their own, separated by commas; * for all
    #[arg(long, env = "FRONTEND_URL", value_name = "ORIGINS", default_value = "", value_parser = OriginPolicy::parse)]
    pub frontend_url: OriginPolicy,
    /// Where other servers of the fleet reach this one's --listen, if not there
    #[arg(long, env = "CARILLON_ADVERTISE_ADDRESS", value_name = "ADDRESS", value_parser = address)]
    pub advertise_address: Option<SocketAddr>,
    /// How long clients are given to leave when the server shuts down
    #[arg(long, env = "CARILLON_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = 25, value_parser = seconds(0, 3600))]
    pub drain_seconds: u64,
    /// How often each client is asked whether it is still there
    #[arg(long, env = "CARILLON_PING_INTERVAL_SECONDS", value_name = "SECONDS", default_value_t = 25, value_parser = seconds(1, 3600))]
    pub ping_interval_seconds: u64,
    /// How long a client may take to say so, and to read what was sent to it
    #[arg(long, env = "CARILLON_PING_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 20, value_parser = seconds(1, 3600))]
    pub ping_timeout_seconds: u64,
    /// How long a client may take to authenticate
    #[arg(long, env = "CARILLON_CONNECT_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 10, value_parser = seconds(1, 3600))]
    pub connect_timeout_seconds: u64,
    /// How lines of the log look
    #[arg(long, env = "CARILLON_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: Format,
    /// What is logged: a level, or levels by module, as in info,carillon_server=debug
    #[arg(long, env = "CARILLON_LOG_FILTER", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
}

impl Args {
    /// How the server is set up.
    ///
    /// # Errors
    ///
    /// A value that can't be used. A secret in it is not shown.
    pub fn options(&self) -> Result<Options, String> {
        Ok(Options {
            listen: self.listen,
            redis_url: self.redis_url.as_ref().map(RedisUrl::checked).transpose()?.flatten(),
            fleet: self.fleet.clone(),
            advertise: self.advertise_address,
            frontend: self.frontend_url.clone(),
            heartbeat: Heartbeat {
                interval: Duration::from_secs(self.ping_interval_seconds),
                timeout: Duration::from_secs(self.ping_timeout_seconds),
                connect_timeout: Duration::from_secs(self.connect_timeout_seconds),
            },
            drain_window: Duration::from_secs(self.drain_seconds),
        })
    }
}

/// A URL that may hold a password. It is checked after the command line was parsed, for a parser's complaint would show it.
#[derive(Clone)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// The URL; `None` when it is empty, as an environment variable often is.
    fn checked(&self) -> Result<Option<String>, String> {
        const SCHEMES: [&str; 6] = ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel"];
        let url = self.0.trim();
        match url.split_once("://") {
            None if url.is_empty() => Ok(None),
            Some((scheme, rest)) if SCHEMES.contains(&scheme) && !rest.is_empty() => Ok(Some(url.to_owned())),
            _ => Err(format!("--redis-url (REDIS_URL) must be a URL that begins with one of {}, followed by ://", SCHEMES.join(", "))),
        }
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// An address and a port. IPv6 is taken without brackets, too: `$(POD_IP):3000` is all that a pod's environment can say.
fn address(text: &str) -> Result<SocketAddr, String> {
    let unbracketed = || text.rsplit_once(':').and_then(|(ip, port)| Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?)));
    text.parse().ok().or_else(unbracketed).ok_or_else(|| "write an IP address and a port, as in 0.0.0.0:3000".to_owned())
}

fn identity(text: &str) -> Result<ServerName<'static>, String> {
    match ServerName::try_from(text.to_owned()) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        _ => Err("write a DNS name, as in carillon-operator".to_owned()),
    }
}

fn seconds(min: u64, max: u64) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(min..=max)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_a_proper_command_line() {
        Args::command().debug_assert();
    }

    #[test]
    fn takes_addresses_as_pods_have_them() {
        for (text, expected) in [
            ("10.0.0.7:3000", "10.0.0.7:3000"),
            ("[fd00::7]:3000", "[fd00::7]:3000"),
            ("fd00::7:3000", "[fd00::7]:3000"),
            ("fd00:1:2:3:4:5:6:7:3000", "[fd00:1:2:3:4:5:6:7]:3000"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["", ":3000", "10.0.0.7", "10.0.0.7:", "10.0.0.7:70000", "localhost:3000"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_no_password_of_redis() {
        let args = Args::parse_from(["carillon-server", "--redis-url", "rediss://user:hunter2@redis:6380/1"]);
        assert!(!format!("{args:?}").contains("hunter2"));
        assert_eq!(args.options().unwrap().redis_url.as_deref(), Some("rediss://user:hunter2@redis:6380/1"));
        for (url, expected) in [("", Ok(None)), (" ", Ok(None)), ("redis://", Err(())), ("hunter2@redis", Err(()))] {
            let checked = RedisUrl(url.to_owned()).checked();
            assert!(!format!("{checked:?}").contains("hunter2"));
            assert_eq!(checked.map_err(drop), expected, "{url:?}");
        }
    }
}
