//! The browser part: hydrates the page that the server rendered, and keeps it connected. `boot.js` calls the exported
//! functions.

mod browser;
mod connection;
mod hydration_runner;
mod in_flight;
mod json;
pub mod later;
mod polling;
mod socket;
mod storage;

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
    /// The data of the page, between the task that reads it and the one that shows it.
    static LOADED: RefCell<Option<Page>> = const { RefCell::new(None) };
}

/// Reads the data of the page, for [`hydrate`] or [`render`]. A page without data stays as the server rendered it: its
/// forms and links work without a script.
#[wasm_bindgen]
pub fn load() {
    LOADED.replace(browser::page());
}

/// Hydrates the outline of the page as the server rendered it. The elements in it follow by [`advance`].
#[wasm_bindgen]
pub fn hydrate() {
    if let Some((root, page)) = root_and_page() {
        hydrate_from(root, || page_view(page)).forget();
    }
}

/// Renders the page from its data into its root element, which has to be empty.
#[wasm_bindgen]
pub fn render() {
    if let Some((root, page)) = root_and_page() {
        mount_to(root, || page_view(page)).forget();
    }
}

/// Runs the next task of the hydration. Returns false once there is none left: then the page is hydrated.
#[wasm_bindgen]
pub fn advance() -> bool {
    hydration_runner::advance()
}

/// Stops this instance for good. Another instance may replace it.
#[wasm_bindgen]
pub fn stop() {
    browser::stop();
    socket::close();
}

/// Returns the root element of the page, and its data.
fn root_and_page() -> Option<(HtmlElement, Page)> {
    let root = browser::window()?.document()?.get_element_by_id(PAGE_ID)?.dyn_into().ok()?;
    Some((root, LOADED.take()?))
}

fn page_view(page: Page) -> impl IntoView {
    provide_context(Connector(Arc::new(|page| -> Arc<dyn Transport> { Arc::new(Socket::open(page)) })));
    provide_context(hydration_runner::begin());
    // Makes a form idempotent, however often it is submitted. The page as rendered has an id from the server.
    provide_context(FreshClientId(Some(browser::client_id())));
    view! { <App page /> }
}
