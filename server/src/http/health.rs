//! What an operator asks: whether the process is alive, whether it can serve, and its metrics.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::encoding::prometheus_text;

use crate::http::{readiness::readiness, state::AppState};

/// Handles `/healthz`: the process is alive. Pages also ask here before they reconnect to a server that was down.
pub async fn alive() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "alive\n")
}

/// Handles `/readyz`: answers 503 with a line for each reason if commands cannot be stored, if stored data cannot be
/// read, if the log is not ready, or if the server is stopping.
pub async fn ready(State(state): State<Arc<AppState>>) -> Response {
    readiness(&state.readiness.reasons())
}

/// Handles `/metrics`, for Prometheus.
pub async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    match state.metrics.text() {
        Some(text) => ([(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
