//! Problems over HTTP, for clients that are not pages.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Problem, frame::ServerFrame};

/// Gives an answer the status that goes with a problem, and says when the same may be tried again, where that is known.
pub fn mark(problem: Problem, response: &mut Response) {
    *response.status_mut() =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = problem.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
}

/// A problem as the frame that would carry it.
pub fn plain(problem: Problem) -> Response {
    let body = serde_json::to_string(&ServerFrame::refused(problem)).unwrap_or_default();
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    mark(problem, &mut response);
    response
}
