//! The notice on a page that cannot go on.

use domain::{ChatId, Problem};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::RemoveOwn,
    live::{Live, LiveChat},
    view::reactive_view::{reactive_view, static_text},
};

/// The notice that says why the page cannot go on, and what to do. Empty while the page can.
#[component]
pub fn EndedNotice() -> impl IntoView {
    let live = Live::from_context();
    let chat = use_context::<LiveChat>();
    let content = move || {
        let content = live.ended.get().map(|problem| {
            let (address, verb) = match problem {
                Problem::ChatEnded => ("/", "Start a new chat"),
                // An empty address reloads the page.
                Problem::UnknownVersion
                | Problem::NoSession
                | Problem::TwoSessions
                | Problem::TooManyPages
                | Problem::ChatFull => ("", "Load again"),
                _ => ("/", "Go home"),
            };
            let removed_from = chat.filter(|_| problem == Problem::Removed).map(LiveChat::chat_id);
            view! {
                <p>{static_text(problem.to_string())}</p>
                {removed_from.map(|chat| view! { <RemoveOwnForm chat /> })}
                <a class="primary" href=address>
                    {static_text(verb)}
                </a>
            }
        });
        content.into_any()
    };
    view! {
        <div class="ended" role="alert">
            {reactive_view(content)}
        </div>
    }
    .into_any()
}

/// Removes all messages of the reader from a chat. It is an ordinary form, since the page of a removed user has no
/// connection.
#[component]
pub fn RemoveOwnForm(
    /// The chat whose messages are removed.
    chat: ChatId,
) -> impl IntoView {
    view! {
        <form method="post" action=RemoveOwn::PATH>
            <input type="hidden" name="chat" value=chat.to_string() />
            <button class="quiet">"Remove what I said there"</button>
        </form>
    }
    .into_any()
}
