//! The connection line: empty while the connection works; otherwise it says what happens to what the reader types.
//! Until the page is hydrated, or if it cannot be, `shell/hydration_state.js` writes here.

use leptos::prelude::*;

use crate::{
    live::{Connection, Live},
    view::{problem_line::ProblemLine, reactive_view::reactive_text},
};

/// The connection line: the state of the connection, and what it means for what the reader types.
#[component]
pub fn ConnectionStatus(
    /// What happens while there is no connection.
    meanwhile: &'static str,
) -> impl IntoView {
    let live = Live::from_context();
    let state = move || match live.connection.get() {
        Connection::Starting => "starting",
        Connection::Connected => "connected",
        Connection::Reconnecting => "reconnecting",
        Connection::Offline => "offline",
        Connection::Polling => "polling",
        Connection::Ended => "ended",
    };
    let word = move || match live.connection.get() {
        Connection::Starting | Connection::Ended => "",
        Connection::Connected => "Connected",
        Connection::Reconnecting => "Reconnecting",
        Connection::Offline => "Offline",
        Connection::Polling => "Connected, but not live",
    };
    let explanation = move || match live.connection.get() {
        Connection::Starting | Connection::Connected | Connection::Ended => "",
        Connection::Reconnecting | Connection::Offline => meanwhile,
        Connection::Polling => {
            "No live connection comes through here, so the page looks for news every few seconds. What you send arrives all \
             the same."
        }
    };
    view! {
        <div class="connection" data-state=state>
            <span role="status" aria-label="Connection">
                <span class="hydration-text"></span>
                <span>{reactive_text(word)}</span>
            </span>
            <span class="soft">
                <span class="hydration-text"></span>
                <span>{reactive_text(explanation)}</span>
            </span>
            <a href="">"Load again"</a>
        </div>
        <div class="notice">
            <ProblemLine problem=live.notice />
        </div>
    }
    .into_any()
}
