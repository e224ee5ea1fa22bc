//! Fetches the key sets that tenants name, as the operator does in a cluster. Whoever runs this may ask whom they like: any address, with or
//! without TLS.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use carillon_jwks::{AddressPolicy, Book, Due, FetchError, Fetcher, Options, Success, built_in};
use carillon_tenant::{Fetched, JwksSource};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What is fetched, and what is under way.
#[derive(Debug)]
pub struct KeySetWatch {
    fetcher: Arc<Fetcher>,
    book: Book,
    wanted: BTreeMap<JwksSource, Duration>,
    fetches: JoinSet<(Due, Result<Success, FetchError>)>,
}

impl KeySetWatch {
    /// Nothing is wanted yet.
    pub fn new() -> Self {
        let fetcher = Fetcher::new(Options::new(AddressPolicy::all(), true, built_in()));
        let mut book = Book::default();
        book.lead(true, Instant::now());
        Self { fetcher: Arc::new(fetcher), book, wanted: BTreeMap::new(), fetches: JoinSet::new() }
    }

    /// From now on exactly these are wanted.
    pub fn follow(&mut self, wanted: BTreeMap<JwksSource, Duration>) {
        for gone in self.wanted.keys().filter(|source| !wanted.contains_key(*source)) {
            self.book.forget(gone);
        }
        for (source, interval) in &wanted {
            self.book.want(source, *interval, Instant::now());
        }
        self.wanted = wanted;
    }

    /// Tokens were refused for a `kid` that nobody knows: looks at everything soon.
    pub fn hurry(&mut self) {
        for source in self.wanted.keys() {
            self.book.hurry(source, Instant::now());
        }
    }

    /// Returns when something is known of a source that was not known before. May be dropped and called again.
    pub async fn changed(&mut self) -> (JwksSource, Fetched) {
        loop {
            while let Some(due) = self.book.start(Instant::now()) {
                let fetcher = Arc::clone(&self.fetcher);
                self.fetches.spawn(async move {
                    let result = fetcher.fetch(&due.source, &due.cache).await;
                    (due, result)
                });
            }
            let next = self.book.next();
            let wait = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = self.fetches.join_next() => {
                    let Ok((due, result)) = done else { continue };
                    let news = self.book.done(&due, result, rand::random(), Instant::now());
                    if let Some(fetched) = news.changed {
                        return (due.source, fetched);
                    }
                }
                () = wait => {}
            }
        }
    }
}
