//! The range of events that is loaded: bounded, around what is read, and moved in pages of history.

use std::sync::Arc;

use super::{Timeline, amend::amend};
use crate::{Event, Seq};

/// How many rows are kept on either side of what is read. Those further away are unloaded and loaded again in pages.
pub(super) const KEPT_ROWS: usize = 50;
/// How many events these may have: a row may stand for any number of them.
const KEPT_EVENTS: usize = 1_000;
/// How many more events may accumulate before the furthest are unloaded.
pub(super) const SPARE_EVENTS: usize = 25;

impl Timeline {
    /// Unloads the events furthest from what is read, if there are too many: those of more than `KEPT_ROWS` before the
    /// first or after the last event that `read` returns. Unloads nothing while it returns `None`, before anything is
    /// shown.
    pub fn unload_distant(&mut self, read: impl FnOnce() -> Option<(Seq, Seq)>) {
        let count = self.events.len();
        if count <= KEPT_ROWS + SPARE_EVENTS {
            return;
        }
        let Some((first, last)) = read() else { return };
        let mut from = self.events.partition_point(|event| event.seq < first);
        let mut to = self.events.partition_point(|event| event.seq <= last).max(from);
        // Rows in view stay whole: what is cut off them would be loaded again, since it fills no view.
        while from > 0 && !self.ends_row(from - 1) {
            from -= 1;
        }
        while to > 0 && to < count && !self.ends_row(to - 1) {
            to += 1;
        }
        let start = from - self.events_of_rows((0..from).rev());
        let end = to + self.events_of_rows(to..count);
        if start + (count - end) <= SPARE_EVENTS {
            return;
        }
        let after: Vec<_> = self.events.drain(end..).collect();
        let before: Vec<_> = self.events.drain(..start).collect();
        self.later |= !after.is_empty();
        self.earlier |= !before.is_empty();
        self.unread_unloaded += before.iter().chain(&after).filter(|event| self.is_unread(event)).count();
        self.drop_tallies();
    }

    /// Returns how many of the events at these places make up the first `KEPT_ROWS` rows.
    fn events_of_rows(&self, places: impl Iterator<Item = usize>) -> usize {
        let mut rows = 0;
        let is_kept = |place: &usize| {
            rows += usize::from(self.ends_row(*place));
            rows <= KEPT_ROWS
        };
        places.take(KEPT_EVENTS).take_while(is_kept).count()
    }

    /// Adds the page of history before an event. Does nothing if that is not the oldest event loaded any more.
    pub fn prepend(&mut self, before: Seq, events: Vec<Event>, earlier: bool) {
        if self.oldest() != Some(before) {
            return;
        }
        let page = self.page(events);
        self.events.splice(..0, page);
        self.earlier = earlier;
        self.drop_stored();
    }

    /// Adds the page of history after an event, up to the newest event received: later ones are delivered as events.
    /// Does nothing if that is not the newest event loaded any more.
    pub fn append(&mut self, after: Seq, events: Vec<Event>) {
        if !self.later || self.newest() != Some(after) {
            return;
        }
        let page = self.page(events);
        // an empty page is the last one
        self.later = page.last().is_some_and(|last| last.seq < self.seq);
        self.events.extend(page);
        self.drop_stored();
    }

    /// Replaces the loaded events by a page of history.
    pub fn replace_with_page(&mut self, events: Vec<Event>, earlier: bool) {
        let gone = std::mem::take(&mut self.events);
        self.unread_unloaded += gone.iter().filter(|event| self.is_unread(event)).count();
        self.events = self.page(events);
        self.earlier = earlier;
        self.later = self.newest().is_some_and(|newest| newest < self.seq);
        self.drop_tallies();
        self.drop_stored();
    }

    /// Prepares a page of history: it may have been read before messages in it were removed or edited.
    pub(super) fn page(&mut self, events: Vec<Event>) -> Vec<Arc<Event>> {
        let known = events.into_iter().filter(|event| event.seq <= self.seq);
        let mut page: Vec<_> = known.map(Arc::new).collect();
        self.amendments.iter().for_each(|amendment| amend(&mut page, amendment));
        let unread = page.iter().filter(|event| self.is_unread(event)).count();
        self.unread_unloaded = self.unread_unloaded.saturating_sub(unread);
        page
    }
}
