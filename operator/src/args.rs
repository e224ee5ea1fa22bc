//! What the operator is told at its start: flags, or `CARILLON_*` in the environment.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};

use crate::{certificates::CertificateArgs, fleets::FleetArg, generate::GenerateArgs, jwks::JwksArgs};

/// Watches RealtimeTenants, pushes them to every Carillon server pod and reports in their status.
#[derive(Clone, Debug, Parser)]
#[command(name = "carillon-operator", version)]
pub struct Args {
    /// The namespace of the server pods.
    #[arg(long, env = "CARILLON_NAMESPACE")]
    pub namespace: String,

    /// The fleets of server pods, each by its name and the headless Service whose EndpointSlices list its pods; their port is named `admin`.
    /// Several with commas between them, or given again. One is named `default`.
    #[arg(
        long = "fleet",
        env = "CARILLON_FLEETS",
        value_name = "NAME=SERVICE",
        value_delimiter = ',',
        default_value = "default=carillon-server-admin"
    )]
    pub fleets: Vec<FleetArg>,

    /// Without --authority-secret, the folder with tls.crt, tls.key and ca.crt: the operator's client certificate and who signs the
    /// servers'. Read anew for each connection.
    #[arg(long, env = "CARILLON_ADMIN_TLS_DIRECTORY", default_value = "/etc/carillon/tls")]
    pub admin_tls_directory: PathBuf,

    /// Who makes certificates.
    #[command(flatten)]
    pub certificates: CertificateArgs,

    /// The DNS name that must stand in every server's certificate, whatever its IP address.
    #[arg(long, env = "CARILLON_SERVER_IDENTITY", default_value = "carillon-server")]
    pub server_identity: String,

    /// The file with the key that all servers share for the session ids of long-polling clients: 32 bytes or more.
    #[arg(long, env = "CARILLON_SESSION_KEY_FILE", default_value = "/etc/carillon/session/key")]
    pub session_key_file: PathBuf,

    /// The name of the Lease that the leading replica holds, in --namespace.
    #[arg(long, env = "CARILLON_LEASE_NAME", default_value = "carillon-operator")]
    pub lease_name: String,

    /// Who this replica is among those that want the Lease: the name of its pod, which no other has at the same time. Default: drawn at
    /// each start.
    #[arg(long, env = "CARILLON_IDENTITY")]
    pub identity: Option<String>,

    /// The Secrets in --namespace, this and a number from 0 to 7, that the last published state is kept in, for servers that start
    /// while no operator is there; for every other fleet than the default one with its name before the number. Default: it is not kept.
    #[arg(long, env = "CARILLON_BOOT_CONFIG_SECRETS")]
    pub boot_config_secrets: Option<String>,

    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "CARILLON_HEALTH_LISTEN", default_value = "0.0.0.0:8080")]
    pub health_listen: SocketAddr,

    /// How key sets are fetched.
    #[command(flatten)]
    pub jwks: JwksArgs,

    /// Which keys are made for tenants.
    #[command(flatten)]
    pub generate: GenerateArgs,

    /// Where `carillon status` is answered, by port-forward: a loopback address.
    #[arg(long, env = "CARILLON_STATUS_LISTEN", default_value = "127.0.0.1:8081")]
    pub status_listen: SocketAddr,

    /// The form of the log.
    #[arg(long, env = "CARILLON_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// What is logged, as in `info` or `warn,carillon_operator=debug`.
    #[arg(long, env = "CARILLON_LOG_FILTER", default_value = "info")]
    pub log_filter: String,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines for people.
    Text,
}
