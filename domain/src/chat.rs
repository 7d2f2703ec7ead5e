//! Chats.

use serde::{Deserialize, Serialize};

use crate::{ChatId, Problem, Seq, Timestamp, Title, UserId, invite::DECLINE_COOLDOWN_MILLIS};

/// The maximum number of people removed from one chat. The list is stored with the chat and sent with every snapshot.
pub const REMOVED_LIMIT: usize = 500;

/// How a chat can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Listed on the home page.
    Public,
    /// Reachable only by its link.
    Private,
}

/// A chat: its current metadata, without its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// The id, and the last part of the chat's address.
    pub id: ChatId,
    /// The current title.
    pub title: Title,
    /// The user who started the chat.
    pub owner: UserId,
    /// How the chat can be found.
    pub visibility: Visibility,
    /// When the chat was started.
    pub started_at: Timestamp,
    /// The sequence number of the newest event.
    pub seq: Seq,
    /// When the newest message was posted, or `None` if there has been none.
    pub said_at: Option<Timestamp>,
    /// The second user of a direct chat. `None` in a group chat.
    pub guest: Option<Guest>,
    /// Whether only the owner can write.
    pub is_locked: bool,
    /// Users who were removed and may not return: at most [`REMOVED_LIMIT`].
    pub removed: Vec<UserId>,
}

/// The user of a direct chat who is not its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The user's id.
    pub id: UserId,
    /// Which of the two users is invited and has not answered, or `None` if there is no open invite.
    pub invited: Option<UserId>,
    /// The last answer, if it was to decline.
    pub declined: Option<Declined>,
}

/// An answer that declined an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// The user who declined.
    pub by: UserId,
    /// When the user declined.
    pub at: Timestamp,
}

impl Guest {
    /// Creates a guest who has just been invited.
    pub fn new(id: UserId) -> Self {
        Self { id, invited: Some(id), declined: None }
    }
}

impl Chat {
    /// Checks whether a user may enter and read. A direct chat admits its two users only; any other chat admits
    /// everyone who has its link and was not removed from it.
    ///
    /// # Errors
    /// [`Problem::NotAdmitted`] if this is a direct chat of two others, [`Problem::Removed`] if the user was removed.
    pub fn check_access(&self, user: UserId) -> Result<(), Problem> {
        if self.guest.is_some_and(|guest| user != self.owner && user != guest.id) {
            return Err(Problem::NotAdmitted);
        }
        if self.removed.contains(&user) { Err(Problem::Removed) } else { Ok(()) }
    }

    /// Checks whether a user who may enter may also write.
    ///
    /// # Errors
    /// [`Problem::ChatLocked`] if the chat is locked and the user is not its owner.
    pub fn check_can_post(&self, user: UserId) -> Result<(), Problem> {
        if self.is_locked && user != self.owner { Err(Problem::ChatLocked) } else { Ok(()) }
    }

    /// Returns the other user of a direct chat, as seen by one of the two, or `None` if this is not a direct chat.
    pub fn peer(&self, of: UserId) -> Option<UserId> {
        self.guest.map(|guest| if guest.id == of { self.owner } else { guest.id })
    }

    /// Returns the user who is invited and has not answered yet, or `None` if there is no open invite.
    pub fn invited(&self) -> Option<UserId> {
        self.guest.and_then(|guest| guest.invited)
    }

    /// Whether a user declined less than [`DECLINE_COOLDOWN_MILLIS`] ago and is not to be invited again yet.
    pub fn in_decline_cooldown(&self, invited: UserId, now: Timestamp) -> bool {
        let declined = self.guest.and_then(|guest| guest.declined);
        // a time in the future is from before the clock was set back
        let is_new = |at: Timestamp| now >= at && now.millis_since(at) < DECLINE_COOLDOWN_MILLIS;
        declined.is_some_and(|no| no.by == invited && is_new(no.at))
    }

    /// Returns the chat after an event that opens or withdraws an invite.
    pub(crate) fn after_invite(self, seq: Seq, invited: Option<UserId>) -> Self {
        Self { seq, guest: self.guest.map(|guest| Guest { invited, ..guest }), ..self }
    }

    /// Returns the chat after an invite was answered.
    pub(crate) fn after_answer(self, seq: Seq, declined: Option<Declined>) -> Self {
        Self { seq, guest: self.guest.map(|guest| Guest { invited: None, declined, ..guest }), ..self }
    }
}
