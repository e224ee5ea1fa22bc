//! Many members on one server.

use std::{net::SocketAddrV4, ops::Range, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{ledger::Ledger, member::Member};
use crate::credentials::{self, Tenant};

/// How many handshakes are under way at a time.
const CONCURRENT_HANDSHAKES: usize = 50;
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(20);

/// Connections that belong together; they end when it is dropped.
#[derive(Default)]
pub struct Audience {
    listening: JoinSet<()>,
    /// What its members were owed and got.
    pub ledger: Arc<Ledger>,
}

impl Audience {
    /// One audience of `members`.
    pub async fn connect(server: SocketAddrV4, members: usize) -> Result<Self> {
        let mut audience = Self::default();
        let joined = audience.join(server, tokens(Tenant::Bench, 0..members)?).await;
        joined.map(|()| audience)
    }

    /// Adds the bearers of these tokens, as fast as the server lets them in; the first one refused is an error.
    pub async fn join(&mut self, server: SocketAddrV4, tokens: Vec<String>) -> Result<()> {
        self.join_each(server, tokens, Duration::ZERO).await
    }

    /// The same, but no more than one each `interval`.
    pub async fn join_each(&mut self, server: SocketAddrV4, tokens: Vec<String>, interval: Duration) -> Result<()> {
        let mut joining = JoinSet::new();
        let mut due = Instant::now();
        let offset = self.listening.len();
        let mut waiting = tokens.into_iter().enumerate();
        loop {
            while joining.len() < CONCURRENT_HANDSHAKES
                && let Some((index, token)) = waiting.next()
            {
                if !interval.is_zero() {
                    sleep_until(due).await;
                    due += interval;
                }
                let ledger = self.ledger.clone();
                joining.spawn(async move {
                    let member = Member::join(server, offset + index, &token, ledger);
                    tokio::time::timeout(HANDSHAKE_PATIENCE, member).await.context("no answer to a handshake")?
                });
            }
            let Some(member) = joining.join_next().await else { return Ok(()) };
            self.listening.spawn(member??.listen());
        }
    }
}

/// Tokens for these users of a tenant, made ahead so that signing them is not in the way while something is measured.
pub fn tokens(tenant: Tenant, users: Range<usize>) -> Result<Vec<String>> {
    let key = credentials::signing_key();
    users.map(|user| credentials::token(&key, tenant, user)).collect()
}
