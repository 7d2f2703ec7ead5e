//! What every answer tells browsers to hold back, so that a mistake elsewhere does less harm.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::Response,
};

/// What is no page is no page: nothing in it is run or shown in a frame (Content Security Policy, level 3).
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// On every answer that does not say otherwise.
const EVERYWHERE: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NO_PAGE)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // The address of a chat is what lets people in: other sites do not learn it. With `no-referrer` browsers would hide from
    // this one, too, where a form comes from (`Origin: null`, Fetch standard), and without TLS nothing else tells
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    // the clipboard and the sheet for sharing are all that a page asks of the device
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds to an answer what it does not say by itself.
pub async fn protect(mut answer: Response) -> Response {
    for (name, value) in EVERYWHERE {
        answer.headers_mut().entry(name).or_insert(value);
    }
    answer
}

/// What a page may do: run the one script in it and what that imports from here, compile WASM, and talk to this server.
/// While Qchat is worked on, the socket that tells of new builds is elsewhere (`is_watched`).
pub fn page_policy(nonce: &str, is_watched: bool) -> String {
    let elsewhere = if is_watched { " ws:" } else { "" };
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'{elsewhere}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}
