//! The database: the local state of the log, in redb. It stores records and does not interpret them.

mod belongings;
pub mod codec;
mod derived;
mod error;
pub mod export;
mod integrity;
mod overlay;
mod pictures;
mod record_cache;
mod replica;
mod scan;
mod snapshot;
mod tables;
mod tallies;
mod transaction;
mod write_ahead_log;

use std::{
    fs, io,
    panic::catch_unwind,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use domain::{Epoch, Expiry, Lifetimes, LogSettings, Seq, Timestamp};
use redb::{
    Database, Durability, ReadableDatabase, StorageBackend, WriteTransaction,
    backends::{FileBackend, InMemoryBackend},
};

use crate::{
    durable_fs::rename_durably,
    metrics::{self, StoreMetrics},
    random,
};
use integrity::mark::{Mark, Marked};
use transaction::ReplayEnd;
use write_ahead_log::WriteAheadLog;

pub(crate) use derived::is_complete;
pub use error::StoreError;
pub use replica::{Advance, MARK_PLACES, Predecessor, Producer, ReplicaState};
pub use snapshot::{ExpiredBatch, Snapshot};
pub use tables::LogState;
pub use tallies::ChangedTallies;
pub use transaction::Transaction;

/// The size of redb's cache in bytes; its default is 1 GiB. The newest pages of the busy chats fit into this.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The size in bytes of a batch of events that is read at once, exceeded by at most its last event: enough to fill a
/// network buffer, and small enough to be held for every connection that catches up.
pub const BATCH_BYTES: usize = 128 * 1024;

/// The file name extension of the write-ahead log, which is otherwise named as its database is.
const WAL_EXTENSION: &str = "journal";

/// The open database.
pub struct Store {
    database: Database,
    /// Held during every write. `None` in the view of a replicated log.
    wal: Mutex<Option<WriteAheadLog>>,
    mark: Mark,
    epoch: RwLock<Epoch>,
    settings: RwLock<LogSettings>,
    bytes: AtomicU64,
    /// The size in bytes of the changes since the last checkpoint, in the view of a replicated log.
    unsaved: AtomicU64,
    /// Until when what is in use has been noted, in milliseconds since 1970. The maximum if it is noted all the time.
    noted_until: AtomicU64,
    /// Whether this is a view of a log that has not been read to its end since it was opened.
    is_unread: AtomicBool,
    metrics: StoreMetrics,
}

/// The file of a database that has been opened.
struct OpenFile {
    database: Database,
    mark: Mark,
    /// Whether the database was closed in an orderly way.
    is_as_closed: bool,
    /// Whether nothing was lost, as far as the file shows.
    is_whole: bool,
}

impl Store {
    /// Opens the database file and the write-ahead log beside it, and creates them if they do not exist. Users, chats
    /// and events expire after the given lifetimes.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open, [`StoreError::NotADatabase`] if it is not a database of
    /// Qchat or is damaged, [`StoreError::Record`] if its records are of a version of Qchat that is not read,
    /// [`StoreError::Wal`] or [`StoreError::NotItsWal`] if the write-ahead log cannot be read or belongs to another
    /// database, [`StoreError::OfCluster`] if it is the view of a replicated log, and any other error of the file system
    /// or of redb.
    pub fn open(path: &Path, lifetimes: Lifetimes) -> Result<Self, StoreError> {
        let beside = path.with_extension(WAL_EXTENSION);
        let is_new = !path.exists();
        if is_new {
            Self::make(path, &beside, lifetimes)?;
        }
        // redb trusts the contents of its pages, and panics if they contradict each other.
        let opened = catch_unwind(|| {
            let OpenFile { database, mark, is_as_closed, mut is_whole } = Self::open_file(path, is_new)?;
            if replica::replica(&database)?.is_some() {
                return Err(StoreError::OfCluster);
            }
            if !is_whole {
                tracing::warn!(
                    "the database was damaged and has been repaired: what was stored last may be missing"
                );
            }
            if !is_as_closed && !beside.exists() {
                tracing::warn!(
                    "there is no write-ahead log beside the database: what was stored last may be missing"
                );
                is_whole = false;
            }
            // Opened after the database, whose lock keeps other processes out.
            let wal = WriteAheadLog::open(&beside).map_err(StoreError::Wal)?;
            let store = Self::with(database, wal, lifetimes, is_whole)?;
            mark.set();
            Ok(Self { mark, ..store })
        });
        opened.unwrap_or_else(|_| Err(StoreError::contradictory()))
    }

    /// Opens the file of a database, after a check of all pages unless it is known to be intact.
    fn open_file(path: &Path, is_new: bool) -> Result<OpenFile, StoreError> {
        let is_as_closed = integrity::seal::holds(path)?;
        integrity::seal::remove(path)?;
        let is_known = is_as_closed || is_new || integrity::mark::holds(path);
        let is_whole = is_known || integrity::check::check(path)?;
        let file = fs::File::options().read(true).write(true).open(path)?;
        let mark = Mark::of(path, &file);
        let file = Marked { file: FileBackend::new(file)?, mark: mark.clone() };
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file)?;
        mark.clear();
        Ok(OpenFile { database, mark, is_as_closed, is_whole })
    }

    /// Creates a database and its write-ahead log. The database is written to a temporary file and renamed, so that a
    /// crash leaves either none or a complete one.
    fn make(path: &Path, beside: &Path, lifetimes: Lifetimes) -> Result<(), StoreError> {
        let wal = WriteAheadLog::open(beside).map_err(StoreError::Wal)?;
        if !wal.contents().map_err(StoreError::Wal)?.is_empty() {
            return Err(StoreError::NotItsWal);
        }
        let unfinished = path.with_extension("new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        integrity::seal::owned(fs::File::options().write(true)).open(&unfinished)?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&unfinished)?;
        drop(Self::with(database, wal, lifetimes, true)?);
        Ok(rename_durably(&unfinished, path)?)
    }

    /// Opens a database and its write-ahead log on other storage: in memory, or storage that fails on purpose in tests.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        database: impl StorageBackend,
        wal: impl StorageBackend,
        lifetimes: Lifetimes,
    ) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(database)?;
        Self::with(database, WriteAheadLog::on(wal)?, lifetimes, true)
    }

    /// Opens a database in memory. Its contents are lost when it is dropped.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn in_memory(lifetimes: Lifetimes) -> Result<Self, StoreError> {
        Self::open_on(InMemoryBackend::new(), InMemoryBackend::new(), lifetimes)
    }

    /// Applies the records of the write-ahead log that are not in the database yet, and empties it. If the log may have
    /// lost its end, the sequence numbers after it will be given out again. It then gets a new epoch, so that no client
    /// resumes from a cursor to events that no longer exist.
    fn with(
        database: Database,
        mut wal: WriteAheadLog,
        lifetimes: Lifetimes,
        is_whole: bool,
    ) -> Result<Self, StoreError> {
        let write = begin_checkpoint(&database)?;
        tables::create(&write)?;
        let mut batch = Transaction::open(&write)?;
        let known = batch.state()?;
        let begins = match known {
            Some(log) => log,
            None => LogState { epoch: random::epoch()?, seq: Seq::ZERO, at: Timestamp::default() },
        };
        let contents = wal.contents().map_err(StoreError::Wal)?;
        let (mut log, end) = batch.replay(&contents, begins)?;
        match end {
            ReplayEnd::All => {}
            ReplayEnd::Torn => {
                tracing::warn!(
                    "the write-ahead log does not end in a complete record: what was stored last may be missing"
                );
            }
            // A repaired database may be older than its write-ahead log.
            ReplayEnd::Foreign if !is_whole => {}
            ReplayEnd::Foreign => return Err(StoreError::NotItsWal),
        }
        if !is_whole || end != ReplayEnd::All {
            log.epoch = random::epoch()?;
        }
        if known != Some(log) {
            batch.advance(log)?;
        }
        let bytes = batch.close()?;
        write.commit()?;
        wal.empty()?;
        Ok(Self {
            database,
            wal: Mutex::new(Some(wal)),
            mark: Mark::NONE,
            epoch: RwLock::new(log.epoch),
            settings: RwLock::new(lifetimes.into()),
            bytes: AtomicU64::new(bytes),
            unsaved: AtomicU64::new(0),
            noted_until: AtomicU64::new(u64::MAX),
            is_unread: AtomicBool::new(false),
            metrics: StoreMetrics::default(),
        })
    }

    /// Makes a checkpoint, closes the database file and seals it, so that the next start need not check all of it. To
    /// seal it, the whole file is read once.
    ///
    /// # Errors
    /// Any error of the checkpoint, of closing or of sealing. The database is closed all the same.
    pub fn close(self, path: &Path) -> Result<(), StoreError> {
        self.checkpoint()?;
        // The seal alone is to decide at the next start whether the file is intact.
        self.mark.clear();
        let Self { database, .. } = self;
        database.close()?;
        Ok(integrity::seal::put(path)?)
    }

    /// Returns what the database measures.
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// Returns the epoch of the log. It is all zeros in an empty view of a replicated log.
    pub fn epoch(&self) -> Epoch {
        *self.epoch.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of bytes stored. The file is about three times as large (measured with 100,000 short
    /// messages), and hardly shrinks: space that is freed is reused.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the settings by which the next entry of the log is decided.
    pub fn settings(&self) -> LogSettings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lifetimes after which users, chats and events expire.
    pub fn lifetimes(&self) -> Lifetimes {
        self.settings().lifetimes
    }

    /// Returns a consistent snapshot of everything committed so far, without what has expired by `now`.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Database`] if the database cannot be read.
    pub fn read(&self, now: Timestamp) -> Result<Snapshot, StoreError> {
        let lifetimes = self.lifetimes();
        let in_use = Expiry { now: self.noted_at(now), lifetimes };
        Ok(Snapshot { read: self.database.begin_read()?, expiry: Expiry { now, lifetimes }, in_use })
    }

    /// Returns the moment, `now` at the latest, as of which users and chats in use can have been noted as that: what has not
    /// expired by then has not expired.
    pub fn noted_at(&self, now: Timestamp) -> Timestamp {
        now.min(Timestamp(self.noted_until.load(Ordering::Relaxed)))
    }

    /// Notes until when the log of a cluster, as far as this node knows it, has noted what is in use. Without any message
    /// after that, nothing of it expires.
    pub(crate) fn note_until(&self, at: Timestamp) {
        self.noted_until.store(at.0, Ordering::Relaxed);
        self.is_unread.store(false, Ordering::Relaxed);
    }

    /// Returns whether this is a view of a log that has not been read to its end since it was opened. What is not there may
    /// have been used or made since.
    pub fn is_unread(&self) -> bool {
        self.is_unread.load(Ordering::Relaxed)
    }

    /// Runs `work` in one transaction, which applies the log up to `seq`, and stores it durably. On an error nothing is
    /// changed.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::OutOfOrder`] if `seq` was applied before; [`StoreError::OfCluster`] in the view of a
    /// replicated log; [`StoreError::Io`] or [`StoreError::Database`] if the changes cannot be written. If the disk is full, a
    /// [checkpoint](Store::checkpoint) makes room in the write-ahead log. After an error the write-ahead log has to be
    /// [rolled back](Store::rollback) before the failure is reported to any caller.
    pub fn write<T>(
        &self,
        seq: Seq,
        at: Timestamp,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut wal = self.wal();
        let wal = wal.as_mut().ok_or(StoreError::OfCluster)?;
        let begun = Instant::now();
        wal.cut()?;
        let mut write = self.database.begin_write()?;
        // The write-ahead log makes the transaction durable.
        write.set_durability(Durability::None)?;
        let mut batch = Transaction::open(&write)?;
        batch.begin(LogState { epoch: self.epoch(), seq, at })?;
        let done = work(&mut batch)?;
        let record = std::mem::take(&mut batch.record);
        let bytes = batch.close()?;
        let synced = wal.append(&record)?;
        write.commit()?;
        wal.keep();
        metrics::observe(&self.metrics.fsync, synced);
        metrics::observe(&self.metrics.transaction, begun.elapsed());
        self.metrics.set_write_ahead_log(wal.bytes());
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(done)
    }

    /// Returns the size of the write-ahead log in bytes: what was written since the last checkpoint. It is 0 if there is
    /// none.
    pub fn wal_bytes(&self) -> u64 {
        self.wal().as_ref().map_or(0, WriteAheadLog::bytes)
    }

    /// Removes a transaction that failed from the write-ahead log, so that it is not applied at the next start.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the write-ahead log cannot be written. It is then unknown whether the transaction will be
    /// applied.
    pub fn rollback(&self) -> Result<(), StoreError> {
        self.wal().as_mut().map_or(Ok(()), |wal| Ok(wal.cut()?))
    }

    /// Makes a checkpoint: makes the database itself durable, and empties the write-ahead log, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Database`] if the database or the write-ahead log cannot be written. The
    /// write-ahead log then keeps its records.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.checkpoint_with(&mut self.wal())
    }

    fn checkpoint_with(&self, wal: &mut Option<WriteAheadLog>) -> Result<(), StoreError> {
        let begun = Instant::now();
        if let Some(wal) = wal.as_mut() {
            wal.cut()?;
        }
        self.mark.clear();
        begin_checkpoint(&self.database)?.commit()?;
        self.mark.set();
        self.unsaved.store(0, Ordering::Relaxed);
        if let Some(wal) = wal.as_mut() {
            wal.empty()?;
            self.metrics.set_write_ahead_log(wal.bytes());
        }
        metrics::observe(&self.metrics.checkpoint, begun.elapsed());
        Ok(())
    }

    /// Checks whether anything can be stored: makes a checkpoint, and appends a block to the write-ahead log, which it
    /// removes again.
    ///
    /// # Errors
    /// The error of the checkpoint or of the write-ahead log.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.checkpoint()?;
        self.wal().as_mut().map_or(Ok(()), |wal| Ok(wal.probe()?))
    }

    fn wal(&self) -> MutexGuard<'_, Option<WriteAheadLog>> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a transaction whose commit makes it, and all commits before it, durable in the database itself.
fn begin_checkpoint(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut write = database.begin_write()?;
    // After a crash the database can be used at once instead of being scanned. Implies two-phase commit, which also
    // prevents a torn write from being taken for a complete one.
    write.set_quick_repair(true);
    Ok(write)
}
