//! A file that is read and never written: what is written stays in memory. With it a database is opened, repaired and
//! read without a change of anything on the disk.

use std::{
    cmp::min,
    collections::HashMap,
    fs::File,
    io,
    ops::{Bound, Range},
    panic::catch_unwind,
    path::Path,
    sync::{Mutex, PoisonError},
};

use domain::Lifetimes;
use redb::{
    BackendError, Database, StorageBackend,
    backends::{FileBackend, InMemoryBackend},
};

use super::{
    CACHE_BYTES, Store, StoreError, WAL_EXTENSION, integrity, replica, write_ahead_log::WriteAheadLog,
};

/// The unit in which written bytes are kept.
const BLOCK_BYTES: u64 = 4096;

impl Store {
    /// Opens an existing database that no process has open, with its write-ahead log, and changes nothing on the disk:
    /// what opening it repairs or writes, and what is stored later, is kept in memory. It may be the view of a replicated
    /// log. All its pages are checked unless it is known to be intact.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::Io`] if there is no database.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let is_as_closed = integrity::seal::holds(path)?;
        let is_known = is_as_closed || integrity::mark::holds(path);
        let (store, is_intact) = open_overlaid(path, is_as_closed, !is_known)?;
        if !is_intact {
            tracing::warn!(
                "the database is damaged and was repaired in memory: what was stored last may be missing"
            );
        }
        Ok(store)
    }

    /// Opens a database as [`Store::open_read_only`] does, after a check of all pages.
    pub(super) fn open_checked(path: &Path) -> Result<Self, StoreError> {
        let (store, is_intact) = open_overlaid(path, integrity::seal::holds(path)?, true)?;
        if is_intact {
            Ok(store)
        } else {
            Err(StoreError::NotADatabase("some of its pages are damaged".to_owned()))
        }
    }
}

/// Opens a database without changing it, and returns whether its pages were intact, if they were to be checked.
fn open_overlaid(path: &Path, is_as_closed: bool, checks: bool) -> Result<(Store, bool), StoreError> {
    let beside = path.with_extension(WAL_EXTENSION);
    // redb trusts the contents of its pages, and panics if they contradict each other.
    let opened = catch_unwind(|| {
        let mut database =
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Overlay::open(path)?)?;
        let is_intact = !checks || database.check_integrity()?;
        if replica::replica(&database)?.is_some() {
            return Ok((Store::view(database)?, is_intact));
        }
        let has_wal = beside.exists();
        let wal = if has_wal {
            Overlay::open(&beside).and_then(WriteAheadLog::on)
        } else {
            WriteAheadLog::on(InMemoryBackend::new())
        };
        let is_whole = is_intact && (is_as_closed || has_wal);
        let store = Store::with(database, wal.map_err(StoreError::Wal)?, Lifetimes::default(), is_whole)?;
        Ok((store, is_intact))
    });
    opened.unwrap_or_else(|_| Err(StoreError::contradictory()))
}

/// A file, and what would be different in it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: FileBackend,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    /// The blocks that were written, by their numbers.
    blocks: HashMap<u64, Vec<u8>>,
    length: u64,
    /// The length up to which the file still counts. After it everything is zero that was not written.
    kept: u64,
}

impl Overlay {
    /// Opens a file, which has to exist. It is opened for writing as well, which an exclusive lock requires.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let file = FileBackend::new(file).map_err(io::Error::other)?;
        let length = file.len()?;
        Ok(Self { file, changes: Mutex::new(Changes { blocks: HashMap::new(), length, kept: length }) })
    }

    /// Reads from a block, from what was written to it or from the file.
    fn read_block(&self, changes: &Changes, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset % BLOCK_BYTES).map_err(io::Error::other)?;
        if let Some(block) = changes.blocks.get(&(offset / BLOCK_BYTES)) {
            let written = block.get(from..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(written.ok_or(io::ErrorKind::UnexpectedEof)?);
            return Ok(());
        }
        let in_file = usize::try_from(changes.kept.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (in_file, after) = out.split_at_mut(min(in_file, out.len()));
        after.fill(0);
        if in_file.is_empty() { Ok(()) } else { self.file.read(offset, in_file) }
    }
}

/// Calls `each` for every block that a range touches, with the offset and the part of the range in it.
fn in_blocks(
    offset: u64,
    length: usize,
    mut each: impl FnMut(u64, Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let left_in_block = usize::try_from(BLOCK_BYTES - at % BLOCK_BYTES).map_err(io::Error::other)?;
        let end = min(length, done + left_in_block);
        each(at, done..end)?;
        done = end;
    }
    Ok(())
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.lock().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX));
        if end > changes.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if changes.blocks.is_empty() && end <= changes.kept {
            return self.file.read(offset, out);
        }
        in_blocks(offset, out.len(), |at, range| match out.get_mut(range) {
            Some(part) => self.read_block(&changes, at, part),
            None => Ok(()),
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if length < changes.length {
            changes.kept = min(changes.kept, length);
            changes.blocks.retain(|block, _| block * BLOCK_BYTES < length);
            let last = usize::try_from(length % BLOCK_BYTES).map_err(io::Error::other)?;
            if let Some(block) = changes.blocks.get_mut(&(length / BLOCK_BYTES)) {
                block.iter_mut().skip(last).for_each(|byte| *byte = 0);
            }
        }
        changes.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        in_blocks(offset, data.len(), |at, range| {
            let number = at / BLOCK_BYTES;
            let block = match changes.blocks.remove(&number) {
                Some(block) => block,
                None => {
                    let mut block = vec![0; usize::try_from(BLOCK_BYTES).map_err(io::Error::other)?];
                    self.read_block(&changes, number * BLOCK_BYTES, &mut block)?;
                    block
                }
            };
            let block = changes.blocks.entry(number).or_insert(block);
            let from = usize::try_from(at % BLOCK_BYTES).map_err(io::Error::other)?;
            if let (Some(to), Some(from)) = (block.get_mut(from..from + range.len()), data.get(range)) {
                to.copy_from_slice(from);
            }
            Ok(())
        })?;
        let end = offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        changes.length = changes.length.max(end);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// Something that is done to a file: its length is set, or bytes are written.
    #[derive(Debug, Clone)]
    enum Change {
        Length(u64),
        Write(u64, Vec<u8>),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let length = (0_u64..20_000).prop_map(Change::Length);
        let write = (0_u64..15_000, proptest::collection::vec(1_u8.., 0..6_000))
            .prop_map(|(offset, bytes)| Change::Write(offset, bytes));
        proptest::collection::vec(prop_oneof![length, write], 0..12)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_changed_file_would_have_and_the_file_is_as_it_was(
            before in proptest::collection::vec(1_u8.., 0..15_000),
            changes in changes(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, &before).unwrap();
            let overlay = Overlay::open(&path).unwrap();
            let mut expected = before.clone();
            for change in changes {
                match change {
                    Change::Length(length) => {
                        overlay.set_len(length).unwrap();
                        expected.resize(length as usize, 0);
                    }
                    Change::Write(offset, bytes) => {
                        StorageBackend::write(&overlay, offset, &bytes).unwrap();
                        let (from, end) = (offset as usize, offset as usize + bytes.len());
                        if !bytes.is_empty() {
                            expected.resize(expected.len().max(end), 0);
                        } else {
                            expected.resize(expected.len().max(from), 0);
                        }
                        expected[from..end].copy_from_slice(&bytes);
                    }
                }
                let mut read = vec![7; expected.len()];
                StorageBackend::read(&overlay, 0, &mut read).unwrap();
                prop_assert_eq!(&read, &expected);
                prop_assert!(StorageBackend::read(&overlay, 1, &mut read).is_err() || read.is_empty());
            }
            prop_assert_eq!(fs::read(&path).unwrap(), before);
        }
    }
}
