//! The reactions in the chat of a room: how far they have changed, and what its connections are sent of them. They are
//! read from the database; the room only knows when that is worth it, and keeps what was encoded for others.

use bytes::Bytes;
use domain::{ChatId, Seq};
use tokio::time::Instant;

use super::{MemberGuard, Presence, PresenceState};

/// The maximum number of encoded updates that are kept, each for connections that know another change.
const CACHED_UPDATES: usize = 8;

/// How far the reactions in a chat have changed, and the encoded updates to that.
#[derive(Default)]
pub(super) struct RoomReactions {
    reacted: Seq,
    /// The updates, each with the change that was known before and the one that it leads to.
    cached: Vec<(Seq, Seq, Bytes)>,
}

impl RoomReactions {
    /// Returns the position of the newest change. [`Seq::ZERO`] if there was none since the room exists.
    pub(super) fn reacted(&self) -> Seq {
        self.reacted
    }

    /// Notes a change. Returns whether it is a new one.
    fn note(&mut self, seq: Seq) -> bool {
        let is_new = seq > self.reacted;
        if is_new {
            self.reacted = seq;
            self.cached.clear();
        }
        is_new
    }
}

impl Presence {
    /// Notifies the connections in a chat of a change of reactions, in a large room with the next batch.
    pub fn reacted(&self, chat: ChatId, seq: Seq) {
        let mut state = self.lock();
        let PresenceState { rooms, wakes, .. } = &mut *state;
        let Some(room) = rooms.get_mut(&chat) else { return };
        if room.reactions().note(seq) {
            wakes.extend(room.wake(Instant::now()).map(|at| (at, chat)));
            drop(state);
            self.sooner.notify_one();
        }
    }

    /// Drops what is kept of the reactions in a chat, since messages there are gone.
    pub fn forget_reactions(&self, chat: ChatId) {
        if let Some(room) = self.lock().rooms.get_mut(&chat) {
            room.reactions().cached.clear();
        }
    }
}

impl MemberGuard {
    /// Returns the position of the newest change of reactions in the chat. [`Seq::ZERO`] if there was none since the
    /// chat has members here.
    pub fn reacted(&self) -> Seq {
        let mut state = self.presence.lock();
        state.rooms.get_mut(&self.chat).map_or(Seq::ZERO, |room| room.reactions().reacted())
    }

    /// Returns the update from a change of reactions to the newest one as another connection has encoded it, and the
    /// change that it leads to. `None` if none has.
    pub fn known_reactions(&self, after: Seq) -> Option<(Seq, Bytes)> {
        let mut state = self.presence.lock();
        let cached = &state.rooms.get_mut(&self.chat)?.reactions().cached;
        cached.iter().find(|(from, ..)| *from == after).map(|(_, to, frame)| (*to, frame.clone()))
    }

    /// Keeps an encoded update for other connections: it leads from a change to another one, and was made for `newest`.
    /// Ignored if that is not the newest change any more, and if enough are kept.
    pub fn keep_reactions(&self, (after, to): (Seq, Seq), newest: Seq, frame: &Bytes) {
        let mut state = self.presence.lock();
        let Some(room) = state.rooms.get_mut(&self.chat) else { return };
        let reactions = room.reactions();
        let is_known = reactions.cached.iter().any(|(from, ..)| *from == after);
        if newest == reactions.reacted && !is_known && reactions.cached.len() < CACHED_UPDATES {
            reactions.cached.push((after, to, frame.clone()));
        }
    }
}
