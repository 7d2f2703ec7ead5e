//! The pages. Each composes its views.

pub mod chat;
pub mod home;
#[cfg(feature = "ssr")]
pub mod notice;
#[cfg(feature = "ssr")]
pub mod search;

use chat::ChatPage;
use domain::page::Page;
use home::HomePage;
use leptos::prelude::*;

/// The id of the element that contains the page. Elements that others insert into the document stand beside it.
pub const PAGE_ID: &str = "page";

/// The id of the element with the data of the page, for hydration.
pub const DATA_ID: &str = "page-data";

/// A live page: rendered by the server, and hydrated in the browser with the same data.
#[component]
pub fn App(
    /// The data of the page.
    page: Page,
) -> impl IntoView {
    match page {
        Page::Home(page) => view! { <HomePage page=*page /> }.into_any(),
        Page::Chat(page) => view! { <ChatPage page=*page /> }.into_any(),
    }
}
