//! From what is known of a tenant to its status. Pure: the clock and the previous status are handed in.

use std::collections::BTreeSet;

use carillon_crds::{
    ConditionType, EffectiveStatus, FleetStatus, GeneratedStatus, LaggingPod, RealtimeTenantStatus, Reason, RotationState,
};
use carillon_tenant::{FleetName, KeyReport, Rejection};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::{
    acks::{Standing, Trouble},
    index::Pause,
    metrics::TenantState,
    usage::{self, Usage, saturation},
};

/// Pods named in a status.
const LAGGING_MAX: usize = 5;
/// Fleets named as those that it moves from.
const MOVING_FROM_MAX: usize = 5;
/// Longest message of a condition, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What is known of a tenant.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The generation that was looked at.
    pub generation: i64,
    /// Why another object has the tenant id, when one has.
    pub conflict: Option<String>,
    /// What keeps the object from compiling.
    pub problems: Vec<Rejection>,
    /// False when the spec can't even be read, so that nothing can be said about its references.
    pub readable: bool,
    /// How it stands to its resource, when it is paused.
    pub pause: Option<Pause>,
    /// The sync that every pod has acknowledged, if there is one.
    pub synced: Option<String>,
    /// True when what pods are asked to run is suspended.
    pub suspended: bool,
    /// What pods are asked to run or, when nothing compiles any more, to keep.
    pub version: Option<String>,
    /// True when nothing is known of `version` but its name: a pod without it can't be given it.
    pub kept: bool,
    /// The quotas that `version` holds; `None` when nothing is known of it but its name.
    pub effective: Option<EffectiveStatus>,
    /// What is told of the keys that `version` holds; `None` when nothing is known of it but its name.
    pub key_report: Option<KeyReport>,
    /// The fleet that carries it.
    pub fleet: FleetName,
    /// Others whose pods run it.
    pub moving_from: BTreeSet<FleetName>,
    /// Every eligible pod of its fleet, by name, and how it stands to `version`.
    pub pods: Vec<(String, Standing)>,
    /// What it uses on all of them; `None` while that is not known.
    pub usage: Option<Usage>,
    /// True when keys are to be made for it.
    pub generates: bool,
    /// The keys that were made for it; `None` while they are not known.
    pub generated: Option<GeneratedStatus>,
}

/// One condition before it is compared with the previous one.
#[derive(Debug)]
pub struct Verdict {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

impl Verdict {
    /// A condition as it should be.
    pub fn new(status: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    fn holds(&self) -> bool {
        self.status == "True"
    }
}

/// The status of a tenant. Equal to `previous` when nothing changed, so that nothing need be written.
pub fn status(facts: &Facts, previous: Option<&RealtimeTenantStatus>, now: Timestamp) -> RealtimeTenantStatus {
    let accepted = accepted(facts);
    let resolved = resolved(facts);
    let programmed = programmed(facts);
    let ready = ready(facts, [&accepted, &resolved, &programmed]);
    let version = facts.version.as_ref().filter(|_| facts.conflict.is_none());
    let before = |kind| previous.and_then(|previous| find(previous, kind));
    let condition = |kind, verdict| condition(kind, verdict, facts.generation, before(kind), now);
    let conditions = [
        Some(condition(ConditionType::Accepted, accepted)),
        Some(condition(ConditionType::ResolvedRefs, resolved)),
        Some(condition(ConditionType::Programmed, programmed)),
        version.and_then(|_| saturated(facts, previous, now)),
        Some(condition(ConditionType::Ready, ready)),
    ];
    let used = previous.and_then(|previous| previous.usage.as_ref());
    let mut status = RealtimeTenantStatus {
        observed_generation: Some(facts.generation),
        config_version: version.cloned(),
        fleet: version.map(|_| fleet(facts, previous, now)),
        effective: version.and_then(|_| facts.effective.clone().or_else(|| previous?.effective.clone())),
        keys: version
            .and_then(|_| Some(facts.key_report.as_ref()?.keys.clone()))
            .unwrap_or_else(|| previous.filter(|_| version.is_some()).map(|previous| previous.keys.clone()).unwrap_or_default()),
        generated: generated(facts, previous),
        usage: version.and_then(|_| usage::next(facts.usage.as_ref(), used, now)),
        observed_sync: facts.synced.clone().or_else(|| previous?.observed_sync.clone()),
        conditions: conditions.into_iter().flatten().collect(),
    };
    // What is written anyway tells the newest.
    if let Some(usage) = facts.usage.as_ref().filter(|_| status.usage.is_some() && previous != Some(&status)) {
        status.usage = Some(usage.status(now));
    }
    status
}

/// What is told of generated keys: what was told before, while nothing is known of them; and until a rotation is done, the one before.
fn generated(facts: &Facts, previous: Option<&RealtimeTenantStatus>) -> Option<GeneratedStatus> {
    let before = previous.and_then(|previous| previous.generated.as_ref()).filter(|_| facts.generates);
    let Some(now) = facts.generated.clone().filter(|_| facts.generates) else { return before.cloned() };
    let rotation =
        if now.rotation == RotationState::Announcing { before.and_then(|before| before.observed_rotation.clone()) } else { None };
    Some(GeneratedStatus { observed_rotation: now.observed_rotation.clone().or(rotation), ..now })
}

/// True when the pods or a Secret that is being made may soon catch up, so that it pays to wait a moment before telling.
pub fn is_transitional(status: &RealtimeTenantStatus) -> bool {
    let soon = [Reason::Pending, Reason::GeneratedSecretPending].map(Reason::as_str);
    status.conditions.iter().any(|condition| soon.contains(&condition.reason.as_str()))
}

/// The state that metrics count the tenant under.
pub fn tenant_state(status: &RealtimeTenantStatus) -> TenantState {
    let Some(ready) = find(status, ConditionType::Ready) else { return TenantState::Pending };
    match ready.reason.as_str() {
        _ if ready.status == "True" => TenantState::Ready,
        reason if reason == Reason::Pending.as_str() => TenantState::Pending,
        reason if reason == Reason::Conflicted.as_str() => TenantState::Conflicted,
        reason if reason == Reason::Rejected.as_str() => TenantState::Rejected,
        reason if reason == Reason::NoServers.as_str() => TenantState::NoServers,
        reason if reason == Reason::Paused.as_str() => TenantState::Paused,
        _ => TenantState::Invalid,
    }
}

/// The condition of this type.
pub fn find(status: &RealtimeTenantStatus, kind: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

fn accepted(facts: &Facts) -> Verdict {
    if let Some(conflict) = &facts.conflict {
        return Verdict::new("False", Reason::Conflicted, conflict);
    }
    if facts.pause == Some(Pause::Behind) {
        let message = "Paused by annotation: what the resource says now was not looked at, and server pods keep configVersion.";
        return Verdict::new("Unknown", Reason::Paused, message);
    }
    let problems = facts.problems.iter().filter(|problem| problem.code.condition() == ConditionType::Accepted);
    match summary(problems) {
        Some((reason, message)) => Verdict::new("False", reason, message),
        None => Verdict::new("True", Reason::Accepted, "The resource is valid."),
    }
}

fn resolved(facts: &Facts) -> Verdict {
    if facts.pause == Some(Pause::Behind) {
        return Verdict::new("Unknown", Reason::Paused, "Paused by annotation: references were not looked at.");
    }
    if !facts.readable {
        return Verdict::new("Unknown", Reason::Invalid, "The spec can't be read.");
    }
    let stale = facts.key_report.iter().flat_map(|report| &report.stale);
    let problems = facts.problems.iter().filter(|problem| problem.code.condition() == ConditionType::ResolvedRefs);
    let notes = || facts.key_report.iter().flat_map(|report| &report.notes).fold(String::new(), |notes, note| format!("{notes} {note}."));
    match summary(problems.chain(stale)) {
        Some((reason, message)) => Verdict::new("False", reason, message),
        None => Verdict::new("True", Reason::ResolvedRefs, format!("Every reference was found.{}", notes())),
    }
}

fn programmed(facts: &Facts) -> Verdict {
    if facts.conflict.is_some() {
        return Verdict::new("False", Reason::Conflicted, "Server pods run the older RealtimeTenant that holds the tenant id.");
    }
    if facts.version.is_none() {
        return Verdict::new(
            "False",
            Reason::NotCompiled,
            "Nothing was ever compiled from this resource, so server pods run nothing of it.",
        );
    }
    if facts.pods.is_empty() {
        let there = if facts.fleet.is_default() { String::new() } else { format!(" in fleet {:?}", facts.fleet.as_str()) };
        let meanwhile = facts.moving_from.first().map(|from| format!(" Fleet {:?} goes on serving it.", from.as_str())).unwrap_or_default();
        return Verdict::new("False", Reason::NoServers, format!("There is no server pod{there}.{meanwhile}"));
    }
    let rejected = facts.pods.iter().find_map(|(_, standing)| match standing {
        Standing::Rejected(rejected) => Some(rejected),
        _ => None,
    });
    if let Some(rejected) = rejected {
        let message = format!("A server pod refused configVersion and keeps what it had: {}: {}", rejected.field, rejected.message);
        return Verdict::new("False", Reason::Rejected, message);
    }
    let all = facts.pods.iter().all(|(_, standing)| *standing == Standing::Programmed);
    match (all, facts.problems.is_empty()) {
        (true, true) => Verdict::new("True", Reason::Programmed, "Every server pod runs configVersion."),
        (true, false) => Verdict::new("True", Reason::Programmed, "Every server pod runs configVersion, the last one that compiled."),
        (false, true) => Verdict::new("False", Reason::Pending, "Some server pods have not acknowledged configVersion yet."),
        (false, false) => Verdict::new("False", Reason::Pending, "Some server pods don't run configVersion, the last one that compiled."),
    }
}

fn ready(facts: &Facts, of: [&Verdict; 3]) -> Verdict {
    match of.into_iter().find(|verdict| !verdict.holds()) {
        Some(verdict) => Verdict::new("False", verdict.reason, verdict.message.clone()),
        None if facts.suspended => Verdict::new("True", Reason::Suspended, "Suspended by spec.suspended: nobody may connect."),
        None if facts.pause.is_some() => {
            let message = "The tenant is served as the resource says. Paused by annotation: changes are not taken up.";
            Verdict::new("True", Reason::Paused, message)
        }
        None => Verdict::new("True", Reason::Ready, "The tenant is served as the resource says."),
    }
}

/// `QuotaSaturated`: as it was, or absent, while nothing is known of use.
fn saturated(facts: &Facts, previous: Option<&RealtimeTenantStatus>, now: Timestamp) -> Option<Condition> {
    let before = previous.and_then(|previous| find(previous, ConditionType::QuotaSaturated));
    let Some(usage) = &facts.usage else { return before.cloned() };
    let verdict = saturation::verdict(usage, before);
    Some(condition(ConditionType::QuotaSaturated, verdict, facts.generation, before, now))
}

/// The first problem's reason, and what all of them say.
pub fn summary<'a>(problems: impl Iterator<Item = &'a Rejection>) -> Option<(Reason, String)> {
    let mut reason = None;
    let mut message = String::new();
    for problem in problems {
        reason.get_or_insert(problem.code.reason());
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&problem.to_string());
    }
    Some((reason?, message))
}

/// A condition, given what it was `before`.
pub fn condition(kind: ConditionType, verdict: Verdict, generation: i64, before: Option<&Condition>, now: Timestamp) -> Condition {
    let Verdict { status, reason, mut message } = verdict;
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX - '…'.len_utf8()));
        message.push('…');
    }
    let before = before.filter(|before| before.status == status);
    Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
    }
}

fn fleet(facts: &Facts, previous: Option<&RealtimeTenantStatus>, now: Timestamp) -> FleetStatus {
    let count = |wanted: fn(&Standing) -> bool| {
        i32::try_from(facts.pods.iter().filter(|(_, standing)| wanted(standing)).count()).unwrap_or(i32::MAX)
    };
    let (eligible, programmed) = (count(|_| true), count(|standing| *standing == Standing::Programmed));
    let before = previous.and_then(|previous| previous.fleet.as_ref());
    let mut behind: Vec<_> = facts.pods.iter().filter_map(|(pod, standing)| Some((pod, lag(standing, facts.kept)?))).collect();
    behind.sort();
    let lagging = behind.into_iter().take(LAGGING_MAX).map(|(pod, reason)| {
        let before = before.and_then(|before| before.lagging.iter().find(|lagging| lagging.pod == *pod && lagging.reason == reason));
        LaggingPod { pod: pod.clone(), since: before.map_or(Time(now), |before| before.since.clone()), reason }
    });
    FleetStatus {
        name: Some(facts.fleet.to_string()),
        moving_from: facts.moving_from.iter().take(MOVING_FROM_MAX).map(ToString::to_string).collect(),
        summary: format!("{programmed}/{eligible}"),
        eligible,
        programmed,
        rejected: count(|standing| matches!(standing, Standing::Rejected(_))),
        lagging: lagging.collect(),
    }
}

fn lag(standing: &Standing, kept: bool) -> Option<String> {
    match standing {
        Standing::Programmed => None,
        Standing::Rejected(rejected) => Some(format!("refused {}", rejected.field)),
        Standing::Asking => Some("not asked yet".to_owned()),
        Standing::Starting => Some(Trouble::Unreachable.to_string()),
        Standing::Pending if kept => Some("waits for the resource to compile again".to_owned()),
        Standing::Pending => Some("update pending".to_owned()),
        Standing::Trouble(trouble) => Some(trouble.to_string()),
    }
}

#[cfg(test)]
mod tests;
