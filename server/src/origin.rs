//! Which page a request comes from: one of this site, or of another. Browsers say so in `Origin`; it is compared with `Host`
//! as origins are (RFC 6454, section 5), where the port of the scheme goes without saying and case does not matter.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri, header,
        uri::{Authority, Scheme},
    },
    middleware::Next,
    response::Response,
};
use domain::Problem;
use tower_http::csrf::ProtectionError;

use crate::{client::Client, problem, router::Parts};

/// Tells from where a request comes, as the browser sees it (Fetch Metadata, section 2.3).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The operator is told of what was refused once in this time at most.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// And of so many characters of each header.
const TOLD_CHARACTERS: usize = 200;

/// Tells the operator of requests that were refused as those of another site: behind a proxy that changes `Host`, those of
/// the site itself are.
#[derive(Default)]
pub struct Refusals {
    told_at: Mutex<Option<Instant>>,
}

impl Refusals {
    /// A request was refused.
    pub fn note(&self, headers: &HeaderMap) {
        let now = Instant::now();
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_some_and(|at| now < at + TOLD_EVERY) {
            return;
        }
        *told_at = Some(now);
        drop(told_at);
        let said = |name| {
            let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).chars().take(TOLD_CHARACTERS).collect::<String>()
        };
        let (host, origin) = (said(header::HOST), said(header::ORIGIN));
        tracing::warn!(
            ?host,
            ?origin,
            "refused as coming from a page of another site; if that origin is yours, have the proxy pass Host on as the browser sent it"
        );
    }
}

/// Whether a request comes from a page of this site. Clients that are no browsers send no `Origin`; they hold their cookies
/// in their own hands, so nobody can abuse them from elsewhere.
pub fn is_same(headers: &HeaderMap, is_secure: bool) -> bool {
    !headers.contains_key(header::ORIGIN) || authority(headers, is_secure).is_some()
}

/// How the origin of a page of this site writes the host; `None` where it is of another one or not said. Where the request
/// came over TLS a page without TLS is another one: anybody on its way may have written it.
fn authority(headers: &HeaderMap, is_secure: bool) -> Option<Authority> {
    let origin: Uri = headers.get(header::ORIGIN)?.to_str().ok()?.parse().ok()?;
    let usual = match origin.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP && !is_secure => 80,
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        _ => return None,
    };
    let host: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    let theirs = origin.authority()?;
    let is_bare = origin.path() == "/" && origin.query().is_none();
    let is_host = |authority: &Authority| !authority.as_str().contains('@');
    let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
    let is_same = is_bare
        && is_host(theirs)
        && is_host(&host)
        && theirs.host().eq_ignore_ascii_case(host.host())
        && port(theirs) == port(&host);
    is_same.then(|| theirs.clone())
}

/// Writes `Host` as the origin does where both are the same, since forms are looked at letter by letter; and tells the
/// operator of forms that were refused.
pub async fn settle(State(parts): State<Arc<Parts>>, mut request: Request, next: Next) -> Response {
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
    parts.refusals.note(&said);
    if !is_shown {
        return response;
    }
    let mut page = parts.press.say(Some(Problem::CrossOrigin));
    problem::mark(Problem::CrossOrigin, &mut page);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        is_same(&headers, false)
    }

    #[test]
    fn a_page_of_this_site_is_told_however_its_host_is_written() {
        assert!(allowed(None, "chat.example"));
        for (origin, host) in [
            ("http://chat.example:3000", "chat.example:3000"),
            ("https://chat.example", "chat.example"),
            ("https://chat.example", "chat.example:443"),
            ("http://chat.example", "chat.example:80"),
            ("https://chat.example:443", "chat.example"),
            ("https://chat.example", "Chat.EXAMPLE"),
            ("http://[2001:db8::1]:3000", "[2001:DB8::1]:3000"),
        ] {
            assert!(allowed(Some(origin), host), "{origin} {host}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_none_of_this() {
        for foreign in [
            "http://evil.example",
            "http://chat.example.evil.example",
            "null",
            "",
            "http://chat.example:81",
            "http://user@chat.example",
            "http://chat.example/path",
            "ftp://chat.example",
            "chat.example",
        ] {
            assert!(!allowed(Some(foreign), "chat.example"), "{foreign}");
        }
        assert!(
            !allowed(Some("http://chat.example"), "chat.example:443"),
            "another port than that of the scheme"
        );
        let headers = |origin: &str| {
            HeaderMap::from_iter([
                (header::HOST, "chat.example".parse().unwrap()),
                (header::ORIGIN, origin.parse().unwrap()),
            ])
        };
        assert!(is_same(&headers("https://chat.example"), true));
        assert!(!is_same(&headers("http://chat.example"), true), "a page without TLS");
    }
}
