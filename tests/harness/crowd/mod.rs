//! Thousands of clients of one tenant, each in a task of its own, that behave as `socket.io-client` does: whoever loses its transport
//! comes back, with jittered pauses, to whatever server is next. And a book of who is connected where, which is the recount that servers'
//! own numbers are held against.

mod book;
mod member;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use self::book::Book;
use crate::{
    eventually::{eventually, eventually_within, is},
    tokens::token,
};

/// How members behave.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// The only server they go to; none: to each in turn.
    pub only: Option<usize>,
    /// About how long they wait after a refusal before they try again; none: they give up.
    pub retry: Option<Duration>,
    /// The user that they all are; none: each is one of its own.
    pub user: Option<&'static str>,
}

impl Habit {
    /// Whoever is refused gives up.
    pub const ONCE: Self = Self { only: None, retry: None, user: None };
    /// Whoever is refused tries again, about twice a second.
    pub const PATIENT: Self = Self { retry: Some(Duration::from_millis(500)), ..Self::ONCE };
}

/// Clients of one tenant. They go with this value.
#[derive(Debug)]
pub struct Crowd {
    tenant: String,
    scene: Scene,
    members: Mutex<Vec<JoinHandle<()>>>,
}

/// What the members share.
#[derive(Clone, Debug)]
struct Scene {
    servers: Arc<[SocketAddr]>,
    book: Arc<Mutex<Book>>,
}

impl Scene {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    /// Nobody yet, before `servers`.
    pub fn of(tenant: &str, servers: &[SocketAddr]) -> Self {
        let scene = Scene { servers: servers.into(), book: Arc::new(Mutex::new(Book::new(servers.len()))) };
        Self { tenant: tenant.to_owned(), scene, members: Mutex::default() }
    }

    /// So many more come, all at once.
    pub fn enter(&self, count: usize, habit: Habit) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let number = self.scene.book().add();
            let token = habit.user.map_or_else(|| token(&self.tenant, format!("user-{number}")), |user| token(&self.tenant, user));
            members.push(tokio::spawn(member::live(self.scene.clone(), number, token, habit)));
        }
    }

    /// So many of those who are connected go, whoever has been there longest; gives how many did.
    pub fn leave(&self, count: usize) -> usize {
        self.remove(count, |place| place.is_some())
    }

    /// So many of those who are connected to one server go.
    pub fn leave_from(&self, server: usize, count: usize) -> usize {
        self.remove(count, |place| place == Some(server))
    }

    /// Whoever is not connected gives up.
    pub fn give_up(&self) {
        self.remove(usize::MAX, |place| place.is_none());
    }

    fn remove(&self, count: usize, whom: impl Fn(Option<usize>) -> bool) -> usize {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = self.scene.book().remove(count, whom);
        for &number in &gone {
            members[number].abort();
        }
        gone.len()
    }

    /// New attempts go to these servers only, as behind a load balancer that knows which are ready.
    pub fn go_to(&self, servers: &[usize]) {
        self.scene.book().go_to(servers);
    }

    /// How many are connected.
    pub fn inside(&self) -> usize {
        self.scene.book().inside()
    }

    /// How many are connected to each server.
    pub fn by_server(&self) -> Vec<usize> {
        self.scene.book().by_server().to_vec()
    }

    /// How often each message of a `connect_error` came.
    pub fn refusals(&self) -> BTreeMap<String, usize> {
        self.scene.book().refusals().clone()
    }

    /// How many transports were lost, other than by [`leave`](Self::leave).
    pub fn losses(&self) -> usize {
        self.scene.book().losses()
    }

    /// From now on [`peak`](Self::peak) tells the most that were ever connected to these servers together.
    pub fn watch(&self, servers: &[usize]) {
        self.scene.book().watch(servers);
    }

    /// The most that were connected at any moment since [`watch`](Self::watch). No moment is missed.
    pub fn peak(&self) -> usize {
        self.scene.book().peak()
    }

    /// Waits until everybody is in, or has given up.
    pub async fn settled(&self) {
        eventually("everybody is in or has given up", || is(self.scene.book().undecided(), &0)).await;
    }

    /// Waits until so many are connected.
    pub async fn has_inside(&self, limit: Duration, count: usize) {
        eventually_within(limit, &format!("{count} are connected"), || is(self.inside(), &count)).await;
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for member in self.members.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            member.abort();
        }
    }
}
