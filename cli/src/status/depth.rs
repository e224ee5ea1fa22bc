//! One tenant in depth, for people.

use std::fmt::Write;

use carillon_crds::{QuotaSource, QuotaValue};
use k8s_openapi::jiff::Timestamp;

use super::{
    grid::{Paint, age, grid, harmless},
    summary::{on_pods, told_by},
    table::{Table, TenantLine, seconds_since},
};

/// Everything there is to say about the only tenant of `table`.
pub fn depth(table: &Table, line: &TenantLine, now: Timestamp, paint: Paint) -> String {
    let tenant = &line.tenant;
    let why = line.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let mut text = paint.bold(&harmless(&format!("{} is {}{why}", tenant.full_name(), line.state.as_str())));
    text.push('\n');
    text.push_str(&told_by(&table.source));
    let observed = tenant.status.observed_generation.map_or_else(|| "none".to_owned(), |generation| generation.to_string());
    let facts = [
        ("Tenant id", tenant.tenant_id.clone()),
        ("Version", tenant.status.config_version.clone().unwrap_or_else(|| "none: nothing was ever compiled from it".to_owned())),
        ("Generation", format!("{}, looked at: {observed}", tenant.generation)),
        ("Pods", if line.eligible == 0 { "none runs it".to_owned() } else { format!("{} in sync", on_pods(line)) }),
        ("Fleet", line.fleet.clone().unwrap_or_else(|| "not known".to_owned())),
        ("Class", tenant.status.effective.as_ref().and_then(|effective| effective.class_name.clone()).unwrap_or_else(|| "none".to_owned())),
        ("Usage", usage(line, now)),
    ];
    text.push('\n');
    for (name, value) in facts {
        writeln!(text, "{name:<12}{}", harmless(&value)).expect("writing to a string can't fail");
    }
    let mut part = |rendered: String| {
        text.push('\n');
        text.push_str(&rendered);
    };
    part(conditions(line, now, paint));
    if !line.cells.is_empty() {
        part(pods(line, paint));
    }
    if let Some(effective) = &tenant.status.effective {
        let rows: Vec<_> =
            effective.quotas.iter().map(|quota| [quota.field.to_string(), value(quota.value), source(quota.source)]).collect();
        part(grid(["QUOTA", "VALUE", "SAID BY"], &rows, paint));
    }
    if !tenant.status.keys.is_empty() {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let rows: Vec<_> = tenant
            .status
            .keys
            .iter()
            .map(|key| {
                let not_after = key.not_after.as_ref().map(|time| time.0.to_string());
                [or_none(key.kid.clone()), key.algorithm.as_str().to_owned(), key.source.clone(), or_none(not_after)]
            })
            .collect();
        part(grid(["KEY", "ALGORITHM", "FROM", "NOT AFTER"], &rows, paint));
    }
    text
}

fn usage(line: &TenantLine, now: Timestamp) -> String {
    let Some(usage) = &line.tenant.status.usage else { return "not known".to_owned() };
    let ago = age(seconds_since(Some(usage.observed_at.0), now));
    let (connections, users, rooms, messages) = (&usage.summary, usage.users, usage.rooms, usage.messages_per_second);
    format!("{connections} connections, {users} users, {rooms} rooms, {messages} messages per second ({ago} ago)")
}

fn conditions(line: &TenantLine, now: Timestamp, paint: Paint) -> String {
    let rows: Vec<_> = line
        .tenant
        .status
        .conditions
        .iter()
        .map(|condition| {
            let since = age(seconds_since(Some(condition.last_transition_time.0), now));
            [condition.type_.clone(), condition.status.clone(), condition.reason.clone(), since, condition.message.clone()]
        })
        .collect();
    if rows.is_empty() {
        return "No conditions: no operator has looked at it yet.\n".to_owned();
    }
    grid(["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], &rows, paint)
}

fn pods(line: &TenantLine, paint: Paint) -> String {
    let rows: Vec<_> = line
        .cells
        .iter()
        .map(|cell| {
            let version = cell.version.clone().unwrap_or_else(|| "-".to_owned());
            [cell.pod.to_string(), cell.state.as_str().to_owned(), version, age(cell.seconds), cell.error.clone().unwrap_or_default()]
        })
        .collect();
    grid(["POD", "STATE", "RUNS", "FOR", "ERROR"], &rows, paint)
}

/// A number or a word.
pub fn value(value: QuotaValue) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn source(source: QuotaSource) -> String {
    match source {
        QuotaSource::Tenant => "the tenant",
        QuotaSource::Class => "its class",
        QuotaSource::BuiltIn => "built in",
    }
    .to_owned()
}
