//! Whether a request comes from a page of this site. Browsers send `Origin`; it is compared with `Host` as origins are
//! (RFC 6454, section 5), where the default port of the scheme may be omitted and case does not matter.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{
    HeaderMap, HeaderValue, Uri, header,
    uri::{Authority, Scheme},
};

/// The shortest time between two warnings about refused requests.
const LOGGED_EVERY: Duration = Duration::from_secs(60);
/// The maximum number of characters of each header in a warning.
const TOLD_CHARACTERS: usize = 200;

/// Warns the operator about requests refused as cross-origin: behind a proxy that changes `Host`, requests of the site
/// itself are refused.
#[derive(Default)]
pub struct Refusals {
    logged_at: Mutex<Option<Instant>>,
}

impl Refusals {
    /// Records a refused request.
    pub fn note(&self, headers: &HeaderMap) {
        let now = Instant::now();
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_some_and(|at| now < at + LOGGED_EVERY) {
            return;
        }
        *logged_at = Some(now);
        drop(logged_at);
        let said = |name| {
            let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).chars().take(TOLD_CHARACTERS).collect::<String>()
        };
        let (host, origin) = (said(header::HOST), said(header::ORIGIN));
        tracing::warn!(
            ?host,
            ?origin,
            "refused a request from a page of another site; if that origin is yours, let the proxy pass the Host header unchanged"
        );
    }
}

/// Whether a request comes from a page of this site, or from a client that is not a browser. The latter send no
/// `Origin`; their cookies cannot be abused by pages of other sites.
pub fn is_same(headers: &HeaderMap, is_secure: bool) -> bool {
    !headers.contains_key(header::ORIGIN) || authority(headers, is_secure).is_some()
}

/// Returns the host as the `Origin` of a page of this site writes it. `None` if there is no `Origin`, or it is another
/// one. For requests over TLS, a page without TLS is of another origin, since anyone on its way may have written it.
pub(super) fn authority(headers: &HeaderMap, is_secure: bool) -> Option<Authority> {
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
