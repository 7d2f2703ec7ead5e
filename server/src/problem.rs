//! Problems over HTTP, for clients that are not pages.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Problem, frame::ServerFrame};

/// The status that goes with a problem.
pub fn status(problem: Problem) -> StatusCode {
    StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A problem as the frame that would carry it.
pub fn plain(problem: Problem) -> Response {
    let body = serde_json::to_string(&ServerFrame::refused(problem)).unwrap_or_default();
    (status(problem), [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
