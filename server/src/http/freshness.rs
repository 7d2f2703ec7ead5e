//! Fresh reads behind a load balancer. A browser whose form was answered by one node may be sent to another one for the
//! next page, a few milliseconds behind the first. A cookie says how far the log was applied where the form was answered,
//! and the next page waits until this node has come as far. Only used where nodes share a log.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use cookie::{Cookie, SameSite, time};
use domain::{Epoch, Seq};
use engine::Engine;

use super::client::Client;

/// The name of the cookie: `{epoch}.{seq}`.
const COOKIE: &str = "qchat_at";
/// How long browsers keep the cookie. By then every node that is ready has come as far.
const LIFETIME: time::Duration = time::Duration::seconds(10);

/// Waits before a page until this node has applied what its browser has seen, at most 2 seconds, and sets the cookie on
/// the answer to a form.
pub async fn keep(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        if let Some(seen) = newest_seen(request.headers(), engine.epoch())
            && engine.is_behind(engine.epoch(), seen)
        {
            // a page that is not as new as it should be is better than none
            engine.wait_for(seen).await;
        }
        return next.run(request).await;
    }
    let is_secure = Client::of(&request).is_secure;
    let mut response = next.run(request).await;
    if let Some(cookie) = cookie(&engine, is_secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Returns the newest entry of this log that a browser has seen by its cookies. `None` if there is none.
fn newest_seen(headers: &HeaderMap, epoch: Epoch) -> Option<Seq> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let seen = pairs.filter(|(name, _)| *name == COOKIE).filter_map(|(_, value)| {
        let (of, seq) = value.split_once('.')?;
        (of.parse() == Ok(epoch)).then(|| seq.parse().ok()).flatten()
    });
    seen.max().map(Seq)
}

fn cookie(engine: &Engine, is_secure: bool) -> Option<HeaderValue> {
    let value = format!("{}.{}", engine.epoch(), engine.reached().0);
    let cookie = Cookie::build((COOKIE, value))
        .http_only(true)
        .secure(is_secure)
        .max_age(LIFETIME)
        .path("/")
        .same_site(SameSite::Lax)
        .build();
    HeaderValue::from_str(&cookie.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use domain::id::ID_BYTES;

    use super::*;

    #[test]
    fn the_newest_place_of_this_log_counts_and_anything_else_is_ignored() {
        let [ours, theirs] = [1, 2].map(|number| Epoch::from_bytes([number; ID_BYTES]));
        for (cookies, expected) in [
            (format!("theme=dark; {COOKIE}={ours}.7"), Some(Seq(7))),
            (format!("{COOKIE}={ours}.7; {COOKIE}={ours}.9;{COOKIE}={ours}.8"), Some(Seq(9))),
            (format!("{COOKIE}={theirs}.9"), None),
            (format!("{COOKIE}={theirs}.9; {COOKIE}={ours}.7"), Some(Seq(7))),
            (format!("{COOKIE}={ours}; {COOKIE}={ours}.-1; {COOKIE}=.5; {COOKIE}={ours}.5.6"), None),
            (format!("{COOKIE}={ours}.99999999999999999999"), None),
            ("qchat_session=1.2".to_owned(), None),
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookies.parse().unwrap())]);
            assert_eq!(newest_seen(&headers, ours), expected, "{cookies}");
        }
    }
}
