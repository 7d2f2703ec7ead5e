//! The database: the local view of the log, in redb. It knows how to keep things, not what they mean.

mod record;

use std::{fs, io, path::Path};

use domain::{
    Change, Chat, ChatId, ClientId, Epoch, Event, Message, Seq, State, Timestamp, User, UserId, What,
    id::ID_BYTES,
};
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::random::{self, NoRandomness};

type Id = [u8; ID_BYTES];

/// What the log is: its epoch, and the newest entry that was applied.
const LOG: TableDefinition<(), &[u8]> = TableDefinition::new("log");
/// Users who chose a nickname, by id.
const USERS: TableDefinition<Id, &[u8]> = TableDefinition::new("users");
/// Chats, by id.
const CHATS: TableDefinition<Id, &[u8]> = TableDefinition::new("chats");
/// Events, by chat and place.
const EVENTS: TableDefinition<(Id, u64), &[u8]> = TableDefinition::new("events");
/// Where each message went, by chat, author and client id.
const POSTED: TableDefinition<(Id, Id, Id), u64> = TableDefinition::new("posted");

/// redb takes 1 GiB unless told otherwise. The newest pages of the busy chats fit into this many bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A batch of events read at once takes this many bytes, give or take its last event: enough to fill a network
/// buffer, and little enough to be held for every connection that catches up.
pub const BATCH_BYTES: usize = 128 * 1024;

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
    Record(#[from] record::RecordError),
    /// No epoch could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
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
    epoch: Epoch,
}

impl Store {
    /// Opens the database file, and makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NotADatabase`] or [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |path: &Path| Self::with(Database::builder().set_cache_size(CACHE_BYTES).create(path)?);
        if !path.exists() {
            // made beside and renamed: a crash leaves no database or a whole one, never the beginnings of one
            let unfinished = path.with_extension("new");
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            drop(open(&unfinished)?);
            fs::rename(&unfinished, path)?;
        }
        open(path)
    }

    /// Opens a database on another kind of storage: memory, or one that fails on purpose.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(backend: impl StorageBackend) -> Result<Self, StoreError> {
        Self::with(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
    }

    fn with(database: Database) -> Result<Self, StoreError> {
        let write = begin_write(&database)?;
        let epoch = {
            // opened so that they exist for readers
            Batch::open(&write)?;
            let mut log = write.open_table(LOG)?;
            let known = log.get(())?.map(|bytes| record::decode::<LogState>(bytes.value())).transpose()?;
            match known {
                Some(log) => log.epoch,
                None => {
                    let epoch = random::epoch()?;
                    let state = LogState { epoch, seq: Seq::ZERO, at: Timestamp::default() };
                    log.insert((), record::encode(&state)?.as_slice())?;
                    epoch
                }
            }
        };
        write.commit()?;
        Ok(Self { database, epoch })
    }

    /// The life of this log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A consistent view of everything committed so far.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read(&self) -> Result<View, StoreError> {
        Ok(View { read: self.database.begin_read()? })
    }

    /// Does all of `work` in one transaction and commits it durably, or changes nothing.
    ///
    /// # Errors
    /// Those of `work`, and when the database cannot be written. After a failed commit it takes no more writes until
    /// it is opened again.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let write = begin_write(&self.database)?;
        let done = work(&mut Batch::open(&write)?)?;
        write.commit()?;
        Ok(done)
    }
}

fn begin_write(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut write = database.begin_write()?;
    // After a crash the database is ready at once instead of being walked through. Implies two-phase commit, which
    // is also what keeps a torn write from being taken for a whole one.
    write.set_quick_repair(true);
    Ok(write)
}

/// A transaction that writes. Reads through it see what it wrote.
pub struct Batch<'txn> {
    log: Table<'txn, (), &'static [u8]>,
    users: Table<'txn, Id, &'static [u8]>,
    chats: Table<'txn, Id, &'static [u8]>,
    events: Table<'txn, (Id, u64), &'static [u8]>,
    posted: Table<'txn, (Id, Id, Id), u64>,
}

impl<'txn> Batch<'txn> {
    fn open(write: &'txn WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            log: write.open_table(LOG)?,
            users: write.open_table(USERS)?,
            chats: write.open_table(CHATS)?,
            events: write.open_table(EVENTS)?,
            posted: write.open_table(POSTED)?,
        })
    }

    /// Notes the newest entry that was applied.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn advance(&mut self, state: LogState) -> Result<(), StoreError> {
        self.log.insert((), record::encode(&state)?.as_slice())?;
        Ok(())
    }

    /// Stores what a command changed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::User(user) => {
                self.users.insert(user.id.bytes(), record::encode(user)?.as_slice())?;
            }
            Change::Chat(event) => {
                let chat = self.chat(event.chat)?;
                if let Some(chat) = event.apply_to(chat) {
                    self.chats.insert(chat.id.bytes(), record::encode(&chat)?.as_slice())?;
                }
                self.events.insert((event.chat.bytes(), event.seq.0), record::encode(event)?.as_slice())?;
                if let What::Posted(Message { author, client_id, .. }) = &event.what {
                    let key = (event.chat.bytes(), author.bytes(), client_id.bytes());
                    self.posted.insert(key, event.seq.0)?;
                }
            }
        }
        Ok(())
    }
}

impl State for Batch<'_> {
    type Error = StoreError;

    fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        get(&self.users, id.bytes())
    }

    fn chat(&self, id: ChatId) -> Result<Option<Chat>, StoreError> {
        get(&self.chats, id.bytes())
    }

    fn posted(&self, chat: ChatId, author: UserId, client_id: ClientId) -> Result<Option<Seq>, StoreError> {
        Ok(self.posted.get((chat.bytes(), author.bytes(), client_id.bytes()))?.map(|seq| Seq(seq.value())))
    }
}

/// A consistent view of the database.
pub struct View {
    read: ReadTransaction,
}

impl View {
    /// The log as far as it was applied.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn log(&self) -> Result<Option<LogState>, StoreError> {
        let log = self.read.open_table(LOG)?;
        Ok(log.get(())?.map(|bytes| record::decode(bytes.value())).transpose()?)
    }

    /// The user as stored, or as everybody is before they chose a nickname.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user(&self, id: UserId) -> Result<User, StoreError> {
        Ok(get(&self.read.open_table(USERS)?, id.bytes())?.unwrap_or_else(|| User::new(id)))
    }

    /// The chat, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat(&self, id: ChatId) -> Result<Option<Chat>, StoreError> {
        get(&self.read.open_table(CHATS)?, id.bytes())
    }

    /// The next events of a chat after a place, oldest first: `limit` at most, and no more once they take
    /// [`BATCH_BYTES`]. Nothing says that there is no more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        for found in self.range_after(chat, after)?.take(limit) {
            let (_, record) = found?;
            events.push(record::decode(record.value())?);
            bytes += record.value().len();
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        Ok(events)
    }

    /// Whether a cursor can be continued: it is before everything, or at an event of this chat, and `limit` events
    /// at most follow it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn can_resume(&self, chat: ChatId, cursor: Seq, limit: usize) -> Result<bool, StoreError> {
        let is_known = cursor == Seq::ZERO || self.events()?.get((chat.bytes(), cursor.0))?.is_some();
        Ok(is_known && self.range_after(chat, cursor)?.take(limit + 1).count() <= limit)
    }

    fn range_after(
        &self,
        chat: ChatId,
        after: Seq,
    ) -> Result<redb::Range<'static, (Id, u64), &'static [u8]>, StoreError> {
        let chat = chat.bytes();
        Ok(self.events()?.range((chat, after.0.saturating_add(1))..=(chat, u64::MAX))?)
    }

    /// The newest `limit` events of a chat, oldest first, and whether there are older ones.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_events(&self, chat: ChatId, limit: usize) -> Result<(Vec<Event>, bool), StoreError> {
        self.events_before(chat, Seq(u64::MAX), limit)
    }

    /// The last `limit` events of a chat before a place, oldest first, and whether there are older ones.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_before(
        &self,
        chat: ChatId,
        before: Seq,
        limit: usize,
    ) -> Result<(Vec<Event>, bool), StoreError> {
        let chat = chat.bytes();
        let mut newest = self
            .events()?
            .range((chat, 0)..(chat, before.0))?
            .rev()
            .take(limit.saturating_add(1))
            .map(|found| Ok(record::decode(found?.1.value())?))
            .collect::<Result<Vec<Event>, StoreError>>()?;
        let earlier = newest.len() > limit;
        newest.truncate(limit);
        newest.reverse();
        Ok((newest, earlier))
    }

    fn events(&self) -> Result<ReadOnlyTable<(Id, u64), &'static [u8]>, StoreError> {
        Ok(self.read.open_table(EVENTS)?)
    }
}

fn get<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    id: Id,
) -> Result<Option<T>, StoreError> {
    Ok(table.get(id)?.map(|bytes| record::decode(bytes.value())).transpose()?)
}
