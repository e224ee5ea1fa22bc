//! Everything around the planner, played: Secrets with versions, kubelets that take their time, servers, leaders that crash.

use std::{collections::BTreeMap, time::Duration};

use carillon_tenant::{CertificateFingerprint, Validity, push::CertificatesInForce};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::certificates::{
    made,
    plan::{self, Found, Leaf, Lives, Pods, Side, Since, Step},
    stored::{Content, Names, Place, RENEW, Secrets},
};

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;
pub const LIVES: Lives = Lives { authority: 31_536_000, certificate: 7_776_000 };

const SERVER: Place = Place::Of(Side::Server);
/// A kubelet looks after mounted Secrets so often, and as much later as its cache is old; then the server looks at its files.
const KUBELET: std::ops::Range<i64> = 30..95;
/// How often a leader looks, and a pusher asks, in seconds.
const TURN: i64 = 5;
/// After this long without a change there is nothing to see for hours.
const QUIET: i64 = 300;

pub struct World {
    pub now: i64,
    /// When something was last asked for.
    pub began: i64,
    pub secrets: Secrets,
    pub pods: Vec<Pod>,
    /// How likely a leader ends at each write, before or after it.
    pub crashes: f64,
    /// Handshakes that failed.
    pub refused: usize,
    pub conflicts: usize,
    pub made: BTreeMap<Place, usize>,
    leaders: Vec<Leader>,
    lives_of: BTreeMap<CertificateFingerprint, Validity>,
    version: u64,
    changed: i64,
    dice: StdRng,
}

#[derive(Default)]
pub struct Pod {
    clock: i64,
    pub away: bool,
    /// It is of a version that doesn't tell its certificates.
    pub says_nothing: bool,
    in_force: Option<Leaf>,
    next_sync: i64,
    heard: Option<CertificatesInForce>,
}

#[derive(Default)]
struct Leader {
    clock: i64,
    since: Since,
    started: i64,
    own: Option<Leaf>,
    /// What it has read and wants to write; the other may write before.
    draft: Option<(Place, Secret, Step)>,
}

impl World {
    pub fn new(seed: u64, pods: usize) -> Self {
        let now = 1_800_000_000;
        Self {
            now,
            began: now,
            secrets: Secrets::new(),
            pods: (0..pods).map(|_| Pod::default()).collect(),
            crashes: 0.0,
            refused: 0,
            conflicts: 0,
            made: BTreeMap::new(),
            leaders: vec![Leader { started: now, ..Leader::default() }],
            lives_of: BTreeMap::new(),
            version: 0,
            changed: now,
            dice: StdRng::seed_from_u64(seed),
        }
    }

    /// Everyone's clock is wrong by up to so many seconds.
    pub fn clocks_differ(&mut self, seconds: i64) {
        for pod in &mut self.pods {
            pod.clock = self.dice.random_range(-seconds..=seconds);
        }
        for leader in &mut self.leaders {
            leader.clock = self.dice.random_range(-seconds..=seconds);
        }
    }

    pub fn second_leader(&mut self) {
        self.leaders.push(Leader { started: self.now, ..Leader::default() });
    }

    pub fn ask(&mut self, words: &str) {
        let secret = self.secrets.get_mut(&Place::Authority).unwrap();
        secret.annotations_mut().insert(RENEW.to_owned(), words.to_owned());
        self.touched(Place::Authority);
        self.began = self.now;
    }

    /// Someone has written this Secret.
    pub fn touched(&mut self, place: Place) {
        self.version += 1;
        self.changed = self.now;
        self.secrets.get_mut(&place).unwrap().metadata.resource_version = Some(self.version.to_string());
    }

    pub fn content(&self) -> Content {
        Content::read(&self.secrets, &names())
    }

    pub fn found(&self) -> Found {
        self.content().found
    }

    /// A leader reads and, if there is something to do, does it. True when it wrote.
    pub fn act(&mut self, leader: usize) -> bool {
        self.reads(leader) && self.writes(leader)
    }

    fn reads(&mut self, leader: usize) -> bool {
        let content = self.content();
        let pods: Pods = self.pods.iter().map(|pod| pod.heard.clone()).collect();
        for known in content.found.authority.iter().chain(&content.found.older) {
            self.lives_of.insert(known.fingerprint.clone(), known.validity);
        }
        let of = &mut self.leaders[leader];
        if content.found.operator.is_some() {
            of.own.clone_from(&content.found.operator);
        }
        let (now, uptime) = (self.now + of.clock, Duration::from_secs((self.now - of.started).unsigned_abs()));
        of.since.observe(&content.found, uptime);
        let step = plan::next(&content.found, &of.since, Some(&pods), LIVES, now, uptime);
        let written = content.written(&self.secrets, &step, LIVES, &names(), now).unwrap();
        of.draft = written.map(|(place, secret)| (place, secret, step));
        of.draft.is_some()
    }

    fn writes(&mut self, leader: usize) -> bool {
        let Some((place, secret, step)) = self.leaders[leader].draft.take() else { return false };
        let crashes = self.dice.random_bool(self.crashes);
        if crashes && self.dice.random_bool(0.5) {
            self.restarts(leader);
            return false;
        }
        let version = |secret: Option<&Secret>| secret.and_then(ResourceExt::resource_version);
        if version(self.secrets.get(&place)) != version(Some(&secret)) {
            self.conflicts += 1;
            return true;
        }
        if let Some(place) = made(&step) {
            *self.made.entry(place).or_default() += 1;
        }
        self.secrets.insert(place, secret);
        self.touched(place);
        if crashes {
            self.restarts(leader);
        }
        true
    }

    /// It ends, and another takes over, with another clock.
    fn restarts(&mut self, leader: usize) {
        let clock = if self.leaders[leader].clock == 0 { 0 } else { self.dice.random_range(-300..=300) };
        self.leaders[leader] = Leader { clock, started: self.now, ..Leader::default() };
    }

    /// Some time passes: seconds while something happens, hours while nothing does.
    pub fn passes(&mut self) {
        self.now += if self.now - self.changed > QUIET { self.dice.random_range(6 * HOUR..12 * HOUR) } else { TURN };
        let mut bored = Vec::new();
        for leader in 0..self.leaders.len() {
            // With two of them each may have read before the other writes.
            bored.push(!self.reads(leader));
        }
        for leader in 0..self.leaders.len() {
            self.writes(leader);
        }
        if bored.contains(&false) {
            for leader in 0..self.leaders.len() {
                while self.act(leader) {}
            }
        }
        // As a server reads what its kubelet brings: without the authority's Secret.
        let mounted = self.secrets.get(&SERVER).map(|secret| Secrets::from([(SERVER, secret.clone())]));
        let found = mounted.map(|only| Content::read(&only, &names()).found).unwrap_or_default();
        if bored.contains(&false) || found.older.len() > 1 {
            self.changed = self.now;
        }
        for pod in 0..self.pods.len() {
            self.pod_passes(pod, found.server.clone());
        }
    }

    fn pod_passes(&mut self, pod: usize, mounted: Option<Leaf>) {
        let wait = self.dice.random_range(KUBELET);
        let pod = &mut self.pods[pod];
        if pod.away {
            return;
        }
        if self.now >= pod.next_sync {
            pod.next_sync = self.now + wait;
            // What can't be used is not taken.
            pod.in_force = mounted.filter(|leaf| !leaf.believes.is_empty()).or(pod.in_force.take());
        }
        let Some(shown) = pod.in_force.clone() else { return };
        for leader in &self.leaders {
            let Some(own) = &leader.own else { continue };
            let valid = |fingerprint: &CertificateFingerprint, clock| {
                self.lives_of.get(fingerprint).is_some_and(|validity| validity.contains(self.now + clock))
            };
            let operator_takes = own.believes.contains(&shown.issuer)
                && valid(&shown.issuer, leader.clock)
                && shown.known.validity.contains(self.now + leader.clock);
            let server_takes =
                shown.believes.contains(&own.issuer) && valid(&own.issuer, pod.clock) && own.known.validity.contains(self.now + pod.clock);
            if operator_takes && server_takes {
                let report = CertificatesInForce { serving: shown.known.fingerprint.clone(), authorities: shown.believes.clone() };
                pod.heard = Some(report).filter(|_| !pod.says_nothing);
            } else {
                self.refused += 1;
            }
        }
    }

    /// Goes on until nothing is left to do, and every pod that is there has what is in the Secret.
    pub fn settles(&mut self) {
        for _ in 0..10_000 {
            // No hours yet.
            self.changed = self.now;
            self.passes();
            let found = self.found();
            let done = found.older.is_empty() && found.authority.is_some() && found.asked.is_none() | (found.asked == found.done);
            let current = |pod: &Pod| pod.away || pod.in_force == found.server;
            if done && found.server.is_some() && found.operator.is_some() && self.pods.iter().all(current) && !self.busy() {
                return;
            }
        }
        panic!("it does not end: {:?}", self.found());
    }

    fn busy(&mut self) -> bool {
        let busy = self.reads(0);
        self.leaders[0].draft = None;
        busy
    }

    #[track_caller]
    pub fn nobody_was_refused(&self) {
        assert_eq!(self.refused, 0, "{} s after {}: {:?}", self.now - self.began, self.began, self.found());
    }
}

fn names() -> Names {
    let name = |name: &str| name.to_owned().try_into().unwrap();
    Names { server: name("carillon-server"), operator: name("carillon-operator") }
}
