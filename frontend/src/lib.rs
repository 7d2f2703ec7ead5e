//! The browser's half: takes over the page that the server rendered, and keeps it alive. `boot.js` calls what is here.

mod browser;
mod connection;
mod json;
mod outbox;
mod polling;
mod socket;
mod storage;
mod takeover;

use std::{cell::RefCell, sync::Arc};

use app::{
    live::{Connector, Transport},
    page::{App, PAGE_ID},
    view::composer::FreshClientId,
};
use domain::page::Page;
use leptos::{
    mount::{hydrate_from, mount_to},
    prelude::{IntoView, provide_context},
    view,
};
use socket::Socket;
use wasm_bindgen::{JsCast, prelude::wasm_bindgen};
use web_sys::HtmlElement;

thread_local! {
    /// The page as data, between a task that reads it and one that shows it.
    static LOADED: RefCell<Option<Page>> = const { RefCell::new(None) };
}

/// Reads the page as data, for [`hydrate`] or [`render`]. A page that has no data with it stays as it came: its forms and links
/// work without.
#[wasm_bindgen]
pub fn load() {
    LOADED.replace(browser::page());
}

/// Takes over the outline of the page as the server rendered it; what stands in it follows by [`advance`].
#[wasm_bindgen]
pub fn hydrate() {
    if let Some((root, page)) = found() {
        hydrate_from(root, || scene(page)).forget();
    }
}

/// Renders the page from its data into the element that is there for it, which is empty.
#[wasm_bindgen]
pub fn render() {
    if let Some((root, page)) = found() {
        mount_to(root, || scene(page)).forget();
    }
}

/// Takes over the next piece of the page. False once there is none left: then the page is alive.
#[wasm_bindgen]
pub fn advance() -> bool {
    takeover::advance()
}

/// Stops for good: another instance takes the place of this one, or none.
#[wasm_bindgen]
pub fn stop() {
    browser::stop();
    socket::close();
}

/// The element that the page is in, and the page as data.
fn found() -> Option<(HtmlElement, Page)> {
    let root = browser::window()?.document()?.get_element_by_id(PAGE_ID)?.dyn_into().ok()?;
    Some((root, LOADED.take()?))
}

fn scene(page: Page) -> impl IntoView {
    provide_context(Connector(Arc::new(|scene| -> Arc<dyn Transport> { Arc::new(Socket::open(scene)) })));
    provide_context(takeover::begin());
    // what a form asks for is done once, however often it is sent; as it came it has one of the server's
    provide_context(FreshClientId(Some(browser::client_id())));
    view! { <App page /> }
}
