use super::*;

const INTERVAL: Duration = Duration::from_secs(300);
const ONE: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"}]}"#;
const TWO: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "two"}]}"#;

struct World {
    book: Book,
    start: Instant,
}

fn source(name: &str) -> JwksSource {
    JwksSource::Url(format!("https://{name}/"))
}

fn keys(document: &[u8]) -> KeySet {
    KeySet::parse(document).unwrap()
}

fn found(document: &[u8], max_age: Option<u64>) -> Result<Success, FetchError> {
    Ok(Success { keys: Some(keys(document)), cache: Cache::default(), max_age: max_age.map(Duration::from_secs) })
}

fn same(max_age: Option<u64>) -> Result<Success, FetchError> {
    Ok(Success { keys: None, cache: Cache::default(), max_age: max_age.map(Duration::from_secs) })
}

impl World {
    /// One that leads, and wants `a`.
    fn new() -> Self {
        let start = Instant::now();
        let mut book = Book::default();
        book.lead(true, start);
        book.want(&source("a"), INTERVAL, start);
        Self { book, start }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// In how many seconds after the start something is to be fetched.
    fn next(&self) -> Option<f64> {
        self.book.next().map(|time| (time.duration_since(self.start).as_secs_f64() * 100.0).round() / 100.0)
    }

    /// Fetches what is due at that time, without jitter.
    fn fetch(&mut self, seconds: f64, result: Result<Success, FetchError>) -> News {
        let due = self.book.start(self.at(seconds)).expect("something is due");
        self.book.done(&due, result, 1.0, self.at(seconds))
    }
}

fn down() -> Result<Success, FetchError> {
    Err(FetchError::Unreachable("a:443".to_owned()))
}

#[test]
fn a_source_is_fetched_at_once_and_then_as_often_as_it_says_within_bounds() {
    for (max_age, next) in [(None, 300.0), (Some(120), 120.0), (Some(5), 60.0), (Some(86_400), 300.0)] {
        let mut world = World::new();
        assert_eq!(world.next(), Some(0.0));
        let news = world.fetch(0.0, found(ONE, max_age));
        assert_eq!(news, News { changed: Some(Fetched::Fresh(Arc::new(keys(ONE)))), word: "changed" });
        assert_eq!(world.next(), Some(next), "{max_age:?}");
        assert_eq!(world.fetch(next, same(max_age)), News { changed: None, word: "unchanged" });
        assert_eq!(world.next(), Some(2.0 * next), "{max_age:?}");
        assert_eq!(world.fetch(2.0 * next, found(ONE, max_age)), News { changed: None, word: "unchanged" }, "the same keys again");
        assert!(world.fetch(3.0 * next, found(TWO, max_age)).changed.is_some());
    }
}

#[test]
fn jitter_only_shortens() {
    let mut world = World::new();
    let due = world.book.start(world.start).unwrap();
    world.book.done(&due, found(ONE, None), 0.0, world.start);
    assert_eq!(world.next(), Some(270.0));
}

#[test]
fn what_never_came_is_told_as_such_and_tried_less_and_less_often() {
    let mut world = World::new();
    let never = |news: News| matches!(news.changed, Some(Fetched::Never(_)));
    assert!(never(world.fetch(0.0, down())));
    let mut times = vec![];
    for _ in 0..9 {
        let next = world.next().unwrap();
        times.push(next);
        assert_eq!(world.fetch(next, down()), News { changed: None, word: "unreachable" }, "nothing new to tell");
    }
    assert_eq!(times, [2.0, 6.0, 14.0, 30.0, 62.0, 126.0, 254.0, 510.0, 810.0]);
    let next = world.next().unwrap();
    assert!(never(world.fetch(next, Err(FetchError::TimedOut))), "another trouble is news");
    let next = world.next().unwrap();
    assert!(matches!(world.fetch(next, found(ONE, None)).changed, Some(Fetched::Fresh(_))));
}

#[test]
fn the_last_good_keys_stay_and_are_stale_only_after_a_whole_interval_of_failures() {
    let mut world = World::new();
    world.fetch(0.0, found(ONE, None));
    let mut stale_after = None;
    let mut now = 300.0;
    while stale_after.is_none() {
        if let Some(changed) = world.fetch(now, down()).changed {
            assert_eq!(changed, Fetched::Stale(Arc::new(keys(ONE)), "no connection to a:443".to_owned()));
            stale_after = Some(now);
        }
        now = world.next().unwrap();
    }
    assert_eq!(stale_after, Some(810.0));
    assert_eq!(world.book.oldest_success(), Some(world.start));
    assert_eq!(world.fetch(now, same(None)).changed, Some(Fetched::Fresh(Arc::new(keys(ONE)))));
    assert_eq!(world.book.oldest_success(), Some(world.at(now)));
}

#[test]
fn an_early_look_is_had_at_most_every_half_minute() {
    let mut world = World::new();
    world.book.hurry(&source("a"), world.start);
    world.fetch(0.0, found(ONE, None));
    world.book.hurry(&source("a"), world.at(10.0));
    assert_eq!(world.next(), Some(30.0));
    world.fetch(30.0, found(ONE, None));
    world.book.hurry(&source("a"), world.at(70.0));
    world.book.hurry(&source("nobody"), world.at(70.0));
    assert_eq!(world.next(), Some(70.0));
}

#[test]
fn who_stands_by_looks_less_often_and_who_takes_over_looks_at_once() {
    let mut world = World::new();
    world.book.lead(false, world.start);
    world.book.want(&source("b"), INTERVAL, world.start);
    world.fetch(0.0, found(ONE, None));
    world.fetch(0.0, down());
    while world.next() != Some(900.0) {
        let next = world.next().unwrap();
        world.fetch(next, down());
    }
    assert_eq!(world.book.confirming(world.at(850.0)), None);
    world.book.lead(true, world.at(850.0));
    assert_eq!(world.book.confirming(world.at(850.0)), Some(world.at(855.0)));
    assert_eq!(world.next(), Some(850.0));
    assert_eq!(world.book.confirming(world.at(856.0)), None, "not for ever");
    world.fetch(850.0, down());
    assert_eq!(world.book.confirming(world.at(851.0)), None, "nobody waits for what never came, nor for what was tried");
}

#[test]
fn what_was_just_fetched_needs_no_second_look() {
    let mut world = World::new();
    world.fetch(0.0, found(ONE, None));
    world.book.lead(true, world.at(9.0));
    assert_eq!((world.book.confirming(world.at(9.0)), world.next()), (None, Some(300.0)));
}

#[test]
fn a_shorter_interval_counts_at_once_and_what_nobody_wants_is_not_fetched() {
    let mut world = World::new();
    world.fetch(0.0, found(ONE, None));
    world.book.want(&source("a"), Duration::from_secs(60), world.at(10.0));
    assert_eq!(world.next(), Some(70.0));
    let due = world.book.start(world.at(70.0)).unwrap();
    world.book.forget(&source("a"));
    world.book.want(&source("a"), INTERVAL, world.at(71.0));
    assert_eq!(world.book.done(&due, found(TWO, None), 1.0, world.at(72.0)).changed, None, "the answer is to an older question");
    assert!(world.fetch(72.0, found(ONE, None)).changed.is_some());
    world.book.forget(&source("a"));
    assert_eq!((world.next(), world.book.oldest_success()), (None, None));
}

#[test]
fn fetches_at_once_are_bounded() {
    let mut world = World::new();
    for index in 0..2 * FETCHES_MAX {
        world.book.want(&source(&format!("{index}")), INTERVAL, world.start);
    }
    let started: Vec<_> = std::iter::from_fn(|| world.book.start(world.start)).collect();
    assert_eq!((started.len(), world.book.next()), (FETCHES_MAX, None));
    world.book.done(&started[0], down(), 1.0, world.start);
    assert!(world.book.start(world.start).is_some() && world.book.start(world.start).is_none());
}
