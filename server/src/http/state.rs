//! The state that handlers share.

use std::sync::Arc;

use axum::extract::Request;
use domain::{Problem, UserId};
use engine::{Engine, lobby::Lobby, presence::Presence, supervisor::Panics};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    http::{
        admission::Admission, metrics::Metrics, origin::Refusals, readiness::Readiness, render::PageRenderer,
        session::Sessions,
    },
    pictures::Workshop,
};

/// The state that handlers share.
pub struct AppState {
    /// Takes the commands of users, and returns what pages and connections show.
    pub engine: Arc<Engine>,
    /// Where connections search for public chats and follow what changes, and where the chats are counted.
    pub lobby: Arc<Lobby>,
    /// The users who are online, and the chats they are in.
    pub presence: Arc<Presence>,
    /// Where uploaded pictures are received and decoded.
    pub workshop: Workshop,
    /// The panics of background tasks.
    pub panics: Arc<Panics>,
    /// Sessions of browsers.
    pub sessions: Arc<Sessions>,
    /// Requests refused as cross-origin.
    pub refusals: Refusals,
    /// Whether the server is ready.
    pub readiness: Arc<Readiness>,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
    /// Whether people are let in.
    pub admission: Admission,
    /// The open WebSockets, for which a stopping server waits.
    pub connections: TaskTracker,
    /// Renders and caches pages.
    pub renderer: Arc<PageRenderer>,
    /// What is counted and measured.
    pub metrics: Metrics,
}

impl AppState {
    /// Checks that this server does what is asked of it, and not another node in its place.
    ///
    /// # Errors
    /// [`Problem::Restarting`] if it sends people away.
    pub fn check_admission(&self) -> Result<(), Problem> {
        if self.admission.is_suspended() { Err(Problem::Restarting) } else { Ok(()) }
    }

    /// Returns the user of a request's session.
    ///
    /// # Errors
    /// [`Problem::NoSession`] if it has none, [`Problem::TwoSessions`] if it has two that differ.
    pub fn user_of(&self, request: &Request) -> Result<UserId, Problem> {
        let session = self.sessions.find(request.headers(), self.engine.now())?;
        session.map(|session| session.user()).ok_or(Problem::NoSession)
    }
}
