//! Pictures in a stream of JetStream, from which each node gets those of others.
//!
//! A picture has a few messages, each of a part of it, and each with a subject of its own: `{id}.{time of the upload}.{part}`
//! after that of the stream. So the subjects alone tell what is there and since when, all of a picture is purged at once and
//! leaves nothing, and storing one again changes nothing. The first part comes last: where it is, all of them are.

pub mod keeper;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::{
    self, ErrorCode,
    context::PublishErrorKind,
    stream::{
        Config, DirectGetErrorKind, DiscardPolicy, Info, LastRawMessageErrorKind, RetentionPolicy,
        StorageType, Stream,
    },
};
use bytes::Bytes;
use domain::{PictureId, Timestamp};
use engine::{
    command_log::transport::NotPublished,
    pictures::{Bucket, NotShared, SharedPicture},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::timeout;

use crate::{
    bucket,
    connection::Connection,
    settings::{NatsSettings, Replicas},
    trouble::{self, Foreign, Trouble, not_published},
};

/// The size of the parts of a picture, in bytes.
const PART_BYTES: usize = 512 * 1024;
/// The maximum number of parts of a picture. What is encoded has two MiB at most.
const MAX_PARTS: usize = 16;
/// The version of the form of a picture, its first byte.
const VERSION: u8 = 1;
/// How long all subjects may take to be listed.
const PATIENCE: Duration = Duration::from_secs(15);
/// The size in bytes that the pictures may reach if the servers have no room for what was asked for.
const LESS_BYTES: i64 = 256 << 20;

/// The pictures in a stream of JetStream. Clones share the connection.
#[derive(Clone)]
pub struct PictureBucket {
    connection: Connection,
    stream: String,
    /// The beginning of all subjects.
    prefix: String,
    replicas: Option<Replicas>,
    max_bytes: i64,
}

/// What is known of a picture without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When it was uploaded, by the time of the log.
    pub uploaded_at: Timestamp,
    /// The parts that are there.
    parts: BTreeSet<usize>,
}

impl Listed {
    /// Returns whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.parts.contains(&0)
    }
}

impl PictureBucket {
    /// The pictures of the cluster that the settings name, which may have a number of bytes in all.
    pub fn new(connection: Connection, settings: &NatsSettings, max_bytes: u64) -> Self {
        Self {
            connection,
            stream: settings.name.pictures(),
            prefix: settings.name.picture_subject(),
            replicas: settings.replicas,
            max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
        }
    }

    /// Returns the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns all pictures that are there, also those of which parts are missing.
    ///
    /// # Errors
    /// [`Trouble`] if JetStream does not answer. That there is no stream is no error.
    pub async fn list(&self) -> Result<BTreeMap<PictureId, Listed>, Trouble> {
        self.list_by(">").await
    }

    /// Removes a picture with all that was stored of it. It is no error if it is not there.
    ///
    /// # Errors
    /// [`Trouble`] if JetStream does not do it.
    pub async fn remove(&self, id: PictureId) -> Result<(), Trouble> {
        let subject = format!("STREAM.PURGE.{}", self.stream);
        let request = HashMap::from([("filter", format!("{}.{id}.>", self.prefix))]);
        let answer = self.connection.ask::<serde::de::IgnoredAny>(self.connection.api(), subject, &request);
        match answer.await? {
            Ok(_) => Ok(()),
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(()),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Stores a picture. Nothing changes if it is there already.
    ///
    /// # Errors
    /// [`Trouble`] if it is not known to be there as a whole. Parts of it may be.
    pub async fn store(&self, id: PictureId, picture: &SharedPicture) -> Result<(), Trouble> {
        self.open_or_create().await?;
        let content = encode(picture);
        let parts = content.len().div_ceil(PART_BYTES);
        if parts > MAX_PARTS {
            return Err(Trouble::Refused(format!("the picture {id} has {} bytes", content.len())));
        }
        // The first one last: then all of it is there.
        for part in (0..parts).rev() {
            let from = part * PART_BYTES;
            let payload = content.slice(from..content.len().min(from + PART_BYTES));
            let subject = format!("{}.{id}.{}.{part}", self.prefix, picture.uploaded_at.0);
            let sent = self.connection.transfers().publish(subject, payload).await;
            let acknowledged = match sent {
                Ok(acknowledgement) => acknowledgement.await,
                Err(error) => Err(error),
            };
            acknowledged.map_err(|error| match (error.kind(), not_published(&error)) {
                (_, NotPublished::Full) => Trouble::NoRoom(format!("the stream {} is full", self.stream)),
                (PublishErrorKind::Other, NotPublished::Refused(reason)) => Trouble::Refused(reason),
                _ => self.connection.silence(),
            })?;
        }
        Ok(())
    }

    /// Returns a picture. `None` if it is not there as a whole.
    ///
    /// # Errors
    /// [`Trouble`] if JetStream does not answer, or what is there is no picture.
    pub async fn load(&self, id: PictureId) -> Result<Option<SharedPicture>, Trouble> {
        let listed = self.list_by(&format!("{id}.>")).await?.remove(&id);
        let Some(Listed { uploaded_at, parts }) = listed.filter(Listed::is_whole) else { return Ok(None) };
        let stream = self.handle().await?;
        let mut content = Vec::new();
        for part in parts {
            let subject = format!("{}.{id}.{}.{part}", self.prefix, uploaded_at.0);
            let Some(payload) = self.part(&stream, &subject).await? else { return Ok(None) };
            content.extend_from_slice(&payload);
        }
        let damaged = || Trouble::Refused(format!("the picture {id} in it is damaged"));
        decode(uploaded_at, &content).map(Some).ok_or_else(damaged)
    }

    /// Returns a part of a picture. `None` if it has just been removed.
    async fn part(&self, stream: &Stream<()>, subject: &str) -> Result<Option<Bytes>, Trouble> {
        match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => return Ok(Some(message.payload)),
            // It was another server than the leader, and may be behind.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
            Err(_) => return Err(self.connection.silence()),
        }
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error) => Err(self.explain(&error)),
                _ => Err(self.connection.silence()),
            },
        }
    }

    /// Returns the pictures whose subjects, after the beginning of all of them, match a filter.
    async fn list_by(&self, filter: &str) -> Result<BTreeMap<PictureId, Listed>, Trouble> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let list = async {
            let stream = self.connection.api().get_stream_no_info(&self.stream).await.ok()?;
            let mut subjects = stream.info_with_subjects(format!("{}.{filter}", self.prefix)).await.ok()?;
            let mut found: BTreeMap<PictureId, Listed> = BTreeMap::new();
            while let Some(subject) = subjects.next().await {
                // What is called otherwise is none of ours.
                if let Some((id, uploaded_at, part)) = self.parse(&subject.ok()?.0) {
                    let listed =
                        found.entry(id).or_insert_with(|| Listed { uploaded_at, parts: BTreeSet::new() });
                    // There are no two of one id. If there were, the older one would count.
                    if listed.uploaded_at == uploaded_at {
                        listed.parts.insert(part);
                    }
                }
            }
            Some(found)
        };
        let found = timeout(PATIENCE, list).await.ok().flatten();
        match found {
            Some(found) => Ok(found),
            None if !self.is_there().await? => Ok(BTreeMap::new()),
            None => Err(self.connection.silence()),
        }
    }

    fn parse(&self, subject: &str) -> Option<(PictureId, Timestamp, usize)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        let (id, rest) = rest.split_once('.')?;
        let (uploaded_at, part) = rest.split_once('.')?;
        let part = part.parse().ok().filter(|part| *part < MAX_PARTS)?;
        Some((id.parse().ok()?, Timestamp(uploaded_at.parse().ok()?), part))
    }

    fn replicas(&self) -> Replicas {
        self.connection.replicas(self.replicas)
    }

    fn explain(&self, error: &jetstream::Error) -> Trouble {
        self.connection.explain(trouble::of_jetstream(error, self.replicas().get()))
    }

    async fn handle(&self) -> Result<Stream<()>, Trouble> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let stream = self.connection.api().get_stream_no_info(&self.stream).await;
        stream.map_err(|error| Trouble::Refused(error.to_string()))
    }

    /// Returns whether there is a stream, after comparing its configuration with what is needed.
    async fn is_there(&self) -> Result<bool, Trouble> {
        let subject = format!("STREAM.INFO.{}", self.stream);
        match self.connection.ask::<Info>(self.connection.api(), subject, &()).await? {
            Ok(info) => {
                self.verify(&info.config)?;
                Ok(true)
            }
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(false),
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn verify(&self, config: &Config) -> Result<(), Foreign> {
        bucket::verify(config, self.replicas())?;
        let wanted = self.subjects();
        if config.subjects != wanted {
            return Err(Foreign {
                stream: self.stream.clone(),
                field: "its subject",
                is: config.subjects.join(", "),
                wanted: wanted.join(", "),
            });
        }
        Ok(())
    }

    fn subjects(&self) -> Vec<String> {
        vec![format!("{}.>", self.prefix)]
    }

    /// Makes sure that there is a stream.
    async fn open_or_create(&self) -> Result<(), Trouble> {
        if self.is_there().await? {
            return Ok(());
        }
        let mut created = Err(Trouble::NoAnswer);
        // Each server reserves what it may reach.
        for max_bytes in [self.max_bytes, self.max_bytes.min(LESS_BYTES)] {
            created = self.create(max_bytes).await;
            if !matches!(created, Err(Trouble::NoRoom(_))) {
                break;
            }
        }
        created
    }

    async fn create(&self, max_bytes: i64) -> Result<(), Trouble> {
        let config = Config {
            name: self.stream.clone(),
            description: Some("The pictures of Qchat. Made and purged by its nodes.".to_owned()),
            subjects: self.subjects(),
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.replicas().get(),
            // What is there is needed, so what is new is refused.
            discard: DiscardPolicy::New,
            max_bytes,
            max_messages: -1,
            max_messages_per_subject: 1,
            max_consumers: -1,
            allow_direct: true,
            ..Config::default()
        };
        let subject = format!("STREAM.CREATE.{}", self.stream);
        match self.connection.ask::<Info>(self.connection.api(), subject, &config).await? {
            Ok(info) => Ok(self.verify(&info.config)?),
            Err(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                // Another node was faster, with other settings.
                if self.is_there().await? { Ok(()) } else { Err(Trouble::NoAnswer) }
            }
            Err(error) if error.error_code() == ErrorCode::STREAM_SUBJECT_OVERLAP => {
                Err(Trouble::SubjectTaken { subject: format!("{}.>", self.prefix) })
            }
            Err(error) => Err(self.explain(&error)),
        }
    }
}

impl Bucket for PictureBucket {
    fn is_up(&self) -> bool {
        self.connection.trouble().is_none()
    }

    fn put(&self, id: PictureId, picture: Arc<SharedPicture>) -> BoxFuture<'_, Result<(), NotShared>> {
        async move { self.store(id, &picture).await.map_err(not_shared) }.boxed()
    }

    fn get(&self, id: PictureId) -> BoxFuture<'_, Result<Option<SharedPicture>, NotShared>> {
        self.load(id).map(|loaded| loaded.map_err(not_shared)).boxed()
    }
}

fn not_shared(trouble: Trouble) -> NotShared {
    match trouble {
        Trouble::NoRoom(reason) => NotShared::NoRoom(reason),
        trouble => NotShared::Trouble(trouble.to_string()),
    }
}

/// Returns a picture as it is stored: a version, the size of the large file, and both files.
fn encode(SharedPicture { large, small, .. }: &SharedPicture) -> Bytes {
    let size = u32::try_from(large.len()).unwrap_or(u32::MAX).to_le_bytes();
    let all = u32::try_from(large.len().saturating_add(small.len())).unwrap_or(u32::MAX).to_le_bytes();
    [&[VERSION][..], &size, &all, large, small].concat().into()
}

/// Returns the picture that was stored. `None` if it is none, or something of it is missing.
fn decode(uploaded_at: Timestamp, content: &[u8]) -> Option<SharedPicture> {
    let (version, rest) = content.split_first()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (all, files) = rest.split_first_chunk()?;
    let [size, all] =
        [size, all].map(|size: &[u8; 4]| usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX));
    let (large, small) = files.split_at_checked(size)?;
    let is_whole = *version == VERSION && files.len() == all;
    is_whole.then(|| SharedPicture { uploaded_at, large: large.to_vec(), small: small.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_as_it_was_stored_and_a_part_of_it_is_none() {
        let at = Timestamp(7);
        let picture = SharedPicture { uploaded_at: at, large: vec![1; 700], small: vec![2; 30] };
        let content = encode(&picture);
        assert_eq!(decode(at, &content), Some(picture));
        for end in 0..content.len() {
            assert_eq!(decode(at, &content[..end]), None, "{end}");
        }
        let newer = [&[VERSION + 1], &content[1..]].concat();
        assert_eq!(decode(at, &newer), None);
    }
}
