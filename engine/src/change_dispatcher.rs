//! The dispatcher of changes: applies each committed change to the state in memory, which is the replay buffers of the
//! fan-out, presence and the lobby, and wakes the connections of invited users. Nothing comes here before it is durable.

use std::{borrow::Cow, sync::Arc};

use domain::{Change, Chat, Event, EventKind, Seq, Timestamp};

use crate::{
    clock::SteadyClock,
    fanout::Fanout,
    lobby::Lobby,
    pictures::Pictures,
    presence::Presence,
    progress::Progress,
    storage::{Store, StoreError, is_complete},
};

/// Dispatches committed changes to the fan-out, presence, the lobby, and the connections of invited users.
pub struct ChangeDispatcher {
    /// The database, with what was committed.
    pub store: Arc<Store>,
    /// The replay buffers of watched chats.
    pub fanout: Arc<Fanout>,
    /// The users who are online.
    pub presence: Arc<Presence>,
    /// The public chats.
    pub lobby: Arc<Lobby>,
    /// The files of pictures, some of which have to be fetched from other nodes.
    pub pictures: Arc<Pictures>,
    /// How far the log was applied.
    pub progress: Arc<Progress>,
    /// The clock of this machine, which is set forward once the log has noted that. `None` if the log does not take its
    /// times from it.
    pub steady: Option<Arc<SteadyClock>>,
}

impl ChangeDispatcher {
    /// Brings all subscribers, rooms and the lobby up to the state of the database. Called when committed changes may
    /// not have been dispatched.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn resync(&self) -> Result<(), StoreError> {
        self.fanout.invalidate();
        // Nothing has expired at time zero: the lobby checks the expiry of chats itself.
        let view = self.store.read(Timestamp::default())?;
        let chats = view.chats()?;
        for Chat { id, owner, removed, is_locked, seq, .. } in chats.iter().map(|kept| &kept.value) {
            removed.iter().for_each(|user| self.presence.remove(*id, *user));
            self.presence.started(*id, *owner);
            self.presence.lock_names(*id, *is_locked, *seq);
            self.presence.reacted(*id, view.reacted(*id)?);
        }
        self.pictures.look_through();
        self.presence.close_ended(&chats.iter().map(|kept| kept.value.id).collect());
        self.lobby.reset(chats);
        for user in self.presence.online_users() {
            self.presence.rename(&view.user(user)?);
            self.presence.wake_user(user);
        }
        self.progress.set(view.log()?.map_or(Seq::ZERO, |log| log.seq));
        Ok(())
    }

    /// Returns an event as readers of the database are given it.
    fn complete<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        if is_complete(&event.kind) {
            return Cow::Borrowed(event);
        }
        let completed = self.store.read(event.at).and_then(|view| view.complete(event.clone()));
        Cow::Owned(completed.unwrap_or_else(|error| {
            tracing::warn!(%error, "could not read what belongs to an event");
            event.clone().upgraded()
        }))
    }

    /// Dispatches one committed change.
    pub fn dispatch(&self, change: &Change) {
        match change {
            Change::User { user, at } => {
                self.presence.rename(user);
                // The invites they made show their nickname.
                match self.store.read(*at).and_then(|view| view.partners(user.id)) {
                    Ok(partners) => partners.into_iter().for_each(|peer| self.presence.wake_user(peer)),
                    Err(error) => tracing::warn!(%error, "could not notify invited users of a new nickname"),
                }
            }
            Change::Chat(event) => {
                if let Some(message) = event.kind.posted_message() {
                    self.presence.said(event.chat, message.author);
                }
                if let EventKind::Said(message) | EventKind::MessageRestored { said: Some(message), .. } =
                    &event.kind
                {
                    self.pictures.posted(message);
                }
                self.fanout.append(&self.complete(event));
                match &event.kind {
                    EventKind::PersonRemoved { person, .. } => self.presence.remove(event.chat, person.id),
                    EventKind::PeopleRemoved { first, others, .. } => {
                        for person in [first.id].iter().chain(others) {
                            self.presence.remove(event.chat, *person);
                        }
                    }
                    EventKind::PersonAdmitted { person, .. } => {
                        // By the name that they have now.
                        let read =
                            self.store.read(Timestamp::default()).and_then(|view| view.user(person.id));
                        self.presence.readmit(event.chat, read.as_ref().unwrap_or(person));
                    }
                    EventKind::Started { owner, .. } => self.presence.started(event.chat, *owner),
                    EventKind::LockSet { is_locked, .. } => {
                        self.presence.lock_names(event.chat, *is_locked, event.seq);
                    }
                    _ => {}
                }
                if event.clears().is_some() || matches!(event.kind, EventKind::MessageRemoved { .. }) {
                    self.presence.forget_reactions(event.chat);
                }
                if let Some(invitee) = event.invitee() {
                    self.presence.wake_user(invitee);
                }
            }
            Change::ChatExpired(chat) => {
                // A chat can be ended while it has members.
                self.presence.close(chat.id);
                if let Some(invited) = chat.invited() {
                    self.presence.wake_user(invited);
                }
            }
            Change::Hidden { from: user, .. } | Change::InvitesSet { user, .. } => {
                self.presence.wake_user(*user);
            }
            Change::Reacted(reaction) => self.presence.reacted(reaction.chat, reaction.seq),
            // What was sent of these messages must not stay in memory.
            Change::Expired { chat, .. } => self.presence.forget_reactions(*chat),
            Change::UserTouched(..)
            | Change::ChatTouched(..)
            | Change::UserExpired(_)
            | Change::ClockSet(_) => {}
        }
        self.lobby.apply(change);
        if let Change::ClockSet(by) = change {
            // Nothing seems to have expired meanwhile: the times of what is in use were moved before.
            if let Some(steady) = self.steady.as_ref().filter(|_| *by > 0) {
                steady.take(*by);
            }
            self.presence.tell_time();
        }
    }
}
