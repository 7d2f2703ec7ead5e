//! Where the reader is led in a chat, how far they have read it, and the message that they answer.

use std::sync::Arc;

use domain::{
    Problem, Quote, Seq, Timeline, Timestamp,
    place::{Answering, Around, News, Place},
    timeline::local_time,
};
use leptos::prelude::*;

use super::{LiveChat, Requested};
use crate::{
    live::Transport,
    reactive::{effect, memo},
};

const MILLIS_PER_DAY: u64 = 24 * 60 * 60 * 1_000;
const MILLIS_PER_MINUTE: i64 = 60_000;

/// A row that the reader is led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedTo {
    /// The position of its event.
    pub seq: Seq,
    /// Whether the focus goes there as well: the reader has asked for it on this page.
    pub takes_focus: bool,
}

/// What is shown of the message that the reader answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It is there, with this beginning.
    Message(Quote),
    /// It was removed meanwhile.
    Removed,
}

impl LiveChat {
    /// Leads to the message at a position, wherever in the history it is. Returns false if it is not loaded and cannot be
    /// requested, so that its link has to be followed.
    pub fn go_to(self, seq: Seq) -> bool {
        if self.timeline.with_untracked(|timeline| timeline.covers(seq)) {
            self.lead_to_message(seq);
            return true;
        }
        self.request_around(Place::At(seq))
    }

    /// Leads to the first row of the day of a point in time, in the reader's time zone. Returns false if it is not loaded
    /// and cannot be requested.
    pub fn go_to_day(self, at: Timestamp) -> bool {
        let since = day_begin(at, self.live.offset_minutes.get_untracked());
        match self.timeline.with_untracked(|timeline| timeline.first_since(since)) {
            Some(seq) => {
                self.led_to.set(Some(LedTo { seq, takes_focus: false }));
                true
            }
            None => self.request_around(Place::Since(since)),
        }
    }

    fn request_around(self, place: Place) -> bool {
        self.request_replacement(Requested::Around(place), |transport| transport.request_around(place))
    }

    /// Leads to a message that is loaded, or says that it is gone.
    fn lead_to_message(self, seq: Seq) {
        let is_gone = self.timeline.with_untracked(|timeline| timeline.is_gone(seq));
        let notice = self.live.notice;
        if is_gone {
            notice.set(Some(Problem::MessageGone));
        } else if notice.get_untracked() == Some(Problem::MessageGone) {
            notice.set(None);
        }
        self.led_to.set(Some(LedTo { seq, takes_focus: true }));
    }

    /// Applies the events around a place. They are ignored if the reader has asked for others meanwhile.
    pub(super) fn receive_around(self, around: Around) {
        let Some(place) = around.place() else { return };
        if self.take_page_request(Requested::Around(place)) {
            let Around { shown, events, earlier, reactions, .. } = around;
            self.timeline.update(|timeline| {
                timeline.replace_with_page(events, earlier);
                timeline.add_reactions(reactions);
            });
            match (place, shown) {
                (Place::At(seq), _) => self.lead_to_message(seq),
                (Place::Since(_), Some(seq)) => self.led_to.set(Some(LedTo { seq, takes_focus: false })),
                (Place::Since(_), None) => {}
            }
        }
        self.end_loading();
    }

    /// Requests what is new since the last event that the reader has seen, if not all of that is loaded.
    pub(super) fn request_news(self) {
        let seen = self
            .timeline
            .with_untracked(|timeline| Some(timeline.seen()).filter(|seen| timeline.begins_after(*seen)));
        if let (Some(seen), Some(transport)) = (seen, self.live.transport()) {
            transport.request_news(seen);
        }
    }

    /// Applies what is new.
    pub(super) fn receive_news(self, news: &News) {
        self.timeline.update(|timeline| timeline.take_news(news));
    }

    /// Prepares a page that shows a place, before it is connected: it shows a part of the history.
    pub(in crate::live) fn open_place(self) {
        if let Some(seq) = self.place {
            self.timeline.update(Timeline::note_later);
            self.led_to.set(Some(LedTo { seq, takes_focus: false }));
        }
    }

    /// Goes on where the reader stopped reading when the page was left, and saves from now on how far they have read and
    /// what they answer.
    pub(in crate::live) fn keep_place(self, transport: Arc<dyn Transport>) {
        if let Some((epoch, seq)) = transport.saved_seen() {
            let mut is_behind = false;
            self.timeline.update(|timeline| is_behind = timeline.begin_seen(epoch, seq));
            if is_behind {
                self.resumed_at.set(Some(seq));
            }
        }
        if self.answering.with_untracked(Option::is_none)
            && let Some(saved) = transport.saved_answering()
        {
            self.answering.set(Some(saved));
        }
        let seen = memo(move || self.timeline.with(|timeline| (timeline.cursor().epoch, timeline.seen())));
        let saves = Arc::clone(&transport);
        effect(move || {
            let (epoch, seq) = seen.get();
            saves.save_seen(epoch, seq);
        });
        effect(move || self.answering.with(|answering| transport.save_answering(answering.as_ref())));
    }

    /// Marks what the reader has seen in another tab as seen.
    pub fn see_elsewhere(self) {
        let Some((epoch, seq)) = self.live.transport().and_then(|transport| transport.saved_seen()) else {
            return;
        };
        let is_ahead = self
            .timeline
            .with_untracked(|timeline| timeline.cursor().epoch == epoch && timeline.seen() < seq);
        if is_ahead {
            self.timeline.update(|timeline| timeline.see_through(epoch, seq));
        }
    }

    /// Begins an answer to a message. Returns false if the message is not loaded, or was removed.
    pub fn reply(self, message: Seq) -> bool {
        let quote = self.timeline.with_untracked(|timeline| timeline.quote_of(message));
        let Some(quote) = quote.filter(|_| self.live.ended.with_untracked(Option::is_none)) else {
            return false;
        };
        match untrack(|| self.post_block()) {
            Some(problem) => self.live.notice.set(Some(problem)),
            None => self.answering.set(Some(Answering { message, quote })),
        }
        true
    }

    /// Ends the answer that was begun: what is written answers nothing.
    pub fn cancel_reply(self) {
        self.answering.set(None);
    }

    /// Returns what is shown of the message that the reader answers, as it is now. `None` if they answer none.
    pub fn answered(self) -> Option<Answered> {
        let Answering { message, quote } = self.answering.get()?;
        Some(self.timeline.with(|timeline| match timeline.quote_of(message) {
            Some(quote) => Answered::Message(quote),
            None if timeline.is_removed(message) => Answered::Removed,
            // It is further up than what is loaded.
            None => Answered::Message(quote),
        }))
    }

    /// Returns the message that what is being written answers. `None` if there is none, or it was removed meanwhile.
    pub(super) fn reply_to(self) -> Option<Seq> {
        let message = self.answering.with_untracked(|answering| answering.as_ref().map(|to| to.message))?;
        let is_removed = self.timeline.with_untracked(|timeline| timeline.is_removed(message));
        (!is_removed).then_some(message)
    }
}

/// Returns when the day of a point in time begins, given the offsets of a time zone east of UTC in minutes.
fn day_begin(at: Timestamp, offset_minutes: impl Fn(Timestamp) -> i32) -> Timestamp {
    let day = local_time(at, offset_minutes(at)).utc_day();
    let midnight = Timestamp(day * MILLIS_PER_DAY);
    let begin = |offset: i32| midnight.moved(-i64::from(offset) * MILLIS_PER_MINUTE);
    // The clocks may have changed since midnight.
    begin(offset_minutes(begin(offset_minutes(at))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;

    #[test]
    fn a_day_begins_at_midnight_where_the_reader_is() {
        let at = Timestamp(10 * MILLIS_PER_DAY + 23 * HOUR);
        assert_eq!(day_begin(at, |_| 0), Timestamp(10 * MILLIS_PER_DAY));
        assert_eq!(day_begin(at, |_| 120), Timestamp(11 * MILLIS_PER_DAY - 2 * HOUR), "it is tomorrow there");
        assert_eq!(day_begin(at, |_| -300), Timestamp(10 * MILLIS_PER_DAY + 5 * HOUR));
    }

    #[test]
    fn a_day_on_which_the_clocks_change_begins_by_the_clock_of_its_midnight() {
        let change = Timestamp(10 * MILLIS_PER_DAY + HOUR);
        let offset = move |at: Timestamp| if at < change { 60 } else { 120 };
        let at = Timestamp(10 * MILLIS_PER_DAY + 12 * HOUR);
        assert_eq!(day_begin(at, offset), Timestamp(10 * MILLIS_PER_DAY - HOUR));
    }
}
