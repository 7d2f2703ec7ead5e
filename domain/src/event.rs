//! What happened.

use serde::{Deserialize, Serialize};

use crate::{Chat, ChatId, Message, Nickname, Seq, Timestamp, Title, User, UserId, Visibility};

/// Something that happened in a chat. An entry of the log makes at most one event in each chat, so a chat and a
/// [`Seq`] name an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where.
    pub chat: ChatId,
    /// Its place in the log.
    pub seq: Seq,
    /// The place of the event before it in the same chat, or [`Seq::ZERO`]: whoever has not seen that one has a hole.
    pub prev: Seq,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// The kinds of events in a chat. Stored by position: new kinds go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The chat began.
    Started {
        /// Who started it, and owns it.
        owner: UserId,
        /// What they were called then.
        nickname: Nickname,
        /// What the chat was called.
        title: Title,
        /// Who could find it.
        visibility: Visibility,
    },
    /// Somebody said something.
    Posted(Message),
    /// Somebody who was there is called differently now.
    Renamed {
        /// Who.
        user: UserId,
        /// What they were called.
        from: Nickname,
        /// What they are called now.
        to: Nickname,
    },
    /// The owner called the chat something else.
    TitleEdited {
        /// What the owner was called then.
        nickname: Nickname,
        /// What the chat is called now.
        title: Title,
    },
    /// The owner let the chat be found by others than before.
    VisibilitySet {
        /// What the owner was called then.
        nickname: Nickname,
        /// Who can find it now.
        visibility: Visibility,
    },
}

impl Event {
    /// What a chat is after this event, given what it was before. Nothing for an event of a chat that never started.
    pub fn apply_to(&self, chat: Option<Chat>) -> Option<Chat> {
        match &self.what {
            What::Started { owner, title, visibility, .. } => Some(Chat {
                id: self.chat,
                title: title.clone(),
                owner: *owner,
                visibility: *visibility,
                started_at: self.at,
                seq: self.seq,
            }),
            What::Posted(_) | What::Renamed { .. } => chat.map(|chat| Chat { seq: self.seq, ..chat }),
            What::TitleEdited { title, .. } => {
                chat.map(|chat| Chat { seq: self.seq, title: title.clone(), ..chat })
            }
            What::VisibilitySet { visibility, .. } => {
                chat.map(|chat| Chat { seq: self.seq, visibility: *visibility, ..chat })
            }
        }
    }
}

/// What an accepted command does to the state: the writer stores it and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A user is now this.
    User(User),
    /// This happened in a chat.
    Chat(Event),
}
