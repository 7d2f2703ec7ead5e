//! Forms that pages of other sites send are refused, and said to be.

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

/// Tells from where a request comes, as the browser sees it (Fetch Metadata, section 2.3).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Writes `Host` as the origin does where both are the same, since forms are looked at letter by letter; and tells the
/// operator of forms that were refused.
pub async fn settle(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let same = authority(request.headers(), Client::of(&request).is_secure)
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = same {
        request.headers_mut().insert(header::HOST, host);
        // No page of another site can send this origin, while WebKit says `cross-site` of a form that opens a window.
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
    let mut page = state.renderer.say(Some(Problem::CrossOrigin));
    error::mark(Problem::CrossOrigin, &mut page);
    page
}
