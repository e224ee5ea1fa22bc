//! Waiting with a deadline, and with words for the case that it passes.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Long enough for a busy machine; a test that meets it has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks at something that can't be awaited.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The same where each look is a request or two.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Awaits `future` for [`DEADLINE`].
///
/// # Panics
///
/// When the deadline passes.
pub async fn within_deadline<F: Future>(what: impl std::fmt::Display, future: F) -> F::Output {
    within(DEADLINE, what, future).await
}

/// Awaits `future` for `limit`.
///
/// # Panics
///
/// When the limit passes.
pub async fn within<F: Future>(limit: Duration, what: impl std::fmt::Display, future: F) -> F::Output {
    match tokio::time::timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}

/// Looks again and again until `look` gives `Ok`, for [`DEADLINE`].
///
/// # Panics
///
/// With what the last look saw, when the deadline passes.
pub async fn eventually<T, E: std::fmt::Debug>(what: &str, look: impl FnMut() -> Result<T, E>) -> T {
    eventually_within(DEADLINE, what, look).await
}

/// Looks again and again until `look` gives `Ok`, for `limit`.
///
/// # Panics
///
/// With what the last look saw, when the limit passes.
pub async fn eventually_within<T, E: std::fmt::Debug>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return value,
            Err(saw) if Instant::now() > end => panic!("not within {limit:?}: {what}; last seen: {saw:?}"),
            Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// The same for a look that has to ask somebody.
///
/// # Panics
///
/// With what the last look saw, when the limit passes.
pub async fn eventually_async<T, E: std::fmt::Debug>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + limit;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(saw) if Instant::now() > end => panic!("not within {limit:?}: {what}; last seen: {saw:?}"),
            Err(_) => tokio::time::sleep(ASK_INTERVAL).await,
        }
    }
}

/// `Ok` when `actual` is `expected`, for [`eventually`].
///
/// # Errors
///
/// What it is instead.
pub fn is<T: PartialEq>(actual: T, expected: &T) -> Result<(), T> {
    if actual == *expected { Ok(()) } else { Err(actual) }
}
