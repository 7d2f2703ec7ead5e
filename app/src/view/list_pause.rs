//! Pauses the updates of a list while the reader is about to choose something in it: while a mouse is over it, while a
//! finger is on it or has just tapped it, and while the keyboard focus is in one of its rows. New items wait until
//! then, or until the reader asks for them. Removed items keep their rows, marked as removed.

use std::time::Duration;

use leptos::{
    prelude::*,
    wasm_bindgen::{JsCast, prelude::Closure},
    web_sys::{Element, Event, EventTarget, FocusEvent, Node, PointerEvent},
};

use crate::view::list_item::ListItem;

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
const TAP_DELAY: Duration = Duration::from_millis(500);

/// What pauses the list.
#[derive(Clone, Copy, Default, PartialEq)]
struct State {
    /// Whether a mouse is over the list.
    mouse: bool,
    /// Whether a finger is on the list, or has just tapped it.
    touch: bool,
    /// Whether the keyboard focus is in one of the rows.
    focus: bool,
    /// The number of touches so far.
    touches: u32,
    /// Whether the list is updated once, even if it is paused.
    updates_once: bool,
}

/// The pause of a list: whether its updates are paused, and what waits meanwhile.
#[derive(Clone, Copy)]
pub struct ListPause {
    state: RwSignal<State>,
    /// Whether the updates are paused.
    is_paused: RwSignal<bool>,
    /// The keys of the rows shown, in order.
    shown: RwSignal<Vec<u64>>,
    /// The number of items that wait to be shown.
    pub waiting: RwSignal<usize>,
}

impl Default for ListPause {
    /// Creates the pause of a list that is not paused.
    fn default() -> Self {
        Self {
            state: RwSignal::new(State::default()),
            is_paused: RwSignal::new(false),
            shown: RwSignal::new(Vec::new()),
            waiting: RwSignal::new(0),
        }
    }
}

impl ListPause {
    /// Updates the list once, even if it is paused.
    pub fn update_once(self) {
        self.state.update(|state| state.updates_once = true);
        self.is_paused.update(|_| ());
    }

    /// Pauses the list while the reader is about to choose something in `part`, an element that exists as long as the
    /// page.
    pub fn pause_for(self, part: &Element) {
        let listener = Closure::<dyn FnMut(Event)>::new(move |event: Event| self.handle(&event));
        for event in EVENTS {
            let _ = part.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
        }
        listener.forget();
        // The mouse may have come before the page was hydrated. Its later events are seen.
        if part.matches(":hover").is_ok_and(|is| is) {
            self.set_state(State { mouse: true, ..State::default() });
        }
    }

    fn handle(self, event: &Event) {
        let mut state = self.state.get_untracked();
        let pointer = event.dyn_ref::<PointerEvent>();
        let is_mouse = pointer.is_some_and(|pointer| pointer.pointer_type() == "mouse");
        match (event.type_().as_str(), is_mouse) {
            ("pointerenter" | "pointermove", true) => state.mouse = true,
            ("pointerleave", true) => state.mouse = false,
            ("pointerdown", false) => {
                state.touch = true;
                state.touches += 1;
            }
            // The finger is lifted before the browser reports the tap.
            ("pointerup", false) => drop(set_timeout(move || self.end_touch(state.touches), TAP_DELAY)),
            ("pointercancel", false) => state.touch = false,
            ("focusin", _) => state.focus = event.target().is_some_and(|target| is_in_row(&target)),
            // Moving from row to row keeps the focus within the list.
            ("focusout", _) => {
                let to = event.dyn_ref::<FocusEvent>().and_then(FocusEvent::related_target);
                let part = event.current_target();
                let part = part.as_ref().and_then(|part| part.dyn_ref::<Node>());
                state.focus &= to.is_some_and(|to| part.is_some_and(|part| part.contains(to.dyn_ref())));
            }
            _ => return,
        }
        self.set_state(state);
    }

    /// Ends the pause by a touch, unless there was another one since.
    fn end_touch(self, touches: u32) {
        let state = self.state.get_untracked();
        if state.touches == touches {
            self.set_state(State { touch: false, ..state });
        }
    }

    /// Sets what pauses the list, and whether it is paused.
    fn set_state(self, state: State) {
        self.state.set(state);
        let is_paused = state.mouse || state.touch || state.focus;
        if self.is_paused.with_untracked(|was_paused| *was_paused != is_paused) {
            self.is_paused.set(is_paused);
        }
    }

    /// Returns the items to show: all of them, or, while the list is paused, those shown before, in their order.
    pub(super) fn visible_items(self, mut items: Vec<ListItem>) -> Vec<ListItem> {
        let is_paused = self.is_paused.get() && !self.state.with_untracked(|state| state.updates_once);
        self.state.update(|state| state.updates_once = false);
        let shown = self.shown.get_untracked();
        let is_waiting = |item: &&ListItem| is_paused && !shown.contains(&item.key);
        let waiting = items.iter().filter(is_waiting).count();
        if self.waiting.with_untracked(|before| *before != waiting) {
            self.waiting.set(waiting);
        }
        if !is_paused {
            self.shown.set(items.iter().map(|item| item.key).collect());
            return items;
        }
        let row = |key: u64| match items.iter().position(|item| item.key == key) {
            Some(place) => items.swap_remove(place),
            None => ListItem::removed(key),
        };
        shown.into_iter().map(row).collect()
    }
}

/// Whether an element is in a row and has the keyboard focus. A click by mouse does not pause the list.
fn is_in_row(target: &EventTarget) -> bool {
    let element = target.dyn_ref::<Element>();
    element.is_some_and(|element| element.closest("li :focus-visible").is_ok_and(|row| row.is_some()))
}
