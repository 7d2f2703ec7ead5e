//! What is noted of every request: an id, which is in the response and in all lines of the log about it, and how long it
//! took.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use domain::Problem;
use engine::random;
use tracing::Instrument;

use crate::http::{client::TrustedProxies, metrics::Metrics, state::AppState};

/// The header with the id of a request, as most proxies and log collectors name it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The maximum length of an id that a proxy gives, in bytes.
const ID_LIMIT: usize = 64;

/// An extension of a response: the problem that it was refused with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) Problem);

/// The state of [`observe`].
#[derive(Clone)]
pub(super) struct Observer {
    pub(super) state: Arc<AppState>,
    pub(super) proxies: TrustedProxies,
}

/// Gives a request its id, logs and measures it. The log has the route instead of the path, which names a chat.
pub(super) async fn observe(
    State(Observer { state, proxies }): State<Observer>,
    request: Request,
    next: Next,
) -> Response {
    let id = id_of(&request, &proxies);
    let route = route_of(&request);
    // a span of the most severe level is there for every level of the log
    let span = tracing::error_span!("request", id = id.to_str().unwrap_or_default(), route);
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();
    let status = response.status();
    span.in_scope(|| tracing::debug!(status = status.as_u16(), ?took, "answered"));
    note(&state.metrics, route, &response, took.as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn note(metrics: &Metrics, route: &'static str, response: &Response, seconds: f64) {
    metrics.answered(route, response.status(), seconds);
    if let Some(Refused(problem)) = response.extensions().get() {
        metrics.refused(*problem);
    }
}

/// Returns the id that a trusted proxy gave a request, so that its log and this one can be compared. Otherwise draws one.
fn id_of(request: &Request, proxies: &TrustedProxies) -> HeaderValue {
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    let given = peer
        .filter(|peer| proxies.trust(peer.to_canonical()))
        .and_then(|_| request.headers().get(REQUEST_ID));
    let is_plain = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=ID_LIMIT).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let drawn = || random::bytes().map_or(0, u64::from_be_bytes);
    given
        .filter(is_plain)
        .cloned()
        .unwrap_or_else(|| format!("{:016x}", drawn()).parse().unwrap_or(HeaderValue::from_static("-")))
}

/// Returns the name of the route of a request: one of a few, whatever was asked for.
fn route_of(request: &Request) -> &'static str {
    match request.extensions().get().map(MatchedPath::as_str) {
        Some("/") => "/",
        Some("/chat/{*id}") => "/chat",
        Some("/picture/{chat}/{message}/{picture}" | "/picture/{chat}/{message}/{picture}/small") => {
            "/picture"
        }
        Some("/api/picture") => "/api/picture",
        Some("/live") => "/live",
        Some("/api/ask" | "/api/{function}") => "/api",
        Some("/pkg/{*file}") => "/pkg",
        Some("/healthz") => "/healthz",
        Some("/readyz") => "/readyz",
        Some("/metrics") => "/metrics",
        _ => "other",
    }
}
