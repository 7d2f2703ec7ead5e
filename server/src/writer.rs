//! The writer: takes commands in the order of the log, decides them, stores what follows in one transaction, and
//! only when that is on disk lets anyone see it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::{Change, Problem, Seq, Timestamp, Verdict, What, decide};

use crate::{
    presence::Presence,
    sequencer::{LocalLog, Outcome, Placed},
    store::{LogState, Store, StoreError},
    tail::Tails,
};

/// Commands in one transaction: a transaction of 256 costs about as much as eight of one, and takes 2 ms.
const BATCH: usize = 256;

/// Whether what people ask for can be stored. Shared with the health page.
#[derive(Debug, Default)]
pub struct WriterHealth {
    failing: AtomicBool,
    gone: AtomicBool,
}

impl WriterHealth {
    /// Whether the writer is there and its last transaction was committed.
    pub fn is_well(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) && !self.gone.load(Ordering::Relaxed)
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
    tails: Arc<Tails>,
    presence: Arc<Presence>,
    health: Arc<WriterHealth>,
    newest: (Seq, Timestamp),
}

impl Writer {
    /// Goes on where the store ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        log: LocalLog,
        store: Arc<Store>,
        tails: Arc<Tails>,
        presence: Arc<Presence>,
        health: Arc<WriterHealth>,
    ) -> Result<Self, StoreError> {
        let newest = store.read()?.log()?.map_or_else(Default::default, |log| (log.seq, log.at));
        Ok(Self { log, store, tails, presence, health, newest })
    }

    /// Works until the log is closed and everything in it is done. Blocks: for a thread of its own.
    pub fn run(mut self) {
        let _working = Working(Arc::clone(&self.health));
        while let Some(batch) = self.log.next(BATCH, self.newest.0, self.newest.1) {
            self.write(batch);
        }
    }

    /// Writes a batch. One that fails as a whole is written command by command, so that what is wrong with one does
    /// not keep the others from being stored.
    fn write(&mut self, batch: Vec<Placed>) {
        let Some(newest) = batch.last().map(|placed| (placed.entry.seq, placed.entry.at)) else { return };
        match self.store(&batch) {
            Ok((outcomes, changes)) => {
                self.newest = newest;
                self.health.failing.store(false, Ordering::Relaxed);
                changes.iter().for_each(|change| self.show(change));
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
                for placed in batch {
                    let _ = placed.outcome.send(Err(Problem::NotStored));
                }
            }
        }
    }

    fn store(&self, batch: &[Placed]) -> Result<(Vec<Outcome>, Vec<Change>), StoreError> {
        self.store.write(|write| {
            let mut outcomes = Vec::with_capacity(batch.len());
            let mut all = Vec::with_capacity(batch.len());
            for Placed { entry, .. } in batch {
                outcomes.push(match decide(write, entry)? {
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
                write.advance(LogState { epoch: self.store.epoch(), seq: entry.seq, at: entry.at })?;
            }
            Ok((outcomes, all))
        })
    }

    fn show(&self, change: &Change) {
        match change {
            Change::User(user) => self.presence.rename(user),
            Change::Chat(event) => {
                if let What::Posted(message) = &event.what {
                    self.presence.said(event.chat, message.author);
                }
                self.tails.append(event);
            }
        }
    }
}
