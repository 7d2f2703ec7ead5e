//! Events of chats, and changes of the state.

use serde::{Deserialize, Serialize};

use crate::{
    Chat, ChatId, Message, MessageContent, MessageRef, Nickname, Seq, Timestamp, Title, Tombstone, User,
    UserId, Visibility,
    chat::{Declined, Guest},
    invite::Answer,
    message::RemovedBy,
};

/// Something that happened in a chat. An entry of the log makes at most one event in each chat, so a chat and a [`Seq`]
/// identify an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The chat in which it happened.
    pub chat: ChatId,
    /// The position in the log.
    pub seq: Seq,
    /// The position of the previous event of the same chat, or [`Seq::ZERO`]. A reader that lacks that event has a gap.
    pub prev: Seq,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(rename = "what")]
    pub kind: EventKind,
}

/// The kinds of events. Stored by position: new kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The chat was started.
    Started {
        /// The user who started the chat and owns it.
        owner: UserId,
        /// The owner's nickname then.
        nickname: Nickname,
        /// The title then.
        title: Title,
        /// The visibility then.
        visibility: Visibility,
        /// The user invited to a direct chat, with their nickname then. `None` in a group chat.
        guest: Option<User>,
    },
    /// A message was posted.
    Posted(Message),
    /// A member changed their nickname.
    Renamed {
        /// The member whose nickname changed.
        user: UserId,
        /// The old nickname.
        from: Nickname,
        /// The new nickname.
        to: Nickname,
    },
    /// The owner changed the title.
    TitleEdited {
        /// The owner's nickname then.
        nickname: Nickname,
        /// The new title.
        title: Title,
    },
    /// The owner changed who can find the chat.
    VisibilitySet {
        /// The owner's nickname then.
        nickname: Nickname,
        /// The new visibility.
        visibility: Visibility,
    },
    /// One user of a direct chat invited the other again.
    Invited {
        /// The inviting user, with their nickname then.
        by: User,
        /// The invited user, with their nickname then.
        to: User,
    },
    /// One user of a direct chat answered an invite.
    InviteAnswered {
        /// The user who answered, with their nickname then.
        by: User,
        /// Whether the invite was accepted.
        answer: Answer,
    },
    /// The inviting user went offline before the invite was answered.
    InviteWithdrawn {
        /// The inviting user, with their nickname then.
        by: User,
        /// The invited user.
        to: UserId,
    },
    /// A message was removed. Its text is not kept anywhere: its event becomes an [`EventKind::Tombstone`].
    MessageRemoved {
        /// The sequence number of the message.
        message: Seq,
        /// Who removed it.
        by: RemovedBy,
    },
    /// A message that was removed. Replaces [`EventKind::Posted`].
    #[serde(rename = "blank")]
    Tombstone(Tombstone),
    /// The owner removed a user, who may not return.
    PersonRemoved {
        /// The owner's nickname then.
        nickname: Nickname,
        /// The removed user, with their nickname then.
        person: User,
    },
    /// The owner lets a removed user return.
    PersonAdmitted {
        /// The owner's nickname then.
        nickname: Nickname,
        /// The user who may return, with their nickname then.
        person: User,
    },
    /// The owner locked or unlocked the chat.
    LockSet {
        /// The owner's nickname then.
        nickname: Nickname,
        /// Whether only the owner can write now.
        is_locked: bool,
    },
    /// The owner removed users, who may not return, with all their messages. The texts are not kept anywhere: each of
    /// those messages becomes an [`EventKind::Tombstone`].
    PeopleRemoved {
        /// The owner's nickname then.
        nickname: Nickname,
        /// One of the removed users, with their nickname then.
        first: User,
        /// The other removed users.
        others: Vec<UserId>,
    },
    /// A user removed all their messages. The texts are not kept anywhere: each of those messages becomes an
    /// [`EventKind::Tombstone`].
    OwnRemoved {
        /// The user who removed them.
        user: UserId,
    },
}

impl EventKind {
    /// Returns the message that this event posted. `None` for a message that was removed, and for other kinds of events.
    ///
    /// This is the one place that says which kinds are messages. Whatever follows from that, such as what is removed,
    /// hidden, counted as unread and not posted twice, asks it.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Posted(message) => Some(message),
            Self::Started { .. }
            | Self::Renamed { .. }
            | Self::TitleEdited { .. }
            | Self::VisibilitySet { .. }
            | Self::Invited { .. }
            | Self::InviteAnswered { .. }
            | Self::InviteWithdrawn { .. }
            | Self::MessageRemoved { .. }
            | Self::Tombstone(_)
            | Self::PersonRemoved { .. }
            | Self::PersonAdmitted { .. }
            | Self::LockSet { .. }
            | Self::PeopleRemoved { .. }
            | Self::OwnRemoved { .. } => None,
        }
    }

    /// Returns the message that this event posted, removed or not. `None` for other kinds of events.
    pub fn message_or_tombstone(&self) -> Option<MessageRef<'_>> {
        if let Self::Tombstone(Tombstone { author, nickname, client_id, by }) = self {
            return Some(MessageRef {
                author: *author,
                nickname,
                client_id: *client_id,
                content: MessageContent::Removed(*by),
            });
        }
        let Message { author, nickname, client_id, body } = self.message()?;
        Some(MessageRef {
            author: *author,
            nickname,
            client_id: *client_id,
            content: MessageContent::Text(body),
        })
    }
}

impl Event {
    /// Returns the chat after this event, given the chat before it. `None` for an event of a chat that was never started.
    pub fn apply_to(&self, chat: Option<Chat>) -> Option<Chat> {
        let seq = self.seq;
        if let EventKind::Started { owner, title, visibility, guest, .. } = &self.kind {
            return Some(Chat {
                id: self.chat,
                title: title.clone(),
                owner: *owner,
                visibility: *visibility,
                started_at: self.at,
                seq,
                said_at: None,
                guest: guest.as_ref().map(|guest| Guest::new(guest.id)),
                is_locked: false,
                removed: Vec::new(),
            });
        }
        let chat = chat?;
        Some(match &self.kind {
            EventKind::Started { .. }
            | EventKind::Renamed { .. }
            | EventKind::MessageRemoved { .. }
            | EventKind::OwnRemoved { .. } => Chat { seq, ..chat },
            EventKind::Posted(_) | EventKind::Tombstone(_) => Chat { seq, said_at: Some(self.at), ..chat },
            EventKind::TitleEdited { title, .. } => Chat { seq, title: title.clone(), ..chat },
            EventKind::VisibilitySet { visibility, .. } => Chat { seq, visibility: *visibility, ..chat },
            EventKind::Invited { to, .. } => chat.after_invite(seq, Some(to.id)),
            EventKind::InviteAnswered { by, answer } => {
                let no = (*answer == Answer::Decline).then_some(Declined { by: by.id, at: self.at });
                chat.after_answer(seq, no)
            }
            EventKind::InviteWithdrawn { .. } => chat.after_invite(seq, None),
            EventKind::LockSet { is_locked, .. } => Chat { seq, is_locked: *is_locked, ..chat },
            EventKind::PersonRemoved { person, .. } => {
                let mut removed = chat.removed;
                removed.push(person.id);
                Chat { seq, removed, ..chat }
            }
            EventKind::PersonAdmitted { person, .. } => {
                let mut removed = chat.removed;
                removed.retain(|removed| *removed != person.id);
                Chat { seq, removed, ..chat }
            }
            EventKind::PeopleRemoved { first, others, .. } => {
                let mut removed = chat.removed;
                for person in [first.id].iter().chain(others) {
                    if !removed.contains(person) {
                        removed.push(*person);
                    }
                }
                Chat { seq, removed, ..chat }
            }
        })
    }

    /// Returns the users whose earlier messages this event removes, and who removed them. `None` for other kinds of events.
    pub fn clears(&self) -> Option<(Vec<UserId>, RemovedBy)> {
        match &self.kind {
            EventKind::PeopleRemoved { first, others, .. } => {
                Some(([first.id].iter().chain(others).copied().collect(), RemovedBy::Owner))
            }
            EventKind::OwnRemoved { user } => Some((vec![*user], RemovedBy::Author)),
            _ => None,
        }
    }

    /// Returns the users this event is about, for whom it may be worded differently than for others.
    pub fn people(&self) -> impl Iterator<Item = UserId> {
        let (one, other) = match &self.kind {
            EventKind::Posted(message) => (Some(message.author), None),
            EventKind::Tombstone(tombstone) => (Some(tombstone.author), None),
            EventKind::Started { owner, guest, .. } => (Some(*owner), guest.as_ref().map(|guest| guest.id)),
            EventKind::Renamed { user, .. } => (Some(*user), None),
            EventKind::Invited { by, to } => (Some(by.id), Some(to.id)),
            EventKind::InviteAnswered { by, .. } => (Some(by.id), None),
            EventKind::InviteWithdrawn { by, to } => (Some(by.id), Some(*to)),
            EventKind::PersonRemoved { person, .. } | EventKind::PersonAdmitted { person, .. } => {
                (Some(person.id), None)
            }
            EventKind::PeopleRemoved { first, .. } => (Some(first.id), None),
            EventKind::OwnRemoved { user } => (Some(*user), None),
            EventKind::TitleEdited { .. }
            | EventKind::VisibilitySet { .. }
            | EventKind::MessageRemoved { .. }
            | EventKind::LockSet { .. } => (None, None),
        };
        let more = match &self.kind {
            EventKind::PeopleRemoved { others, .. } => &others[..],
            _ => &[],
        };
        one.into_iter().chain(other).chain(more.iter().copied())
    }

    /// Returns the user whose open invites change with this event, or `None` if it concerns no invite.
    pub fn invitee(&self) -> Option<UserId> {
        match &self.kind {
            EventKind::Started { guest, .. } => guest.as_ref().map(|guest| guest.id),
            EventKind::Invited { to, .. } => Some(to.id),
            EventKind::InviteAnswered { by, .. } => Some(by.id),
            EventKind::InviteWithdrawn { to, .. } => Some(*to),
            EventKind::Posted(_)
            | EventKind::Renamed { .. }
            | EventKind::TitleEdited { .. }
            | EventKind::VisibilitySet { .. }
            | EventKind::MessageRemoved { .. }
            | EventKind::Tombstone(_)
            | EventKind::PersonRemoved { .. }
            | EventKind::PersonAdmitted { .. }
            | EventKind::LockSet { .. }
            | EventKind::PeopleRemoved { .. }
            | EventKind::OwnRemoved { .. } => None,
        }
    }

    /// Returns the event of a message after the message was removed: at the same position, without the text. Other
    /// events are returned unchanged.
    pub fn redact(self, by: RemovedBy) -> Self {
        let tombstone = self.kind.message().map(|message| Tombstone::of(message, by));
        match tombstone {
            Some(tombstone) => Self { kind: EventKind::Tombstone(tombstone), ..self },
            None => self,
        }
    }
}

/// A change of the state. An entry of the log is stored as its changes and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A user is stored or updated, and counts as active.
    User {
        /// The user from now on.
        user: User,
        /// When it was active.
        at: Timestamp,
    },
    /// An event of a chat, which counts as active.
    Chat(Event),
    /// A user is hidden from another, or shown again.
    Hidden {
        /// The user who hides.
        from: UserId,
        /// The user who is hidden.
        person: UserId,
        /// Whether they are hidden.
        is_hidden: bool,
    },
    /// When a user was last seen.
    UserTouched(UserId, Timestamp),
    /// When a chat last had a member.
    ChatTouched(ChatId, Timestamp),
    /// A user has expired: their record is removed, with their hidden users and their invite setting.
    UserExpired(UserId),
    /// A chat is removed, given as it was last. Its events are removed before it.
    ChatExpired(Chat),
    /// The events of a chat are removed, up to a position.
    Expired {
        /// The chat whose events are removed.
        chat: ChatId,
        /// The last sequence number removed.
        through: Seq,
    },
    /// The clock was set forward by this many milliseconds, or back if negative. The times at which users and chats
    /// were last active move with it.
    ClockSet(i64),
    /// A user accepts or refuses invites from now on.
    InvitesSet {
        /// The user who accepts or refuses.
        user: UserId,
        /// Whether invites are accepted.
        are_taken: bool,
    },
}
