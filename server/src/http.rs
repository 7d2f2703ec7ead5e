//! HTTP: the routes and their handlers.

pub mod admission;
pub mod assets;
pub mod client;
pub mod csrf;
pub mod error;
pub mod forms;
pub mod freshness;
pub mod health;
pub mod listener;
pub mod metrics;
mod observe;
pub mod origin;
pub mod pages;
pub mod pictures;
pub mod readiness;
pub mod render;
pub mod security_headers;
pub mod session;
pub mod starting;
pub mod state;
mod upload_body;
pub mod ws;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::Problem;
use tokio::time::timeout;
use tower_http::{
    CompressionLevel,
    compression::CompressionLayer,
    csrf::{CsrfLayer, ProtectionError},
};

use client::TrustedProxies;
use state::AppState;

/// The time limit for a request: 408 is answered after it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The address of uploads.
const UPLOAD: &str = "/api/picture";

/// Answers 408 to a request that takes too long. One with pictures may come over a slow line: it is ended when its body does
/// not go on, and answered then ([`upload_body`]).
async fn limit_time(request: Request, next: Next) -> Response {
    let is_upload = request.method() == Method::POST && request.uri().path() == UPLOAD;
    if is_upload || pictures::is_with_files(&request) {
        return next.run(request).await;
    }
    let answered = timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answered.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

/// Returns the router with all routes.
pub fn router(state: Arc<AppState>, proxies: TrustedProxies) -> Router {
    // One layer of several, since each layer of the router itself boxes every request. The first sees a request first
    // and its response last.
    let observer = observe::Observer { state: Arc::clone(&state), proxies: proxies.clone() };
    let layers = (
        middleware::from_fn_with_state(observer, observe::observe),
        middleware::map_response(security_headers::protect),
        middleware::from_fn_with_state(proxies, client::identify),
        middleware::from_fn_with_state(Arc::clone(&state), csrf::settle),
        // cached pages and the files of the site are compressed already
        CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest),
        CsrfLayer::new().with_rejection_response(|_: ProtectionError| error::plain(Problem::CrossOrigin)),
        middleware::from_fn(limit_time),
        DefaultBodyLimit::max(upload_body::FORM_LIMIT),
    );
    let mut shown = Router::new()
        .route("/", get(pages::home))
        .route("/chat/{*id}", get(pages::chat))
        .route("/picture/{chat}/{message}/{picture}", get(pictures::large))
        .route("/picture/{chat}/{message}/{picture}/small", get(pictures::small))
        .route(UPLOAD, post(pictures::upload).get(forms::redirect_home))
        .route("/api/ask", post(forms::ask).get(forms::redirect_home))
        .route("/api/{function}", post(forms::submit).get(forms::redirect_home));
    if state.engine.is_shared() {
        shown = shown.layer(middleware::from_fn_with_state(Arc::clone(&state.engine), freshness::keep));
    }
    shown
        .route("/live", get(ws::upgrade))
        .route("/pkg/{*file}", get(assets::package))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(pages::elsewhere)
        .layer(layers)
        .with_state(state)
}
