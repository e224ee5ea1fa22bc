//! A fleet of pods in one thread, with a clock of its own: what the shares of a rate add up to.

use std::time::Duration;

use carillon_tenant::{Code, Limit, Quotas};

use super::rates::{Budget, Demand, Rates};

const RATE: u32 = 1000;
const BURST: u32 = 2000;

fn quotas(rate: u32, burst: u32) -> Quotas {
    Quotas { publish_rate_per_second: Limit::Max(rate), publish_burst: burst, ..Quotas::default() }
}

/// How late pods hear of each other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum News {
    /// Each pod exchanges at a time of its own.
    Fresh,
    /// All exchange at the same moment, and so know of each other what was a second ago.
    Old,
}

struct Pod {
    rates: Rates,
    /// What it told last and the time before, and when it told it.
    told: [(u64, Demand); 2],
    exchanged_ms: u64,
    /// Cells offered, a thousandth of them at a time.
    owed: f64,
}

struct Fleet {
    pods: Vec<Pod>,
    quotas: Quotas,
    /// What was admitted in each millisecond.
    admitted: Vec<u32>,
}

impl Fleet {
    fn new(pods: usize, quotas: Quotas, news: News) -> Self {
        let phase = |index: usize| if news == News::Fresh { index as u64 * 1000 / pods as u64 } else { 0 };
        let pod = |index: usize| Pod { rates: Rates::default(), told: [(0, Demand::default()); 2], exchanged_ms: phase(index), owed: 0.0 };
        let fleet = Self { pods: (0..pods).map(pod).collect(), quotas, admitted: Vec::new() };
        let count = u32::try_from(pods).unwrap();
        fleet.pods.iter().for_each(|pod| pod.rates.alone(count, &fleet.quotas, Duration::ZERO));
        fleet
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.admitted.len() as u64)
    }

    fn exchange(&mut self, index: usize) {
        let (now, now_ms) = (self.now(), self.admitted.len() as u64);
        let pod = &mut self.pods[index];
        let own = pod.rates.demand(now);
        (pod.told, pod.exchanged_ms) = ([(now_ms, own), pod.told[0]], now_ms);
        // What is told at this very moment is not seen by the others yet.
        let seen = |(other, pod): (usize, &Pod)| pod.told[usize::from(other != index && pod.told[0].0 == now_ms)].1;
        let fleet: Demand = self.pods.iter().enumerate().map(seen).sum();
        let count = u32::try_from(self.pods.len()).unwrap();
        self.pods[index].rates.rebalance(&fleet, &own, count, &self.quotas, now);
    }

    /// One millisecond, with so many cells per second offered to each pod in requests of `cells`.
    fn step(&mut self, offered: &[f64], cells: u32) {
        let now = self.now();
        let mut admitted = 0;
        for (pod, offered) in self.pods.iter_mut().zip(offered) {
            pod.owed += offered / 1000.0;
            while pod.owed >= f64::from(cells) {
                pod.owed -= f64::from(cells);
                admitted += if pod.rates.admit(Budget::Publishes, cells, &self.quotas, now).is_ok() { cells } else { 0 };
            }
        }
        for index in 0..self.pods.len() {
            let due = self.admitted.len() as u64 >= self.pods[index].exchanged_ms + 1000;
            if due || self.pods[index].rates.wants_rebalance(now) {
                self.exchange(index);
            }
        }
        self.admitted.push(admitted);
    }

    fn run(&mut self, seconds: u64, offered: impl Fn(u64) -> Vec<f64>) -> &mut Self {
        for _ in 0..seconds * 1000 {
            let offered = offered(self.admitted.len() as u64 / 1000);
            self.step(&offered, 1);
        }
        self
    }

    fn per_second(&self, from: usize, to: usize) -> f64 {
        f64::from(self.admitted[from * 1000..to * 1000].iter().sum::<u32>()) / (to - from) as f64
    }

    /// By how much the worst of all windows goes beyond its rate and burst.
    fn excess(&self, rate: u32, burst: u32) -> f64 {
        let (mut worst, mut level) = (f64::MIN, 0.0_f64);
        for admitted in &self.admitted {
            level = (level - f64::from(rate) / 1000.0).max(0.0) + f64::from(*admitted);
            worst = worst.max(level - f64::from(burst));
        }
        worst
    }
}

fn split(parts: &[f64], times: f64) -> Vec<f64> {
    parts.iter().map(|part| part * f64::from(RATE) * times).collect()
}

#[test]
fn three_times_the_limit_unevenly_is_admitted_within_five_percent() {
    let cases: [(&str, Vec<Vec<f64>>); 4] = [
        ("90/5/3/2", vec![split(&[0.90, 0.05, 0.03, 0.02], 3.0)]),
        ("one hot, three idle", vec![split(&[1.0, 0.0, 0.0, 0.0], 3.0)]),
        ("even", vec![split(&[0.25; 4], 3.0)]),
        ("the hot one changes", vec![split(&[0.90, 0.05, 0.03, 0.02], 3.0), split(&[0.02, 0.03, 0.05, 0.90], 3.0)]),
    ];
    for (name, phases) in cases {
        for news in [News::Fresh, News::Old] {
            let mut fleet = Fleet::new(4, quotas(RATE, BURST), news);
            fleet.run(3, |_| vec![0.0; 4]);
            fleet.run(35, |second| phases[usize::try_from(second / 3).unwrap() % phases.len()].clone());
            for from in [2, 7, 12, 22] {
                let found = fleet.per_second(3 + from, 3 + from + 10);
                // All begin to need more at the same moment, and none has heard of the others: what they took too much is paid back.
                let slack = if name == "even" && from == 2 { 170.0 } else { 0.0 };
                assert!((950.0 - slack..=1050.0).contains(&found), "{name}, {news:?}: {found} per second from {from} s on");
            }
        }
    }
}

#[test]
fn a_lone_busy_pod_gets_nearly_all_at_once_and_an_idle_fleet_is_even() {
    let mut fleet = Fleet::new(4, quotas(RATE, BURST), News::Fresh);
    let idle: u64 = fleet.run(3, |_| vec![0.0; 4]).pods.iter().map(|pod| remaining(&pod.rates, 3000)).sum();
    assert_eq!(idle, u64::from(BURST));
    let now = fleet.now();
    let mut own = Demand::default();
    own.offered_milli[Budget::Publishes as usize] = u64::from(RATE) * 1000;
    let rates = Rates::default();
    while rates.admit(Budget::Publishes, 100, &quotas(RATE, BURST), now).is_ok() {}
    rates.rebalance(&own, &own, 4, &quotas(RATE, BURST), now);
    let share = remaining(&rates, 60_000) as f64 / f64::from(BURST);
    assert!((share - 1.01 / 1.04).abs() < 0.001, "{share}");
}

fn remaining(rates: &Rates, ms: u64) -> u64 {
    rates.remaining(Budget::Publishes, &quotas(RATE, BURST), Duration::from_millis(ms)).unwrap().cells
}

/// Demand that jumps about at random, by seeds, in requests of one or many cells; small and large bursts, few and many pods.
#[test]
fn no_window_goes_beyond_rate_burst_and_the_stated_error() {
    let mut worst = f64::MIN;
    for seed in 0..20_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let count = 2 + usize::try_from(next(7)).unwrap();
        let burst = [100, 500, 1000, 2000, 5000][usize::try_from(next(5)).unwrap()];
        let cells = [1, 1, 10, 50][usize::try_from(next(4)).unwrap()];
        let news = if next(2) == 0 { News::Fresh } else { News::Old };
        let mut fleet = Fleet::new(count, quotas(RATE, burst), news);
        let mut offered = vec![0.0; count];
        for _ in 0..30 {
            for offered in &mut offered {
                *offered = [0.0, 0.0, 10.0, 400.0, 3000.0, 30_000.0][usize::try_from(next(6)).unwrap()];
            }
            for _ in 0..next(1500) {
                fleet.step(&offered, cells);
            }
        }
        let error = (fleet.excess(RATE, burst) - f64::from(cells) * count as f64) / f64::from(RATE);
        worst = worst.max(error);
        assert!(error <= 3.5, "seed {seed}: {error:.2} s of the rate beyond it, {count} pods, burst {burst}, {cells} cells, {news:?}");
    }
    assert!(worst > 0.5, "the test does reach the error: {worst:.2} s of the rate");
}

#[test]
fn a_rate_below_one_per_pod_holds_and_is_used() {
    let quotas = quotas(2, 2);
    for pods in [1, 4, 20] {
        let mut fleet = Fleet::new(pods, quotas.clone(), News::Fresh);
        fleet.run(120, |_| vec![50.0; pods]);
        let found = fleet.per_second(40, 120);
        assert!((1.2..=2.2).contains(&found), "{pods} pods: {found} per second");
        assert!(fleet.excess(2, 2) <= pods as f64 + 4.0, "{pods} pods: {}", fleet.excess(2, 2));
    }
}

#[test]
fn without_the_others_it_is_an_even_part() {
    let mut fleet = Fleet::new(4, quotas(RATE, BURST), News::Fresh);
    fleet.run(5, |_| split(&[1.0, 0.0, 0.0, 0.0], 3.0));
    let (quotas, now) = (quotas(RATE, BURST), fleet.now());
    let rates = &fleet.pods[0].rates;
    rates.alone(4, &quotas, now);
    let try_for = |from_ms: u64| {
        (from_ms..from_ms + 4000).filter(|ms| rates.admit(Budget::Publishes, 1, &quotas, now + Duration::from_millis(*ms)).is_ok()).count()
    };
    let found = try_for(0);
    assert!((950..=1050).contains(&found), "{found} in 4 s");
    assert_eq!(rates.fleet(), None);
}

#[test]
fn refusals_say_what_was_met_and_when_to_come_again() {
    let (rates, quotas, now) = (Rates::default(), quotas(10, 5), Duration::from_secs(9));
    rates.admit(Budget::Publishes, 5, &quotas, now).unwrap();
    let refusal = rates.admit(Budget::Publishes, 2, &quotas, now).unwrap_err();
    assert_eq!((refusal.code, refusal.limit, refusal.current), (Code::PublishRate, Some(10), None));
    assert_eq!((refusal.retry_after_ms, refusal.fatal), (Some(200), false));
    rates.refund(Budget::Publishes, 2, &quotas);
    rates.admit(Budget::Publishes, 2, &quotas, now).unwrap();
    let refusal = rates.admit(Budget::Publishes, 6, &quotas, now + Duration::from_secs(60)).unwrap_err();
    assert_eq!((refusal.limit, refusal.current, refusal.retry_after_ms, refusal.fatal), (Some(5), Some(6), None, true));
    for (budget, code) in Budget::ALL.into_iter().zip([Code::ConnectionsRate, Code::RoomCreateRate, Code::MessagesRate, Code::PublishRate])
    {
        let burst = budget.limit(&quotas).1;
        let refused = (0..=burst).find_map(|_| rates.admit(budget, 1, &quotas, now).err());
        assert_eq!(refused.map(|refusal| refusal.code), Some(code));
    }
}

#[test]
fn unlimited_admits_and_still_meters() {
    let rates = Rates::default();
    let quotas = Quotas { publish_rate_per_second: Limit::Unlimited, ..Quotas::default() };
    for ms in 0..5000 {
        rates.admit(Budget::Publishes, 100, &quotas, Duration::from_millis(ms)).unwrap();
    }
    let demand = rates.demand(Duration::from_millis(5000));
    assert!((98_000..=102_000).contains(&demand.publishes_per_second), "{demand:?}");
    assert_eq!(demand.admitted[Budget::Publishes as usize], 500_000);
    assert_eq!(rates.remaining(Budget::Publishes, &quotas, Duration::from_secs(5)), None);
}

#[test]
fn a_demand_travels_as_numbers() {
    let numbers = std::array::from_fn(|index| index as u64 + 1);
    assert_eq!(Demand::from_numbers(numbers).to_numbers(), numbers);
    let twice: Demand = [Demand::from_numbers(numbers); 2].into_iter().sum();
    assert_eq!(twice.to_numbers(), numbers.map(|number| number * 2));
}
