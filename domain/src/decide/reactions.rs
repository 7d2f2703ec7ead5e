//! Reactions to messages.

use super::{Changes, Now, StateReader};
use crate::{Change, ChatId, Emoji, Problem, Reaction, Seq, UserId, reaction::REACTIONS_LIMIT};

impl<S: StateReader> Now<'_, S> {
    /// Reacts to a message, or does so no more.
    pub(super) fn react(
        &self,
        by: UserId,
        chat: ChatId,
        message: Seq,
        emoji: &Emoji,
        is_on: bool,
    ) -> Changes<S> {
        let chat = self.accessible_chat(chat, by)?;
        chat.check_can_post(by)?;
        self.message(&chat, message)?.ok_or(Problem::MessageGone)?;
        if self.read(|state| state.has_reacted(chat.id, message, by, emoji))? == is_on {
            return Ok(Vec::new());
        }
        let tally = self.read(|state| state.tally(chat.id, message))?.unwrap_or_default();
        if is_on && tally.of.len() >= REACTIONS_LIMIT && tally.count_of(emoji) == 0 {
            return Err(Problem::TooManyReactions.into());
        }
        let (emoji, by) = (emoji.clone(), self.user(by)?);
        Ok(vec![Change::Reacted(Reaction { chat: chat.id, message, emoji, by, is_on, seq: self.entry.seq })])
    }
}
