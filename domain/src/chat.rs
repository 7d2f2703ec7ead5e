//! Chats.

use serde::{Deserialize, Serialize};

use crate::{ChatId, Seq, Timestamp, Title, UserId};

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
}
