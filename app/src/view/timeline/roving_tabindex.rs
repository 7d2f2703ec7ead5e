//! Keyboard navigation between the lines. Most lines have links: the actions of a message, or the details of somebody. Tab
//! stops at one of all these links, at first that of the newest line, and the arrow keys move between the lines (ARIA
//! Authoring Practices, roving tabindex). Within the actions of a message they move as `style/public/later/actions.js` says.

use leptos::{
    ev::{FocusEvent, KeyboardEvent},
    html::Div,
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{Event, HtmlDivElement, HtmlElement},
};

use crate::{
    live::Live,
    reactive::effect,
    view::row_link::{ROW_LINK, TAB_STOP},
};

/// Makes the newest line the tab stop once the page is hydrated.
pub(super) fn start(live: Live, scroller: NodeRef<Div>) {
    effect(move || {
        if live.is_hydrated.get()
            && let Some(scroller) = scroller.get()
            && let Some(newest) = links(&scroller, TAB_STOP).last()
        {
            set_tab_stop(&scroller, newest);
        }
    });
}

/// Makes the focused link the tab stop, or the newest line if something else is focused.
pub(super) fn handle_focus(scroller: &HtmlDivElement, event: &FocusEvent) {
    match element_of(event) {
        Some(element) if element.class_list().contains(ROW_LINK) => set_tab_stop(scroller, &element),
        Some(_) => {
            if let Some(newest) = links(scroller, TAB_STOP).last() {
                set_tab_stop(scroller, newest);
            }
        }
        None => {}
    }
}

/// Moves between the lines by the arrow keys, Home and End.
pub(super) fn handle_key(scroller: &HtmlDivElement, event: &KeyboardEvent) {
    // From each link of a line to those around it.
    let line = element_of(event)
        .filter(|focused| focused.class_list().contains(ROW_LINK))
        .and_then(|focused| focused.closest("li").ok().flatten());
    let links = links(scroller, TAB_STOP);
    let is_of_line = |link: &HtmlElement| line.as_ref().is_some_and(|line| line.contains(Some(link)));
    let Some(place) = links.iter().position(is_of_line) else { return };
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

/// Returns the links of this class that are rendered, in order.
fn links(scroller: &HtmlDivElement, class: &str) -> Vec<HtmlElement> {
    let links = scroller.get_elements_by_class_name(class);
    let link = |place| links.item(place)?.dyn_into::<HtmlElement>().ok();
    (0..links.length()).filter_map(link).filter(|link| link.offset_parent().is_some()).collect()
}

/// Makes this link the only tab stop among the lines. Links that the server rendered are tab stops until then.
fn set_tab_stop(scroller: &HtmlDivElement, link: &HtmlElement) {
    for other in links(scroller, ROW_LINK) {
        if other != *link && other.tab_index() == 0 {
            other.set_tab_index(-1);
        }
    }
    link.set_tab_index(0);
}
