//! Messages.

use serde::{Deserialize, Serialize};

use crate::{Body, ClientId, Nickname, UserId};

/// What somebody said. Its place and time are those of the event that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it.
    pub author: UserId,
    /// What they were called when they said it.
    pub nickname: Nickname,
    /// The id their client made for it.
    pub client_id: ClientId,
    /// What they said.
    pub body: Body,
}

/// What is left of a message that was removed. Its id stays known, so that a late retry does not bring it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Who had said it.
    pub author: UserId,
    /// What they were called when they said it.
    pub nickname: Nickname,
    /// The id their client had made for it.
    pub client_id: ClientId,
    /// Who removed it.
    pub by: RemovedBy,
}

/// Who removed a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBy {
    /// Whoever had said it.
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
