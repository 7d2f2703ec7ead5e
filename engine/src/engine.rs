//! The engine: the one entry point for every transport. WebSockets and forms both call it, with a user whose session
//! was verified and a command whose texts were validated.

mod commands;
mod connections;
mod correcting;
mod pages;
mod pictures;
mod places;
mod prepare;
mod search;

use std::sync::Arc;

use domain::{Chat, ChatId, Epoch, Invite, Lifetimes, Problem, Seq, Timestamp, User, UserId};
use prometheus_client::registry::Registry;

use crate::{
    clock::Clock,
    command_log::Sequencer,
    fanout::Fanout,
    limits::Limits,
    lobby::{Lobby, OriginKey},
    metrics::LogMetrics,
    pictures::Pictures,
    presence::Presence,
    progress::Progress,
    search::SearchQueue,
    storage::{Snapshot, Store, StoreError},
};

pub use commands::Proposed;
pub use pages::{ChatView, Focus, HistoryPart};

/// What an [`Engine`] is made of.
pub struct EngineParts {
    /// The database.
    pub store: Arc<Store>,
    /// The end of the log that takes proposals.
    pub sequencer: Arc<dyn Sequencer>,
    /// The replay buffers of watched chats.
    pub fanout: Arc<Fanout>,
    /// The users who are online.
    pub presence: Arc<Presence>,
    /// The public chats.
    pub lobby: Arc<Lobby>,
    /// The files of pictures.
    pub pictures: Arc<Pictures>,
    /// The rate limits and quotas.
    pub limits: Arc<Limits>,
    /// How far the log was applied.
    pub progress: Arc<Progress>,
    /// Whether other nodes apply the same log, so that a user may have been shown by one of them what is not applied
    /// here yet.
    pub is_shared: bool,
    /// The time.
    pub clock: Clock,
    /// The key of the origins of chats.
    pub origin_key: OriginKey,
}

/// Takes commands, and returns views of the state.
pub struct Engine {
    store: Arc<Store>,
    sequencer: Arc<dyn Sequencer>,
    fanout: Arc<Fanout>,
    presence: Arc<Presence>,
    lobby: Arc<Lobby>,
    pictures: Arc<Pictures>,
    limits: Arc<Limits>,
    progress: Arc<Progress>,
    is_shared: bool,
    clock: Clock,
    origin_key: OriginKey,
    searches: SearchQueue,
    metrics: LogMetrics,
}

impl Engine {
    /// Creates an engine from its parts.
    pub fn new(parts: EngineParts) -> Self {
        let EngineParts { store, sequencer, fanout, presence, lobby, pictures, .. } = parts;
        let EngineParts { limits, progress, is_shared, clock, origin_key, .. } = parts;
        let metrics = LogMetrics::default();
        Self {
            store,
            sequencer,
            fanout,
            presence,
            lobby,
            pictures,
            limits,
            progress,
            is_shared,
            clock,
            origin_key,
            searches: SearchQueue::new(),
            metrics,
        }
    }

    /// Adds all that the engine counts and measures to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.fanout.metrics().register(registry);
        self.store.metrics().register(registry);
        self.searches.metrics().register(registry);
    }

    /// Returns whether other nodes apply the same log, so that a user may have been shown by one of them what is not
    /// applied here yet.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns the sequence number of the newest entry that was applied here and sent to the readers.
    pub fn reached(&self) -> Seq {
        self.progress.reached()
    }

    /// Returns whether an entry of a shared log is known elsewhere and not applied here yet.
    pub fn is_behind(&self, epoch: Epoch, seq: Seq) -> bool {
        self.is_shared && epoch == self.epoch() && seq > self.reached()
    }

    /// Waits until an entry is applied here, at most 2 seconds. Returns whether it is.
    pub async fn wait_for(&self, seq: Seq) -> bool {
        self.progress.wait_for(seq).await
    }

    /// Returns how often the clock was set since this server started.
    pub fn clock_sets(&self) -> u64 {
        self.presence.clock_sets()
    }

    /// Returns the current time of the server.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Returns the epoch of the log.
    pub fn epoch(&self) -> Epoch {
        self.sequencer.epoch()
    }

    /// Returns a snapshot of what is committed, as of now.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn read(&self) -> Result<Snapshot, Problem> {
        self.store.read(self.now()).map_err(|error| not_readable(&error))
    }

    /// Returns the lifetimes after which users, chats and messages expire.
    pub fn lifetimes(&self) -> Lifetimes {
        self.store.lifetimes()
    }

    /// Returns the direct chat of two users. `None` if they have none.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn direct_chat_with(&self, one: UserId, other: UserId) -> Result<Option<Chat>, Problem> {
        self.read()?.direct_chat_with(one, other).map_err(|error| not_readable(&error))
    }

    /// Returns the invites that wait for an answer of a user.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn invites_of(&self, user: UserId) -> Result<Vec<Invite>, Problem> {
        self.read()?.invites_of(user).map_err(|error| not_readable(&error))
    }

    /// Returns the users that a user has hidden.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn hidden(&self, user: UserId) -> Result<Vec<UserId>, Problem> {
        self.read()?.hidden(user).map_err(|error| not_readable(&error))
    }

    /// Returns a user, with the default nickname if none is stored.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn user(&self, id: UserId) -> Result<User, Problem> {
        self.read()?.user(id).map_err(|error| not_readable(&error))
    }

    /// Returns a chat as it is in a snapshot, if it admits a user.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, [`Problem::Restarting`] if that is not known yet, those of
    /// [`Chat::check_access`] if it does not admit the user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn enter(&self, view: &Snapshot, id: ChatId, user: UserId) -> Result<Chat, Problem> {
        match view.chat(id).map_err(|error| not_readable(&error))? {
            Some(chat) => chat.check_access(user).map(|()| chat),
            // A page that is told that its chat has ended does not come back.
            None if self.store.is_unread() => Err(Problem::Restarting),
            None => Err(Problem::UnknownChat),
        }
    }

    /// Returns whether a user is or was part of a chat, so that its members may learn their nickname. The nicknames of
    /// all other users are not disclosed.
    fn has_met(&self, view: &Snapshot, chat: &Chat, id: UserId) -> Result<bool, StoreError> {
        Ok(chat.owner == id
            || chat.guest.is_some_and(|guest| guest.id == id)
            || chat.removed.contains(&id)
            || self.presence.is_in(chat.id, id)
            || view.has_said_before(chat.id, id, Seq(u64::MAX))?)
    }

    /// Checks whether a user may post in a chat at present.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] and
    /// [`Chat::check_can_post`] if the user may not, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn may_write(&self, chat: ChatId, user: UserId) -> Result<(), Problem> {
        self.enter(&self.read()?, chat, user)?.check_can_post(user)
    }

    /// Returns the number of bytes stored.
    pub fn stored_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Returns the sequence number of the newest entry that was applied.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn newest_seq(&self) -> Result<Seq, Problem> {
        let log = self.read()?.log().map_err(|error| not_readable(&error))?;
        Ok(log.map_or(Seq::ZERO, |log| log.seq))
    }
}

/// Logs an error of the database, and returns the [`Problem`] that the user is told.
pub fn not_readable(error: &StoreError) -> Problem {
    tracing::error!(%error, "could not read the database");
    Problem::NotReadable
}
