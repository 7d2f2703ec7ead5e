//! What a form to edit a message is filled in with.

use domain::{Body, ChatId, Problem, Seq, UserId};

use super::{Engine, not_readable};

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
        let event = view.event(chat.id, message).map_err(|error| not_readable(&error))?;
        let event = event.ok_or(Problem::MessageGone)?;
        let said = event.kind.message().ok_or(Problem::MessageGone)?;
        if said.author != by {
            return Err(Problem::NotAuthor);
        }
        chat.check_can_post(by)?;
        Ok(said.body.clone())
    }
}
