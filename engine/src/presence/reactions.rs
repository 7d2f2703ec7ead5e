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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{User, UserId, id::ID_BYTES};
    use futures_util::FutureExt;
    use tokio::{sync::Notify, time::advance};

    use super::*;
    use crate::{
        clock,
        presence::{GRACE, NodeId, SMALL_ROOM, room::BATCH_INTERVAL},
    };

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

    /// A room with this number of members, of which one is watched.
    fn room(members: usize) -> (Arc<Presence>, Arc<Notify>, Vec<MemberGuard>) {
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()));
        let wake = Arc::<Notify>::default();
        let join = |number: usize| {
            let mut bytes = [0; ID_BYTES];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let wake = if number == 0 { Arc::clone(&wake) } else { Arc::default() };
            presence.join(CHAT, User::new(UserId::from_bytes(bytes)), wake)
        };
        let guards = (0..members).map(join).collect();
        (presence, wake, guards)
    }

    fn was_woken(wake: &Notify) -> bool {
        wake.notified().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_small_room_a_reaction_is_told_at_once() {
        let (presence, wake, guards) = room(2);
        was_woken(&wake);
        for seq in 1..=3 {
            presence.reacted(CHAT, Seq(seq));
            assert!(was_woken(&wake));
            assert_eq!(guards[0].reacted(), Seq(seq));
        }
        presence.reacted(CHAT, Seq(2));
        assert!(!was_woken(&wake), "it is known");
        presence.reacted(ChatId::from_bytes([8; ID_BYTES]), Seq(9));
        assert!(!was_woken(&wake));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_large_room_ten_thousand_reactions_in_a_second_wake_nobody_more_often_than_the_batches() {
        let (presence, wake, guards) = room(SMALL_ROOM + 1);
        advance(BATCH_INTERVAL).await;
        presence.depart(Instant::now());
        was_woken(&wake);
        let mut wakes = 0;
        for seq in 1..=10_000 {
            presence.reacted(CHAT, Seq(seq));
            if seq % 100 == 0 {
                advance(std::time::Duration::from_millis(10)).await;
                presence.depart(Instant::now());
            }
            wakes += u32::from(was_woken(&wake));
        }
        assert!((3..=5).contains(&wakes), "{wakes}");
        advance(BATCH_INTERVAL).await;
        presence.depart(Instant::now());
        assert_eq!(guards[0].reacted(), Seq(10_000));
        presence.depart(Instant::now() + BATCH_INTERVAL);
        was_woken(&wake);
        advance(BATCH_INTERVAL * 4).await;
        presence.depart(Instant::now());
        assert!(!was_woken(&wake), "nothing is left to be told");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_encoded_is_shared_until_something_changes_or_a_message_goes() {
        let (presence, _, guards) = room(2);
        let frame = Bytes::from_static(b"{}");
        presence.reacted(CHAT, Seq(5));
        assert_eq!(guards[1].known_reactions(Seq(2)), None);
        guards[0].keep_reactions((Seq(2), Seq(5)), Seq(5), &frame);
        assert_eq!(guards[1].known_reactions(Seq(2)), Some((Seq(5), frame.clone())));
        assert_eq!(guards[1].known_reactions(Seq(3)), None);
        presence.reacted(CHAT, Seq(6));
        assert_eq!(guards[1].known_reactions(Seq(2)), None);
        guards[0].keep_reactions((Seq(2), Seq(5)), Seq(5), &frame);
        assert_eq!(guards[1].known_reactions(Seq(2)), None, "it came too late");
        for after in 0..20 {
            guards[0].keep_reactions((Seq(after), Seq(6)), Seq(6), &frame);
        }
        let known = (0..20).filter(|after| guards[1].known_reactions(Seq(*after)).is_some()).count();
        assert_eq!(known, CACHED_UPDATES);
        presence.forget_reactions(CHAT);
        assert_eq!(guards[1].known_reactions(Seq(0)), None);
    }
}
