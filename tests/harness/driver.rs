//! Drives real client libraries in a process of their own: commands in, events out, a line of JSON each.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{mpsc, watch},
};

use crate::eventually::{DEADLINE, eventually};

/// A process with any number of sockets. It ends with this value.
#[derive(Debug)]
pub struct Driver {
    commands: mpsc::UnboundedSender<Value>,
    heard: Arc<Heard>,
    opened: AtomicU64,
    _process: Child,
}

#[derive(Debug)]
struct Heard {
    events: Mutex<HashMap<u64, Vec<Event>>>,
    count: watch::Sender<u64>,
}

/// What a client library told.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Event {
    socket: u64,
    /// The event: the library's own, or one of the server.
    pub event: String,
    /// Its arguments.
    pub data: Vec<Value>,
}

/// One socket of a [`Driver`].
#[derive(Debug)]
pub struct Socket {
    number: u64,
    /// Events before this one were already taken.
    taken: usize,
    acks: u64,
    commands: mpsc::UnboundedSender<Value>,
    heard: Arc<Heard>,
}

impl Driver {
    /// Starts `command`, which reads commands from its standard input and writes events to its standard output.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
        let (commands, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(process.stdin.take().expect("stdin is piped"), queue));
        let heard = Arc::new(Heard { events: Mutex::default(), count: watch::Sender::new(0) });
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let listener = heard.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let event: Event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the line {line}"));
                listener.lock().entry(event.socket).or_default().push(event);
                listener.count.send_modify(|count| *count += 1);
            }
        });
        Self { commands, heard, opened: AtomicU64::new(0), _process: process }
    }

    /// Opens a socket. `options` are the library's own.
    pub fn open(&self, url: &str, token: Option<&str>, options: &Value) -> Socket {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut command = json!({"open": number, "url": url, "options": options});
        if let Some(token) = token {
            command["token"] = json!(token);
        }
        self.commands.send(command).ok();
        Socket { number, taken: 0, acks: 0, commands: self.commands.clone(), heard: self.heard.clone() }
    }
}

impl Socket {
    /// Emits an event.
    pub fn emit(&self, event: &str, data: &Value) {
        self.commands.send(json!({"socket": self.number, "emit": [event, data]})).ok();
    }

    /// Emits an event and awaits its acknowledgement.
    pub async fn call(&mut self, event: &str, data: &Value) -> Value {
        self.acks += 1;
        self.commands.send(json!({"socket": self.number, "emit": [event, data], "ack": self.acks})).ok();
        self.expect(&format!("ack:{}", self.acks)).await
    }

    /// Has the library do something, as `disconnect`.
    pub fn tell(&self, call: &str) {
        self.commands.send(json!({"socket": self.number, "call": call})).ok();
    }

    /// The first argument of the next `event`; what comes before is skipped.
    ///
    /// # Panics
    ///
    /// When it does not come in time.
    pub async fn expect(&mut self, event: &str) -> Value {
        let mut count = self.heard.count.subscribe();
        let wait = async {
            loop {
                count.borrow_and_update();
                let found = {
                    let events = self.heard.lock();
                    let events = events.get(&self.number).map_or(&[][..], Vec::as_slice);
                    let at = events.iter().skip(self.taken).position(|heard| heard.event == event);
                    at.map(|at| (self.taken + at + 1, events[self.taken + at].data.first().cloned().unwrap_or_default()))
                };
                if let Some((taken, data)) = found {
                    self.taken = taken;
                    return data;
                }
                count.changed().await.expect("the sender lives in self");
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(data) => data,
            Err(_) => panic!("socket {} heard no {event} after event {} of {:?}", self.number, self.taken, self.heard()),
        }
    }

    /// Waits until `event` was heard, be it long ago. Takes nothing.
    ///
    /// # Panics
    ///
    /// When it does not come in time.
    pub async fn heard_of(&self, event: &str) {
        let what = format!("socket {} hears {event}", self.number);
        eventually(&what, || if self.count(event) > 0 { Ok(()) } else { Err(self.heard()) }).await;
    }

    /// Everything heard so far, by name.
    pub fn heard(&self) -> Vec<Event> {
        self.heard.lock().get(&self.number).cloned().unwrap_or_default()
    }

    /// How often `event` was heard so far.
    pub fn count(&self, event: &str) -> usize {
        self.heard().iter().filter(|heard| heard.event == event).count()
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<Event>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(mut input: ChildStdin, mut queue: mpsc::UnboundedReceiver<Value>) {
    while let Some(command) = queue.recv().await {
        if input.write_all(format!("{command}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
