//! Why a server is not ready, as parts of it tell and `/readyz` answers.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// Returns why a part of the server is not ready, in a line for each reason. None if it is.
pub type Check = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Returns the answer of `/readyz` for the reasons why a server is not ready.
pub fn readiness(reasons: &[String]) -> Response {
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}
