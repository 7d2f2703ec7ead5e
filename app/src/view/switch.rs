//! A switch that everybody in a chat lives with, for its owner.

use domain::frame::Ask;
use leptos::{ev::SubmitEvent, prelude::*};

use crate::live::LiveChat;

/// A switch: asked for by the socket where the page is alive, and an ordinary form where it is not.
#[component]
pub fn Switch(
    /// What it says.
    label: &'static str,
    /// What that means, in a few words.
    title: &'static str,
    /// Where the form goes.
    action: &'static str,
    /// What the form calls it.
    name: &'static str,
    /// What the form says when it is to be off, and on.
    values: [&'static str; 2],
    /// Whether it is on.
    is_on: Memo<bool>,
    /// Asks for it to be on, or off, where the page is alive.
    ask: Callback<bool, Ask>,
) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let switch = move |event: SubmitEvent| {
        if live.is_hydrated.get_untracked() {
            event.prevent_default();
            live.ask(ask.run(!is_on.get_untracked()), move |done| live.notice.set(done.err()));
        }
    };
    view! {
        <form method="post" action=action on:submit=switch>
            <input type="hidden" name="chat" value=chat.chat_id().to_string() />
            <button
                role="switch"
                class="switch"
                name=name
                value=move || values[usize::from(!is_on.get())]
                aria-checked=move || if is_on.get() { "true" } else { "false" }
                title=title
            >
                {label}
            </button>
        </form>
    }
    .into_any()
}
