//! That a page cannot go on, and what to do.

use domain::{ChatId, Problem};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::RemoveOwn,
    live::{Live, LiveChat},
    view::follow::{fixed, part},
};

/// Why the page cannot go on, once it cannot.
#[component]
pub fn Ended() -> impl IntoView {
    let live = Live::here();
    let chat = use_context::<LiveChat>();
    let said = move || {
        let said = live.ended.get().map(|problem| {
            let (address, verb) = match problem {
                Problem::ChatEnded => ("/", "Start a new chat"),
                // an empty address is that of the page itself
                Problem::UnknownVersion
                | Problem::NoSession
                | Problem::TwoSessions
                | Problem::TooManyPages
                | Problem::ChatFull => ("", "Load again"),
                _ => ("/", "Go home"),
            };
            let removed_from = chat.filter(|_| problem == Problem::Removed).map(LiveChat::chat_id);
            view! {
                <p>{fixed(problem.to_string())}</p>
                {removed_from.map(|chat| view! { <RemoveOwnForm chat /> })}
                <a class="primary" href=address>
                    {fixed(verb)}
                </a>
            }
        });
        said.into_any()
    };
    view! {
        <div class="ended" role="alert">
            {part(said)}
        </div>
    }
    .into_any()
}

/// Takes back all one said in a chat: an ordinary form, since a page whose reader was removed has no connection any more.
#[component]
pub fn RemoveOwnForm(
    /// Which.
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
