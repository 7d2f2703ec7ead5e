//! Commands of users, and proposals for the log.

use serde::{Deserialize, Serialize};

use crate::{
    Alt, Attached, Body, ChatId, ClientId, Emoji, Nickname, PictureId, Seq, Timestamp, Title, UserId,
    Visibility, Wording, invite::Answer,
};

/// A durable action that a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Changes the user's nickname.
    SetNickname {
        /// The new nickname.
        nickname: Nickname,
        /// The chats the user is in, where the change is shown. Filled in by the server.
        chats: Vec<ChatId>,
    },
    /// Starts a chat owned by the user.
    StartChat {
        /// A fresh id, drawn by the server.
        chat: ChatId,
        /// The title. `None` names the chat after its owner.
        title: Option<Title>,
        /// Whether the chat is listed publicly.
        visibility: Visibility,
    },
    /// Changes the title of a chat. Owner only.
    EditTitle {
        /// The chat to rename.
        chat: ChatId,
        /// The new title.
        title: Title,
    },
    /// Lists a chat publicly, or makes it reachable by its link only. Owner only.
    SetVisibility {
        /// The chat to list, or to list no longer.
        chat: ChatId,
        /// Whether the chat is listed publicly from now on.
        visibility: Visibility,
    },
    /// Posts a message that is a text alone, as long as the rules know no other.
    Post {
        /// The chat to post to.
        chat: ChatId,
        /// An id made by the client, the same for every retry of this message.
        client_id: ClientId,
        /// The text.
        body: Body,
        /// How many milliseconds ago the client first tried to post it.
        waited_millis: u64,
    },
    /// Opens the direct chat with another user and invites them: the existing chat, or a new one.
    ChatPrivately {
        /// The other user.
        with: UserId,
        /// A fresh id, drawn by the server, for a chat that does not exist yet.
        chat: ChatId,
        /// Whether the other user is in that chat now and needs no invite. Filled in by the server.
        is_there: bool,
        /// Whether both users are in some chat together now. Filled in by the server.
        is_near: bool,
    },
    /// Answers an invite.
    AnswerInvite {
        /// The chat it leads to.
        chat: ChatId,
        /// Whether the invite is accepted.
        answer: Answer,
    },
    /// Allows or refuses invites from others.
    SetInvites {
        /// Whether invites are accepted.
        are_taken: bool,
    },
    /// Removes a message: the user's own, or, as the owner of a group chat, anyone's.
    RemoveMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
    },
    /// Removes a user from a chat, or lets them return. Owner only.
    SetRemoved {
        /// The chat from which the user is removed, or to which they may return.
        chat: ChatId,
        /// The user to remove or readmit.
        person: UserId,
        /// Whether the user is removed.
        is_removed: bool,
    },
    /// Removes a user from a chat, with all their messages in it. Owner only.
    RemovePerson {
        /// The chat to remove the user from.
        chat: ChatId,
        /// The user to remove.
        person: UserId,
    },
    /// Removes everyone who joined a chat recently, with all their messages in it. Owner only.
    RemoveNewcomers {
        /// The chat to remove them from.
        chat: ChatId,
        /// How far back to look, in seconds.
        seconds: u64,
        /// Those users. Filled in by the server.
        people: Vec<UserId>,
    },
    /// Removes all of the user's own messages in a chat, even if the user may no longer enter it.
    RemoveOwn {
        /// The chat to remove the messages from.
        chat: ChatId,
    },
    /// Locks a chat, so that only its owner can write, or unlocks it. Owner only.
    SetLock {
        /// The chat to lock or unlock.
        chat: ChatId,
        /// Whether the chat is locked.
        is_locked: bool,
    },
    /// Hides another user's messages from the user, or shows them again.
    SetHidden {
        /// The user to hide or show.
        person: UserId,
        /// Whether they are hidden.
        is_hidden: bool,
    },
    /// Posts a message.
    Say {
        /// The chat to post to.
        chat: ChatId,
        /// An id made by the client, the same for every retry of this message.
        client_id: ClientId,
        /// The words. The marks and mentions are filled in by the server.
        words: Wording,
        /// The message that this one answers. `None` if it answers none.
        reply_to: Option<Seq>,
        /// The pictures. Filled in by the server.
        pictures: Vec<Attached>,
        /// Whether it says what its author does (`/me`).
        is_action: bool,
        /// How many milliseconds ago the client first tried to post it.
        waited_millis: u64,
    },
    /// Gives a message of the user's own other words.
    EditMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The new words. The marks and mentions are filled in by the server.
        words: Wording,
    },
    /// Takes back the removal of a message of the user's own, soon after it.
    RestoreMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The sequence number of its removal.
        removal: Seq,
        /// What the message said, which the server has not kept.
        said: Box<Restored>,
    },
    /// Reacts to a message with an emoji, or does so no more.
    React {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The emoji.
        emoji: Emoji,
        /// Whether the user reacts with this emoji from now on.
        is_on: bool,
    },
}

/// What a message said that is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The words. The marks and mentions are filled in by the server.
    pub words: Wording,
    /// The message that it answers. `None` if it answers none.
    pub reply_to: Option<Seq>,
    /// Whether it says what its author does (`/me`).
    pub is_action: bool,
    /// The pictures that it has, each with its description.
    pub alts: Vec<(PictureId, Alt)>,
}

/// Something to be given a position in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    /// A command of a user.
    Command {
        /// The user who asks for it.
        by: UserId,
        /// What the user asks for.
        command: Command,
    },
    /// Records who was seen, and in which chats, since the last such entry. An open page keeps its user and its chat
    /// from expiring, however idle it is.
    Touch {
        /// When each user was last seen.
        users: Vec<(UserId, Timestamp)>,
        /// When each chat last had a member.
        chats: Vec<(ChatId, Timestamp)>,
    },
    /// Removes what has expired. What has been used again meanwhile stays.
    Expire {
        /// The expired users.
        users: Vec<UserId>,
        /// The expired chats.
        chats: Vec<ChatId>,
        /// The chats whose events go, each with the last sequence number to remove.
        events: Vec<(ChatId, Seq)>,
    },
    /// A user has gone offline: their last page was closed. Their open invites are withdrawn.
    UserLeft(UserId),
    /// The operator ends a chat: its events up to `through` are removed, and the chat with the last of them.
    End {
        /// The chat to end.
        chat: ChatId,
        /// The last sequence number to remove.
        through: Seq,
    },
    /// The clock of the server was set forward by this many milliseconds, or back if negative. The times recorded for
    /// users and chats move with it, so that no duration changes.
    ClockSet(i64),
}

/// A proposal with its position in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The sequence number: higher than that of every earlier entry.
    pub seq: Seq,
    /// When it got its position. Can be earlier than the entry before it, if the clock was set back: `seq` gives the order.
    pub at: Timestamp,
    /// What was proposed.
    pub proposal: Proposal,
}
