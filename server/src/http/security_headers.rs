//! The security headers of every response, which limit the damage of a mistake elsewhere.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::Response,
};

/// For responses that are not pages: nothing in them runs or is framed (Content Security Policy, level 3).
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// The headers of every response that does not set them itself.
const EVERYWHERE: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NO_PAGE)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // The address of a chat grants access, so other sites must not learn it. With `no-referrer`, browsers would also
    // hide from this site where a form comes from (`Origin: null`, Fetch standard), and without TLS no other header tells.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    // the clipboard and the share sheet are all that a page uses of the device
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds the headers that a response does not set itself.
pub async fn protect(mut answer: Response) -> Response {
    for (name, value) in EVERYWHERE {
        answer.headers_mut().entry(name).or_insert(value);
    }
    answer
}

/// Returns the Content-Security-Policy of a page: it may run its inline scripts that have the nonce and scripts from
/// this server, compile WASM, and connect to this server. Under `cargo leptos watch` (`is_watched`), it may also
/// connect to the socket that announces new builds.
pub fn page_policy(nonce: &str, is_watched: bool) -> String {
    let elsewhere = if is_watched { " ws:" } else { "" };
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'{elsewhere}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}
