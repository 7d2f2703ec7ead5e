//! When the browser takes the page over: in many short tasks, and at once what is left when the reader does something.

use std::time::Duration;

use app::takeover::Takeover;
use leptos::prelude::set_timeout;
use wasm_bindgen::{JsCast, prelude::Closure};

use crate::browser;

/// A task lasts about so long, or as long as one piece; then the browser may scroll and paint. A
/// phone that is four times as slow makes less of the page in a task, not longer ones.
const TASK_MILLIS: u64 = 5;

/// What a reader does to a page that it may have to answer at once.
const ACTS: [&str; 4] = ["click", "keydown", "input", "submit"];

/// Does something in a task of its own.
pub(crate) fn in_a_task(act: impl FnOnce() + 'static) {
    let _ = set_timeout(act, Duration::ZERO);
}

/// Begins with a page: it is taken over once this task is done.
pub(crate) fn begin() -> Takeover {
    let takeover = Takeover::begin();
    in_a_task(move || go_on(takeover));
    hurry_when_asked(takeover);
    takeover
}

fn go_on(takeover: Takeover) {
    let began = browser::uptime_millis();
    let Some(first) = takeover.next() else { return };
    // asked for before, so that a piece that fails costs itself alone
    in_a_task(move || go_on(takeover));
    first();
    // where nobody looks there is nobody to wait for, and browsers let each task wait for a second
    while !browser::is_visible() || browser::uptime_millis() - began < TASK_MILLIS {
        let Some(piece) = takeover.next() else { return };
        piece();
    }
}

/// Whoever acts does so on a page that is whole: before what they act on is told of it, the rest is taken over.
fn hurry_when_asked(takeover: Takeover) {
    let Some(window) = browser::window() else { return };
    let hurry = Closure::<dyn FnMut()>::new(move || {
        while let Some(piece) = takeover.next() {
            piece();
        }
    });
    for act in ACTS {
        let _ = window.add_event_listener_with_callback_and_bool(act, hurry.as_ref().unchecked_ref(), true);
    }
    // as long as the page is there
    hurry.forget();
}
