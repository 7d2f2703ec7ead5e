//! What handlers work with.

use std::sync::Arc;

use engine::{Engine, lobby::Lobby, presence::Presence, supervisor::Panics, writer::WriterHealth};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::http::{origin::Refusals, render::PageRenderer, session::Sessions};

/// What the handlers work with.
pub struct AppState {
    /// What Qchat can be asked.
    pub engine: Arc<Engine>,
    /// What goes on.
    pub lobby: Arc<Lobby>,
    /// Who is here.
    pub presence: Arc<Presence>,
    /// How often the tasks in the background panicked.
    pub panics: Arc<Panics>,
    /// Who is who.
    pub sessions: Sessions,
    /// What was refused as coming from another site.
    pub refusals: Refusals,
    /// Whether the writer is well.
    pub writer: Arc<WriterHealth>,
    /// Cancelled when the server is to stop.
    pub stop: CancellationToken,
    /// The open connections, for which a stopping server waits.
    pub connections: TaskTracker,
    /// Makes the pages.
    pub renderer: Arc<PageRenderer>,
}
