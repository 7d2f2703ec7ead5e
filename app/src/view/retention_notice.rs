//! A notice of what is kept and for how long, from the settings in force.

use leptos::prelude::*;

use crate::{live::Live, view::reactive_view::reactive_text};

/// Says in plain words how long messages, chats and nicknames are kept.
#[component]
pub fn RetentionNotice() -> impl IntoView {
    let live = Live::from_context();
    let text = move || {
        let lifetimes = live.lifetimes.get();
        format!(
            "What is said here is kept on the server and deleted automatically: a message after {}, a chat {} after the last \
             person left, a nickname {} after you have closed your last page.",
            lifetimes.message, lifetimes.chat, lifetimes.user
        )
    };
    view! { <p class="terms soft">{reactive_text(text)}</p> }
}
