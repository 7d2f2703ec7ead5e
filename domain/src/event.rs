//! What happened.

use serde::{Deserialize, Serialize};

use crate::{
    Chat, ChatId, Message, Nickname, Seq, Timestamp, Title, Tombstone, User, UserId, Visibility,
    chat::{Declined, Guest},
    invite::Answer,
    message::RemovedBy,
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
    /// What happened.
    #[serde(rename = "what")]
    pub kind: EventKind,
}

/// The kinds of events in a chat. Stored by position: new kinds go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
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
    /// A message was removed. What it said is nowhere from then on: its event is a [`EventKind::Tombstone`].
    MessageRemoved {
        /// The place of the message.
        message: Seq,
        /// Who removed it.
        by: RemovedBy,
    },
    /// A message that was removed.
    #[serde(rename = "blank")]
    Tombstone(Tombstone),
    /// The owner removed somebody, who may not return.
    PersonRemoved {
        /// What the owner was called then.
        nickname: Nickname,
        /// Whom, as they were known then.
        person: User,
    },
    /// The owner lets somebody return who was removed.
    PersonAdmitted {
        /// What the owner was called then.
        nickname: Nickname,
        /// Whom, as they were known then.
        person: User,
    },
    /// The owner let nobody else write, or everybody again.
    LockSet {
        /// What the owner was called then.
        nickname: Nickname,
        /// Whether the owner alone can write now.
        is_locked: bool,
    },
    /// The owner removed people, who may not return, with all they had said. That is nowhere from then on: each of
    /// their messages is a [`EventKind::Tombstone`].
    PeopleRemoved {
        /// What the owner was called then.
        nickname: Nickname,
        /// One of them, as they were known then.
        first: User,
        /// The others.
        others: Vec<UserId>,
    },
    /// Somebody took away all they had said, which is nowhere from then on: each of their messages is a
    /// [`EventKind::Tombstone`].
    OwnRemoved {
        /// Who.
        user: UserId,
    },
}

impl Event {
    /// What a chat is after this event, given what it was before. Nothing for an event of a chat that never started.
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

    /// Whose messages before this event were all removed with it, and by whom; `None` for other kinds of events.
    pub fn clears(&self) -> Option<(Vec<UserId>, RemovedBy)> {
        match &self.kind {
            EventKind::PeopleRemoved { first, others, .. } => {
                Some(([first.id].iter().chain(others).copied().collect(), RemovedBy::Owner))
            }
            EventKind::OwnRemoved { user } => Some((vec![*user], RemovedBy::Author)),
            _ => None,
        }
    }

    /// Everybody whom this event is about: to them it may be told in other words than to others.
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

    /// Whose invites are others after this event.
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

    /// The event of a message after the message was removed: in its place, and without what it said. Any other event
    /// stays as it is.
    pub fn redact(self, by: RemovedBy) -> Self {
        match self.kind {
            EventKind::Posted(message) => {
                Self { kind: EventKind::Tombstone(Tombstone::of(message, by)), ..self }
            }
            kind => Self { kind, ..self },
        }
    }
}

/// What an entry of the log does to the state: the writer stores it and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Somebody is hidden from a user, or shown to them again.
    Hidden {
        /// From whom.
        from: UserId,
        /// Who.
        person: UserId,
        /// Whether they are.
        is_hidden: bool,
    },
    /// A user was seen somewhere.
    UserTouched(UserId, Timestamp),
    /// Somebody was in a chat.
    ChatTouched(ChatId, Timestamp),
    /// Nothing is known of a user any more.
    UserExpired(UserId),
    /// A chat is gone, as it was last. Its events went before it.
    ChatExpired(Chat),
    /// The events of a chat up to this place are gone.
    Expired {
        /// Of which chat.
        chat: ChatId,
        /// The newest that is gone.
        through: Seq,
    },
    /// The clock was set, forward by so many milliseconds or back by as many: so much later or earlier everybody and
    /// every chat was last active by the new one.
    ClockSet(i64),
    /// A user takes invites from now on, or none.
    InvitesSet {
        /// Who.
        user: UserId,
        /// Whether they do.
        are_taken: bool,
    },
}
