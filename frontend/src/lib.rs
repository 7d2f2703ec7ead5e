//! The browser's half: takes over the page that the server rendered, and keeps it alive.

mod browser;
mod json;
mod outbox;
mod socket;
mod storage;
mod takeover;

use std::sync::Arc;

use app::{
    live::{Connector, Courier},
    page::App,
};
use leptos::{mount::hydrate_body, prelude::provide_context, view};
use socket::Socket;
use wasm_bindgen::prelude::wasm_bindgen;

/// Takes the page over. Called once, by the page itself. One that has no data with it stays as it came: its forms and links
/// work without.
#[wasm_bindgen]
pub fn hydrate() {
    takeover::in_a_task(|| {
        let Some(page) = browser::page() else { return };
        takeover::in_a_task(move || {
            hydrate_body(|| {
                provide_context(Connector(Arc::new(|scene| -> Arc<dyn Courier> {
                    Arc::new(Socket::open(scene))
                })));
                provide_context(takeover::begin());
                view! { <App page /> }
            });
        });
    });
}
