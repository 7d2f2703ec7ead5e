//! What keeps a user online, and a member in a chat, until it is dropped.

use std::sync::Arc;

use bytes::Bytes;
use domain::{ChatId, UserId};
use tokio::time::Instant;

use super::{News, Presence, PresenceState, TYPING, TYPING_SIGNALS};

/// A guard that keeps a user online. Dropping it closes the connection, however it ended.
pub struct OnlineGuard {
    pub(super) presence: Arc<Presence>,
    pub(super) user: UserId,
    pub(super) connection: u64,
}

/// A guard that keeps a user in a chat. Dropping it leaves the chat, however the connection ended.
pub struct MemberGuard {
    pub(super) presence: Arc<Presence>,
    pub(super) chat: ChatId,
    pub(super) user: UserId,
    pub(super) watcher: u64,
}

impl MemberGuard {
    /// Notes that the user is typing. A signal less than a second after the last one, from any of their guards, has no
    /// effect.
    pub fn typing(&self) {
        let now = Instant::now();
        let until = now + TYPING;
        let mut state = self.presence.lock();
        let PresenceState { rooms, typing_until, wakes, .. } = &mut *state;
        let Some(room) = rooms.get_mut(&self.chat) else { return };
        if room.typing_until(self.user).is_some_and(|last| until < last + TYPING_SIGNALS) {
            return;
        }
        if room.type_until(self.user, Some(until)) {
            wakes.extend(room.wake(now).map(|at| (at, self.chat)));
        }
        typing_until.insert((until, self.chat, self.user));
        drop(state);
        self.presence.sooner.notify_one();
    }

    /// Returns whether the guard is still valid: removing the user from the chat invalidates it.
    pub fn is_kept(&self) -> bool {
        let state = self.presence.lock();
        state.rooms.get(&self.chat).is_some_and(|room| room.is_holder(self.user, self.watcher))
    }

    /// Returns what has changed in the room since a version, encoded by `encode`, and the version this leads to. With
    /// `None` as the known version, the whole roster is encoded. Returns `None` if there is nothing new.
    pub fn news(
        &self,
        known: Option<u64>,
        encode: impl FnOnce(News) -> Option<Bytes>,
    ) -> Option<(u64, Bytes)> {
        self.presence.lock().rooms.get_mut(&self.chat)?.tell(known, Instant::now(), encode)
    }
}

impl Drop for MemberGuard {
    fn drop(&mut self) {
        let at = Instant::now() + self.presence.grace;
        let mut state = self.presence.lock();
        let Some(room) = state.rooms.get_mut(&self.chat) else { return };
        if room.remove_holder(self.watcher, self.user, at) {
            state.departures.insert((at, self.chat, self.user));
            drop(state);
            self.presence.sooner.notify_one();
        }
    }
}

impl Drop for OnlineGuard {
    fn drop(&mut self) {
        let at = Instant::now() + self.presence.grace;
        let mut state = self.presence.lock();
        let Some(person) = state.people.get_mut(&self.user) else { return };
        person.connections.retain(|(connection, _)| *connection != self.connection);
        if person.connections.is_empty() {
            person.leaves_at = Some(at);
            state.offline_at.insert((at, self.user));
            drop(state);
            self.presence.sooner.notify_one();
        }
    }
}
