//! What people ask for.

use serde::{Deserialize, Serialize};

use crate::{Body, ChatId, ClientId, Nickname, Seq, Timestamp, Title, UserId, Visibility};

/// Something durable that a person asks for. It becomes an [`Entry`] when the sequencer gives it a place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Be called this from now on.
    SetNickname {
        /// The new nickname.
        nickname: Nickname,
        /// Where it is noted: the chats the user is in, filled in by the server.
        chats: Vec<ChatId>,
    },
    /// Start a chat and own it.
    StartChat {
        /// A fresh id, drawn by the server.
        chat: ChatId,
        /// What to call it; without one it is named after its owner.
        title: Option<Title>,
        /// Who can find it.
        visibility: Visibility,
    },
    /// Call a chat something else. For its owner alone.
    EditTitle {
        /// Which.
        chat: ChatId,
        /// Its new title.
        title: Title,
    },
    /// Let a chat be found by everybody, or by its link alone. For its owner alone.
    SetVisibility {
        /// Which.
        chat: ChatId,
        /// Who can find it.
        visibility: Visibility,
    },
    /// Say something.
    Post {
        /// Where.
        chat: ChatId,
        /// Made by the client, the same for every retry of this message.
        client_id: ClientId,
        /// What.
        body: Body,
    },
}

/// A command with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place: higher than that of every entry before it.
    pub seq: Seq,
    /// When it got its place: never earlier than the entry before it.
    pub at: Timestamp,
    /// Who asked.
    pub by: UserId,
    /// For what.
    pub command: Command,
}
