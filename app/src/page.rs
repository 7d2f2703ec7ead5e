//! The pages: each composes the views of what it shows.

pub mod chat;
pub mod home;
#[cfg(feature = "ssr")]
pub mod notice;

use chat::ChatPage;
use domain::page::Page;
use home::HomePage;
use leptos::prelude::*;

/// The id of the element that the page is in. Beside it stands what others add to a page.
pub const PAGE_ID: &str = "page";

/// The id of the element that has the page in it as data, for the browser to take over.
pub const DATA_ID: &str = "page-data";

/// A page: rendered by the server, and taken over by the browser with the same data.
#[component]
pub fn App(
    /// What the server decided on.
    page: Page,
) -> impl IntoView {
    match page {
        Page::Home(page) => view! { <HomePage page=*page /> }.into_any(),
        Page::Chat(page) => view! { <ChatPage page=*page /> }.into_any(),
    }
}
