//! A member of a room as a fan-out meets it: what a send needs stands here and in its line, and nowhere else in memory.

use std::sync::{Arc, OnceLock};

use carillon_tenant::ConnectionId;

use super::message::Bundle;
use crate::{
    line::{Line, SendError},
    session::Session,
};

/// A member of a room, in a list of all of them.
#[derive(Debug)]
pub struct Member {
    id: ConnectionId,
    session: Arc<Session>,
    /// That of its outlet, from the first look on that found one.
    line: OnceLock<Arc<Line>>,
}

impl Member {
    /// A member.
    pub fn new(session: Arc<Session>) -> Self {
        Self { id: session.id, session, line: OnceLock::new() }
    }

    fn line(&self) -> Option<&Arc<Line>> {
        if self.line.get().is_none() {
            self.session.outlet.line().into_iter().for_each(|line| _ = self.line.set(line.clone()));
        }
        self.line.get()
    }

    /// Brings into this core's cache what sending needs.
    pub fn fetch(&self) {
        self.line().into_iter().for_each(|line| line.fetch());
    }

    /// Sends what it is to get of `bundle`, in one write where that can be. Never waits. The messages that it got, and their bytes.
    pub fn send(&self, bundle: &Bundle) -> (u64, u64) {
        let (mut count, mut bytes) = (0, 0);
        let sent = match self.line() {
            Some(line) if bundle.is_whole_for(self.id) => {
                line.send(self.id, bundle.frames()).inspect(|()| (count, bytes) = (bundle.count(), bundle.bytes))
            }
            _ => bundle.messages_for(self.id).try_for_each(|message| {
                self.session.outlet.send(message)?;
                count += 1;
                bytes += message.data.get().len() as u64;
                Ok(())
            }),
        };
        if sent == Err(SendError::Full) {
            self.session.drop_slow_consumer();
        }
        (count, bytes)
    }
}
