//! Asking a pod what its tenants use. Best effort: whether the pod is well is found out by asking for its state.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::{Report, Task};
use crate::acks::{Touched, Trouble};

/// How often a pod is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How often one is asked that doesn't know the question, or whose answer this version doesn't understand.
const ASK_AGAIN_INTERVAL: Duration = Duration::from_secs(60);
/// A pod that has just been found is asked soon: until then nothing is known of what all pods use together.
const FIRST_ASK: Duration = Duration::from_millis(500);

/// When a pod is asked for the first time.
pub(super) fn first() -> Instant {
    later(FIRST_ASK)
}

/// Not all pods at once.
fn later(interval: Duration) -> Instant {
    Instant::now() + interval.mul_f64(rand::rng().random_range(0.8..1.2))
}

impl Task {
    /// Asks the pod what its tenants use.
    pub(super) async fn ask_usage(&mut self) {
        // Not marked as seen: that the pod changed is still a reason to ask it for its state.
        let address = self.pod.borrow().address;
        let answer = {
            let _permit = self.context.exchanges.acquire().await;
            self.client.usage(address).await
        };
        match answer {
            Ok(Some(mut report)) => {
                self.usage_due = later(ASK_INTERVAL);
                self.ledger.hear();
                // Another process than was asked for its state must be asked for it again.
                self.known = self.ledger.is_boot(&report.boot_id);
                // No use of anything: taken out, so that it isn't news twice.
                let unknown = report.tenants.iter_mut().filter(|usage| !usage.unknown_kids.is_empty());
                let unknown: Vec<_> = unknown.map(|usage| (usage.tenant_id.clone(), std::mem::take(&mut usage.unknown_kids))).collect();
                let touched = self.usage.learn(report, Instant::now());
                self.report_usage(touched).await;
                if !unknown.is_empty() {
                    // Fails only when the operator ends.
                    let _ = self.context.reports.send(Report::UnknownKids(unknown)).await;
                }
            }
            Ok(None) => {
                tracing::debug!(pod = self.pod.borrow().name, "pod doesn't know what tenants use");
                self.usage_due = later(ASK_AGAIN_INTERVAL);
                self.report_usage(self.usage.silence()).await;
            }
            Err(trouble @ (Trouble::Malformed | Trouble::Refused | Trouble::ProtocolVersion)) => {
                tracing::warn!(pod = self.pod.borrow().name, %trouble, "no use of tenants to be had");
                self.usage_due = later(ASK_AGAIN_INTERVAL);
                self.report_usage(self.usage.silence()).await;
            }
            Err(trouble) => {
                tracing::debug!(pod = self.pod.borrow().name, %trouble, "no use of tenants to be had");
                self.usage_due = later(ASK_INTERVAL);
                self.known = false;
                self.usage_missed().await;
            }
        }
    }

    /// The pod could not be asked.
    pub(super) async fn usage_missed(&self) {
        let touched = self.usage.missed(Instant::now());
        self.report_usage(touched).await;
    }

    async fn report_usage(&self, touched: Touched) {
        if !touched.is_empty() {
            // Fails only when the operator ends.
            let _ = self.context.reports.send(Report::Usage(self.uid.clone(), touched)).await;
        }
    }
}
