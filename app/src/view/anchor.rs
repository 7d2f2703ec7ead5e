//! What one reads stays where it is, whatever comes above or below it, whatever grows, and however the window changes.
//! Browsers do that for themselves in part and not alike: one has no scroll anchoring, and another is thrown off by a
//! scroller that counts from its end. So theirs is switched off (`overflow-anchor`), and this is what there is.

use domain::Seq;
use leptos::{
    html::Div,
    prelude::*,
    wasm_bindgen::{JsCast, JsValue, prelude::Closure},
    web_sys::{Element, HtmlDivElement, js_sys},
};
use send_wrapper::SendWrapper;
use web_sys::ResizeObserver;

/// A reader so many pixels from the end, or fewer, follows it.
const AT_THE_END: f64 = 8.0;

/// Nobody sees that a line has moved by less.
const MOVED: f64 = 0.5;

/// What in a row is held still: what is pressed, until that was told, and what the keyboard is at. A mouse that rests
/// over a list of links all day is about to choose none of them.
const CHOSEN: &str = "a:active, button:active, a:focus-visible, button:focus-visible";

/// What stays where it is.
#[derive(Default)]
struct Kept {
    /// This does, and it is here in what is scrolled.
    element: Option<SendWrapper<(Element, f64)>>,
    /// How far it was scrolled before rows changed: a browser that has less to scroll than before scrolls by itself.
    before: Option<f64>,
    /// How far from the end a reader was moved who would follow it, were they not about to choose something.
    held: Option<f64>,
    /// The places of what the rows show, or of what is before them.
    places: Vec<Seq>,
}

/// Keeps a reader's place in a list that is scrolled.
#[derive(Clone, Copy)]
pub struct Anchor {
    scroller: NodeRef<Div>,
    kept: RwSignal<Kept>,
}

impl Anchor {
    /// Where one reads in the list of this scroller: at the end.
    pub fn new(scroller: NodeRef<Div>) -> Self {
        Self { scroller, kept: RwSignal::new(Kept::default()) }
    }

    /// The scroller and its rows.
    fn elements(self) -> Option<(HtmlDivElement, Element)> {
        let scroller = self.scroller.try_get_untracked().flatten()?;
        let rows = scroller.query_selector("ol").ok()??;
        Some((scroller, rows))
    }

    /// Places of what the rows will show from now on, in their order.
    pub fn rows_are(self, places: Vec<Seq>) {
        self.kept.update(|kept| kept.places = places);
    }

    /// The places of the first and the last row in view; those of the newest where that is not known.
    pub fn in_view(self) -> (Seq, Seq) {
        let Some((scroller, rows)) = self.elements() else { return (Seq(u64::MAX), Seq(u64::MAX)) };
        let view = scroller.get_bounding_client_rect();
        let place = |height| {
            let row = first_below(&rows, height) as usize;
            self.kept.with_untracked(|kept| kept.places.get(row).copied().unwrap_or(Seq(u64::MAX)))
        };
        (place(view.top()), place(view.bottom()))
    }

    /// One has scrolled, or was scrolled: gives how far the end is from the view, in pixels. Where `has_more`, the end is
    /// not one that is followed.
    pub fn scrolled(self, has_more: bool) -> f64 {
        // what has moved by itself meanwhile was not scrolled
        self.keep();
        let Some((scroller, rows)) = self.elements() else { return 0.0 };
        let from_end = -scroll_top(&scroller);
        let held = self.kept.with_untracked(|kept| kept.held);
        // who scrolls by themselves follows nothing
        let held = held.filter(|held| (held - from_end).abs() <= AT_THE_END);
        if from_end > AT_THE_END || has_more || held.is_some() {
            self.put(&scroller, &rows, held);
        } else {
            self.lift();
        }
        from_end
    }

    /// Keeps what has the focus there where it is, or else the first row in view.
    fn put(self, scroller: &HtmlDivElement, rows: &Element, held: Option<f64>) {
        let view = scroller.get_bounding_client_rect();
        let focused = document().active_element().filter(|element| {
            let place = element.get_bounding_client_rect();
            rows.contains(Some(element)) && place.top() >= view.top() && place.bottom() <= view.bottom()
        });
        let element = focused.or_else(|| rows.children().item(first_below(rows, view.top())));
        let element = element.map(|element| {
            let place = place(scroller, &element);
            SendWrapper::new((element, place))
        });
        self.kept.update(|kept| (kept.element, kept.held) = (element, held));
    }

    /// The end is followed from now on.
    pub fn lift(self) {
        self.kept.update(|kept| (kept.element, kept.held) = (None, None));
    }

    /// To be called before rows change: while one is about to choose something in a row the end is not followed, nor once
    /// one has scrolled away from it, which a browser tells with the next frame.
    pub fn rows_will_change(self) {
        let Some((scroller, rows)) = self.elements() else { return };
        // the list itself tells whether it is worth a look at all that is in it
        let is_chosen = rows.matches(":active, :focus-within").is_ok_and(|is| is)
            && rows.query_selector(CHOSEN).is_ok_and(|found| found.is_some());
        let (is_free, is_held) =
            self.kept.with_untracked(|kept| (kept.element.is_none(), kept.held.is_some()));
        let top = scroll_top(&scroller);
        let is_at_end = -top <= AT_THE_END;
        if is_free && (is_chosen || !is_at_end) {
            self.put(&scroller, &rows, Some(-top).filter(|_| is_at_end));
        } else if is_held && !is_chosen {
            self.lift();
            scroller.set_scroll_top(0);
        }
        self.kept.update(|kept| kept.before = Some(top));
        // once the page shows it, and before anybody sees it
        queue_microtask(move || self.keep());
    }

    /// Keeps the place from now on whenever anything has another size than before.
    pub fn watch(self) {
        Effect::new(move |_| {
            let (Some(_), Some((scroller, rows))) = (self.scroller.get(), self.elements()) else { return };
            let resized = Closure::<dyn FnMut(JsValue)>::new(move |_: JsValue| self.keep());
            if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
                observer.observe(&scroller);
                observer.observe(&rows);
            }
            // as long as the page is there
            resized.forget();
        });
    }

    fn keep(self) {
        let Some((scroller, rows)) = self.elements() else { return };
        let mut kept = None;
        self.kept.update(|all| kept = all.element.clone().zip(Some((all.before.take(), all.held))));
        let Some((element, (before, held))) = kept else { return };
        let (element, was) = element.take();
        if !element.is_connected() {
            return self.put(&scroller, &rows, held);
        }
        let (now, top) = (place(&scroller, &element), scroll_top(&scroller));
        let by = before.unwrap_or(top) + now - was - top;
        if by.abs() > MOVED {
            scroller.scroll_by_with_x_and_y(0.0, by);
            let held = held.map(|_| -scroll_top(&scroller));
            let element = Some(SendWrapper::new((element, now)));
            self.kept.update(|kept| (kept.element, kept.held) = (element, held));
        }
    }
}

/// Where something ends in what is scrolled: scrolling does not change it.
fn place(scroller: &HtmlDivElement, element: &Element) -> f64 {
    element.get_bounding_client_rect().bottom() - scroller.get_bounding_client_rect().top()
        + scroll_top(scroller)
}

/// How far a scroller is scrolled, with fractions of a pixel.
fn scroll_top(scroller: &HtmlDivElement) -> f64 {
    let top = js_sys::Reflect::get(scroller, &"scrollTop".into()).ok();
    top.and_then(|top| top.as_f64()).unwrap_or_default()
}

/// The first of some rows that reaches below this height of the window. A row that sticks where it is does not count.
fn first_below(rows: &Element, height: f64) -> u32 {
    let rows = rows.children();
    let is_above = |row: u32| {
        let row = rows.item(row).filter(|row| !row.class_list().contains("day"));
        row.map(|row| row.get_bounding_client_rect().bottom() <= height)
    };
    let (mut from, mut to) = (0, rows.length());
    while from < to {
        let middle = (from + to) / 2;
        // of a line that sticks nothing follows: the one after it tells
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
