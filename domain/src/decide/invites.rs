//! Direct chats, and the invites that start them.

use super::{Changes, Found, Now, StateReader};
use crate::{
    Answer, Change, Chat, ChatId, EventKind, Problem, Seq, Title, User, UserId, Visibility,
    invite::{DIRECT_CHATS_LIMIT, DIRECT_CHATS_WITH_ONE_LIMIT, INVITES_FROM_AFAR_LIMIT, INVITES_LIMIT},
};

impl<S: StateReader> Now<'_, S> {
    /// Invites a user to a direct chat, which is started with the id `fresh` if there is none. `is_there` says whether they
    /// are in it, `is_near` whether the two share another chat.
    pub(super) fn chat_privately(
        &self,
        by: UserId,
        with: UserId,
        fresh: ChatId,
        (is_there, is_near): (bool, bool),
    ) -> Changes<S> {
        if by == with {
            return Err(Problem::ChatWithOneself.into());
        }
        let theirs = self.direct_chats(with)?;
        let refusal = self.invite_refusal(with, &theirs, is_near)?;
        if let Some(chat) = theirs.iter().find(|chat| chat.peer(with) == Some(by)) {
            return match chat.invited() {
                // asking for the same chat accepts the open invite
                Some(invited) if invited == by => {
                    Ok(self
                        .next(chat, EventKind::InviteAnswered { by: self.user(by)?, answer: Answer::Accept }))
                }
                Some(_) => Ok(Vec::new()),
                None if is_there || chat.in_decline_cooldown(with, self.entry.at) => Ok(Vec::new()),
                None => {
                    refusal.map_or(Ok(()), Err)?;
                    let (by, to) = (self.user(by)?, self.user(with)?);
                    let mut changes = self.store_user(&by)?;
                    changes.push(self.event(chat.id, chat.seq, EventKind::Invited { by, to }));
                    Ok(changes)
                }
            };
        }
        // direct chats started by others count against another limit, so that they cannot use up this one
        if self.direct_chats(by)?.iter().filter(|chat| chat.owner == by).count() >= DIRECT_CHATS_LIMIT {
            return Err(Problem::TooManyOwn.into());
        }
        refusal.map_or(Ok(()), Err)?;
        if theirs.len() >= DIRECT_CHATS_WITH_ONE_LIMIT {
            return Err(Problem::TooManyInvites.into());
        }
        if self.chat(fresh)?.is_some() {
            return Err(Problem::ChatExists.into());
        }
        let (owner, guest) = (self.user(by)?, self.user(with)?);
        let mut changes = self.store_user(&owner)?;
        let User { nickname, .. } = owner;
        let title = Title::for_two(&nickname, &guest.nickname);
        let visibility = Visibility::Private;
        let started = EventKind::Started { owner: by, nickname, title, visibility, guest: Some(guest) };
        changes.push(self.event(fresh, Seq::ZERO, started));
        Ok(changes)
    }

    /// Returns why a user with these direct chats cannot be invited now, or `None` if they can. Invites from users whom the
    /// invited user has hidden do not use up the places of others.
    fn invite_refusal(&self, with: UserId, theirs: &[Chat], is_near: bool) -> Found<Option<Problem>, S> {
        if !self.takes_invites(with)? {
            return Ok(Some(Problem::InvitesNotTaken));
        }
        let hidden = self.hidden(with)?;
        let is_seen = |chat: &&Chat| chat.peer(with).is_some_and(|peer| !hidden.contains(&peer));
        let waiting = theirs.iter().filter(|chat| chat.invited() == Some(with)).filter(is_seen).count();
        let limit = if is_near { INVITES_LIMIT } else { INVITES_FROM_AFAR_LIMIT };
        Ok((waiting >= limit).then_some(Problem::TooManyInvites))
    }

    pub(super) fn answer_invite(&self, by: UserId, chat: ChatId, answer: Answer) -> Changes<S> {
        match self.chat(chat)? {
            Some(chat) if chat.invited() == Some(by) => {
                Ok(self.next(&chat, EventKind::InviteAnswered { by: self.user(by)?, answer }))
            }
            // answered before, in another tab or by a retry
            Some(chat) if chat.guest.is_some() && chat.check_access(by).is_ok() => Ok(Vec::new()),
            _ => Err(Problem::InviteGone.into()),
        }
    }

    /// Lets a user be invited, or not.
    pub(super) fn set_invites(&self, by: UserId, are_taken: bool) -> Changes<S> {
        if self.takes_invites(by)? == are_taken {
            return Ok(Vec::new());
        }
        let mut changes = self.store_user(&self.user(by)?)?;
        changes.push(Change::InvitesSet { user: by, are_taken });
        Ok(changes)
    }

    /// Withdraws the open invites of a user who went offline.
    pub(super) fn withdraw_invites(&self, user: UserId) -> Changes<S> {
        let mut changes = Vec::new();
        for chat in self.direct_chats(user)? {
            if let Some(to) = chat.invited().filter(|to| *to != user) {
                let kind = EventKind::InviteWithdrawn { by: self.user(user)?, to };
                changes.push(self.event(chat.id, chat.seq, kind));
            }
        }
        Ok(changes)
    }
}
