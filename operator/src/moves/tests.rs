use super::*;
use crate::fixtures::{id, message};

/// Two fleets: which of their pods run what, and what was published last.
#[derive(Default)]
struct Model {
    /// By fleet: one entry a pod, the tenants that it runs, all as they should be.
    pods: BTreeMap<FleetName, Vec<BTreeSet<TenantId>>>,
    shares: BTreeMap<FleetName, Share>,
}

impl Pods for Model {
    fn roll(&self, fleet: &FleetName, tenant: &TenantId, _: &ConfigVersion) -> Roll {
        let pods = self.pods.get(fleet).map_or(&[][..], Vec::as_slice);
        let programmed = pods.iter().filter(|runs| runs.contains(tenant)).count();
        Roll { eligible: pods.len(), programmed, runs: programmed > 0 }
    }

    fn serves(&self, fleet: &FleetName, tenant: &TenantId) -> bool {
        self.shares.get(fleet).is_some_and(|share| share.tenants.contains_key(tenant))
    }
}

fn fleet(name: &str) -> FleetName {
    FleetName::new(name).unwrap()
}

fn fleets() -> Fleets {
    Fleets::new(["default=a", "noisy=b"].map(|fleet| fleet.parse().unwrap()).to_vec()).unwrap()
}

impl Model {
    fn with(default: &[&[&str]], noisy: &[&[&str]]) -> Self {
        let pods = |pods: &[&[&str]]| pods.iter().map(|runs| runs.iter().map(|tenant| id(tenant)).collect()).collect();
        Self { pods: [(fleet("default"), pods(default)), (fleet("noisy"), pods(noisy))].into(), shares: BTreeMap::new() }
    }

    /// Publishes the tenant `a` of that fleet; where it is in the default fleet and in the noisy one: `own`, `guest`, `kept` or `-`.
    fn publish(&mut self, moves: &mut Moves, home: &str, now: Instant) -> [&'static str; 2] {
        let (a, home) = (message("a", 1), fleet(home));
        let all = ([(id("a"), Arc::new(a))].into(), BTreeSet::new());
        self.shares = moves.share(&fleets(), all, |_| Some(&home), self, now);
        ["default", "noisy"].map(|name| {
            let share = &self.shares[&fleet(name)];
            match (share.tenants.contains_key(&id("a")), share.keep.contains(&id("a")), share.guests.contains(&id("a"))) {
                (true, false, false) => "own",
                (true, false, true) => "guest",
                (false, true, true) => "kept",
                (false, false, false) => "-",
                other => panic!("{name}: {other:?}"),
            }
        })
    }
}

#[test]
fn a_tenant_is_where_its_class_says_and_nowhere_else() {
    let (mut moves, now) = (Moves::default(), Instant::now());
    let mut model = Model::with(&[&["a"], &["a"]], &[&[]]);
    assert_eq!(model.publish(&mut moves, "default", now), ["own", "-"]);
    // One that restarts unsettles nothing.
    model.pods.get_mut(&fleet("default")).unwrap()[0].clear();
    assert_eq!(model.publish(&mut moves, "default", now), ["own", "-"]);
    assert!(!moves.concern(&Touched::All) && moves.next().is_none());
}

#[test]
fn one_that_moves_is_served_in_both_until_every_pod_of_the_new_fleet_runs_it() {
    let (mut moves, now) = (Moves::default(), Instant::now());
    let mut model = Model::with(&[&["a"], &["a"]], &[&[], &[]]);
    model.publish(&mut moves, "default", now);
    assert_eq!(model.publish(&mut moves, "noisy", now), ["guest", "own"]);
    assert!(moves.concern(&Touched::Only(vec![id("a")])) && !moves.concern(&Touched::Only(vec![id("b")])));
    model.pods.get_mut(&fleet("noisy")).unwrap()[0].insert(id("a"));
    assert_eq!(model.publish(&mut moves, "noisy", now), ["guest", "own"]);
    model.pods.get_mut(&fleet("noisy")).unwrap()[1].insert(id("a"));
    assert_eq!(model.publish(&mut moves, "noisy", now), ["-", "own"]);
    // And back: of what it has dropped nothing is left to serve.
    model.pods = Model::with(&[&[], &[]], &[&["a"], &["a"]]).pods;
    assert_eq!(model.publish(&mut moves, "default", now), ["own", "guest"]);
}

#[test]
fn after_a_minute_one_pod_is_enough_and_none_never_is() {
    let (mut moves, now) = (Moves::default(), Instant::now());
    let mut model = Model::with(&[&["a"]], &[&[], &[]]);
    model.publish(&mut moves, "default", now);
    model.publish(&mut moves, "noisy", now);
    assert_eq!(moves.next(), Some(now + PATIENCE));
    let later = now + PATIENCE;
    assert_eq!(model.publish(&mut moves, "noisy", later), ["guest", "own"], "nobody there serves it");
    assert_eq!(moves.next(), None, "news of pods are waited for");
    model.pods.get_mut(&fleet("noisy")).unwrap()[0].insert(id("a"));
    assert_eq!(model.publish(&mut moves, "noisy", later), ["-", "own"]);
    // A fleet without pods takes over from nobody, however long.
    let mut model = Model::with(&[&["a"]], &[]);
    let mut moves = Moves::default();
    model.publish(&mut moves, "noisy", now);
    assert_eq!(model.publish(&mut moves, "noisy", now + PATIENCE * 100), ["guest", "own"]);
}

#[test]
fn a_leader_that_takes_over_in_the_middle_learns_from_pods_who_serves_it() {
    let now = Instant::now();
    let mut moves = Moves::default();
    // Nothing is known of any pod yet.
    let mut model = Model::with(&[&[]], &[&[]]);
    assert_eq!(model.publish(&mut moves, "noisy", now), ["kept", "own"], "whatever they run, they keep");
    assert!(moves.concern(&Touched::All));
    model.pods = Model::with(&[&["a"]], &[&[]]).pods;
    assert_eq!(model.publish(&mut moves, "noisy", now), ["guest", "own"]);
    model.pods = Model::with(&[&["a"]], &[&["a"]]).pods;
    assert_eq!(model.publish(&mut moves, "noisy", now), ["-", "own"]);
}

#[test]
fn what_does_not_compile_is_kept_wherever_it_runs_and_one_fleet_has_everything() {
    let now = Instant::now();
    let kept = || (BTreeMap::new(), BTreeSet::from([id("k")]));
    let home = fleet("noisy");
    let shares = Moves::default().share(&fleets(), kept(), |_| Some(&home), &Model::default(), now);
    assert!(shares.values().all(|share| share.keep.contains(&id("k"))));
    assert_eq!(shares.values().map(|share| share.guests.len()).collect::<Vec<_>>(), [1, 0], "it is told as the noisy fleet's");
    let shares = Moves::default().share(&Fleets::default(), kept(), |_| Some(&home), &Model::default(), now);
    assert_eq!((shares.len(), shares[&fleet("default")].keep.len(), shares[&fleet("default")].guests.len()), (1, 1, 0));
}
