//! Health checks: whether the process is alive, and whether it can serve.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::http::state::AppState;

/// Handles `/healthz`: the process is alive. Pages also ask here before they reconnect to a server that was down.
pub async fn alive() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "alive\n")
}

/// Handles `/readyz`: answers 503 with a line for each reason if commands cannot be stored, if stored data cannot be
/// read, if the log is not ready, or if the server is stopping.
pub async fn ready(State(state): State<Arc<AppState>>) -> Response {
    readiness(&reasons(&state))
}

/// Returns the answer of `/readyz` for the reasons why a server is not ready.
pub fn readiness(reasons: &[String]) -> Response {
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

/// Returns why this server is not ready, or nothing if it is.
fn reasons(state: &AppState) -> Vec<String> {
    let writer = if !state.writer.can_store() {
        Some("messages cannot be stored")
    } else if !state.writer.is_well() {
        Some("the writer has ended")
    } else {
        None
    };
    let stops = state.stop.is_cancelled().then_some("Qchat is stopping");
    let unreadable = state.engine.newest_seq().is_err().then_some("what is stored cannot be read");
    let of_log = state.log_check.as_ref().map(|check| check()).unwrap_or_default();
    [stops, writer, unreadable].into_iter().flatten().map(str::to_owned).chain(of_log).collect()
}
