//! Keyboard navigation between the lines. Every line has a link to its details. Tab stops at one of these links, at
//! first that of the newest line, and the arrow keys move between them (ARIA Authoring Practices, roving tabindex).

use leptos::{
    ev::{FocusEvent, KeyboardEvent},
    html::Div,
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{Event, HtmlDivElement, HtmlElement},
};

use crate::{live::Live, view::about_dialog::ABOUT_LINK};

/// Makes the newest line the tab stop once the page is hydrated.
pub(super) fn start(live: Live, scroller: NodeRef<Div>) {
    Effect::new(move |_| {
        if live.is_hydrated.get()
            && let Some(scroller) = scroller.get()
            && let Some(newest) = about_links(&scroller).last()
        {
            set_tab_stop(&scroller, newest);
        }
    });
}

/// Makes the focused link the tab stop, or the newest line if something else is focused.
pub(super) fn handle_focus(scroller: &HtmlDivElement, event: &FocusEvent) {
    match element_of(event) {
        Some(element) if element.class_list().contains(ABOUT_LINK) => set_tab_stop(scroller, &element),
        Some(_) => {
            if let Some(newest) = about_links(scroller).last() {
                set_tab_stop(scroller, newest);
            }
        }
        None => {}
    }
}

/// Moves between the lines by the arrow keys, Home and End.
pub(super) fn handle_key(scroller: &HtmlDivElement, event: &KeyboardEvent) {
    let links = about_links(scroller);
    let focused = element_of(event);
    let Some(place) = links.iter().position(|link| focused.as_ref() == Some(link)) else { return };
    let next = match event.key().as_str() {
        "ArrowUp" => place.checked_sub(1),
        "ArrowDown" => Some(place + 1),
        "Home" => Some(0),
        "End" => links.len().checked_sub(1),
        _ => return,
    };
    event.prevent_default();
    if let Some(link) = next.and_then(|next| links.get(next)) {
        let _ = link.focus();
    }
}

fn element_of(event: &Event) -> Option<HtmlElement> {
    event.target()?.dyn_into().ok()
}

/// Returns the links of all lines that are rendered, in order.
fn about_links(scroller: &HtmlDivElement) -> Vec<HtmlElement> {
    let links = scroller.get_elements_by_class_name(ABOUT_LINK);
    let link = |place| links.item(place)?.dyn_into::<HtmlElement>().ok();
    (0..links.length()).filter_map(link).filter(|link| link.offset_parent().is_some()).collect()
}

/// Makes this link the only tab stop among the lines.
fn set_tab_stop(scroller: &HtmlDivElement, link: &HtmlElement) {
    for other in about_links(scroller) {
        other.set_tab_index(if other == *link { 0 } else { -1 });
    }
}
