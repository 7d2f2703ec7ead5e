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

/// Handles `/readyz`: answers 503 if commands cannot be stored, if stored data cannot be read, or if the server is stopping.
pub async fn ready(State(state): State<Arc<AppState>>) -> Response {
    let stopping = state.stop.is_cancelled();
    if !stopping && state.writer.is_well() && state.engine.newest_seq().is_ok() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}
