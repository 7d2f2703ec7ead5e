//! The command log ("the log"): gives every proposal its place in one order, a time and an epoch. Proposals are the
//! commands of users and what the server records by itself.
//!
//! It has two ends. Callers [`propose`](Sequencer::propose) at one end; the writer takes [`PendingEntry`] proposals from the
//! other, in the order of the log, and stores through it what it decided. In a single process the log between them is a
//! bounded queue in memory, and the write-ahead log beside the database (`storage::write_ahead_log`) makes the results
//! durable ([`local`]); in a cluster it will be a stream that every node reads, whose entries are durable before they
//! come.

pub mod batcher;
pub mod envelope;
pub mod local;
pub mod parking;
mod queue;
pub mod replicated;
pub mod status;
pub mod transport;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use domain::{Change, Entry, Epoch, Problem, Proposal, Seq};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{
    storage::{Advance, Store, StoreError},
    supervisor::Panics,
};

/// The outcome of a proposal: the sequence number of its stored entry, or why it was refused.
pub type Outcome = Result<Seq, Problem>;

/// The end of the log that takes proposals.
pub trait Sequencer: Send + Sync {
    /// Returns the epoch of the log: a cursor of another epoch does not belong to it.
    fn epoch(&self) -> Epoch;

    /// Queues a proposal. Proposals that one task makes one after the other keep that order in the log. The outcome is
    /// sent through the returned channel. If the channel closes without one, the outcome is unknown and the caller has
    /// to retry.
    ///
    /// # Errors
    /// [`Problem::Busy`] if there is no room in the queue for 5 seconds, [`Problem::NotStored`] if the writer has
    /// stopped reading the log.
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>>;
}

/// The end of the log that the writer reads. It alone knows when an entry is durable, and what to do if one cannot be
/// made so.
pub trait Log: Send {
    /// Waits for entries, and takes those that are waiting. Blocks the thread, so it is called from the writer's own.
    fn next(&mut self) -> Next;

    /// Stores entries in the database by `commit`, so that their outcomes are durable and can be published. Returns the
    /// entries in parts, in their order, each stored or not: if a batch fails, a faulty entry must not prevent the
    /// others from being stored.
    fn store(&mut self, store: &Guarded<'_>, batch: Batch, commit: Commit) -> Vec<Written>;

    /// Replaces the database by a snapshot that [`next`](Self::next) returned. The default does nothing, for logs that
    /// return none.
    ///
    /// # Errors
    /// [`NotStored`] if the database could not be replaced. It is then as before.
    fn replace(&mut self, _store: &Guarded<'_>, _replacement: Replacement) -> Result<(), NotStored> {
        Ok(())
    }

    /// Does what is due after entries were stored, or failed to be.
    ///
    /// # Errors
    /// [`NotStored`] if nothing can be stored any more.
    fn maintain(&mut self, store: &Guarded<'_>) -> Result<(), NotStored>;
}

/// Applies a batch to the database in one transaction. On an error nothing is changed.
pub type Commit = fn(&Store, &Batch) -> Result<Stored, StoreError>;

/// What became of a batch that was stored.
#[derive(Default)]
pub struct Stored {
    /// The outcome of each entry.
    pub outcomes: Vec<Outcome>,
    /// The changes of all of them, in the order of the log.
    pub changes: Vec<Change>,
}

/// Some of the entries that were to be stored, and whether they were.
pub struct Written {
    /// The entries.
    pub entries: Vec<PendingEntry>,
    /// What became of them. On an error none of them was stored.
    pub stored: Result<Stored, NotStored>,
}

/// Why entries were not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// The database or the write-ahead log cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work on them panicked.
    #[error("the writer panicked")]
    Panicked,
}

/// The store, for work that may panic: a panic is counted, and taken for an error.
pub struct Guarded<'a> {
    /// The store.
    pub store: &'a Store,
    /// The count of panics.
    pub panics: &'a Panics,
    /// The task whose panics they are.
    pub task: &'static str,
}

impl Guarded<'_> {
    /// Calls `work` with the store. If it panics, its transaction is rolled back, as after an error.
    ///
    /// # Errors
    /// That of `work`, or [`NotStored::Panicked`].
    pub fn run<T>(&self, work: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, NotStored> {
        match catch_unwind(AssertUnwindSafe(|| work(self.store))) {
            Ok(stored) => Ok(stored?),
            Err(panic) => {
                self.panics.note(self.task, &*panic);
                Err(NotStored::Panicked)
            }
        }
    }
}

/// Entries that are decided and stored in one transaction, in the order of the log.
pub struct Batch {
    /// The entries. They are decided by the settings that hold before the batch. A batch of a replicated log may have
    /// none, and then only its state moves on.
    pub entries: Vec<PendingEntry>,
    /// How far the batch takes a replicated log. `None` in the log of a single process.
    pub advance: Option<Advance>,
}

impl Batch {
    /// Creates a batch of the log of a single process.
    pub const fn local(entries: Vec<PendingEntry>) -> Self {
        Self { entries, advance: None }
    }
}

/// A snapshot that replaces the database, since entries before it are not to be had any more.
#[derive(Debug)]
pub struct Replacement {
    /// The file with the snapshot.
    pub file: PathBuf,
    /// The place of the newest message of the stream that is part of it.
    pub place: u64,
}

/// A proposal with its place in the log, and the channel for its outcome.
pub struct PendingEntry {
    /// The proposal with its sequence number and time.
    pub entry: Entry,
    /// The channel for the outcome. `None` if no caller in this process waits for it.
    pub outcome: Option<oneshot::Sender<Outcome>>,
}

impl PendingEntry {
    /// Sends the outcome to the caller. If the caller has gone, the outcome is dropped; the entry is applied all the
    /// same.
    pub fn answer(self, outcome: Outcome) {
        if let Some(waiting) = self.outcome {
            let _ = waiting.send(outcome);
        }
    }
}

/// The result of [`Log::next`].
pub enum Next {
    /// Entries to decide and store.
    Batch(Batch),
    /// A snapshot, with which [`Log::replace`] is to be called.
    Replace(Replacement),
    /// There are none, and [`Log::maintain`] has something to do.
    Idle,
    /// The log is closed: nothing will be proposed any more.
    End,
}
