//! What a page is made of: computed by the server, rendered there, and taken over by the browser as it is.

use serde::{Deserialize, Serialize};

use crate::{
    Chat, ChatId, Counts, Epoch, Event, Invite, Lifetimes, Lobby, Problem, Roster, Seq, Timestamp, User,
    UserId, lobby::LobbyQuery,
};

/// How many events the newest page of a chat's history has.
pub const PAGE_EVENTS: usize = 50;

/// A page that is alive, once the browser has taken it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// `/`
    Home(Box<HomePage>),
    /// `/chat/{id}`
    Chat(Box<ChatPage>),
}

/// A page that says one thing. It stays as it was rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The answer to an ordinary form that was refused: what is wrong, and what was written, to be sent again.
    Refused {
        /// What is wrong.
        problem: Problem,
        /// What was written.
        form: RefusedForm,
    },
    /// There is nothing to show but why.
    Problem(Problem),
    /// The owner of this chat has removed whoever looks, who can still take back what they said there.
    Removed(ChatId),
    /// No page has this address.
    Missing,
}

/// What is the same on every page that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Who looks.
    pub me: User,
    /// When, by the server's clock.
    pub now: Timestamp,
    /// How many there are in all.
    pub counts: Counts,
    /// Who wants to talk to whoever looks.
    pub invites: Vec<Invite>,
    /// Whom they have hidden.
    pub hidden: Vec<UserId>,
    /// Whether others can invite them.
    pub takes_invites: bool,
    /// How long things are kept here.
    pub lifetimes: Lifetimes,
}

/// The home page as one person finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomePage {
    /// Who looks.
    pub visit: Visit,
    /// What was asked for.
    pub wanted: LobbyQuery,
    /// The public chats.
    pub lobby: Lobby,
}

/// A chat as one person finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatPage {
    /// Who looks.
    pub visit: Visit,
    /// At what.
    pub chat: Chat,
    /// Who is there. The reader is counted, and not named unless others see them there already.
    pub roster: Roster,
    /// What was said, a page of it.
    pub history: History,
    /// Whether there is something newer than that page.
    pub later: bool,
    /// About whom or what more is to be shown.
    pub about: Option<About>,
}

/// Somebody in a chat, and what they said where it is about that: what a reader may want to do something about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Who, as they are known.
    pub person: User,
    /// The place of what they said.
    pub message: Option<Seq>,
}

/// Events of a chat without a hole, and the cursor to go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The life of the log that the events belong to.
    pub epoch: Epoch,
    /// The place to go on from: that of the last event, or of the last there was where all have expired.
    pub seq: Seq,
    /// In the order of the log.
    pub events: Vec<Event>,
    /// Whether there are older ones.
    pub earlier: bool,
}

/// A form that can be filled in again with what it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedForm {
    /// Start a chat.
    StartChat {
        /// As typed.
        nickname: String,
        /// As typed.
        title: String,
        /// As ticked.
        private: bool,
        /// The form's id as it came.
        id: String,
    },
    /// Post a message.
    PostMessage {
        /// The chat's id as it came.
        chat: String,
        /// The message's id as it came.
        client_id: String,
        /// As typed.
        body: String,
    },
    /// Be called differently.
    SetNickname {
        /// The chat to go back to, as it came; nothing for the home page.
        chat: String,
        /// As typed.
        nickname: String,
    },
    /// Call a chat something else.
    EditTitle {
        /// The chat's id as it came.
        chat: String,
        /// As typed.
        title: String,
    },
}
