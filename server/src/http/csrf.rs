//! Protection against forms sent by pages of other sites (CSRF): adapts requests to the CSRF layer, and answers refusals.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use domain::Problem;
use tower_http::csrf::ProtectionError;

use super::{client::Client, error, origin::authority, state::AppState};

/// The header with the relation between the site that sent a request and this one (Fetch Metadata, section 2.3).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Writes `Host` exactly as `Origin` does where both are the same, since the CSRF layer compares them byte by byte.
/// Logs refused forms for the operator, and answers them with a page where a browser expects one.
pub async fn settle(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let same = authority(request.headers(), Client::of(&request).is_secure)
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = same {
        request.headers_mut().insert(header::HOST, host);
        // No page of another site can send this origin, while WebKit sends `cross-site` for a form that opens a window.
        request.headers_mut().insert(FETCH_SITE, HeaderValue::from_static("same-origin"));
        return next.run(request).await;
    }
    if !request.headers().contains_key(header::ORIGIN) {
        return next.run(request).await;
    }
    let mut said = HeaderMap::new();
    for name in [header::HOST, header::ORIGIN] {
        said.extend(request.headers().get(&name).cloned().map(|value| (name, value)));
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_shown = accept.is_some_and(|accept| accept.contains("text/html"));
    let response = next.run(request).await;
    if response.extensions().get::<ProtectionError>().is_none() {
        return response;
    }
    state.refusals.note(&said);
    if !is_shown {
        return response;
    }
    let mut page = state.renderer.respond_problem(Some(Problem::CrossOrigin));
    error::mark(Problem::CrossOrigin, &mut page);
    page
}
