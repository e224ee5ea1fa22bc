//! Asks everyone who has a WebSocket: one task for all lines.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Beat, Heartbeat};
use crate::line::Line;

/// How exactly the time is kept.
const TICK: Duration = Duration::from_millis(100);
/// So many clients are asked before everybody else gets a turn.
const TURN: usize = 16;

/// Every line that carries a WebSocket, by when it is to be looked after.
#[derive(Debug)]
pub struct Pulse {
    heartbeat: Heartbeat,
    start: Instant,
    // By ticks since the start.
    due: Mutex<BTreeMap<u128, Vec<Watched>>>,
}

#[derive(Debug)]
struct Watched {
    line: Weak<Line>,
    /// When it was asked; `None`: not yet.
    asked: Option<Instant>,
}

impl Pulse {
    /// One that watches nobody yet.
    pub fn new(heartbeat: Heartbeat) -> Arc<Self> {
        Arc::new(Self { heartbeat, start: Instant::now(), due: Mutex::default() })
    }

    /// How often it asks.
    pub const fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// Watches a line that has just been opened. Many that come at once are not all asked at once.
    pub fn watch(&self, line: &Arc<Line>) {
        let first = self.heartbeat.interval.mul_f64(rand::random_range(0.5..1.0));
        self.insert(Instant::now() + first, Watched { line: Arc::downgrade(line), asked: None });
    }

    /// Watches a line whose client was long-polling until now, and may not have been asked for an interval.
    pub fn watch_upgraded(&self, line: &Arc<Line>) {
        let first = self.heartbeat.interval.min(self.heartbeat.timeout).mul_f64(rand::random_range(0.0..0.5));
        self.insert(Instant::now() + first, Watched { line: Arc::downgrade(line), asked: None });
    }

    /// Asks until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for (number, watched) in self.take_due(Instant::now()).into_values().flatten().enumerate() {
                self.look_after(watched);
                if number % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn look_after(&self, mut watched: Watched) {
        let Some(line) = watched.line.upgrade() else { return };
        let now = Instant::now();
        let beat = watched.asked.map_or(Beat::Ask, |asked| self.heartbeat.beat(asked, line.was_heard(), now));
        let next = match beat {
            Beat::Wait(time) => time,
            Beat::Ask => match line.ask() {
                Ok(true) => {
                    watched.asked = Some(now);
                    self.heartbeat.first_look(now)
                }
                Ok(false) => now + TICK,
                Err(_) => return,
            },
            Beat::Gone => return line.fall_silent(),
        };
        self.insert(next, watched);
    }

    fn insert(&self, time: Instant, watched: Watched) {
        // Rounded up, so that it is due when its tick is.
        let tick = self.ticks(time) + 1;
        self.lock().entry(tick).or_default().push(watched);
    }

    fn take_due(&self, now: Instant) -> BTreeMap<u128, Vec<Watched>> {
        let tick = self.ticks(now);
        let mut due = self.lock();
        let later = due.split_off(&(tick + 1));
        std::mem::replace(&mut due, later)
    }

    fn ticks(&self, time: Instant) -> u128 {
        time.duration_since(self.start).as_millis() / TICK.as_millis()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u128, Vec<Watched>>> {
        self.due.lock().expect("no panic under this lock")
    }
}
