//! Nothing moves that one is about to choose: a list holds still while a mouse is over it, while a finger is on it or
//! has just tapped, and while the focus is in one of its rows. What comes meanwhile waits until that is over, or until
//! it is asked for; what goes stays, and shows that it has gone.

use std::time::Duration;

use leptos::{
    prelude::*,
    wasm_bindgen::{JsCast, prelude::Closure},
    web_sys::{Element, Event, EventTarget, FocusEvent, Node, PointerEvent},
};

use crate::view::item::Item;

/// What is listened to.
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

/// A browser tells of a tap this long after the finger was lifted, at most.
const TAP: Duration = Duration::from_millis(500);

/// What one is about to choose with.
#[derive(Clone, Copy, Default, PartialEq)]
struct By {
    mouse: bool,
    finger: bool,
    focus: bool,
    /// Counts fingers that came down.
    taps: u32,
    /// Whether the list is to be shown once as it is, held or not.
    settles: bool,
}

/// Whether a list holds still.
#[derive(Clone, Copy)]
pub struct Hold {
    by: RwSignal<By>,
    is_held: RwSignal<bool>,
    /// The keys of the rows that are shown, in their order.
    shown: RwSignal<Vec<u64>>,
    /// How many things wait to be shown.
    pub waiting: RwSignal<usize>,
}

impl Default for Hold {
    /// Nothing is held yet.
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
    /// Shows what there is, once.
    pub fn settle(self) {
        self.by.update(|by| by.settles = true);
        self.is_held.update(|_| ());
    }

    /// Holds the list while one is about to choose something in this part of the page, which is there as long as the
    /// page is.
    pub fn watch(self, part: &Element) {
        let heard = Closure::<dyn FnMut(Event)>::new(move |event: Event| self.hear(&event));
        for event in EVENTS {
            let _ = part.add_event_listener_with_callback(event, heard.as_ref().unchecked_ref());
        }
        heard.forget();
        // a mouse may have come before the page was alive; it leaves, or goes on, by itself
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
            // a finger leaves before the browser tells what it has tapped
            ("pointerup", false) => drop(set_timeout(move || self.lifted(by.taps), TAP)),
            ("pointercancel", false) => by.finger = false,
            ("focusin", _) => by.focus = event.target().is_some_and(|target| is_in_row(&target)),
            // from row to row it stays among them
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

    /// A finger was lifted long enough ago, unless it has come down again.
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

    /// The items of a list as they are shown: while it is held those that were, in their order.
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

/// Whether something is in a row of a list, and has the focus for the keyboard: a mouse that has clicked it goes on.
fn is_in_row(target: &EventTarget) -> bool {
    let element = target.dyn_ref::<Element>();
    element.is_some_and(|element| element.closest("li :focus-visible").is_ok_and(|row| row.is_some()))
}
