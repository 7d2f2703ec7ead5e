//! `/`: what this is, and the one thing to do.

use domain::User;
use leptos::prelude::*;

use crate::view::{start_form::StartForm, wordmark::Wordmark};

/// The home page.
#[component]
pub fn HomePage(
    /// Who looks.
    me: User,
) -> impl IntoView {
    view! {
        <div class="home">
            <header class="home-header">
                <Wordmark />
                <p class="tagline">"Rooms that vanish when nobody needs them."</p>
            </header>
            <main>
                <section class="card" aria-labelledby="start-heading">
                    <h1 id="start-heading">"Start a chat"</h1>
                    <p class="soft">"No account, no history elsewhere. Share the link with whom you want to talk to."</p>
                    <StartForm nickname=me.nickname.to_string() title=String::new() private=false />
                </section>
            </main>
        </div>
    }
}
