//! The writer: takes proposals in the order of the log, decides them, and stores the resulting changes in one
//! transaction. Only when that is on disk does it publish them. From time to time it makes a checkpoint.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use domain::{Change, Decision, Problem, decide};
use tokio_util::sync::CancellationToken;

use crate::{
    log::{LocalLog, Next, Outcome, Placed},
    publisher::Publisher,
    storage::{Store, StoreError},
    supervisor::{BackOff, Panics},
};

/// The name of the writer in the count of panics.
const TASK: &str = "writer";
/// The maximum number of proposals in a transaction. A transaction of 256 costs about as much as eight transactions of
/// one, and takes 2 ms.
const BATCH: usize = 256;

/// The size of the write-ahead log, in bytes, at which a checkpoint is made. Half of this size, 9,000 messages of 200
/// characters, made a start after a kill 0.07 s longer.
pub const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// The maximum time from the first change after a checkpoint to the next checkpoint. This also bounds how long removed
/// text stays in the write-ahead log.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(5);

/// Whether commands can be stored. Shared with the health endpoint.
#[derive(Debug, Default)]
pub struct WriterHealth {
    failing: AtomicBool,
    gone: AtomicBool,
    cannot_go_on: CancellationToken,
}

impl WriterHealth {
    /// Returns whether the writer is running and its last transaction was committed.
    pub fn is_well(&self) -> bool {
        self.can_store() && !self.gone.load(Ordering::Relaxed)
    }

    /// Returns whether the last transaction was committed, whether or not the writer is still running.
    pub fn can_store(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    /// Waits until the writer gives up. From then on it refuses every command with [`Problem::NotStored`].
    pub async fn cannot_go_on(&self) {
        self.cannot_go_on.cancelled().await;
    }
}

/// A guard that marks the writer as gone in its health however it ends, a panic included.
struct AliveGuard(Arc<WriterHealth>);

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

/// The writer and what it needs.
pub struct Writer {
    log: LocalLog,
    store: Arc<Store>,
    publisher: Publisher,
    health: Arc<WriterHealth>,
    panics: Arc<Panics>,
    /// When the next checkpoint is due at the latest. `None` if nothing has been stored since the last one.
    checkpoint: Option<Instant>,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
enum NotStored {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the writer panicked")]
    Panicked,
}

impl Writer {
    /// Creates a writer for a log that continues where the store ends.
    pub fn new(
        log: LocalLog,
        store: Arc<Store>,
        publisher: Publisher,
        health: Arc<WriterHealth>,
        panics: Arc<Panics>,
    ) -> Self {
        panics.know(TASK);
        Self { log, store, publisher, health, panics, checkpoint: None }
    }

    /// Works until the log is closed and all its entries are processed. Blocks the thread, so it needs one of its own.
    /// After a panic only the proposals in hand are refused, with [`Problem::NotStored`]; then the writer goes on.
    pub fn run(mut self) {
        let _working = AliveGuard(Arc::clone(&self.health));
        let mut back_off = BackOff::default();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(()) => return,
                Err(panic) => self.panics.note(TASK, &*panic),
            }
            self.health.failing.store(true, Ordering::Relaxed);
            thread::sleep(back_off.after_panic());
            // It is unknown how far the work had come before the panic. The store knows, so all readers are sent there.
            if let Err(error) = self.stores(|_| self.publisher.resync()) {
                return self.give_up(&error);
            }
            self.health.failing.store(false, Ordering::Relaxed);
        }
    }

    fn work(&mut self) {
        loop {
            match self.log.next(BATCH, self.checkpoint) {
                Next::Batch(batch) => self.write(batch),
                Next::Nothing => {}
                Next::End => return,
            }
            let is_done = if self.health.failing.load(Ordering::Relaxed) {
                // The failure may have been due to the batch. If a probe fails too, it is the storage.
                self.checkpoint(Store::probe)
            } else if self.is_checkpoint_due() {
                self.checkpoint(Store::checkpoint)
            } else {
                Ok(())
            };
            match is_done {
                Ok(()) => self.health.failing.store(false, Ordering::Relaxed),
                Err(error) => return self.give_up(&error),
            }
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        self.checkpoint.is_some_and(|at| at <= Instant::now())
            || self.store.journal_bytes() >= CHECKPOINT_BYTES
    }

    fn checkpoint(&mut self, make: impl FnOnce(&Store) -> Result<(), StoreError>) -> Result<(), NotStored> {
        self.checkpoint = None;
        self.stores(make)
    }

    /// Refuses all proposals until the log is closed.
    fn give_up(&mut self, error: &NotStored) {
        tracing::error!(%error, "nothing can be stored any more");
        self.health.failing.store(true, Ordering::Relaxed);
        self.health.cannot_go_on.cancel();
        while let Next::Batch(batch) = self.log.next(BATCH, None) {
            refuse(batch);
        }
    }

    /// Writes a batch. If it fails as a whole, its proposals are written one by one, so that a faulty one does not
    /// prevent the others from being stored.
    fn write(&mut self, batch: Vec<Placed>) {
        let mut stored = self.stores(|store| commit(store, &batch));
        if let Err(error) = &stored
            && batch.len() > 1
        {
            tracing::warn!(%error, commands = batch.len(), "a transaction failed, its commands are tried one by one");
            return batch.into_iter().for_each(|placed| self.write(vec![placed]));
        }
        if let Err(NotStored::Store(StoreError::Io(_))) = stored {
            // A checkpoint empties the write-ahead log, so there may be room after it.
            stored =
                self.checkpoint(Store::checkpoint).and_then(|()| self.stores(|store| commit(store, &batch)));
        }
        match stored {
            Ok(stored) => self.show(batch, stored),
            Err(error) => {
                self.health.failing.store(true, Ordering::Relaxed);
                tracing::error!(%error, "a command could not be stored");
                if let Err(error) = self.stores(Store::rollback) {
                    tracing::error!(%error, "whether it comes back after a start is not known");
                }
                refuse(batch);
            }
        }
    }

    fn show(&mut self, batch: Vec<Placed>, (outcomes, changes): (Vec<Outcome>, Vec<Change>)) {
        if batch.is_empty() {
            return;
        }
        self.checkpoint.get_or_insert_with(|| Instant::now() + CHECKPOINT_AFTER);
        self.health.failing.store(false, Ordering::Relaxed);
        changes.iter().for_each(|change| self.publisher.show(change));
        for (placed, outcome) in batch.into_iter().zip(outcomes) {
            placed.answer(outcome);
        }
    }

    /// Calls `work` with the store. If it panics, its transaction is rolled back, as after an error.
    fn stores<T>(&self, work: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, NotStored> {
        match catch_unwind(AssertUnwindSafe(|| work(&self.store))) {
            Ok(stored) => Ok(stored?),
            Err(panic) => {
                self.panics.note(TASK, &*panic);
                Err(NotStored::Panicked)
            }
        }
    }
}

fn commit(store: &Store, batch: &[Placed]) -> Result<(Vec<Outcome>, Vec<Change>), StoreError> {
    let Some(newest) = batch.last().map(|placed| &placed.entry) else { return Ok(Default::default()) };
    let lifetimes = store.lifetimes();
    store.write(newest.seq, newest.at, |write| {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut all = Vec::with_capacity(batch.len());
        for Placed { entry, .. } in batch {
            outcomes.push(match decide(write, entry, lifetimes)? {
                Decision::Accepted(changes) => {
                    changes.iter().try_for_each(|change| write.apply(change))?;
                    all.extend(changes);
                    Ok(entry.seq)
                }
                Decision::Duplicate(first) => Ok(first),
                Decision::Rejected(problem) => Err(problem),
            });
        }
        Ok((outcomes, all))
    })
}

fn refuse(batch: Vec<Placed>) {
    for placed in batch {
        placed.answer(Err(Problem::NotStored));
    }
}
