//! Keeps the focus when the focused element is removed: a button by its own action, or a row because another user
//! removed it. By default the focus is then lost, so that Tab starts at the top of the page and a screen reader falls
//! silent. Here it moves to the nearest part of the page that is marked as a home for it.

use std::{cell::RefCell, rc::Rc};

use leptos::{
    prelude::*,
    wasm_bindgen::{JsCast, JsValue, prelude::Closure},
    web_sys::{Element, Event, HtmlElement},
};
use web_sys::{MutationObserver, MutationObserverInit};

use crate::reactive::effect;

/// Marks a home for the focus. The element has to be focusable.
const HOME: &str = "[data-focus-home]";

/// The element with the focus and its ancestors, innermost first. Empty if it is not known.
type Path = Rc<RefCell<Vec<Element>>>;

/// Keeps the focus on the page, for the lifetime of the page.
pub fn keep_focus() {
    effect(|| {
        let path = Path::default();
        // Called when the focus comes and goes, and when the page changes.
        let callback = Closure::<dyn FnMut(JsValue)>::new(move |kind: JsValue| {
            match kind.dyn_ref::<Event>() {
                Some(event) if event.type_() == "focusin" => {
                    let target = event.target().and_then(|target| target.dyn_into().ok());
                    *path.borrow_mut() =
                        std::iter::successors(target, |inner: &Element| inner.parent_element()).collect();
                }
                None if path.borrow().is_empty() || !has_no_focus() => {}
                _ => {
                    let path = Rc::clone(&path);
                    // The code that removed the element may move the focus elsewhere first.
                    let _ = request_animation_frame(move || focus_home(&path));
                }
            }
        });
        let (document, listener) = (document(), callback.as_ref().unchecked_ref());
        for event in ["focusin", "focusout"] {
            let _ = document.add_event_listener_with_callback(event, listener);
        }
        if let (Ok(observer), Some(body)) = (MutationObserver::new(listener), document.body()) {
            let all = MutationObserverInit::new();
            all.set_child_list(true);
            all.set_subtree(true);
            let _ = observer.observe_with_options(&body, &all);
        }
        callback.forget();
    });
}

fn has_no_focus() -> bool {
    document().active_element().is_none_or(|element| element.tag_name() == "BODY")
}

/// Whether an element is in the document and rendered.
fn is_shown(element: &Element) -> bool {
    element.is_connected() && element.get_client_rects().length() > 0
}

/// Moves the focus to the nearest home if the element that had it is gone.
fn focus_home(path: &Path) {
    if !has_no_focus() {
        return;
    }
    let path = path.take();
    if path.first().is_none_or(is_shown) {
        // The focus was moved away, and the element is still there.
        return;
    }
    let home = path.iter().skip(1).filter(|around| around.is_connected()).find_map(|around| {
        if around.matches(HOME).is_ok_and(|is| is) {
            return Some(around.clone());
        }
        around.query_selector(HOME).ok()?.filter(is_shown)
    });
    if let Some(home) = home.and_then(|home| home.dyn_into::<HtmlElement>().ok()) {
        let _ = home.focus();
    }
}
