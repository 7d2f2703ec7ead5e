//! The database: the local view of the log, in redb. It knows how to keep things, not what they mean.

mod journal;
mod record;
mod records;
mod seal;

use std::{
    borrow::Borrow,
    fs, io,
    ops::RangeInclusive,
    panic::catch_unwind,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{
    Blank, Change, Chat, ChatId, ClientId, Epoch, Event, Expiry, Invite, Kept, Lifetimes, Message, RemovedBy,
    Seq, State, Timestamp, User, UserId, What, id::ID_BYTES,
};
use redb::{
    Database, DatabaseError, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, StorageBackend, StorageError, Table, TableDefinition, WriteTransaction,
    backends::InMemoryBackend,
};
use serde::{Deserialize, Serialize};

use crate::random::{self, NoRandomness};
use journal::{Found, Journal};
use records::Records;

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
const PAIRS: TableDefinition<(Id, Id), Id> = TableDefinition::new("pairs");
/// Events, by chat and place.
const EVENTS: TableDefinition<(Id, u64), &[u8]> = TableDefinition::new("events");
/// Where each message went, by chat, author and client id.
const POSTED: TableDefinition<(Id, Id, Id), u64> = TableDefinition::new("posted");

/// Whom each user has hidden.
const HIDDEN: TableDefinition<(Id, Id), ()> = TableDefinition::new("hidden");

/// How many bytes are kept in all: keys and values of the tables that grow with what people do.
const BYTES: TableDefinition<(), u64> = TableDefinition::new("bytes");

/// redb takes 1 GiB unless told otherwise. The newest pages of the busy chats fit into this many bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A batch of events read at once takes this many bytes, give or take its last event: enough to fill a network
/// buffer, and little enough to be held for every connection that catches up.
pub const BATCH_BYTES: usize = 128 * 1024;

/// How a file is called that belongs to a database: as the database, with this ending.
const JOURNAL: &str = "journal";

/// Records that one sweep takes away at once, so that nobody waits for long behind it.
const SWEEPINGS: usize = 512;

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
    /// The journal beside it cannot be opened or read.
    #[error("its journal, beside it, could not be read or written: {0}")]
    Journal(io::Error),
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

/// What a sweep would take away: some of what has expired, to be proposed and then looked for again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sweepings {
    /// Users.
    pub users: Vec<UserId>,
    /// Chats without events, or whose last events are among these.
    pub chats: Vec<ChatId>,
    /// Events, by chat and up to a place.
    pub events: Vec<(ChatId, Seq)>,
}

/// The head of a record of the journal. What the transaction changed follows, one after the other, until its end.
#[derive(Serialize, Deserialize)]
struct Head {
    /// The place of the newest entry that was applied before.
    after: Seq,
    /// The log as far as it is applied with this.
    log: LogState,
}

/// How far a journal was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replayed {
    All,
    /// Up to what is not a record.
    UpToATear,
    /// Up to a record of another database or of another moment of this one.
    UpToAnother,
}

/// The open database.
pub struct Store {
    database: Database,
    /// Locked for as long as something is written.
    journal: Mutex<Journal>,
    epoch: Epoch,
    lifetimes: Lifetimes,
    bytes: AtomicU64,
}

impl Store {
    /// Opens the database file, and makes it where there is none. What is kept in it expires after these lifetimes.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NotADatabase`] or [`StoreError::Io`].
    pub fn open(path: &Path, lifetimes: Lifetimes) -> Result<Self, StoreError> {
        let open = |path: &Path| {
            // Looking at every page takes a second and more for each GiB. A file that is byte for byte as it was closed in
            // order needs no such look, and to see that takes a seventh of it.
            let is_as_closed = seal::holds(path)?;
            seal::remove(path)?;
            // redb trusts what it finds in its pages, and panics where they contradict each other
            let opened = catch_unwind(|| {
                let mut database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
                let mut is_whole = is_as_closed || database.check_integrity()?;
                if !is_whole {
                    tracing::warn!(
                        "the database was damaged and has been repaired: what was stored last may be missing"
                    );
                }
                let beside = path.with_extension(JOURNAL);
                if !is_as_closed && !beside.exists() {
                    tracing::warn!(
                        "there is no journal beside the database: what was stored last may be missing"
                    );
                    is_whole = false;
                }
                // opened behind the database, so that nobody else has it
                let journal = Journal::open(&beside).map_err(StoreError::Journal)?;
                Self::with(database, journal, lifetimes, is_whole)
            });
            opened.unwrap_or_else(|_| {
                Err(StoreError::NotADatabase("its pages contradict each other".to_owned()))
            })
        };
        if !path.exists() {
            let journal = Journal::open(&path.with_extension(JOURNAL)).map_err(StoreError::Journal)?;
            if !journal.contents().map_err(StoreError::Journal)?.is_empty() {
                return Err(StoreError::NotItsJournal);
            }
            // made beside and renamed: a crash leaves no database or a whole one, never the beginnings of one
            let unfinished = path.with_extension("new");
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            seal::owned(fs::File::options().write(true)).open(&unfinished)?;
            let database = Database::builder().set_cache_size(CACHE_BYTES).create(&unfinished)?;
            drop(Self::with(database, Journal::on(InMemoryBackend::new())?, lifetimes, true)?);
            rename_durably(&unfinished, path)?;
        }
        open(path)
    }

    /// Opens a database and its journal on another kind of storage: memory, or one that fails on purpose.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        database: impl StorageBackend,
        journal: impl StorageBackend,
        lifetimes: Lifetimes,
    ) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(database)?;
        Self::with(database, Journal::on(journal)?, lifetimes, true)
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
        mut journal: Journal,
        lifetimes: Lifetimes,
        is_whole: bool,
    ) -> Result<Self, StoreError> {
        let write = begin_checkpoint(&database)?;
        // opened so that its tables exist for readers
        let mut batch = Batch::open(&write)?;
        let known = batch.state()?;
        let begins = match known {
            Some(log) => log,
            None => LogState { epoch: random::epoch()?, seq: Seq::ZERO, at: Timestamp::default() },
        };
        let contents = journal.contents().map_err(StoreError::Journal)?;
        let (mut log, end) = batch.replay(&contents, begins)?;
        match end {
            Replayed::All => {}
            Replayed::UpToATear => {
                tracing::warn!("the journal does not end in a record: what was stored last may be missing");
            }
            // the database was repaired, and is of an earlier moment for that
            Replayed::UpToAnother if !is_whole => {}
            Replayed::UpToAnother => return Err(StoreError::NotItsJournal),
        }
        if !is_whole || end != Replayed::All {
            log.epoch = random::epoch()?;
        }
        if known != Some(log) {
            batch.advance(log)?;
        }
        let bytes = batch.close()?;
        write.commit()?;
        journal.empty()?;
        let (journal, bytes) = (Mutex::new(journal), AtomicU64::new(bytes));
        Ok(Self { database, journal, epoch: log.epoch, lifetimes, bytes })
    }

    /// Closes the database in its file, and seals that, so that the next start need not look at all of it. Reads all of it
    /// once.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the database is closed all the same.
    pub fn close(self, path: &Path) -> Result<(), StoreError> {
        self.checkpoint()?;
        drop(self);
        Ok(seal::put(path)?)
    }

    /// The life of this log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many bytes are kept. The file has about three times as many (measured with 100,000 short messages), and does
    /// not become smaller: what goes from it makes room for what comes.
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
    pub fn read(&self, now: Timestamp) -> Result<View, StoreError> {
        let expiry = Expiry { now, lifetimes: self.lifetimes };
        Ok(View { read: self.database.begin_read()?, expiry })
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
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut journal = self.journal();
        journal.cut()?;
        let mut write = self.database.begin_write()?;
        // the journal is what makes it durable
        write.set_durability(Durability::None)?;
        let mut batch = Batch::open(&write)?;
        batch.begin(LogState { epoch: self.epoch, seq, at })?;
        let done = work(&mut batch)?;
        let record = std::mem::take(&mut batch.record);
        let bytes = batch.close()?;
        journal.append(&record)?;
        write.commit()?;
        journal.keep();
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(done)
    }

    /// How many bytes the journal has: what was written since the last checkpoint.
    pub fn journal_bytes(&self) -> u64 {
        self.journal().bytes()
    }

    /// Takes what was not stored out of the journal, so that no start applies it.
    ///
    /// # Errors
    /// When the journal cannot be written; it is then not known.
    pub fn take_back(&self) -> Result<(), StoreError> {
        Ok(self.journal().cut()?)
    }

    /// Has the database itself on the disk, and empties the journal.
    ///
    /// # Errors
    /// When the database or the journal cannot be written. What is in the journal stays there then.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let mut journal = self.journal();
        journal.cut()?;
        begin_checkpoint(&self.database)?.commit()?;
        Ok(journal.empty()?)
    }

    /// Whether anything can be stored: makes a checkpoint, and tries whether the journal takes something.
    ///
    /// # Errors
    /// Why not.
    pub fn try_out(&self) -> Result<(), StoreError> {
        self.checkpoint()?;
        Ok(self.journal().try_out()?)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renames a file so that it is still renamed after a power cut: the folder is synced as well (fsync(2)).
///
/// # Errors
/// When the file system refuses.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Syncs the folder of a file, so that the file is there after a power cut.
fn sync_folder_of(file: &Path) -> io::Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => fs::File::open(".")?.sync_all(),
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

/// A transaction that writes. Reads through it see what it wrote.
pub struct Batch<'txn> {
    log: Table<'txn, (), &'static [u8]>,
    users: Records<'txn, User>,
    chats: Records<'txn, Chat>,
    pairs: Table<'txn, (Id, Id), Id>,
    events: Table<'txn, (Id, u64), &'static [u8]>,
    posted: Table<'txn, (Id, Id, Id), u64>,
    hidden: Table<'txn, (Id, Id), ()>,
    total: Table<'txn, (), u64>,
    /// How many bytes are kept now.
    bytes: u64,
    /// What the journal is given of this.
    record: Vec<u8>,
}

impl<'txn> Batch<'txn> {
    fn open(write: &'txn WriteTransaction) -> Result<Self, StoreError> {
        let total = write.open_table(BYTES)?;
        let bytes = total.get(())?.map_or(0, |bytes| bytes.value());
        Ok(Self {
            total,
            bytes,
            record: Vec::new(),
            log: write.open_table(LOG)?,
            users: Records::new(write.open_table(USERS)?, write.open_table(USERS_ACTIVE)?),
            chats: Records::new(write.open_table(CHATS)?, write.open_table(CHATS_ACTIVE)?),
            pairs: write.open_table(PAIRS)?,
            events: write.open_table(EVENTS)?,
            posted: write.open_table(POSTED)?,
            hidden: write.open_table(HIDDEN)?,
        })
    }

    /// Writes what is written once for all, and how many bytes are kept, and gives that.
    fn close(mut self) -> Result<u64, StoreError> {
        self.users.close(&mut self.bytes)?;
        self.chats.close(&mut self.bytes)?;
        let before = self.total.get(())?.map_or(0, |bytes| bytes.value());
        if before != self.bytes {
            self.total.insert((), self.bytes)?;
        }
        Ok(self.bytes)
    }

    fn state(&self) -> Result<Option<LogState>, StoreError> {
        Ok(self.log.get(())?.map(|bytes| record::decode(bytes.value())).transpose()?)
    }

    /// Notes the newest entry that is applied.
    fn advance(&mut self, state: LogState) -> Result<(), StoreError> {
        self.log.insert((), record::encode(&state)?.as_slice())?;
        Ok(())
    }

    /// Begins what applies the log up to here.
    fn begin(&mut self, log: LogState) -> Result<(), StoreError> {
        let after = self.state()?.map_or(Seq::ZERO, |before| before.seq);
        if log.seq <= after {
            return Err(StoreError::OutOfOrder(log.seq, after));
        }
        self.advance(log)?;
        self.record = journal::begin(&Head { after, log })?;
        Ok(())
    }

    /// Applies what a journal has beyond this. Gives the place to which that comes, and whether it is all there was.
    fn replay(&mut self, journal: &[u8], mut log: LogState) -> Result<(LogState, Replayed), StoreError> {
        let mut rest = journal;
        loop {
            let (record, behind) = match journal::first(rest) {
                Found::Record(record, behind) => (record, behind),
                Found::End => return Ok((log, Replayed::All)),
                Found::Torn => return Ok((log, Replayed::UpToATear)),
            };
            let (head, mut changes): (Head, _) = journal::head(record)?;
            if head.log.seq > log.seq {
                if (head.log.epoch, head.after) != (log.epoch, log.seq) {
                    return Ok((log, Replayed::UpToAnother));
                }
                while !changes.is_empty() {
                    let (change, others) = journal::next(changes)?;
                    self.store(&change)?;
                    changes = others;
                }
                log = head.log;
            }
            rest = behind;
        }
    }

    /// Stores what an entry changed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        self.store(change)?;
        self.record = journal::add(std::mem::take(&mut self.record), change)?;
        Ok(())
    }

    fn store(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::User { user, at } => {
                self.users.put(user.id.bytes(), user.clone())?;
                self.users.touch(user.id.bytes(), *at)?;
            }
            Change::Chat(event) => self.append(event)?,
            Change::Hidden { from, person, is_hidden } => {
                let pair = (from.bytes(), person.bytes());
                if *is_hidden {
                    let was_there = self.hidden.insert(pair, ())?.is_some();
                    came(&mut self.bytes, was_there, HIDDEN_BYTES);
                } else {
                    let was_there = self.hidden.remove(pair)?.is_some();
                    went(&mut self.bytes, was_there, HIDDEN_BYTES);
                }
            }
            Change::UserTouched(user, at) => {
                self.users.touch(user.bytes(), *at)?;
            }
            Change::ChatTouched(chat, at) => {
                self.chats.touch(chat.bytes(), *at)?;
            }
            Change::UserExpired(user) => {
                self.users.remove(user.bytes(), &mut self.bytes)?;
                for pair in self.hidden.extract_from_if(all_with(*user), |_, ()| true)? {
                    pair?;
                    went(&mut self.bytes, true, HIDDEN_BYTES);
                }
            }
            Change::ChatExpired(chat) => self.remove(chat)?,
            Change::Forgotten { chat, upto } => self.forget(*chat, *upto)?,
        }
        Ok(())
    }

    fn append(&mut self, event: &Event) -> Result<(), StoreError> {
        let id = event.chat.bytes();
        let before = self.chats.kept(id)?.map(|kept| kept.value);
        if let Some(chat) = event.apply_to(before) {
            self.chats.put(id, chat.clone())?;
            self.chats.touch(id, event.at)?;
            if let (What::Started { .. }, Some(guest)) = (&event.what, chat.guest) {
                let (owner, guest) = (chat.owner.bytes(), guest.id.bytes());
                for pair in [(owner, guest), (guest, owner)] {
                    let was_there = self.pairs.insert(pair, id)?.is_some();
                    came(&mut self.bytes, was_there, PAIR_BYTES);
                }
            }
        }
        put(&mut self.events, (id, event.seq.0), event, &mut self.bytes)?;
        if let What::Posted(Message { author, client_id, .. }) = &event.what {
            let was_there =
                self.posted.insert((id, author.bytes(), client_id.bytes()), event.seq.0)?.is_some();
            came(&mut self.bytes, was_there, POSTED_BYTES);
        }
        if let What::MessageRemoved { message, by } = event.what {
            self.blank(event.chat, message, by)?;
        }
        Ok(())
    }

    fn blank(&mut self, chat: ChatId, message: Seq, by: RemovedBy) -> Result<(), StoreError> {
        if let Some(event) = State::event(self, chat, message)? {
            put(&mut self.events, (chat.bytes(), message.0), &event.blank(by), &mut self.bytes)?;
        }
        Ok(())
    }

    fn remove(&mut self, chat: &Chat) -> Result<(), StoreError> {
        let id = chat.id.bytes();
        self.chats.remove(id, &mut self.bytes)?;
        if let Some(guest) = chat.guest {
            let (owner, guest) = (chat.owner.bytes(), guest.id.bytes());
            for pair in [(owner, guest), (guest, owner)] {
                // the two may have started another one since this one expired
                if self.pairs.get(pair)?.is_some_and(|found| found.value() == id) {
                    let was_there = self.pairs.remove(pair)?.is_some();
                    went(&mut self.bytes, was_there, PAIR_BYTES);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, chat: ChatId, upto: Seq) -> Result<(), StoreError> {
        let id = chat.bytes();
        let mut posted = Vec::new();
        for gone in self.events.extract_from_if((id, 0)..=(id, upto.0), |_, _| true)? {
            let (_, record) = gone?;
            self.bytes = self.bytes.saturating_sub(len(record.value()) + KEY_BYTES);
            match record::decode::<Event>(record.value())?.what {
                What::Posted(Message { author, client_id, .. })
                | What::Blank(Blank { author, client_id, .. }) => {
                    posted.push((id, author.bytes(), client_id.bytes()));
                }
                _ => {}
            }
        }
        for key in posted {
            let was_there = self.posted.remove(key)?.is_some();
            went(&mut self.bytes, was_there, POSTED_BYTES);
        }
        Ok(())
    }
}

impl State for Batch<'_> {
    type Error = StoreError;

    fn user(&self, id: UserId) -> Result<Option<Kept<User>>, StoreError> {
        self.users.kept(id.bytes())
    }

    fn chat(&self, id: ChatId) -> Result<Option<Kept<Chat>>, StoreError> {
        self.chats.kept(id.bytes())
    }

    fn posted(&self, chat: ChatId, author: UserId, client_id: ClientId) -> Result<Option<Seq>, StoreError> {
        Ok(self.posted.get((chat.bytes(), author.bytes(), client_id.bytes()))?.map(|seq| Seq(seq.value())))
    }

    fn chats_of_two(&self, user: UserId) -> Result<Vec<ChatId>, StoreError> {
        Ok(pairs_of(&self.pairs, user)?.into_iter().map(|(_, chat)| chat).collect())
    }

    fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, StoreError> {
        event(&self.events, chat, seq)
    }

    fn hidden(&self, user: UserId) -> Result<Vec<UserId>, StoreError> {
        hidden_by(&self.hidden, user)
    }
}

/// A consistent view of the database at a moment: what has expired by then is not there.
pub struct View {
    read: ReadTransaction,
    expiry: Expiry,
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
        Ok(self.known_user(id)?.unwrap_or_else(|| User::new(id)))
    }

    /// The user as stored; nothing where nothing is known of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn known_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let kept: Option<Kept<User>> =
            kept(&self.read.open_table(USERS)?, &self.read.open_table(USERS_ACTIVE)?, id.bytes())?;
        Ok(kept.filter(|kept| !self.expiry.of_user(kept.active_at)).map(|known| known.value))
    }

    /// The chat, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat(&self, id: ChatId) -> Result<Option<Chat>, StoreError> {
        let kept: Option<Kept<Chat>> =
            kept(&self.read.open_table(CHATS)?, &self.read.open_table(CHATS_ACTIVE)?, id.bytes())?;
        Ok(kept.filter(|kept| !self.expiry.of_chat(kept.active_at)).map(|kept| kept.value))
    }

    /// When a user was last noted, expired or not; nothing where nothing is stored of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user_noted_at(&self, id: UserId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read.open_table(USERS_ACTIVE)?.get(id.bytes())?.map(|at| Timestamp(at.value())))
    }

    /// When a chat was last noted, expired or not; nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat_noted_at(&self, id: ChatId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read.open_table(CHATS_ACTIVE)?.get(id.bytes())?.map(|at| Timestamp(at.value())))
    }

    /// Every chat there is, and when it was last active.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chats(&self) -> Result<Vec<Kept<Chat>>, StoreError> {
        let (chats, active) = (self.read.open_table(CHATS)?, self.read.open_table(CHATS_ACTIVE)?);
        let mut all = Vec::new();
        for found in chats.iter()? {
            let (id, record) = found?;
            let active_at = active.get(id.value())?.map_or(0, |at| at.value());
            let kept = Kept { value: record::decode(record.value())?, active_at: Timestamp(active_at) };
            if !self.expiry.of_chat(kept.active_at) {
                all.push(kept);
            }
        }
        Ok(all)
    }

    /// The chat of these two, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat_of_two(&self, one: UserId, other: UserId) -> Result<Option<Chat>, StoreError> {
        let found = self.read.open_table(PAIRS)?.get((one.bytes(), other.bytes()))?;
        found.map_or(Ok(None), |chat| self.chat(ChatId::from_bytes(chat.value())))
    }

    /// Who has a chat of two with a user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn partners(&self, of: UserId) -> Result<Vec<UserId>, StoreError> {
        let pairs = pairs_of(&self.read.open_table(PAIRS)?, of)?;
        Ok(pairs.into_iter().map(|(partner, _)| partner).collect())
    }

    /// Whom a user has hidden.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn hidden(&self, user: UserId) -> Result<Vec<UserId>, StoreError> {
        // known for as long as the user is
        if self.user_noted_at(user)?.is_none_or(|at| self.expiry.of_user(at)) {
            return Ok(Vec::new());
        }
        hidden_by(&self.read.open_table(HIDDEN)?, user)
    }

    /// The event at a place of a chat, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, StoreError> {
        Ok(event(&self.events()?, chat, seq)?.filter(|event| !self.expiry.of_event(event.at)))
    }

    /// Who waits for an answer of a user and is not hidden from them, those who have waited longest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invites_of(&self, user: UserId) -> Result<Vec<Invite>, StoreError> {
        self.invites_seen(user, &self.hidden(user)?)
    }

    /// The same, with these people hidden.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invites_seen(&self, user: UserId, hidden: &[UserId]) -> Result<Vec<Invite>, StoreError> {
        let mut invites = Vec::new();
        for (partner, chat) in pairs_of(&self.read.open_table(PAIRS)?, user)? {
            if hidden.contains(&partner) {
                continue;
            }
            if let Some(chat) = self.chat(chat)?.filter(|chat| chat.invited() == Some(user)) {
                invites.push((chat.seq, Invite { chat: chat.id, from: self.user(partner)? }));
            }
        }
        // what comes goes below: nothing moves that somebody is about to answer
        invites.sort_by_key(|(seq, _)| *seq);
        Ok(invites.into_iter().map(|(_, invite)| invite).collect())
    }

    /// Whether a user waits for an answer of somebody.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_invited(&self, user: UserId) -> Result<bool, StoreError> {
        for (partner, chat) in pairs_of(&self.read.open_table(PAIRS)?, user)? {
            if self.chat(chat)?.is_some_and(|chat| chat.invited() == Some(partner)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Some of what has expired and is still stored; nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sweepings(&self) -> Result<Sweepings, StoreError> {
        let mut sweepings = Sweepings::default();
        for found in self.read.open_table(USERS_ACTIVE)?.iter()? {
            let (id, at) = found?;
            if sweepings.users.len() < SWEEPINGS && self.expiry.of_user(Timestamp(at.value())) {
                sweepings.users.push(UserId::from_bytes(id.value()));
            }
        }
        let (events, mut left) = (self.events()?, SWEEPINGS);
        for found in self.read.open_table(CHATS_ACTIVE)?.iter()? {
            let (id, at) = found?;
            if left == 0 {
                break;
            }
            let (chat, expired) = (id.value(), self.expiry.of_chat(Timestamp(at.value())));
            let mut upto = None;
            let mut rest = events.range((chat, 0)..=(chat, u64::MAX))?;
            let is_empty = loop {
                let Some(found) = rest.next() else { break true };
                let (place, record) = found?;
                let gone = expired || self.expiry.of_event(record::decode::<Event>(record.value())?.at);
                if !gone || left == 0 {
                    break false;
                }
                left -= 1;
                upto = Some(Seq(place.value().1));
            };
            let chat = ChatId::from_bytes(chat);
            sweepings.events.extend(upto.map(|upto| (chat, upto)));
            if expired && is_empty {
                left = left.saturating_sub(1);
                sweepings.chats.push(chat);
            }
        }
        Ok(sweepings)
    }

    /// The next events of a chat after a place, oldest first: `limit` at most, and no more once they take
    /// [`BATCH_BYTES`]. Nothing says that there is no more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        for found in self.range_after(chat, after)? {
            let (_, record) = found?;
            let event: Event = record::decode(record.value())?;
            if self.expiry.of_event(event.at) {
                continue;
            }
            events.push(event);
            bytes += record.value().len();
            if bytes >= BATCH_BYTES || events.len() >= limit {
                break;
            }
        }
        Ok(events)
    }

    /// Whether a cursor into a chat can be continued: everything after it is here, and that is `limit` events at
    /// most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn can_resume(&self, chat: &Chat, cursor: Seq, limit: usize) -> Result<bool, StoreError> {
        let mut after = self.range_after(chat.id, cursor)?;
        let Some(first) = after.next() else { return Ok(cursor == chat.seq) };
        let first: Event = record::decode(first?.1.value())?;
        let goes_on = first.prev == cursor && !self.expiry.of_event(first.at);
        Ok(goes_on && after.take(limit).count() < limit)
    }

    fn range_after(
        &self,
        chat: ChatId,
        after: Seq,
    ) -> Result<redb::Range<'static, (Id, u64), &'static [u8]>, StoreError> {
        let chat = chat.bytes();
        Ok(self.events()?.range((chat, after.0.saturating_add(1))..=(chat, u64::MAX))?)
    }

    /// The newest events of a chat, oldest first, and whether there are older ones: `limit` at most, and no more once they
    /// take [`BATCH_BYTES`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_events(&self, chat: ChatId, limit: usize) -> Result<(Vec<Event>, bool), StoreError> {
        self.events_before(chat, Seq(u64::MAX), limit)
    }

    /// The last events of a chat before a place, oldest first, and whether there are older ones: `limit` at most, and no
    /// more once they take [`BATCH_BYTES`].
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
        let mut newest = Vec::new();
        let mut earlier = false;
        let mut bytes = 0;
        for found in self.events()?.range((chat, 0)..(chat, before.0))?.rev() {
            let (_, record) = found?;
            let event: Event = record::decode(record.value())?;
            // what is older than something expired has expired as well
            if self.expiry.of_event(event.at) {
                break;
            }
            if newest.len() == limit || bytes >= BATCH_BYTES {
                earlier = true;
                break;
            }
            bytes += record.value().len();
            newest.push(event);
        }
        newest.reverse();
        Ok((newest, earlier))
    }

    fn events(&self) -> Result<ReadOnlyTable<(Id, u64), &'static [u8]>, StoreError> {
        Ok(self.read.open_table(EVENTS)?)
    }
}

/// What a record counts besides its value: its key, give or take.
const KEY_BYTES: u64 = 18;
/// What the place of a message counts.
const POSTED_BYTES: u64 = 38;
/// What counts that somebody is hidden from somebody.
const HIDDEN_BYTES: u64 = 20;
/// What counts one of two in a chat of two.
const PAIR_BYTES: u64 = 30;
/// What counts when somebody or a chat was last active.
const ACTIVE_BYTES: u64 = 18;

/// Counts something of that size that was stored, unless it was there before.
fn came(bytes: &mut u64, was_there: bool, size: u64) {
    *bytes += if was_there { 0 } else { size };
}

/// Counts something of that size no longer, if it was there before.
fn went(bytes: &mut u64, was_there: bool, size: u64) {
    *bytes = bytes.saturating_sub(if was_there { size } else { 0 });
}

/// Notes when somebody or a chat was last active.
fn touch(table: &mut Table<'_, Id, u64>, id: Id, at: Timestamp, bytes: &mut u64) -> Result<(), StoreError> {
    let was_there = table.insert(id, at.0)?.is_some();
    came(bytes, was_there, ACTIVE_BYTES);
    Ok(())
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Stores a record, in the place of the one before, and counts what is kept then.
fn put<'key, K: Key + Borrow<K::SelfType<'key>> + 'key, T: Serialize>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K,
    value: &T,
    bytes: &mut u64,
) -> Result<(), StoreError> {
    let record = record::encode(value)?;
    let before = table.insert(key, record.as_slice())?.map_or(0, |before| len(before.value()) + KEY_BYTES);
    *bytes = bytes.saturating_sub(before) + len(&record) + KEY_BYTES;
    Ok(())
}

/// Takes a record away, and counts what is kept then.
fn take(table: &mut Table<'_, Id, &'static [u8]>, key: Id, bytes: &mut u64) -> Result<(), StoreError> {
    let before = table.remove(key)?.map_or(0, |before| len(before.value()) + KEY_BYTES);
    *bytes = bytes.saturating_sub(before);
    Ok(())
}

fn get<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    id: Id,
) -> Result<Option<T>, StoreError> {
    Ok(table.get(id)?.map(|bytes| record::decode(bytes.value())).transpose()?)
}

fn kept<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    active: &impl ReadableTable<Id, u64>,
    id: Id,
) -> Result<Option<Kept<T>>, StoreError> {
    let Some(value) = get(table, id)? else { return Ok(None) };
    let active_at = Timestamp(active.get(id)?.map_or(0, |at| at.value()));
    Ok(Some(Kept { value, active_at }))
}

fn event(
    events: &impl ReadableTable<(Id, u64), &'static [u8]>,
    chat: ChatId,
    seq: Seq,
) -> Result<Option<Event>, StoreError> {
    Ok(events.get((chat.bytes(), seq.0))?.map(|record| record::decode(record.value())).transpose()?)
}

/// All keys that begin with a user.
fn all_with(user: UserId) -> RangeInclusive<(Id, Id)> {
    (user.bytes(), [0; ID_BYTES])..=(user.bytes(), [u8::MAX; ID_BYTES])
}

fn hidden_by(hidden: &impl ReadableTable<(Id, Id), ()>, user: UserId) -> Result<Vec<UserId>, StoreError> {
    let mut found = Vec::new();
    for pair in hidden.range(all_with(user))? {
        found.push(UserId::from_bytes(pair?.0.value().1));
    }
    Ok(found)
}

/// The other one of each chat of two of a user, and the chat.
fn pairs_of(
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
