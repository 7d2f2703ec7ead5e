//! Where the reader is led in a timeline, and how far they had read it elsewhere: before the page was loaded again, or in
//! another tab.

use super::{Timeline, author_of};
use crate::{
    Epoch, Quote, Seq, Timestamp,
    place::{News, is_there},
};

impl Timeline {
    /// Records that the loaded events end before the newest one, if they do: the page shows a part of the history.
    pub fn note_later(&mut self) {
        self.later = self.newest().is_some_and(|newest| newest < self.seq);
    }

    /// Whether everything around a position is loaded, so that the event there is, or none exists.
    pub fn covers(&self, seq: Seq) -> bool {
        let begins = !self.earlier || self.oldest().is_some_and(|oldest| oldest <= seq);
        let ends = !self.later || self.newest().is_some_and(|newest| seq <= newest);
        begins && ends
    }

    /// Whether a link to this position leads to nothing any more, as far as is loaded.
    pub fn is_gone(&self, seq: Seq) -> bool {
        !self.event(seq).is_some_and(is_there)
    }

    /// Returns the position of the first row since a point in time. `None` if it is not loaded, or there is none.
    pub fn first_since(&self, since: Timestamp) -> Option<Seq> {
        let place = self.events.iter().position(|event| event.at >= since)?;
        if place == 0 && self.earlier {
            return None;
        }
        let from = self.events.get(place)?.seq;
        self.shown_events().iter().map(|event| event.seq).find(|seq| *seq >= from)
    }

    /// Returns the beginning of a message, for one that answers it. `None` if it is not loaded, or was removed.
    pub fn quote_of(&self, seq: Seq) -> Option<Quote> {
        let event = self.event(seq)?;
        Some(event.kind.message()?.quote(event.at))
    }

    /// Whether a message is loaded and was removed.
    pub fn is_removed(&self, seq: Seq) -> bool {
        self.event(seq).is_some_and(|event| author_of(event).is_some() && event.kind.message().is_none())
    }

    /// Goes back to the last event that the reader had seen when the page was left, in the log with this epoch. Returns
    /// whether anything came after it.
    pub fn begin_seen(&mut self, epoch: Epoch, seq: Seq) -> bool {
        let is_behind = epoch == self.epoch && seq < self.seq;
        if is_behind {
            self.seen = seq;
            for event in self.events.clone() {
                self.note_mention(&event);
            }
        }
        is_behind
    }

    /// Marks everything up to an event as seen by the reader, in another tab. Does nothing if that is of another log.
    pub fn see_through(&mut self, epoch: Epoch, seq: Seq) {
        if epoch != self.epoch || seq <= self.seen {
            return;
        }
        self.seen = seq;
        // What is not loaded is before what is loaded, or nothing of it is left.
        if seq >= self.seq || !(self.later || self.begins_after(seq)) {
            self.unread_unloaded = 0;
        }
    }

    /// Takes what the server has counted since the last event that the reader has seen. Ignored if they have seen more
    /// meanwhile.
    pub fn take_news(&mut self, news: &News) {
        if news.after != self.seen {
            return;
        }
        let counted = |event: &Seq| *event <= news.through;
        let loaded = self.unseen().filter(|event| counted(&event.seq) && self.is_unread(event)).count();
        self.unread_unloaded = news.messages.saturating_sub(loaded);
        self.add_mentions(news.mentions.iter().copied());
    }
}
