//! Links that look and act like buttons. They are links to work without a script.

use leptos::{ev::KeyboardEvent, wasm_bindgen::JsCast, web_sys::HtmlElement};

/// Clicks such a link when the space bar is pressed.
pub(super) fn press_by_space(event: KeyboardEvent) {
    if event.key() == " "
        && let Some(link) = event.current_target().and_then(|link| link.dyn_into::<HtmlElement>().ok())
    {
        event.prevent_default();
        link.click();
    }
}
