//! How the connection is: silent when it is good, and when it is not, what happens to what one types.

use leptos::prelude::*;

use crate::{
    live::{Connection, Live},
    view::{follow::text, problem_line::ProblemLine},
};

/// The line under the header.
#[component]
pub fn ConnectionStatus(
    /// What happens while there is no connection.
    meanwhile: &'static str,
) -> impl IntoView {
    let live = Live::here();
    let state = move || match live.connection.get() {
        Connection::Starting => "starting",
        Connection::Connected => "connected",
        Connection::Reconnecting => "reconnecting",
        Connection::Offline => "offline",
        Connection::Ended => "ended",
    };
    let word = move || match live.connection.get() {
        Connection::Starting | Connection::Ended => "",
        Connection::Connected => "Connected",
        Connection::Reconnecting => "Reconnecting",
        Connection::Offline => "Offline",
    };
    let said = move || match live.connection.get() {
        Connection::Starting | Connection::Connected | Connection::Ended => "",
        Connection::Reconnecting | Connection::Offline => meanwhile,
    };
    view! {
        <div class="connection" data-state=text(state)>
            <span role="status" aria-label="Connection">
                {text(word)}
            </span>
            <span class="soft">{text(said)}</span>
        </div>
        <div class="notice">
            <ProblemLine problem=live.notice />
        </div>
    }
    .into_any()
}
