//! `/metrics`: metrics for the operator, in the text format of Prometheus.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use domain::Seq;
use tokio::runtime::Handle;

use crate::http::state::AppState;

/// Handles `/metrics`.
pub async fn show(State(state): State<Arc<AppState>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text(&state)).into_response()
}

fn text(state: &AppState) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        // writing to a string cannot fail
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    gauge(
        "qchat_people_online",
        "Number of users online, until 3 seconds after their last page was closed.",
        count(state.presence.people()),
    );
    gauge(
        "qchat_chats_open",
        "Number of chats that have not expired, private ones included.",
        count(state.lobby.counts().chats),
    );
    gauge("qchat_connections", "Number of open WebSocket connections.", count(state.connections.len()));
    let is_ready = state.writer.is_well() && state.log_check.as_ref().is_none_or(|check| check().is_empty());
    gauge("qchat_ready", "1 if messages can be stored, 0 otherwise.", u64::from(is_ready));
    gauge(
        "qchat_stored_bytes",
        "Size of all stored records in bytes; the database file is larger.",
        state.engine.stored_bytes(),
    );
    gauge(
        "qchat_tasks",
        "Number of running asynchronous tasks.",
        count(Handle::current().metrics().num_alive_tasks()),
    );
    let Seq(seq) = state.engine.newest_seq().unwrap_or_default();
    gauge("qchat_log_seq", "Sequence number of the newest log entry.", seq);
    text.push_str("# HELP qchat_task_panics_total Number of panics since the start, by background task.\n");
    text.push_str("# TYPE qchat_task_panics_total counter\n");
    for (task, panics) in state.panics.by_task() {
        let _ = writeln!(text, "qchat_task_panics_total{{task=\"{task}\"}} {panics}");
    }
    text
}
