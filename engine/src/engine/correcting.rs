//! What the forms to edit a message, and to react to it, need to know of it.

use domain::{Body, ChatId, Message, Problem, Seq, UserId};

use super::{Engine, not_readable};
use crate::storage::Snapshot;

impl Engine {
    /// Returns the text of a message that a user may edit.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`](domain::Chat::check_access) and
    /// [`Chat::check_can_post`](domain::Chat::check_can_post) if the user may not write there, [`Problem::MessageGone`] if there
    /// is no such message any more, [`Problem::NotAuthor`] if it is another user's, or [`Problem::NotReadable`] if the database
    /// cannot be read.
    pub fn text_to_edit(&self, chat: ChatId, by: UserId, message: Seq) -> Result<Body, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, by)?;
        let said = message_in(&view, chat.id, message)?;
        if said.author != by {
            return Err(Problem::NotAuthor);
        }
        chat.check_can_post(by)?;
        Ok(said.body)
    }

    /// Checks that there is a message that a user may react to.
    ///
    /// # Errors
    /// Those of [`Engine::text_to_edit`], except that the message may be another user's.
    pub fn check_reaction(&self, chat: ChatId, by: UserId, message: Seq) -> Result<(), Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, by)?;
        message_in(&view, chat.id, message)?;
        chat.check_can_post(by)
    }
}

/// Returns a message.
fn message_in(view: &Snapshot, chat: ChatId, message: Seq) -> Result<Message, Problem> {
    let event = view.event(chat, message).map_err(|error| not_readable(&error))?;
    event.and_then(|event| event.kind.message().cloned()).ok_or(Problem::MessageGone)
}
