//! What Qchat can be asked: the one entry for every transport. Sockets and forms both come here, with a user whose
//! session was checked and a command whose text was.

use std::sync::Arc;

use domain::{
    ChatId, Command, Epoch, Problem, Roster, Seq, Timestamp, User, UserId,
    page::{ChatPage, History, PAGE_EVENTS},
};
use tokio::sync::oneshot;

use crate::{
    clock::Clock,
    presence::{Presence, Seat},
    sequencer::{Outcome, Sequencer},
    store::{Store, StoreError, View},
    tail::{Bell, Tails, Watching},
};

/// Commands in, views out.
pub struct Service {
    store: Arc<Store>,
    sequencer: Arc<dyn Sequencer>,
    tails: Arc<Tails>,
    presence: Arc<Presence>,
    clock: Clock,
}

/// A command on its way: proposed, and not yet decided.
pub struct Proposed(oneshot::Receiver<Outcome>);

impl Proposed {
    /// Waits until it is on disk, or refused.
    ///
    /// # Errors
    /// The [`Problem`] it was refused with, or [`Problem::NotStored`].
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Err(Problem::NotStored))
    }
}

impl Service {
    /// Puts the parts together.
    pub fn new(
        store: Arc<Store>,
        sequencer: Arc<dyn Sequencer>,
        tails: Arc<Tails>,
        presence: Arc<Presence>,
        clock: Clock,
    ) -> Self {
        Self { store, sequencer, tails, presence, clock }
    }

    /// Gives a command its place in line. Those of one task keep their order.
    ///
    /// # Errors
    /// [`Problem::Busy`] or [`Problem::NotStored`].
    pub async fn propose(&self, by: UserId, mut command: Command) -> Result<Proposed, Problem> {
        if let Command::SetNickname { chats, .. } = &mut command {
            *chats = self.presence.chats_of(by);
        }
        self.sequencer.propose(by, command).await.map(Proposed)
    }

    /// Has a command done, and waits until it is on disk.
    ///
    /// # Errors
    /// Those of [`Service::propose`] and [`Proposed::outcome`].
    pub async fn execute(&self, by: UserId, command: Command) -> Outcome {
        self.propose(by, command).await?.outcome().await
    }

    /// What time it is here.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The life of the log.
    pub fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    /// What is committed so far.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn read(&self) -> Result<View, Problem> {
        self.store.read().map_err(|error| not_readable(&error))
    }

    /// Who somebody is.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn user(&self, id: UserId) -> Result<User, Problem> {
        self.read()?.user(id).map_err(|error| not_readable(&error))
    }

    /// A chat as somebody finds it: its newest page, or the one before an event.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] or [`Problem::NotReadable`].
    pub fn chat_page(&self, id: ChatId, reader: UserId, before: Option<Seq>) -> Result<ChatPage, Problem> {
        let read = || -> Result<_, StoreError> {
            let view = self.store.read()?;
            let Some(chat) = view.chat(id)? else { return Ok(None) };
            Ok(Some((view.user(reader)?, chat, page(&view, id, before, self.epoch())?)))
        };
        let (me, chat, history) =
            read().map_err(|error| not_readable(&error))?.ok_or(Problem::UnknownChat)?;
        let mut roster: Roster = self.presence.roster(id);
        if roster.members.iter().all(|member| member.id != me.id) {
            roster.put(me.clone().into());
        }
        let later = history.events.last().is_none_or(|event| event.seq < chat.seq);
        Ok(ChatPage { me, chat, roster, history, later })
    }

    /// The newest page of a chat's history.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn history(&self, view: &View, chat: ChatId) -> Result<History, Problem> {
        page(view, chat, None, self.epoch()).map_err(|error| not_readable(&error))
    }

    /// The page of a chat's history before an event.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn earlier(&self, chat: ChatId, before: Seq) -> Result<History, Problem> {
        page(&self.read()?, chat, Some(before), self.epoch()).map_err(|error| not_readable(&error))
    }

    /// Makes somebody a member of a chat for as long as the seat is kept.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn join(&self, chat: ChatId, id: UserId, bell: &Bell) -> Result<(Seat, Watching), Problem> {
        let watching = self.tails.watch(chat, Arc::clone(bell));
        let user = self.user(id)?;
        let seat = self.presence.join(chat, user.clone(), Arc::clone(bell));
        // a rename that was committed between the look and the seat did not find the seat
        let now = self.user(id)?;
        if now != user {
            self.presence.rename(&now);
        }
        Ok((seat, watching))
    }

    /// The place of the newest entry that was applied.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn newest_seq(&self) -> Result<Seq, Problem> {
        let log = self.read()?.log().map_err(|error| not_readable(&error))?;
        Ok(log.map_or(Seq::ZERO, |log| log.seq))
    }
}

fn page(view: &View, chat: ChatId, before: Option<Seq>, epoch: Epoch) -> Result<History, StoreError> {
    let (events, earlier) = match before {
        Some(before) => view.events_before(chat, before, PAGE_EVENTS)?,
        None => view.newest_events(chat, PAGE_EVENTS)?,
    };
    Ok(History { epoch, events, earlier })
}

/// People are told that something cannot be read; the log is told what.
pub fn not_readable(error: &StoreError) -> Problem {
    tracing::error!(%error, "the database could not be read");
    Problem::NotReadable
}
