//! Everybody who is shown what was committed, and only then.

use std::sync::Arc;

use domain::{Change, Chat, EventKind, Timestamp};

use crate::{
    fanout::Fanout,
    lobby::Lobby,
    presence::Presence,
    storage::{Store, StoreError},
};

/// Where committed changes go: the chats that are watched, the rooms, the lobby, and those who have an invite.
pub struct Publisher {
    /// What was committed.
    pub store: Arc<Store>,
    /// The newest events of the chats that are watched.
    pub fanout: Arc<Fanout>,
    /// Who is here.
    pub presence: Arc<Presence>,
    /// The public chats.
    pub lobby: Arc<Lobby>,
}

impl Publisher {
    /// Shows everybody what is stored, since something committed may not have been shown.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn resync(&self) -> Result<(), StoreError> {
        self.fanout.invalidate();
        // nothing has expired at the beginning of time: the lobby looks for that itself
        let view = self.store.read(Timestamp::default())?;
        let chats = view.chats()?;
        for Chat { id, removed, is_locked, seq, .. } in chats.iter().map(|kept| &kept.value) {
            removed.iter().for_each(|user| self.presence.remove(*id, *user));
            self.presence.lock_names(*id, *is_locked, *seq);
        }
        self.lobby.reset(chats);
        for user in self.presence.everybody() {
            self.presence.rename(&view.user(user)?);
            self.presence.wake_user(user);
        }
        Ok(())
    }

    /// Shows one change.
    pub fn show(&self, change: &Change) {
        match change {
            Change::User { user, at } => {
                self.presence.rename(user);
                // their name stands in the invites they made
                match self.store.read(*at).and_then(|view| view.partners(user.id)) {
                    Ok(partners) => partners.into_iter().for_each(|peer| self.presence.wake_user(peer)),
                    Err(error) => tracing::warn!(%error, "some are not told of a new nickname yet"),
                }
            }
            Change::Chat(event) => {
                if let EventKind::Posted(message) = &event.kind {
                    self.presence.said(event.chat, message.author);
                }
                self.fanout.append(event);
                match &event.kind {
                    EventKind::PersonRemoved { person, .. } => self.presence.remove(event.chat, person.id),
                    EventKind::PeopleRemoved { first, others, .. } => {
                        for person in [first.id].iter().chain(others) {
                            self.presence.remove(event.chat, *person);
                        }
                    }
                    EventKind::LockSet { is_locked, .. } => {
                        self.presence.lock_names(event.chat, *is_locked, event.seq);
                    }
                    _ => {}
                }
                if let Some(invitee) = event.invitee() {
                    self.presence.wake_user(invitee);
                }
            }
            Change::ChatExpired(chat) => {
                // whoever ended it did not ask whether somebody is there
                self.presence.close(chat.id);
                if let Some(invited) = chat.invited() {
                    self.presence.wake_user(invited);
                }
            }
            Change::Hidden { from: user, .. } | Change::InvitesSet { user, .. } => {
                self.presence.wake_user(*user);
            }
            Change::UserTouched(..)
            | Change::ChatTouched(..)
            | Change::UserExpired(_)
            | Change::Expired { .. }
            | Change::ClockSet(_) => {}
        }
        self.lobby.apply(change);
    }
}
