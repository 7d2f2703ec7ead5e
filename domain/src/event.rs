//! What happened.

use serde::{Deserialize, Serialize};

use crate::{
    Blank, Chat, ChatId, Message, Nickname, Seq, Timestamp, Title, User, UserId, Visibility,
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
    /// A message was removed. What it said is nowhere from then on: its event is a [`What::Blank`].
    MessageRemoved {
        /// The place of the message.
        message: Seq,
        /// Who removed it.
        by: RemovedBy,
    },
    /// Somebody said something that was removed later.
    Blank(Blank),
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
    /// their messages is a [`What::Blank`].
    PeopleRemoved {
        /// What the owner was called then.
        nickname: Nickname,
        /// One of them, as they were known then.
        first: User,
        /// The others.
        others: Vec<UserId>,
    },
    /// Somebody took away all they had said, which is nowhere from then on: each of their messages is a
    /// [`What::Blank`].
    OwnRemoved {
        /// Who.
        user: UserId,
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
                is_locked: false,
                removed: Vec::new(),
            });
        }
        let chat = chat?;
        Some(match &self.what {
            What::Started { .. }
            | What::Renamed { .. }
            | What::MessageRemoved { .. }
            | What::OwnRemoved { .. } => Chat { seq, ..chat },
            What::Posted(_) | What::Blank(_) => Chat { seq, said_at: Some(self.at), ..chat },
            What::TitleEdited { title, .. } => Chat { seq, title: title.clone(), ..chat },
            What::VisibilitySet { visibility, .. } => Chat { seq, visibility: *visibility, ..chat },
            What::Invited { to, .. } => chat.after_invite(seq, Some(to.id)),
            What::InviteAnswered { by, answer } => {
                let no = (*answer == Answer::Decline).then_some(Declined { by: by.id, at: self.at });
                chat.after_answer(seq, no)
            }
            What::InviteWithdrawn { .. } => chat.after_invite(seq, None),
            What::LockSet { is_locked, .. } => Chat { seq, is_locked: *is_locked, ..chat },
            What::PersonRemoved { person, .. } => {
                let mut removed = chat.removed;
                removed.push(person.id);
                Chat { seq, removed, ..chat }
            }
            What::PersonAdmitted { person, .. } => {
                let mut removed = chat.removed;
                removed.retain(|removed| *removed != person.id);
                Chat { seq, removed, ..chat }
            }
            What::PeopleRemoved { first, others, .. } => {
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
        match &self.what {
            What::PeopleRemoved { first, others, .. } => {
                Some(([first.id].iter().chain(others).copied().collect(), RemovedBy::Owner))
            }
            What::OwnRemoved { user } => Some((vec![*user], RemovedBy::Author)),
            _ => None,
        }
    }

    /// Everybody whom this event is about: to them it may be told in other words than to others.
    pub fn people(&self) -> impl Iterator<Item = UserId> {
        let (one, other) = match &self.what {
            What::Posted(message) => (Some(message.author), None),
            What::Blank(blank) => (Some(blank.author), None),
            What::Started { owner, guest, .. } => (Some(*owner), guest.as_ref().map(|guest| guest.id)),
            What::Renamed { user, .. } => (Some(*user), None),
            What::Invited { by, to } => (Some(by.id), Some(to.id)),
            What::InviteAnswered { by, .. } => (Some(by.id), None),
            What::InviteWithdrawn { by, to } => (Some(by.id), Some(*to)),
            What::PersonRemoved { person, .. } | What::PersonAdmitted { person, .. } => {
                (Some(person.id), None)
            }
            What::PeopleRemoved { first, .. } => (Some(first.id), None),
            What::OwnRemoved { user } => (Some(*user), None),
            What::TitleEdited { .. }
            | What::VisibilitySet { .. }
            | What::MessageRemoved { .. }
            | What::LockSet { .. } => (None, None),
        };
        let more = match &self.what {
            What::PeopleRemoved { others, .. } => &others[..],
            _ => &[],
        };
        one.into_iter().chain(other).chain(more.iter().copied())
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
            | What::VisibilitySet { .. }
            | What::MessageRemoved { .. }
            | What::Blank(_)
            | What::PersonRemoved { .. }
            | What::PersonAdmitted { .. }
            | What::LockSet { .. }
            | What::PeopleRemoved { .. }
            | What::OwnRemoved { .. } => None,
        }
    }

    /// The event of a message after the message was removed: in its place, and without what it said. Any other event
    /// stays as it is.
    pub fn blank(self, by: RemovedBy) -> Self {
        match self.what {
            What::Posted(message) => Self { what: What::Blank(Blank::of(message, by)), ..self },
            what => Self { what, ..self },
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
    Forgotten {
        /// Of which chat.
        chat: ChatId,
        /// The newest that is gone.
        upto: Seq,
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
