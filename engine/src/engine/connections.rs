//! Requests and connections: counts them against the limits, brings users online, and lets them join chats.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use domain::{ChatId, Problem, UserId};
use tokio::sync::Notify;

use super::{Engine, not_readable};
use crate::{
    caller::Caller,
    fanout::{Subscriber, Subscription},
    limits::{ConnectionGuard, FilterGuard, counter::Counted},
    presence::{MemberGuard, OnlineGuard},
    storage::StoreError,
};

impl Engine {
    /// Counts the load of a page, which costs as much as `cost` plain ones, against the rate limits.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if it tracks too many sessions or
    /// networks.
    pub fn load(&self, user: Option<UserId>, address: IpAddr, cost: NonZeroU32) -> Result<(), Problem> {
        self.limits.page(user, address, cost)
    }

    /// Counts a WebSocket that is being opened, with or without a session, until the returned place is dropped.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if there are too many in all or from one
    /// network.
    pub fn check_connect(&self, user: Option<UserId>, address: IpAddr) -> Result<ConnectionGuard, Problem> {
        self.limits.connect(user, address)
    }

    /// Counts an open WebSocket of a user until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyPages`] if the session has too many open.
    pub fn open(&self, user: UserId) -> Result<Counted<UserId>, Problem> {
        self.limits.open(user)
    }

    /// Keeps a user online until the returned guard is dropped. `wake_user` is notified whenever their invites may have
    /// changed.
    pub fn arrive(&self, user: UserId, wake_user: &Arc<Notify>) -> OnlineGuard {
        self.presence.arrive(user, Arc::clone(wake_user))
    }

    /// Counts a filtered list that a page watches until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyFilters`] if the session or its network watches too many.
    pub fn filter(&self, by: Caller) -> Result<FilterGuard, Problem> {
        self.limits.filter(by)
    }

    /// Makes a user a member of a chat, and offers its events to `subscriber`, until the returned guards are dropped.
    /// `wake` is notified of changes in the room.
    ///
    /// # Errors
    /// [`Problem::ChatFull`] if the chat has no room, [`Problem::NotReadable`] if the database cannot be read.
    pub fn join(
        &self,
        chat: ChatId,
        id: UserId,
        subscriber: &Arc<Subscriber>,
        wake: &Arc<Notify>,
    ) -> Result<(MemberGuard, Subscription), Problem> {
        if !self.presence.is_in(chat, id) {
            self.limits.enter(self.presence.preview(chat).0)?;
        }
        let subscription = self.fanout.subscribe(chat, Arc::clone(subscriber));
        let look = || {
            let view = self.store.read(self.now())?;
            Ok((view.user(id)?, view.chat(chat)?))
        };
        let look = || look().map_err(|error: StoreError| not_readable(&error));
        let (user, known) = look()?;
        let member_guard = match &known {
            Some(known) => self.presence.join_in(known, user.clone(), Arc::clone(wake)),
            None => self.presence.join(chat, user.clone(), Arc::clone(wake)),
        };
        // What was committed after the first read and before the guard existed was not applied to the room.
        let (now, then) = (look()?, (user, known));
        if now.0 != then.0 {
            self.presence.rename(&now.0);
        }
        if let Some(known) = now.1.filter(|known| Some(known) != then.1.as_ref()) {
            self.presence.lock_names(chat, known.is_locked, known.seq);
        }
        Ok((member_guard, subscription))
    }

    /// Returns why a user's guard in a chat has become invalid: they were removed, or the chat has ended.
    pub fn why_not(&self, chat: ChatId, user: UserId) -> Problem {
        match self.read().and_then(|view| self.enter(&view, chat, user)) {
            Err(problem) => problem,
            // They were removed, and have been admitted again since.
            Ok(_) => Problem::Removed,
        }
    }
}
