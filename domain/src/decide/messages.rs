//! Messages: who posts them, and who removes them.

use super::{Changes, Now, StateReader, Unchanged};
use crate::{Body, ChatId, ClientId, EventKind, Message, MessageRef, Problem, RemovedBy, Seq, User, UserId};

impl<S: StateReader> Now<'_, S> {
    pub(super) fn post(
        &self,
        by: UserId,
        chat: ChatId,
        (client_id, body): (ClientId, &Body),
        waited_millis: u64,
    ) -> Changes<S> {
        let chat = self.accessible_chat(chat, by)?;
        if let Some(first) = self.read(|state| state.posted(chat.id, by, client_id))? {
            return Err(Unchanged::Duplicate(first));
        }
        // the ids of messages older than that are forgotten, so a duplicate would go unnoticed
        if waited_millis >= self.expiry.lifetimes.message.millis() {
            return Err(Problem::WaitedTooLong.into());
        }
        chat.check_can_post(by)?;
        let User { id: author, nickname } = self.user(by)?;
        let message = Message { author, nickname, client_id, body: body.clone() };
        Ok(self.next(&chat, EventKind::Posted(message)))
    }

    /// Removes a message of the user, or as the owner of the chat. Authors who were removed from the chat may still remove
    /// their own messages.
    pub(super) fn remove_message(&self, by: UserId, chat: ChatId, message: Seq) -> Changes<S> {
        let chat = self.chat(chat)?.ok_or(Problem::UnknownChat)?;
        let access = chat.check_access(by);
        if let Err(problem @ Problem::NotAdmitted) = access {
            return Err(problem.into());
        }
        let found = self.read(|state| state.event(chat.id, message))?;
        let found = found.filter(|event| !self.expiry.of_event(event.at));
        let found = found.as_ref().and_then(|event| event.kind.message_or_tombstone());
        let Some(MessageRef { author, content, .. }) = found else {
            return Err(access.err().unwrap_or(Problem::MessageGone).into());
        };
        let removed_by = if author == by {
            RemovedBy::Author
        } else {
            access?;
            if chat.owner != by || chat.guest.is_some() {
                return Err(Problem::NotOwner.into());
            }
            RemovedBy::Owner
        };
        if content.is_removed() {
            return Ok(Vec::new());
        }
        Ok(self.next(&chat, EventKind::MessageRemoved { message, by: removed_by }))
    }

    /// Removes all messages of a user in a chat, even if the user was removed from it.
    pub(super) fn remove_own(&self, by: UserId, chat: ChatId) -> Changes<S> {
        let chat = self.chat(chat)?.ok_or(Problem::UnknownChat)?;
        if let Err(problem @ Problem::NotAdmitted) = chat.check_access(by) {
            return Err(problem.into());
        }
        if !self.read(|state| state.has_messages_by(chat.id, by))? {
            return Ok(Vec::new());
        }
        Ok(self.next(&chat, EventKind::OwnRemoved { user: by }))
    }
}
