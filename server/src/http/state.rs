//! The state that handlers share.

use std::sync::Arc;

use engine::{Engine, lobby::Lobby, presence::Presence, supervisor::Panics};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::http::{
    admission::Admission, metrics::Metrics, origin::Refusals, readiness::Readiness, render::PageRenderer,
    session::Sessions,
};

/// The state that handlers share.
pub struct AppState {
    /// Takes the commands of users, and returns what pages and connections show.
    pub engine: Arc<Engine>,
    /// Where connections search for public chats and follow what changes, and where the chats are counted.
    pub lobby: Arc<Lobby>,
    /// The users who are online, and the chats they are in.
    pub presence: Arc<Presence>,
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
