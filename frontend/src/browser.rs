//! What is asked of the browser itself: time, chance, timers, the clipboard.

use app::page::DATA_ID;
use domain::{ClientId, Timestamp, id::ID_BYTES, page::Page};
use wasm_bindgen::{JsCast, prelude::Closure};
use web_sys::{Window, js_sys};

use crate::json;

/// The window, which every page has.
pub(crate) fn window() -> Option<Window> {
    web_sys::window()
}

/// The page as the server sent it, as data.
pub(crate) fn page() -> Option<Page> {
    let element = window()?.document()?.get_element_by_id(DATA_ID)?;
    json::parse(&js_sys::Reflect::get(&element, &"textContent".into()).ok()?)
}

/// What time it is by the reader's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(js_sys::Date::now() as u64)
}

/// Milliseconds since the page was loaded, by a clock that nobody sets. It may rest while the device sleeps.
pub(crate) fn uptime_millis() -> u64 {
    let performance = window().and_then(|window| window.performance());
    performance.map_or_else(|| now().0, |performance| performance.now() as u64)
}

/// How far the reader's clocks are east of UTC at a time.
pub(crate) fn offset_minutes(at: Timestamp) -> i32 {
    -(js_sys::Date::new(&(at.0 as f64).into()).get_timezone_offset() as i32)
}

/// A number between 0 and 1.
pub(crate) fn chance() -> f64 {
    js_sys::Math::random()
}

/// A fresh id for a message. Should the browser have no source of randomness fit for secrets, ordinary chance does:
/// an id only has to differ from the others of the same person.
pub(crate) fn client_id() -> ClientId {
    let mut bytes = [0; ID_BYTES];
    let drawn = window()
        .and_then(|window| window.crypto().ok())
        .and_then(|crypto| crypto.get_random_values_with_u8_array(&mut bytes).ok());
    if drawn.is_none() {
        bytes.fill_with(|| (chance() * 256.0) as u8);
    }
    ClientId::from_bytes(bytes)
}

/// Whether the device says that it has a network.
pub(crate) fn is_online() -> bool {
    window().is_none_or(|window| window.navigator().on_line())
}

/// Whether there is a keyboard, as far as a page can tell: where one points with a mouse. Elsewhere a field that takes
/// the focus covers half of the screen with one.
pub(crate) fn has_keyboard() -> bool {
    let mouse =
        window().and_then(|window| window.match_media("(hover: hover) and (pointer: fine)").ok().flatten());
    mouse.is_some_and(|mouse| mouse.matches())
}

/// Whether the page can be seen.
pub(crate) fn is_visible() -> bool {
    let document = window().and_then(|window| window.document());
    document.is_none_or(|document| document.visibility_state() == web_sys::VisibilityState::Visible)
}

/// Shows an address in the address bar without going there, so that the way back leads to what one saw.
pub(crate) fn show_address(address: &str) {
    // a browser may refuse to do it too often; then the address is what it was
    let history = window().and_then(|window| window.history().ok());
    let _ = history
        .map(|history| history.replace_state_with_url(&wasm_bindgen::JsValue::NULL, "", Some(address)));
}

/// A timer that does nothing any more once it is dropped.
pub(crate) struct Timer {
    id: i32,
    repeats: bool,
    _action: Closure<dyn FnMut()>,
}

impl Timer {
    /// Does something once, after a while.
    pub(crate) fn once(millis: i32, action: impl FnMut() + 'static) -> Option<Self> {
        let action = Closure::<dyn FnMut()>::new(action);
        let id = window()?
            .set_timeout_with_callback_and_timeout_and_arguments_0(action.as_ref().unchecked_ref(), millis)
            .ok()?;
        Some(Self { id, repeats: false, _action: action })
    }

    /// Does something again and again.
    pub(crate) fn every(millis: i32, action: impl FnMut() + 'static) -> Option<Self> {
        let action = Closure::<dyn FnMut()>::new(action);
        let id = window()?
            .set_interval_with_callback_and_timeout_and_arguments_0(action.as_ref().unchecked_ref(), millis)
            .ok()?;
        Some(Self { id, repeats: true, _action: action })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(window) = window() else { return };
        if self.repeats {
            window.clear_interval_with_handle(self.id);
        } else {
            window.clear_timeout_with_handle(self.id);
        }
    }
}

/// Offers the address of this page to whatever the device can share it with. False where it has no sheet for that.
pub(crate) fn share_link() -> bool {
    let Some(window) = window() else { return false };
    let navigator = window.navigator();
    let has_sheet = js_sys::Reflect::get(&navigator, &"share".into()).is_ok_and(|share| share.is_function());
    let Ok(address) = window.location().href() else { return false };
    if !has_sheet {
        return false;
    }
    let data = web_sys::ShareData::new();
    data.set_url(&address);
    let shared = wasm_bindgen_futures::JsFuture::from(navigator.share_with_data(&data));
    // whoever closes the sheet again has decided
    wasm_bindgen_futures::spawn_local(async move {
        let _ = shared.await;
    });
    true
}

/// Puts the address of this page onto the clipboard, and says whether that worked.
pub(crate) fn copy_link(done: Box<dyn FnOnce(bool)>) {
    let Some(window) = window() else { return done(false) };
    // The clipboard is missing where the page did not come over TLS or from this machine.
    let clipboard = js_sys::Reflect::get(&window.navigator(), &"clipboard".into()).ok();
    let (Some(clipboard), Ok(address)) = (clipboard, window.location().href()) else { return done(false) };
    let Ok(clipboard) = clipboard.dyn_into::<web_sys::Clipboard>() else { return done(false) };
    let copied = wasm_bindgen_futures::JsFuture::from(clipboard.write_text(&address));
    wasm_bindgen_futures::spawn_local(async move { done(copied.await.is_ok()) });
}

/// Asks whether the server is there. `done` is told, unless the browser has no answer.
pub(crate) fn reach(done: impl FnOnce(bool) + 'static) {
    let Some(window) = window() else { return done(false) };
    let asked = wasm_bindgen_futures::JsFuture::from(window.fetch_with_str("/healthz"));
    wasm_bindgen_futures::spawn_local(async move {
        let answer = asked.await.ok().and_then(|answer| answer.dyn_into::<web_sys::Response>().ok());
        done(answer.is_some_and(|answer| answer.ok()));
    });
}
