//! The mark of an open database, in a file beside it. If the database file is as the mark describes it, no other
//! process has written to it since, and the machine has not been restarted
//! (`docs/adr/0018-database-trusted-after-a-kill.md`).

use std::{
    fs::{self, File, Metadata},
    io,
    ops::Bound,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

use super::seal::owned;

/// The boot id, which the kernel generates at every start: random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a cleared mark begins with. It overwrites a mark that is set, which keeps its space on a full disk.
const CLEARED: &[u8] = b"lifted";

fn beside(database: &Path) -> PathBuf {
    database.with_extension("mark")
}

/// Returns whether there is a mark, and the database file is as it was marked.
pub(in crate::storage) fn holds(database: &Path) -> bool {
    let holds = || {
        io::Result::Ok(fs::read_to_string(beside(database))? == mark_of(&boot()?, &fs::metadata(database)?))
    };
    holds().unwrap_or(false)
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// Returns the mark of a file: its identity, and when its inode was last changed. Unlike the time of the last
/// modification, this time can only be set by the kernel (inode(7)): a copy has another one, and every write updates it
/// once the kernel's clock has advanced. All marks have the same length.
fn mark_of(boot: &str, database: &Metadata) -> String {
    let (device, inode, length) = (database.dev(), database.ino(), database.len());
    let (seconds, nanos) = (database.ctime(), database.ctime_nsec());
    format!("{boot} {device:020} {inode:020} {length:020} {seconds:020}.{nanos:09}\n")
}

/// Writes the mark, and holds the files needed for that.
#[derive(Debug)]
struct Marker {
    boot: String,
    mark: File,
    database: File,
    is_set: Mutex<bool>,
}

impl Marker {
    fn write(&self) -> io::Result<()> {
        self.mark.write_all_at(mark_of(&self.boot, &self.database.metadata()?).as_bytes(), 0)
    }
}

/// The mark beside an open database. If it cannot be created, the next start only takes longer. It is not synced, since
/// no mark is valid after a restart of the machine.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Mark(Option<Arc<Marker>>);

impl Mark {
    /// The mark of a database that is not in a file.
    pub(in crate::storage) const NONE: Self = Self(None);

    /// Opens the mark of a database. A mark that is already there stays valid until it is [cleared](Self::clear), since
    /// another process may have the database open.
    pub(in crate::storage) fn of(path: &Path, database: &File) -> Self {
        let marker = || {
            let (boot, database) = (boot()?, database.try_clone()?);
            let mark = owned(File::options().write(true).truncate(false)).open(beside(path))?;
            Ok(Arc::new(Marker { boot, mark, database, is_set: Mutex::new(false) }))
        };
        let tried: io::Result<_> = marker();
        if let Err(error) = &tried {
            tracing::info!(%error, "could not open the mark of the database: a start after a kill will check all pages");
        }
        Self(tried.ok())
    }

    /// Sets the mark, and from now on renews it after every write.
    pub(in crate::storage) fn set(&self) {
        self.change(|marker, is_set| {
            *is_set = true;
            marker.write()
        });
    }

    /// Clears the mark until it is [set](Self::set) again.
    pub(in crate::storage) fn clear(&self) {
        self.change(|marker, is_set| {
            *is_set = false;
            marker.mark.write_all_at(CLEARED, 0)
        });
    }

    /// Renews the mark after a write of this process, if it is set.
    fn renew(&self) {
        self.change(|marker, is_set| if *is_set { marker.write() } else { Ok(()) });
    }

    /// Changes the mark under its lock. Errors are logged only.
    fn change(&self, change: impl FnOnce(&Marker, &mut bool) -> io::Result<()>) {
        let Self(Some(marker)) = self else { return };
        let mut is_set = marker.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = change(marker, &mut is_set) {
            tracing::debug!(%error, "could not write the mark of the database");
        }
    }
}

/// A database file whose mark is renewed after every write. redb writes between checkpoints too: to free its cache, it
/// writes pages that nothing on the disk refers to yet.
#[derive(Debug)]
pub(in crate::storage) struct Marked {
    pub(in crate::storage) file: FileBackend,
    pub(in crate::storage) mark: Mark,
}

impl StorageBackend for Marked {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.mark.renew();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)?;
        self.mark.renew();
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
    use domain::{Change, Lifetimes, Seq, Timestamp, User, UserId, id::ID_BYTES};

    use super::*;
    use crate::storage::Store;

    /// Returns a database file with a valid mark.
    fn marked(folder: &Path) -> (PathBuf, Marked) {
        let path = folder.join("a.redb");
        fs::write(&path, "as it was").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mark = Mark::of(&path, &file);
        assert!(!holds(&path));
        mark.set();
        assert!(holds(&path));
        (path, Marked { file: FileBackend::new(file).unwrap(), mark })
    }

    #[test]
    fn a_mark_holds_until_another_process_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, marked) = marked(folder.path());
        let file = File::options().write(true).open(&path).unwrap();
        let changed = || file.metadata().map(|file| (file.ctime(), file.ctime_nsec())).unwrap();
        let (before, modified) = (changed(), file.metadata().unwrap().modified().unwrap());
        // File times are as precise as the kernel's clock.
        while changed() == before {
            marked.write(0, b"A").unwrap();
            assert!(holds(&path));
            marked.set_len(9 + changed().1.unsigned_abs() % 2).unwrap();
            assert!(holds(&path));
        }
        marked.write(0, b"a").unwrap();
        let before = changed();
        while changed() == before {
            file.write_all_at(b"a", 0).unwrap();
            file.set_modified(modified).unwrap();
        }
        assert!(!holds(&path));
    }

    #[test]
    fn no_copy_has_the_mark_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _marked) = marked(folder.path());
        let copy = folder.path().join("b.redb");
        fs::copy(&path, &copy).unwrap();
        fs::copy(beside(&path), beside(&copy)).unwrap();
        assert!(!holds(&copy));
        assert!(holds(&path));
        fs::rename(&copy, &path).unwrap();
        assert!(!holds(&path));
    }

    #[test]
    fn no_mark_holds_after_another_start_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _marked) = marked(folder.path());
        let mark = fs::read_to_string(beside(&path)).unwrap();
        let other = mark.replace(&boot().unwrap(), "00000000-0000-4000-8000-000000000000");
        assert_ne!(other, mark);
        fs::write(beside(&path), other).unwrap();
        assert!(!holds(&path));
    }

    #[test]
    fn a_mark_that_was_cleared_is_not_set_by_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, marked) = marked(folder.path());
        marked.mark.clear();
        assert!(!holds(&path));
        marked.write(0, b"A").unwrap();
        assert!(!holds(&path));
        marked.mark.set();
        assert!(holds(&path));
    }

    #[test]
    fn what_redb_writes_between_checkpoints_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        let store = Store::open(&path, Lifetimes::default()).unwrap();
        let changed = || fs::metadata(&path).map(|file| (file.ctime(), file.ctime_nsec())).unwrap();
        let before = changed();
        for seq in 1_u64..10_000 {
            let written = store.write(Seq(seq), Timestamp(1), |batch| {
                (0..100).try_for_each(|number| {
                    let mut id = [number; ID_BYTES];
                    id[..8].copy_from_slice(&seq.to_be_bytes());
                    batch.apply(&Change::User { user: User::new(UserId::from_bytes(id)), at: Timestamp(1) })
                })
            });
            written.unwrap();
            if changed() != before {
                return assert!(holds(&path));
            }
        }
        panic!("redb wrote nothing");
    }

    #[test]
    fn a_database_that_cannot_be_marked_is_written_to_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        fs::create_dir(beside(&path)).unwrap();
        fs::write(&path, "as it was").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mark = Mark::of(&path, &file);
        mark.set();
        Marked { file: FileBackend::new(file).unwrap(), mark }.write(0, b"A").unwrap();
        assert!(!holds(&path));
        assert_eq!(fs::read(&path).unwrap(), b"As it was");
    }
}
