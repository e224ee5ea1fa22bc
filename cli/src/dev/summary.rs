//! What `carillon dev` tells the person at the terminal.

use std::{fmt::Write, net::SocketAddr};

use carillon_tenant::{Limit, TenantId};

use super::live::{InForce, Reload};
use crate::{
    manifests::{Severity, Sources},
    validate::counted,
};

/// Everything worth knowing at the start.
pub fn welcome(listen: SocketAddr, admin: SocketAddr, sources: &Sources, in_force: &InForce, reload: &Reload) -> String {
    let mut text = format!("\nCarillon {}, in one process\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &str| writeln!(text, "  {name:<12}{value}").expect("writing to a string can't fail");
    line("Playground", &format!("http://{listen}/"));
    line("Socket.IO", &format!("http://{listen}  (path /socket.io/)"));
    line("HTTP API", &format!("http://{listen}/v1/tenants/<tenant>/events  (described at /openapi.json)"));
    line("Metrics", &format!("http://{admin}/metrics"));
    writeln!(text, "\n{}", tenants(sources, in_force)).expect("writing to a string can't fail");
    if let Some(first) = in_force.keys().next() {
        text.push_str(&first_steps(listen, sources, first, in_force));
    }
    let problems = problems(reload);
    if !problems.is_empty() {
        write!(text, "\n{problems}").expect("writing to a string can't fail");
    }
    if !listen.ip().is_loopback() {
        text.push_str("\n  Careful: whoever reaches this address can get a token for any user of any tenant from the playground.\n");
    }
    text.push_str(if sources.are_examples() { "\n  Ctrl-C stops.\n\n" } else { "\n  Files are watched. Ctrl-C stops.\n\n" });
    text
}

fn tenants(sources: &Sources, in_force: &InForce) -> String {
    let mut text = format!("  {} from {}\n", counted(in_force.len(), "tenant"), sources.describe());
    let width = in_force.keys().map(|id| id.as_str().len()).max().unwrap_or(0);
    for (id, served) in in_force {
        let message = &served.message;
        let connections = match message.quotas.connections_max {
            Limit::Max(max) => format!("up to {}", counted(max as usize, "connection")),
            Limit::Unlimited => "any number of connections".to_owned(),
        };
        let dry_run = if message.quotas.enforced() { "" } else { " (a dry run: quotas are counted, and refuse nothing)" };
        let keys: Vec<_> = message.api_keys.iter().map(|key| key.name.as_str()).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(", API keys: {}", keys.join(", ")) };
        let suspended = if message.suspended { ", suspended" } else { "" };
        let origin = if message.origins.is_some() { ", own origins only" } else { "" };
        let (object, place) = (&served.object, &served.place);
        let (namespace, name) = (&object.namespace, &object.name);
        writeln!(text, "    {:width$}  {connections}{dry_run}{keys}{suspended}{origin}  ({namespace}/{name}, {place})", id.as_str())
            .expect("writing to a string can't fail");
    }
    text
}

fn first_steps(listen: SocketAddr, sources: &Sources, tenant: &TenantId, in_force: &InForce) -> String {
    let paths: Vec<_> = sources.paths().iter().map(|path| format!(" --tenants {}", path.display())).collect();
    let mut text = format!("  Get a token:  carillon token{} --tenant {tenant} --user 7\n", paths.concat());
    // A Secret of somebody's own is not shown; that of the example is no secret.
    let key = in_force.get(tenant).and_then(|served| str::from_utf8(served.publish_key.as_ref()?.expose()).ok());
    let key = if sources.are_examples() { key.unwrap_or("$API_KEY") } else { "$API_KEY" };
    write!(
        text,
        "  Publish:      curl http://{listen}/v1/tenants/{tenant}/events -H 'Content-Type: application/json' \\\n                  \
         -H \"Authorization: Bearer {key}\" -d '{{\"event\": \"record:created\", \"data\": {{\"id\": 1}}}}'\n"
    )
    .expect("writing to a string can't fail");
    text
}

/// One line that says what changed by `cause`, and the problems there are.
pub fn change(cause: &str, reload: &Reload) -> String {
    let part = |ids: &[TenantId], word: &str| {
        let ids: Vec<_> = ids.iter().map(TenantId::as_str).collect();
        (!ids.is_empty()).then(|| format!("{word} {}", ids.join(", ")))
    };
    let kept = part(&reload.kept, "last good configuration kept for");
    let parts = [part(&reload.added, "added"), part(&reload.changed, "changed"), part(&reload.removed, "removed"), kept];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let what = if parts.is_empty() { "no tenant changed".to_owned() } else { parts.join("; ") };
    let unsolved = match reload.unsolved {
        0 => String::new(),
        count => format!(" ({} from before)", counted(count, "problem")),
    };
    format!("{cause}: {what}{unsolved}\n{}", problems(reload))
}

/// Errors as status would show them: reason, then object, field and message.
fn problems(reload: &Reload) -> String {
    let mut text = String::new();
    for finding in &reload.findings {
        match finding.severity {
            Severity::Note => writeln!(text, "  {finding}"),
            _ => writeln!(text, "  {} {finding}", finding.reason.as_str()),
        }
        .expect("writing to a string can't fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::manifests::{Manifests, Program};

    fn in_force(program: Program) -> InForce {
        program.served.into_iter().map(|served| (served.message.tenant_id.clone(), Arc::new(served))).collect()
    }

    #[test]
    fn welcomes_with_all_that_is_needed() {
        let sources = Sources::new(&[]);
        let tenants = in_force(Program::compile(Manifests::read(&sources.read())));
        let text = welcome("127.0.0.1:3000".parse().unwrap(), "127.0.0.1:3001".parse().unwrap(), &sources, &tenants, &Reload::default());
        for expected in [
            "http://127.0.0.1:3000/\n",
            "http://127.0.0.1:3001/metrics",
            "3 tenants from the examples",
            "acme     up to 500 connections, API keys: backend  (team-acme/acme, examples/acme.yaml:3)",
            "initech  up to 200 connections, API keys: generated  (team-initech/initech, examples/initech.yaml:3)",
            "carillon token --tenant acme --user 7",
            "Bearer acme-example-api-key-not-for-production",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in {text}");
        }
        assert!(!text.contains("Careful"));
        let open = welcome("0.0.0.0:3000".parse().unwrap(), "127.0.0.1:3001".parse().unwrap(), &sources, &tenants, &Reload::default());
        assert!(open.contains("Careful"));
    }

    #[test]
    fn says_when_quotas_refuse_nothing() {
        let sources = Sources::new(&[]);
        let mut program = Program::compile(Manifests::read(&sources.read()));
        program.served[0].message.quotas.enforcement = carillon_tenant::Enforcement::DryRun;
        let text = tenants(&sources, &in_force(program));
        assert!(
            text.contains("acme     up to 500 connections (a dry run: quotas are counted, and refuse nothing), API keys: backend"),
            "{text}"
        );
        assert_eq!(text.matches("dry run").count(), 1, "{text}");
    }

    #[test]
    fn says_what_changed() {
        let id = |id: &str| TenantId::new(id).unwrap();
        let reload = Reload { changed: vec![id("a")], removed: vec![id("b"), id("c")], ..Reload::default() };
        assert_eq!(change("Files changed", &reload), "Files changed: changed a; removed b, c\n");
        let reload = Reload { kept: vec![id("a")], unsolved: 1, ..Reload::default() };
        assert_eq!(change("Files changed", &reload), "Files changed: last good configuration kept for a (1 problem from before)\n");
        assert_eq!(change("Files changed", &Reload::default()), "Files changed: no tenant changed\n");
    }
}
