//! Events of chats, and changes of the state.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    Chat, ChatId, Message, MessageContent, MessageRef, Nickname, PlainMessage, Reaction, Seq, Timestamp,
    Title, Tombstone, User, UserId, Visibility, Wording,
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
    /// A message was posted, as rules 1 store it. It is read as [`EventKind::Said`], and never sent to a client.
    #[serde(rename = "posted_before")]
    Posted(PlainMessage),
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
    /// A message that was removed. Replaces [`EventKind::Said`].
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
    /// A message was posted.
    #[serde(rename = "posted")]
    Said(Box<Message>),
    /// A message was edited. Its new words are stored in the event of the message alone, so that none remain when it is
    /// removed or edited again.
    MessageEdited {
        /// The sequence number of the message.
        message: Seq,
        /// Its words: those it has when this is read, so that they may be newer than this. `None` as stored, and if the
        /// message is gone.
        wording: Option<Box<Wording>>,
    },
    /// The author took back the removal of a message, whose event has it again.
    MessageRestored {
        /// The sequence number of the message.
        message: Seq,
        /// The message as it is when this is read. `None` as stored, and if the message is gone.
        said: Option<Box<Message>>,
    },
}

impl EventKind {
    /// Returns the message that this event posted. `None` for a message that was removed, and for other kinds of events.
    ///
    /// This is the one place that says which kinds are messages. Whatever follows from that, such as what is removed,
    /// hidden, counted as unread and not posted twice, asks it. What was stored by rules 1 has to be
    /// [upgraded](Event::upgraded) before.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Said(message) => Some(message),
            Self::Posted(_)
            | Self::Started { .. }
            | Self::MessageEdited { .. }
            | Self::MessageRestored { .. }
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

    /// Returns the message that this event posted, removed or not, and by whatever rules. `None` for other kinds of events.
    pub fn message_or_tombstone(&self) -> Option<MessageRef<'_>> {
        let (author, nickname, client_id, content) = match self {
            Self::Tombstone(Tombstone { author, nickname, client_id, by }) => {
                (author, nickname, client_id, MessageContent::Removed(*by))
            }
            Self::Posted(PlainMessage { author, nickname, client_id, body }) => {
                (author, nickname, client_id, MessageContent::Text(body, None))
            }
            _ => {
                let Message { author, nickname, client_id, body, marks, .. } = self.message()?;
                (author, nickname, client_id, MessageContent::Text(body, Some(marks)))
            }
        };
        Some(MessageRef { author: *author, nickname, client_id: *client_id, content })
    }

    /// Returns the message that this event posted, by whatever rules. `None` for a message that was removed, and for other
    /// kinds of events.
    pub fn posted_message(&self) -> Option<MessageRef<'_>> {
        self.message_or_tombstone().filter(|message| !message.content.is_removed())
    }

    /// Returns the sequence number of the message that this event gives other words, or its words back. `None` for other
    /// kinds of events.
    pub fn amends(&self) -> Option<Seq> {
        match self {
            Self::MessageEdited { message, .. } | Self::MessageRestored { message, .. } => Some(*message),
            _ => None,
        }
    }
}

impl Event {
    /// Returns this event as it is made today: a message that was stored by rules 1 as one that is a text alone.
    #[must_use]
    pub fn upgraded(self) -> Self {
        match self.kind {
            EventKind::Posted(message) => Self { kind: EventKind::Said(Box::new(message.into())), ..self },
            kind => Self { kind, ..self },
        }
    }

    /// Returns this event as it is stored: without what is stored in the event of the message that it changes.
    pub fn stored(&self) -> Cow<'_, Self> {
        let kind = match self.kind {
            EventKind::MessageEdited { message, .. } => EventKind::MessageEdited { message, wording: None },
            EventKind::MessageRestored { message, .. } => EventKind::MessageRestored { message, said: None },
            _ => return Cow::Borrowed(self),
        };
        Cow::Owned(Self { kind, ..*self })
    }

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
            | EventKind::MessageEdited { .. }
            | EventKind::MessageRestored { .. }
            | EventKind::OwnRemoved { .. } => Chat { seq, ..chat },
            EventKind::Said(_) | EventKind::Posted(_) | EventKind::Tombstone(_) => {
                Chat { seq, said_at: Some(self.at), ..chat }
            }
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
            EventKind::Said(message) => (Some(message.author), None),
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
            | EventKind::MessageEdited { .. }
            | EventKind::MessageRestored { .. }
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
            EventKind::Said(_)
            | EventKind::Posted(_)
            | EventKind::MessageEdited { .. }
            | EventKind::MessageRestored { .. }
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

    /// Returns the event of a message after it was edited at this time. Other events are returned unchanged.
    #[must_use]
    pub fn edit(self, wording: Wording, at: Timestamp) -> Self {
        let mut event = self.upgraded();
        if let EventKind::Said(message) = &mut event.kind {
            message.edit(wording, at);
        }
        event
    }

    /// Returns the event of a message that was removed after it was restored: at the same position, with what it says.
    /// Other events are returned unchanged.
    #[must_use]
    pub fn restore(self, said: Box<Message>) -> Self {
        match self.kind {
            EventKind::Tombstone(_) => Self { kind: EventKind::Said(said), ..self },
            kind => Self { kind, ..self },
        }
    }

    /// Returns the event of a message after the message was removed: at the same position, without the text. What its author
    /// has removed counts as removed by the owner once that removes it too. Other events are returned unchanged.
    #[must_use]
    pub fn redact(self, by: RemovedBy) -> Self {
        let event = self.upgraded();
        let kind = match event.kind {
            EventKind::Said(message) => EventKind::Tombstone(Tombstone::of(&message, by)),
            EventKind::Tombstone(tombstone) if by == RemovedBy::Owner => {
                EventKind::Tombstone(Tombstone { by, ..tombstone })
            }
            kind => kind,
        };
        Self { kind, ..event }
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
    /// A user reacts to a message, or does so no more. It is no event of the chat, and does not count as activity in it.
    Reacted(Reaction),
}
