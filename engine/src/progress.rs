//! How far this node has applied the log, and waiting for it to come further.

use std::time::Duration;

use domain::Seq;
use tokio::{sync::watch, time::timeout};

/// How long a reader waits for what another node has shown it. Nodes are milliseconds apart; one that is behind by this
/// much is about to be taken out of service.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How far this node has applied the log: the sequence number of the newest entry that was stored here and dispatched
/// to the readers.
pub struct Progress(watch::Sender<Seq>);

impl Progress {
    /// Creates the progress of a node that has applied the log up to `reached`.
    pub fn new(reached: Seq) -> Self {
        Self(watch::Sender::new(reached))
    }

    /// Returns the sequence number of the newest entry that was applied here.
    pub fn reached(&self) -> Seq {
        *self.0.borrow()
    }

    /// Sets how far the log was applied.
    pub fn set(&self, reached: Seq) {
        self.0.send_replace(reached);
    }

    /// Waits until this node has applied an entry, at most 2 seconds. Returns whether it has.
    pub async fn wait_for(&self, seq: Seq) -> bool {
        let mut reached = self.0.subscribe();
        let reaching = reached.wait_for(|reached| *reached >= seq);
        timeout(TIMEOUT, reaching).await.is_ok_and(|reached| reached.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{task::yield_now, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_until_the_entry_is_applied_and_not_longer_than_two_seconds() {
        let progress = Arc::new(Progress::new(Seq(4)));
        let begun = Instant::now();
        assert!(progress.wait_for(Seq(4)).await);
        let waiting = tokio::spawn({
            let progress = Arc::clone(&progress);
            async move { progress.wait_for(Seq(6)).await }
        });
        yield_now().await;
        progress.set(Seq(5));
        yield_now().await;
        assert!(!waiting.is_finished());
        progress.set(Seq(7));
        assert!(waiting.await.unwrap());
        assert_eq!((progress.reached(), begun.elapsed()), (Seq(7), Duration::ZERO));
        assert!(!progress.wait_for(Seq(8)).await);
        assert_eq!(begun.elapsed(), TIMEOUT);
    }
}
