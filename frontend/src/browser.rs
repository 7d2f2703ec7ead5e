//! What is asked of the browser itself: time, chance, timers, the clipboard.

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

/// Stops all that this instance would do later: another one has taken its place.
pub(crate) fn stop() {
    IS_STOPPED.set(true);
}

/// Whether another instance has taken the place of this one.
pub(crate) fn is_stopped() -> bool {
    IS_STOPPED.get()
}

/// The window, which every page has. `None` once this instance is stopped, so that it touches nothing any more.
pub(crate) fn window() -> Option<Window> {
    web_sys::window().filter(|_| !is_stopped())
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

/// Milliseconds since the page was loaded, by a clock that nobody sets. In some browsers it rests while the device sleeps.
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

/// Whether nothing on the page has the focus, and nothing on it is selected.
pub(crate) fn is_nowhere() -> bool {
    let Some(window) = window() else { return false };
    let selection = window.get_selection().ok().flatten();
    let document = window.document();
    let focused = document.as_ref().and_then(Document::active_element);
    selection.is_none_or(|selection| selection.is_collapsed())
        && focused.is_none_or(|element| {
            document.is_some_and(|document| document.body().is_some_and(|body| *body == element))
        })
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
    let _ = history.map(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(address)));
}

#[wasm_bindgen]
extern "C" {
    // as web-sys has them, with numbers of any size: those of a clock that tests set are larger than web-sys takes
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timer(action: &JsValue, millis: i32) -> f64;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timer(id: f64);
    #[wasm_bindgen(js_name = setInterval)]
    fn set_repeating_timer(action: &JsValue, millis: i32) -> f64;
    #[wasm_bindgen(js_name = clearInterval)]
    fn clear_repeating_timer(id: f64);
}

/// A timer that does nothing any more once it is dropped.
pub(crate) struct Timer {
    id: f64,
    repeats: bool,
    _action: Closure<dyn FnMut()>,
}

impl Timer {
    /// Does something once, after a while.
    pub(crate) fn once(millis: i32, action: impl FnMut() + 'static) -> Option<Self> {
        Self::new(false, millis, Box::new(action))
    }

    /// Does something again and again.
    pub(crate) fn every(millis: i32, action: impl FnMut() + 'static) -> Option<Self> {
        Self::new(true, millis, Box::new(action))
    }

    fn new(repeats: bool, millis: i32, mut action: Box<dyn FnMut()>) -> Option<Self> {
        // an instance that was stopped does nothing more
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
    let shared = JsFuture::from(navigator.share_with_data(&data));
    // whoever closes the sheet again has decided
    spawn_local(async move {
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
    let copied = JsFuture::from(clipboard.write_text(&address));
    spawn_local(async move { done(copied.await.is_ok()) });
}

/// What came back for a request.
pub(crate) struct Reply {
    /// The status (RFC 9110, section 15).
    pub(crate) status: u16,
    /// After how many seconds to come back, where the server said so.
    pub(crate) retry_after: Option<u32>,
    /// What it says. Undefined where that did not come whole.
    pub(crate) text: JsValue,
}

impl Reply {
    /// Whether it is what was asked for.
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Is given what came back for a request; `None` where no server answered.
type Replied = Box<dyn FnOnce(Option<Reply>)>;

/// Asks the server for something as JSON, within so many milliseconds; with a text to be sent as JSON, too, where there is
/// one. `done` is given `None` where no server answered.
pub(crate) fn request(address: &str, sent: Option<String>, patience: Duration, done: Replied) {
    let Some(window) = window() else { return };
    let done = Rc::new(Cell::new(Some(done)));
    let late = Rc::clone(&done);
    let tell = |done: Rc<Cell<Option<Replied>>>, reply| {
        if let Some(done) = done.take().filter(|_| !is_stopped()) {
            done(reply);
        }
    };
    let _ = set_timeout(move || tell(late, None), patience);
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
        tell(done, reply);
    });
}
