//! The two connections to Redis: one for commands and publishing, one for subscriptions. A burst on one does not hold up the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fred::{
    clients::{Client, WithOptions},
    interfaces::{ClientLike, EventInterface, KeysInterface, LuaInterface, PubsubInterface},
    types::{
        Builder, Message, RespVersion, SetOptions,
        config::{Config, Options, ReconnectPolicy, TcpConfig},
    },
};
use sha1::{Digest, Sha1};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// How long connecting, or the greeting after it, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between attempts to reconnect, which go on for ever.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Spread of those waits, so that the pods of a fleet don't come back in step.
const RECONNECT_JITTER: Duration = Duration::from_millis(400);
/// Messages that wait for the receiving task at the most. fred's default of 32 loses bursts without a word.
const ARRIVING_MAX: usize = 16_384;
/// Commands that wait inside fred at the most; far more than this fleet has in flight, for fred's own order to reconnect waits in the
/// same queue, and is lost when that is full.
const COMMANDS_WAITING_MAX: usize = 16_384;
/// How often Redis is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// After so many pings without an answer a connection that looks open is given up.
const PINGS_UNANSWERED_MAX: u32 = 3;

/// A script, and the name that Redis gives it.
#[derive(Debug)]
pub struct Script {
    source: &'static str,
    sha1: String,
}

impl Script {
    /// A script to run.
    pub fn new(source: &'static str) -> Self {
        let sha1 = Sha1::digest(source).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { source, sha1 }
    }
}

/// Redis gave no answer, or one that says no.
pub type RedisError = fred::error::Error;

/// A handle to Redis. Every command fails at once while Redis is known to be away, and is bounded by [`COMMAND_TIMEOUT`] otherwise.
#[derive(Debug)]
pub struct Redis {
    commands: Connection,
    subscriber: Connection,
    up: watch::Sender<bool>,
    sent: AtomicU64,
}

#[derive(Debug)]
struct Connection {
    client: WithOptions<Client>,
    unanswered: AtomicU32,
    given_up: Notify,
}

impl Redis {
    /// Prepares both connections. They are made by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// When the URL is none, or asks for TLS and this machine has no root certificates.
    pub fn new(url: &str) -> Result<Arc<Self>, RedisError> {
        // fred takes rustls' default provider, and rustls panics when features leave it more than one to choose from.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let mut config = Config::from_url(url)?;
        // Not taken from the URL. Only RESP3 lets one connection subscribe and be pinged, too.
        config.version = RespVersion::RESP3;
        // Otherwise a first connect that fails would end the client, reconnect policy or not.
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder.with_performance_config(|performance| {
            performance.broadcast_channel_capacity = ARRIVING_MAX;
            // The default, none, would let a command wait for ever.
            performance.default_command_timeout = COMMAND_TIMEOUT;
        });
        builder.with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = CONNECT_TIMEOUT;
            connection.max_command_buffer_len = COMMANDS_WAITING_MAX;
            // A publish that was in flight when the connection broke may have arrived: sent again, it would come twice.
            connection.max_command_attempts = 1;
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        });
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let (min, max) = RECONNECT_DELAY;
        let mut policy = ReconnectPolicy::new_exponential(0, millis(min), millis(max), 2);
        policy.set_jitter(millis(RECONNECT_JITTER));
        builder.set_policy(policy);
        // A time-out by these options also keeps fred from sending, after a reconnect, what was given up meanwhile; one wrapped around
        // the call would not. And without `fail_fast` what is sent during an outage would pile up.
        let options = Options { timeout: Some(COMMAND_TIMEOUT), fail_fast: true, max_attempts: Some(1), ..Options::default() };
        Ok(Arc::new(Self {
            commands: Connection::new(builder.build()?.with_options(&options)),
            subscriber: Connection::new(builder.build()?.with_options(&options)),
            up: watch::Sender::new(false),
            sent: AtomicU64::new(0),
        }))
    }

    /// True while Redis answers.
    pub fn up(&self) -> bool {
        *self.up.borrow() && self.commands.client.is_connected()
    }

    /// Sees Redis come and go.
    pub fn watch_up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Commands sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Messages of the channels subscribed to.
    pub fn messages(&self) -> broadcast::Receiver<Message> {
        self.subscriber.client.message_rx()
    }

    /// Hears of every new connection for subscriptions: it has none. fred's own `manage_subscriptions` would send an empty SUBSCRIBE,
    /// whose error ends it.
    pub fn new_subscribers(&self) -> broadcast::Receiver<fred::types::config::Server> {
        self.subscriber.client.reconnect_rx()
    }

    /// True on a Redis Cluster.
    pub fn is_clustered(&self) -> bool {
        self.subscriber.client.is_clustered()
    }

    /// Waits until the connection for subscriptions takes commands.
    pub async fn subscriber_ready(&self) {
        self.subscriber.ready().await;
    }

    /// Subscribes to one channel; fred takes the answer to a second one in the same command for the answer to another command.
    pub async fn subscribe(&self, channel: String) -> Result<(), RedisError> {
        self.count().subscriber.client.ssubscribe(channel).await
    }

    /// Unsubscribes. fred says that it is done before it is.
    pub async fn unsubscribe(&self, channel: String) -> Result<(), RedisError> {
        self.count().subscriber.client.sunsubscribe(channel).await
    }

    /// Publishes on a sharded channel. What timed out may still arrive.
    pub async fn publish(&self, channel: String, message: Bytes) -> Result<(), RedisError> {
        self.count().commands.client.spublish(channel, message).await
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, RedisError> {
        self.count().commands.client.get(key).await
    }

    /// Runs a script over keys of one slot. Redis is sent the source only when it does not know it yet.
    pub async fn run_script<K>(&self, script: &Script, keys: Vec<String>, arguments: Vec<K>) -> Result<Vec<i64>, RedisError>
    where
        K: Clone + Into<fred::types::Value> + Send,
    {
        let arguments: Vec<fred::types::Value> = arguments.into_iter().map(Into::into).collect();
        let known = self.count().commands.client.evalsha(script.sha1.as_str(), keys.clone(), arguments.clone()).await;
        match known {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                self.count().commands.client.eval(script.source, keys, arguments).await
            }
            answer => answer,
        }
    }

    /// Sets a key unless it is there.
    pub async fn set_new(&self, key: &str, value: Bytes) -> Result<(), RedisError> {
        self.count().commands.client.set(key, value, None, Some(SetOptions::NX), false).await
    }

    /// Connects, keeps both connections and the gauge true to life, until `stop`.
    pub async fn run(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        tokio::join!(self.commands.keep(&stop), self.subscriber.keep(&stop), self.watch(&metrics, &stop));
        self.up.send_replace(false);
        metrics.redis_up.set(0);
    }

    async fn watch(&self, metrics: &Metrics, stop: &CancellationToken) {
        let (mut commands, mut subscriber) = (self.commands.client.reconnect_rx(), self.subscriber.client.reconnect_rx());
        let mut ticks = interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                _ = commands.recv() => self.commands.ready().await,
                _ = subscriber.recv() => self.subscriber.ready().await,
            }
            self.sent.fetch_add(2, Ordering::Relaxed);
            let answers = tokio::join!(self.commands.answers(), self.subscriber.answers());
            let up = answers == (true, true);
            if self.up.send_if_modified(|was| std::mem::replace(was, up) != up) {
                metrics.redis_up.set(up.into());
                if up { tracing::info!("Redis answers") } else { tracing::warn!("Redis does not answer") }
            }
        }
    }

    fn count(&self) -> &Self {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self
    }
}

impl Connection {
    fn new(client: WithOptions<Client>) -> Self {
        Self { client, unanswered: AtomicU32::new(0), given_up: Notify::new() }
    }

    /// Waits until the client takes commands, for fred tells of a new connection a little before.
    async fn ready(&self) {
        timeout(CONNECT_TIMEOUT, self.client.wait_for_connect()).await.ok();
    }

    /// Asks the other end. A connection that looks open and stays without an answer is given up: its peer may be gone without a word,
    /// and then fred, which waits for it to read, would neither notice nor take the order to reconnect.
    async fn answers(&self) -> bool {
        let answered = self.client.ping::<()>(None).await.is_ok();
        if answered || !self.client.is_connected() {
            self.unanswered.store(0, Ordering::Relaxed);
        } else if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= PINGS_UNANSWERED_MAX {
            self.unanswered.store(0, Ordering::Relaxed);
            self.given_up.notify_one();
        }
        answered
    }

    /// Stays connected until `stop`. fred's policy reconnects; this begins again after what fred takes for final, and from scratch when
    /// the connection was given up.
    async fn keep(&self, stop: &CancellationToken) {
        let mut complaints = self.client.error_rx();
        let mut last_complaint = String::new();
        let (_, wait) = RECONNECT_DELAY;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let mut task = self.client.connect();
            loop {
                tokio::select! {
                    () = stop.cancelled() => {
                        timeout(COMMAND_TIMEOUT, self.client.quit()).await.ok();
                        task.abort();
                        return;
                    }
                    () = self.given_up.notified() => {
                        tracing::warn!("a connection to Redis is open but silent, and given up");
                        task.abort();
                        break;
                    }
                    // Told once, not with every attempt: why an outage lasts, a wrong password say, is what people look for.
                    Ok((error, _)) = complaints.recv() => if last_complaint != error.details() {
                        error.details().clone_into(&mut last_complaint);
                        tracing::warn!(error = last_complaint, "no connection to Redis");
                    },
                    _ = &mut task => {
                        stop.run_until_cancelled(sleep(wait.saturating_sub(started.elapsed()))).await;
                        break;
                    }
                }
            }
        }
    }
}
