//! The name of the site, as a link to the home page.

use leptos::prelude::*;

/// The wordmark: the logo and the name of the site, which lead to the home page.
#[component]
pub fn Wordmark() -> impl IntoView {
    view! {
        <a class="wordmark" href="/">
            <svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
                <rect x="3" y="3" width="18" height="18" rx="5" class="wordmark-wall" />
                <rect x="7.5" y="7.5" width="9" height="9" rx="2" class="wordmark-light" />
            </svg>
            "Qchat"
        </a>
    }
}
