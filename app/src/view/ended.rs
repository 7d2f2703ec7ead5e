//! That a page cannot go on, and what to do.

use domain::Problem;
use leptos::prelude::*;

use crate::{live::Live, view::follow::{fixed, part}};

/// Why the page cannot go on, once it cannot.
#[component]
pub fn Ended() -> impl IntoView {
    let live = Live::here();
    let said = move || {
        let said = live.ended.get().map(|problem| {
            let (address, verb) = match problem {
                Problem::ChatEnded => ("/", "Start a new chat"),
                // an empty address is that of the page itself
                Problem::UnknownVersion | Problem::NoSession | Problem::TooManyPages | Problem::ChatFull => {
                    ("", "Load again")
                }
                _ => ("/", "Go home"),
            };
            view! {
                <p>{fixed(problem.to_string())}</p>
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
