//! What is known of a database when it is found, by a file beside it: the seal of one that was closed in order, or the mark
//! that whoever has it open leaves at each checkpoint (`docs/adr/0018-a-kill-is-not-a-power-cut.md`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    num::NonZero,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
};

/// Read at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// Made anew by the kernel whenever it starts: random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a mark begins with.
const MARK: &str = "open";

/// How a database is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Byte for byte as it was closed in order.
    Closed,
    /// As it was after the last checkpoint of somebody who has ended since. Nobody wrote to it in between, and the machine
    /// was up all the time.
    Left,
    /// Any other way.
    Unknown,
}

fn beside(database: &Path) -> PathBuf {
    database.with_extension("seal")
}

/// Makes files where there are none for Qchat alone to read, whatever the folder lets others do.
pub(super) fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    options.create(true).mode(0o600)
}

/// How a database is found that nobody has open. Reads all of it where it has a seal.
pub(super) fn found(database: &Path) -> io::Result<Found> {
    match fs::read_to_string(beside(database)) {
        Ok(mark) if mark.starts_with(MARK) => {
            let is_left =
                fs::metadata(database).and_then(|found| mark_of(&found)).is_ok_and(|now| now == mark);
            Ok(if is_left { Found::Left } else { Found::Unknown })
        }
        Ok(seal) => Ok(if seal == seal_of(database)? { Found::Closed } else { Found::Unknown }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            Ok(Found::Unknown)
        }
        Err(error) => Err(error),
    }
}

/// Seals a database that nobody has open.
pub(super) fn put(database: &Path) -> io::Result<()> {
    let mut file = owned(File::options().write(true).truncate(true)).open(beside(database))?;
    file.write_all(seal_of(database)?.as_bytes())
}

/// The mark beside a database that is open. Where it cannot be set, nothing is lost but time at the next start.
pub(super) struct Mark {
    mark: File,
    database: File,
}

impl Mark {
    /// Takes the place of what is there, and is not set.
    pub(super) fn beside(database: &Path) -> io::Result<Self> {
        let mark = owned(File::options().write(true).truncate(true)).open(beside(database))?;
        Ok(Self { mark, database: File::open(database)? })
    }

    /// The database is about to be written to.
    pub(super) fn lift(&self) {
        log(self.mark.set_len(0));
    }

    /// The database is on the disk, as whoever finds it is to find it. The mark is not synced: none outlives the kernel.
    pub(super) fn set(&self) {
        let mark = self.database.metadata().and_then(|database| mark_of(&database));
        log(mark.and_then(|mark| self.mark.write_all_at(mark.as_bytes(), 0)));
    }
}

fn log(done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(%error, "the database is not marked");
    }
}

/// Which file it is, and when it was changed for the last time. Unlike the time of its last modification, that is set by the
/// kernel alone (inode(7)): no copy has it, and nobody who writes leaves it as it is.
fn mark_of(database: &fs::Metadata) -> io::Result<String> {
    let boot = fs::read_to_string(BOOT_ID)?;
    let (device, inode, length) = (database.dev(), database.ino(), database.len());
    let (seconds, nanos) = (database.ctime(), database.ctime_nsec());
    Ok(format!("{MARK} {} {device} {inode} {length} {seconds}.{nanos:09}\n", boot.trim()))
}

/// The checksum is taken in as many parts as there are cores: one core does not read as fast as memory gives.
fn seal_of(database: &Path) -> io::Result<String> {
    let length = fs::metadata(database)?.len();
    let parts = thread::available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(1);
    let part_bytes = length.div_ceil(parts);
    let checksum = thread::scope(|scope| {
        let parts: Vec<_> = (0..parts)
            .map(|part| scope.spawn(move || part_of(database, part * part_bytes, part_bytes)))
            .collect();
        let mut checksum = crc32fast::Hasher::new();
        for part in parts {
            checksum.combine(&part.join().map_err(|_| io::Error::other("a part was not read"))??);
        }
        Ok::<_, io::Error>(checksum.finalize())
    })?;
    Ok(format!("{length} {checksum:08x}\n"))
}

fn part_of(database: &Path, from: u64, bytes: u64) -> io::Result<crc32fast::Hasher> {
    let mut file = File::open(database)?;
    file.seek(SeekFrom::Start(from))?;
    let (mut part, mut chunk) = (file.take(bytes), vec![0; CHUNK_BYTES]);
    let mut checksum = crc32fast::Hasher::new();
    loop {
        match part.read(&mut chunk)? {
            0 => return Ok(checksum),
            count => checksum.update(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_until_a_bit_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        fs::write(&path, vec![7; 3 * CHUNK_BYTES + 5]).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Unknown, "there is none");
        put(&path).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Closed);
        let mut bytes = fs::read(&path).unwrap();
        for place in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[place] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_eq!(found(&path).unwrap(), Found::Unknown, "{place}");
            bytes[place] ^= 1;
        }
        fs::write(&path, &bytes).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Closed);
        fs::write(&path, &bytes[1..]).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Unknown);
        fs::write(beside(&path), [0xff]).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Unknown, "nor does one that is none");
    }

    #[test]
    fn an_empty_file_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        fs::write(&path, []).unwrap();
        put(&path).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Closed);
    }

    /// A database with a mark that holds.
    fn left(folder: &Path) -> PathBuf {
        let path = folder.join("a.redb");
        fs::write(&path, "as it was").unwrap();
        Mark::beside(&path).unwrap().set();
        assert_eq!(found(&path).unwrap(), Found::Left);
        path
    }

    #[test]
    fn a_mark_holds_until_the_file_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = left(folder.path());
        let file = File::options().write(true).open(&path).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        let changed = || file.metadata().map(|file| (file.ctime(), file.ctime_nsec())).unwrap();
        let left = changed();
        // times are as fine as the clock of the kernel
        while changed() == left {
            file.write_all_at(b"a", 0).unwrap();
            file.set_modified(before).unwrap();
        }
        assert_eq!(file.metadata().unwrap().modified().unwrap(), before);
        assert_eq!(fs::read(&path).unwrap(), b"as it was");
        assert_eq!(found(&path).unwrap(), Found::Unknown);
    }

    #[test]
    fn no_copy_has_the_mark_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = left(folder.path());
        let copy = folder.path().join("b.redb");
        fs::copy(&path, &copy).unwrap();
        fs::copy(beside(&path), beside(&copy)).unwrap();
        assert_eq!(found(&copy).unwrap(), Found::Unknown);
        assert_eq!(found(&path).unwrap(), Found::Left);
        fs::rename(&copy, &path).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Unknown);
    }

    #[test]
    fn no_mark_holds_after_another_start_of_the_machine_or_once_it_is_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let path = left(folder.path());
        let mark = fs::read_to_string(beside(&path)).unwrap();
        let boot = fs::read_to_string(BOOT_ID).unwrap();
        let other = mark.replace(boot.trim(), "00000000-0000-4000-8000-000000000000");
        assert_ne!(other, mark);
        fs::write(beside(&path), other).unwrap();
        assert_eq!(found(&path).unwrap(), Found::Unknown);
        let again = Mark::beside(&path).unwrap();
        again.set();
        assert_eq!(found(&path).unwrap(), Found::Left);
        again.lift();
        assert_eq!(found(&path).unwrap(), Found::Unknown);
    }
}
