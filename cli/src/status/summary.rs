//! All tenants on all pods, for people: short where all is well, however large the fleet.

use std::fmt::Write;

use carillon_tenant::report::{CellState, PodState};

use super::{
    fleet::Source,
    grid::{Paint, age, grid, harmless, number, shortened},
    table::{Counts, PodLine, Table, TenantLine},
};

/// Lines of each part, unless all are asked for. Where there are more, only those that are not in sync are shown.
const LINES_MAX: usize = 20;

/// The whole text. `program`: what the user has called.
pub fn summary(table: &Table, all: bool, program: &str, paint: Paint) -> String {
    let mut text = paint.bold(&headline(table));
    text.push('\n');
    text.push_str(&told_by(&table.source));
    if !table.pods.is_empty() {
        text.push('\n');
        text.push_str(&pods(&table.pods, table.has_fleets(), all, paint));
    }
    if !table.tenants.is_empty() {
        text.push('\n');
        text.push_str(&tenants(table, all, paint));
        let worst = table.tenants.first().filter(|line| line.state != CellState::Synced);
        if let Some(worst) = worst {
            writeln!(text, "\n{program} status {} tells more.", harmless(&worst.tenant.full_name()))
                .expect("writing to a string can't fail");
        }
    }
    text
}

fn headline(table: &Table) -> String {
    let counts = table.counts();
    let on = match (table.pods.as_slice(), &table.source) {
        (_, Source::Resources { .. }) => String::new(),
        ([], _) => ", and there is no server pod".to_owned(),
        ([one], _) => format!(" on {}", one.pod.name),
        _ if table.has_fleets() => " on every server pod of their fleets".to_owned(),
        (pods, _) => format!(" on all {} server pods", number(pods.len())),
    };
    match (counts.all(), counts.not_synced()) {
        (0, _) => "There is no tenant to show".to_owned(),
        (1, 0) => format!("The one tenant is in sync{on}"),
        (all, 0) => format!("All {} tenants are in sync{on}", number(all)),
        (all, bad) => {
            let (are, pods) = (if bad == 1 { "is" } else { "are" }, table.pods.len());
            let on = if pods > 1 { format!("; there are {} server pods", number(pods)) } else { on };
            format!("{} of {} tenants {are} not in sync{on}", number(bad), number(all))
        }
    }
}

/// Who says so.
pub fn told_by(source: &Source) -> String {
    match source {
        Source::Operator { replica, position } => {
            let state = position.map(|position| format!(" (state {position})")).unwrap_or_default();
            format!("as {}, the operator that leads, knows{state}\n", harmless(replica))
        }
        Source::Resources { why } => format!(
            "as the resources' status told last, with no more than five lagging pods each\nbecause the operator could not be asked: {}\n",
            harmless(why)
        ),
    }
}

fn pods(lines: &[PodLine], fleets: bool, all: bool, paint: Paint) -> String {
    let bad = |line: &PodLine| line.pod.state != PodState::Ok || line.counts.not_synced() > 0;
    let shown = shown(lines, all, bad);
    let rows: Vec<_> = lines[..shown].iter().map(pod).collect();
    let header = ["POD", if fleets { "FLEET" } else { "" }, "STATE", "SYNCED", "STALE", "NEVER", "REJECTED", "HEARD", "ERROR"];
    let mut text = if rows.is_empty() { String::new() } else { grid(header, &rows, paint) };
    if shown < lines.len() {
        let rest = &lines[shown..];
        let bad = rest.iter().filter(|line| bad(line)).count();
        let bad = if bad == 0 { "all in sync".to_owned() } else { format!("{} of them not in sync", number(bad)) };
        writeln!(text, "{} server pods, {bad} (--all shows them)", more(shown, rest.len())).expect("writing to a string can't fail");
    }
    text
}

fn pod(line: &PodLine) -> [String; 9] {
    let PodLine { pod, counts } = line;
    let [synced, stale, never, rejected] = CellState::ALL.map(|state| number(counts.of(state)));
    let state = serde_json::to_value(pod.state).ok().and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
    let error = match (&pod.error, pod.error_seconds) {
        (Some(error), Some(seconds)) => format!("{error}, for {}", age(Some(seconds))),
        (Some(error), None) => error.clone(),
        (None, _) if !pod.ready => "not ready".to_owned(),
        (None, _) => String::new(),
    };
    let heard = pod.heard_seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", age(Some(seconds))));
    [pod.name.clone(), pod.fleet.to_string(), state, synced, stale, never, rejected, heard, shortened(&error)]
}

fn tenants(table: &Table, all: bool, paint: Paint) -> String {
    let lines = &table.tenants;
    let shown = shown(lines, all, |line| line.state != CellState::Synced);
    let rows: Vec<_> = lines[..shown].iter().map(tenant).collect();
    let header = ["TENANT", if table.has_fleets() { "FLEET" } else { "" }, "STATE", "PODS", "VERSION", "SINCE", "WHY"];
    let mut text = if rows.is_empty() { String::new() } else { grid(header, &rows, paint) };
    if shown < lines.len() {
        let mut counts = table.counts();
        lines[..shown].iter().for_each(|line| counts.take(line.state));
        let rest = more(shown, lines.len() - shown);
        writeln!(text, "{rest} tenants: {} (--all shows them)", by_state(&counts)).expect("writing to a string can't fail");
    }
    text
}

/// How many of `lines`, which begin with the bad ones, are shown.
fn shown<T>(lines: &[T], all: bool, bad: impl Fn(&T) -> bool) -> usize {
    if all || lines.len() <= LINES_MAX { lines.len() } else { lines.iter().take(LINES_MAX).filter(|line| bad(line)).count() }
}

/// `… and 80 more`, or `80` when nothing was shown.
fn more(shown: usize, rest: usize) -> String {
    if shown == 0 { number(rest) } else { format!("… and {} more", number(rest)) }
}

fn by_state(counts: &Counts) -> String {
    let parts = CellState::ALL.iter().rev().filter(|state| counts.of(**state) > 0);
    parts.map(|state| format!("{} {}", number(counts.of(*state)), state.as_str())).collect::<Vec<_>>().join(", ")
}

fn tenant(line: &TenantLine) -> [String; 7] {
    let version = line.tenant.status.config_version.clone();
    [
        line.tenant.full_name(),
        line.fleet.clone().unwrap_or_else(|| "-".to_owned()),
        line.state.as_str().to_owned(),
        on_pods(line),
        version.unwrap_or_else(|| "-".to_owned()),
        age(line.seconds),
        shortened(line.why.as_deref().unwrap_or_default()),
    ]
}

/// `2/3`.
pub fn on_pods(line: &TenantLine) -> String {
    if line.eligible == 0 { "-".to_owned() } else { format!("{}/{}", line.synced, line.eligible) }
}
