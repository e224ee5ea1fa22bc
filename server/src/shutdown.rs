//! Leaving without a herd: clients are told, then their transports are closed little by little, so that they come back elsewhere.

use std::{sync::Arc, time::Duration};

use serde_json::{json, value::to_raw_value};
use tokio::time::{Instant, sleep_until};

use crate::{core::Core, fan_out::Message, session::Session};

/// Transports are closed in so many batches at the most.
const BATCHES_MAX: usize = 100;

/// Load balancers go on sending clients for a moment; so long at least they are sent elsewhere, and not refused.
const LAME_DUCK: Duration = Duration::from_secs(5);

/// Lets nobody in any more, tells every client, and closes all transports spread over `window`. Returns when the last is closed.
pub async fn drain(core: &Arc<Core>, window: Duration) {
    core.start_draining();
    let sessions: Vec<Arc<Session>> = core.config.view().tenants().flat_map(|tenant| tenant.sessions()).collect();
    tracing::info!(connections = sessions.len(), window_seconds = window.as_secs(), "draining");
    let notice = json!({"reconnectWithinMs": u64::try_from(window.as_millis()).unwrap_or(u64::MAX)});
    let notice = Message::new("rt:draining", to_raw_value(&notice).expect("JSON serialises to JSON"));
    for session in &sessions {
        session.outlet.send(&notice).ok();
    }
    let batch = sessions.len().div_ceil(BATCHES_MAX).max(1);
    let batches = sessions.len().div_ceil(batch).max(1);
    let started = Instant::now();
    for (index, sessions) in sessions.chunks(batch).enumerate() {
        sleep_until(started + window.mul_f64((index + 1) as f64 / (batches + 1) as f64)).await;
        for session in sessions {
            session.outlet.cut();
        }
    }
    // Whoever came in between being counted and being told.
    for tenant in core.config.view().tenants() {
        for session in tenant.sessions() {
            session.outlet.cut();
        }
    }
    sleep_until(started + window.min(LAME_DUCK)).await;
    tracing::info!("drained");
}
