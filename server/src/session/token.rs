//! The token a session came in with, or was refreshed by: what it gives is judged again with each configuration, and ends with it.

use std::sync::Arc;

use carillon_tenant::{Code, TenantConfig};
use serde_json::json;

use super::{Session, State};
use crate::grant::{Grant, Step, Tenure};

impl Session {
    /// What its token gives.
    pub fn grant(&self) -> Grant {
        self.lock().tenure.grant.clone()
    }

    /// Ends it for good when `config` no longer lets it in, else does from now on what that says of tokens that expire.
    pub fn follow(self: &Arc<Self>, config: &TenantConfig) {
        let mut state = self.lock();
        match state.tenure.grant.refused_by(config, &self.user) {
            None => self.schedule(&mut state, config),
            Some(code) => {
                drop(state);
                self.end(code);
            }
        }
    }

    /// Goes on by another token's grant, verified at `now`; tells when it ends, if it does.
    ///
    /// # Errors
    ///
    /// The code when a configuration that came meanwhile does not let it in by that: then it is ended.
    pub fn renew(self: &Arc<Self>, grant: Grant, now: i64) -> Result<Option<i64>, Code> {
        let mut state = self.lock();
        state.tenure = Tenure::new(grant, now);
        // Looked at under the lock: a change that comes after this look finds the new grant.
        let config = self.tenant.config();
        if let Some(code) = state.tenure.grant.refused_by(&config, &self.user) {
            drop((config, state));
            self.end(code);
            return Err(code);
        }
        self.schedule(&mut state, &config);
        Ok(state.tenure.ends_at(&config.jwt))
    }

    /// Does what is due for its token at `now`, in seconds of Unix time.
    pub fn expire(self: &Arc<Self>, now: i64) {
        let mut state = self.lock();
        if state.due.is_some_and(|due| due <= now) {
            state.due = None;
        }
        let config = self.tenant.config();
        let mut warning = None;
        while let Some((_, step)) = state.tenure.next(&config.jwt).filter(|(at, _)| *at <= now) {
            match step {
                Step::Warn => {
                    state.tenure.warned();
                    warning = state.tenure.ends_at(&config.jwt).map(|ends_at| ends_at - now);
                }
                Step::End => {
                    drop((config, state));
                    return self.end(Code::TokenExpired);
                }
            }
        }
        self.schedule(&mut state, &config);
        drop((config, state));
        if let Some(seconds) = warning {
            self.announce("rt:expiring", &json!({"expiresInSeconds": seconds}));
        }
    }

    /// Has the tenant call it when something is next due for its token. `config` is the one in force, looked at under the session's lock.
    pub(super) fn schedule(self: &Arc<Self>, state: &mut State, config: &TenantConfig) {
        let open = state.admission.is_some() && !state.ended;
        let due = state.tenure.next(&config.jwt).map(|(at, _)| at).filter(|_| open);
        if due == state.due {
            return;
        }
        if let Some(at) = state.due {
            self.tenant.expiries.remove(at, self.id);
        }
        if let Some(at) = due {
            self.tenant.expiries.insert(at, self.id, self.clone());
        }
        state.due = due;
    }
}
