//! The files of pictures. Their names and sizes are in the log; their bytes are in files beside the database.
//!
//! A picture is never posted without its bytes: they are durable before there is a ticket with which it can be posted, and
//! stay for as long as a ticket can be used. Its bytes are never shown without a message: they are read only through the
//! row that the message has for them, and files without one are deleted.

mod collector;
mod sharing;

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{Alt, ChatId, Picture, PictureId, PictureRecord, Problem, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    durable_fs::{NewFile, sync_folder_of},
    storage::{Snapshot, StoreError},
};

pub use collector::{Collector, Needed};
pub use sharing::{Bucket, NotFetched, NotShared, SharedPicture, Work};

use sharing::Shared;

/// The free space on the disk below which no picture is taken, in bytes: messages need it.
pub const FREE_BYTES: u64 = 256 * 1024 * 1024;
/// The ending of a file that is being written.
const UNFINISHED: &str = ".part";

/// The settings of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSettings {
    /// Whether pictures can be uploaded. Those that are there are shown in any case.
    pub are_on: bool,
    /// The maximum size of all files, in bytes.
    pub max_storage: u64,
    /// The maximum number of pictures of a message, up to [`domain::picture::PICTURES_LIMIT`].
    pub max_in_message: usize,
}

/// What whoever has uploaded a picture can post it with: in one message, of this user, in this chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The chat it can be posted to.
    pub chat: ChatId,
    /// The user who can post it.
    pub user: UserId,
    /// The picture, without a description.
    pub picture: Picture,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
}

/// Writes tickets so that they can be handed to clients, and reads those that come back. All nodes of a cluster read
/// each other's.
pub trait Tickets: Send + Sync {
    /// Returns a ticket as a text that only this server, or a node of its cluster, can make.
    fn write(&self, ticket: &Ticket) -> String;

    /// Returns the ticket in a text, or `None` if it was not made by this server or is damaged.
    fn read(&self, text: &str) -> Option<Ticket>;
}

/// The version of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PictureSize {
    /// The one that is shown on its own.
    Large,
    /// The one that is shown in a message.
    Small,
}

/// A picture as it is stored: decoded, turned, shrunk, and encoded anew without anything but its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The file of the large version.
    pub large: Vec<u8>,
    /// The width and the height in pixels of the large version.
    pub large_size: (u16, u16),
    /// The file of the small version.
    pub small: Vec<u8>,
    /// The width and the height in pixels of the small version.
    pub small_size: (u16, u16),
}

impl Encoded {
    /// Returns the picture of these files, under this id and without a description.
    pub fn picture(&self, id: PictureId) -> Picture {
        let (width, height) = self.large_size;
        let bytes = u32::try_from(self.large.len().saturating_add(self.small.len())).unwrap_or(u32::MAX);
        Picture { id, width, height, small: self.small_size, bytes, alt: Alt::empty() }
    }
}

/// Where files are. A file is there as a whole or not at all, also after a power failure.
pub trait Files: Send + Sync {
    /// Writes a file. It is durable when this returns.
    ///
    /// # Errors
    /// Any error of the file system. Nothing of the file is left then.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Reads a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file, or any error of the file system.
    fn get(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Returns the names and sizes in bytes of all files, unfinished ones included.
    ///
    /// # Errors
    /// Any error of the file system.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Removes a file if it is there.
    ///
    /// # Errors
    /// Any error of the file system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns how much more can be written, in bytes.
    ///
    /// # Errors
    /// Any error of the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A folder that only its owner can read.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Opens a folder, and creates it if it is not there.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        sync_folder_of(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Files for Folder {
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = NewFile::create(&self.0.join(name))?;
        io::Write::write_all(file.file(), bytes)?;
        file.finish()
    }

    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            // Other names are none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.metadata()?.len()));
            }
        }
        Ok(found)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.0)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Has no files and no tickets.
struct Nowhere;

impl Files for Nowhere {
    fn put(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn get(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
}

impl Tickets for Nowhere {
    fn write(&self, _: &Ticket) -> String {
        String::new()
    }

    fn read(&self, _: &str) -> Option<Ticket> {
        None
    }
}

/// What is known of the files of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    uploaded_at: Timestamp,
    /// The size of both files.
    bytes: u64,
    /// Whether both files are there. While they are written their size counts already.
    is_whole: bool,
    /// Whether the picture was seen to belong to a message since the start.
    was_posted: bool,
}

/// The pictures of a server: their files, and the tickets to post them with.
pub struct Pictures {
    files: Arc<dyn Files>,
    tickets: Arc<dyn Tickets>,
    settings: PictureSettings,
    known: Mutex<HashMap<PictureId, Known>>,
    /// `None` where there are no other nodes.
    shared: Option<Shared>,
}

impl fmt::Debug for Pictures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pictures").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Pictures {
    /// Opens the files of pictures. What an interrupted process has left of one is removed.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn open(
        files: Arc<dyn Files>,
        tickets: Arc<dyn Tickets>,
        settings: PictureSettings,
    ) -> io::Result<Self> {
        let (known, left) = find(&*files)?;
        left.iter().try_for_each(|name| files.remove(name))?;
        Ok(Self { files, tickets, settings, known: Mutex::new(known), shared: None })
    }

    /// Opens the files of pictures to be read, while no server uses them. Nothing is changed.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn open_to_read(files: Arc<dyn Files>) -> io::Result<Self> {
        let (known, _) = find(&*files)?;
        Ok(Self { files, known: Mutex::new(known), ..Self::off() })
    }

    /// Returns no pictures, none of which can be uploaded: for engines without a folder.
    pub fn off() -> Self {
        let settings = PictureSettings { are_on: false, max_storage: 0, max_in_message: 0 };
        let (files, tickets) = (Arc::new(Nowhere), Arc::new(Nowhere));
        Self { files, tickets, settings, known: Mutex::default(), shared: None }
    }

    /// Returns whether pictures can be uploaded.
    pub fn are_on(&self) -> bool {
        self.settings.are_on
    }

    /// Returns the maximum size of all files, in bytes.
    pub fn max_storage(&self) -> u64 {
        self.settings.max_storage
    }

    /// Returns the maximum number of pictures of a message.
    pub fn max_in_message(&self) -> usize {
        self.settings.max_in_message
    }

    /// Returns the number of pictures, and the size of their files in bytes.
    pub fn stored(&self) -> (usize, u64) {
        let known = self.known();
        (known.len(), known.values().map(|known| known.bytes).sum())
    }

    /// Returns whether the files of a picture are there.
    pub fn has(&self, id: PictureId) -> bool {
        self.known().get(&id).is_some_and(|known| known.is_whole)
    }

    /// Returns the number of pictures of messages whose files are missing, by a look at all of them. It blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the database or the folder cannot be read.
    pub fn count_missing(&self, view: &Snapshot) -> Result<usize, StoreError> {
        let (found, _) = find(&*self.files)?;
        let is_missing = |(id, record): &(PictureId, PictureRecord)| {
            record.removed_at.is_none() && !found.contains_key(id)
        };
        Ok(view.pictures()?.iter().filter(|picture| is_missing(picture)).count())
    }

    /// Checks whether there is room for another picture.
    ///
    /// # Errors
    /// [`Problem::StorageFull`] if there is none, within the quota or on the disk; [`Problem::NotStored`] if the file
    /// system does not say how much is free.
    pub fn check_room(&self) -> Result<(), Problem> {
        if self.stored().1 >= self.settings.max_storage {
            return Err(Problem::StorageFull);
        }
        let free = self.files.free_bytes().map_err(|error| not_stored(&error))?;
        if free < FREE_BYTES { Err(Problem::StorageFull) } else { Ok(()) }
    }

    /// Stores a new picture durably. It blocks.
    ///
    /// # Errors
    /// [`Problem::StorageFull`] if there is no room for it, [`Problem::NotStored`] if its files cannot be written.
    /// Nothing of it is left then.
    pub fn keep(&self, id: PictureId, uploaded_at: Timestamp, encoded: &Encoded) -> Result<(), Problem> {
        self.reserve(id, uploaded_at, encoded)?;
        let [large, small] =
            [PictureSize::Large, PictureSize::Small].map(|size| name_of(uploaded_at, id, size));
        // The large one last: one alone is removed at the next start.
        let put =
            self.files.put(&small, &encoded.small).and_then(|()| self.files.put(&large, &encoded.large));
        let put = put.map_err(|error| not_stored(&error));
        match put {
            Ok(()) => {
                if let Some(known) = self.known().get_mut(&id) {
                    known.is_whole = true;
                }
            }
            Err(_) => self.remove(id),
        }
        put
    }

    /// Counts a new picture, so that others that are uploaded meanwhile leave room for it.
    fn reserve(&self, id: PictureId, uploaded_at: Timestamp, encoded: &Encoded) -> Result<(), Problem> {
        let bytes = u64::from(encoded.picture(id).bytes);
        let mut known = self.known();
        let stored: u64 = known.values().map(|known| known.bytes).sum();
        if stored.saturating_add(bytes) > self.settings.max_storage {
            return Err(Problem::StorageFull);
        }
        known.insert(id, Known { uploaded_at, bytes, is_whole: false, was_posted: false });
        Ok(())
    }

    /// Reads a file of a picture. `None` if it is not there. It blocks.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn read(&self, id: PictureId, size: PictureSize) -> io::Result<Option<Vec<u8>>> {
        let uploaded_at = self.known().get(&id).filter(|known| known.is_whole).map(|known| known.uploaded_at);
        let Some(uploaded_at) = uploaded_at else { return Ok(None) };
        match self.files.get(&name_of(uploaded_at, id, size)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It was taken away. From now on it is one that is missing, and can be fetched.
                self.known().remove(&id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the names and contents of the files of a picture. None if they are not there. It blocks.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn files_of(&self, id: PictureId) -> io::Result<Vec<(String, Vec<u8>)>> {
        let known = self.known().get(&id).copied();
        let Some(Known { uploaded_at, .. }) = known else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for size in [PictureSize::Large, PictureSize::Small] {
            match self.read(id, size)? {
                Some(bytes) => found.push((name_of(uploaded_at, id, size), bytes)),
                None => return Ok(Vec::new()),
            }
        }
        Ok(found)
    }

    /// Returns a ticket as a text for its client.
    pub fn write_ticket(&self, ticket: &Ticket) -> String {
        self.tickets.write(ticket)
    }

    /// Returns the ticket in a text from a client, or `None` if it is not valid.
    pub fn read_ticket(&self, text: &str) -> Option<Ticket> {
        self.tickets.read(text)
    }

    /// Removes the files of a picture that is needed no more, here and where all nodes get it.
    fn forget(&self, id: PictureId) {
        self.remove(id);
        if let Some(shared) = &self.shared {
            shared.is_gone(id);
        }
    }

    /// Removes the files of a picture. If that fails, the picture stays known and is removed later. It blocks.
    fn remove(&self, id: PictureId) {
        let Some(known) = self.known().get(&id).copied() else { return };
        let removed = [PictureSize::Large, PictureSize::Small]
            .map(|size| self.files.remove(&name_of(known.uploaded_at, id, size)));
        match removed.into_iter().find_map(Result::err) {
            None => {
                self.known().remove(&id);
            }
            Some(error) => {
                tracing::warn!(%error, "a picture could not be deleted, which will be tried again");
                if let Some(known) = self.known().get_mut(&id) {
                    // So that the collector takes it, even if it was never whole.
                    (known.is_whole, known.was_posted) = (true, true);
                }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PictureId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of pictures by their files, and the names of files that are left of unfinished ones.
type Found = (HashMap<PictureId, Known>, Vec<String>);

/// Finds the pictures whose files are both there, and what is left of others.
fn find(files: &dyn Files) -> io::Result<Found> {
    let mut found: HashMap<PictureId, Vec<(String, Timestamp, u64)>> = HashMap::new();
    let mut left = Vec::new();
    for (name, bytes) in files.list()? {
        match parse_name(&name) {
            Some((uploaded_at, id, _)) => found.entry(id).or_default().push((name, uploaded_at, bytes)),
            None if name.ends_with(UNFINISHED) => left.push(name),
            None => tracing::warn!(name, "a file in the folder of pictures is none, and is left alone"),
        }
    }
    let mut known = HashMap::new();
    for (id, of_it) in found {
        match &*of_it {
            [(_, uploaded_at, one), (_, also_at, other)] if uploaded_at == also_at => {
                let (uploaded_at, bytes) = (*uploaded_at, one.saturating_add(*other));
                known.insert(id, Known { uploaded_at, bytes, is_whole: true, was_posted: false });
            }
            // Its ticket was never handed out, or it was being deleted.
            _ => left.extend(of_it.into_iter().map(|(name, ..)| name)),
        }
    }
    Ok((known, left))
}

/// Writes a file of a picture from a backup.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if the name is not that of such a file, or any error of the file system.
pub fn put_back(files: &dyn Files, name: &str, bytes: &[u8]) -> io::Result<()> {
    match parse_name(name) {
        Some(_) => files.put(name, bytes),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a picture in it has a strange name")),
    }
}

/// Logs an error of the file system, and returns the [`Problem`] that the user is told.
fn not_stored(error: &io::Error) -> Problem {
    tracing::error!(%error, "a picture could not be stored");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::StorageFull,
        _ => Problem::NotStored,
    }
}

/// Returns the name of a file: with the time of the upload, by which the file is deleted if it was not posted.
fn name_of(uploaded_at: Timestamp, id: PictureId, size: PictureSize) -> String {
    let size = match size {
        PictureSize::Large => "large",
        PictureSize::Small => "small",
    };
    format!("{}.{id}.{size}", uploaded_at.0)
}

fn parse_name(name: &str) -> Option<(Timestamp, PictureId, PictureSize)> {
    let (uploaded_at, rest) = name.split_once('.')?;
    let (id, size) = rest.split_once('.')?;
    let size = match size {
        "large" => PictureSize::Large,
        "small" => PictureSize::Small,
        _ => return None,
    };
    Some((Timestamp(uploaded_at.parse().ok()?), id.parse().ok()?, size))
}

#[cfg(test)]
pub(crate) mod tests {
    use domain::id::ID_BYTES;

    use super::*;

    /// A disk that fails when it is told to.
    #[derive(Default)]
    pub(crate) struct FakeDisk {
        pub(crate) files: Mutex<HashMap<String, Vec<u8>>>,
        /// How many more files can be written. `None` for any number.
        pub(crate) room: Mutex<Option<usize>>,
    }

    impl Files for FakeDisk {
        fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            if let Some(room) = &mut *self.room.lock().unwrap() {
                *room = room.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            }
            self.files.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }

        fn get(&self, name: &str) -> io::Result<Vec<u8>> {
            self.files.lock().unwrap().get(name).cloned().ok_or(io::ErrorKind::NotFound.into())
        }

        fn list(&self) -> io::Result<Vec<(String, u64)>> {
            let files = self.files.lock().unwrap();
            Ok(files.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.files.lock().unwrap().remove(name);
            Ok(())
        }

        fn free_bytes(&self) -> io::Result<u64> {
            Ok(u64::MAX)
        }
    }

    pub(crate) const AT: Timestamp = Timestamp(1_800_000_000_000);

    pub(crate) fn id(number: u8) -> PictureId {
        PictureId::from_bytes([number; ID_BYTES])
    }

    pub(crate) fn encoded() -> Encoded {
        Encoded { large: vec![1; 70], large_size: (20, 10), small: vec![2; 30], small_size: (4, 2) }
    }

    pub(crate) fn open(disk: &Arc<FakeDisk>, max_storage: u64) -> Pictures {
        let settings = PictureSettings { are_on: true, max_storage, max_in_message: 8 };
        let files: Arc<dyn Files> = Arc::<FakeDisk>::clone(disk);
        Pictures::open(files, Arc::new(Nowhere), settings).unwrap()
    }

    #[test]
    fn a_picture_is_found_again_after_a_start() {
        let disk = Arc::new(FakeDisk::default());
        open(&disk, 1_000).keep(id(1), AT, &encoded()).unwrap();
        let pictures = open(&disk, 1_000);
        assert!(pictures.has(id(1)) && !pictures.has(id(2)));
        assert_eq!(pictures.stored(), (1, 100));
        assert_eq!(pictures.read(id(1), PictureSize::Large).unwrap(), Some(vec![1; 70]));
        assert_eq!(pictures.read(id(1), PictureSize::Small).unwrap(), Some(vec![2; 30]));
        assert_eq!(pictures.read(id(2), PictureSize::Small).unwrap(), None);
    }

    #[test]
    fn a_picture_whose_files_were_taken_away_is_missing() {
        let disk = Arc::new(FakeDisk::default());
        let pictures = open(&disk, 1_000);
        pictures.keep(id(1), AT, &encoded()).unwrap();
        disk.files.lock().unwrap().clear();
        assert!(pictures.has(id(1)), "nobody has looked");
        assert_eq!(pictures.read(id(1), PictureSize::Small).unwrap(), None);
        assert_eq!((pictures.has(id(1)), pictures.stored()), (false, (0, 0)));
    }

    #[test]
    fn half_a_picture_is_removed_at_the_next_start_and_a_strange_file_is_left_alone() {
        let disk = Arc::new(FakeDisk::default());
        open(&disk, 1_000).keep(id(1), AT, &encoded()).unwrap();
        disk.files.lock().unwrap().remove(&name_of(AT, id(1), PictureSize::Large));
        disk.put("1.0000000000000000.large.part", b"x").unwrap();
        disk.put("notes.txt", b"x").unwrap();
        assert_eq!(open(&disk, 1_000).stored(), (0, 0));
        assert_eq!(disk.list().unwrap(), [("notes.txt".to_owned(), 1)]);
    }

    #[test]
    fn what_cannot_be_stored_leaves_nothing_behind() {
        for room in [0, 1] {
            let disk = Arc::new(FakeDisk::default());
            *disk.room.lock().unwrap() = Some(room);
            let pictures = open(&disk, 1_000);
            assert_eq!(pictures.keep(id(1), AT, &encoded()), Err(Problem::StorageFull), "{room}");
            assert_eq!((pictures.stored(), disk.list().unwrap().len()), ((0, 0), 0), "{room}");
        }
    }

    #[test]
    fn the_quota_counts_both_files() {
        let disk = Arc::new(FakeDisk::default());
        let pictures = open(&disk, 250);
        pictures.keep(id(1), AT, &encoded()).unwrap();
        pictures.keep(id(2), AT, &encoded()).unwrap();
        assert_eq!(pictures.keep(id(3), AT, &encoded()), Err(Problem::StorageFull));
        assert_eq!(pictures.stored(), (2, 200));
        assert_eq!(pictures.check_room(), Ok(()));
        pictures.remove(id(1));
        assert_eq!(pictures.keep(id(3), AT, &encoded()), Ok(()));
    }

    #[test]
    fn a_folder_holds_whole_files_that_only_their_owner_can_read() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pictures");
        let files = Folder::open(&path).unwrap();
        files.put("one", b"first").unwrap();
        files.put("one", b"second").unwrap();
        assert_eq!(files.get("one").unwrap(), b"second");
        assert_eq!(files.list().unwrap(), [("one".to_owned(), 6)]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("one")).unwrap().permissions().mode() & 0o777, 0o600);
        files.remove("one").unwrap();
        files.remove("one").unwrap();
        assert_eq!(files.get("one").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(files.free_bytes().unwrap() > 0);
    }

    #[test]
    fn the_files_of_a_picture_are_backed_up_and_put_back() {
        let (disk, other) = (Arc::new(FakeDisk::default()), FakeDisk::default());
        let pictures = open(&disk, 1_000);
        pictures.keep(id(1), AT, &encoded()).unwrap();
        for (name, bytes) in pictures.files_of(id(1)).unwrap() {
            put_back(&other, &name, &bytes).unwrap();
        }
        assert_eq!(*other.files.lock().unwrap(), *disk.files.lock().unwrap());
        assert_eq!(pictures.files_of(id(2)).unwrap(), []);
        let strange = put_back(&other, "../session.key", b"x").unwrap_err();
        assert_eq!(strange.kind(), io::ErrorKind::InvalidData);
        assert_eq!(other.list().unwrap().len(), 2);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for size in [PictureSize::Large, PictureSize::Small] {
            assert_eq!(parse_name(&name_of(AT, id(7), size)), Some((AT, id(7), size)));
        }
        for name in ["", "1.large", "1.0000000000000000.large.part", "x.0000000000000000.large", "1.x.small"]
        {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
