//! Messages: who posts them, and who changes and removes them.

use super::{Changes, Found, Now, RESTORE_EVENTS, RESTORE_MILLIS, StateReader, Unchanged};
use crate::{
    Attached, Body, Chat, ChatId, ClientId, Event, EventKind, Message, MessageRef, Picture, PictureRecord,
    PlainMessage, Problem, RemovedBy, Restored, Rules, Seq, User, UserId, Wording,
    picture::{PICTURE_WAITS_MILLIS, PICTURES_LIMIT},
};

/// What a message is to say.
pub(super) struct Saying<'a> {
    pub(super) words: &'a Wording,
    pub(super) reply_to: Option<Seq>,
    pub(super) pictures: &'a [Attached],
    pub(super) is_action: bool,
}

impl<S: StateReader> Now<'_, S> {
    pub(super) fn post(
        &self,
        by: UserId,
        chat: ChatId,
        (client_id, body): (ClientId, &Body),
        waited_millis: u64,
    ) -> Changes<S> {
        let chat = self.chat_to_post_to(by, chat, client_id, waited_millis)?;
        let User { id: author, nickname } = self.user(by)?;
        let message = PlainMessage { author, nickname, client_id, body: body.clone() };
        let kind = if self.rules < Rules::OF_MESSAGES {
            EventKind::Posted(message)
        } else {
            EventKind::Said(Box::new(message.into()))
        };
        Ok(self.next(&chat, kind))
    }

    pub(super) fn say(
        &self,
        by: UserId,
        chat: ChatId,
        client_id: ClientId,
        said: &Saying<'_>,
        waited_millis: u64,
    ) -> Changes<S> {
        let chat = self.chat_to_post_to(by, chat, client_id, waited_millis)?;
        let Saying { words, reply_to, pictures, is_action } = said;
        if words.body.is_empty() && pictures.is_empty() {
            return Err(Problem::MessageEmpty.into());
        }
        let answered = match reply_to {
            Some(answered) => Some(self.message(&chat, *answered)?.ok_or(Problem::ReplyGone)?),
            None => None,
        };
        let reply_author = answered.as_ref().and_then(|event| event.kind.message()).map(|said| said.author);
        let pictures = self.attach(pictures)?;
        let User { id: author, nickname } = self.user(by)?;
        let Wording { body, marks, mentions } = Wording::clone(words).checked();
        let message = Message {
            author,
            nickname,
            client_id,
            body,
            marks,
            mentions,
            reply_to: *reply_to,
            reply_author,
            pictures,
            is_action: *is_action,
            edited_at: None,
            quote: None,
        };
        Ok(self.next(&chat, EventKind::Said(Box::new(message))))
    }

    /// Returns the chat that a message is to be posted to, if it may be and was not.
    fn chat_to_post_to(
        &self,
        by: UserId,
        chat: ChatId,
        client_id: ClientId,
        waited_millis: u64,
    ) -> Found<Chat, S> {
        let chat = self.accessible_chat(chat, by)?;
        if let Some(first) = self.read(|state| state.posted(chat.id, by, client_id))? {
            return Err(Unchanged::Duplicate(first));
        }
        // the ids of messages older than that are forgotten, so a duplicate would go unnoticed
        if waited_millis >= self.expiry.lifetimes.message.millis() {
            return Err(Problem::WaitedTooLong.into());
        }
        chat.check_can_post(by)?;
        Ok(chat)
    }

    /// Returns pictures to post, if all of them may be.
    fn attach(&self, attached: &[Attached]) -> Found<Vec<Picture>, S> {
        if attached.len() > PICTURES_LIMIT {
            return Err(Problem::TooManyPictures.into());
        }
        // Its file may have been deleted by then, since no message had it. And once a message with it has expired, nobody
        // knows that it was posted.
        let waits_millis = PICTURE_WAITS_MILLIS.min(self.expiry.lifetimes.message.millis());
        let mut pictures: Vec<Picture> = Vec::new();
        for Attached { picture, uploaded_at } in attached {
            if self.entry.at.millis_since(*uploaded_at) >= waits_millis {
                return Err(Problem::PictureExpired.into());
            }
            let is_twice = pictures.iter().any(|before| before.id == picture.id);
            if is_twice || self.read(|state| state.message_of_picture(picture.id))?.is_some() {
                return Err(Problem::PictureUsed.into());
            }
            pictures.push(picture.clone());
        }
        Ok(pictures)
    }

    /// Gives a message of the user other words, however old it is.
    pub(super) fn edit_message(&self, by: UserId, chat: ChatId, message: Seq, words: &Wording) -> Changes<S> {
        let chat = self.accessible_chat(chat, by)?;
        let event = self.message(&chat, message)?.ok_or(Problem::MessageGone)?;
        let said = event.kind.message().ok_or(Problem::MessageGone)?;
        if said.author != by {
            return Err(Problem::NotAuthor.into());
        }
        chat.check_can_post(by)?;
        if said.body == words.body {
            return Ok(Vec::new());
        }
        if words.body.is_empty() && said.pictures.is_empty() {
            return Err(Problem::MessageEmpty.into());
        }
        let wording = Some(Box::new(words.clone().checked()));
        Ok(self.next(&chat, EventKind::MessageEdited { message, wording }))
    }

    /// Takes back the removal of a message by its author. The author says it again, since its text was not kept.
    pub(super) fn restore_message(
        &self,
        by: UserId,
        chat: ChatId,
        (message, removal): (Seq, Seq),
        said: &Restored,
    ) -> Changes<S> {
        let chat = self.accessible_chat(chat, by)?;
        let event = self.read(|state| state.event(chat.id, message))?;
        let event = event.filter(|event| !self.expiry.of_event(event.at));
        let found = event.as_ref().and_then(|event| event.kind.message_or_tombstone());
        let Some(MessageRef { author, nickname, client_id, content }) = found else {
            return Err(Problem::MessageGone.into());
        };
        if author != by {
            return Err(Problem::NotAuthor.into());
        }
        chat.check_can_post(by)?;
        let removed = self.read(|state| state.event(chat.id, removal))?;
        let is_it = EventKind::MessageRemoved { message, by: RemovedBy::Author };
        let removed_at = removed.filter(|event| event.kind == is_it).ok_or(Problem::MessageGone)?.at;
        match content.removed_by() {
            // sent twice
            None => return Ok(Vec::new()),
            Some(RemovedBy::Author) => {}
            Some(RemovedBy::Owner) => return Err(Problem::MessageGone.into()),
        }
        let now = self.entry.at;
        // a time in the future is from before the clock was set back
        if removed_at > now || now.millis_since(removed_at) > RESTORE_MILLIS {
            return Err(Problem::TooLateToUndo.into());
        }
        // What was restored and removed again, or was among all that was removed, stays removed: this may be a late retry.
        let is_later = |event: &Event| match &event.kind {
            EventKind::MessageRemoved { message: of, .. }
            | EventKind::MessageRestored { message: of, .. } => *of == message,
            _ => event.clears().is_some_and(|(authors, _)| authors.contains(&author)),
        };
        match self.read(|state| state.any_event_after(chat.id, removal, RESTORE_EVENTS, is_later))? {
            Some(false) => {}
            Some(true) => return Err(Problem::MessageGone.into()),
            None => return Err(Problem::TooLateToUndo.into()),
        }
        let Restored { words, reply_to, is_action, alts } = said;
        if words.body.is_empty() && alts.is_empty() {
            return Err(Problem::MessageEmpty.into());
        }
        let mut pictures: Vec<Picture> = Vec::new();
        for (id, alt) in alts {
            let kept = self.read(|state| state.picture(chat.id, message, *id))?;
            let is_twice = pictures.iter().any(|before| before.id == *id);
            // The files of one that an earlier removal took may be deleted by now.
            let is_of_it = |kept: &PictureRecord| kept.removed_at == Some(removed_at);
            let kept = kept.filter(|kept| is_of_it(kept) && !is_twice).ok_or(Problem::TooLateToUndo)?;
            pictures.push(kept.picture(*id, alt.clone()));
        }
        let reply_to = reply_to.filter(|answered| *answered < message);
        let answered = reply_to.map_or(Ok(None), |answered| self.message(&chat, answered))?;
        let reply_author = answered.as_ref().and_then(|event| event.kind.message()).map(|said| said.author);
        let Wording { body, marks, mentions } = words.clone().checked();
        let said = Message {
            author,
            nickname: nickname.clone(),
            client_id,
            body,
            marks,
            mentions,
            reply_to,
            reply_author,
            pictures,
            is_action: *is_action,
            // Nobody knows whether it is what it was.
            edited_at: Some(now),
            quote: None,
        };
        Ok(self.next(&chat, EventKind::MessageRestored { message, said: Some(Box::new(said)) }))
    }

    /// Removes a message of the user, or as the owner of the chat, who may remove also what its author has removed. Authors who were removed from the chat may still remove
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
        match (content.removed_by(), removed_by) {
            (None, _) => {}
            // The author could take it back otherwise.
            (Some(RemovedBy::Author), RemovedBy::Owner) if self.rules >= Rules::OF_MESSAGES => {}
            (Some(_), _) => return Ok(Vec::new()),
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
