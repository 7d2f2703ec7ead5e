//! The state of a replicated log in the database of one node, which is a view of the stream. It has no write-ahead log:
//! what was stored since the last checkpoint is read from the stream again.

use std::{
    ffi::OsString,
    fs, io,
    panic::catch_unwind,
    path::Path,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use domain::{Epoch, Lifetimes, LogClock, LogSettings, SenderClock, Timestamp, id::ID_BYTES};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableError,
    backends::InMemoryBackend,
};
use serde::{Deserialize, Serialize};

use super::{
    CACHE_BYTES, LogState, Snapshot, Store, StoreError, Transaction, WAL_EXTENSION, begin_checkpoint, codec,
    integrity::{self, mark::Mark},
    tables::{self, LOG, PRODUCERS, REPLICA},
    write_ahead_log::WriteAheadLog,
};
use crate::{
    durable_fs::{rename_durably, sync_folder_of},
    incarnation::Incarnation,
    metrics::{self, StoreMetrics},
    random,
};

/// The number of places from one mark to the next.
pub const MARK_PLACES: u64 = 1_024;

/// The state of a replicated log, as far as it was applied. Beside it, [`LogState`] is as in any log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// The place in the stream of the newest message that was applied.
    pub place: u64,
    /// The settings by which the next entry is decided.
    pub settings: LogSettings,
    /// The clock that gives the next message its time.
    pub clock: LogClock,
    /// The checksum of all changes decided so far.
    pub digest: u32,
    /// The newest place that was a multiple of 1,024, and the digest at that place. Where two nodes have the same place
    /// and another digest, they have decided differently.
    pub mark: (u64, u32),
    /// The log that this one goes on from. `None` if it was founded as the first one.
    pub follows: Option<Predecessor>,
}

/// A log that is gone, from which another one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// Its epoch.
    pub epoch: Epoch,
    /// The place of its newest message that the other one has. The places go on after it.
    pub place: u64,
}

impl ReplicaState {
    /// Returns the state of a view that has applied everything up to a place, and begins there.
    pub const fn beginning(place: u64, settings: LogSettings, clock: LogClock) -> Self {
        Self { place, settings, clock, digest: 0, mark: (0, 0), follows: None }
    }
}

/// What is known of a sender: its newest message that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// The number of the message among those of the sender.
    pub number: u64,
    /// The time of the message in the log.
    pub at: Timestamp,
    /// What the clock of the log keeps of the sender.
    pub clock: SenderClock,
}

/// How far some messages take a replicated log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The place after which they come, which has to be that of the state before.
    pub after: u64,
    /// The place of the newest of them.
    pub place: u64,
    /// The settings after them.
    pub settings: LogSettings,
    /// The clock after them.
    pub clock: LogClock,
    /// What is known of their senders after them, in this order. `None` for a sender that is forgotten.
    pub producers: Vec<(Incarnation, Option<Producer>)>,
}

impl Store {
    /// Opens the view of a replicated log, or creates an empty one. A database of a single process is opened as it is:
    /// its write-ahead log is applied to it, and [`replica`](Self::replica) is `None` until it
    /// [begins](Self::begin_replica) as a view. A view that is damaged is moved aside, since the cluster has what was in
    /// it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_replica(path: &Path) -> Result<Self, StoreError> {
        // Only a database of a single process has one.
        let is_alone = path.with_extension(WAL_EXTENSION).exists();
        if is_alone {
            match Self::open(path, Lifetimes::default()) {
                Ok(store) => store.close(path)?,
                // It has just become a view, and the process ended before the log beside it was removed.
                Err(StoreError::OfCluster) => remove_journal(path)?,
                Err(error) => return Err(error),
            }
        }
        match Self::open_view(path) {
            Err(StoreError::NotADatabase(reason)) if !is_alone => {
                let aside = moved_aside(path)?;
                tracing::warn!(reason, aside = %aside.to_string_lossy(), "the database was damaged: it was moved aside, and is loaded from the cluster again");
                Self::open_view(path)
            }
            opened => opened,
        }
    }

    /// Opens an existing or a new database without a write-ahead log.
    fn open_view(path: &Path) -> Result<Self, StoreError> {
        let is_new = !path.exists();
        if is_new {
            let unfinished = path.with_extension("new");
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            integrity::seal::owned(fs::File::options().write(true)).open(&unfinished)?;
            drop(Self::view(Database::builder().set_cache_size(CACHE_BYTES).create(&unfinished)?)?);
            rename_durably(&unfinished, path)?;
        }
        let opened = catch_unwind(|| {
            let file = Self::open_file(path, is_new)?;
            if !file.is_whole {
                return Err(StoreError::NotADatabase("what was stored last may be missing".to_owned()));
            }
            let store = Self::view(file.database)?;
            file.mark.set();
            Ok(Self { mark: file.mark, ..store })
        });
        opened.unwrap_or_else(|_| Err(StoreError::contradictory()))
    }

    /// Opens a view on other storage, as [`Store::open_on`] does.
    ///
    /// # Errors
    /// As [`Store::open_replica`].
    pub fn open_replica_on(database: impl StorageBackend) -> Result<Self, StoreError> {
        Self::view(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(database)?)
    }

    /// Opens an empty view in memory.
    ///
    /// # Errors
    /// As [`Store::open_replica`].
    pub fn replica_in_memory() -> Result<Self, StoreError> {
        Self::open_replica_on(InMemoryBackend::new())
    }

    pub(super) fn view(database: Database) -> Result<Self, StoreError> {
        let write = begin_checkpoint(&database)?;
        tables::create(&write)?;
        let batch = Transaction::open(&write)?;
        let log = batch.state()?;
        let bytes = batch.close()?;
        write.commit()?;
        let epoch = log.map_or(Epoch::from_bytes([0; ID_BYTES]), |log| log.epoch);
        let settings = replica(&database)?.map_or_else(LogSettings::default, |state| state.settings);
        Ok(Self {
            database,
            wal: Mutex::new(None),
            mark: Mark::NONE,
            epoch: RwLock::new(epoch),
            settings: RwLock::new(settings),
            bytes: AtomicU64::new(bytes),
            unsaved: AtomicU64::new(0),
            noted_until: AtomicU64::new(u64::MAX),
            is_unread: AtomicBool::new(true),
            metrics: StoreMetrics::default(),
        })
    }

    /// Returns the state of the replicated log. `None` if this database is not a view of one.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn replica(&self) -> Result<Option<ReplicaState>, StoreError> {
        replica(&self.database)
    }

    /// Returns what is known of the senders of messages.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn producers(&self) -> Result<Vec<(Incarnation, Producer)>, StoreError> {
        let table = match self.database.begin_read()?.open_table(PRODUCERS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut known = Vec::new();
        for row in table.iter()? {
            let (id, producer) = row?;
            known.push((Incarnation::from_bytes(id.value()), codec::decode(producer.value())?));
        }
        Ok(known)
    }

    /// Makes this database the view of a replicated log that goes on after `log` and `state`, durably. What is stored
    /// stays, and `path` is where: the write-ahead log that a database of a single process has beside it is removed.
    ///
    /// # Errors
    /// [`StoreError::NotAReplica`] if the database was opened with its write-ahead log; [`StoreError::Io`] or
    /// [`StoreError::Database`] if it cannot be written.
    pub fn begin_replica(
        &self,
        path: Option<&Path>,
        log: LogState,
        state: &ReplicaState,
    ) -> Result<(), StoreError> {
        if self.wal().is_some() {
            return Err(StoreError::NotAReplica);
        }
        let write = begin_checkpoint(&self.database)?;
        write.open_table(LOG)?.insert((), codec::encode(&log)?.as_slice())?;
        write.open_table(REPLICA)?.insert((), codec::encode(state)?.as_slice())?;
        write.delete_table(PRODUCERS)?;
        self.mark.clear();
        write.commit()?;
        self.mark.set();
        if let Some(path) = path {
            remove_journal(path)?;
        }
        self.know(log.epoch, state.settings);
        Ok(())
    }

    /// Makes the view of a replicated log, which no process has open, a database of a single process. Its log gets a new
    /// epoch, since it and the cluster's go on differently. What the cluster has and this node had not stored is missing.
    ///
    /// # Errors
    /// [`StoreError::NotAReplica`] if it is no view of a replicated log, else as [`Store::open`].
    pub fn leave_cluster(path: &Path) -> Result<(), StoreError> {
        let store = Self::open_view(path)?;
        let (Some(_), Some(log)) = (store.replica()?, store.read(Timestamp::default())?.log()?) else {
            return Err(StoreError::NotAReplica);
        };
        let log = LogState { epoch: random::epoch()?, ..log };
        let write = begin_checkpoint(&store.database)?;
        write.open_table(LOG)?.insert((), codec::encode(&log)?.as_slice())?;
        write.delete_table(REPLICA)?;
        write.delete_table(PRODUCERS)?;
        store.mark.clear();
        write.commit()?;
        WriteAheadLog::open(&path.with_extension(WAL_EXTENSION)).map_err(StoreError::Wal)?;
        store.close(path)
    }

    /// Runs `work` in one transaction, which applies messages of the stream up to `advance.place`. `log` is the state of
    /// the log after their entries, and `None` if they have none. It is durable with the next
    /// [checkpoint](Store::checkpoint), not before: until then the stream has it. On an error nothing is changed.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::NotAReplica`] if the database is not a view of a replicated log;
    /// [`StoreError::OutOfPlace`] or [`StoreError::OutOfOrder`] if these are not the next messages or entries;
    /// [`StoreError::Io`] or [`StoreError::Database`] if the changes cannot be written.
    pub fn write_replica<T>(
        &self,
        log: Option<LogState>,
        advance: &Advance,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _writing = self.wal();
        let begun = Instant::now();
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let mut replica = write.open_table(REPLICA)?;
        let before = replica.get(())?.map(|bytes| codec::decode(bytes.value())).transpose()?;
        let before: ReplicaState = before.ok_or(StoreError::NotAReplica)?;
        if advance.after != before.place || advance.place <= before.place {
            return Err(StoreError::OutOfPlace(advance.after, before.place));
        }
        let mut batch = Transaction::open(&write)?;
        if let Some(log) = log {
            batch.begin(log)?;
            // The digest is of the changes alone: where a transaction ends differs from node to node.
            batch.record.clear();
        }
        let done = work(&mut batch)?;
        let changes = std::mem::take(&mut batch.record);
        let bytes = batch.close()?;
        let mut digest = crc32fast::Hasher::new_with_initial(before.digest);
        digest.update(&changes);
        let digest = digest.finalize();
        let Advance { place, settings, clock, .. } = *advance;
        let mark = if place.is_multiple_of(MARK_PLACES) { (place, digest) } else { before.mark };
        let state = ReplicaState { place, settings, clock, digest, mark, ..before };
        replica.insert((), codec::encode(&state)?.as_slice())?;
        drop(replica);
        let mut producers = write.open_table(PRODUCERS)?;
        for (id, producer) in &advance.producers {
            match producer {
                Some(producer) => producers.insert(id.as_bytes(), codec::encode(producer)?.as_slice())?,
                None => producers.remove(id.as_bytes())?,
            };
        }
        drop(producers);
        write.commit()?;
        metrics::observe(&self.metrics.transaction, begun.elapsed());
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.bytes.store(bytes, Ordering::Relaxed);
        self.unsaved.fetch_add(changes.len() as u64, Ordering::Relaxed);
        Ok(done)
    }

    /// Returns the size in bytes of the changes that [`write_replica`](Self::write_replica) has stored since the last
    /// checkpoint.
    pub fn unsaved_bytes(&self) -> u64 {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Notes the epoch and the settings of the log that this database now has.
    pub(super) fn know(&self, epoch: Epoch, settings: LogSettings) {
        *self.epoch.write().unwrap_or_else(PoisonError::into_inner) = epoch;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}

impl Snapshot {
    /// Returns the state of the replicated log as it is in this snapshot. `None` if the database is not a view of one.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn replica(&self) -> Result<Option<ReplicaState>, StoreError> {
        replica_in(&self.read)
    }
}

/// Reads the state of the replicated log. `None` if the database is not a view of one.
pub(super) fn replica(database: &Database) -> Result<Option<ReplicaState>, StoreError> {
    replica_in(&database.begin_read()?)
}

fn replica_in(read: &ReadTransaction) -> Result<Option<ReplicaState>, StoreError> {
    let table = match read.open_table(REPLICA) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    Ok(table.get(())?.map(|bytes| codec::decode(bytes.value())).transpose()?)
}

/// Removes the write-ahead log beside a database that has all that is in it, durably. It is no error if there is none.
fn remove_journal(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path.with_extension(WAL_EXTENSION)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.and_then(|()| sync_folder_of(path))?),
    }
}

/// Renames a damaged database, in place of an earlier one that was damaged, and returns its new name.
fn moved_aside(path: &Path) -> Result<OsString, StoreError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    rename_durably(path, Path::new(&aside))?;
    Ok(aside)
}
