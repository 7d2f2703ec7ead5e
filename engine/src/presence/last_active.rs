//! When users and chats were last active, for the sweep of what has expired.

use std::{collections::HashMap, mem};

use domain::{ChatId, Timestamp, UserId};

use tokio::time::Instant;

use super::{Gone, Presence, PresenceState, REMEMBERED_LEFT, UNHEARD};

/// The time that stands for "online now", whatever the time is. The log limits what is noted to the time of the entry.
pub const STILL_HERE: Timestamp = Timestamp(u64::MAX);

/// When users and chats were last active.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LastActive {
    /// When each user was last online.
    pub users: HashMap<UserId, Timestamp>,
    /// When each chat last had a member.
    pub chats: HashMap<ChatId, Timestamp>,
}

impl LastActive {
    pub(super) fn note(&mut self, user: Option<UserId>, chat: Option<ChatId>, at: Timestamp) {
        if self.users.len() < REMEMBERED_LEFT {
            self.users.extend(user.map(|user| (user, at)));
        }
        if self.chats.len() < REMEMBERED_LEFT {
            self.chats.extend(chat.map(|chat| (chat, at)));
        }
    }
}

impl Presence {
    /// Notes that a page without a WebSocket was loaded, which keeps its user and its chat from expiring as an open
    /// connection does.
    pub fn looked(&self, user: Option<UserId>, chat: Option<ChatId>) {
        if user.is_none() && chat.is_none() {
            return;
        }
        let now = (self.clock)();
        self.lock().came.note(user, chat, now);
        self.came.notify_one();
    }

    /// Takes the users who have gone offline and have left, as far as is certain. Those whose last connection was on another
    /// node are left to that, and are taken by whoever is on duty when they have been gone for [`UNHEARD`], since that
    /// node may have died. Empty while [they are kept](Presence::keep_gone).
    pub fn take_departed(&self, is_on_duty: bool) -> Vec<UserId> {
        let now = Instant::now();
        let mut state = self.lock();
        let PresenceState { gone, people, keeps_gone: false, .. } = &mut *state else { return Vec::new() };
        let mut taken = Vec::new();
        gone.retain(|Gone { user, at, left_here }| {
            if people.contains_key(user) {
                return false;
            }
            let is_certain = *left_here || now.saturating_duration_since(*at) >= UNHEARD;
            if is_certain && (*left_here || is_on_duty) {
                taken.push(*user);
            }
            !is_certain
        });
        taken
    }

    /// Keeps the users who have gone offline, since they may be on another node that is not heard of, until this is called
    /// with `false`.
    pub fn keep_gone(&self, are_kept: bool) {
        let were_kept = mem::replace(&mut self.lock().keeps_gone, are_kept);
        if were_kept && !are_kept {
            self.left.notify_one();
        }
    }

    /// Waits until a user has gone offline.
    pub async fn user_left(&self) {
        self.left.notified().await;
    }

    /// Takes the users and rooms that have been here since the last call, those that still are included. Those that are
    /// only on other nodes are left to these.
    pub fn take_active(&self) -> LastActive {
        let mut state = self.lock();
        let mut seen = mem::take(&mut state.seen);
        let people = state.people.iter().filter(|(_, person)| person.is_used_here());
        seen.users.extend(people.map(|(user, _)| (*user, STILL_HERE)));
        let rooms = state.rooms.iter().filter(|(_, room)| room.is_used_here());
        seen.chats.extend(rooms.map(|(chat, _)| (*chat, STILL_HERE)));
        seen
    }

    /// Waits until a user has come online, or a chat has its first member.
    pub async fn user_arrived(&self) {
        self.came.notified().await;
    }

    /// Takes the users who have come online and the rooms that were entered since the last call. They may be about to
    /// expire.
    pub fn take_arrivals(&self) -> LastActive {
        mem::take(&mut self.lock().came)
    }

    /// Puts back some of what [`Presence::take_arrivals`] returned, to be returned by [`Presence::take_active`]. Users and
    /// rooms that are still here are returned by that anyway.
    pub fn defer(&self, later: LastActive) {
        let mut state = self.lock();
        let looked = |at: &Timestamp| *at != STILL_HERE;
        for (user, at) in later.users.into_iter().filter(|(_, at)| looked(at)) {
            state.seen.note(Some(user), None, at);
        }
        for (chat, at) in later.chats.into_iter().filter(|(_, at)| looked(at)) {
            state.seen.note(None, Some(chat), at);
        }
    }
}
