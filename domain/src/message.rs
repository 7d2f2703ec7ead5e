//! Messages.

use serde::{Deserialize, Serialize};

use crate::{Body, ClientId, Nickname, UserId};

/// A message. Its sequence number and time are those of the event that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The author.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// The text.
    pub body: Body,
}

/// What remains of a message that was removed. Its id is kept, so that a late retry does not post it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The author of the message.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// Who removed it.
    pub by: RemovedBy,
}

/// A message as its event holds it: with its text, or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRef<'a> {
    /// The author.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: &'a Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// The text, unless it was removed.
    pub content: MessageContent<'a>,
}

/// What is left of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageContent<'a> {
    /// The text.
    Text(&'a Body),
    /// It was removed.
    Removed(RemovedBy),
}

impl MessageContent<'_> {
    /// Whether the message was removed.
    pub fn is_removed(self) -> bool {
        matches!(self, Self::Removed(_))
    }
}

/// Who removed a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBy {
    /// The author of the message.
    Author,
    /// The owner of the chat.
    Owner,
}

impl Tombstone {
    pub(crate) fn of(message: &Message, by: RemovedBy) -> Self {
        let Message { author, nickname, client_id, .. } = message;
        Self { author: *author, nickname: nickname.clone(), client_id: *client_id, by }
    }
}
