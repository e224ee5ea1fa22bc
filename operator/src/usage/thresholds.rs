//! Events when a tenant comes near a limit and when it reaches it.

use std::time::Duration;

use carillon_crds::UsageStatus;
use carillon_tenant::Code;
use tokio::time::Instant;

use super::{
    Level, Usage, limit_text,
    saturation::{NOTHING_REFUSED, Words},
};
use crate::events::News;

/// The same is told of a tenant at most once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(600);

/// How one tenant stood to its counted limits when it was last looked at, and what was told of that.
#[derive(Debug)]
pub struct Thresholds([Watched; 2]);

#[derive(Debug)]
struct Watched {
    code: Code,
    level: Level,
    nearly_told: Option<Instant>,
    reached_told: Option<Instant>,
}

impl Thresholds {
    /// Begins with what the status says: what an earlier operator told needs no telling again.
    pub fn new(usage: &Usage, previous: Option<&UsageStatus>) -> Self {
        let before = |count: fn(&UsageStatus) -> i64| previous.map_or(0, |previous| u64::try_from(count(previous)).unwrap_or_default());
        let watched = |code, level| Watched { code, level, nearly_told: None, reached_told: None };
        Self([
            watched(Code::ConnectionsMax, Level::of(before(|status| status.connections), usage.limits.connections)),
            watched(Code::RoomsMax, Level::of(before(|status| status.rooms), usage.limits.rooms)),
        ])
    }

    /// What is worth an Event now.
    pub fn look(&mut self, usage: &Usage, now: Instant) -> Vec<News> {
        let counted = [(usage.connections, usage.limits.connections), (usage.rooms_at_least, usage.limits.rooms)];
        let mut news = Vec::new();
        for (watched, (count, limit)) in self.0.iter_mut().zip(counted) {
            let level = Level::of(count, limit);
            let rose = level > watched.level;
            watched.level = level;
            let told = match level {
                Level::Nearly => &mut watched.nearly_told,
                Level::Reached => &mut watched.reached_told,
                Level::Idle | Level::Below => continue,
            };
            if rose && told.is_none_or(|told| now.duration_since(told) >= REPEAT_AFTER) {
                *told = Some(now);
                news.extend(tell(watched.code, level, &limit_text(limit), usage.limits.enforced));
            }
        }
        news
    }
}

/// A Warning also when a limit is only near: it is then that raising it spares clients a refusal, and Warnings are what people
/// filter and forward.
fn tell(code: Code, level: Level, limit: &str, enforced: bool) -> Option<News> {
    let Words { field, refused, .. } = Words::of(code)?;
    let (reason, met) = match level {
        Level::Reached => ("QuotaReached", format!("{field} ({limit}) is reached")),
        _ => ("QuotaNearlyReached", format!("80 % of {field} ({limit}) is in use")),
    };
    let note = match (enforced, level) {
        (false, _) => format!("{met}; {NOTHING_REFUSED}."),
        (true, Level::Reached) => format!("{met}: {refused}."),
        (true, _) => format!("{met}: at the limit {refused}."),
    };
    Some(News { warning: true, reason: reason.to_owned(), note })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::fixtures::usage;

    #[test]
    fn each_threshold_is_told_when_it_is_crossed_upwards_and_once_in_ten_minutes() {
        let start = Instant::now();
        let mut thresholds = Thresholds::new(&usage(0, 0, 0), None);
        // When, connections and rooms of 1000 each; what is told.
        let cases: [(u64, [u64; 2], &[&str]); 11] = [
            (0, [100, 0], &[]),
            (5, [800, 0], &["QuotaNearlyReached spec.quotas.connections.max"]),
            (10, [900, 0], &[]),
            (15, [1000, 0], &["QuotaReached spec.quotas.connections.max"]),
            (20, [1000, 850], &["QuotaNearlyReached spec.quotas.rooms.max"]),
            (25, [700, 0], &[]),
            (30, [1000, 0], &[]),
            (604, [700, 0], &[]),
            (605, [850, 0], &["QuotaNearlyReached spec.quotas.connections.max"]),
            (610, [700, 0], &[]),
            (615, [1200, 1000], &["QuotaReached spec.quotas.connections.max", "QuotaReached spec.quotas.rooms.max"]),
        ];
        for (seconds, [connections, rooms], expected) in cases {
            let told = thresholds.look(&usage(connections, rooms, 0), start + Duration::from_secs(seconds));
            let told: Vec<_> = told
                .iter()
                .map(|news| format!("{} {}", news.reason, news.note.split(' ').find(|word| word.starts_with("spec.")).unwrap()))
                .collect();
            assert_eq!(told, expected, "after {seconds} s");
        }
    }

    #[test]
    fn a_new_operator_repeats_nothing_and_a_lowered_limit_is_told() {
        let now = Instant::now();
        let mut reached = usage(1000, 0, 0);
        let status = reached.status(Timestamp::UNIX_EPOCH);
        assert_eq!(Thresholds::new(&reached, Some(&status)).look(&reached, now), []);
        assert_eq!(Thresholds::new(&reached, None).look(&reached, now).len(), 1);
        let mut thresholds = Thresholds::new(&usage(500, 0, 0), None);
        assert_eq!(thresholds.look(&usage(500, 0, 0), now), []);
        reached.connections = 500;
        reached.limits.connections = carillon_tenant::Limit::Max(400);
        let told = thresholds.look(&reached, now);
        assert_eq!(told[0].note, "spec.quotas.connections.max (400) is reached: new connections are refused until some end.");
    }

    #[test]
    fn notes_say_what_comes_and_what_a_dry_run_spares() {
        let note = |level, enforced| tell(Code::RoomsMax, level, "1000", enforced).unwrap().note;
        assert_eq!(
            note(Level::Nearly, true),
            "80 % of spec.quotas.rooms.max (1000) is in use: at the limit new rooms are refused until some empty."
        );
        let dry = "spec.quotas.rooms.max (1000) is reached; nothing is refused, since spec.quotas.enforcement is DryRun.";
        assert_eq!(note(Level::Reached, false), dry);
    }
}
