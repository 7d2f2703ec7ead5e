//! The sequencer: gives every command its place in the one log.
//!
//! It has two ends. Whoever wants something done [`propose`](Sequencer::propose)s it at one end; the writer
//! takes [`Placed`] proposals from the other, in the order of the log. In one process the log between them is a
//! bounded queue; in a cluster it will be a stream that every node reads.

use std::{future::Future, pin::Pin, time::Duration};

use domain::{Entry, Problem, Proposal, Seq, Timestamp};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::clock::Clock;

/// Commands that wait for the writer. Beyond, whoever proposes waits.
const QUEUE: usize = 1_024;
/// How long one waits for a place in the queue before one is told that Qchat is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a command: its place in the log, on disk, or why not.
pub type Outcome = Result<Seq, Problem>;

/// A future that can be kept behind a trait.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The end of the log where commands go in.
pub trait Sequencer: Send + Sync {
    /// Hands a proposal over. Proposals that one task proposes one after the other keep that order in the log. The
    /// outcome comes through the channel; when that closes without one, nothing is known and the asker has to retry.
    ///
    /// # Errors
    /// [`Problem::Busy`] when there is no room for 5 seconds, [`Problem::NotStored`] when nobody reads the log.
    fn propose(&self, proposal: Proposal) -> Boxed<'_, Result<oneshot::Receiver<Outcome>, Problem>>;
}

struct Waiting {
    proposal: Proposal,
    outcome: oneshot::Sender<Outcome>,
}

/// A proposal with its place, and who waits for the outcome.
pub struct Placed {
    /// The proposal with its place.
    pub entry: Entry,
    /// Who waits.
    pub outcome: oneshot::Sender<Outcome>,
}

/// The sequencer of a single process.
pub struct LocalSequencer {
    queue: mpsc::Sender<Waiting>,
}

/// The other end of [`LocalSequencer`], for the writer alone.
pub struct LocalLog {
    queue: mpsc::Receiver<Waiting>,
    clock: Clock,
}

/// Makes both ends.
pub fn local(clock: Clock) -> (LocalSequencer, LocalLog) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (LocalSequencer { queue: sender }, LocalLog { queue: receiver, clock })
}

impl Sequencer for LocalSequencer {
    fn propose(&self, proposal: Proposal) -> Boxed<'_, Result<oneshot::Receiver<Outcome>, Problem>> {
        Box::pin(async move {
            let (outcome, receiver) = oneshot::channel();
            let place = timeout(PATIENCE, self.queue.reserve()).await.map_err(|_| Problem::Busy)?;
            place.map_err(|_| Problem::NotStored)?.send(Waiting { proposal, outcome });
            Ok(receiver)
        })
    }
}

impl LocalLog {
    /// Waits for commands and gives all that wait, up to `limit`, their places after `seq` and `at`. Nothing when
    /// the log is closed and empty. Blocks: for the writer's own thread.
    pub fn next(&mut self, limit: usize, seq: Seq, at: Timestamp) -> Option<Vec<Placed>> {
        let first = self.queue.blocking_recv()?;
        // A clock that goes back does not take the log with it.
        let at = (self.clock)().max(at);
        let waiting = std::iter::from_fn(|| self.queue.try_recv().ok());
        let mut seq = seq;
        let placed =
            std::iter::once(first).chain(waiting).take(limit).map(|Waiting { proposal, outcome }| {
                seq = seq.next();
                Placed { entry: Entry { seq, at, proposal }, outcome }
            });
        Some(placed.collect())
    }
}
