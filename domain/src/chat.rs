//! Chats.

use serde::{Deserialize, Serialize};

use crate::{ChatId, Problem, Seq, Timestamp, Title, UserId, invite::DECLINE_COOLDOWN_MILLIS};

/// So many people can be removed from one chat. The list is stored with the chat and sent with every snapshot of it.
pub const REMOVED_LIMIT: usize = 500;

/// Who can find a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Listed on the home page.
    Public,
    /// Found only by its link.
    Private,
}

/// A room where people talk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// Its id, and the last part of its address.
    pub id: ChatId,
    /// What it is called now.
    pub title: Title,
    /// Who started it.
    pub owner: UserId,
    /// Who can find it.
    pub visibility: Visibility,
    /// When it was started.
    pub started_at: Timestamp,
    /// The place of its newest event.
    pub seq: Seq,
    /// When something was last said in it; nothing until something is.
    pub said_at: Option<Timestamp>,
    /// In a chat of two, the other one. Everybody may enter where this is nobody.
    pub guest: Option<Guest>,
    /// Whether its owner alone can write in it.
    pub is_locked: bool,
    /// Who was removed from it and may not return: [`REMOVED_LIMIT`] at most.
    pub removed: Vec<UserId>,
}

/// The one who is in a chat of two besides its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Who.
    pub id: UserId,
    /// Which of the two is invited and has not answered yet.
    pub invited: Option<UserId>,
    /// The last no, if the last answer was one.
    pub declined: Option<Declined>,
}

/// Somebody would rather not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// Who said so.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

impl Guest {
    /// Somebody who has just been invited.
    pub fn new(id: UserId) -> Self {
        Self { id, invited: Some(id), declined: None }
    }
}

impl Chat {
    /// Whether somebody may enter and read. A chat of two admits those two only; every other one admits whoever has
    /// its link and was not removed from it.
    ///
    /// # Errors
    /// [`Problem::NotAdmitted`] or [`Problem::Removed`].
    pub fn check_access(&self, user: UserId) -> Result<(), Problem> {
        if self.guest.is_some_and(|guest| user != self.owner && user != guest.id) {
            return Err(Problem::NotAdmitted);
        }
        if self.removed.contains(&user) { Err(Problem::Removed) } else { Ok(()) }
    }

    /// Whether somebody who may enter may also write.
    ///
    /// # Errors
    /// [`Problem::ChatLocked`].
    pub fn check_can_post(&self, user: UserId) -> Result<(), Problem> {
        if self.is_locked && user != self.owner { Err(Problem::ChatLocked) } else { Ok(()) }
    }

    /// In a chat of two, the other one as seen by one of them.
    pub fn peer(&self, of: UserId) -> Option<UserId> {
        self.guest.map(|guest| if guest.id == of { self.owner } else { guest.id })
    }

    /// Who is invited and has not answered yet.
    pub fn invited(&self) -> Option<UserId> {
        self.guest.and_then(|guest| guest.invited)
    }

    /// Whether somebody has declined so recently that they are not to be asked again ([`DECLINE_COOLDOWN_MILLIS`]).
    pub fn in_decline_cooldown(&self, invited: UserId, now: Timestamp) -> bool {
        let declined = self.guest.and_then(|guest| guest.declined);
        // a no that seems to come later is one from before the clock was set back
        let is_new = |at: Timestamp| now >= at && now.millis_since(at) < DECLINE_COOLDOWN_MILLIS;
        declined.is_some_and(|no| no.by == invited && is_new(no.at))
    }

    /// The chat after an event that says whether somebody is invited now.
    pub(crate) fn after_invite(self, seq: Seq, invited: Option<UserId>) -> Self {
        Self { seq, guest: self.guest.map(|guest| Guest { invited, ..guest }), ..self }
    }

    /// The chat after somebody has answered.
    pub(crate) fn after_answer(self, seq: Seq, declined: Option<Declined>) -> Self {
        Self { seq, guest: self.guest.map(|guest| Guest { invited: None, declined, ..guest }), ..self }
    }
}
