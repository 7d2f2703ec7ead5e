//! The write-ahead log (WAL): the file `qchat.journal` beside the database. Every transaction is appended to it and
//! synced before its result is visible. The database itself is synced at checkpoints, which empty the WAL. When the
//! database is opened, the records of the WAL that are not in it are applied again. Appending to one file takes one
//! sync, where a durable commit of the database takes two and about twenty pages. (ARIES, Mohan et al., 1992, of which
//! only the redo pass is needed here.)
//!
//! It is not the [`command_log`](crate::command_log), which puts proposals in order and is not a file: the WAL stores
//! the changes that were decided from them.
//!
//! A record is its length and a checksum, four bytes each, followed by its bytes. The header is written last. If it is
//! zero, the process ended while it wrote the record, which was therefore not acknowledged. If the header is there and
//! the bytes do not match it, there was a power failure, or the disk has lost data.

use std::{
    fs::File,
    io,
    path::Path,
    time::{Duration, Instant},
};

use redb::{StorageBackend, backends::FileBackend};
use serde::{Deserialize, Serialize};

use crate::durable_fs::sync_folder_of;

use super::{
    codec::{RECORD_VERSION, RecordError},
    integrity::seal::owned,
};

/// The size of the header of a record in bytes.
const HEAD: usize = 8;

/// One block of a disk, which [`WriteAheadLog::probe`] writes to find out whether anything can be stored.
const BLOCK_BYTES: [u8; 4096] = [0; 4096];

/// The open write-ahead log.
#[derive(Debug)]
pub(super) struct WriteAheadLog {
    storage: Box<dyn StorageBackend>,
    /// The offset in bytes at which the kept records end.
    end: u64,
    /// The offset in bytes at which the file may end. Greater than `end` if a record was appended and not kept.
    reaches: u64,
}

impl WriteAheadLog {
    /// Opens the write-ahead log in a file, which is created if it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = owned(File::options().read(true).write(true)).open(path)?;
        sync_folder_of(path)?;
        Self::on(FileBackend::new(file).map_err(io::Error::other)?)
    }

    /// Opens the write-ahead log on any storage.
    pub(super) fn on(storage: impl StorageBackend) -> io::Result<Self> {
        let reaches = storage.len()?;
        Ok(Self { storage: Box::new(storage), end: 0, reaches })
    }

    /// Returns the size of the kept records in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Returns the contents of the file, to be parsed with [`first`]. The log has to be emptied before anything is
    /// appended.
    pub(super) fn contents(&self) -> io::Result<Vec<u8>> {
        let mut contents = vec![0; usize::try_from(self.storage.len()?).map_err(io::Error::other)?];
        self.storage.read(0, &mut contents)?;
        Ok(contents)
    }

    /// Appends a record and syncs. The record has to be [kept](Self::keep) or [cut](Self::cut) off afterwards. If the
    /// process ends before either, the record is found at the next start. Returns how long the sync took.
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<Duration> {
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(record).to_le_bytes());
        self.grow(HEAD + record.len())?;
        self.storage.write(self.end + HEAD as u64, record)?;
        self.storage.write(self.end, &head)?;
        let begun = Instant::now();
        self.storage.sync_data()?;
        Ok(begun.elapsed())
    }

    /// Keeps the record that was appended last.
    pub(super) fn keep(&mut self) {
        self.end = self.reaches;
    }

    /// Empties the log, once everything in it is in the database.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.end = 0;
        self.cut()
    }

    /// Checks whether a block can be appended, and removes it again.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        self.grow(BLOCK_BYTES.len())?;
        self.storage.write(self.end, &BLOCK_BYTES)?;
        self.storage.sync_data()?;
        self.cut()
    }

    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        self.reaches = self.end.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.storage.set_len(self.reaches)
    }

    /// Durably cuts off everything after the kept records. Called before anything else is written.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        if self.reaches > self.end {
            self.storage.set_len(self.end)?;
            self.storage.sync_data()?;
            self.reaches = self.end;
        }
        Ok(())
    }
}

/// Begins a record with the version of the storage format and a head.
///
/// # Errors
/// [`RecordError::Malformed`] for types that postcard cannot serialize; Qchat has none.
pub(super) fn begin<T: Serialize>(head: &T) -> Result<Vec<u8>, RecordError> {
    add(vec![RECORD_VERSION], head)
}

/// Adds a value to a record.
///
/// # Errors
/// As [`begin`].
pub(super) fn add<T: Serialize>(record: Vec<u8>, value: &T) -> Result<Vec<u8>, RecordError> {
    postcard::to_extend(value, record).map_err(RecordError::Malformed)
}

/// Reads the head of a record, and returns it with the remaining bytes.
///
/// # Errors
/// [`RecordError`] if the record is empty, or was written by a version of Qchat whose records are not read.
pub(super) fn head<T: for<'de> Deserialize<'de>>(record: &[u8]) -> Result<(T, &[u8]), RecordError> {
    match record.split_first() {
        None => Err(RecordError::Empty),
        Some((&RECORD_VERSION, rest)) => next(rest),
        Some((&version, _)) => Err(RecordError::of_version(version)),
    }
}

/// Reads the next value of a record whose checksum matches, and returns it with the remaining bytes.
///
/// # Errors
/// [`RecordError::Unknown`] if the bytes do not begin with a value of this type.
pub(super) fn next<T: for<'de> Deserialize<'de>>(rest: &[u8]) -> Result<(T, &[u8]), RecordError> {
    postcard::take_from_bytes(rest).map_err(RecordError::Unknown)
}

/// What the remaining contents of a write-ahead log begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A record, and the contents after it.
    Record(&'a [u8], &'a [u8]),
    /// The end of the log.
    End,
    /// A record that is incomplete or damaged.
    Torn,
}

/// Reads the first record of the given contents.
pub(super) fn first(contents: &[u8]) -> Found<'_> {
    if contents.iter().take(HEAD).all(|byte| *byte == 0) {
        return Found::End;
    }
    record(contents).map_or(Found::Torn, |(record, behind)| Found::Record(record, behind))
}

fn record(contents: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = contents.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (record, behind) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (u32::from_le_bytes(*checksum) == crc32fast::hash(record)).then_some((record, behind))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    };

    use domain::{
        Body, Change, ChatId, ClientId, Epoch, Event, EventKind, Nickname, PlainMessage, Seq, Timestamp,
        Title, User, UserId, Visibility, id::ID_BYTES,
    };
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::storage::{LogState, transaction::Head};

    fn records(wal: &WriteAheadLog) -> (Vec<Vec<u8>>, bool) {
        let contents = wal.contents().unwrap();
        let (mut records, mut rest) = (Vec::new(), contents.as_slice());
        loop {
            match first(rest) {
                Found::Record(record, behind) => {
                    records.push(record.to_vec());
                    rest = behind;
                }
                ended => return (records, ended == Found::End),
            }
        }
    }

    /// A change of the layout needs a new version, since each version reads what earlier processes of the same version
    /// wrote.
    #[test]
    fn what_is_written_is_laid_out_as_version_4_is() {
        let (user, chat) = (UserId::from_bytes([1; ID_BYTES]), ChatId::from_bytes([2; ID_BYTES]));
        let (nickname, at) = (Nickname::parse("Ana").unwrap(), Timestamp(7));
        let title = Title::parse("Tea").unwrap();
        let guest = Some(User { id: UserId::from_bytes([3; ID_BYTES]), nickname: nickname.clone() });
        let started = EventKind::Started {
            owner: user,
            nickname: nickname.clone(),
            title,
            visibility: Visibility::Private,
            guest,
        };
        let (client_id, body) = (ClientId::from_bytes([4; ID_BYTES]), Body::parse("hello").unwrap());
        let message = PlainMessage { author: user, nickname: nickname.clone(), client_id, body };
        let event = |seq, kind| Event { chat, seq: Seq(seq), prev: Seq(seq - 1), at, kind };
        let started = event(1, started);
        let of_chat = started.apply_to(None).unwrap();
        let changes = [
            Change::User { user: User { id: user, nickname }, at },
            Change::Chat(started),
            Change::Chat(event(2, EventKind::Posted(message))),
            Change::Hidden { from: user, person: user, is_hidden: true },
            Change::UserTouched(user, at),
            Change::ChatTouched(chat, at),
            Change::UserExpired(user),
            Change::ChatExpired(of_chat),
            Change::Expired { chat, through: Seq(300) },
        ];
        let log = LogState { epoch: Epoch::from_bytes([5; ID_BYTES]), seq: Seq(300), at };
        let mut record = begin(&Head { after: Seq(299), log }).unwrap();
        for change in &changes {
            record = add(record, change).unwrap();
        }
        let (head, mut rest): (Head, _) = super::head(&record).unwrap();
        assert_eq!((head.after, head.log), (Seq(299), log));
        for change in &changes {
            let (read, behind): (Change, _) = next(rest).unwrap();
            assert_eq!(read, *change);
            rest = behind;
        }
        assert!(rest.is_empty());
        assert_eq!((RECORD_VERSION, record.len(), crc32fast::hash(&record)), (4, 250, 3_390_969_472));
    }

    fn wal_of(bytes: &[u8]) -> WriteAheadLog {
        let storage = InMemoryBackend::new();
        storage.set_len(bytes.len() as u64).unwrap();
        StorageBackend::write(&storage, 0, bytes).unwrap();
        WriteAheadLog::on(storage).unwrap()
    }

    #[test]
    fn what_is_kept_is_there_in_order_and_what_is_not_is_written_over() {
        let mut wal = WriteAheadLog::on(InMemoryBackend::new()).unwrap();
        assert_eq!(records(&wal), (Vec::new(), true));
        for (record, is_kept) in
            [("one", true), ("longer than what follows", false), ("two", true), ("last", false)]
        {
            wal.cut().unwrap();
            wal.append(record.as_bytes()).unwrap();
            if is_kept {
                wal.keep();
            }
        }
        let all = ["one", "two", "last"].map(|record| record.as_bytes().to_vec());
        assert_eq!(records(&wal), (all[..].to_vec(), true), "a process that ends has kept what it appended");
        wal.cut().unwrap();
        wal.probe().unwrap();
        assert_eq!(records(&wal), (all[..2].to_vec(), true), "one that goes on has not");
        wal.empty().unwrap();
        assert_eq!((records(&wal), wal.bytes()), ((Vec::new(), true), 0));
    }

    /// Storage in memory that fails after a number of steps, as if the process had ended, and that has limited room.
    #[derive(Debug, Default)]
    struct Limited {
        memory: InMemoryBackend,
        steps: Option<AtomicU32>,
        room: Option<Arc<AtomicU64>>,
    }

    impl Limited {
        fn step(&self) -> io::Result<()> {
            let Some(steps) = &self.steps else { return Ok(()) };
            let left = steps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| io::Error::other("it has ended"))
        }
    }

    impl StorageBackend for Limited {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            StorageBackend::read(&self.memory, offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.step()?;
            let room = self.room.as_ref().map_or(u64::MAX, |room| room.load(Ordering::SeqCst));
            // As on a full disk, the file has grown as far as there was room.
            self.memory.set_len(len.min(room))?;
            if len > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
        fn sync_data(&self) -> io::Result<()> {
            self.step()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.step()?;
            StorageBackend::write(&self.memory, offset, data)
        }
    }

    #[test]
    fn what_was_being_written_when_the_process_ended_is_nothing() {
        let (one, two) = (b"one".to_vec(), b"two".to_vec());
        for steps in 0..8 {
            let mut wal =
                WriteAheadLog::on(Limited { steps: Some(steps.into()), ..Limited::default() }).unwrap();
            let written = [&one, &two].map(|record| {
                let is_written = wal.append(record).is_ok();
                wal.keep();
                is_written
            });
            let (found, is_clean) = records(&wal);
            let acknowledged = written.iter().filter(|is_written| **is_written).count();
            assert!(
                found.len() >= acknowledged && [&one, &two].into_iter().zip(&found).all(|(a, b)| a == b),
                "{steps}"
            );
            assert!(is_clean, "after {steps} steps it ends in something");
        }
        let mut wal = WriteAheadLog::on(InMemoryBackend::new()).unwrap();
        wal.append(&one).unwrap();
        let whole = wal.contents().unwrap();
        let torn = [&whole[..], &whole[..HEAD], b"o\0\0"].concat();
        assert_eq!(records(&wal_of(&torn)), (vec![one], false), "not so where the power goes");
    }

    #[test]
    fn a_write_ahead_log_that_was_there_before_is_emptied() {
        let mut wal = wal_of(b"\x01\0\0\0 what a crash left");
        assert_eq!(records(&wal), (Vec::new(), false));
        wal.empty().unwrap();
        assert_eq!(records(&wal), (Vec::new(), true));
        wal.append(b"new").unwrap();
        assert_eq!(records(&wal), (vec![b"new".to_vec()], true));
    }

    #[test]
    fn what_has_no_room_leaves_nothing_behind() {
        let room = Arc::new(AtomicU64::new(40));
        let limited = Limited { room: Some(Arc::clone(&room)), ..Limited::default() };
        let mut wal = WriteAheadLog::on(limited).unwrap();
        wal.append(&[1; 20]).unwrap();
        wal.keep();
        assert!(wal.append(&[2; 20]).is_err());
        wal.cut().unwrap();
        assert!(wal.probe().is_err());
        wal.cut().unwrap();
        wal.append(&[3; 4]).unwrap();
        wal.keep();
        assert_eq!(records(&wal), (vec![vec![1; 20], vec![3; 4]], true));
        room.store(10_000, Ordering::SeqCst);
        wal.probe().unwrap();
        wal.append(&[4; 20]).unwrap();
        assert_eq!(records(&wal), (vec![vec![1; 20], vec![3; 4], vec![4; 20]], true));
    }

    proptest! {
        /// Whatever damage the end has, the records before it are read unchanged, and no others appear.
        #[test]
        fn what_was_not_harmed_is_read(
            written in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 1..8),
            cut in any::<proptest::sample::Index>(),
            flip in proptest::option::of(0_u8..8),
        ) {
            let mut wal = WriteAheadLog::on(InMemoryBackend::new()).unwrap();
            for record in &written {
                wal.append(record).unwrap();
                wal.keep();
            }
            let mut bytes = wal.contents().unwrap();
            let place = cut.index(bytes.len());
            match flip {
                Some(bit) => bytes[place] ^= 1 << bit,
                None => bytes.truncate(place),
            }
            let mut unharmed = Vec::new();
            let mut end = 0;
            for record in &written {
                end += HEAD + record.len();
                if end > place { break }
                unharmed.push(record.clone());
            }
            let (found, is_clean) = records(&wal_of(&bytes));
            let length: usize = unharmed.iter().map(|record| HEAD + record.len()).sum();
            prop_assert_eq!(found, unharmed);
            // If nothing but zeros is left of a header, the damage cannot be detected.
            prop_assert_eq!(is_clean, bytes[length..].iter().all(|byte| *byte == 0));
        }
    }
}
