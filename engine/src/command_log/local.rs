//! The command log of a single process: a bounded queue in memory. What is decided from its entries is made durable by
//! the write-ahead log of the [`Store`].

use std::{
    task::Poll,
    time::{Duration, Instant},
};

use domain::{Entry, Epoch, Problem, Proposal, Seq};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    Batch, Commit, Guarded, Log, Next, NotStored, Outcome, PendingEntry, Sequencer, Stored, Written,
    parking::Parked,
    queue::{ProposalQueue, Waiting, queue},
};
use crate::{
    clock::Clock,
    storage::{Store, StoreError},
};

/// The maximum number of proposals in a transaction. A transaction of 256 costs about as much as eight transactions of
/// one, and takes 2 ms.
const BATCH: usize = 256;
/// The size of the write-ahead log, in bytes, at which a checkpoint is made. Half of this size, 9,000 messages of 200
/// characters, made a start after a kill 0.07 s longer.
pub const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// The maximum time from the first change after a checkpoint to the next checkpoint. This also bounds how long removed
/// text stays in the write-ahead log.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(5);

/// The sequencer of a single process, which queues proposals.
pub struct LocalSequencer {
    queue: ProposalQueue,
    epoch: Epoch,
}

/// The reading end of the log of a single process.
pub struct LocalLog {
    queue: Parked<Waiting>,
    clock: Clock,
    /// The last sequence number that was given out. The number of an entry that could not be stored is not used again.
    last: Seq,
    /// When the next checkpoint is due at the latest. `None` if nothing has been stored since the last one.
    checkpoint: Option<Instant>,
    /// Whether entries could not be stored since the last probe.
    is_failing: bool,
}

/// Creates both ends of a log of this epoch, whose first sequence number is the one after `after`.
pub fn open(clock: Clock, epoch: Epoch, after: Seq) -> (LocalSequencer, LocalLog) {
    let (sender, queue) = queue();
    let log = LocalLog { queue: Parked::new(queue), clock, last: after, checkpoint: None, is_failing: false };
    (LocalSequencer { queue: sender, epoch }, log)
}

impl Sequencer for LocalSequencer {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>> {
        Box::pin(self.queue.propose(proposal))
    }
}

impl Log for LocalLog {
    /// Takes all proposals that are waiting, up to 256. Each gets the next sequence number; all of them get the
    /// current time.
    fn next(&mut self) -> Next {
        let first = match self.queue.receive(self.checkpoint) {
            Poll::Ready(Some(first)) => first,
            Poll::Ready(None) => return Next::End,
            Poll::Pending => return Next::Idle,
        };
        let at = (self.clock)();
        let (queue, last) = (&mut self.queue, &mut self.last);
        let waiting = std::iter::from_fn(|| queue.take());
        let pending =
            std::iter::once(first).chain(waiting).take(BATCH).map(|Waiting { proposal, outcome }| {
                *last = last.next();
                PendingEntry { entry: Entry { seq: *last, at, proposal }, outcome: Some(outcome) }
            });
        Next::Batch(Batch::local(pending.collect()))
    }

    /// A commit makes its changes durable by the write-ahead log. If a batch fails as a whole, its entries are written
    /// one by one.
    fn store(&mut self, store: &Guarded<'_>, batch: Batch, commit: Commit) -> Vec<Written> {
        let stored = store.run(|store| commit(store, &batch));
        if let Err(error) = &stored
            && batch.entries.len() > 1
        {
            tracing::warn!(%error, commands = batch.entries.len(), "a transaction failed, its commands are tried one by one");
            let alone = |pending| self.store(store, Batch::local(vec![pending]), commit);
            return batch.entries.into_iter().flat_map(alone).collect();
        }
        vec![self.written(store, batch, stored, commit)]
    }

    /// Makes a checkpoint when it is due, and after a failure tries whether anything can be stored.
    fn maintain(&mut self, store: &Guarded<'_>) -> Result<(), NotStored> {
        if self.is_failing {
            // The failure may have been due to the entry. If a probe fails too, it is the storage.
            self.is_failing = false;
            return self.checkpoint(store, Store::probe);
        }
        if self.checkpoint.is_some_and(|at| at <= Instant::now())
            || store.store.wal_bytes() >= CHECKPOINT_BYTES
        {
            return self.checkpoint(store, Store::checkpoint);
        }
        Ok(())
    }
}

impl LocalLog {
    fn checkpoint(
        &mut self,
        store: &Guarded<'_>,
        make: impl FnOnce(&Store) -> Result<(), StoreError>,
    ) -> Result<(), NotStored> {
        self.checkpoint = None;
        store.run(make)
    }

    /// Finishes a commit. If the disk had no room, a checkpoint empties the write-ahead log, and it is tried again. If it
    /// failed, it is removed from the write-ahead log, so that no start applies it.
    fn written(
        &mut self,
        store: &Guarded<'_>,
        batch: Batch,
        mut stored: Result<Stored, NotStored>,
        commit: Commit,
    ) -> Written {
        if let Err(NotStored::Store(StoreError::Io(_))) = stored {
            stored = self
                .checkpoint(store, Store::checkpoint)
                .and_then(|()| store.run(|store| commit(store, &batch)));
        }
        match &stored {
            Ok(_) => {
                self.is_failing = false;
                self.checkpoint.get_or_insert_with(|| Instant::now() + CHECKPOINT_AFTER);
            }
            Err(error) => {
                self.is_failing = true;
                tracing::error!(%error, "a command could not be stored");
                if let Err(error) = store.run(Store::rollback) {
                    tracing::error!(%error, "a command that was refused may be applied at the next start");
                }
            }
        }
        Written { entries: batch.entries, stored }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use domain::{UserId, id::ID_BYTES};

    use super::*;
    use crate::clock;

    fn places(next: Next) -> Option<Vec<u64>> {
        match next {
            Next::Batch(batch) => Some(batch.entries.iter().map(|pending| pending.entry.seq.0).collect()),
            Next::Idle | Next::Replace(_) => Some(Vec::new()),
            Next::End => None,
        }
    }

    #[tokio::test]
    async fn the_writer_is_woken_by_a_proposal_by_a_due_checkpoint_and_by_the_end() {
        let (sequencer, mut log) = open(clock::system(), Epoch::from_bytes([1; ID_BYTES]), Seq(4));
        let (tell, waited) = oneshot::channel();
        let writer = thread::spawn(move || {
            let mut next = |until| {
                log.checkpoint = until;
                places(log.next())
            };
            let begun = Instant::now();
            let in_time = next(Some(begun + Duration::from_millis(30)));
            assert!(begun.elapsed() >= Duration::from_millis(30));
            tell.send(()).unwrap();
            let far = Some(begun + Duration::from_secs(3_600));
            [in_time, next(None), next(far), next(far)]
        });
        let proposal = || Proposal::UserLeft(UserId::from_bytes([1; ID_BYTES]));
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
