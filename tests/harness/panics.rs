//! Panics of the code under test, which a task would otherwise swallow.

use std::sync::{Mutex, Once, PoisonError};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records, from now on, every panic that is not an assertion of the tests themselves.
pub fn record() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.location().is_some_and(|location| !is_ours(location.file())) {
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            usual(info);
        }));
    });
}

/// Asserts that nothing under test has panicked in this process.
///
/// # Panics
///
/// When something has.
pub fn assert_none() {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(seen.is_empty(), "the code under test panicked: {seen:#?}");
}

fn is_ours(file: &str) -> bool {
    file.starts_with("tests/")
}
