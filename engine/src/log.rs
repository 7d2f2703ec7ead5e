//! The sequencer: gives every proposal its place in the one log.
//!
//! It has two ends. Callers [`propose`](Sequencer::propose) at one end; the writer takes [`Placed`] proposals from the
//! other, in the order of the log. In a single process the log between them is a bounded queue; in a cluster it will be
//! a stream that every node reads.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use domain::{Entry, Problem, Proposal, Seq};
use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::clock::Clock;

/// The number of proposals that wait for the writer. When the queue is full, callers wait.
const QUEUE: usize = 1_024;
/// How long a caller waits for room in the queue before it is refused with [`Problem::Busy`].
const TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of a proposal: the sequence number of its stored entry, or why it was refused.
pub type Outcome = Result<Seq, Problem>;

/// The end of the log where proposals go in.
pub trait Sequencer: Send + Sync {
    /// Queues a proposal. Proposals that one task makes one after the other keep that order in the log. The outcome is
    /// sent through the returned channel. If the channel closes without one, the outcome is unknown and the caller has
    /// to retry.
    ///
    /// # Errors
    /// [`Problem::Busy`] if there is no room in the queue for 5 seconds, [`Problem::NotStored`] if the writer has
    /// stopped reading the log.
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>>;
}

struct Waiting {
    proposal: Proposal,
    outcome: oneshot::Sender<Outcome>,
}

/// A proposal with its place in the log, and the channel for its outcome.
pub struct Placed {
    /// The proposal with its sequence number and time.
    pub entry: Entry,
    /// The channel for the outcome. `None` if no caller in this process waits for it.
    pub outcome: Option<oneshot::Sender<Outcome>>,
}

impl Placed {
    /// Sends the outcome to the caller. If the caller has gone, the outcome is dropped; the entry is applied all the
    /// same.
    pub fn answer(self, outcome: Outcome) {
        if let Some(waiting) = self.outcome {
            let _ = waiting.send(outcome);
        }
    }
}

/// The result of [`LocalLog::next`].
pub enum Next {
    /// Proposals to decide and store.
    Batch(Vec<Placed>),
    /// Nothing was proposed before the timeout.
    Nothing,
    /// The log is closed: nothing will be proposed any more.
    End,
}

/// The sequencer of a single process.
pub struct LocalSequencer {
    queue: mpsc::Sender<Waiting>,
}

/// The reading end of the log, for the writer alone.
pub struct LocalLog {
    queue: mpsc::Receiver<Waiting>,
    clock: Clock,
    /// The last sequence number that was given out. The number of an entry that could not be stored is not used again.
    last: Seq,
}

/// Creates both ends of a log whose first sequence number is the one after `after`.
pub fn local(clock: Clock, after: Seq) -> (LocalSequencer, LocalLog) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (LocalSequencer { queue: sender }, LocalLog { queue: receiver, clock, last: after })
}

impl Sequencer for LocalSequencer {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>> {
        Box::pin(async move {
            let (outcome, receiver) = oneshot::channel();
            let place = timeout(TIMEOUT, self.queue.reserve()).await.map_err(|_| Problem::Busy)?;
            place.map_err(|_| Problem::NotStored)?.send(Waiting { proposal, outcome });
            Ok(receiver)
        })
    }
}

impl LocalLog {
    /// Waits for proposals, until `until` if it is given, and takes all that are waiting, up to `limit`. Each gets the
    /// next sequence number; all of them get the current time. Blocks the thread, so it is called from the writer's
    /// own.
    pub fn next(&mut self, limit: usize, until: Option<Instant>) -> Next {
        let first = match self.receive(until) {
            Poll::Ready(Some(first)) => first,
            Poll::Ready(None) => return Next::End,
            Poll::Pending => return Next::Nothing,
        };
        let at = (self.clock)();
        let (queue, last) = (&mut self.queue, &mut self.last);
        let waiting = std::iter::from_fn(|| queue.try_recv().ok());
        let placed =
            std::iter::once(first).chain(waiting).take(limit).map(|Waiting { proposal, outcome }| {
                *last = last.next();
                Placed { entry: Entry { seq: *last, at, proposal }, outcome: Some(outcome) }
            });
        Next::Batch(placed.collect())
    }

    /// Waits for one proposal. Returns `Poll::Pending` on timeout. Parks the thread instead of using a timer of the
    /// async runtime, since the writer continues to work while the runtime is shut down.
    fn receive(&mut self, until: Option<Instant>) -> Poll<Option<Waiting>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            let received = self.queue.poll_recv(&mut context);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                _ if received.is_ready() => return received,
                Some(Duration::ZERO) => return Poll::Pending,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use domain::UserId;

    use super::*;
    use crate::clock;

    fn places(next: Next) -> Option<Vec<u64>> {
        match next {
            Next::Batch(batch) => Some(batch.iter().map(|placed| placed.entry.seq.0).collect()),
            Next::Nothing => Some(Vec::new()),
            Next::End => None,
        }
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_comes_by_the_time_and_by_the_end() {
        let (sequencer, mut log) = local(clock::system(), Seq(4));
        let (tell, waited) = oneshot::channel();
        let writer = thread::spawn(move || {
            let mut next = |until| places(log.next(9, until));
            let begun = Instant::now();
            let in_time = next(Some(begun + Duration::from_millis(30)));
            assert!(begun.elapsed() >= Duration::from_millis(30));
            tell.send(()).unwrap();
            let far = Some(begun + Duration::from_secs(3_600));
            [in_time, next(None), next(far), next(far)]
        });
        let proposal = || Proposal::UserLeft(UserId::from_bytes([1; domain::id::ID_BYTES]));
        waited.await.unwrap();
        let outcome = sequencer.propose(proposal()).await.unwrap();
        // No outcome is sent in this test: the closed channel shows that the entry was taken.
        assert!(outcome.await.is_err());
        assert!(sequencer.propose(proposal()).await.unwrap().await.is_err());
        drop(sequencer);
        let woken = tokio::task::spawn_blocking(|| writer.join()).await.unwrap().unwrap();
        assert_eq!(woken, [Some(vec![]), Some(vec![5]), Some(vec![6]), None]);
    }
}
