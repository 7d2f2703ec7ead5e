//! The head of a chat: where one is, who can find it, and its link to share.

use domain::Visibility;
use leptos::prelude::*;

use crate::{live::Live, view::icon};

/// What became of copying the link.
#[derive(Clone, Copy, PartialEq)]
enum Copied {
    NotYet,
    Yes,
    No,
}

/// The head of a chat.
#[component]
pub fn ChatHeader() -> impl IntoView {
    let live = Live::here();
    let visibility = move || match live.chat.with(|chat| chat.visibility) {
        Visibility::Public => "Public",
        Visibility::Private => "Private",
    };
    view! {
        <header class="chat-header">
            <a class="quiet" href="/">
                {icon::back()}
                <span class="hidden">"Home"</span>
            </a>
            <h1 dir="auto">{move || live.chat.with(|chat| chat.title.to_string())}</h1>
            <span class="badge">{visibility}</span>
            <CopyLink />
        </header>
    }
    .into_any()
}

#[component]
fn CopyLink() -> impl IntoView {
    let live = Live::here();
    let (copied, set_copied) = signal(Copied::NotYet);
    let copy = move |_| {
        let done = Box::new(move |worked| set_copied.set(if worked { Copied::Yes } else { Copied::No }));
        if let Some(courier) = live.courier() {
            courier.copy_link(done);
        }
    };
    let said = move || match copied.get() {
        Copied::NotYet => "",
        Copied::Yes => "Copied",
        Copied::No => "Copy it from the address bar",
    };
    view! {
        <span class="copied soft" role="status" aria-label="Link">
            {said}
        </span>
        <button type="button" class="quiet needs-life" on:click=copy>
            {icon::link()}
            <span class="wide-only">"Copy link"</span>
        </button>
    }
    .into_any()
}
