//! Whether the process lives, and whether it can do its work.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::http::state::AppState;

/// `/healthz`: the process answers. Pages ask as well, before they open a socket to a server that was gone.
pub async fn alive() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "alive\n")
}

/// `/readyz`: what people say is stored, and what was stored can be read.
pub async fn ready(State(state): State<Arc<AppState>>) -> Response {
    let stopping = state.stop.is_cancelled();
    if !stopping && state.writer.is_well() && state.engine.newest_seq().is_ok() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}
