//! The reactions to the messages that are loaded.

use std::sync::Arc;

use super::Timeline;
use crate::{Emoji, Event, EventKind, Seq, User, page::History, tally::MessageTally};

/// The reactions to messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tallies {
    /// The position of the newest change that was received.
    pub(super) reacted: Seq,
    /// The tallies of messages with reactions, in the order of the messages. A map would add its code to what the browser
    /// downloads.
    of: Vec<Arc<MessageTally>>,
}

impl Tallies {
    /// Returns the place of the tally of a message, or where it belongs if there is none.
    fn place(&self, message: Seq) -> Result<usize, usize> {
        self.of.binary_search_by_key(&message, |tally| tally.message)
    }
}

impl Timeline {
    /// Returns the reactions to a message. `None` if there are none, or it is not loaded.
    pub fn tally(&self, message: Seq) -> Option<&Arc<MessageTally>> {
        self.tallies.of.get(self.tallies.place(message).ok()?)
    }

    /// Applies the reactions that have changed up to a position, as all readers are sent them. Those to messages that are
    /// not loaded are left out: they come with their pages. Returns whether anything that is loaded has changed.
    pub fn apply_reactions(&mut self, reacted: Seq, changes: Vec<MessageTally>) -> bool {
        self.tallies.reacted = self.tallies.reacted.max(reacted);
        let mut has_changed = false;
        for change in changes {
            let known = self.tally(change.message).map(|known| &**known);
            let told = change.for_reader(self.me, known);
            has_changed |= self.put_tally(told);
        }
        has_changed
    }

    /// Adds the reactions that came with a page of history, after its events.
    pub fn add_reactions(&mut self, reactions: Vec<MessageTally>) {
        for tally in reactions {
            self.put_tally(tally);
        }
    }

    /// Replaces the reactions to the messages on a page, after its events were applied: a message that has none on it has
    /// none any more, but for one of the reader's own that is newer. Does nothing if later changes are known.
    pub fn replace_reactions(&mut self, page: &History) {
        if page.reacted < self.tallies.reacted {
            return;
        }
        self.tallies.reacted = page.reacted;
        let is_on_page = |seq: Seq| page.events.iter().any(|event| event.seq == seq);
        let has_some = |seq: Seq| page.reactions.iter().any(|tally| tally.message == seq);
        self.tallies.of.retain(|known| {
            known.changed > page.reacted || !is_on_page(known.message) || has_some(known.message)
        });
        self.add_reactions(page.reactions.clone());
    }

    /// Records that the reader reacts to a message with an emoji or does so no more, as of a position of the log. Returns
    /// whether that changes anything.
    pub fn set_reaction(&mut self, reader: &User, message: Seq, emoji: Emoji, is_on: bool, at: Seq) -> bool {
        let known = self.tally(message).map(|known| MessageTally::clone(known));
        let known = known.unwrap_or(MessageTally { message, changed: Seq::ZERO, of: Vec::new() });
        self.put_tally(known.with_own(reader, emoji, is_on, at))
    }

    /// Starts over with the reactions of a snapshot.
    pub(super) fn reset_reactions(&mut self, reacted: Seq, reactions: Vec<MessageTally>) {
        self.tallies = Tallies { reacted, ..Tallies::default() };
        self.add_reactions(reactions);
    }

    /// Notes who the reader is, after the browser's session changed.
    pub(super) fn read_reactions_anew(&mut self) {
        let me = self.me;
        for tally in &mut self.tallies.of {
            *tally = Arc::new(MessageTally::clone(tally).for_reader(me, None));
        }
    }

    /// Drops the reactions to messages that are not loaded any more, or were removed.
    pub(super) fn drop_tallies(&mut self) {
        let Self { events, tallies, .. } = self;
        tallies.of.retain(|tally| is_message(events, tally.message));
    }

    /// Takes a tally, unless a newer one is known or its message is not loaded, or was removed after it. Returns whether it
    /// changes anything.
    fn put_tally(&mut self, tally: MessageTally) -> bool {
        let message = tally.message;
        let was_removed_since = self.amendments.iter().any(|event| {
            event.seq > tally.changed
                && matches!(event.kind, EventKind::MessageRemoved { message: removed, .. } if removed == message)
        });
        let is_known = |known: &Arc<MessageTally>| known.changed > tally.changed || **known == tally;
        if was_removed_since
            || !is_message(&self.events, message)
            || self.tally(message).is_some_and(is_known)
        {
            return false;
        }
        let place = self.tallies.place(message);
        let of = &mut self.tallies.of;
        match place {
            Ok(place) if tally.of.is_empty() => {
                of.remove(place);
            }
            Ok(place) => of[place] = Arc::new(tally),
            Err(_) if tally.of.is_empty() => return false,
            Err(place) => of.insert(place, Arc::new(tally)),
        }
        true
    }
}

/// Whether a message at this position is loaded, and was not removed.
fn is_message(events: &[Arc<Event>], seq: Seq) -> bool {
    let place = events.binary_search_by_key(&seq, |event| event.seq).ok();
    place.and_then(|place| events.get(place)).is_some_and(|event| event.kind.message().is_some())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        Body, ChatId, ClientId, EmojiCount, Epoch, Expiry, Lifetimes, Message, Reaction, RemovedBy, Span,
        Tally, Timestamp, UserId, id::ID_BYTES,
    };

    const ME: UserId = UserId::from_bytes([1; ID_BYTES]);
    const OTHER: UserId = UserId::from_bytes([2; ID_BYTES]);

    fn event(seq: u64, kind: EventKind) -> Event {
        let (chat, prev) = (ChatId::from_bytes([7; ID_BYTES]), Seq(seq - 1));
        Event { chat, seq: Seq(seq), prev, at: Timestamp(seq * 1_000), kind }
    }

    fn said(seq: u64) -> Event {
        let (user, body) = (User::new(OTHER), Body::parse("hello").unwrap());
        let client_id = ClientId::from_bytes([seq as u8; ID_BYTES]);
        event(seq, EventKind::Said(Box::new(Message::plain(user.id, user.nickname, client_id, body))))
    }

    fn emoji() -> Emoji {
        Emoji::try_from("👍".to_owned()).unwrap()
    }

    fn tally(message: u64, changed: u64, people: &[UserId]) -> MessageTally {
        let people: Vec<_> = people.iter().copied().map(User::new).collect();
        let count = EmojiCount { emoji: emoji(), count: people.len() as u32, people, is_mine: false };
        let of = Some(count).filter(|count| count.count > 0).into_iter().collect();
        MessageTally { message: Seq(message), changed: Seq(changed), of }
    }

    fn page(events: Vec<Event>, reactions: Vec<MessageTally>) -> History {
        let seq = events.last().map_or(Seq::ZERO, |event| event.seq);
        let reacted = reactions.iter().map(|tally| tally.changed).max().unwrap_or_default();
        History { epoch: Epoch::from_bytes([1; ID_BYTES]), seq, events, earlier: false, reactions, reacted }
    }

    /// Messages 1, 2 and 3, with a reaction to the second.
    fn timeline() -> Timeline {
        Timeline::new(ME, page((1..=3).map(said).collect(), vec![tally(2, 10, &[OTHER])]))
    }

    fn count(timeline: &Timeline, message: u64) -> u32 {
        timeline.tally(Seq(message)).map_or(0, |tally| tally.of[0].count)
    }

    #[test]
    fn rows_have_the_reactions_to_their_messages_and_the_cursor_says_how_far_they_are_known() {
        let mut timeline = timeline();
        assert_eq!(timeline.cursor().reacted, Some(Seq(10)));
        let before = timeline.rows(|_| 0);
        assert_eq!(before.iter().map(|row| row.tally.is_some()).collect::<Vec<_>>(), [false, true, false]);
        assert!(timeline.apply_reactions(Seq(12), vec![tally(3, 12, &[ME]), tally(99, 11, &[OTHER])]));
        let after = timeline.rows(|_| 0);
        assert!(
            Arc::ptr_eq(before[1].tally.as_ref().unwrap(), after[1].tally.as_ref().unwrap()),
            "as it was"
        );
        assert!(after[2].tally.as_ref().unwrap().of[0].is_mine);
        assert_eq!((timeline.cursor().reacted, count(&timeline, 99)), (Some(Seq(12)), 0));
        assert!(!timeline.apply_reactions(Seq(12), vec![tally(3, 12, &[ME])]), "known");
    }

    #[test]
    fn what_is_older_than_what_is_known_changes_nothing() {
        let mut timeline = timeline();
        timeline.apply_reactions(Seq(20), vec![tally(2, 20, &[ME, OTHER])]);
        assert!(!timeline.apply_reactions(Seq(15), vec![tally(2, 15, &[])]));
        assert_eq!((count(&timeline, 2), timeline.cursor().reacted), (2, Some(Seq(20))));
        timeline.add_reactions(vec![tally(2, 19, &[OTHER])]);
        assert_eq!(count(&timeline, 2), 2);
        assert!(timeline.apply_reactions(Seq(21), vec![tally(2, 21, &[])]));
        assert!(timeline.tally(Seq(2)).is_none(), "all were taken back");
    }

    #[test]
    fn a_message_that_goes_takes_its_reactions_along_even_if_it_comes_back() {
        let mut timeline = timeline();
        timeline.apply(Event {
            prev: Seq(3),
            ..event(11, EventKind::MessageRemoved { message: Seq(2), by: RemovedBy::Author })
        });
        assert!(timeline.tally(Seq(2)).is_none());
        assert!(!timeline.apply_reactions(Seq(11), vec![tally(2, 10, &[OTHER])]), "sent before, came after");
        let EventKind::Said(message) = said(2).kind else { panic!("no message") };
        let restored = EventKind::MessageRestored { message: Seq(2), said: Some(message) };
        timeline.apply(Event { prev: Seq(11), ..event(12, restored) });
        assert!(timeline.event(Seq(2)).unwrap().kind.message().is_some());
        assert!(!timeline.apply_reactions(Seq(12), vec![tally(2, 10, &[OTHER])]));
        assert!(
            timeline.apply_reactions(Seq(13), vec![tally(2, 13, &[OTHER])]),
            "a new one is another matter"
        );
    }

    #[test]
    fn what_is_not_loaded_has_no_reactions() {
        let mut timeline = timeline();
        let lifetimes = Lifetimes { message: Span::seconds(1), ..Lifetimes::default() };
        timeline.drop_expired(Expiry { now: Timestamp(3_500), lifetimes });
        assert_eq!((timeline.oldest(), count(&timeline, 2)), (Some(Seq(3)), 0));
        timeline.replace_with_page((1..=3).map(said).collect(), false);
        timeline.add_reactions(vec![tally(1, 9, &[OTHER]), tally(2, 10, &[OTHER])]);
        assert_eq!((count(&timeline, 1), count(&timeline, 2)), (1, 1));
        timeline.reset(page(vec![said(3)], Vec::new()));
        assert_eq!((count(&timeline, 1), timeline.cursor().reacted), (0, Some(Seq::ZERO)));
    }

    #[test]
    fn a_page_that_was_polled_says_which_reactions_are_left() {
        let mut timeline = timeline();
        let events: Vec<_> = (1..=3).map(said).collect();
        timeline.replace_reactions(&page(events.clone(), vec![tally(3, 12, &[OTHER])]));
        assert_eq!([1, 2, 3].map(|message| count(&timeline, message)), [0, 0, 1]);
        timeline.replace_reactions(&page(events, vec![tally(2, 10, &[OTHER])]));
        assert_eq!([1, 2, 3].map(|message| count(&timeline, message)), [0, 0, 1], "an older one");
    }

    #[test]
    fn an_own_reaction_is_there_as_soon_as_it_is_stored() {
        let (mut timeline, me) = (timeline(), User::new(ME));
        assert!(timeline.set_reaction(&me, Seq(2), emoji(), true, Seq(11)));
        assert!(timeline.set_reaction(&me, Seq(3), emoji(), true, Seq(12)));
        assert_eq!([2, 3].map(|message| count(&timeline, message)), [2, 1]);
        assert_eq!(timeline.cursor().reacted, Some(Seq(10)), "others may have reacted before");
        assert!(!timeline.apply_reactions(Seq(10), vec![tally(2, 10, &[OTHER])]), "what was on its way");
        assert!(timeline.set_reaction(&me, Seq(3), emoji(), false, Seq(13)));
        assert!(timeline.tally(Seq(3)).is_none());
        assert!(!timeline.set_reaction(&me, Seq(99), emoji(), true, Seq(14)), "it is not loaded");
        timeline.set_reader(OTHER);
        assert!(timeline.tally(Seq(2)).unwrap().of[0].is_mine, "who has reacted, too");
    }

    proptest! {
        /// Whatever part of the changes comes in which order, a reader ends up with the newest tally of each message.
        #[test]
        fn a_reader_ends_up_with_the_newest(
            clicks in vec((1..4_u64, 0..5_u8, any::<bool>()), 0..60),
            order in vec(0..60_usize, 0..90),
        ) {
            let mut tallies = vec![Tally::default(); 4];
            let mut told = Vec::new();
            for (number, (message, by, is_on)) in clicks.into_iter().enumerate() {
                let tally = &mut tallies[message as usize];
                let user = User::new(UserId::from_bytes([by + 10; ID_BYTES]));
                let is_there = tally.of.iter().any(|count| count.newest.iter().any(|other| other.id == user.id));
                if is_there == is_on {
                    continue;
                }
                let (chat, message) = (ChatId::from_bytes([7; ID_BYTES]), Seq(message));
                let seq = Seq(number as u64 + 10);
                let reaction = Reaction { chat, message, emoji: emoji(), by: user, is_on, seq };
                *tally = tally.clone().after(&reaction);
                told.push(MessageTally::new(message, tally.clone(), |_| false));
            }
            let mut timeline = Timeline::new(ME, page((1..=3).map(said).collect(), Vec::new()));
            let shuffled = order.iter().filter_map(|place| told.get(*place)).filter(|tally| !tally.of.is_empty());
            for tally in shuffled.chain(&told) {
                timeline.apply_reactions(tally.changed, vec![tally.clone()]);
            }
            for message in 1..=3 {
                let expected = MessageTally::new(Seq(message), tallies[message as usize].clone(), |_| false);
                let shown = timeline.tally(Seq(message)).map(|tally| MessageTally::clone(tally));
                prop_assert_eq!(shown, Some(expected).filter(|tally| !tally.of.is_empty()));
            }
        }
    }
}
