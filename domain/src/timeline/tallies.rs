//! The reactions to the messages that are loaded.

use std::{collections::BTreeMap, sync::Arc};

use super::Timeline;
use crate::{Emoji, Event, EventKind, Seq, User, page::History, tally::MessageTally};

/// The reactions to messages, by their sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tallies {
    /// The position of the newest change that was received.
    pub(super) reacted: Seq,
    by_message: BTreeMap<Seq, Arc<MessageTally>>,
}

impl Timeline {
    /// Returns the reactions to a message. `None` if there are none, or it is not loaded.
    pub fn tally(&self, message: Seq) -> Option<&Arc<MessageTally>> {
        self.tallies.by_message.get(&message)
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
    /// none any more. Does nothing if later changes are known.
    pub fn replace_reactions(&mut self, page: &History) {
        if page.reacted < self.tallies.reacted {
            return;
        }
        self.tallies.reacted = page.reacted;
        for Event { seq, .. } in &page.events {
            if page.reactions.iter().all(|tally| tally.message != *seq) {
                self.tallies.by_message.remove(seq);
            }
        }
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
        for tally in self.tallies.by_message.values_mut() {
            *tally = Arc::new(MessageTally::clone(tally).for_reader(me, None));
        }
    }

    /// Drops the reactions to messages that are not loaded any more, or were removed.
    pub(super) fn drop_tallies(&mut self) {
        let Self { events, tallies, .. } = self;
        tallies.by_message.retain(|message, _| is_message(events, *message));
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
        let by_message = &mut self.tallies.by_message;
        if tally.of.is_empty() {
            by_message.remove(&message).is_some()
        } else {
            by_message.insert(message, Arc::new(tally));
            true
        }
    }
}

/// Whether a message at this position is loaded, and was not removed.
fn is_message(events: &[Arc<Event>], seq: Seq) -> bool {
    let place = events.binary_search_by_key(&seq, |event| event.seq).ok();
    place.and_then(|place| events.get(place)).is_some_and(|event| event.kind.message().is_some())
}
