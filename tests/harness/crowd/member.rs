//! One client, for as long as it likes.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Habit, Scene};
use crate::client::{Client, End, Failure};

/// How long an attempt may take; a paused server takes connections and never answers.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause before coming back to a server that was lost; a tenth of what `socket.io-client` waits, so that tests are quick.
const COME_BACK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

/// Comes, stays, comes back.
pub(super) async fn live(scene: Scene, number: usize, token: String, habit: Habit) {
    let (first_pause, longest_pause) = COME_BACK;
    let mut pause = first_pause;
    loop {
        let server = habit.only.unwrap_or_else(|| scene.book().next_server());
        let attempt = timeout(ATTEMPT_TIMEOUT, Client::attempt(scene.servers[server], &token)).await;
        match attempt.unwrap_or(Err(Failure::Unreachable)) {
            Ok(mut client) => {
                pause = first_pause;
                scene.book().came_in(number, server);
                let end = client.stay().await;
                scene.book().was_lost(number, end == End::Server);
                if end == End::Server {
                    return;
                }
                sleep(jittered(pause)).await;
            }
            Err(Failure::Refused(message)) => {
                scene.book().was_refused(number, message, habit.retry.is_none());
                let Some(retry) = habit.retry else { return };
                sleep(jittered(retry)).await;
            }
            Err(Failure::Unreachable) => {
                sleep(jittered(pause)).await;
                pause = longest_pause.min(pause * 2);
            }
        }
    }
}

/// Half as long to half as long again, which is the library's `randomizationFactor`.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..1.5))
}
