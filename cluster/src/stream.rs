//! The stream of the log: how it is made, how it is recognised, and how a log is founded in it.

use std::{collections::HashMap, fmt::Display, time::Duration};

use async_nats::jetstream::{
    self, Context, ErrorCode,
    context::PublishErrorKind,
    message::PublishMessage,
    stream::{
        Config, DiscardPolicy, Info, PersistenceMode, PurgeErrorKind, RawMessageErrorKind, RetentionPolicy,
        StorageType, Stream,
    },
};
use bytes::Bytes;
use domain::Epoch;
use engine::command_log::transport::{MessageId, NotPublished};

use crate::{
    connection::{Connection, NEEDED_PAYLOAD, ask_again_and_again},
    settings::{NatsSettings, Replicas},
    trouble::{self, Foreign, Trouble, not_published},
};

/// How long the servers remember the ids of messages. It saves the log a second copy, and nothing depends on it.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// What a node sends on the subject on which snapshots are asked for, if the stream is full.
pub(crate) const ROOM_WANTED: &[u8] = b"room";
/// The key and the value of the metadata by which the stream is recognised.
const KIND: (&str, &str) = ("qchat", "log");
/// The key and the value of the metadata that say how its messages are read.
const FORMAT: (&str, &str) = ("qchat.format", "1");
/// The sizes in bytes that the log may reach if none is asked for: the first that the servers have room for.
const MAX_BYTES: [i64; 3] = [4 << 30, 1 << 30, 256 << 20];
/// The key of the metadata that has the epoch of a log that goes on from another one.
const EPOCH: &str = "qchat.epoch";

/// The stream of the log. Clones share the connection.
#[derive(Clone)]
pub struct LogStream {
    connection: Connection,
    wanted: Wanted,
}

/// What the stream has to be.
#[derive(Debug, Clone)]
struct Wanted {
    stream: String,
    subject: String,
    /// The subject on which snapshots are asked for.
    snapshot: String,
    /// `None` for what fits the servers.
    replicas: Option<Replicas>,
    /// `None` for what fits the servers.
    max_bytes: Option<i64>,
}

/// What is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// The epoch of the log that the stream was made for, which goes on from another one: what is in the stream of the
    /// epoch of that one does not count. `None` if the messages tell which log it is.
    pub epoch: Option<Epoch>,
    /// The place of its very first message, whether it has come or not, and whether it is still there or not.
    pub begins: u64,
    /// The place of the oldest message that is there. One after `last` if there is none.
    pub first: u64,
    /// The place of the newest message that has come. `begins - 1` if none has.
    pub last: u64,
    /// The size of the messages, in bytes.
    pub bytes: u64,
    /// The size that they may reach, in bytes. `None` if there is no limit.
    pub max_bytes: Option<u64>,
}

impl StreamState {
    /// Tells whether nothing was ever published, so that a log can be founded in it.
    pub fn is_unfounded(&self) -> bool {
        self.epoch.is_none() && self.last < self.begins
    }

    fn of(info: &Info) -> Self {
        let begins = info.config.first_sequence.unwrap_or(1).max(1);
        let state = &info.state;
        let last = state.last_sequence.max(begins - 1);
        let first = if state.messages == 0 { last + 1 } else { state.first_sequence };
        let max_bytes = u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0);
        let epoch = info.config.metadata.get(EPOCH).and_then(|epoch| epoch.parse().ok());
        Self { epoch, begins, first, last, bytes: state.bytes, max_bytes }
    }
}

/// Who founded a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founded {
    /// The first message is the one that was given.
    Here,
    /// Another node was first. What it wrote holds.
    Elsewhere,
}

impl LogStream {
    /// The stream that the settings name.
    pub fn new(connection: Connection, settings: &NatsSettings) -> Self {
        let wanted = Wanted {
            stream: settings.name.stream(),
            subject: settings.name.subject(),
            snapshot: settings.name.snapshot_wanted(),
            replicas: settings.replicas,
            max_bytes: settings.max_log_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        };
        Self { connection, wanted }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.wanted.stream
    }

    /// Asks whoever makes snapshots to make room in the stream. Nobody may hear it, so it has to be asked again.
    pub(crate) async fn ask_for_room(&self) {
        let room = Bytes::from_static(ROOM_WANTED);
        // It only fails if the client has ended.
        let _ = self.connection.client().publish(self.wanted.snapshot.clone(), room).await;
    }

    /// Returns the subject of its messages.
    pub fn subject(&self) -> &str {
        &self.wanted.subject
    }

    /// Returns the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns what is in the stream, after comparing its configuration with what is needed. `None` if there is no stream of
    /// that name.
    ///
    /// # Errors
    /// [`Trouble::Foreign`] if it is not one of Qchat or was changed, [`Trouble::NoLeader`] if it has no leader, or what else
    /// keeps JetStream from answering.
    pub async fn look(&self) -> Result<Option<StreamState>, Trouble> {
        self.look_by(self.connection.api()).await
    }

    /// As [`LogStream::look`], with another time for the answer, which is asked for again and again meanwhile.
    pub(crate) async fn look_within(&self, timeout: Duration) -> Result<Option<StreamState>, Trouble> {
        let api = self.connection.api_within(timeout);
        ask_again_and_again(|| self.look_by(&api)).await
    }

    async fn look_by(&self, api: &Context) -> Result<Option<StreamState>, Trouble> {
        let subject = format!("STREAM.INFO.{}", self.wanted.stream);
        match self.connection.ask::<Info>(api, subject, &()).await? {
            Ok(info) => {
                self.wanted.verify(&info.config, self.replicas())?;
                // A server that is cut off from the others goes on saying what it saw last.
                if has_leader(&info) { Ok(Some(StreamState::of(&info))) } else { Err(Trouble::NoLeader) }
            }
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Returns what is in the stream. It is created if there is none: of several nodes that do so at once one succeeds,
    /// and the others find it.
    ///
    /// # Errors
    /// As [`LogStream::look`], or [`Trouble::TooFewServers`] or [`Trouble::NoRoom`].
    pub async fn open(&self) -> Result<StreamState, Trouble> {
        if let Some(state) = self.look().await? {
            return Ok(state);
        }
        self.create(1).await
    }

    /// Creates the stream of a log that goes on from another one, whose newest place is the one before `begins`. It is
    /// founded by that.
    ///
    /// # Errors
    /// As [`LogStream::open`], or [`Trouble::OtherLog`] if another node has made a stream meanwhile.
    pub async fn create_successor(&self, begins: u64, epoch: Epoch) -> Result<(), Trouble> {
        let config = |replicas, max_bytes| {
            let mut config = self.wanted.config(begins, replicas, max_bytes);
            config.metadata.insert(EPOCH.to_owned(), epoch.to_string());
            config
        };
        let state = self.create_by(config).await?;
        let is_made = (state.epoch, state.begins) == (Some(epoch), begins);
        if is_made { Ok(()) } else { Err(Trouble::OtherLog { stream: self.name().to_owned() }) }
    }

    /// Deletes the stream. It is no error if there is none.
    ///
    /// # Errors
    /// What keeps JetStream from doing so.
    pub async fn delete(&self) -> Result<(), Trouble> {
        let subject = format!("STREAM.DELETE.{}", self.wanted.stream);
        let nothing = HashMap::<&str, &str>::new();
        match self.connection.ask::<serde::de::IgnoredAny>(self.connection.api(), subject, &nothing).await? {
            Ok(_) => Ok(()),
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(()),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Creates the stream, so that its first message will have the place `begins`. If there is one, returns what is in it.
    ///
    /// # Errors
    /// As [`LogStream::open`].
    pub async fn create(&self, begins: u64) -> Result<StreamState, Trouble> {
        self.create_by(|replicas, max_bytes| self.wanted.config(begins, replicas, max_bytes)).await
    }

    async fn create_by(&self, config: impl Fn(Replicas, i64) -> Config) -> Result<StreamState, Trouble> {
        let sizes = self.wanted.max_bytes.map_or_else(|| MAX_BYTES.to_vec(), |size| vec![size]);
        let mut created = Err(Trouble::NoAnswer);
        for max_bytes in sizes {
            created = self.try_create(config(self.replicas(), max_bytes)).await;
            match &created {
                Err(Trouble::NoRoom(_)) => {}
                _ => break,
            }
        }
        created
    }

    async fn try_create(&self, config: Config) -> Result<StreamState, Trouble> {
        let subject = format!("STREAM.CREATE.{}", self.wanted.stream);
        match self.connection.ask::<Info>(self.connection.api(), subject, &config).await? {
            Ok(info) => {
                self.wanted.verify(&info.config, self.replicas())?;
                Ok(StreamState::of(&info))
            }
            Err(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                // Another node was faster, with other settings, or another program was.
                self.look().await?.ok_or(Trouble::NoAnswer)
            }
            Err(error) if error.error_code() == ErrorCode::STREAM_SUBJECT_OVERLAP => {
                Err(Trouble::SubjectTaken { subject: self.wanted.subject.clone() })
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Founds a log in a stream that has none, by its first message. Of several nodes that do so at once one succeeds. It may be
    /// called again after an error, with the same message.
    ///
    /// # Errors
    /// What keeps the message from being acknowledged. Then it is unknown whether it is in the stream.
    pub async fn found(
        &self,
        state: &StreamState,
        id: MessageId,
        payload: Bytes,
    ) -> Result<Founded, Trouble> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let message = PublishMessage::build()
            .payload(payload.clone())
            .message_id(id.to_string())
            .expected_stream(&self.wanted.stream)
            .expected_last_sequence(state.begins - 1);
        let sent = self.connection.publishing().send_publish(self.wanted.subject.clone(), message).await;
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(_) => Ok(Founded::Here),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                // It may be an earlier attempt whose acknowledgement was lost.
                match self.message(state.begins).await? {
                    Some(first) if first == payload => Ok(Founded::Here),
                    _ => Ok(Founded::Elsewhere),
                }
            }
            Err(error) => Err(match not_published(&error) {
                NotPublished::Full => Trouble::NoRoom(error.to_string()),
                NotPublished::Refused(reason) => Trouble::Refused(reason),
                NotPublished::NoAnswer
                | NotPublished::NoStream
                | NotPublished::NotRead
                | NotPublished::TooLarge => self.connection.silence(),
            }),
        }
    }

    /// Returns the message at a place, as the leader of the stream has it. `None` if there is none.
    ///
    /// # Errors
    /// What keeps JetStream from answering.
    pub async fn message(&self, place: u64) -> Result<Option<Bytes>, Trouble> {
        let stream = self.handle().await?;
        let error = match stream.get_raw_message(place).await {
            Ok(message) => return Ok(Some(message.payload)),
            Err(error) => error,
        };
        match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            RawMessageErrorKind::JetStream(error) if error.code() == 404 => Ok(None),
            RawMessageErrorKind::JetStream(error) => Err(self.explain(&error)),
            RawMessageErrorKind::InvalidSubject | RawMessageErrorKind::Other => {
                Err(self.connection.silence())
            }
        }
    }

    /// Deletes all messages before a place.
    ///
    /// # Errors
    /// What keeps JetStream from doing so.
    pub async fn purge_before(&self, place: u64) -> Result<(), Trouble> {
        let Err(error) = self.handle().await?.purge().sequence(place).await else { return Ok(()) };
        match error.kind() {
            PurgeErrorKind::JetStream(error) => Err(self.explain(&error)),
            PurgeErrorKind::TimedOut | PurgeErrorKind::Request => Err(self.connection.silence()),
        }
    }

    /// Returns what is needed to ask for something, without asking whether there is such a stream.
    async fn handle(&self) -> Result<Stream<()>, Trouble> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let stream = self.connection.api().get_stream_no_info(&self.wanted.stream).await;
        stream.map_err(|error| Trouble::Refused(error.to_string()))
    }

    fn replicas(&self) -> Replicas {
        self.connection.replicas(self.wanted.replicas)
    }

    /// Returns what an error of JetStream means.
    pub(crate) fn explain(&self, error: &jetstream::Error) -> Trouble {
        self.connection.explain(trouble::of_jetstream(error, self.replicas().get()))
    }
}

/// Tells whether a stream has a server that leads it. One that is kept once has no other than the one that answers.
fn has_leader(info: &Info) -> bool {
    let led = || info.cluster.as_ref().and_then(|cluster| cluster.leader.as_ref());
    info.config.num_replicas <= 1 || led().is_some_and(|leader| !leader.is_empty())
}

impl Wanted {
    /// The configuration of a new stream.
    fn config(&self, begins: u64, replicas: Replicas, max_bytes: i64) -> Config {
        Config {
            name: self.stream.clone(),
            description: Some("The log of Qchat. Made and purged by its nodes.".to_owned()),
            subjects: vec![self.subject.clone()],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: replicas.get(),
            // A full log refuses new messages. With the old ones deleted, nodes that have not read them could not go on.
            discard: DiscardPolicy::New,
            max_bytes,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            // Then a gap between two places always means that messages were purged or lost.
            deny_delete: true,
            first_sequence: (begins > 1).then_some(begins),
            metadata: HashMap::from([KIND, FORMAT].map(|(key, value)| (key.to_owned(), value.to_owned()))),
            ..Config::default()
        }
    }

    /// Compares the configuration of a stream with what is needed. Names what is wrong first.
    fn verify(&self, config: &Config, replicas: Replicas) -> Result<(), Foreign> {
        let of = |key: &str| config.metadata.get(key).map_or("missing", String::as_str);
        let need = |is_right: bool, field, is: &dyn Display, wanted: &dyn Display| {
            let foreign = || Foreign {
                stream: self.stream.clone(),
                field,
                is: is.to_string(),
                wanted: wanted.to_string(),
            };
            if is_right { Ok(()) } else { Err(foreign()) }
        };
        let off = |is_off: bool, field| need(is_off, field, &"set", &"unset");
        let unlimited = |limit: i64, field| need(limit <= 0, field, &limit, &"unlimited");
        need(of(KIND.0) == KIND.1, "its metadata `qchat`", &of(KIND.0), &KIND.1)?;
        need(of(FORMAT.0) == FORMAT.1, "its metadata `qchat.format`", &of(FORMAT.0), &FORMAT.1)?;
        need(
            config.subjects == [self.subject.as_str()],
            "its subject",
            &config.subjects.join(", "),
            &self.subject,
        )?;
        need(
            config.retention == RetentionPolicy::Limits,
            "its retention",
            &format!("{:?}", config.retention),
            &"Limits",
        )?;
        need(config.storage == StorageType::File, "its storage", &format!("{:?}", config.storage), &"File")?;
        need(
            config.discard == DiscardPolicy::New,
            "its discard policy",
            &format!("{:?}", config.discard),
            &"New",
        )?;
        need(
            config.num_replicas >= replicas.get(),
            "the number of its replicas",
            &config.num_replicas,
            &format!("{replicas} or more (or --nats-replicas {})", config.num_replicas),
        )?;
        need(
            config.max_age.is_zero(),
            "the age that messages may reach",
            &format!("{} s", config.max_age.as_secs()),
            &"unlimited",
        )?;
        unlimited(config.max_messages, "the number of messages")?;
        unlimited(config.max_messages_per_subject, "the number of messages of a subject")?;
        unlimited(config.max_consumers.into(), "the number of consumers")?;
        let takes = usize::try_from(config.max_message_size).unwrap_or_default();
        need(
            takes == 0 || takes >= NEEDED_PAYLOAD,
            "the size of a message",
            &takes,
            &format!("{NEEDED_PAYLOAD} or more"),
        )?;
        need(config.deny_delete, "the deletion of single messages", &"allowed", &"denied")?;
        need(!config.deny_purge, "purging", &"denied", &"allowed")?;
        off(!config.allow_rollup, "rolling up")?;
        off(!config.sealed, "its seal")?;
        off(!config.no_ack, "working without acknowledgements")?;
        off(config.mirror.is_none(), "a mirror")?;
        off(config.sources.as_ref().is_none_or(Vec::is_empty), "a source")?;
        off(config.republish.is_none(), "republishing")?;
        off(config.subject_transform.is_none(), "a subject transform")?;
        off(!matches!(config.persist_mode, Some(PersistenceMode::Async)), "asynchronous persistence")
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::{Republish, Source, SubjectTransform};

    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            stream: "qchat_log".to_owned(),
            subject: "qchat.log".to_owned(),
            snapshot: "qchat.snapshot.wanted".to_owned(),
            replicas: None,
            max_bytes: None,
        }
    }

    fn config(begins: u64) -> Config {
        wanted().config(begins, Replicas::THREE, 1 << 30)
    }

    #[test]
    fn a_stream_as_it_was_made_is_accepted() {
        for begins in [1, 1_000] {
            assert_eq!(wanted().verify(&config(begins), Replicas::THREE), Ok(()));
        }
        // As a server returns it, and with what does no harm.
        let mut config = config(1);
        config.max_messages = 0;
        config.num_replicas = 5;
        config.max_bytes = -1;
        config.sources = Some(Vec::new());
        config.persist_mode = Some(PersistenceMode::Default);
        config.metadata.insert("_nats.req.level".to_owned(), "0".to_owned());
        assert_eq!(wanted().verify(&config, Replicas::THREE), Ok(()));
    }

    #[test]
    fn what_is_wrong_with_a_stream_is_named() {
        type Break = fn(&mut Config);
        let broken: [(Break, &str); 21] = [
            (|config| config.metadata.clear(), "its metadata `qchat` is missing, and has to be log"),
            (
                |config| drop(config.metadata.insert("qchat.format".to_owned(), "2".to_owned())),
                "its metadata `qchat.format` is 2, and has to be 1",
            ),
            (
                |config| config.subjects.push("other".to_owned()),
                "its subject is qchat.log, other, and has to be qchat.log",
            ),
            (
                |config| config.retention = RetentionPolicy::WorkQueue,
                "its retention is WorkQueue, and has to be Limits",
            ),
            (|config| config.storage = StorageType::Memory, "its storage is Memory, and has to be File"),
            (|config| config.discard = DiscardPolicy::Old, "its discard policy is Old, and has to be New"),
            (
                |config| config.num_replicas = 1,
                "the number of its replicas is 1, and has to be 3 or more (or --nats-replicas 1)",
            ),
            (
                |config| config.max_age = Duration::from_secs(60),
                "the age that messages may reach is 60 s, and has to be unlimited",
            ),
            (|config| config.max_messages = 9, "the number of messages is 9, and has to be unlimited"),
            (
                |config| config.max_messages_per_subject = 9,
                "the number of messages of a subject is 9, and has to be unlimited",
            ),
            (|config| config.max_consumers = 9, "the number of consumers is 9, and has to be unlimited"),
            (
                |config| config.max_message_size = 100,
                "the size of a message is 100, and has to be 524288 or more",
            ),
            (
                |config| config.deny_delete = false,
                "the deletion of single messages is allowed, and has to be denied",
            ),
            (|config| config.deny_purge = true, "purging is denied, and has to be allowed"),
            (|config| config.allow_rollup = true, "rolling up is set, and has to be unset"),
            (|config| config.sealed = true, "its seal is set, and has to be unset"),
            (|config| config.no_ack = true, "working without acknowledgements is set, and has to be unset"),
            (|config| config.mirror = Some(Source::default()), "a mirror is set, and has to be unset"),
            (|config| config.sources = Some(vec![Source::default()]), "a source is set, and has to be unset"),
            (
                |config| {
                    config.republish = Some(Republish {
                        source: "a".to_owned(),
                        destination: "b".to_owned(),
                        headers_only: false,
                    });
                    config.subject_transform =
                        Some(SubjectTransform { source: "a".to_owned(), destination: "b".to_owned() });
                },
                "republishing is set, and has to be unset",
            ),
            (
                |config| config.persist_mode = Some(PersistenceMode::Async),
                "asynchronous persistence is set, and has to be unset",
            ),
        ];
        for (break_it, complaint) in broken {
            let mut config = config(1);
            break_it(&mut config);
            let said = wanted().verify(&config, Replicas::THREE).unwrap_err().to_string();
            assert_eq!(said, format!("the stream qchat_log is not as Qchat made it: {complaint}"));
        }
    }
}
