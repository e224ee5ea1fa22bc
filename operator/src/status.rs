//! From what is known of a tenant to its status. Pure: the clock and the previous status are handed in.

use carillon_crds::{ConditionType, EffectiveStatus, FleetStatus, LaggingPod, RealtimeTenantStatus, Reason};
use carillon_tenant::{KeyReport, Rejection};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::{
    acks::Standing,
    index::Pause,
    metrics::TenantState,
    usage::{self, Usage, saturation},
};

/// Pods named in a status.
const LAGGING_MAX: usize = 5;
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
    /// Every eligible pod, by name, and how it stands to `version`.
    pub pods: Vec<(String, Standing)>,
    /// What it uses on all of them; `None` while that is not known.
    pub usage: Option<Usage>,
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

/// True when the pods may soon catch up, so that it pays to wait a moment before telling.
pub fn is_transitional(status: &RealtimeTenantStatus) -> bool {
    status.conditions.iter().any(|condition| condition.reason == Reason::Pending.as_str())
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
        return Verdict::new("False", Reason::NoServers, "There is no server pod.");
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
        Standing::Pending if kept => Some("waits for the resource to compile again".to_owned()),
        Standing::Pending => Some("update pending".to_owned()),
        Standing::Trouble(trouble) => Some(trouble.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use carillon_crds::{KeyStatus, SigningAlgorithm};
    use carillon_tenant::RejectionCode;

    use super::*;
    use crate::{
        acks::Trouble,
        fixtures::{id, usage, version},
    };

    fn facts() -> Facts {
        Facts {
            generation: 3,
            conflict: None,
            problems: Vec::new(),
            readable: true,
            pause: None,
            synced: None,
            suspended: false,
            version: Some("3-00000001".to_owned()),
            kept: false,
            effective: None,
            key_report: None,
            pods: vec![("server-0".to_owned(), Standing::Programmed), ("server-1".to_owned(), Standing::Programmed)],
            usage: None,
        }
    }

    fn with(standing: Standing) -> Facts {
        Facts { pods: vec![("server-0".to_owned(), Standing::Programmed), ("server-1".to_owned(), standing)], ..facts() }
    }

    fn problem(code: RejectionCode) -> Rejection {
        Rejection { code, field: "spec.auth.jwt.keys[0].secretKeyRef".to_owned(), message: "is wrong".to_owned() }
    }

    fn refused() -> Standing {
        Standing::Rejected(carillon_tenant::push::Rejected {
            tenant_id: id("acme"),
            config_version: version("3-00000001"),
            code: RejectionCode::Invalid,
            field: "spec.quotas".to_owned(),
            message: "too much".to_owned(),
        })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn conditions_follow_from_the_facts() {
        // Accepted, ResolvedRefs, Programmed, Ready, and the summary.
        type Expected = ([&'static str; 4], Option<&'static str>);
        let cases: Vec<(&str, Facts, Expected)> = vec![
            ("all is well", facts(), (["True/Accepted", "True/ResolvedRefs", "True/Programmed", "True/Ready"], Some("2/2"))),
            (
                "suspended",
                Facts { suspended: true, ..facts() },
                (["True/Accepted", "True/ResolvedRefs", "True/Programmed", "True/Suspended"], Some("2/2")),
            ),
            (
                "one pod behind",
                with(Standing::Pending),
                (["True/Accepted", "True/ResolvedRefs", "False/Pending", "False/Pending"], Some("1/2")),
            ),
            (
                "one pod out of reach",
                with(Standing::Trouble(Trouble::Unreachable)),
                (["True/Accepted", "True/ResolvedRefs", "False/Pending", "False/Pending"], Some("1/2")),
            ),
            ("one pod refuses", with(refused()), (["True/Accepted", "True/ResolvedRefs", "False/Rejected", "False/Rejected"], Some("1/2"))),
            (
                "no pods",
                Facts { pods: Vec::new(), ..facts() },
                (["True/Accepted", "True/ResolvedRefs", "False/NoServers", "False/NoServers"], Some("0/0")),
            ),
            (
                "Secret gone, last good in force",
                Facts { problems: vec![problem(RejectionCode::SecretNotFound)], ..facts() },
                (["True/Accepted", "False/SecretNotFound", "True/Programmed", "False/SecretNotFound"], Some("2/2")),
            ),
            (
                "invalid from the start",
                Facts { problems: vec![problem(RejectionCode::Invalid)], version: None, pods: Vec::new(), ..facts() },
                (["False/Invalid", "True/ResolvedRefs", "False/NotCompiled", "False/Invalid"], None),
            ),
            (
                "beyond its class, last good in force",
                Facts { problems: vec![problem(RejectionCode::ExceedsClass)], ..facts() },
                (["False/ExceedsClass", "True/ResolvedRefs", "True/Programmed", "False/ExceedsClass"], Some("2/2")),
            ),
            (
                "without its class from the start",
                Facts { problems: vec![problem(RejectionCode::ClassNotFound)], version: None, pods: Vec::new(), ..facts() },
                (["False/ClassNotFound", "True/ResolvedRefs", "False/NotCompiled", "False/ClassNotFound"], None),
            ),
            (
                "not readable, last good in force",
                Facts { problems: vec![problem(RejectionCode::Invalid)], readable: false, ..facts() },
                (["False/Invalid", "Unknown/Invalid", "True/Programmed", "False/Invalid"], Some("2/2")),
            ),
            (
                "paused",
                Facts { pause: Some(Pause::InForce), ..facts() },
                (["True/Accepted", "True/ResolvedRefs", "True/Programmed", "True/Paused"], Some("2/2")),
            ),
            (
                "changed while it is paused",
                Facts { pause: Some(Pause::Behind), ..facts() },
                (["Unknown/Paused", "Unknown/Paused", "True/Programmed", "False/Paused"], Some("2/2")),
            ),
            (
                "another holds the id",
                Facts { conflict: Some("held by n/older".to_owned()), ..facts() },
                (["False/Conflicted", "True/ResolvedRefs", "False/Conflicted", "False/Conflicted"], None),
            ),
        ];
        for (name, facts, (conditions, summary)) in cases {
            let status = status(&facts, None, at(0));
            let found: Vec<_> = status.conditions.iter().map(|condition| format!("{}/{}", condition.status, condition.reason)).collect();
            assert_eq!(found, conditions, "{name}");
            assert_eq!(status.fleet.as_ref().map(|fleet| fleet.summary.as_str()), summary, "{name}");
            assert_eq!(status.config_version.is_some(), summary.is_some(), "{name}");
            assert_eq!(status.observed_generation, Some(3), "{name}");
        }
    }

    #[test]
    fn nothing_moves_without_a_change() {
        let first = status(&with(Standing::Pending), None, at(10));
        assert_eq!(status(&with(Standing::Pending), Some(&first), at(99)), first);
        let second = status(&facts(), Some(&first), at(20));
        let times = |status: &RealtimeTenantStatus| {
            status.conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect::<Vec<_>>()
        };
        assert_eq!(times(&second), [10, 10, 20, 20]);
        // Another generation and reason, the same status: no transition.
        let third = status(&Facts { generation: 4, suspended: true, ..facts() }, Some(&second), at(30));
        assert_eq!(times(&third), [10, 10, 20, 20]);
        assert_ne!(third, second);
    }

    #[test]
    fn effective_quotas_stay_with_the_version_that_holds_them() {
        let quotas = |class: &str| Some(EffectiveStatus { class_name: Some(class.to_owned()), quotas: Vec::new() });
        let first = status(&Facts { effective: quotas("gold"), ..facts() }, None, at(0));
        assert_eq!(first.effective, quotas("gold"));
        let kept = status(&Facts { kept: true, ..facts() }, Some(&first), at(1));
        assert_eq!(kept.effective, quotas("gold"), "nothing but the version is known after a restart");
        assert_eq!(status(&Facts { effective: quotas("tin"), ..facts() }, Some(&first), at(1)).effective, quotas("tin"));
        assert_eq!(status(&Facts { version: None, ..facts() }, Some(&first), at(1)).effective, None);
    }

    #[test]
    fn the_last_sync_stays_told() {
        let first = status(&Facts { synced: Some("once".to_owned()), ..facts() }, None, at(0));
        assert_eq!(first.observed_sync.as_deref(), Some("once"));
        assert_eq!(status(&facts(), Some(&first), at(1)), first);
        let second = status(&Facts { synced: Some("twice".to_owned()), ..facts() }, Some(&first), at(1));
        assert_eq!(second.observed_sync.as_deref(), Some("twice"));
    }

    #[test]
    fn use_is_told_at_its_pace_and_saturation_at_once() {
        let using = |connections| Facts { usage: Some(usage(connections, 0, 0)), ..facts() };
        let saturated = |status: &RealtimeTenantStatus| {
            find(status, ConditionType::QuotaSaturated).map(|condition| format!("{}/{}", condition.status, condition.reason))
        };
        let connections = |status: &RealtimeTenantStatus| status.usage.as_ref().map(|usage| usage.connections);
        let unknown = status(&facts(), None, at(0));
        assert_eq!((connections(&unknown), saturated(&unknown)), (None, None), "nothing is known yet");
        let first = status(&using(500), Some(&unknown), at(0));
        assert_eq!((connections(&first), saturated(&first).as_deref()), (Some(500), Some("False/WithinLimits")));
        assert_eq!(status(&using(900), Some(&first), at(5)), first, "too soon");
        assert_eq!(status(&using(510), Some(&first), at(99)), first, "too little");
        assert_eq!(status(&facts(), Some(&first), at(99)), first, "not known any more");
        assert_eq!(connections(&status(&using(900), Some(&first), at(30))), Some(900));
        let full = status(&using(1000), Some(&first), at(5));
        assert_eq!((connections(&full), saturated(&full).as_deref()), (Some(1000), Some("True/ConnectionsMax")));
        assert_eq!(find(&full, ConditionType::Ready).unwrap().status, "True", "a tenant at its limit is ready");
        let changed = status(&Facts { generation: 4, ..using(510) }, Some(&first), at(5));
        assert_eq!(connections(&changed), Some(510), "what is written anyway tells the newest");
        let conflicted = status(&Facts { conflict: Some("held".to_owned()), ..using(5) }, Some(&full), at(99));
        assert_eq!((connections(&conflicted), saturated(&conflicted)), (None, None), "the use is another's");
    }

    #[test]
    fn fetched_keys_are_told_with_what_is_wrong_with_them() {
        let stale = Rejection {
            code: RejectionCode::JwksStale,
            field: "spec.auth.jwt.jwks[0].url".to_owned(),
            message: "https://id/ can't be fetched any more".to_owned(),
        };
        let key = KeyStatus { kid: None, algorithm: SigningAlgorithm::RS256, source: "https://id/".to_owned(), not_after: None };
        let with = |stale: &[Rejection], notes: &[&str]| {
            let notes = notes.iter().map(|note| (*note).to_owned()).collect();
            Facts { key_report: Some(KeyReport { keys: vec![key.clone()], stale: stale.to_vec(), notes }), ..facts() }
        };
        let noted = status(&with(&[], &["https://id/: key \"a\" skipped: x"]), None, at(0));
        let condition = find(&noted, ConditionType::ResolvedRefs).unwrap();
        assert_eq!(
            (condition.status.as_str(), condition.message.as_str()),
            ("True", "Every reference was found. https://id/: key \"a\" skipped: x.")
        );
        assert_eq!(noted.keys.len(), 1);
        let told = status(&with(&[stale], &[]), Some(&noted), at(1));
        let reasons = |kind| find(&told, kind).map(|condition| format!("{}/{}", condition.status, condition.reason)).unwrap();
        assert_eq!(
            (reasons(ConditionType::ResolvedRefs).as_str(), reasons(ConditionType::Programmed).as_str()),
            ("False/JwksStale", "True/Programmed")
        );
        assert_eq!(status(&facts(), Some(&told), at(2)).keys, told.keys, "kept while nothing is known but the version");
    }

    #[test]
    fn laggards_are_the_first_five_by_name_and_messages_name_none_of_them() {
        let pods = (0..9).rev().map(|index| (format!("server-{index}"), Standing::Pending)).collect();
        let status = status(&Facts { pods, ..facts() }, None, at(0));
        let fleet = status.fleet.unwrap();
        assert_eq!((fleet.eligible, fleet.programmed, fleet.rejected), (9, 0, 0));
        let names: Vec<_> = fleet.lagging.iter().map(|lagging| lagging.pod.as_str()).collect();
        assert_eq!(names, ["server-0", "server-1", "server-2", "server-3", "server-4"]);
        assert!(status.conditions.iter().all(|condition| !condition.message.contains("server-")));
    }

    #[test]
    fn every_problem_is_told_and_the_message_stays_bounded() {
        let two = Facts { problems: vec![problem(RejectionCode::SecretInvalid), problem(RejectionCode::SecretNotFound)], ..facts() };
        let told = status(&two, None, at(0));
        let condition = find(&told, ConditionType::ResolvedRefs).unwrap();
        assert_eq!(condition.reason, "SecretInvalid");
        assert_eq!(condition.message.matches("spec.auth.jwt.keys[0].secretKeyRef: is wrong").count(), 2);
        let many = Facts { problems: vec![problem(RejectionCode::Invalid); 100], ..facts() };
        assert!(status(&many, None, at(0)).conditions.iter().all(|condition| condition.message.len() <= MESSAGE_BYTES_MAX));
    }
}
