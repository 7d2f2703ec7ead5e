//! Scroll anchoring: what is read stays in place, whatever is added or removed above or below it, whatever grows, and
//! however the window is resized. Browsers differ here: one has no scroll anchoring, and another's fails in a scroller
//! that counts from its end. Theirs is therefore switched off (`overflow-anchor`).

use domain::Seq;
use leptos::{
    html::Div,
    prelude::*,
    wasm_bindgen::{JsCast, JsValue, prelude::Closure},
    web_sys::{Element, HtmlDivElement, js_sys},
};
use send_wrapper::SendWrapper;
use web_sys::ResizeObserver;

use crate::reactive::effect;

/// The maximum distance from the end at which a reader follows it, in pixels.
const END_TOLERANCE: f64 = 8.0;

/// The smallest movement that is corrected, in pixels.
const MIN_SHIFT: f64 = 0.5;

/// The lines that are no rows of events.
const NO_ROW: &str = ".day, .new-since";

/// The row that the reader was led to last.
const CURRENT: &str = "li[aria-current]";

/// The distance of a row that the reader is led to from the top of the view, in pixels, if it is higher than the view: below
/// the line of the day, which sticks there.
const TOP_MARGIN: f64 = 48.0;

/// The elements in rows during whose use the end is not followed: an element while it is pressed, and the element with
/// the keyboard focus. Hovering does not count: a mouse may rest over a list of links all day.
const IN_USE: &str = "a:active, button:active, a:focus-visible, button:focus-visible";

/// The state of a scroll anchor: what is kept in place.
#[derive(Default)]
struct State {
    /// The anchor element, and its position within the scrolled content. `None` if the end is followed.
    element: Option<SendWrapper<(Element, f64)>>,
    /// The scroll position before rows changed: a browser scrolls by itself if less is left to scroll.
    scroll_top_before: Option<f64>,
    /// The distance from the end, in pixels, of a reader who would follow it but is about to press something. `None` if
    /// the reader has scrolled away.
    end_distance: Option<f64>,
    /// For each row, the position of its event, or of the last event before it.
    row_seqs: Vec<Seq>,
}

/// A scroll anchor: keeps the reader's place in a scrolled list.
#[derive(Clone, Copy)]
pub struct ScrollAnchor {
    scroller: NodeRef<Div>,
    state: RwSignal<State>,
}

impl ScrollAnchor {
    /// Creates the scroll anchor of the list in this scroller, at its end.
    pub fn new(scroller: NodeRef<Div>) -> Self {
        Self { scroller, state: RwSignal::new(State::default()) }
    }

    /// Returns the scroller and its list.
    fn elements(self) -> Option<(HtmlDivElement, Element)> {
        let scroller = self.scroller.try_get_untracked().flatten()?;
        let rows = scroller.query_selector("ol").ok()??;
        Some((scroller, rows))
    }

    /// Sets the positions of the events in the rows, in the order of the rows.
    pub fn set_rows(self, row_seqs: Vec<Seq>) {
        self.state.update(|state| state.row_seqs = row_seqs);
    }

    /// Returns the positions of the first and the last row in view. `None` before the list is shown.
    pub fn in_view(self) -> Option<(Seq, Seq)> {
        let (scroller, rows) = self.elements()?;
        let view = scroller.get_bounding_client_rect();
        let seq_at = |height| {
            let row = first_below(&rows, height) as usize;
            self.state.with_untracked(|state| state.row_seqs.get(row).copied().unwrap_or(Seq(u64::MAX)))
        };
        Some((seq_at(view.top()), seq_at(view.bottom())))
    }

    /// Handles a scroll event: chooses what to keep in place from now on. Returns the distance between the view and the
    /// end of what is loaded, in pixels. If `has_more`, newer events are not loaded, so the end is not followed.
    pub fn handle_scroll(self, has_more: bool) -> f64 {
        // Movements that the reader did not cause are corrected first.
        self.restore_place();
        let Some((scroller, rows)) = self.elements() else { return 0.0 };
        let from_end = -scroll_top(&scroller);
        let end_distance = self.state.with_untracked(|state| state.end_distance);
        // A reader who scrolls away by themselves does not follow the end any more.
        let end_distance = end_distance.filter(|distance| (distance - from_end).abs() <= END_TOLERANCE);
        if from_end > END_TOLERANCE || has_more || end_distance.is_some() {
            self.choose_element(&scroller, &rows, end_distance);
        } else {
            self.follow_end();
        }
        from_end
    }

    /// Keeps the focused element in place if it is in view, or its row if it is one of the actions, which are not always shown;
    /// or else the first row in view.
    fn choose_element(self, scroller: &HtmlDivElement, rows: &Element, end_distance: Option<f64>) {
        let view = scroller.get_bounding_client_rect();
        let focused = document().active_element().filter(|element| {
            let rect = element.get_bounding_client_rect();
            rows.contains(Some(element)) && rect.top() >= view.top() && rect.bottom() <= view.bottom()
        });
        let row_of = |element: &Element| element.closest(".actions").ok()??.closest("li").ok()?;
        let focused = focused.map(|element| row_of(&element).unwrap_or(element));
        let element = focused.or_else(|| rows.children().item(first_below(rows, view.top())));
        let element = element.map(|element| {
            let bottom = content_bottom(scroller, &element);
            SendWrapper::new((element, bottom))
        });
        self.state.update(|state| (state.element, state.end_distance) = (element, end_distance));
    }

    /// Follows the end from now on.
    pub fn follow_end(self) {
        self.state.update(|state| (state.element, state.end_distance) = (None, None));
    }

    /// Scrolls to the row of an event or, if it has none, to the last one before it, unless it is in view, and marks it as the
    /// current one instead of any other. If `has_more`, newer events are not loaded, so the end is not followed. Returns the
    /// row. `None` before the list is shown, or if there are no rows.
    pub fn lead_to(self, seq: Seq, has_more: bool) -> Option<Element> {
        let (scroller, rows) = self.elements()?;
        let place = self.state.with_untracked(|state| {
            let first = state.row_seqs.partition_point(|row| *row < seq);
            if state.row_seqs.get(first) == Some(&seq) { first } else { first.saturating_sub(1) }
        });
        let is_row = |row: &Element| !row.matches(NO_ROW).unwrap_or(false);
        let row_at = |place: usize| rows.children().item(u32::try_from(place).ok()?).filter(is_row);
        let row = (0..=place).rev().find_map(row_at).or_else(|| row_at(place + 1))?;
        if let Ok(Some(before)) = rows.query_selector(CURRENT) {
            let _ = before.remove_attribute("aria-current");
        }
        // Reading the geometry in between, a row that was current before shows it again.
        let (view, rect) = (scroller.get_bounding_client_rect(), row.get_bounding_client_rect());
        let _ = row.set_attribute("aria-current", "true");
        let is_in_view = rect.top() >= view.top() + TOP_MARGIN && rect.bottom() <= view.bottom();
        if !is_in_view {
            // In the middle or, if it is higher than the view, from its beginning.
            let above = ((view.height() - rect.height()) / 2.0).max(TOP_MARGIN);
            scroller.scroll_by_with_x_and_y(0.0, rect.top() - view.top() - above);
        }
        if has_more {
            self.choose_element(&scroller, &rows, None);
        }
        Some(row)
    }

    /// Prepares for a change of the rows. Has to be called before each. The end is not followed while the reader is
    /// about to press something in a row, nor once the reader has scrolled away from it, which the browser reports only
    /// with the next frame.
    pub fn before_rows_change(self) {
        let Some((scroller, rows)) = self.elements() else { return };
        // Checking the list itself first avoids a search through all its elements.
        let is_in_use = rows.matches(":active, :focus-within").is_ok_and(|is| is)
            && rows.query_selector(IN_USE).is_ok_and(|found| found.is_some());
        let (follows_end, would_follow_end) =
            self.state.with_untracked(|state| (state.element.is_none(), state.end_distance.is_some()));
        let top = scroll_top(&scroller);
        let is_at_end = -top <= END_TOLERANCE;
        if follows_end && (is_in_use || !is_at_end) {
            self.choose_element(&scroller, &rows, Some(-top).filter(|_| is_at_end));
        } else if would_follow_end && !is_in_use {
            self.follow_end();
            scroller.set_scroll_top(0);
        }
        self.state.update(|state| state.scroll_top_before = Some(top));
        // After the rows have changed, and before the page is painted.
        queue_microtask(move || self.restore_place());
    }

    /// Keeps the place whenever the scroller or the list is resized.
    pub fn observe_resizes(self) {
        effect(move || {
            let (Some(_), Some((scroller, rows))) = (self.scroller.get(), self.elements()) else { return };
            let resized = Closure::<dyn FnMut(JsValue)>::new(move |_: JsValue| self.restore_place());
            if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
                observer.observe(&scroller);
                observer.observe(&rows);
            }
            // It exists as long as the page.
            resized.forget();
        });
    }

    /// Scrolls back to where the anchor element was, if anything has moved it.
    fn restore_place(self) {
        let Some((scroller, rows)) = self.elements() else { return };
        let mut anchor = None;
        self.state.update(|state| {
            let before = state.scroll_top_before.take();
            anchor = state.element.clone().map(|element| (element, before, state.end_distance));
        });
        let Some((element, scroll_top_before, end_distance)) = anchor else { return };
        let (element, was) = element.take();
        if !element.is_connected() || !is_shown(&element) {
            return self.choose_element(&scroller, &rows, end_distance);
        }
        let (now, top) = (content_bottom(&scroller, &element), scroll_top(&scroller));
        let by = scroll_top_before.unwrap_or(top) + now - was - top;
        if by.abs() > MIN_SHIFT {
            scroller.scroll_by_with_x_and_y(0.0, by);
            let end_distance = end_distance.map(|_| -scroll_top(&scroller));
            let element = Some(SendWrapper::new((element, now)));
            self.state.update(|state| (state.element, state.end_distance) = (element, end_distance));
        }
    }
}

/// Whether an element is displayed.
fn is_shown(element: &Element) -> bool {
    let rect = element.get_bounding_client_rect();
    rect.width() > 0.0 || rect.height() > 0.0
}

/// Returns the bottom edge of an element within the scrolled content, which scrolling does not change.
fn content_bottom(scroller: &HtmlDivElement, element: &Element) -> f64 {
    element.get_bounding_client_rect().bottom() - scroller.get_bounding_client_rect().top()
        + scroll_top(scroller)
}

/// Returns the scroll position with fractions of a pixel.
fn scroll_top(scroller: &HtmlDivElement) -> f64 {
    let top = js_sys::Reflect::get(scroller, &"scrollTop".into()).ok();
    top.and_then(|top| top.as_f64()).unwrap_or_default()
}

/// Returns the index of the first row that reaches below a height of the window. Rows that stick to the top do not
/// count.
fn first_below(rows: &Element, height: f64) -> u32 {
    let rows = rows.children();
    let is_above = |row: u32| {
        let row = rows.item(row).filter(|row| !row.class_list().contains("day"));
        row.map(|row| row.get_bounding_client_rect().bottom() <= height)
    };
    let (mut from, mut to) = (0, rows.length());
    while from < to {
        let middle = (from + to) / 2;
        // A sticky row says nothing about its place: the row after it decides.
        let (row, is_above) = match is_above(middle) {
            None => (middle + 1, is_above(middle + 1).unwrap_or(false)),
            Some(is) => (middle, is),
        };
        if is_above {
            from = row + 1;
        } else {
            to = middle;
        }
    }
    if is_above(from).is_none() { from + 1 } else { from }
}
