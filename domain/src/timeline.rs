//! What one reader sees of a chat: a pure fold of events, with the reader's own messages that are not stored yet.

mod amend;
mod mentions;
mod pending;
mod place;
mod rows;
mod tallies;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use amend::{amend, drop_expired_quotes, is_amendment, quotes_expired};
pub use mentions::MENTIONS_REMEMBERED;
use mentions::Mentioned;
pub use pending::{Delivery, PENDING_LIMIT, Pending};
pub use rows::{HiddenMessages, Row, RowContent, RowKey, author_of, local_time};
use tallies::Tallies;

use crate::{ClientId, Epoch, Event, Expiry, Seq, UserId, frame::Cursor, page::History};

/// A range of the events of a chat, in order, without a gap and without a duplicate, followed by the reader's own
/// messages that are not stored yet. It ends with the newest event, unless the reader is further up. Events far from
/// what is read are unloaded ([`Timeline::unload_distant`]) and loaded again in pages of history, so that memory stays
/// bounded, but for rows in view that stand for many events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    me: UserId,
    epoch: Epoch,
    /// The newest event received, loaded or not.
    seq: Seq,
    /// Whether there are events before those loaded.
    earlier: bool,
    /// Whether there are events after those loaded, up to `seq`.
    later: bool,
    events: Vec<Arc<Event>>,
    pending: Vec<Pending>,
    hidden: Vec<UserId>,
    /// The newest event the reader has seen.
    seen: Seq,
    /// The number of messages of others after `seen` that are not loaded.
    unread_unloaded: usize,
    /// Messages that are meant for the reader, by their position. Those up to `seen` do not count any more.
    mentions: Vec<Mentioned>,
    /// Recent removals, edits and restorations of messages, oldest first, to apply to pages of history that were read
    /// before them.
    amendments: Vec<Arc<Event>>,
    /// The reactions to the loaded messages.
    tallies: Tallies,
}

/// The maximum number of amendments kept: far more than can happen while one page of history is under way.
const AMENDMENTS_LIMIT: usize = 256;

/// The result of applying an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is the newest event now.
    Appended,
    /// It was applied before. Nothing changed.
    Known,
    /// Events before it are missing. Nothing changed, and the client has to watch again from its cursor.
    Gap,
}

impl Timeline {
    /// Creates the timeline from the first page of history.
    pub fn new(me: UserId, history: History) -> Self {
        let mut timeline = Self {
            me,
            epoch: history.epoch,
            seq: Seq::ZERO,
            earlier: false,
            later: false,
            events: Vec::new(),
            pending: Vec::new(),
            hidden: Vec::new(),
            seen: history.seq,
            unread_unloaded: 0,
            mentions: Vec::new(),
            amendments: Vec::new(),
            tallies: Tallies::default(),
        };
        timeline.reset(history);
        timeline
    }

    /// Changes the reader, after the browser's session changed. Messages that wait were written by the previous user,
    /// and are held back until the reader decides to send them.
    pub fn set_reader(&mut self, me: UserId) {
        self.me = me;
        self.mentions.clear();
        self.read_reactions_anew();
        self.drop_stored();
        self.hold_back();
    }

    /// Replaces the set of users whose messages are not shown.
    pub fn set_hidden(&mut self, hidden: impl IntoIterator<Item = UserId>) {
        self.hidden = hidden.into_iter().collect();
    }

    /// Returns the cursor to resume from.
    pub fn cursor(&self) -> Cursor {
        Cursor { reacted: Some(self.tallies.reacted), ..Cursor::new(self.epoch, self.seq) }
    }

    /// Whether there are events before those loaded.
    pub fn has_earlier(&self) -> bool {
        self.earlier
    }

    /// Whether there are events after those loaded.
    pub fn has_later(&self) -> bool {
        self.later
    }

    /// Applies the next event. Duplicates are ignored and gaps reported, so events may be delivered repeatedly. If the
    /// newest events are not loaded, the event is counted but not kept.
    pub fn apply(&mut self, event: Event) -> Applied {
        if event.seq <= self.seq {
            return Applied::Known;
        }
        if event.prev != self.seq {
            return Applied::Gap;
        }
        self.seq = event.seq;
        if let Some(own) = self.own_client_id(&event) {
            self.pending.retain(|pending| pending.client_id != own);
        }
        let event = Arc::new(event);
        if is_amendment(&event) {
            amend(&mut self.events, &event);
            self.forget_removed_mentions(&event);
            self.amendments.push(Arc::clone(&event));
            if self.amendments.len() > AMENDMENTS_LIMIT {
                self.amendments.remove(0);
            }
            self.drop_tallies();
        }
        self.note_mention(&event);
        if self.later {
            self.unread_unloaded += usize::from(self.is_unread(&event));
        } else {
            self.events.push(event);
        }
        Applied::Appended
    }

    /// Marks everything up to now as seen by the reader.
    pub fn mark_seen(&mut self) {
        // In another tab they may have seen what has not arrived here.
        self.seen = self.seen.max(self.seq);
        self.unread_unloaded = 0;
    }

    /// Returns the newest event the reader has seen.
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// Whether this is a message of another user that the reader has not seen, and that is not hidden.
    fn is_unread(&self, event: &Event) -> bool {
        let is_shown = |author| author != self.me && !self.hidden.contains(&author);
        event.seq > self.seen && event.kind.message().is_some_and(|message| is_shown(message.author))
    }

    /// Returns the position of a stored message by its author and id, or `None` if it is not loaded. Searches from the newest.
    pub fn place(&self, author: UserId, client_id: ClientId) -> Option<Seq> {
        let is_it = |event: &&Arc<Event>| {
            let message = event.kind.message();
            message.is_some_and(|message| message.author == author && message.client_id == client_id)
        };
        self.events.iter().rev().find(is_it).map(|event| event.seq)
    }

    /// Returns the event at a position, or `None` if it is not loaded.
    pub fn event(&self, seq: Seq) -> Option<&Event> {
        let place = self.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        self.events.get(place).map(|event| &**event)
    }

    /// Returns the position of the oldest event loaded, or `None` if there is none.
    pub fn oldest(&self) -> Option<Seq> {
        self.events.first().map(|event| event.seq)
    }

    /// Returns the position of the newest event loaded, or `None` if there is none.
    pub fn newest(&self) -> Option<Seq> {
        self.events.last().map(|event| event.seq)
    }

    /// Returns the position of the first row to show after an event, leaving out hidden users. `None` if it is not
    /// loaded or there is none.
    pub fn first_after(&self, seq: Seq) -> Option<Seq> {
        if self.begins_after(seq) {
            return None;
        }
        let is_shown =
            |event: &Arc<Event>| author_of(event).is_none_or(|author| !self.hidden.contains(&author));
        self.shown_events()
            .iter()
            .filter(|event| is_shown(event))
            .map(|event| event.seq)
            .find(|next| *next > seq)
    }

    /// Whether the event right after this position is not loaded.
    pub fn begins_after(&self, seq: Seq) -> bool {
        self.earlier && self.events.first().is_some_and(|first| first.prev > seq)
    }

    /// Returns the number of messages of others that the reader has not seen, leaving out hidden users.
    pub fn unread_count(&self) -> usize {
        self.unread_unloaded + self.unseen().filter(|event| self.is_unread(event)).count()
    }

    /// Whether there are events that the reader has not seen, leaving out hidden users and the reader's own messages.
    pub fn has_unseen(&self) -> bool {
        let is_news = |event: &Arc<Event>| {
            let author = author_of(event);
            event.seq > self.seen
                && author != Some(self.me)
                && author.is_none_or(|author| !self.hidden.contains(&author))
        };
        // Asked for with every event: all rows are looked at only if something may be news that is no message.
        self.unread_unloaded > 0
            || self.unseen().any(|event| self.is_unread(event))
            || (self.unseen().any(is_news) && self.shown_events().iter().any(is_news))
    }

    /// Returns the loaded events that the reader has not seen, newest first.
    fn unseen(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter().rev().take_while(|event| event.seq > self.seen)
    }

    /// Whether there are no messages, as far as is loaded.
    pub fn has_no_messages(&self) -> bool {
        self.pending.is_empty() && !self.events.iter().any(|event| author_of(event).is_some())
    }

    /// Whether any loaded event has expired, or one that is quoted.
    pub fn has_expired(&self, expiry: Expiry) -> bool {
        self.events.iter().any(|event| expiry.of_event(event.at)) || quotes_expired(&self.events, expiry)
    }

    /// Drops the events that have expired, which are the oldest, and what is quoted of them. Own messages that wait stay.
    pub fn drop_expired(&mut self, expiry: Expiry) {
        // The order is by position: where the clock was set back, a later event may have an earlier time.
        let expired =
            self.events.iter().rposition(|event| expiry.of_event(event.at)).map_or(0, |last| last + 1);
        let last = self.events.drain(..expired).next_back().map(|event| event.seq);
        self.mentions.retain(|mentioned| mentioned.is_after(last));
        // whatever precedes an expired event has expired as well
        self.earlier &= expired == 0;
        drop_expired_quotes(&mut self.events, expiry);
        self.drop_tallies();
    }

    /// Starts over from a snapshot. Own messages that wait stay, except those in the snapshot.
    pub fn reset(&mut self, history: History) {
        if self.epoch != history.epoch {
            // positions in another log are unrelated to those in this one
            self.seen = history.seq;
            self.mentions.clear();
        }
        self.epoch = history.epoch;
        self.seq = history.seq;
        self.earlier = history.earlier;
        self.later = false;
        self.events = history.events.into_iter().map(Arc::new).collect();
        self.unread_unloaded = 0;
        self.amendments.clear();
        for event in self.events.clone() {
            self.note_mention(&event);
        }
        self.reset_reactions(history.reacted, history.reactions);
        self.drop_stored();
    }

    /// Adjusts to a server clock that is `by` milliseconds ahead of what was known: how long messages have waited does
    /// not change.
    pub fn adjust_clock(&mut self, by: i64) {
        self.pending.iter_mut().for_each(|pending| pending.at = pending.at.moved(by));
    }
}
