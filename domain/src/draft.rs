//! Drafts: what clients ask for, with texts that were checked, before the server fills in what it alone knows.

use crate::{
    Alt, Body, ChatId, ClientId, Command, PictureId, Seq, UserId, message::MENTIONS_LIMIT,
    picture::PictureTicket,
};

/// A durable action that a client asks for. The texts of it are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Draft {
    /// Posts a message.
    Say {
        /// The chat to post to.
        chat: ChatId,
        /// An id made by the client, the same for every retry of this message.
        client_id: ClientId,
        /// The text. Empty only if there are pictures.
        text: DraftText,
        /// The message that this one answers. `None` if it answers none.
        reply_to: Option<Seq>,
        /// The pictures.
        pictures: Vec<PictureTicket>,
        /// Whether it says what its author does (`/me`).
        is_action: bool,
        /// How many milliseconds ago the client first tried to post it.
        waited_millis: u64,
    },
    /// Gives a message of the user's own another text.
    EditMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The new text. Empty only for a message that has pictures.
        text: DraftText,
    },
    /// Takes back the removal of a message of the user's own.
    RestoreMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The sequence number of its removal.
        removal: Seq,
        /// The text that it had.
        text: DraftText,
        /// The message that it answers. `None` if it answers none.
        reply_to: Option<Seq>,
        /// Whether it says what its author does (`/me`).
        is_action: bool,
        /// The pictures that it had, each with its description.
        alts: Vec<(PictureId, Alt)>,
    },
    /// Reacts to a message, or does so no more.
    React {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The emoji as typed.
        emoji: String,
        /// Whether the user reacts with this emoji from now on.
        is_on: bool,
    },
    /// Anything else.
    Command(Command),
}

/// The text of a message, and the users whom its author chose to mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftText {
    /// The text as typed.
    pub body: Body,
    /// The users who are mentioned, at most [`MENTIONS_LIMIT`]. `None` if the server is to find them by their nicknames.
    pub mentions: Option<Vec<UserId>>,
}

impl Draft {
    /// Creates a draft of a message that is a text alone, posted now.
    pub fn post(chat: ChatId, client_id: ClientId, body: Body) -> Self {
        Self::Say {
            chat,
            client_id,
            text: DraftText::new(body, None),
            reply_to: None,
            pictures: Vec::new(),
            is_action: false,
            waited_millis: 0,
        }
    }

    /// Returns the draft of a message with these pictures, and any other draft as it is.
    #[must_use]
    pub fn with_pictures(mut self, with: Vec<PictureTicket>) -> Self {
        if let Self::Say { pictures, .. } = &mut self {
            *pictures = with;
        }
        self
    }

    /// Returns the draft of a message that answers this one, if there is one, and any other draft as it is.
    #[must_use]
    pub fn with_reply_to(mut self, answered: Option<Seq>) -> Self {
        if let Self::Say { reply_to, .. } = &mut self {
            *reply_to = answered;
        }
        self
    }

    /// Creates a draft of a message that says what its author does, posted now.
    pub fn action(chat: ChatId, client_id: ClientId, body: Body) -> Self {
        let mut draft = Self::post(chat, client_id, body);
        if let Self::Say { is_action, .. } = &mut draft {
            *is_action = true;
        }
        draft
    }
}

impl DraftText {
    /// Creates the text of a message. Of more than [`MENTIONS_LIMIT`] users the first are mentioned.
    pub fn new(body: Body, mut mentions: Option<Vec<UserId>>) -> Self {
        if let Some(mentions) = &mut mentions {
            mentions.truncate(MENTIONS_LIMIT);
        }
        Self { body, mentions }
    }
}

impl From<Command> for Draft {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}
