//! Everybody who is shown what was committed, and only then.

use std::sync::Arc;

use domain::{Change, What};

use crate::{lobby::Lobby, presence::Presence, tail::Tails};

/// Where committed changes go: the chats that are watched, the rooms, the lobby, and those who have an invite.
pub struct Audience {
    /// The newest events of the chats that are watched.
    pub tails: Arc<Tails>,
    /// Who is here.
    pub presence: Arc<Presence>,
    /// The public chats.
    pub lobby: Arc<Lobby>,
}

impl Audience {
    /// Shows one change.
    pub fn show(&self, change: &Change) {
        match change {
            Change::User { user, .. } => self.presence.rename(user),
            Change::Chat(event) => {
                if let What::Posted(message) = &event.what {
                    self.presence.said(event.chat, message.author);
                }
                self.tails.append(event);
                if let Some(invitee) = event.invitee() {
                    self.presence.knock(invitee);
                }
            }
            Change::ChatExpired(chat) => {
                if let Some(invited) = chat.invited() {
                    self.presence.knock(invited);
                }
            }
            Change::UserTouched(..)
            | Change::ChatTouched(..)
            | Change::UserExpired(_)
            | Change::Forgotten { .. } => {}
        }
        self.lobby.apply(change);
    }
}
