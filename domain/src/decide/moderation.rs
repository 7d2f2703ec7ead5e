//! Moderation: removing users from a chat, locking it, and hiding users.

use super::{Changes, Now, StateReader};
use crate::{Change, ChatId, EventKind, Problem, User, UserId, chat::REMOVED_LIMIT, user::HIDDEN_LIMIT};

impl<S: StateReader> Now<'_, S> {
    /// Removes a user from a chat, or readmits them.
    pub(super) fn set_removed(
        &self,
        by: UserId,
        chat: ChatId,
        person: UserId,
        is_removed: bool,
    ) -> Changes<S> {
        let chat = self.moderated_chat(chat, by)?;
        if person == by {
            return Err(Problem::OnlyOthers.into());
        }
        if chat.removed.contains(&person) == is_removed {
            return Ok(Vec::new());
        }
        if is_removed && chat.removed.len() >= REMOVED_LIMIT {
            return Err(Problem::TooManyRemoved.into());
        }
        let (User { nickname, .. }, person) = (self.user(by)?, self.user(person)?);
        let kind = if is_removed {
            EventKind::PersonRemoved { nickname, person }
        } else {
            EventKind::PersonAdmitted { nickname, person }
        };
        Ok(self.next(&chat, kind))
    }

    /// Removes users from a chat with all their messages in it, as many as fit into the list of removed users.
    pub(super) fn remove_people(&self, by: UserId, chat: ChatId, people: &[UserId]) -> Changes<S> {
        let chat = self.moderated_chat(chat, by)?;
        if people == [by] {
            return Err(Problem::OnlyOthers.into());
        }
        let mut free_places = REMOVED_LIMIT.saturating_sub(chat.removed.len());
        let mut removed: Vec<UserId> = Vec::new();
        let mut is_full = false;
        for person in people.iter().copied().filter(|person| *person != by) {
            if removed.contains(&person) {
                continue;
            }
            if chat.removed.contains(&person) {
                if self.read(|state| state.has_messages_by(chat.id, person))? {
                    removed.push(person);
                }
            } else if free_places > 0 {
                free_places -= 1;
                removed.push(person);
            } else {
                is_full = true;
            }
        }
        let Some((first, others)) = removed.split_first() else {
            return if is_full { Err(Problem::TooManyRemoved.into()) } else { Ok(Vec::new()) };
        };
        let (User { nickname, .. }, first) = (self.user(by)?, self.user(*first)?);
        Ok(self.next(&chat, EventKind::PeopleRemoved { nickname, first, others: others.to_vec() }))
    }

    /// Lets only the owner write in a chat, or everyone again.
    pub(super) fn set_lock(&self, by: UserId, chat: ChatId, is_locked: bool) -> Changes<S> {
        let chat = self.moderated_chat(chat, by)?;
        if chat.is_locked == is_locked {
            return Ok(Vec::new());
        }
        let User { nickname, .. } = self.user(by)?;
        Ok(self.next(&chat, EventKind::LockSet { nickname, is_locked }))
    }

    /// Hides a user from another one, or shows them again.
    pub(super) fn set_hidden(&self, by: UserId, person: UserId, is_hidden: bool) -> Changes<S> {
        if person == by {
            return Err(Problem::OnlyOthers.into());
        }
        let hidden = self.hidden(by)?;
        if hidden.contains(&person) == is_hidden {
            return Ok(Vec::new());
        }
        if is_hidden && hidden.len() >= HIDDEN_LIMIT {
            return Err(Problem::TooManyHidden.into());
        }
        let mut changes = self.store_user(&self.user(by)?)?;
        changes.push(Change::Hidden { from: by, person, is_hidden });
        Ok(changes)
    }
}
