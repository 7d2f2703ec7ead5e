//! The sequencer: gives every command its place in the one log.
//!
//! It has two ends. Whoever wants something done [`propose`](Sequencer::propose)s it at one end; the writer
//! takes [`Placed`] proposals from the other, in the order of the log. In one process the log between them is a
//! bounded queue; in a cluster it will be a stream that every node reads.

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

/// Commands that wait for the writer. Beyond, whoever proposes waits.
const QUEUE: usize = 1_024;
/// How long one waits for a place in the queue before one is told that Qchat is busy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a command: its place in the log, on disk, or why not.
pub type Outcome = Result<Seq, Problem>;

/// The end of the log where commands go in.
pub trait Sequencer: Send + Sync {
    /// Hands a proposal over. Proposals that one task proposes one after the other keep that order in the log. The
    /// outcome comes through the channel; when that closes without one, nothing is known and the asker has to retry.
    ///
    /// # Errors
    /// [`Problem::Busy`] when there is no room for 5 seconds, [`Problem::NotStored`] when nobody reads the log.
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>>;
}

struct Waiting {
    proposal: Proposal,
    outcome: oneshot::Sender<Outcome>,
}

/// A proposal with its place, and who waits for the outcome.
pub struct Placed {
    /// The proposal with its place.
    pub entry: Entry,
    /// Who waits; `None` where nobody does in this process.
    pub outcome: Option<oneshot::Sender<Outcome>>,
}

impl Placed {
    /// Tells whoever waits. They may have gone; what they asked for is done all the same.
    pub fn answer(self, outcome: Outcome) {
        if let Some(waiting) = self.outcome {
            let _ = waiting.send(outcome);
        }
    }
}

/// What there is to do.
pub enum Next {
    /// To decide and store these.
    Batch(Vec<Placed>),
    /// Nothing was proposed for as long as one had patience.
    Nothing,
    /// Nothing will be proposed any more.
    End,
}

/// The sequencer of a single process.
pub struct LocalSequencer {
    queue: mpsc::Sender<Waiting>,
}

/// The other end of [`LocalSequencer`], for the writer alone.
pub struct LocalLog {
    queue: mpsc::Receiver<Waiting>,
    clock: Clock,
    /// The place that was given last. One whose entry could not be stored is not given again.
    last: Seq,
}

/// Makes both ends of a log that goes on after a place.
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
    /// Waits for commands, until a moment if one is given, and gives all that wait, up to `limit`, the next places and the time
    /// it is. Blocks: for the writer's own thread.
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

    /// Nothing yet where that moment came first. With the thread's own parking and no timer of a runtime, since the writer
    /// works on while that is shut down.
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

/// Wakes a thread that has parked itself.
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
        // the writer answers nobody here: that the channel closes says that it came this far
        assert!(outcome.await.is_err());
        assert!(sequencer.propose(proposal()).await.unwrap().await.is_err());
        drop(sequencer);
        let woken = tokio::task::spawn_blocking(|| writer.join()).await.unwrap().unwrap();
        assert_eq!(woken, [Some(vec![]), Some(vec![5]), Some(vec![6]), None]);
    }
}
