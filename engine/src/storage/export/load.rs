//! Loading a snapshot file: into a new database, or in the place of everything in an open one.

use std::{
    fs,
    io::{self, Read},
    ops::Bound,
    path::Path,
    sync::atomic::Ordering,
};

use redb::{Database, Key, StorageBackend, TableDefinition, Value, WriteTransaction, backends::FileBackend};

use super::{
    Contents, ExportError, Rows, Summary, check, open, read,
    table::{RecordCheck, Sink, Table, Visitor},
};
use crate::{
    durable_fs::rename_durably,
    random,
    storage::{
        CACHE_BYTES, Store, StoreError, WAL_EXTENSION, begin_checkpoint, integrity, tables,
        transaction::Transaction, write_ahead_log::WriteAheadLog,
    },
};

/// Inserts the rows of one part of a snapshot file.
struct Insert<'a> {
    write: &'a WriteTransaction,
    rows: Rows<'a>,
    check: &'a mut RecordCheck,
}

impl Visitor for Insert<'_> {
    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: Table,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), ExportError> {
        let mut stored = self.write.open_table(definition)?;
        for row in &mut self.rows {
            let (key, value) = row.ok_or(ExportError::Contradiction(table.name()))?;
            self.check.row::<K, V>(table, key, value)?;
            stored.insert(K::from_bytes(key), V::from_bytes(value))?;
        }
        Ok(())
    }
}

/// Deletes a table with all its rows.
struct Delete<'a>(&'a WriteTransaction);

impl Visitor for Delete<'_> {
    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        _table: Table,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), ExportError> {
        self.0.delete_table(definition)?;
        Ok(())
    }
}

/// Inserts all rows of a snapshot file, after a check of each, and passes its files of pictures on.
fn insert(
    write: &WriteTransaction,
    input: impl Read,
    put: impl FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Contents, ExportError> {
    let mut check = RecordCheck::default();
    let rows = |table: Table, rows: Rows<'_>| table.visit(&mut Insert { write, rows, check: &mut check });
    let Summary { head, rows, files } = read(input, rows, put)?;
    Ok(Contents { files, ..check.end(head, rows)? })
}

impl Store {
    /// Replaces everything that is stored by the contents of a snapshot file, in one durable transaction: readers see all
    /// of the old state, or all of the new one. The log continues with the state and the epoch of the file, and in the view
    /// of a replicated log with its place and settings.
    ///
    /// # Errors
    /// [`ExportError`] if the file cannot be read or loaded, as for [`check`], or if the database cannot be
    /// written; [`StoreError::NotAReplica`] if this is a view of a replicated log and the file is not of one, and
    /// [`StoreError::OfCluster`] the other way round. Nothing is changed then.
    pub fn replace(&self, file: &Path) -> Result<Contents, ExportError> {
        let input = open(file)?;
        let mut wal = self.wal();
        // A write-ahead log with records would not be that of the new state.
        self.checkpoint_with(&mut wal)?;
        let write = begin_checkpoint(&self.database)?;
        Table::ALL.iter().try_for_each(|table| table.visit(&mut Delete(&write)))?;
        // The files of pictures come to a node of a cluster by themselves.
        let contents = insert(&write, input, |_, _| Ok(()))?;
        let log = contents.log.ok_or(ExportError::Incomplete)?;
        let settings = match (&contents.replica, wal.is_some()) {
            (Some(replica), false) => replica.settings,
            (None, true) => self.settings(),
            (None, false) => return Err(StoreError::NotAReplica.into()),
            (Some(_), true) => return Err(StoreError::OfCluster.into()),
        };
        tables::create(&write)?;
        let bytes = Transaction::open(&write)?.close()?;
        self.mark.clear();
        write.commit()?;
        self.mark.set();
        self.know(log.epoch, settings);
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(contents)
    }

    /// Creates a database of a single process from a snapshot file. The log gets a new epoch, since what was stored after
    /// the file was written is missing in it: clients do not resume from cursors that were given out by then. The new
    /// database is complete before it gets its name, and no process can have the one open that it replaces.
    ///
    /// # Errors
    /// [`ExportError::Occupied`] if there is a database and `replaces` is not set, [`StoreError::InUse`] if a process has
    /// it open, and otherwise as for [`Store::replace`]. The existing database is then as it was.
    pub fn restore(file: &Path, path: &Path, replaces: bool) -> Result<Contents, ExportError> {
        Self::restore_with_files(file, path, replaces, |_, _| Ok(()))
    }

    /// Creates a database from a snapshot file, as [`restore`](Self::restore) does. `put` gets the name and the content of
    /// each file of a picture before the database is there, and after the whole snapshot file was checked and the database that
    /// is replaced was locked.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore), and those of `put`.
    pub fn restore_with_files(
        file: &Path,
        path: &Path,
        replaces: bool,
        put: impl FnMut(&str, &[u8]) -> io::Result<()>,
    ) -> Result<Contents, ExportError> {
        let beside = path.with_extension(WAL_EXTENSION);
        let is_there = |file: &Path| fs::metadata(file).is_ok_and(|found| found.len() > 0);
        if !replaces && (path.exists() || is_there(&beside)) {
            return Err(ExportError::Occupied);
        }
        let existing = lock(path)?;
        // So that nothing is put for a file that is not whole.
        check(file)?;
        let input = open(file)?;
        let unfinished = path.with_extension("restored");
        let restored = fill(input, &unfinished, put).and_then(|contents| {
            rename_durably(&unfinished, path)?;
            drop(existing);
            // If the power fails before this, the start refuses a write-ahead log that belongs to another database.
            WriteAheadLog::open(&beside).and_then(|mut wal| wal.empty()).map_err(StoreError::Wal)?;
            integrity::seal::put(path)?;
            Ok(contents)
        });
        if restored.is_err() {
            // Fails if it has its name by now.
            let _ = fs::remove_file(&unfinished);
        }
        restored
    }
}

/// Creates a database file with the contents of a snapshot file, and closes it.
fn fill(
    input: impl Read,
    path: &Path,
    put: impl FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Contents, ExportError> {
    remove(path)?;
    let file = integrity::seal::owned(fs::File::options().read(true).write(true)).open(path)?;
    let database = FileBackend::new(file)?;
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(database)?;
    let write = begin_checkpoint(&database)?;
    let contents = insert(&write, input, put)?;
    let mut log = contents.log.ok_or(ExportError::Incomplete)?;
    log.epoch = random::epoch()?;
    tables::create(&write)?;
    let mut batch = Transaction::open(&write)?;
    batch.advance(log)?;
    batch.close()?;
    // A cluster that goes on from it begins another log.
    for table in [Table::Replica, Table::Producers] {
        table.visit(&mut Delete(&write))?;
    }
    write.commit()?;
    database.close()?;
    Ok(Contents { log: Some(log), replica: None, ..contents })
}

/// Locks a database, if there is one, so that no other process can open it. The lock ends when it is dropped.
fn lock(path: &Path) -> Result<Option<FileBackend>, StoreError> {
    let file = match fs::File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let file = FileBackend::new(file)?;
    let is_locked = file.try_lock_range(Bound::Unbounded, Bound::Unbounded);
    if is_locked.map_err(io::Error::other)? { Ok(Some(file)) } else { Err(StoreError::InUse) }
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
