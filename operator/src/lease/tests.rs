//! Several replicas and one Lease, on a clock that jumps from one event to the next.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use futures::stream;
use tokio::{
    task::JoinHandle,
    time::{advance, sleep},
};

use super::*;

/// How a replica's way to the API server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    Open,
    /// What is asked fails.
    Broken,
    /// What is asked is never answered.
    Silent,
    /// What is written is written, but the answer is lost.
    AnswersLost,
}

/// The API server's Lease, with its resource version.
#[derive(Debug)]
struct ApiServer(watch::Sender<(u64, Option<Record>)>);

#[derive(Debug)]
struct FakeLease {
    server: Arc<ApiServer>,
    way: Arc<AtomicU8>,
}

impl FakeLease {
    async fn pass(&self) -> Result<(), String> {
        match self.way.load(Ordering::Relaxed) {
            way if way == Way::Broken as u8 => Err("broken".to_owned()),
            way if way == Way::Silent as u8 => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

impl Store for FakeLease {
    type Version = u64;

    async fn read(&self) -> Result<Option<(Record, u64)>, String> {
        self.pass().await?;
        let (version, record) = self.server.0.borrow().clone();
        Ok(record.map(|record| (record, version)))
    }

    async fn write(&self, record: &Record, version: Option<u64>) -> Result<(), String> {
        self.pass().await?;
        let written = self.server.0.send_if_modified(|(current, before)| {
            let fits = before.as_ref().map(|_| *current) == version;
            if fits {
                *current += 1;
                *before = Some(record.clone());
            }
            fits
        });
        if self.way.load(Ordering::Relaxed) == Way::AnswersLost as u8 {
            return Err("connection lost".to_owned());
        }
        if written { Ok(()) } else { Err("conflict".to_owned()) }
    }

    fn changes(&self) -> Pin<Box<dyn Stream<Item = ()> + Send>> {
        let way = Arc::clone(&self.way);
        let changes =
            stream::unfold(self.server.0.subscribe(), |mut receiver| async { receiver.changed().await.ok().map(|()| ((), receiver)) });
        changes.filter(move |()| std::future::ready(way.load(Ordering::Relaxed) == Way::Open as u8)).boxed()
    }
}

struct Replica {
    way: Arc<AtomicU8>,
    term: watch::Receiver<Option<Term>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Arc<ApiServer>, identity: &str) -> Self {
        let (way, stop) = (Arc::new(AtomicU8::new(Way::Open as u8)), CancellationToken::new());
        let store = FakeLease { server: Arc::clone(server), way: Arc::clone(&way) };
        let (elector, term) = Elector::new(store, identity.to_owned(), Readiness::default(), Arc::default());
        let task = tokio::spawn(elector.run(stop.clone()));
        Self { way, term, stop, task }
    }

    fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::Relaxed);
    }

    /// The epoch in which it leads.
    fn leads(&self) -> Option<u64> {
        self.term.borrow().as_ref().filter(|term| term.lasts()).map(|term| term.epoch().get())
    }

    /// As SIGKILL does.
    fn kill(&self) {
        self.task.abort();
    }
}

fn server() -> Arc<ApiServer> {
    Arc::new(ApiServer(watch::Sender::new((1, None))))
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// How many seconds it takes until `replica` leads, and in which epoch.
async fn until_it_leads(replica: &Replica) -> (u64, u64) {
    let start = Instant::now();
    loop {
        if let Some(epoch) = replica.leads() {
            return (start.elapsed().as_secs(), epoch);
        }
        assert!(start.elapsed() < Duration::from_secs(300), "it never leads");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_as_long_as_it_lives_and_another_once_its_lease_ran_out() {
    let server = server();
    let first = Replica::start(&server, "a");
    assert_eq!(until_it_leads(&first).await, (0, 1));
    let second = Replica::start(&server, "b");
    for _ in 0..60 {
        seconds(10).await;
        assert_eq!((first.leads(), second.leads()), (Some(1), None));
    }
    first.kill();
    let (waited, epoch) = until_it_leads(&second).await;
    assert!((50..=60).contains(&waited), "{waited}");
    assert_eq!(epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_lets_the_next_lead_at_once() {
    let server = server();
    let first = Replica::start(&server, "a");
    until_it_leads(&first).await;
    let second = Replica::start(&server, "b");
    seconds(25).await;
    first.stop.cancel();
    assert_eq!(until_it_leads(&second).await, (0, 2));
    first.task.await.unwrap();
    second.stop.cancel();
    second.task.await.unwrap();
    assert_eq!(server.0.borrow().1.as_ref().unwrap().holder, None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_crashed_leads_again_at_once_and_in_another_epoch() {
    let server = server();
    let first = Replica::start(&server, "a");
    until_it_leads(&first).await;
    first.kill();
    assert_eq!(until_it_leads(&Replica::start(&server, "a")).await, (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_outlives_a_short_trouble_and_stops_well_before_another_starts() {
    for trouble in [Way::Broken, Way::Silent] {
        let server = server();
        let first = Replica::start(&server, "a");
        until_it_leads(&first).await;
        let second = Replica::start(&server, "b");
        seconds(9).await;
        first.set(trouble);
        seconds(20).await;
        first.set(Way::Open);
        seconds(60).await;
        assert_eq!((first.leads(), second.leads()), (Some(1), None), "{trouble:?}");

        first.set(trouble);
        let (mut stopped, start) = (None, Instant::now());
        while second.leads().is_none() {
            sleep(Duration::from_millis(100)).await;
            if first.leads().is_none() && stopped.is_none() {
                stopped = Some(start.elapsed().as_secs());
            }
        }
        let (stopped, started) = (stopped.expect("it stopped"), start.elapsed().as_secs());
        assert!((30..=40).contains(&stopped) && (50..=60).contains(&started), "{trouble:?}: {stopped} {started}");
        assert_eq!(second.leads(), Some(2));
        // Back again, it follows, and takes over when that one ends.
        first.set(Way::Open);
        seconds(120).await;
        assert_eq!((first.leads(), second.leads()), (None, Some(2)), "{trouble:?}");
        second.stop.cancel();
        assert_eq!(until_it_leads(&first).await, (0, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_paused_knows_by_its_clock_that_it_leads_no_more() {
    let server = server();
    let first = Replica::start(&server, "a");
    until_it_leads(&first).await;
    let term = first.term.borrow().clone().unwrap();
    assert_eq!(term.during(std::future::ready(1)).await, Some(1));
    // Nothing runs in this time, and then everything at once.
    advance(Duration::from_secs(40)).await;
    assert!(!term.lasts());
    assert_eq!(term.during(std::future::ready(1)).await, None);
    assert_eq!(until_it_leads(&first).await.1, 2, "nobody else wanted it");
    assert!(!term.lasts(), "a term that is over stays so");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_makes_no_two_leaders_of_one_epoch() {
    let server = server();
    let first = Replica::start(&server, "a");
    first.set(Way::AnswersLost);
    let second = Replica::start(&server, "b");
    for _ in 0..300 {
        seconds(1).await;
        assert_eq!((first.leads(), second.leads()), (None, None), "one has it and doesn't know, the other knows that");
    }
    first.set(Way::Open);
    let (_, epoch) = until_it_leads(&first).await;
    assert_eq!(i32::try_from(epoch).unwrap(), server.0.borrow().1.as_ref().unwrap().transitions + 1);
    assert!(epoch > 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_of_a_later_epoch_stops_at_once_and_leads_again_after_it() {
    let server = server();
    let first = Replica::start(&server, "a");
    until_it_leads(&first).await;
    let term = first.term.borrow().clone().unwrap();
    term.heard(Epoch::new(1));
    assert!(term.lasts());
    // The Lease was deleted, and servers remember.
    server.0.send_replace((7, None));
    term.heard(Epoch::new(41));
    assert!(!term.lasts(), "before anyone else had a turn");
    assert_eq!(until_it_leads(&first).await.1, 42);
}

/// Whatever becomes of the ways to the API server, and whoever is killed: at no time do two lead, and no epoch comes twice or too late.
#[tokio::test(start_paused = true)]
async fn there_is_never_more_than_one_leader() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let server = server();
    let mut replicas: Vec<_> = ["a", "b", "c"].map(|name| (name, Replica::start(&server, name))).into();
    let (mut latest, mut leader, mut led) = (0, None, 0);
    for step in 0..20_000 {
        let (name, replica) = &mut replicas[random.random_range(0..3)];
        match random.random_range(0..400) {
            0 => replica.set(Way::Broken),
            1 => replica.set(Way::Silent),
            2 => replica.set(Way::AnswersLost),
            3 => replica.stop.cancel(),
            4 => {
                replica.kill();
                *replica = Replica::start(&server, name);
            }
            5..9 => replica.set(Way::Open),
            _ => {}
        }
        if replica.task.is_finished() {
            *replica = Replica::start(&server, name);
        }
        sleep(Duration::from_millis(random.random_range(1..1000))).await;
        let leaders: Vec<_> = replicas.iter().filter_map(|(name, replica)| Some((*name, replica.leads()?))).collect();
        assert!(leaders.len() <= 1, "seed {seed}, step {step}: {leaders:?}");
        if let Some((name, epoch)) = leaders.first().copied() {
            assert!(epoch >= latest, "seed {seed}, step {step}: {epoch} after {latest}");
            assert!(epoch > latest || leader == Some(name), "seed {seed}, step {step}: {name} leads in the epoch of {leader:?}");
            (latest, leader, led) = (epoch, Some(name), led + 1);
        }
    }
    assert!(latest > 10 && led > 1000, "seed {seed}: the story tells something: {latest} {led}");
}
