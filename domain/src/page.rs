//! The data of each page: computed and rendered by the server, and hydrated by the browser from the same data.

use serde::{Deserialize, Serialize};

use crate::{
    Body, Chat, ChatId, Counts, Epoch, Event, Invite, Lifetimes, Lobby, MessageTally, Problem, Roster, Seq,
    Timestamp, User, UserId, lobby::LobbyQuery, place::Answering,
};

/// The number of events in a page of a chat's history.
pub const PAGE_EVENTS: usize = 50;

/// A page that is live once it is hydrated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// The home page, `/`.
    Home(Box<HomePage>),
    /// The page of a chat, `/chat/{id}`.
    Chat(Box<ChatPage>),
}

/// A page with a single notice. It is static.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An ordinary form was refused. The page shows the reason, and the form again with what was typed.
    Refused {
        /// The reason.
        problem: Problem,
        /// The form as submitted.
        form: RefusedForm,
    },
    /// A problem without anything else to show.
    Problem(Problem),
    /// The reader was removed from this chat by its owner, and can still remove their own messages there.
    Removed(ChatId),
    /// A form to react to a message, for readers without a script.
    React {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
    },
    /// A form to edit a message, for readers without a script.
    Edit {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The text of the message.
        body: Body,
    },
    /// There is no page at this address.
    Missing,
}

/// The data that every live page has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// The reader.
    pub me: User,
    /// The time of rendering, by the server's clock.
    pub now: Timestamp,
    /// The totals over all chats.
    pub counts: Counts,
    /// The reader's open invites.
    pub invites: Vec<Invite>,
    /// The users the reader has hidden.
    pub hidden: Vec<UserId>,
    /// Whether the reader accepts invites.
    pub takes_invites: bool,
    /// How long data is kept on this server.
    pub lifetimes: Lifetimes,
}

/// The home page, for one reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomePage {
    /// The data every live page has.
    pub visit: Visit,
    /// The query in the address.
    pub wanted: LobbyQuery,
    /// The public chats that match it.
    pub lobby: Lobby,
}

/// The page of a chat, for one reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatPage {
    /// The data every live page has.
    pub visit: Visit,
    /// The chat.
    pub chat: Chat,
    /// The members. The reader is counted, but only named if others already see them there.
    pub roster: Roster,
    /// A page of the events.
    pub history: History,
    /// Whether there are events after that page.
    pub later: bool,
    /// Whether pictures can be attached.
    pub takes_pictures: bool,
    /// The user or message whose details are open. `None` if none are.
    pub about: Option<About>,
    /// The event that the address of the page leads to. `None` if it leads to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Seq>,
    /// The message that the composer answers. `None` if it answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answering: Option<Answering>,
    /// Why the page does not show what its address leads to. `None` if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Problem>,
}

/// A user in a chat whose details are open, and the message it is about, if any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The user, as they are known.
    pub person: User,
    /// The sequence number of the message. `None` if it is about the user alone.
    pub message: Option<Seq>,
}

/// Events of a chat without a gap, and the cursor to resume from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The position to resume from: that of the last event, even where all have expired.
    pub seq: Seq,
    /// The events in the order of the log.
    pub events: Vec<Event>,
    /// Whether there are older events.
    pub earlier: bool,
    /// The reactions to these messages. A message without any has none here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<MessageTally>,
    /// The position of the newest change of reactions in the chat. [`Seq::ZERO`] if there are none.
    #[serde(default)]
    pub reacted: Seq,
}

/// A submitted form, to be filled in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedForm {
    /// Starts a chat.
    StartChat {
        /// The nickname as typed.
        nickname: String,
        /// The title as typed.
        title: String,
        /// Whether the chat was to be private.
        private: bool,
        /// The form's id as received.
        id: String,
    },
    /// Posts a message.
    PostMessage {
        /// The chat's id as received.
        chat: String,
        /// The message's id as received.
        client_id: String,
        /// The text as typed.
        body: String,
        /// The sequence number of the message that it answers, as received. Empty if it answers none.
        reply_to: String,
        /// Whether it was sent with pictures, which a browser does not keep.
        had_pictures: bool,
        /// The description of the pictures as typed.
        alt: String,
    },
    /// Changes the nickname.
    SetNickname {
        /// The id as received of the chat to return to. Empty for the home page.
        chat: String,
        /// The nickname as typed.
        nickname: String,
    },
    /// Changes the title of a chat.
    EditTitle {
        /// The chat's id as received.
        chat: String,
        /// The title as typed.
        title: String,
    },
    /// Reacts to a message.
    React {
        /// The chat's id as received.
        chat: String,
        /// The sequence number of the message.
        message: u64,
        /// The emoji as typed.
        emoji: String,
    },
    /// Gives a message another text.
    EditMessage {
        /// The chat's id as received.
        chat: String,
        /// The sequence number of the message.
        message: u64,
        /// The text as typed.
        body: String,
    },
}
