//! Freezes a list while the reader is about to choose something in it: while a mouse is over it, while a finger is on
//! it or has just tapped it, and while the keyboard focus is in one of its rows. New items wait until then, or until
//! the reader asks for them. Items that go keep their rows, marked as gone.

use std::time::Duration;

use leptos::{
    prelude::*,
    wasm_bindgen::{JsCast, prelude::Closure},
    web_sys::{Element, Event, EventTarget, FocusEvent, Node, PointerEvent},
};

use crate::view::item::Item;

/// The events that are listened to.
const EVENTS: [&str; 8] = [
    "pointerenter",
    "pointermove",
    "pointerleave",
    "pointerdown",
    "pointerup",
    "pointercancel",
    "focusin",
    "focusout",
];

/// The longest time from lifting a finger until the browser reports the tap.
const TAP: Duration = Duration::from_millis(500);

/// What holds the list.
#[derive(Clone, Copy, Default, PartialEq)]
struct By {
    mouse: bool,
    finger: bool,
    focus: bool,
    /// The number of touches so far.
    taps: u32,
    /// Whether the list is updated once, even if it is held.
    settles: bool,
}

/// The state of a list that can be held.
#[derive(Clone, Copy)]
pub struct Hold {
    by: RwSignal<By>,
    is_held: RwSignal<bool>,
    /// The keys of the rows shown, in order.
    shown: RwSignal<Vec<u64>>,
    /// The number of items that wait to be shown.
    pub waiting: RwSignal<usize>,
}

impl Default for Hold {
    /// Creates a hold that holds nothing.
    fn default() -> Self {
        Self {
            by: RwSignal::new(By::default()),
            is_held: RwSignal::new(false),
            shown: RwSignal::new(Vec::new()),
            waiting: RwSignal::new(0),
        }
    }
}

impl Hold {
    /// Updates the list once, even if it is held.
    pub fn settle(self) {
        self.by.update(|by| by.settles = true);
        self.is_held.update(|_| ());
    }

    /// Holds the list while the reader is about to choose something in `part`, an element that lives as long as the
    /// page.
    pub fn watch(self, part: &Element) {
        let heard = Closure::<dyn FnMut(Event)>::new(move |event: Event| self.hear(&event));
        for event in EVENTS {
            let _ = part.add_event_listener_with_callback(event, heard.as_ref().unchecked_ref());
        }
        heard.forget();
        // The mouse may have come before the page was hydrated. Its later events are seen.
        if part.matches(":hover").is_ok_and(|is| is) {
            self.is_by(By { mouse: true, ..By::default() });
        }
    }

    fn hear(self, event: &Event) {
        let mut by = self.by.get_untracked();
        let pointer = event.dyn_ref::<PointerEvent>();
        let is_mouse = pointer.is_some_and(|pointer| pointer.pointer_type() == "mouse");
        match (event.type_().as_str(), is_mouse) {
            ("pointerenter" | "pointermove", true) => by.mouse = true,
            ("pointerleave", true) => by.mouse = false,
            ("pointerdown", false) => {
                by.finger = true;
                by.taps += 1;
            }
            // The finger is lifted before the browser reports the tap.
            ("pointerup", false) => drop(set_timeout(move || self.lifted(by.taps), TAP)),
            ("pointercancel", false) => by.finger = false,
            ("focusin", _) => by.focus = event.target().is_some_and(|target| is_in_row(&target)),
            // Moving from row to row keeps the focus within the list.
            ("focusout", _) => {
                let to = event.dyn_ref::<FocusEvent>().and_then(FocusEvent::related_target);
                let part = event.current_target();
                let part = part.as_ref().and_then(|part| part.dyn_ref::<Node>());
                by.focus &= to.is_some_and(|to| part.is_some_and(|part| part.contains(to.dyn_ref())));
            }
            _ => return,
        }
        self.is_by(by);
    }

    /// Ends the hold by a finger, unless it has touched again since.
    fn lifted(self, taps: u32) {
        let by = self.by.get_untracked();
        if by.taps == taps {
            self.is_by(By { finger: false, ..by });
        }
    }

    fn is_by(self, by: By) {
        self.by.set(by);
        let is_held = by.mouse || by.finger || by.focus;
        if self.is_held.with_untracked(|was_held| *was_held != is_held) {
            self.is_held.set(is_held);
        }
    }

    /// Returns the items to show: all of them, or, while the list is held, those shown before, in their order.
    pub(super) fn still(self, mut items: Vec<Item>) -> Vec<Item> {
        let is_held = self.is_held.get() && !self.by.with_untracked(|by| by.settles);
        self.by.update(|by| by.settles = false);
        let shown = self.shown.get_untracked();
        let is_waiting = |item: &&Item| is_held && !shown.contains(&item.key);
        let waiting = items.iter().filter(is_waiting).count();
        if self.waiting.with_untracked(|before| *before != waiting) {
            self.waiting.set(waiting);
        }
        if !is_held {
            self.shown.set(items.iter().map(|item| item.key).collect());
            return items;
        }
        let row = |key: u64| match items.iter().position(|item| item.key == key) {
            Some(place) => items.swap_remove(place),
            None => Item::gone(key),
        };
        shown.into_iter().map(row).collect()
    }
}

/// Whether an element is in a row and has the keyboard focus. A click by mouse does not hold the list.
fn is_in_row(target: &EventTarget) -> bool {
    let element = target.dyn_ref::<Element>();
    element.is_some_and(|element| element.closest("li :focus-visible").is_ok_and(|row| row.is_some()))
}
