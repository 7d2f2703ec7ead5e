//! Pages of history, loaded as the reader scrolls, and the way back to the newest one.

use domain::Timeline;
use leptos::{html::Div, prelude::*, web_sys::HtmlDivElement};

use crate::{
    live::{Connection, LiveChat},
    reactive::{effect, memo},
    view::scroll_anchor::ScrollAnchor,
};

/// The distance from the end, in pixels, up to which the newest event counts as in view.
const NEAR_THE_END: f64 = 120.0;

/// The part of the history that is loaded, and where in it the reader is.
#[derive(Clone, Copy)]
pub(super) struct Paging {
    chat: LiveChat,
    scroller: NodeRef<Div>,
    anchor: ScrollAnchor,
    /// Whether there are events after those loaded.
    pub(super) has_later: Memo<bool>,
    is_scrolled_up: RwSignal<bool>,
    /// Whether the reader asked for the newest events and they could not be requested.
    wants_newest: StoredValue<bool>,
}

impl Paging {
    pub(super) fn new(chat: LiveChat, scroller: NodeRef<Div>, anchor: ScrollAnchor) -> Self {
        let has_earlier = memo(move || chat.timeline.with(Timeline::has_earlier));
        let has_later = memo(move || chat.timeline.with(Timeline::has_later));
        let is_scrolled_up = RwSignal::new(false);
        let wants_newest = StoredValue::new(false);
        let paging = Self { chat, scroller, anchor, has_later, is_scrolled_up, wants_newest };
        let connection = chat.live.connection;
        effect(move || {
            if connection.get() == Connection::Connected && wants_newest.get_value() {
                paging.go_to_newest();
            }
        });
        // Events that are merged into few rows may not fill the view. Then the reader could not scroll to load more.
        effect(move || {
            let (has_earlier, has_later) = (has_earlier.get(), has_later.get());
            let is_idle = !chat.loading.get() && connection.get() == Connection::Connected;
            if is_idle && (has_earlier || has_later) {
                let _ = request_animation_frame(move || paging.fill(has_later));
            }
        });
        paging
    }

    /// Whether the newest event is out of view.
    pub(super) fn is_away(self) -> bool {
        self.is_scrolled_up.get() || self.has_later.get()
    }

    /// Leads to the newest event. If it is not loaded, its page is requested first: now, or with the next connection.
    pub(super) fn go_to_newest(self) {
        let is_requested = self.chat.request_newest();
        self.wants_newest.set_value(!is_requested && self.has_later.get_untracked());
        if !is_requested {
            self.scroll_to_end();
        }
    }

    /// Scrolls to the newest event loaded.
    pub(super) fn scroll_to_end(self) {
        self.anchor.follow_end();
        if let Some(scroller) = self.element() {
            scroller.set_scroll_top(0);
        }
    }

    /// Handles a scroll event: requests the pages above and below before the reader reaches them.
    pub(super) fn handle_scroll(self) {
        let Some(scroller) = self.element() else { return };
        let from_end = self.anchor.handle_scroll(self.has_later.get_untracked());
        let is_up = from_end > NEAR_THE_END;
        if self.is_scrolled_up.get_untracked() != is_up {
            self.is_scrolled_up.set(is_up);
        }
        if is_up {
            // a reader who reads elsewhere by now stays there
            self.wants_newest.set_value(false);
        }
        let height = f64::from(scroller.client_height());
        if f64::from(scroller.scroll_height()) - from_end < 2.0 * height {
            self.chat.load_earlier();
        } else if from_end < height {
            self.chat.load_later();
        }
    }

    /// Requests another page if what is loaded does not fill the view.
    fn fill(self, has_later: bool) {
        let fits = |scroller: HtmlDivElement| scroller.scroll_height() <= scroller.client_height();
        if self.element().is_some_and(fits) {
            if has_later {
                self.chat.load_later()
            } else {
                self.chat.load_earlier()
            };
        }
    }

    fn element(self) -> Option<HtmlDivElement> {
        self.scroller.try_get_untracked().flatten()
    }
}
