//! Which address leads where.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use domain::Problem;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{
    csrf::{CsrfLayer, ProtectionError},
    timeout::TimeoutLayer,
};

use crate::{
    client::{self, TrustedProxies},
    form, headers, health, live,
    lobby::Lobby,
    metrics,
    origin::{self, Refusals},
    page::{self, Press},
    presence::Presence,
    problem,
    service::Service,
    session::Sessions,
    site,
    supervise::Panics,
    writer::WriterHealth,
};

/// A request is answered within this time, or comes too slowly to be answered at all.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// What the handlers work with.
pub struct Parts {
    /// What Qchat can be asked.
    pub service: Arc<Service>,
    /// What goes on.
    pub lobby: Arc<Lobby>,
    /// Who is here.
    pub presence: Arc<Presence>,
    /// How often the tasks in the background panicked.
    pub panics: Arc<Panics>,
    /// Who is who.
    pub sessions: Sessions,
    /// Which proxies are believed.
    pub proxies: TrustedProxies,
    /// What was refused as coming from another site.
    pub refusals: Refusals,
    /// Whether the writer is well.
    pub writer: Arc<WriterHealth>,
    /// Cancelled when the server is to stop.
    pub stop: CancellationToken,
    /// The open connections, for which a stopping server waits.
    pub connections: TaskTracker,
    /// Makes the pages.
    pub press: Arc<Press>,
}

/// All addresses.
pub fn router(parts: Arc<Parts>) -> Router {
    // A layer of the router's own is a box in each request's way, so all are one. The first sees a request first, and its
    // answer last.
    let layers = (
        middleware::map_response(headers::protect),
        middleware::from_fn_with_state(Arc::clone(&parts), client::identify),
        middleware::from_fn_with_state(Arc::clone(&parts), origin::settle),
        CsrfLayer::new().with_rejection_response(|_: ProtectionError| problem::plain(Problem::CrossOrigin)),
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_PATIENCE),
        DefaultBodyLimit::max(form::FORM_LIMIT),
    );
    Router::new()
        .route("/", get(page::home))
        .route("/chat/{*id}", get(page::chat))
        .route("/live", get(live::upgrade))
        .route("/api/ask", post(form::ask).get(form::look))
        .route("/api/{function}", post(form::submit).get(form::look))
        .route("/pkg/{*file}", get(site::package))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .fallback(page::elsewhere)
        .layer(layers)
        .with_state(parts)
}
