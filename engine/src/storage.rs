//! The database: the local view of the log, in redb. It knows how to keep things, not what they mean.

pub mod codec;
mod integrity;
mod record_cache;
mod snapshot;
mod transaction;
mod wal;

use std::{
    fs, io,
    ops::RangeInclusive,
    panic::catch_unwind,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{ChatId, Epoch, Event, Expiry, Lifetimes, Seq, Timestamp, Tracked, UserId, id::ID_BYTES};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition, WriteTransaction,
    backends::{FileBackend, InMemoryBackend},
};
use serde::{Deserialize, Serialize};

use crate::{
    durable_fs::rename_durably,
    random::{self, NoRandomness},
};
use integrity::mark::{Mark, Marked};
use transaction::ReplayEnd;
use wal::WriteAheadLog;

pub use snapshot::{ExpiredBatch, Snapshot};
pub use transaction::Transaction;

type Id = [u8; ID_BYTES];

/// What the log is: its epoch, and the newest entry that was applied.
const LOG: TableDefinition<(), &[u8]> = TableDefinition::new("log");
/// Users who chose a nickname, by id.
const USERS: TableDefinition<Id, &[u8]> = TableDefinition::new("users");
/// Chats, by id.
const CHATS: TableDefinition<Id, &[u8]> = TableDefinition::new("chats");
/// When each of these users was last active, in milliseconds.
const USERS_ACTIVE: TableDefinition<Id, u64> = TableDefinition::new("users_active");
/// When each of these chats was last active, in milliseconds.
const CHATS_ACTIVE: TableDefinition<Id, u64> = TableDefinition::new("chats_active");
/// The chats of two, by both of the two in both directions.
const DIRECT_CHATS: TableDefinition<(Id, Id), Id> = TableDefinition::new("pairs");
/// Events, by chat and place.
const EVENTS: TableDefinition<(Id, u64), &[u8]> = TableDefinition::new("events");
/// Where each message went, by chat, author and client id.
const POSTED: TableDefinition<(Id, Id, Id), u64> = TableDefinition::new("posted");

/// Where each message went that was removed since, by the same. An older Qchat left those among the others.
const REMOVED: TableDefinition<(Id, Id, Id), u64> = TableDefinition::new("removed");

/// Whom each user has hidden.
const HIDDEN: TableDefinition<(Id, Id), ()> = TableDefinition::new("hidden");

/// Who takes no invites.
const UNINVITED: TableDefinition<Id, ()> = TableDefinition::new("uninvited");

/// How many bytes are kept in all: keys and values of the tables that grow with what people do.
const BYTES: TableDefinition<(), u64> = TableDefinition::new("bytes");

/// redb takes 1 GiB unless told otherwise. The newest pages of the busy chats fit into this many bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A batch of events read at once takes this many bytes, give or take its last event: enough to fill a network
/// buffer, and little enough to be held for every connection that catches up.
pub const BATCH_BYTES: usize = 128 * 1024;

/// How a file is called that belongs to a database: as the database, with this ending.
const WAL_EXTENSION: &str = "journal";

/// Why the database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("another Qchat has it open: stop that one first, or use another data folder")]
    InUse,
    /// It is something else, or damaged beyond repair.
    #[error("it is not a Qchat database, or it is damaged ({0}): move it away, or use another data folder")]
    NotADatabase(String),
    /// The file system refused.
    #[error("it could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// redb refused.
    #[error("the database failed: {0}")]
    Database(Box<redb::Error>),
    /// A record is not what was written.
    #[error("a stored record cannot be read: {0}")]
    Record(#[from] codec::RecordError),
    /// No epoch could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The journal beside it cannot be opened or read.
    #[error("its journal, beside it, could not be read or written: {0}")]
    Wal(io::Error),
    /// The journal beside it is not its own.
    #[error(
        "the journal beside it belongs to another database, or to another moment of this one: put back the one it belongs \
         to, or move the journal away"
    )]
    NotItsJournal,
    /// An entry was to be stored after one that comes behind it.
    #[error("the entry at {0} was to be stored after the one at {1}")]
    OutOfOrder(Seq, Seq),
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Io(error) => Self::Io(error),
                    error => Self::Database(Box::new(error)),
                }
            }
        })+
    };
}

from_redb!(
    StorageError,
    redb::TransactionError,
    redb::TableError,
    redb::CommitError,
    redb::SetDurabilityError
);

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Io(error)
            }
            error => Self::NotADatabase(error.to_string()),
        }
    }
}

/// The log as far as it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Made with the database.
    pub epoch: Epoch,
    /// The place of the newest entry.
    pub seq: Seq,
    /// Its time.
    pub at: Timestamp,
}

/// The open database.
pub struct Store {
    database: Database,
    /// Locked for as long as something is written.
    wal: Mutex<WriteAheadLog>,
    mark: Mark,
    epoch: Epoch,
    lifetimes: Lifetimes,
    bytes: AtomicU64,
}

impl Store {
    /// Opens the database file and the journal beside it, and makes them where there are none. What is kept in it expires
    /// after these lifetimes.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NotADatabase`], [`StoreError::Io`], [`StoreError::Wal`],
    /// [`StoreError::NotItsJournal`], and [`StoreError::Record`] for what another version wrote.
    pub fn open(path: &Path, lifetimes: Lifetimes) -> Result<Self, StoreError> {
        let beside = path.with_extension(WAL_EXTENSION);
        let is_new = !path.exists();
        if is_new {
            Self::make(path, &beside, lifetimes)?;
        }
        let is_as_closed = integrity::seal::holds(path)?;
        integrity::seal::remove(path)?;
        let is_known = is_as_closed || is_new || integrity::mark::holds(path);
        // redb trusts what it finds in its pages, and panics where they contradict each other
        let opened = catch_unwind(|| {
            let mut is_whole = is_known || integrity::check::check(path)?;
            if !is_whole {
                tracing::warn!(
                    "the database was damaged and has been repaired: what was stored last may be missing"
                );
            }
            let file = fs::File::options().read(true).write(true).open(path)?;
            let mark = Mark::of(path, &file);
            let file = Marked { file: FileBackend::new(file)?, mark: mark.clone() };
            let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file)?;
            mark.clear();
            if !is_as_closed && !beside.exists() {
                tracing::warn!(
                    "there is no journal beside the database: what was stored last may be missing"
                );
                is_whole = false;
            }
            // opened behind the database, so that nobody else has it
            let wal = WriteAheadLog::open(&beside).map_err(StoreError::Wal)?;
            let store = Self::with(database, wal, lifetimes, is_whole)?;
            mark.set();
            Ok(Self { mark, ..store })
        });
        opened.unwrap_or_else(|_| Err(StoreError::NotADatabase("its pages contradict each other".to_owned())))
    }

    /// Makes a database and its journal. The database is made beside and renamed: a crash leaves none or a whole one, never
    /// the beginnings of one.
    fn make(path: &Path, beside: &Path, lifetimes: Lifetimes) -> Result<(), StoreError> {
        let wal = WriteAheadLog::open(beside).map_err(StoreError::Wal)?;
        if !wal.contents().map_err(StoreError::Wal)?.is_empty() {
            return Err(StoreError::NotItsJournal);
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

    /// Opens a database and its journal on another kind of storage: memory, or one that fails on purpose.
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

    /// Opens a database in memory, which is gone with it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn in_memory(lifetimes: Lifetimes) -> Result<Self, StoreError> {
        Self::open_on(InMemoryBackend::new(), InMemoryBackend::new(), lifetimes)
    }

    /// Applies what the journal has beyond the database. A log that may have lost its end, whose places are then given
    /// anew, begins another life, so that nobody goes on from a cursor into what is there no more.
    fn with(
        database: Database,
        mut wal: WriteAheadLog,
        lifetimes: Lifetimes,
        is_whole: bool,
    ) -> Result<Self, StoreError> {
        let write = begin_checkpoint(&database)?;
        // opened so that its tables exist for readers
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
            ReplayEnd::UpToATear => {
                tracing::warn!("the journal does not end in a record: what was stored last may be missing");
            }
            // the database was repaired, and is of an earlier moment for that
            ReplayEnd::UpToAnother if !is_whole => {}
            ReplayEnd::UpToAnother => return Err(StoreError::NotItsJournal),
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
        let (wal, bytes) = (Mutex::new(wal), AtomicU64::new(bytes));
        Ok(Self { database, wal, mark: Mark::NONE, epoch: log.epoch, lifetimes, bytes })
    }

    /// Closes the database in its file, and seals that, so that the next start need not look at all of it. Reads all of it
    /// once.
    ///
    /// # Errors
    /// When it cannot be closed in order or sealed. It is closed all the same.
    pub fn close(self, path: &Path) -> Result<(), StoreError> {
        self.checkpoint()?;
        // what the seal says is not overruled by a mark
        self.mark.clear();
        let Self { database, .. } = self;
        database.close()?;
        Ok(integrity::seal::put(path)?)
    }

    /// The life of this log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many bytes are kept. The file has about three times as many (measured with 100,000 short messages), and becomes
    /// little smaller: what goes from it makes room for what comes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long things are kept.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// A consistent view of everything committed so far that has not expired by `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read(&self, now: Timestamp) -> Result<Snapshot, StoreError> {
        let expiry = Expiry { now, lifetimes: self.lifetimes };
        Ok(Snapshot { read: self.database.begin_read()?, expiry })
    }

    /// Does all of `work` in one transaction, which applies the log up to a place, and stores it durably, or changes nothing.
    ///
    /// # Errors
    /// Those of `work`, [`StoreError::OutOfOrder`] for a place that was applied before, and when nothing can be written.
    /// Where the journal is full, a [checkpoint](Store::checkpoint) makes room. What failed is to be
    /// [taken back](Store::take_back) before anybody is told that it did.
    pub fn write<T>(
        &self,
        seq: Seq,
        at: Timestamp,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut wal = self.wal();
        wal.cut()?;
        let mut write = self.database.begin_write()?;
        // the journal is what makes it durable
        write.set_durability(Durability::None)?;
        let mut batch = Transaction::open(&write)?;
        batch.begin(LogState { epoch: self.epoch, seq, at })?;
        let done = work(&mut batch)?;
        let record = std::mem::take(&mut batch.record);
        let bytes = batch.close()?;
        wal.append(&record)?;
        write.commit()?;
        wal.keep();
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(done)
    }

    /// How many bytes the journal has: what was written since the last checkpoint.
    pub fn journal_bytes(&self) -> u64 {
        self.wal().bytes()
    }

    /// Takes what was not stored out of the journal, so that no start applies it.
    ///
    /// # Errors
    /// When the journal cannot be written; it is then not known.
    pub fn rollback(&self) -> Result<(), StoreError> {
        Ok(self.wal().cut()?)
    }

    /// Has the database itself on the disk, and empties the journal.
    ///
    /// # Errors
    /// When the database or the journal cannot be written. What is in the journal stays there then.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let mut wal = self.wal();
        wal.cut()?;
        self.mark.clear();
        begin_checkpoint(&self.database)?.commit()?;
        self.mark.set();
        Ok(wal.empty()?)
    }

    /// Whether anything can be stored: makes a checkpoint, and tries whether the journal takes something.
    ///
    /// # Errors
    /// Why not.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.checkpoint()?;
        Ok(self.wal().probe()?)
    }

    fn wal(&self) -> MutexGuard<'_, WriteAheadLog> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction with which everything before it is durable in the database itself.
fn begin_checkpoint(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut write = database.begin_write()?;
    // After a crash the database is ready at once instead of being walked through. Implies two-phase commit, which
    // is also what keeps a torn write from being taken for a whole one.
    write.set_quick_repair(true);
    Ok(write)
}

fn get<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    id: Id,
) -> Result<Option<T>, StoreError> {
    Ok(table.get(id)?.map(|bytes| codec::decode(bytes.value())).transpose()?)
}

fn kept<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    active: &impl ReadableTable<Id, u64>,
    id: Id,
) -> Result<Option<Tracked<T>>, StoreError> {
    let Some(value) = get(table, id)? else { return Ok(None) };
    let active_at = Timestamp(active.get(id)?.map_or(0, |at| at.value()));
    Ok(Some(Tracked { value, active_at }))
}

fn event(
    events: &impl ReadableTable<(Id, u64), &'static [u8]>,
    chat: ChatId,
    seq: Seq,
) -> Result<Option<Event>, StoreError> {
    Ok(events.get((chat.bytes(), seq.0))?.map(|record| codec::decode(record.value())).transpose()?)
}

/// All keys that begin with a user.
fn all_with(user: UserId) -> RangeInclusive<(Id, Id)> {
    (user.bytes(), [0; ID_BYTES])..=(user.bytes(), [u8::MAX; ID_BYTES])
}

/// All keys of what somebody said in a chat.
fn all_of(chat: ChatId, author: UserId) -> RangeInclusive<(Id, Id, Id)> {
    let (chat, author) = (chat.bytes(), author.bytes());
    (chat, author, [0; ID_BYTES])..=(chat, author, [u8::MAX; ID_BYTES])
}

fn hidden_by(hidden: &impl ReadableTable<(Id, Id), ()>, user: UserId) -> Result<Vec<UserId>, StoreError> {
    let mut found = Vec::new();
    for pair in hidden.range(all_with(user))? {
        found.push(UserId::from_bytes(pair?.0.value().1));
    }
    Ok(found)
}

/// The other one of each chat of two of a user, and the chat.
fn direct_chats_of(
    pairs: &impl ReadableTable<(Id, Id), Id>,
    user: UserId,
) -> Result<Vec<(UserId, ChatId)>, StoreError> {
    let mut found = Vec::new();
    for pair in pairs.range(all_with(user))? {
        let (key, chat) = pair?;
        found.push((UserId::from_bytes(key.value().1), ChatId::from_bytes(chat.value())));
    }
    Ok(found)
}
