//! The state that handlers share.

use std::sync::Arc;

use engine::{Engine, lobby::Lobby, presence::Presence, supervisor::Panics, writer::WriterHealth};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::http::{metrics::Metrics, origin::Refusals, render::PageRenderer, session::Sessions};

/// The state that handlers share.
pub struct AppState {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The lobby.
    pub lobby: Arc<Lobby>,
    /// The users who are online, and the chats they are in.
    pub presence: Arc<Presence>,
    /// The panics of background tasks.
    pub panics: Arc<Panics>,
    /// Sessions of browsers.
    pub sessions: Sessions,
    /// Requests refused as cross-origin.
    pub refusals: Refusals,
    /// The health of the writer.
    pub writer: Arc<WriterHealth>,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
    /// The open WebSockets, for which a stopping server waits.
    pub connections: TaskTracker,
    /// Renders and caches pages.
    pub renderer: Arc<PageRenderer>,
    /// What is counted and measured.
    pub metrics: Metrics,
}
