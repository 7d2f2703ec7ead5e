//! The browser's half: takes over the page that the server rendered, and keeps it alive.

mod browser;
mod json;
mod outbox;
mod socket;
mod storage;

use std::{sync::Arc, time::Duration};

use app::{
    live::{Connector, Courier},
    page::App,
};
use leptos::{
    mount::hydrate_body,
    prelude::{provide_context, set_timeout},
    view,
};
use socket::Socket;
use wasm_bindgen::prelude::wasm_bindgen;

/// Takes the page over. Called once, by the page itself. One that has no data with it stays as it came: its forms and links
/// work without.
#[wasm_bindgen]
pub fn hydrate() {
    let Some(page) = browser::page() else { return };
    let take_over = || {
        hydrate_body(|| {
            provide_context(Connector(Arc::new(|scene| -> Arc<dyn Courier> {
                Arc::new(Socket::open(scene))
            })));
            view! { <App page /> }
        });
    };
    // To read it, to take it over and to bring it to life are three tasks: between them a slow phone may scroll and type.
    let _ = set_timeout(take_over, Duration::ZERO);
}
