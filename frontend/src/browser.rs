//! Services of the browser: time, random numbers, timers, the clipboard, requests.

use std::{cell::Cell, rc::Rc, time::Duration};

use app::page::DATA_ID;
use domain::{ClientId, Timestamp, id::ID_BYTES, page::Page};
use leptos::prelude::set_timeout;
use wasm_bindgen::{
    JsCast, JsValue,
    prelude::{Closure, wasm_bindgen},
};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Document, RequestInit, Response, Window, js_sys};

use crate::json;

thread_local! {
    static IS_STOPPED: Cell<bool> = const { Cell::new(false) };
}

/// Stops this instance: its timers and requests have no effect any more.
pub(crate) fn stop() {
    IS_STOPPED.set(true);
}

/// Whether this instance was stopped.
pub(crate) fn is_stopped() -> bool {
    IS_STOPPED.get()
}

/// Returns the window. `None` once this instance is stopped, so that it changes nothing any more.
pub(crate) fn window() -> Option<Window> {
    web_sys::window().filter(|_| !is_stopped())
}

/// Returns the data of the page, as the server sent it. `None` if there is none, or if it cannot be parsed.
pub(crate) fn page() -> Option<Page> {
    let element = window()?.document()?.get_element_by_id(DATA_ID)?;
    json::parse(&js_sys::Reflect::get(&element, &"textContent".into()).ok()?)
}

/// Returns the time by the clock of the device.
pub(crate) fn now() -> Timestamp {
    Timestamp(js_sys::Date::now() as u64)
}

/// Returns the milliseconds since the page was loaded, by a monotonic clock. In some browsers it stops while the device
/// sleeps.
pub(crate) fn uptime_millis() -> u64 {
    let performance = window().and_then(|window| window.performance());
    performance.map_or_else(|| now().0, |performance| performance.now() as u64)
}

/// Returns the offset of local time from UTC at a point in time, in minutes east.
pub(crate) fn offset_minutes(at: Timestamp) -> i32 {
    -(js_sys::Date::new(&(at.0 as f64).into()).get_timezone_offset() as i32)
}

/// Returns a random number from 0 to 1.
pub(crate) fn random() -> f64 {
    js_sys::Math::random()
}

/// Returns a new id for a message. If the browser has no cryptographic randomness, ordinary random numbers are used:
/// the id only has to differ from other ids of the same user.
pub(crate) fn client_id() -> ClientId {
    let mut bytes = [0; ID_BYTES];
    let drawn = window()
        .and_then(|window| window.crypto().ok())
        .and_then(|crypto| crypto.get_random_values_with_u8_array(&mut bytes).ok());
    if drawn.is_none() {
        bytes.fill_with(|| (random() * 256.0) as u8);
    }
    ClientId::from_bytes(bytes)
}

/// Whether the device reports a network.
pub(crate) fn is_online() -> bool {
    window().is_none_or(|window| window.navigator().on_line())
}

/// Whether there is probably a keyboard: the primary pointing device is a mouse. On other devices a focused field opens
/// an on-screen keyboard that covers half of the page.
pub(crate) fn has_keyboard() -> bool {
    let mouse =
        window().and_then(|window| window.match_media("(hover: hover) and (pointer: fine)").ok().flatten());
    mouse.is_some_and(|mouse| mouse.matches())
}

/// Whether nothing on the page has the focus or is selected.
pub(crate) fn has_no_focus() -> bool {
    let Some(window) = window() else { return false };
    let selection = window.get_selection().ok().flatten();
    let document = window.document();
    let focused = document.as_ref().and_then(Document::active_element);
    selection.is_none_or(|selection| selection.is_collapsed())
        && focused.is_none_or(|element| {
            document.is_some_and(|document| document.body().is_some_and(|body| *body == element))
        })
}

/// Whether the tab is in the foreground.
pub(crate) fn is_visible() -> bool {
    let document = window().and_then(|window| window.document());
    document.is_none_or(|document| document.visibility_state() == web_sys::VisibilityState::Visible)
}

/// Replaces the address in the address bar without navigating, so that the history leads back to what is shown.
pub(crate) fn show_address(address: &str) {
    // Browsers limit how often this is allowed. The address then stays as it was.
    let history = window().and_then(|window| window.history().ok());
    let _ = history.map(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(address)));
}

#[wasm_bindgen]
extern "C" {
    // web-sys declares these with 32-bit ids. The ids of a mocked clock in tests are larger.
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timer(action: &JsValue, millis: i32) -> f64;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timer(id: f64);
    #[wasm_bindgen(js_name = setInterval)]
    fn set_repeating_timer(action: &JsValue, millis: i32) -> f64;
    #[wasm_bindgen(js_name = clearInterval)]
    fn clear_repeating_timer(id: f64);
}

/// A timer that is cancelled when it is dropped.
pub(crate) struct Timer {
    id: f64,
    repeats: bool,
    _action: Closure<dyn FnMut()>,
}

impl Timer {
    /// Calls `action` once, after `millis` milliseconds. Returns `None` if this instance is stopped.
    pub(crate) fn once(millis: i32, action: impl FnMut() + 'static) -> Option<Self> {
        Self::new(false, millis, Box::new(action))
    }

    /// Calls `action` every `millis` milliseconds. Returns `None` if this instance is stopped.
    pub(crate) fn every(millis: i32, action: impl FnMut() + 'static) -> Option<Self> {
        Self::new(true, millis, Box::new(action))
    }

    fn new(repeats: bool, millis: i32, mut action: Box<dyn FnMut()>) -> Option<Self> {
        // A stopped instance starts nothing.
        if is_stopped() {
            return None;
        }
        let action = Closure::wrap(Box::new(move || {
            if !is_stopped() {
                action();
            }
        }) as Box<dyn FnMut()>);
        let id = if repeats {
            set_repeating_timer(action.as_ref(), millis)
        } else {
            set_timer(action.as_ref(), millis)
        };
        Some(Self { id, repeats, _action: action })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.repeats {
            clear_repeating_timer(self.id);
        } else {
            clear_timer(self.id);
        }
    }
}

/// Opens the device's share sheet with the address of this page. Returns false if there is none.
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
    let shared = JsFuture::from(navigator.share_with_data(&data));
    // Closing the sheet without sharing is not an error.
    spawn_local(async move {
        let _ = shared.await;
    });
    true
}

/// Copies the address of this page to the clipboard, and calls `done` with whether that worked.
pub(crate) fn copy_link(done: Box<dyn FnOnce(bool)>) {
    let Some(window) = window() else { return done(false) };
    // There is a clipboard only on pages loaded over TLS or from this machine.
    let clipboard = js_sys::Reflect::get(&window.navigator(), &"clipboard".into()).ok();
    let (Some(clipboard), Ok(address)) = (clipboard, window.location().href()) else { return done(false) };
    let Ok(clipboard) = clipboard.dyn_into::<web_sys::Clipboard>() else { return done(false) };
    let copied = JsFuture::from(clipboard.write_text(&address));
    spawn_local(async move { done(copied.await.is_ok()) });
}

/// The response to a request.
pub(crate) struct Reply {
    /// The status code (RFC 9110, section 15).
    pub(crate) status: u16,
    /// The seconds to wait before a retry, from the `Retry-After` header. `None` if there is none.
    pub(crate) retry_after: Option<u32>,
    /// The body as a string. Undefined if it was not received completely.
    pub(crate) text: JsValue,
}

impl Reply {
    /// Whether the status is a success.
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A callback for a response. It gets `None` if no server answered in time.
type ReplyCallback = Box<dyn FnOnce(Option<Reply>)>;

/// Requests something from the server as JSON, by POST with the JSON text `sent` if there is one, or else by GET. Calls
/// `done` with the response, or with `None` if no server answered within `timeout`.
pub(crate) fn request(address: &str, sent: Option<String>, timeout: Duration, done: ReplyCallback) {
    let Some(window) = window() else { return };
    let done = Rc::new(Cell::new(Some(done)));
    let late = Rc::clone(&done);
    let finish = |done: Rc<Cell<Option<ReplyCallback>>>, reply| {
        if let Some(done) = done.take().filter(|_| !is_stopped()) {
            done(reply);
        }
    };
    let _ = set_timeout(move || finish(late, None), timeout);
    let options = RequestInit::new();
    let headers = js_sys::Object::new();
    let _ = js_sys::Reflect::set(&headers, &"accept".into(), &"application/json".into());
    options.set_headers(&headers);
    if let Some(sent) = sent {
        options.set_method("POST");
        options.set_body(&sent.into());
    }
    let asked = JsFuture::from(window.fetch_with_str_and_init(address, &options));
    spawn_local(async move {
        let reply = match asked.await.ok().and_then(|reply| reply.dyn_into::<Response>().ok()) {
            Some(response) => {
                let retry_after = response.headers().get("retry-after").ok().flatten();
                let text = match response.text() {
                    Ok(text) => JsFuture::from(text).await.unwrap_or_default(),
                    Err(_) => JsValue::UNDEFINED,
                };
                let retry_after = retry_after.and_then(|seconds| seconds.parse().ok());
                Some(Reply { status: response.status(), retry_after, text })
            }
            None => None,
        };
        finish(done, reply);
    });
}
