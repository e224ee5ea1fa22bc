//! Many members on one server.

use std::{ops::Range, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{dialect::Target, ledger::Ledger, member::Member};
use crate::credentials::{self, Tenant};

/// How many handshakes are under way at a time.
const CONCURRENT_HANDSHAKES: usize = 50;
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(20);

/// How members get in.
#[derive(Clone, Copy, Default)]
pub enum Transport {
    /// By a WebSocket from the first byte on.
    #[default]
    WebSocket,
    /// By long-polling first.
    Upgrade,
}

/// Connections that belong together; they end when it is dropped.
#[derive(Default)]
pub struct Audience {
    listening: JoinSet<()>,
    /// What its members were owed and got.
    pub ledger: Arc<Ledger>,
    transport: Transport,
    /// What tells its connections from others', as far as their source addresses go.
    first: usize,
}

impl Audience {
    /// One audience of `members`.
    pub async fn connect(server: Target, members: usize) -> Result<Self> {
        let mut audience = Self::default();
        let joined = audience.join(server, tokens(Tenant::Bench, 0..members)?).await;
        joined.map(|()| audience)
    }

    /// Nobody yet; who joins does it this way.
    pub fn by(transport: Transport) -> Self {
        Self { transport, ..Self::default() }
    }

    /// Nobody yet; who joins comes from other addresses than the members of audiences that begin elsewhere.
    pub fn from(first: usize) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds the bearers of these tokens, as fast as the server lets them in; the first one refused is an error.
    pub async fn join(&mut self, server: Target, tokens: Vec<String>) -> Result<()> {
        self.join_at(server, tokens, CONCURRENT_HANDSHAKES, Duration::ZERO).await
    }

    /// The same, but no more than one each `interval`.
    pub async fn join_each(&mut self, server: Target, tokens: Vec<String>, interval: Duration) -> Result<()> {
        self.join_at(server, tokens, CONCURRENT_HANDSHAKES, interval).await
    }

    /// The same, with so many handshakes under way at a time.
    pub async fn join_at_once(&mut self, server: Target, tokens: Vec<String>, at_once: usize) -> Result<()> {
        self.join_at(server, tokens, at_once, Duration::ZERO).await
    }

    async fn join_at(&mut self, server: Target, tokens: Vec<String>, at_once: usize, interval: Duration) -> Result<()> {
        let mut joining = JoinSet::new();
        let mut due = Instant::now();
        let (transport, offset) = (self.transport, self.first + self.listening.len());
        let mut waiting = tokens.into_iter().enumerate();
        loop {
            while joining.len() < at_once
                && let Some((index, token)) = waiting.next()
            {
                if !interval.is_zero() {
                    sleep_until(due).await;
                    due += interval;
                }
                let ledger = self.ledger.clone();
                joining.spawn(async move {
                    let index = offset + index;
                    let member = async {
                        match transport {
                            Transport::WebSocket => Member::join(server, index, &token, ledger).await,
                            Transport::Upgrade => Member::join_by_upgrade(server, index, &token, ledger).await,
                        }
                    };
                    tokio::time::timeout(HANDSHAKE_PATIENCE, member).await.context("no answer to a handshake")?
                });
            }
            let Some(member) = joining.join_next().await else { return Ok(()) };
            self.listening.spawn(member??.listen());
        }
    }

    /// Closes all connections.
    pub async fn leave(mut self) {
        self.listening.shutdown().await;
    }
}

/// Tokens for these users of a tenant, made ahead so that signing them is not in the way while something is measured.
pub fn tokens(tenant: Tenant, users: Range<usize>) -> Result<Vec<String>> {
    let key = credentials::signing_key();
    users.map(|user| credentials::token(&key, tenant, user)).collect()
}
