//! Snapshots of the state in an object store of JetStream: upload, list, download, delete.
//!
//! A snapshot is a file whose content is not looked at here. Its name is the place of the newest message that is part of
//! it, so the order of the names is that of the log. What else has to be known before it is downloaded is in its metadata.

pub mod maker;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::{
    self, ErrorCode,
    object_store::{self, InfoErrorKind, ObjectInfo, ObjectMetadata, ObjectStore},
    stream::{Info, StorageType},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use domain::{Epoch, Rules, Seq, Timestamp};
use engine::storage::{
    LogState, Predecessor, ReplicaState, Store, StoreError,
    export::{self, Contents, ExportError},
};
use futures_util::StreamExt;
use tokio::{
    fs,
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    bucket,
    connection::Connection,
    settings::{NatsSettings, Replicas},
    trouble::{self, Trouble},
};

/// The size of the parts in which a snapshot is stored, in bytes. Each is acknowledged before the next is sent.
const PART_BYTES: usize = 512 * 1024;
/// The time without any progress after which a transfer is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// The number of snapshots of one place that may be there: one digit, so that names sort.
const MAX_SAME_PLACE: u32 = 9;
/// The beginning of the names of the files with snapshots. The place follows. What an earlier process left is removed.
pub const FILE: &str = "qchat.snapshot.";
/// The keys of the metadata.
const FORMAT: &str = "format";
const EPOCH: &str = "epoch";
const SEQ: &str = "seq";
const RULES: &str = "rules";
const AT: &str = "at";
const FOLLOWS: &str = "follows";

/// What is known of a snapshot without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The version of its format.
    pub format: u8,
    /// The log that it is of.
    pub epoch: Epoch,
    /// The place of the newest message that is part of it.
    pub place: u64,
    /// The sequence number of the newest entry that is part of it.
    pub seq: Seq,
    /// The rules in force at that place.
    pub rules: u16,
    /// The time of the log at that place.
    pub at: Timestamp,
    /// The log that its log goes on from. `None` if it is the first one.
    pub follows: Option<Predecessor>,
}

impl About {
    /// Returns what is known of a snapshot of a view in this state, as this Qchat writes it.
    pub(crate) fn written(log: &LogState, replica: &ReplicaState) -> Self {
        Self {
            format: export::FORMAT,
            epoch: log.epoch,
            place: replica.place,
            seq: log.seq,
            rules: replica.settings.rules.0,
            at: replica.clock.last(),
            follows: replica.follows,
        }
    }
}

/// A snapshot in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What is known of it.
    pub about: About,
    /// Its size in bytes.
    pub bytes: u64,
    name: String,
    /// The part of the subject of its chunks that is its own.
    nuid: String,
}

/// A file could not be moved between this node and the object store.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// JetStream does not do it.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// What was read is not what was written.
    #[error("the snapshot {0} is damaged")]
    Damaged(String),
    /// The object store stopped in the midst of it.
    #[error("the transfer of the snapshot {name} stopped: {reason}")]
    Stopped {
        /// The name of the snapshot.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A snapshot could not be put in the place of a database.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// JetStream does not answer.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// There are snapshots, and none of them can be used. This is what is wrong with the oldest.
    #[error("the snapshot of place {place} could not be loaded: {reason}")]
    Unusable {
        /// Its place.
        place: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The database of this node cannot be written.
    #[error("the database of this node cannot be written: {0}")]
    Store(StoreError),
}

/// Why a snapshot cannot be put in the place of a database.
pub(crate) enum Unusable {
    /// JetStream does not answer.
    Trouble(Trouble),
    /// The snapshot itself, for this reason.
    For(String),
}

/// The snapshots in the object store. Clones share the connection.
#[derive(Clone)]
pub struct Snapshots {
    connection: Connection,
    bucket: String,
    wanted: String,
    replicas: Option<Replicas>,
}

impl About {
    /// Makes sure that a node that decides by these rules, the oldest and the newest, can go on from the snapshot.
    ///
    /// # Errors
    /// [`Trouble::NeedsRules`] if it cannot.
    pub fn check_rules(&self, known: (Rules, Rules)) -> Result<(), Trouble> {
        let rules = Rules(self.rules);
        let is_known = (known.0..=known.1).contains(&rules);
        if is_known { Ok(()) } else { Err(Trouble::NeedsRules { place: self.place, rules, known }) }
    }
}

impl Snapshots {
    /// The snapshots of the log that the settings name.
    pub fn new(connection: Connection, settings: &NatsSettings) -> Self {
        Self {
            connection,
            bucket: settings.name.snapshots(),
            wanted: settings.name.snapshot_wanted(),
            replicas: settings.replicas,
        }
    }

    /// Returns the subject on which a node asks for a new snapshot, if it has a hole that none of those there fills. The
    /// message is empty, and sent again every few seconds.
    pub fn wanted(&self) -> &str {
        &self.wanted
    }

    /// Asks for a new snapshot. It is not known whether anybody hears it.
    pub async fn ask(&self) {
        // It fails if the client has ended.
        let _ = self.connection.client().publish(self.wanted.clone(), Bytes::new()).await;
    }

    /// Uploads a file as a snapshot. Others see it when all of it is there. If there is a snapshot of that place already, this is
    /// another one beside it.
    ///
    /// # Errors
    /// [`TransferError`]. What was uploaded of it is an orphan then: see [`Snapshots::orphans`].
    pub async fn upload(&self, file: &Path, about: About) -> Result<Snapshot, TransferError> {
        let store = self.open_or_create().await?;
        let name = self.free_name(&store, about.place).await?;
        let of_file = |error| TransferError::File { path: file.to_owned(), error };
        let mut source = fs::File::open(file).await.map_err(of_file)?;
        source.set_max_buf_size(PART_BYTES);
        let size = source.metadata().await.map_err(of_file)?.len();
        let metadata = ObjectMetadata {
            name: name.clone(),
            chunk_size: Some(PART_BYTES),
            metadata: about.metadata(),
            ..ObjectMetadata::default()
        };
        let stopped = |reason: String| TransferError::Stopped { name: name.clone(), reason };
        let put = store.put(metadata, &mut source).await.map_err(|error| stopped(error.to_string()))?;
        let stored = store.info(&name).await.map_err(|error| stopped(error.to_string()))?;
        if stored.digest != put.digest || stored.size as u64 != size || put.size as u64 != size {
            return Err(TransferError::Damaged(name));
        }
        Snapshot::of(&stored).ok_or(TransferError::Damaged(name))
    }

    /// Returns all snapshots, the newest first. What is in the bucket and is no snapshot is left out.
    ///
    /// # Errors
    /// [`Trouble`] if the object store does not answer. That there is none is no error.
    pub async fn list(&self) -> Result<Vec<Snapshot>, Trouble> {
        let Some(store) = self.get().await? else { return Ok(Vec::new()) };
        let list = async {
            let mut objects = store.list().await.map_err(|_| self.connection.silence())?;
            let mut found = Vec::new();
            while let Some(object) = objects.next().await {
                let object = object.map_err(|_| self.connection.silence())?;
                found.extend(Snapshot::of(&object));
            }
            Ok(found)
        };
        // The list never ends if the last object in it is replaced meanwhile.
        let mut found = timeout(PATIENCE, list).await.unwrap_or_else(|_| Err(self.connection.silence()))?;
        found.sort_by(|one, other| other.name.cmp(&one.name));
        Ok(found)
    }

    /// Downloads a snapshot to a file, which is there only if all of it is right. A file of that name is replaced.
    ///
    /// # Errors
    /// [`TransferError::Damaged`] if it is not as it was uploaded, or else another [`TransferError`].
    pub async fn download(&self, snapshot: &Snapshot, file: &Path) -> Result<(), TransferError> {
        let part = file.with_extension("part");
        let done = self.fetch(snapshot, &part).await;
        let of_file = |error| TransferError::File { path: file.to_owned(), error };
        match done {
            Ok(()) => fs::rename(&part, file).await.map_err(of_file),
            Err(error) => {
                // It may not be there, and it is replaced by the next download.
                let _ = fs::remove_file(&part).await;
                Err(error)
            }
        }
    }

    /// Downloads a snapshot that can be put in the place of a database. The file is there only if it can be.
    pub(crate) async fn usable(&self, snapshot: &Snapshot, file: &Path) -> Result<Contents, Unusable> {
        if let Some(reason) = snapshot.about.too_new() {
            return Err(Unusable::For(reason));
        }
        match self.download(snapshot, file).await {
            Ok(()) => {}
            Err(TransferError::Trouble(trouble)) => return Err(Unusable::Trouble(trouble)),
            Err(error) => return Err(Unusable::For(error.to_string())),
        }
        let (about, path) = (snapshot.about, file.to_owned());
        let checked = spawn_blocking(move || check(&about, &path)).await;
        let checked = checked.unwrap_or_else(|error| Err(error.to_string()));
        if checked.is_err() {
            // It is only in the way, and has what users may remove later.
            let _ = fs::remove_file(file).await;
        }
        checked.map_err(Unusable::For)
    }

    async fn fetch(&self, snapshot: &Snapshot, part: &Path) -> Result<(), TransferError> {
        let name = &snapshot.name;
        let stopped = |reason: &str| TransferError::Stopped { name: name.clone(), reason: reason.to_owned() };
        let of_file = |error| TransferError::File { path: part.to_owned(), error };
        let store = self.get().await?.ok_or_else(|| stopped("it has been deleted"))?;
        let mut object = store.get(name).await.map_err(|error| stopped(&error.to_string()))?;
        let mut target = fs::File::create(part).await.map_err(of_file)?;
        let mut buffer = vec![0; PART_BYTES];
        let mut bytes: u64 = 0;
        loop {
            // Parts that are missing at the end never come.
            let read = timeout(PATIENCE, object.read(&mut buffer)).await;
            let count = match read.map_err(|_| stopped("nothing came any more"))? {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(TransferError::Damaged(name.clone()));
                }
                Err(error) => return Err(stopped(&error.to_string())),
            };
            bytes += count as u64;
            if bytes > snapshot.bytes {
                return Err(TransferError::Damaged(name.clone()));
            }
            target.write_all(buffer.get(..count).unwrap_or_default()).await.map_err(of_file)?;
        }
        if bytes != snapshot.bytes || object.info.digest.is_none() {
            return Err(TransferError::Damaged(name.clone()));
        }
        target.sync_all().await.map_err(of_file)
    }

    /// Replaces all that is in a database by the newest snapshot of a log that can be loaded, for a node that is new and
    /// decides by these rules, the oldest and the newest, before it opens the log. Returns what was loaded. `None` if there
    /// is no snapshot of that log. The file is put in `folder` meanwhile.
    ///
    /// # Errors
    /// [`LoadError`]. The database is as it was then.
    pub async fn load_newest(
        &self,
        epoch: Epoch,
        rules: (Rules, Rules),
        store: &Arc<Store>,
        folder: &Path,
    ) -> Result<Option<About>, LoadError> {
        self.load_first(|about| about.epoch == epoch, rules, store, folder).await
    }

    /// Does that with the first of the snapshots that are wanted, the newest first.
    ///
    /// # Errors
    /// [`LoadError`]. The database is as it was then.
    pub(crate) async fn load_first(
        &self,
        is_wanted: impl Fn(&About) -> bool,
        rules: (Rules, Rules),
        store: &Arc<Store>,
        folder: &Path,
    ) -> Result<Option<About>, LoadError> {
        let mut unusable = None;
        for snapshot in self.list().await?.into_iter().filter(|snapshot| is_wanted(&snapshot.about)) {
            let place = snapshot.about.place;
            if let Err(trouble) = snapshot.about.check_rules(rules) {
                unusable = Some(trouble.into());
                continue;
            }
            let file = folder.join(format!("{FILE}{place}"));
            let reason = match self.usable(&snapshot, &file).await {
                Ok(_) => match replace(store, file).await {
                    Ok(()) => return Ok(Some(snapshot.about)),
                    Err(ExportError::Store(error)) => return Err(LoadError::Store(error)),
                    Err(error) => error.to_string(),
                },
                Err(Unusable::Trouble(trouble)) => return Err(trouble.into()),
                Err(Unusable::For(reason)) => reason,
            };
            // The one before it may do: the stream reaches back to it.
            tracing::warn!(place, reason, "a snapshot could not be loaded");
            unusable = Some(LoadError::Unusable { place, reason });
        }
        unusable.map_or(Ok(None), Err)
    }

    /// Deletes a snapshot. It is no error if it is not there.
    ///
    /// # Errors
    /// [`Trouble`] if the object store does not do it.
    pub async fn delete(&self, snapshot: &Snapshot) -> Result<(), Trouble> {
        // The name first: a snapshot that is listed is whole. Deleting through the object store would leave a note for
        // each name that ever was, and names do not come again.
        let name = URL_SAFE.encode(&snapshot.name);
        self.purge(format!("$O.{}.M.{name}", self.bucket)).await?;
        self.delete_orphan(&snapshot.nuid).await
    }

    /// Returns the ids of what was uploaded and belongs to no snapshot: uploads that were broken off, and those that are
    /// under way.
    ///
    /// # Errors
    /// [`Trouble`] if the object store does not answer.
    pub async fn orphans(&self) -> Result<BTreeSet<String>, Trouble> {
        let Some(mut uploads) = self.uploads().await? else { return Ok(BTreeSet::new()) };
        for snapshot in self.list().await? {
            uploads.remove(&snapshot.nuid);
        }
        Ok(uploads)
    }

    /// Deletes what belongs to no snapshot, by an id that [`Snapshots::orphans`] has returned long enough ago that it is no
    /// upload under way.
    ///
    /// # Errors
    /// [`Trouble`] if the object store does not do it.
    pub async fn delete_orphan(&self, id: &str) -> Result<(), Trouble> {
        self.purge(format!("$O.{}.C.{id}", self.bucket)).await
    }

    async fn uploads(&self) -> Result<Option<BTreeSet<String>>, Trouble> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let prefix = format!("$O.{}.C.", self.bucket);
        let list = async {
            let stream = self.connection.api().get_stream_no_info(self.stream()).await.ok()?;
            let mut subjects = stream.info_with_subjects(format!("{prefix}>")).await.ok()?;
            let mut found = BTreeSet::new();
            while let Some(subject) = subjects.next().await {
                found.extend(subject.ok()?.0.strip_prefix(&prefix).map(str::to_owned));
            }
            Some(found)
        };
        let found = timeout(PATIENCE, list).await.ok().flatten();
        match found {
            Some(found) => Ok(Some(found)),
            None if self.get().await?.is_none() => Ok(None),
            None => Err(self.connection.silence()),
        }
    }

    async fn purge(&self, filter: String) -> Result<(), Trouble> {
        let subject = format!("STREAM.PURGE.{}", self.stream());
        let request = HashMap::from([("filter", filter)]);
        let answer = self.connection.ask::<serde::de::IgnoredAny>(self.connection.api(), subject, &request);
        match answer.await? {
            Ok(_) => Ok(()),
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(()),
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn stream(&self) -> String {
        format!("OBJ_{}", self.bucket)
    }

    fn replicas(&self) -> Replicas {
        self.connection.replicas(self.replicas)
    }

    fn explain(&self, error: &jetstream::Error) -> Trouble {
        self.connection.explain(trouble::of_jetstream(error, self.replicas().get()))
    }

    /// Returns the object store, after comparing its configuration with what is needed. `None` if there is none.
    async fn get(&self) -> Result<Option<ObjectStore>, Trouble> {
        let subject = format!("STREAM.INFO.{}", self.stream());
        match self.connection.ask::<Info>(self.connection.api(), subject, &()).await? {
            Ok(info) => bucket::verify(&info.config, self.replicas())?,
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(None),
            Err(error) => return Err(self.explain(&error)),
        }
        let store = self.connection.transfers().get_object_store(&self.bucket).await;
        store.map(Some).map_err(|_| self.connection.silence())
    }

    async fn open_or_create(&self) -> Result<ObjectStore, Trouble> {
        if let Some(store) = self.get().await? {
            return Ok(store);
        }
        let config = object_store::Config {
            bucket: self.bucket.clone(),
            description: Some("Snapshots of Qchat. Made and deleted by its nodes.".to_owned()),
            max_bytes: -1,
            storage: StorageType::File,
            num_replicas: self.replicas().get(),
            ..object_store::Config::default()
        };
        let Err(error) = self.connection.transfers().create_object_store(config).await else {
            // Another node may have made it with other settings at the same time.
            return self.get().await?.ok_or_else(|| self.connection.silence());
        };
        // It is unknown what the error means: another node may have been faster.
        self.get().await?.ok_or_else(|| Trouble::Refused(error.to_string()))
    }

    /// Returns a name for a new snapshot of a place, which is after those of all others of that place.
    async fn free_name(&self, store: &ObjectStore, place: u64) -> Result<String, TransferError> {
        let mut free = None;
        for number in (1..=MAX_SAME_PLACE).rev() {
            let name = name(place, number);
            match store.info(&name).await {
                Ok(_) => break,
                Err(error) if error.kind() == InfoErrorKind::NotFound => free = Some(name),
                Err(_) => return Err(self.connection.silence().into()),
            }
        }
        free.ok_or_else(|| {
            Trouble::Refused(format!("there are {MAX_SAME_PLACE} snapshots of place {place} already")).into()
        })
    }
}

/// Checks all that is in the file of a snapshot. Returns why it cannot be put in the place of a database.
fn check(about: &About, file: &Path) -> Result<Contents, String> {
    let contents = export::check(file).map_err(|error| error.to_string())?;
    let found = contents.replica.zip(contents.log).map(|(replica, log)| About {
        format: about.format,
        epoch: log.epoch,
        place: replica.place,
        seq: log.seq,
        rules: replica.settings.rules.0,
        at: replica.clock.last(),
        follows: replica.follows,
    });
    if found == Some(*about) {
        Ok(contents)
    } else {
        Err("it has something else than its name says".to_owned())
    }
}

/// Replaces all that is in a database by the content of a file, and removes the file.
async fn replace(store: &Arc<Store>, file: PathBuf) -> Result<(), ExportError> {
    let store = Arc::clone(store);
    let replaced = spawn_blocking(move || {
        let replaced = store.replace(&file).map(drop);
        // It is only in the way, and has what users may remove later.
        let _ = std::fs::remove_file(&file);
        replaced
    });
    replaced.await.unwrap_or_else(|error| Err(ExportError::Io(io::Error::other(error))))
}

/// Returns the name of the snapshot of a place that is the `number`th of it. Names sort as places and numbers do.
fn name(place: u64, number: u32) -> String {
    if number == 1 { format!("{place:020}") } else { format!("{place:020}-{number}") }
}

/// Returns the place that a name tells.
fn place(name: &str) -> Option<u64> {
    let digits = name.split_once('-').map_or(name, |(digits, _)| digits);
    digits.parse().ok().filter(|_| digits.len() == 20)
}

impl About {
    /// Returns why only a newer Qchat can read it. `None` if this one can.
    fn too_new(&self) -> Option<String> {
        let (format, known) = (self.format, export::FORMAT);
        (format > known)
            .then(|| format!("it has format {format}, and this Qchat reads up to {known}: upgrade this node"))
    }

    fn metadata(&self) -> HashMap<String, String> {
        let follows = self.follows.map(|Predecessor { epoch, place }| format!("{epoch}.{place}"));
        let mut metadata = HashMap::from([
            (FORMAT.to_owned(), self.format.to_string()),
            (EPOCH.to_owned(), self.epoch.to_string()),
            (SEQ.to_owned(), self.seq.0.to_string()),
            (RULES.to_owned(), self.rules.to_string()),
            (AT.to_owned(), self.at.0.to_string()),
        ]);
        metadata.extend(follows.map(|follows| (FOLLOWS.to_owned(), follows)));
        metadata
    }

    fn of(name: &str, metadata: &HashMap<String, String>) -> Option<Self> {
        let predecessor = |follows: &String| {
            let (epoch, place) = follows.split_once('.')?;
            Some(Predecessor { epoch: epoch.parse().ok()?, place: place.parse().ok()? })
        };
        Some(Self {
            format: metadata.get(FORMAT)?.parse().ok()?,
            epoch: metadata.get(EPOCH)?.parse().ok()?,
            place: place(name)?,
            seq: Seq(metadata.get(SEQ)?.parse().ok()?),
            rules: metadata.get(RULES)?.parse().ok()?,
            at: Timestamp(metadata.get(AT)?.parse().ok()?),
            follows: match metadata.get(FOLLOWS) {
                Some(follows) => Some(predecessor(follows)?),
                None => None,
            },
        })
    }
}

impl Snapshot {
    /// `None` if it is not a snapshot of Qchat.
    fn of(object: &ObjectInfo) -> Option<Self> {
        Some(Self {
            about: About::of(&object.name, &object.metadata)?,
            bytes: object.size as u64,
            name: object.name.clone(),
            nuid: object.nuid.clone(),
        })
    }

    /// Returns its name in the object store.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        let epoch = Epoch::from_bytes([7; 10]);
        About { format: 1, epoch, place: 42, seq: Seq(99), rules: 3, at: Timestamp(7), follows: None }
    }

    #[test]
    fn what_is_known_of_a_snapshot_is_read_back() {
        assert_eq!(About::of(&name(42, 1), &about().metadata()), Some(about()));
        assert_eq!(About::of(&name(42, 2), &about().metadata()), Some(about()));
        let follows = Some(Predecessor { epoch: Epoch::from_bytes([8; 10]), place: 41 });
        let about = About { follows, ..about() };
        assert_eq!(About::of(&name(42, 1), &about.metadata()), Some(about));
    }

    #[test]
    fn names_sort_as_places_do() {
        let names = [(9, 1), (9, 2), (10, 1), (u64::MAX, 1), (u64::MAX, 9)].map(|(place, n)| name(place, n));
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names.map(|name| place(&name)), [9, 9, 10, u64::MAX, u64::MAX].map(Some));
    }

    #[test]
    fn what_is_no_snapshot_is_told() {
        for name in ["", "42", "0000000000000000004x", "000000000000000000042", "notes.txt"] {
            assert_eq!(About::of(name, &about().metadata()), None, "{name}");
        }
        let mut metadata = about().metadata();
        metadata.insert(FOLLOWS.to_owned(), "x".to_owned());
        assert_eq!(About::of(&name(42, 1), &metadata), None);
        for key in [FORMAT, EPOCH, SEQ, RULES, AT] {
            let mut metadata = about().metadata();
            metadata.remove(key);
            assert_eq!(About::of(&name(42, 1), &metadata), None, "{key}");
            metadata.insert(key.to_owned(), "x".to_owned());
            assert_eq!(About::of(&name(42, 1), &metadata), None, "{key}");
        }
    }
}
