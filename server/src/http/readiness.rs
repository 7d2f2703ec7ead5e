//! Why a server is not ready, as parts of it tell and `/readyz` answers.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use engine::{Engine, writer::WriterHealth};
use tokio_util::sync::CancellationToken;

/// Returns why a part of the server is not ready, in a line for each reason. None if it is.
pub type Check = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What decides whether a server is ready.
pub struct Readiness {
    /// What reads the database.
    pub engine: Arc<Engine>,
    /// The health of the writer.
    pub writer: Arc<WriterHealth>,
    /// Why the log of a cluster is not ready. `None` in a single process.
    pub log_check: Option<Check>,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

impl Readiness {
    /// Returns why this server is not ready, or nothing if it is.
    pub fn reasons(&self) -> Vec<String> {
        let writer = if !self.writer.can_store() {
            Some("messages cannot be stored")
        } else if !self.writer.is_well() {
            Some("the writer has ended")
        } else {
            None
        };
        let stops = self.stop.is_cancelled().then_some("Qchat is stopping");
        let unreadable = self.engine.newest_seq().is_err().then_some("what is stored cannot be read");
        let of_log = self.log_check.as_ref().map(|check| check()).unwrap_or_default();
        [stops, writer, unreadable].into_iter().flatten().map(str::to_owned).chain(of_log).collect()
    }
}

/// Returns the answer of `/readyz` for the reasons why a server is not ready.
pub fn readiness(reasons: &[String]) -> Response {
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}
