//! The writer: takes entries in the order of the log, decides them, and has the log store the resulting changes in one
//! transaction. Only when they are durable does it publish them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use domain::{Decision, LogSettings, Problem, decide};
use tokio_util::sync::CancellationToken;

use crate::{
    change_dispatcher::ChangeDispatcher,
    command_log::{Batch, Guarded, Log, Next, NotStored, PendingEntry, Stored, Written},
    storage::{LogState, Store, StoreError, Transaction},
    supervisor::{BackOff, Panics},
};

/// The name of the writer in the count of panics.
const TASK: &str = "writer";
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
pub struct Writer<L> {
    log: L,
    store: Arc<Store>,
    dispatcher: ChangeDispatcher,
    health: Arc<WriterHealth>,
    panics: Arc<Panics>,
}

impl<L: Log> Writer<L> {
    /// Creates a writer for a log that continues where the store ends.
    pub fn new(
        log: L,
        store: Arc<Store>,
        dispatcher: ChangeDispatcher,
        health: Arc<WriterHealth>,
        panics: Arc<Panics>,
    ) -> Self {
        panics.know(TASK);
        Self { log, store, dispatcher, health, panics }
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
            self.set_failing(true);
            thread::sleep(back_off.after_panic());
            // It is unknown how far the work had come before the panic. The store knows, so all readers are sent there.
            let Self { store, dispatcher, panics, .. } = &self;
            let resynced = Guarded { store, panics, task: TASK }.run(|_| dispatcher.resync());
            if let Err(error) = resynced {
                return self.give_up(&error);
            }
            self.set_failing(false);
        }
    }

    fn work(&mut self) {
        loop {
            let Self { log, store, panics, dispatcher, .. } = self;
            let store = Guarded { store, panics, task: TASK };
            let written = match log.next() {
                Next::Batch(batch) => log.store(&store, batch, commit),
                Next::Replace(replacement) => {
                    let replaced = log.replace(&store, replacement);
                    if let Err(error) = replaced.and_then(|()| store.run(|_| dispatcher.resync())) {
                        return self.give_up(&error);
                    }
                    Vec::new()
                }
                Next::Idle => Vec::new(),
                Next::End => return,
            };
            written.into_iter().for_each(|written| self.publish(written));
            let Self { log, store, panics, .. } = self;
            match log.maintain(&Guarded { store, panics, task: TASK }) {
                Ok(()) => self.set_failing(false),
                Err(error) => return self.give_up(&error),
            }
        }
    }

    /// Refuses all proposals until the log is closed.
    fn give_up(&mut self, error: &NotStored) {
        tracing::error!(%error, "nothing can be stored any more");
        self.set_failing(true);
        self.health.cannot_go_on.cancel();
        loop {
            match self.log.next() {
                Next::Batch(batch) => refuse(batch.entries),
                Next::Replace(_) | Next::Idle => {}
                Next::End => return,
            }
        }
    }

    /// Dispatches the changes that were stored, and answers the callers.
    fn publish(&self, Written { entries, stored }: Written) {
        let Ok(Stored { outcomes, changes }) = stored else {
            self.set_failing(true);
            return refuse(entries);
        };
        self.set_failing(false);
        changes.iter().for_each(|change| self.dispatcher.dispatch(change));
        if let Some(newest) = entries.last() {
            self.dispatcher.progress.set(newest.entry.seq);
        }
        for (pending, outcome) in entries.into_iter().zip(outcomes) {
            pending.answer(outcome);
        }
    }

    fn set_failing(&self, is_failing: bool) {
        self.health.failing.store(is_failing, Ordering::Relaxed);
    }
}

/// Decides and applies a batch in one transaction.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or written. Nothing is changed then.
pub fn commit(store: &Store, batch: &Batch) -> Result<Stored, StoreError> {
    let settings = store.settings();
    let work = |write: &mut Transaction<'_>| decide_all(write, &batch.entries, settings);
    let newest = batch.entries.last().map(|pending| &pending.entry);
    match (&batch.advance, newest) {
        (Some(advance), newest) => {
            let log = newest.map(|entry| LogState { epoch: store.epoch(), seq: entry.seq, at: entry.at });
            store.write_replica(log, advance, work)
        }
        (None, Some(newest)) => store.write(newest.seq, newest.at, work),
        (None, None) => Ok(Stored::default()),
    }
}

fn decide_all(
    write: &mut Transaction<'_>,
    entries: &[PendingEntry],
    settings: LogSettings,
) -> Result<Stored, StoreError> {
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut changes = Vec::with_capacity(entries.len());
    for PendingEntry { entry, .. } in entries {
        outcomes.push(match decide(write, entry, settings)? {
            Decision::Accepted(made) => {
                made.iter().try_for_each(|change| write.apply(change))?;
                changes.extend(made);
                Ok(entry.seq)
            }
            Decision::Duplicate(first) => Ok(first),
            Decision::Rejected(problem) => Err(problem),
        });
    }
    Ok(Stored { outcomes, changes })
}

fn refuse(entries: Vec<PendingEntry>) {
    for pending in entries {
        pending.answer(Err(Problem::NotStored));
    }
}
