//! The queue of proposals: what both logs, that of a single process and the replicated one, take them from.

use std::time::Duration;

use domain::{Problem, Proposal};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::Outcome;

/// The number of proposals that wait. When the queue is full, callers wait.
const QUEUE: usize = 1_024;
/// How long a caller waits for room in the queue before it is refused with [`Problem::Busy`].
const TIMEOUT: Duration = Duration::from_secs(5);

/// A proposal in the queue.
pub(super) struct Waiting {
    pub(super) proposal: Proposal,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// The end of the queue that takes proposals.
pub(super) struct ProposalQueue(mpsc::Sender<Waiting>);

/// Creates both ends of an empty queue.
pub(super) fn queue() -> (ProposalQueue, mpsc::Receiver<Waiting>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (ProposalQueue(sender), receiver)
}

impl ProposalQueue {
    /// Queues a proposal, as [`Sequencer::propose`](super::Sequencer::propose) does.
    pub(super) async fn propose(&self, proposal: Proposal) -> Result<oneshot::Receiver<Outcome>, Problem> {
        let (outcome, receiver) = oneshot::channel();
        let place = timeout(TIMEOUT, self.0.reserve()).await.map_err(|_| Problem::Busy)?;
        place.map_err(|_| Problem::NotStored)?.send(Waiting { proposal, outcome });
        Ok(receiver)
    }
}
