//! What people ask for.

use serde::{Deserialize, Serialize};

use crate::{Body, ChatId, ClientId, Nickname, Seq, Timestamp, Title, UserId, Visibility, invite::Answer};

/// Something durable that a person asks for.
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
        /// How many milliseconds ago the client tried for the first time.
        waited_millis: u64,
    },
    /// Talk to somebody in a chat of two: the one there is, or a new one. They are invited.
    ChatPrivately {
        /// Whom to talk to.
        with: UserId,
        /// A fresh id, drawn by the server, for a chat that is not there yet.
        chat: ChatId,
        /// Whether the other is in that chat now and needs no invite; filled in by the server.
        is_there: bool,
        /// Whether both are in some chat now; filled in by the server.
        is_near: bool,
    },
    /// Say yes or no to an invite.
    AnswerInvite {
        /// To which chat.
        chat: ChatId,
        /// What.
        answer: Answer,
    },
    /// Be invited by others, or by nobody.
    SetInvites {
        /// Whether others can.
        are_taken: bool,
    },
    /// Take away a message: one's own, or anybody's for the owner of a chat of many.
    RemoveMessage {
        /// Where.
        chat: ChatId,
        /// Its place.
        message: Seq,
    },
    /// Remove somebody from a chat, or let them return. For its owner alone.
    SetRemoved {
        /// Which.
        chat: ChatId,
        /// Whom.
        person: UserId,
        /// Whether they may not be there.
        is_removed: bool,
    },
    /// Remove somebody from a chat with all they said in it. For its owner alone.
    RemovePerson {
        /// Which.
        chat: ChatId,
        /// Whom.
        person: UserId,
    },
    /// Remove everybody from a chat who came lately, with all they said in it. For its owner alone.
    RemoveNewcomers {
        /// Which.
        chat: ChatId,
        /// How many seconds ago they came at most.
        seconds: u64,
        /// Who they are, filled in by the server.
        people: Vec<UserId>,
    },
    /// Take away all one said in a chat, whether one may still enter it or not.
    RemoveOwn {
        /// Which.
        chat: ChatId,
    },
    /// Let nobody else write in a chat, or everybody again. For its owner alone.
    SetLock {
        /// Which.
        chat: ChatId,
        /// Whether the owner alone can write.
        is_locked: bool,
    },
    /// Hide what somebody says from oneself, or show it again.
    SetHidden {
        /// Whose.
        person: UserId,
        /// Whether it is hidden.
        is_hidden: bool,
    },
}

/// Something that is to get a place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    /// What a person asks for.
    Command {
        /// Who.
        by: UserId,
        /// For what.
        command: Command,
    },
    /// Who was there, and in which chats, since the last time this was noted. An open page keeps its user and its chat
    /// alive, however idle it is.
    Touch {
        /// When each user was last seen.
        users: Vec<(UserId, Timestamp)>,
        /// When somebody was last in each chat.
        chats: Vec<(ChatId, Timestamp)>,
    },
    /// What may go, since it has expired. What was needed meanwhile stays.
    Expire {
        /// These users.
        users: Vec<UserId>,
        /// These chats.
        chats: Vec<ChatId>,
        /// The events of these chats up to a place.
        events: Vec<(ChatId, Seq)>,
    },
    /// A user has gone: their last page was closed. Nobody is to wait for them.
    UserLeft(UserId),
    /// Whoever runs the server ends a chat: what happened in it up to a place goes, and with the last of that the chat.
    End {
        /// Which.
        chat: ChatId,
        /// Up to which place.
        through: Seq,
    },
    /// The clock of the server was set, forward by so many milliseconds or back by as many. What was noted of users and
    /// chats moves with it, so that no length of time is different by that.
    ClockSet(i64),
}

/// A proposal with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place: higher than that of every entry before it.
    pub seq: Seq,
    /// When it got its place. Where the clock was set back this is earlier than the entry before it: order is by place.
    pub at: Timestamp,
    /// What.
    pub proposal: Proposal,
}
