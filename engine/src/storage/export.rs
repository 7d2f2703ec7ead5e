//! The snapshot file: everything that is stored, as one stream of checked frames. Backups are such files, and so is what
//! a node is given that cannot read the log from where it stopped.
//!
//! ```text
//! magic    4 bytes   "QCSN"
//! format   1 byte    FORMAT
//! frames             each: length of the part (u32), checksum (u32), part; numbers are little endian
//! ```
//!
//! A part is postcard. The head is the first, the end the last, and nothing follows it. Between them are parts
//! with the rows of the tables, in the order of their numbers and of their keys, and then the files of pictures, in a part
//! each. A file without pictures is as one of a version that knew none. Each checksum is the CRC-32 of the file
//! up to there without the other checksums, so that a frame is refused that is damaged, missing, repeated or moved.
//!
//! Keys and values are as in the database: ids as their bytes, numbers as eight bytes (little endian), several of them one
//! after the other, and records with their own version and checksum ([`codec`]). So a file that an earlier
//! version wrote is read as a database of that version is.

mod load;
mod table;

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, ErrorKind, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use domain::{Epoch, PictureId};
use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value};
use serde::{Deserialize, Serialize, Serializer};

use super::{
    LogState, Predecessor, ReplicaState, Store,
    codec::{self, QCHAT, RecordError},
    error::StoreError,
    snapshot::Snapshot,
};
use table::{Sink, Table, Visitor};

pub use table::Contents;

/// What every snapshot file begins with.
const MAGIC: &[u8; 4] = b"QCSN";
/// The version of the layout of the file. Files of a later one are refused.
pub const FORMAT: u8 = 1;
/// The number of bytes of rows after which a frame is written. It exceeds this by its last row at most.
const FRAME_BYTES: usize = 256 * 1024;
/// The maximum size of a part in bytes. The largest row, an event that removes 20,000 users, is far smaller.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// The maximum size of a part with a file in bytes. The largest files of pictures, of noise, have half of that.
const FILE_BYTES: usize = 16 * 1024 * 1024;
/// The size of the buffers through which files are read and written, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Why a snapshot file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be read or written.
    #[error("it could not be read or written: {0}")]
    Io(io::Error),
    /// The file is something else.
    #[error("it is not a backup of Qchat")]
    NotAnExport,
    /// A newer version of Qchat wrote the file.
    #[error("a newer Qchat wrote it, and this Qchat {QCHAT} cannot read all of it: run the newer one")]
    Newer,
    /// The file ends before its last frame.
    #[error("it is not complete: it ends in the middle")]
    Incomplete,
    /// The frame that begins at this byte is not what was written.
    #[error("it is damaged, in the frame at byte {0}")]
    Damaged(u64),
    /// A record cannot be decoded.
    #[error("a record of the table {table} cannot be read: {error}")]
    Record {
        /// The table.
        table: &'static str,
        /// Why the record cannot be decoded.
        error: RecordError,
    },
    /// The records of a table cannot all be right.
    #[error("the records of the table {0} contradict each other")]
    Contradiction(&'static str),
    /// There is a database where one is to be created.
    #[error("there is a database already")]
    Occupied,
    /// The database cannot be read or written.
    #[error(transparent)]
    Store(StoreError),
}

impl ExportError {
    /// Returns it as an error of the database into which a file was to be loaded.
    pub fn into_store_error(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            error => StoreError::Snapshot(Box::new(error)),
        }
    }
}

/// Errors of the database, of redb among them. Those of the file are converted by hand.
impl<E> From<E> for ExportError
where
    StoreError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// A part of a snapshot file. Stored by position: new kinds are added at the end, and are refused by earlier versions.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    Head(Head),
    /// Rows of the table with this number. They follow, each as the bytes of its key and of its value, up to the end of
    /// the part.
    Rows(u8),
    End {
        /// The number of all rows.
        rows: u64,
    },
    /// A file of a picture with this name. Its bytes follow, up to the end of the part.
    File(String),
    EndWithFiles {
        /// The number of all rows.
        rows: u64,
        /// The number of all files of pictures.
        files: u64,
    },
}

/// What a snapshot file says about itself. Bytes that follow it in its part are left to later versions, and ignored.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The version of Qchat that wrote the file.
    made_by: String,
}

impl Head {
    fn of_this() -> Self {
        Self { made_by: QCHAT.to_owned() }
    }
}

/// Bytes that are encoded at once, and not as a sequence of numbers. The encoding is the same.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Writes a snapshot file, frame by frame.
struct Writer<W> {
    out: W,
    checksum: crc32fast::Hasher,
    /// The table of the rows that are not written yet, and the part with them.
    pending: Option<(Table, Vec<u8>)>,
    rows: u64,
    files: u64,
}

impl<W: Write> Writer<W> {
    fn begin(out: W, head: Head) -> Result<Self, ExportError> {
        let mut writer = Self { out, checksum: crc32fast::Hasher::new(), pending: None, rows: 0, files: 0 };
        let start = [MAGIC.as_slice(), &[FORMAT]].concat();
        writer.checksum.update(&start);
        writer.out.write_all(&start).map_err(ExportError::Io)?;
        writer.frame(&part(&Part::Head(head))?)?;
        Ok(writer)
    }

    fn frame(&mut self, part: &[u8]) -> Result<(), ExportError> {
        self.frame_of(part, PART_BYTES)
    }

    /// Writes a frame with a part of at most so many bytes.
    fn frame_of(&mut self, part: &[u8], limit: usize) -> Result<(), ExportError> {
        let fits = u32::try_from(part.len()).ok().filter(|_| part.len() <= limit);
        let too_large = || ExportError::Io(io::Error::other("a record or a picture is too large"));
        let length = fits.ok_or_else(too_large)?.to_le_bytes();
        self.checksum.update(&length);
        self.checksum.update(part);
        let checksum = self.checksum.clone().finalize().to_le_bytes();
        for bytes in [length.as_slice(), &checksum, part] {
            self.out.write_all(bytes).map_err(ExportError::Io)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        self.pending.take().map_or(Ok(()), |(_, part)| self.frame(&part))
    }

    fn file(&mut self, name: String, bytes: &[u8]) -> Result<(), ExportError> {
        self.flush()?;
        let mut file = part(&Part::File(name))?;
        file.extend_from_slice(bytes);
        self.files += 1;
        self.frame_of(&file, FILE_BYTES)
    }

    fn end(mut self) -> Result<(), ExportError> {
        self.flush()?;
        let Self { rows, files, .. } = self;
        let end = if files == 0 { Part::End { rows } } else { Part::EndWithFiles { rows, files } };
        self.frame(&part(&end)?)?;
        self.out.flush().map_err(ExportError::Io)
    }
}

impl<W: Write> Sink for Writer<W> {
    fn row<K: Key, V: Value>(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ExportError> {
        let rows = match self.pending.take() {
            Some((before, rows)) if before == table => rows,
            other => {
                self.pending = other;
                self.flush()?;
                part(&Part::Rows(table.number()))?
            }
        };
        let rows = postcard::to_extend(&(Bytes(key), Bytes(value)), rows).map_err(malformed(table))?;
        self.rows += 1;
        let is_full = rows.len() >= FRAME_BYTES;
        self.pending = Some((table, rows));
        if is_full { self.flush() } else { Ok(()) }
    }
}

fn part(part: &Part) -> Result<Vec<u8>, ExportError> {
    postcard::to_allocvec(part).map_err(|error| ExportError::Store(RecordError::Malformed(error).into()))
}

fn malformed(table: Table) -> impl Fn(postcard::Error) -> ExportError {
    move |error| ExportError::Record { table: table.name(), error: RecordError::Malformed(error) }
}

/// Reads a snapshot file, frame by frame.
struct Reader<R> {
    input: R,
    checksum: crc32fast::Hasher,
    /// The part of the newest frame.
    part: Vec<u8>,
    /// The offset in bytes of the next frame.
    at: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the start of the file, and returns what the file says about itself.
    fn begin(input: R) -> Result<(Self, Head), ExportError> {
        let mut reader = Self { input, checksum: crc32fast::Hasher::new(), part: Vec::new(), at: 0 };
        let mut start = Vec::new();
        let limit = MAGIC.len() as u64 + 1;
        reader.input.by_ref().take(limit).read_to_end(&mut start).map_err(ExportError::Io)?;
        match start.split_at_checked(MAGIC.len()) {
            Some((magic, [FORMAT])) if magic == MAGIC => {}
            Some((magic, [format])) if magic == MAGIC && *format > FORMAT => return Err(ExportError::Newer),
            Some((magic, [])) if magic == MAGIC => return Err(ExportError::Incomplete),
            _ => return Err(ExportError::NotAnExport),
        }
        reader.checksum.update(&start);
        reader.at = limit;
        let (part, _) = reader.next()?;
        match part {
            Part::Head(head) => Ok((reader, head)),
            Part::Rows(_) | Part::End { .. } | Part::File(_) | Part::EndWithFiles { .. } => {
                Err(ExportError::Damaged(limit))
            }
        }
    }

    /// Reads the next frame. Returns its part, and what follows it in the frame.
    fn next(&mut self) -> Result<(Part, &[u8]), ExportError> {
        let begins = self.at;
        let (mut length, mut checksum) = ([0; 4], [0; 4]);
        self.fill(&mut length)?;
        self.fill(&mut checksum)?;
        let size = usize::try_from(u32::from_le_bytes(length)).ok().filter(|size| *size <= FILE_BYTES);
        let size = size.ok_or(ExportError::Damaged(begins))?;
        let mut part = std::mem::take(&mut self.part);
        part.resize(size, 0);
        self.fill(&mut part)?;
        self.checksum.update(&length);
        self.checksum.update(&part);
        if self.checksum.clone().finalize() != u32::from_le_bytes(checksum) {
            return Err(ExportError::Damaged(begins));
        }
        self.part = part;
        // What is intact and not known is what a later version added.
        let (part, rest) = postcard::take_from_bytes(&self.part).map_err(|_| ExportError::Newer)?;
        if size > PART_BYTES && !matches!(part, Part::File(_)) {
            return Err(ExportError::Damaged(begins));
        }
        Ok((part, rest))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ExportError> {
        self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => ExportError::Incomplete,
            _ => ExportError::Io(error),
        })
    }

    /// Checks that nothing follows.
    fn end(&mut self) -> Result<(), ExportError> {
        match self.fill(&mut [0]) {
            Err(ExportError::Incomplete) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(ExportError::Damaged(self.at - 1)),
        }
    }
}

/// The rows of one part: an iterator over their keys and values.
struct Rows<'a>(&'a [u8]);

impl<'a> Iterator for Rows<'a> {
    /// A key and its value. `None` if the part does not end with a row.
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let row = postcard::take_from_bytes(self.0).ok();
        self.0 = row.map_or(&[], |(_, rest)| rest);
        Some(row.map(|(row, _)| row))
    }
}

/// What was read of a snapshot file.
struct Summary {
    /// What the file says about itself.
    head: Head,
    /// The number of rows that it has to have had.
    rows: u64,
    /// The number of files of pictures in it.
    files: u64,
}

/// Reads a whole snapshot file, and passes on the rows of each frame, and the files of pictures with their names.
fn read(
    input: impl Read,
    mut rows: impl FnMut(Table, Rows<'_>) -> Result<(), ExportError>,
    mut file: impl FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Summary, ExportError> {
    let (mut reader, head) = Reader::begin(input)?;
    let mut files_read = 0;
    loop {
        let begins = reader.at;
        let (part, rest) = reader.next()?;
        match part {
            Part::Rows(number) => {
                let table = Table::of(number).ok_or(ExportError::Newer)?;
                rows(table, Rows(rest))?;
            }
            Part::File(name) => {
                file(&name, rest).map_err(ExportError::Io)?;
                files_read += 1;
            }
            Part::End { rows } => {
                reader.end()?;
                return Ok(Summary { head, rows, files: files_read });
            }
            Part::EndWithFiles { rows, files } => {
                reader.end()?;
                if files != files_read {
                    return Err(ExportError::Incomplete);
                }
                return Ok(Summary { head, rows, files });
            }
            Part::Head(_) => return Err(ExportError::Damaged(begins)),
        }
    }
}

/// Checks every frame and every record of a snapshot file, and returns what it contains.
///
/// # Errors
/// [`ExportError`] if the file cannot be read, is not complete, is not as it was written, has a record that cannot be
/// read, or was written by a newer version of Qchat.
pub fn check(file: &Path) -> Result<Contents, ExportError> {
    let input = open(file)?;
    let mut checked = table::RecordCheck::default();
    let rows =
        |table: Table, rows: Rows<'_>| table.visit(&mut table::CheckRows { rows, check: &mut checked });
    let Summary { head, rows, files } = read(input, rows, |_, _| Ok(()))?;
    Ok(Contents { files, ..checked.end(head, rows)? })
}

/// Returns whether a file begins as every snapshot file does.
///
/// # Errors
/// Any error of opening or reading the file.
pub fn is_export(file: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(file)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

fn open(file: &Path) -> Result<BufReader<File>, ExportError> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(file).map_err(ExportError::Io)?))
}

/// Passes the rows of a table of the database on.
struct Walk<'a, S> {
    read: &'a ReadTransaction,
    sink: &'a mut S,
}

impl<S: Sink> Visitor for Walk<'_, S> {
    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: Table,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), ExportError> {
        let rows = match self.read.open_table(definition) {
            // No database has a table before something is stored in it for the first time.
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => opened?,
        };
        for row in rows.iter()? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            self.sink.row::<K, V>(table, K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref())?;
        }
        Ok(())
    }
}

/// Passes the rows of a table on, with another state of the log.
struct Successor<'a, S> {
    writer: &'a mut S,
    log: Vec<u8>,
    replica: Vec<u8>,
}

impl<S: Sink> Sink for Successor<'_, S> {
    fn row<K: Key, V: Value>(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ExportError> {
        let value = match table {
            Table::Log => &self.log,
            Table::Replica => &self.replica,
            _ => value,
        };
        self.writer.row::<K, V>(table, key, value)
    }
}

impl Snapshot {
    fn walk(&self, sink: &mut impl Sink) -> Result<(), ExportError> {
        Table::ALL.iter().try_for_each(|table| table.visit(&mut Walk { read: &self.read, sink }))
    }

    /// Writes everything in the database to a snapshot file, whether it has expired or not. Takes as much memory as two
    /// frames, however much there is.
    ///
    /// # Errors
    /// [`ExportError::Io`] if the file cannot be written, [`ExportError::Store`] if the database cannot be read.
    pub fn export(&self, out: impl Write) -> Result<(), ExportError> {
        let mut writer = Writer::begin(BufWriter::with_capacity(BUFFER_BYTES, out), Head::of_this())?;
        self.walk(&mut writer)?;
        writer.end()
    }

    /// Writes everything in the database to a snapshot file, as [`export`](Self::export) does, and the files of the
    /// pictures of messages. `files_of` returns the names and contents of the files of a picture: none of one that was
    /// removed meanwhile.
    ///
    /// # Errors
    /// As for [`export`](Self::export), and those of `files_of`.
    pub fn export_with_files(
        &self,
        out: impl Write,
        mut files_of: impl FnMut(PictureId) -> io::Result<Vec<(String, Vec<u8>)>>,
    ) -> Result<(), ExportError> {
        let mut writer = Writer::begin(BufWriter::with_capacity(BUFFER_BYTES, out), Head::of_this())?;
        self.walk(&mut writer)?;
        for (id, record) in self.pictures()? {
            if record.removed_at.is_none() {
                for (name, bytes) in files_of(id).map_err(ExportError::Io)? {
                    writer.file(name, &bytes)?;
                }
            }
        }
        writer.end()
    }

    /// Writes everything in the view of a replicated log to a snapshot file, as [`export`](Self::export) does, with which
    /// another log begins: one of this epoch, that goes on from the log of the view.
    ///
    /// # Errors
    /// As for [`export`](Self::export), and [`StoreError::NotAReplica`] if it is no view of a replicated log.
    pub fn export_successor(&self, epoch: Epoch, out: impl Write) -> Result<(), ExportError> {
        let (Some(log), Some(replica)) = (self.log()?, self.replica()?) else {
            return Err(StoreError::NotAReplica.into());
        };
        let follows = Some(Predecessor { epoch: log.epoch, place: replica.place });
        let log = codec::encode(&LogState { epoch, ..log })?;
        let replica = codec::encode(&ReplicaState { follows, ..replica })?;
        let mut writer = Writer::begin(BufWriter::with_capacity(BUFFER_BYTES, out), Head::of_this())?;
        self.walk(&mut Successor { writer: &mut writer, log, replica })?;
        writer.end()
    }

    /// Checks every record in the database, whether it has expired or not, and returns what there is.
    ///
    /// # Errors
    /// [`ExportError`] for the first record that cannot be read, or that cannot be right beside the others.
    pub fn check(&self) -> Result<Contents, ExportError> {
        let mut checked = table::RecordCheck::default();
        self.walk(&mut checked)?;
        let rows = checked.rows();
        checked.end(Head::of_this(), rows)
    }
}

impl Store {
    /// Checks every page of a database that no process has open, its write-ahead log and all records, and returns what
    /// there is. Changes nothing on the disk.
    ///
    /// # Errors
    /// [`ExportError::Store`] as for [`Store::open_read_only`], or with [`StoreError::NotADatabase`] if a page is
    /// damaged; otherwise as for [`Snapshot::check`].
    pub fn check(path: &Path) -> Result<Contents, ExportError> {
        let store = Self::open_checked(path)?;
        let checked = catch_unwind(AssertUnwindSafe(|| store.read(domain::Timestamp::default())?.check()));
        checked.unwrap_or_else(|_| Err(StoreError::contradictory().into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::{
        Change, ChatId, Epoch, Event, EventKind, Lifetimes, Nickname, Seq, Timestamp, Title, User, UserId,
        Visibility, id::ID_BYTES, reaction::EMOJI_BYTES,
    };
    use redb::{ReadableDatabase, TableHandle};

    use super::*;
    use crate::storage::{LogState, codec, tables::Id};

    /// Returns a file with these frames.
    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, Head { made_by: "1.2.3".to_owned() }).unwrap();
        parts.iter().for_each(|part| writer.frame(part).unwrap());
        bytes
    }

    fn end(rows: u64) -> Vec<u8> {
        part(&Part::End { rows }).unwrap()
    }

    /// Returns the part with the state of the log, and further rows of that table.
    fn log_with(more: &[(&[u8], &[u8])]) -> Vec<u8> {
        let log = LogState { epoch: Epoch::from_bytes([5; ID_BYTES]), seq: Seq(300), at: Timestamp(7) };
        let log = codec::encode(&log).unwrap();
        rows(0, &[&[(&[][..], log.as_slice())], more].concat())
    }

    fn rows(table: u8, rows: &[(&[u8], &[u8])]) -> Vec<u8> {
        rows.iter().fold(part(&Part::Rows(table)).unwrap(), |part, (key, value)| {
            postcard::to_extend(&(Bytes(key), Bytes(value)), part).unwrap()
        })
    }

    fn check(bytes: &[u8]) -> Result<Contents, ExportError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        super::check(&path)
    }

    /// A change of the layout needs a new version of it, since each version reads what earlier ones wrote.
    #[test]
    fn what_is_written_is_laid_out_as_format_1_is() {
        let (id, chat) = (UserId::from_bytes([1; ID_BYTES]), ChatId::from_bytes([2; ID_BYTES]));
        let user = User { id, nickname: Nickname::parse("Ana").unwrap() };
        let kind = EventKind::Started {
            owner: id,
            nickname: user.nickname.clone(),
            title: Title::parse("Tea").unwrap(),
            visibility: Visibility::Private,
            guest: None,
        };
        let event = Event { chat, seq: Seq(0x0102_0304), prev: Seq::ZERO, at: Timestamp(7), kind };
        let user = codec::encode(&user).unwrap();
        let key = [chat.bytes().as_slice(), &[4, 3, 2, 1, 0, 0, 0, 0]].concat();
        let event = codec::encode(&event).unwrap();
        let parts = [log_with(&[]), rows(1, &[(&id.bytes(), &user)]), rows(6, &[(&key, &event)]), end(3)];
        let bytes = file(&parts);
        assert_eq!(bytes[..5], *b"QCSN\x01");
        assert_eq!(bytes[5..13], [7, 0, 0, 0, 89, 168, 202, 224]);
        assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (173, 2723248053));
        let contents = check(&bytes).unwrap();
        assert_eq!(
            (contents.made_by.as_str(), contents.users, contents.chats, contents.events),
            ("1.2.3", 1, 0, 1)
        );
        assert_eq!(contents.log.unwrap().seq, Seq(300));
    }

    #[test]
    fn every_table_of_a_database_is_in_its_snapshot_files() {
        let store = Store::in_memory(Lifetimes::default()).unwrap();
        let read = store.database.begin_read().unwrap();
        let stored: BTreeSet<String> =
            read.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
        let known: BTreeSet<String> = Table::ALL.map(|table| table.name().to_owned()).into();
        let of_cluster = ["producers", "replica"].map(ToOwned::to_owned);
        assert_eq!(known.difference(&stored).cloned().collect::<Vec<_>>(), of_cluster);
        assert!(stored.is_subset(&known), "{stored:?}");
        for (number, table) in (0..).zip(Table::ALL) {
            assert_eq!((table.number(), Table::of(number)), (number, Some(table)));
            struct Name(&'static str);
            impl Visitor for Name {
                fn visit<K: Key + 'static, V: Value + 'static>(
                    &mut self,
                    _table: Table,
                    definition: TableDefinition<'static, K, V>,
                ) -> Result<(), ExportError> {
                    assert_eq!(definition.name(), self.0);
                    // Without this a key of any length would be passed on to redb, which may panic.
                    assert!(K::fixed_width().is_some());
                    Ok(())
                }
            }
            table.visit(&mut Name(table.name())).unwrap();
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_refused_as_such() {
        let right = file(&[log_with(&[]), end(1)]);
        check(&right).unwrap();
        let mut format = right;
        format[4] = FORMAT + 1;
        let record = rows(1, &[(&[3; ID_BYTES], &[9, 0, 0, 0, 0])]);
        let newer = [
            format,
            file(&[log_with(&[]), rows(200, &[(&[], &[])]), end(2)]),
            file(&[log_with(&[]), vec![99], end(1)]),
        ];
        for bytes in newer {
            let refused = check(&bytes);
            assert!(matches!(refused, Err(ExportError::Newer)), "{refused:?}");
        }
        let refused = check(&file(&[log_with(&[]), record, end(2)])).unwrap_err().to_string();
        assert!(refused.contains("users") && refused.contains("a newer one wrote"), "{refused}");
    }

    #[test]
    fn a_head_that_is_longer_in_a_later_version_is_read() {
        let mut bytes = Vec::new();
        let mut writer =
            Writer { out: &mut bytes, checksum: crc32fast::Hasher::new(), pending: None, rows: 0, files: 0 };
        writer.checksum.update(b"QCSN\x01");
        writer.out.extend_from_slice(b"QCSN\x01");
        let mut head = part(&Part::Head(Head { made_by: "9.0.0".to_owned() })).unwrap();
        head.extend_from_slice(b"what a later version says about itself");
        writer.frame(&head).unwrap();
        writer.frame(&log_with(&[])).unwrap();
        writer.frame(&end(1)).unwrap();
        assert_eq!(check(&bytes).unwrap().made_by, "9.0.0");
    }

    #[test]
    fn rows_that_no_database_can_have_are_refused_and_nothing_panics() {
        let (id, later): ([u8; 10], [u8; 10]) = ([3; ID_BYTES], [4; ID_BYTES]);
        let time = 7_u64.to_le_bytes();
        // Of a reaction to message 7, with an emoji that is none: nothing, or no text.
        let reaction = |emoji: &[u8]| {
            let mut key = [id.as_slice(), &time, &id, emoji].concat();
            key.resize(2 * ID_BYTES + 8 + EMOJI_BYTES, 0);
            vec![rows(14, &[(&key, &[])])]
        };
        let wrong: [(&str, Vec<Vec<u8>>); 11] = [
            ("a key that is too short", vec![rows(2, &[(&id[1..], &time)])]),
            ("a key where there is none", vec![rows(0, &[(&id, &[])])]),
            ("a value that is too long", vec![rows(2, &[(&id, &[0; 9])])]),
            ("a row twice", vec![rows(2, &[(&id, &time), (&id, &time)])]),
            ("keys out of order", vec![rows(2, &[(&later, &time), (&id, &time)])]),
            ("keys out of order, in two parts", vec![rows(2, &[(&later, &time)]), rows(2, &[(&id, &time)])]),
            ("tables out of order", vec![rows(4, &[(&id, &time)]), rows(2, &[(&id, &time)])]),
            ("half a row", vec![[part(&Part::Rows(2)).unwrap(), vec![10, 3, 3]].concat()]),
            ("a reaction without an emoji", reaction(&[])),
            ("a reaction that is no text", reaction(&[0xff])),
            ("a record that is not", vec![rows(1, &[(&id, &[4, 1, 2, 3, 4, 5])])]),
        ];
        for (what, parts) in wrong {
            let refused = check(&file(&[vec![log_with(&[])], parts, vec![end(3)]].concat()));
            assert!(
                matches!(refused, Err(ExportError::Contradiction(_) | ExportError::Record { .. })),
                "{what}: {refused:?}"
            );
        }
        // Less or more than it says.
        for count in [0, 2] {
            assert!(check(&file(&[log_with(&[]), end(count)])).is_err());
        }
        let huge = [&file(&[])[..], &[0xff; 8]].concat();
        assert!(matches!(check(&huge), Err(ExportError::Damaged(_))));
    }

    #[test]
    fn events_that_do_not_follow_each_other_are_a_contradiction() {
        let chat = ChatId::from_bytes([2; ID_BYTES]);
        let event = |seq, prev| {
            let user = UserId::from_bytes([1; ID_BYTES]);
            let kind = EventKind::OwnRemoved { user };
            Change::Chat(Event { chat, seq: Seq(seq), prev: Seq(prev), at: Timestamp(7), kind })
        };
        let store = Store::in_memory(Lifetimes::default()).unwrap();
        let write = |seq, change| store.write(Seq(seq), Timestamp(7), |batch| batch.apply(&change)).unwrap();
        write(4, event(4, 2));
        write(6, event(6, 4));
        store.read(Timestamp(7)).unwrap().check().unwrap();
        write(9, event(9, 8));
        let refused = store.read(Timestamp(7)).unwrap().check();
        assert!(matches!(refused, Err(ExportError::Contradiction("events"))), "{refused:?}");
        // Its keys are as documented.
        let key: (Id, u64) = (chat.bytes(), 0x0102_0304);
        let expected = [chat.bytes().as_slice(), &[4, 3, 2, 1, 0, 0, 0, 0]].concat();
        assert_eq!(<(Id, u64) as Value>::as_bytes(&key), expected);
    }
}
