//! The line above the new messages, and the way to it.

use domain::{Seq, Timeline};
use leptos::{
    html::Div,
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{HtmlDivElement, HtmlElement},
};

use crate::{
    live::LiveChat,
    reactive::{effect, memo},
};

/// Selects the line in the document.
const NEW_LINE: &str = ".new-since";

/// The place where the messages begin that are new since the reader looked away. The line stays until the reader posts
/// a message, or until more is new after they have looked away again. After a reload it is where it was, and what is below it
/// counts as new until the reader has reached it.
#[derive(Clone, Copy)]
pub(super) struct UnreadLine {
    chat: LiveChat,
    scroller: NodeRef<Div>,
    /// The last event that the reader had seen. `None` while nothing is marked as new.
    seen: RwSignal<Option<Seq>>,
    /// The first event below the line. `None` if there is no line or that event is not loaded.
    pub(super) first_new: Memo<Option<Seq>>,
    /// Whether the line is above the view and the reader has not scrolled to it.
    pub(super) is_above: RwSignal<bool>,
    /// Whether the reader has not reached the line yet since the page was loaded.
    is_held: RwSignal<bool>,
}

impl UnreadLine {
    /// Creates the line. `is_away` says whether the newest message is out of view.
    pub(super) fn new(chat: LiveChat, scroller: NodeRef<Div>, is_away: Memo<bool>) -> Self {
        let live = chat.live;
        let seen = RwSignal::new(None::<Seq>);
        let first_new = memo(move || {
            seen.get().and_then(|seen| chat.timeline.with(|timeline| timeline.first_after(seen)))
        });
        let (is_above, is_held) = (RwSignal::new(false), RwSignal::new(false));
        let line = Self { chat, scroller, seen, first_new, is_above, is_held };
        let is_at_end = memo(move || live.is_visible.get() && !is_away.get());
        let is_looking = memo(move || is_at_end.get() && !is_held.get());
        let is_old = StoredValue::new(true);
        Effect::new(move |was_looking: Option<bool>| {
            let is_looking = is_looking.get();
            if was_looking == Some(true) && !is_looking {
                is_old.set_value(true);
            }
            chat.set_looking(is_looking);
            is_looking
        });
        effect(move || {
            let (has_unseen, newest_seen) =
                chat.timeline.with(|timeline| (timeline.has_unseen(), timeline.seen()));
            if !is_looking.get() && has_unseen && is_old.get_value() {
                is_old.set_value(false);
                seen.set(Some(newest_seen));
            }
        });
        // The reader has been here before, and more has come since.
        effect(move || {
            let Some(resumed_at) = chat.resumed_at.get() else { return };
            let is_news = chat
                .timeline
                .with_untracked(|timeline| timeline.has_unseen() || timeline.begins_after(resumed_at));
            if is_news {
                is_old.set_value(false);
                is_held.set(true);
                seen.set(Some(resumed_at));
            } else {
                chat.set_looking(is_looking.get_untracked());
            }
        });
        effect(move || {
            if seen.get().is_some() && is_at_end.get() {
                // The line is in the document with the next frame.
                let _ = request_animation_frame(move || line.note_place());
            } else {
                line.is_above.set(false);
            }
        });
        line
    }

    /// Removes the line.
    pub(super) fn clear(self) {
        self.seen.set(None);
        self.is_held.set(false);
    }

    /// Handles a scroll event: records whether the reader has reached the line.
    pub(super) fn handle_scroll(self) {
        if self.is_above.get_untracked() && !self.is_out_of_view() {
            self.is_above.set(false);
            self.is_held.set(false);
        }
    }

    /// Records whether the line is above the view.
    fn note_place(self) {
        let is_above = self.is_out_of_view();
        self.is_above.set(is_above);
        if !is_above {
            self.is_held.set(false);
        }
    }

    /// Leads to the line. If it is in an earlier page of history, that page is requested first.
    pub(super) fn go(self) {
        match self.unloaded() {
            Some(seen) => drop(self.chat.request_after(seen)),
            None => self.scroll(),
        }
    }

    /// Scrolls to the line, if it is in the document.
    pub(super) fn scroll(self) {
        if let Some(line) = self.element() {
            line.scroll_into_view();
        }
    }

    fn is_out_of_view(self) -> bool {
        let scrolled = self.element_of_scroller().map_or(0, |scroller| scroller.scroll_top());
        self.unloaded().is_some()
            || self.element().is_some_and(|line| line.offset_top() + line.offset_height() < scrolled)
    }

    /// Returns the last event seen if the event after it is not loaded, or `None`.
    fn unloaded(self) -> Option<Seq> {
        let seen = self.seen.get_untracked()?;
        self.chat.timeline.with_untracked(|timeline: &Timeline| timeline.begins_after(seen)).then_some(seen)
    }

    fn element(self) -> Option<HtmlElement> {
        self.element_of_scroller()?.query_selector(NEW_LINE).ok()??.dyn_into().ok()
    }

    fn element_of_scroller(self) -> Option<HtmlDivElement> {
        self.scroller.try_get_untracked().flatten()
    }
}
