//! The writer: takes proposals in the order of the log, decides them, stores what follows in one transaction, and
//! only when that is on disk lets anyone see it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use domain::{Change, Problem, Seq, Timestamp, Verdict, decide};
use tokio_util::sync::CancellationToken;

use crate::{
    audience::Audience,
    sequencer::{LocalLog, Outcome, Placed},
    store::{LogState, Store, StoreError},
    supervise::{self, BackOff, Panics},
};

/// Commands in one transaction: a transaction of 256 costs about as much as eight of one, and takes 2 ms.
const BATCH: usize = 256;

/// Whether what people ask for can be stored. Shared with the health page.
#[derive(Debug, Default)]
pub struct WriterHealth {
    failing: AtomicBool,
    gone: AtomicBool,
    cannot_go_on: CancellationToken,
}

impl WriterHealth {
    /// Whether the writer is there and its last transaction was committed.
    pub fn is_well(&self) -> bool {
        self.can_store() && !self.gone.load(Ordering::Relaxed)
    }

    /// Whether its last transaction was committed, whether or not the writer is there still.
    pub fn can_store(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    /// Waits until the writer cannot go on: from then on everything is refused as not stored.
    pub async fn cannot_go_on(&self) {
        self.cannot_go_on.cancelled().await;
    }
}

/// However the writer ends, a panic included, its health says so.
struct Working(Arc<WriterHealth>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

/// The writer and what it needs.
pub struct Writer {
    log: LocalLog,
    store: Arc<Store>,
    audience: Audience,
    health: Arc<WriterHealth>,
    panics: Arc<Panics>,
    newest: (Seq, Timestamp),
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
    /// Goes on where the store ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        log: LocalLog,
        store: Arc<Store>,
        audience: Audience,
        health: Arc<WriterHealth>,
        panics: Arc<Panics>,
    ) -> Result<Self, StoreError> {
        let newest = newest(&store)?;
        Ok(Self { log, store, audience, health, panics, newest })
    }

    /// Works until the log is closed and everything in it is done. Blocks: for a thread of its own. A panic costs the
    /// proposals that it hit, which are refused as not stored, and nothing else.
    pub fn run(mut self) {
        let _working = Working(Arc::clone(&self.health));
        let mut back_off = BackOff::default();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(()) => return,
                Err(panic) => supervise::note("writer", &self.panics.writer, &*panic),
            }
            self.health.failing.store(true, Ordering::Relaxed);
            thread::sleep(back_off.after_panic());
            // it is not known how far it came: the store knows, and those who watch are sent there
            match self.stores(newest) {
                Ok(newest) => self.newest = newest,
                Err(error) => return self.give_up(&error),
            }
            if let Err(error) = self.stores(|_| self.audience.look_again()) {
                return self.give_up(&error);
            }
            self.health.failing.store(false, Ordering::Relaxed);
        }
    }

    fn work(&mut self) {
        while let Some(batch) = self.log.next(BATCH, self.newest.0, self.newest.1) {
            self.write(batch);
            if self.health.failing.load(Ordering::Relaxed) {
                // what failed may have been at fault; if nothing at all can be stored, it is the storage
                match self.stores(|store| store.write(|_| Ok(()))) {
                    Ok(()) => self.health.failing.store(false, Ordering::Relaxed),
                    Err(error) => return self.give_up(&error),
                }
            }
        }
    }

    /// Refuses everything, until the log is closed.
    fn give_up(&mut self, error: &NotStored) {
        tracing::error!(%error, "nothing can be stored any more");
        self.health.failing.store(true, Ordering::Relaxed);
        self.health.cannot_go_on.cancel();
        while let Some(batch) = self.log.next(BATCH, self.newest.0, self.newest.1) {
            refuse(batch);
        }
    }

    /// Writes a batch. One that fails as a whole is written command by command, so that what is wrong with one does
    /// not keep the others from being stored.
    fn write(&mut self, batch: Vec<Placed>) {
        let Some(newest) = batch.last().map(|placed| (placed.entry.seq, placed.entry.at)) else { return };
        match self.stores(|store| commit(store, &batch)) {
            Ok((outcomes, changes)) => {
                self.newest = newest;
                self.health.failing.store(false, Ordering::Relaxed);
                changes.iter().for_each(|change| self.audience.show(change));
                for (placed, outcome) in batch.into_iter().zip(outcomes) {
                    // whoever asked may have gone; what they asked for is done all the same
                    let _ = placed.outcome.send(outcome);
                }
            }
            Err(error) if batch.len() > 1 => {
                tracing::warn!(%error, commands = batch.len(), "a transaction failed, its commands are tried one by one");
                batch.into_iter().for_each(|placed| self.write(vec![placed]));
            }
            Err(error) => {
                self.health.failing.store(true, Ordering::Relaxed);
                tracing::error!(%error, "a command could not be stored");
                refuse(batch);
            }
        }
    }

    /// Works with the store. A panic in there leaves a transaction undone, as an error does.
    fn stores<T>(&self, work: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, NotStored> {
        match catch_unwind(AssertUnwindSafe(|| work(&self.store))) {
            Ok(stored) => Ok(stored?),
            Err(panic) => {
                supervise::note("writer", &self.panics.writer, &*panic);
                Err(NotStored::Panicked)
            }
        }
    }
}

fn commit(store: &Store, batch: &[Placed]) -> Result<(Vec<Outcome>, Vec<Change>), StoreError> {
    let lifetimes = store.lifetimes();
    store.write(|write| {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut all = Vec::with_capacity(batch.len());
        for Placed { entry, .. } in batch {
            outcomes.push(match decide(write, entry, lifetimes)? {
                Verdict::Accepted(changes) => {
                    changes.iter().try_for_each(|change| write.apply(change))?;
                    all.extend(changes);
                    Ok(entry.seq)
                }
                Verdict::Repeated(first) => Ok(first),
                Verdict::Refused(problem) => Err(problem),
            });
        }
        if let Some(Placed { entry, .. }) = batch.last() {
            write.advance(LogState { epoch: store.epoch(), seq: entry.seq, at: entry.at })?;
        }
        Ok((outcomes, all))
    })
}

fn refuse(batch: Vec<Placed>) {
    for placed in batch {
        let _ = placed.outcome.send(Err(Problem::NotStored));
    }
}

fn newest(store: &Store) -> Result<(Seq, Timestamp), StoreError> {
    Ok(store.read(Timestamp::default())?.log()?.map_or_else(Default::default, |log| (log.seq, log.at)))
}
