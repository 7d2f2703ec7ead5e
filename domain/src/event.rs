//! What happened.

use serde::{Deserialize, Serialize};

use crate::{
    Chat, ChatId, Message, Nickname, Seq, Timestamp, Title, User, UserId, Visibility,
    chat::{Declined, Guest},
    invite::Answer,
};

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
        /// Who was invited with it, in a chat of two, and as what they were known.
        guest: Option<User>,
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
    /// One of two invited the other again.
    Invited {
        /// Who, as they were known then.
        by: User,
        /// Whom, as they were known then.
        to: User,
    },
    /// One of two answered an invite.
    InviteAnswered {
        /// Who, as they were known then.
        by: User,
        /// What they said.
        answer: Answer,
    },
    /// One of two went away before their invite was answered.
    InviteWithdrawn {
        /// Who went, as they were known then.
        by: User,
        /// Who had been invited.
        to: UserId,
    },
}

impl Event {
    /// What a chat is after this event, given what it was before. Nothing for an event of a chat that never started.
    pub fn apply_to(&self, chat: Option<Chat>) -> Option<Chat> {
        let seq = self.seq;
        if let What::Started { owner, title, visibility, guest, .. } = &self.what {
            return Some(Chat {
                id: self.chat,
                title: title.clone(),
                owner: *owner,
                visibility: *visibility,
                started_at: self.at,
                seq,
                said_at: None,
                guest: guest.as_ref().map(|guest| Guest::new(guest.id)),
            });
        }
        let chat = chat?;
        Some(match &self.what {
            What::Started { .. } | What::Renamed { .. } => Chat { seq, ..chat },
            What::Posted(_) => Chat { seq, said_at: Some(self.at), ..chat },
            What::TitleEdited { title, .. } => Chat { seq, title: title.clone(), ..chat },
            What::VisibilitySet { visibility, .. } => Chat { seq, visibility: *visibility, ..chat },
            What::Invited { to, .. } => chat.after_invite(seq, Some(to.id)),
            What::InviteAnswered { by, answer } => {
                let no = (*answer == Answer::Decline).then_some(Declined { by: by.id, at: self.at });
                chat.after_answer(seq, no)
            }
            What::InviteWithdrawn { .. } => chat.after_invite(seq, None),
        })
    }

    /// Whose invites are others after this event.
    pub fn invitee(&self) -> Option<UserId> {
        match &self.what {
            What::Started { guest, .. } => guest.as_ref().map(|guest| guest.id),
            What::Invited { to, .. } => Some(to.id),
            What::InviteAnswered { by, .. } => Some(by.id),
            What::InviteWithdrawn { to, .. } => Some(*to),
            What::Posted(_)
            | What::Renamed { .. }
            | What::TitleEdited { .. }
            | What::VisibilitySet { .. } => None,
        }
    }
}

/// What an entry of the log does to the state: the writer stores it and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A user is now this, and was active.
    User {
        /// What they are now.
        user: User,
        /// When.
        at: Timestamp,
    },
    /// This happened in a chat, which was active with it.
    Chat(Event),
    /// A user was seen somewhere.
    UserTouched(UserId, Timestamp),
    /// Somebody was in a chat.
    ChatTouched(ChatId, Timestamp),
    /// Nothing is known of a user any more.
    UserExpired(UserId),
    /// A chat is gone, as it was last. Its events went before it.
    ChatExpired(Chat),
    /// The events of a chat up to this place are gone.
    Forgotten {
        /// Of which chat.
        chat: ChatId,
        /// The newest that is gone.
        upto: Seq,
    },
}
