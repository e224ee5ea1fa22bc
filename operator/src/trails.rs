//! Changes on their way: from the watch that brought one, through compiling and publishing, to the last pod's acknowledgement and the status that
//! says so. Every step is one line of the log with the same field `change`, as in `acme@7-1a2b3c4d`: the tenant and the version that came of
//! it. No I/O, and the clock is handed in.

use std::{collections::HashMap, time::Duration};

use carillon_tenant::{Change, Position, TenantId, TenantMessage};
use tokio::time::Instant;

use crate::{
    acks::Plan,
    metrics::{Metrics, Stage},
    object::ObjectKey,
};

/// Changes that are followed at once; more are only seen in each step's own line.
const TRAILS_MAX: usize = 16_384;
/// Changes that one line names.
const NAMES_MAX: usize = 32;

/// Every change that is on its way, by the object it is of.
#[derive(Debug, Default)]
pub struct Trails(HashMap<ObjectKey, Trail>);

#[derive(Debug)]
struct Trail {
    seen: Instant,
    /// What came of it, once it is compiled.
    change: Option<String>,
    version: Option<String>,
    published: bool,
    acknowledged: bool,
}

impl Trails {
    /// The object, or something it depends on, was seen to change. What is already on its way before it is compiled, is the same change.
    pub fn seen(&mut self, key: &ObjectKey, now: Instant) {
        let full = self.0.len() >= TRAILS_MAX;
        match self.0.get_mut(key) {
            Some(trail) if trail.change.is_none() => {}
            Some(trail) => *trail = Trail::new(now),
            None if full => {}
            None => _ = self.0.insert(key.clone(), Trail::new(now)),
        }
    }

    /// Nothing came of it, or the object is gone.
    pub fn ended(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// Another replica follows them from now on.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// `message` came of it.
    pub fn compiled(&mut self, key: &ObjectKey, message: &TenantMessage, metrics: &Metrics, now: Instant) {
        let change = Change(&message.tenant_id, &message.config_version).to_string();
        let trail = self.0.get_mut(key);
        let elapsed = trail.map(|trail| {
            trail.change = Some(change.clone());
            trail.version = Some(message.config_version.to_string());
            metrics.change(Stage::Compiled, trail.after(now));
            trail.after(now).as_secs_f64()
        });
        tracing::info!(change, tenant = %key, version = %message.config_version, elapsed_seconds = elapsed, "tenant compiled");
    }

    /// Everything that is compiled is published at `position`, to that many pods.
    pub fn published(&mut self, position: Position, tenants: usize, kept: usize, pods: usize) {
        let mut names: Vec<&str> = Vec::new();
        for trail in self.0.values_mut().filter(|trail| !trail.published) {
            if let Some(change) = &trail.change {
                names.push(change);
                trail.published = true;
            }
        }
        names.sort_unstable();
        tracing::info!(change = listed(&names), %position, tenants, kept, pods, "publishing");
        if pods == 0 {
            // There is nobody to acknowledge it, and how long somebody takes to come says nothing about the change.
            self.0.retain(|_, trail| !trail.published);
        }
    }

    /// Objects whose change is published and not known to be acknowledged by every pod.
    pub fn awaited(&self) -> impl Iterator<Item = &ObjectKey> {
        self.0.iter().filter(|(_, trail)| trail.is_awaited()).map(|(key, _)| key)
    }

    /// The version that is awaited of the object.
    pub fn awaits(&self, key: &ObjectKey) -> Option<&str> {
        self.0.get(key).filter(|trail| trail.is_awaited())?.version.as_deref()
    }

    /// Every one of `pods` pods acknowledged the version that was awaited.
    pub fn acknowledged(&mut self, key: &ObjectKey, pods: usize, metrics: &Metrics, now: Instant) {
        let Some(trail) = self.0.get_mut(key) else { return };
        trail.acknowledged = true;
        metrics.change(Stage::Acknowledged, trail.after(now));
        let elapsed_seconds = trail.after(now).as_secs_f64();
        tracing::info!(change = trail.change, tenant = %key, pods, elapsed_seconds, "acknowledged by every pod");
    }

    /// The status was written that says so of `version`.
    pub fn told(&mut self, key: &ObjectKey, version: &str, metrics: &Metrics, now: Instant) {
        let Some(trail) = self.0.get(key).filter(|trail| trail.version.as_deref() == Some(version)) else { return };
        metrics.change(Stage::Programmed, trail.after(now));
        let elapsed_seconds = trail.after(now).as_secs_f64();
        tracing::info!(change = trail.change, tenant = %key, elapsed_seconds, "status says Programmed");
        self.0.remove(key);
    }
}

impl Trail {
    const fn new(seen: Instant) -> Self {
        Self { seen, change: None, version: None, published: false, acknowledged: false }
    }

    fn after(&self, now: Instant) -> Duration {
        now.duration_since(self.seen)
    }

    const fn is_awaited(&self) -> bool {
        self.published && !self.acknowledged
    }
}

/// The changes that a push brings to a pod; a snapshot brings all there are, and names none.
pub fn names(plan: &Plan) -> Option<String> {
    let Plan::Delta(delta) = plan else { return None };
    let upserts = delta.upserts.iter().map(|message| Change(&message.tenant_id, &message.config_version).to_string());
    let removals = delta.removals.iter().map(|tenant: &TenantId| format!("{tenant}@removed"));
    let names: Vec<_> = upserts.chain(removals).collect();
    listed(&names)
}

/// `None` without a name.
fn listed<S: AsRef<str>>(names: &[S]) -> Option<String> {
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!names.is_empty()).then(|| shown.join(" ") + &more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{POSITION, message};

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("n", name)
    }

    /// What the histogram has counted of a stage.
    fn counted(metrics: &Metrics, stage: &str) -> String {
        let begin = format!("carillon_operator_change_duration_seconds_count{{stage=\"{stage}\"}} ");
        metrics.encode().lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned)).unwrap_or_default()
    }

    #[test]
    fn a_change_is_followed_to_its_end_and_measured_from_its_beginning() {
        let (mut trails, metrics, start) = (Trails::default(), Metrics::default(), Instant::now());
        let (acme, first) = (key("acme"), message("a", 1));
        let version = first.config_version.as_str();
        trails.seen(&acme, start);
        assert_eq!(trails.awaited().count(), 0, "not published yet");
        trails.compiled(&acme, &first, &metrics, start + Duration::from_millis(5));
        trails.published(POSITION, 1, 0, 2);
        assert_eq!(trails.awaits(&acme), Some(version));
        trails.acknowledged(&acme, 2, &metrics, start + Duration::from_millis(200));
        assert_eq!(trails.awaits(&acme), None, "it is told once");
        trails.told(&acme, "another", &metrics, start);
        trails.told(&acme, version, &metrics, start + Duration::from_secs(1));
        trails.told(&acme, version, &metrics, start + Duration::from_secs(9));
        for stage in ["compiled", "acknowledged", "programmed"] {
            assert_eq!(counted(&metrics, stage), "1", "{stage}");
        }
        assert!(trails.0.is_empty());
    }

    #[test]
    fn a_newer_change_takes_the_place_of_one_on_its_way() {
        let (mut trails, metrics, start) = (Trails::default(), Metrics::default(), Instant::now());
        let acme = key("acme");
        trails.seen(&acme, start);
        trails.compiled(&acme, &message("a", 1), &metrics, start);
        trails.published(POSITION, 1, 0, 1);
        trails.seen(&acme, start + Duration::from_secs(1));
        trails.seen(&acme, start + Duration::from_secs(2));
        assert_eq!(trails.awaits(&acme), None);
        assert_eq!(trails.0[&acme].seen, start + Duration::from_secs(1), "from the first that is not compiled");
        trails.ended(&acme);
        trails.told(&acme, message("a", 1).config_version.as_str(), &metrics, start);
        assert_eq!(counted(&metrics, "programmed"), "0");
    }

    #[test]
    fn without_pods_nobody_is_awaited_and_lines_stay_short() {
        let (mut trails, metrics, start) = (Trails::default(), Metrics::default(), Instant::now());
        trails.seen(&key("acme"), start);
        trails.compiled(&key("acme"), &message("a", 1), &metrics, start);
        trails.published(POSITION, 1, 0, 0);
        assert!(trails.0.is_empty());
        let many: Vec<_> = (0..40).map(|number| format!("t{number}@1")).collect();
        assert!(listed(&many).unwrap().ends_with(" t31@1 and 8 more"));
        assert_eq!(listed::<&str>(&[]), None);
    }
}
