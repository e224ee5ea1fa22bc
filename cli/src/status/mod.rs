//! `carillon status`: every tenant on every server pod, and one tenant in depth.
//!
//! Tenants come from the API server (`cluster`), and what pods acknowledged from the operator that leads (`operator`) or, where it can't be asked, from
//! the tenants' own status. Joined (`table`), they are shown to people (`summary`, `depth`) and to programs (`json`).

mod cluster;
mod depth;
mod fleet;
mod grid;
mod json;
mod operator;
mod summary;
mod table;
mod tenant;
#[cfg(test)]
mod tests;
mod wait;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use carillon_tenant::report::CellState;
use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;

use self::{
    cluster::{Cluster, Found},
    fleet::{Fleet, Source},
    grid::Paint,
    operator::Place,
    table::Table,
    tenant::Tenant,
};
use crate::{duration, terminal};

/// What `carillon status` exits with when it was asked whether all is in sync, and it isn't.
const NOT_IN_SYNC: u8 = 3;

/// Arguments of `carillon status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// One tenant in depth: NAMESPACE/NAME, its name, or its tenant id
    tenant: Option<String>,
    /// Only tenants of this namespace [default: all that you may see]
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only this server pod
    #[arg(long)]
    pod: Option<String>,
    /// Only tenants in these states
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    state: Vec<State>,
    /// Every line, however many
    #[arg(long)]
    all: bool,
    /// text, or json for programs
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Exit with 3 when not everything that is shown is in sync
    #[arg(long)]
    exit_code: bool,
    /// Wait until every tenant that is asked for is in force on every pod; exit with 3 when that isn't so in time
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
    /// The kubeconfig to use [default: $KUBECONFIG, ~/.kube/config, or the pod's own]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context to use in it
    #[arg(long)]
    context: Option<String>,
    /// Where the operator runs [default: wherever its pods are found, or carillon]
    #[arg(long, value_name = "NAMESPACE")]
    operator_namespace: Option<String>,
    /// Ask the operator at this address: of a port-forward of your own, for example
    #[arg(long, value_name = "ADDRESS", conflicts_with = "operator_namespace")]
    operator: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Synced,
    Stale,
    Never,
    Rejected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl From<State> for CellState {
    fn from(state: State) -> Self {
        match state {
            State::Synced => Self::Synced,
            State::Stale => Self::Stale,
            State::Never => Self::Never,
            State::Rejected => Self::Rejected,
        }
    }
}

/// What stands below the arguments in the help text.
pub fn examples(program: &str) -> String {
    format!(
        "\
States of a tenant on a pod:
  SYNCED    the pod acknowledged exactly the version it should run
  STALE     it runs another version
  NEVER     it runs none
  REJECTED  it refused the version, and runs what it had
A tenant is in the worst state that it is in on any pod, and STALE while its
resource says what can't be used.

Examples:
  {program} status                    # pods and tenants, the worst first
  {program} status -n team-acme --state stale,rejected --all
  {program} status --pod carillon-server-abc
  {program} status team-acme/acme     # one tenant in depth
  {program} status acme -o json | jq '.tenants[0].pods'
  {program} status acme --wait --timeout 2m   # after kubectl apply

Exit codes: 0 told; 1 could not be told; 2 wrong arguments;
  3 not in sync (--exit-code), or not in time (--wait).
Rights: to list and get realtimetenants and, to see every pod, to list pods
  and to get and create pods/portforward where the operator runs."
    )
}

/// Prints the table. `program`: what the user has called.
pub fn run(arguments: &Arguments, program: &str) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(show(arguments, program))
}

async fn show(arguments: &Arguments, program: &str) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(arguments.kubeconfig.as_deref(), arguments.context.as_deref()).await?;
    let (name, namespace) = wanted(arguments);
    let found = find(&cluster, namespace, name).await?;
    if let Some(note) = found.note {
        terminal::print_note(&note);
    }
    let mut tenants = found.tenants;
    let mut late = None;
    if arguments.wait {
        late = wait::until_in_sync(&cluster, namespace, tenants.clone(), arguments.timeout).await.err();
        tenants = find(&cluster, namespace, name).await?.tenants;
    }
    let place = arguments.operator.map_or_else(|| Place::Pods(arguments.operator_namespace.clone()), Place::Address);
    let one = name.and_then(|_| tenants.first()).map(|tenant| tenant.tenant_id.clone());
    let fleet = operator::ask(&cluster, &place, one.as_deref(), arguments.pod.as_deref()).await.unwrap_or_else(Fleet::unknown);
    check_pod(arguments.pod.as_deref(), &fleet)?;

    let now = Timestamp::now();
    let mut table = Table::new(tenants, fleet, arguments.pod.as_deref(), now);
    table.keep_states(&arguments.state.iter().copied().map(CellState::from).collect::<Vec<_>>());
    let paint = Paint::of_stdout();
    terminal::print(&match (arguments.output, table.tenants.as_slice()) {
        (Output::Json, _) => json::json(&table, one.is_some()),
        (Output::Text, [line]) if one.is_some() => depth::depth(&table, line, now, paint),
        (Output::Text, _) => summary::summary(&table, arguments.all, program, paint),
    });
    if let Some(late) = &late {
        terminal::print_note(late);
    }
    let wanting = late.is_some() || (arguments.exit_code && !table.is_in_sync());
    Ok(if wanting { ExitCode::from(NOT_IN_SYNC) } else { ExitCode::SUCCESS })
}

/// Which tenant is asked for, and in which namespace.
fn wanted(arguments: &Arguments) -> (Option<&str>, Option<&str>) {
    let namespace = arguments.namespace.as_deref();
    match arguments.tenant.as_deref() {
        Some(full) => match full.split_once('/') {
            Some((namespace, name)) => (Some(name), Some(namespace)),
            None => (Some(full), namespace),
        },
        None => (None, namespace),
    }
}

/// The tenants that are asked for. One whose object is named needn't be looked for among all.
async fn find(cluster: &Cluster, namespace: Option<&str>, name: Option<&str>) -> anyhow::Result<Found> {
    if let Some((namespace, name)) = namespace.zip(name)
        && let Ok(Some(tenant)) = cluster.tenant(namespace, name).await
    {
        return Ok(Found { tenants: vec![tenant], note: None });
    }
    let found = cluster.tenants(namespace).await?;
    Ok(Found { tenants: choose(found.tenants, name)?, ..found })
}

/// The one tenant that is asked for, or all of them.
fn choose(mut tenants: Vec<Tenant>, name: Option<&str>) -> anyhow::Result<Vec<Tenant>> {
    let Some(name) = name else { return Ok(tenants) };
    tenants.retain(|tenant| tenant.name == name || tenant.tenant_id == name);
    match tenants.as_slice() {
        [] => bail!("no RealtimeTenant has the name or the tenant id {name:?}, as far as you may see"),
        [_] => Ok(tenants),
        several => {
            let names: Vec<_> = several.iter().take(10).map(Tenant::full_name).collect();
            bail!("{name:?} is any of {}: name one of them so", names.join(", "))
        }
    }
}

fn check_pod(pod: Option<&str>, fleet: &Fleet) -> anyhow::Result<()> {
    let Some(pod) = pod else { return Ok(()) };
    match &fleet.source {
        Source::Resources { why } => bail!("--pod {pod}: only the operator knows, and it could not be asked: {why}"),
        Source::Operator { .. } if fleet.pods.iter().any(|known| known.name == pod) => Ok(()),
        Source::Operator { .. } => {
            let names: Vec<_> = fleet.pods.iter().take(10).map(|pod| pod.name.as_str()).collect();
            bail!("--pod {pod}: there is no such server pod; there are {}", names.join(", "))
        }
    }
}
