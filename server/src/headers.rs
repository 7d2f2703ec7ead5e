//! What every answer tells browsers to hold back, so that a mistake elsewhere does less harm.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
};
use tower_http::set_header::SetResponseHeaderLayer;

/// What is no page is no page: nothing in it is run or shown in a frame (Content Security Policy, level 3).
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// On every answer that does not say otherwise.
const EVERYWHERE: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, NO_PAGE),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // the address of a chat is what lets people in
    (header::REFERRER_POLICY, "no-referrer"),
    // the clipboard and the sheet for sharing are all that a page asks of the device
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds to every answer what it does not say by itself.
pub fn protect<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    EVERYWHERE.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)))
    })
}

/// What a page may do: run the one script in it and what that imports from here, compile WASM, and talk to this server.
/// While Qchat is worked on, the socket that tells of new builds is elsewhere (`is_watched`).
pub fn page_policy(nonce: &str, is_watched: bool) -> String {
    let elsewhere = if is_watched { " ws:" } else { "" };
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'{elsewhere}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}
