//! Chats and names: who starts a chat, what it is called, who finds it, and what its members are called.

use std::collections::BTreeSet;

use super::{Changes, Now, StateReader};
use crate::{ChatId, EventKind, Nickname, Problem, Seq, Title, User, UserId, Visibility};

impl<S: StateReader> Now<'_, S> {
    /// Changes a nickname, and notes it in these chats.
    pub(super) fn set_nickname(&self, by: UserId, nickname: &Nickname, chats: &[ChatId]) -> Changes<S> {
        let User { id, nickname: from } = self.user(by)?;
        let mut changes = self.store_user(&User { id, nickname: nickname.clone() })?;
        if from == *nickname {
            return Ok(changes);
        }
        for id in chats.iter().collect::<BTreeSet<_>>() {
            let Some(chat) = self.chat(*id)? else { continue };
            // a nickname is text that others see, too
            if chat.check_access(by).and_then(|()| chat.check_can_post(by)).is_err() {
                continue;
            }
            let (from, to) = (from.clone(), nickname.clone());
            changes.push(self.event(*id, chat.seq, EventKind::Renamed { user: by, from, to }));
        }
        Ok(changes)
    }

    pub(super) fn start_chat(
        &self,
        by: UserId,
        chat: ChatId,
        title: Option<&Title>,
        visibility: Visibility,
    ) -> Changes<S> {
        match self.chat(chat)? {
            // a retry of the same form
            Some(there) if there.owner == by && there.guest.is_none() => return Ok(Vec::new()),
            Some(_) => return Err(Problem::ChatExists.into()),
            None => {}
        }
        let User { nickname, .. } = self.user(by)?;
        let title = title.cloned().unwrap_or_else(|| Title::for_chat_of(&nickname));
        let started = EventKind::Started { owner: by, nickname, title, visibility, guest: None };
        Ok(vec![self.event(chat, Seq::ZERO, started)])
    }

    pub(super) fn edit_title(&self, by: UserId, chat: ChatId, title: &Title) -> Changes<S> {
        let chat = self.owned_chat(chat, by)?;
        if chat.title == *title {
            return Ok(Vec::new());
        }
        let User { nickname, .. } = self.user(by)?;
        Ok(self.next(&chat, EventKind::TitleEdited { nickname, title: title.clone() }))
    }

    pub(super) fn set_visibility(&self, by: UserId, chat: ChatId, visibility: Visibility) -> Changes<S> {
        let chat = self.owned_chat(chat, by)?;
        if chat.visibility == visibility {
            return Ok(Vec::new());
        }
        if chat.guest.is_some() {
            return Err(Problem::ChatOfTwo.into());
        }
        let User { nickname, .. } = self.user(by)?;
        Ok(self.next(&chat, EventKind::VisibilitySet { nickname, visibility }))
    }
}
