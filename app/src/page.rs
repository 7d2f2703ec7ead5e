//! The pages: each composes the views of what it shows.

pub mod chat;
pub mod home;
pub mod notice;

use chat::ChatPage;
use domain::page::Page;
use home::HomePage;
use leptos::prelude::*;
use notice::{MissingPage, ProblemPage, RefusedPage};

/// The page that the server decided on: rendered there, and taken over by the browser with the same data.
#[component]
pub fn App() -> impl IntoView {
    let page = SharedValue::new(|| use_context::<Page>().unwrap_or(Page::Missing)).into_inner();
    match page {
        Page::Home(page) => view! { <HomePage page=*page /> }.into_any(),
        Page::Chat(page) => view! { <ChatPage page=*page /> }.into_any(),
        Page::Refused { problem, form } => view! { <RefusedPage problem form /> }.into_any(),
        Page::Problem(problem) => view! { <ProblemPage problem /> }.into_any(),
        Page::Missing => view! { <MissingPage /> }.into_any(),
    }
}
