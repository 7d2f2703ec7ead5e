//! What is still in use, and what expires or is ended.

use std::collections::BTreeSet;

use super::{Changes, Now, StateReader, Tracked};
use crate::{Change, ChatId, Problem, Seq, Timestamp, UserId};

impl<S: StateReader> Now<'_, S> {
    /// Records activity. A chat with members never expires, so it is touched even if its lifetime is over. A nickname
    /// that has expired stays expired: others already see the user under another one.
    pub(super) fn touch(&self, users: &[(UserId, Timestamp)], chats: &[(ChatId, Timestamp)]) -> Changes<S> {
        let mut changes = Vec::new();
        for (id, at) in users {
            let at = (*at).min(self.entry.at);
            if self.stored_user(*id)?.is_some_and(|stored| stored.active_at < at) {
                changes.push(Change::UserTouched(*id, at));
            }
        }
        for (id, at) in chats {
            let at = (*at).min(self.entry.at);
            if self.read(|state| state.chat(*id))?.is_some_and(|stored| stored.active_at < at) {
                changes.push(Change::ChatTouched(*id, at));
            }
        }
        Ok(changes)
    }

    /// Removes users, chats and events if they have expired as of this entry.
    pub(super) fn expire(&self, users: &[UserId], chats: &[ChatId], events: &[(ChatId, Seq)]) -> Changes<S> {
        let mut changes = Vec::new();
        for (id, through) in events {
            let chat = self.read(|state| state.chat(*id))?;
            let has_chat_expired = chat.is_none_or(|stored| self.expiry.of_chat(stored.active_at));
            let event = self.read(|state| state.event(*id, *through))?;
            if has_chat_expired || event.is_some_and(|event| self.expiry.of_event(event.at)) {
                changes.push(Change::Expired { chat: *id, through: *through });
            }
        }
        for id in chats {
            let stored = self.read(|state| state.chat(*id))?;
            if let Some(stored) = stored.filter(|stored| self.expiry.of_chat(stored.active_at)) {
                changes.push(Change::ChatExpired(stored.value));
            }
        }
        // a user named twice goes once, since an entry makes at most one event in a chat
        for id in users.iter().collect::<BTreeSet<_>>() {
            let stored = self.read(|state| state.user(*id))?;
            if stored.is_some_and(|stored| self.expiry.of_user(stored.active_at)) {
                changes.push(Change::UserExpired(*id));
                changes.extend(self.withdraw_invites(*id)?);
            }
        }
        Ok(changes)
    }

    /// Ends a chat for its operator: removes its events up to `through`, and the chat itself with the last of them.
    pub(super) fn end(&self, id: ChatId, through: Seq) -> Changes<S> {
        let stored = self.read(|state| state.chat(id))?;
        let Tracked { value: chat, .. } = stored.ok_or(Problem::UnknownChat)?;
        let mut changes = vec![Change::Expired { chat: id, through }];
        if chat.seq <= through {
            changes.push(Change::ChatExpired(chat));
        }
        Ok(changes)
    }
}
