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
    pub(crate) fn of(message: Message, by: RemovedBy) -> Self {
        let Message { author, nickname, client_id, .. } = message;
        Self { author, nickname, client_id, by }
    }
}
