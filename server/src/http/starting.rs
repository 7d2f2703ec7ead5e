//! What a node of a cluster answers before it has joined: that it is alive, why it is not ready, and 503 to everything else;
//! to pages that reconnect, with the problem `restarting`, so that they do not take it for a network without WebSockets.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use domain::Problem;

use super::{
    error, health,
    readiness::{Check, readiness},
    security_headers,
};

/// After how many seconds a client may ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// Returns the router of a node that is not ready for the reasons that `check` returns. It ends every connection after its
/// first response, so that the next request is answered by what the node is then.
pub fn router(check: Check) -> Router {
    let ready = move || {
        let reasons = check();
        // The log may have just become ready, and its pages are not there yet.
        let reasons = if reasons.is_empty() { vec!["Qchat is starting".to_owned()] } else { reasons };
        std::future::ready(readiness(&reasons))
    };
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(ready))
        .route("/live", any(|| async { error::plain(Problem::Restarting) }))
        .fallback(unavailable)
        .layer((
            middleware::map_response(security_headers::protect),
            middleware::map_response(end_connection),
        ))
}

async fn unavailable() -> Response {
    let headers: [(HeaderName, HeaderValue); 2] =
        [(header::RETRY_AFTER, RETRY_AFTER), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "Qchat is starting: try again in some seconds.\n")
        .into_response()
}

async fn end_connection(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::watch,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::{
        client::TrustedProxies,
        listener::{self, ListenerMetrics},
    };

    #[tokio::test]
    async fn a_node_that_starts_says_why_it_is_not_ready_and_is_asked_anew_when_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let check: Check = Arc::new(|| vec!["one".to_owned(), "another".to_owned()]);
        let (routers, newest) = watch::channel(router(check));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listener::serve(
            listener,
            newest,
            TrustedProxies::default(),
            stop.clone(),
            ListenerMetrics::default(),
        ));
        let ask = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            // It ends, since every connection is closed after its first response.
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(ask("/healthz").await.starts_with("HTTP/1.1 200"));
        let ready = ask("/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.ends_with("not ready: one\nnot ready: another\n"), "{ready}");
        let page = ask("/chat/x").await;
        assert!(page.starts_with("HTTP/1.1 503") && page.contains("retry-after: 2\r\n"), "{page}");
        assert!(page.contains("x-content-type-options: nosniff"), "{page}");
        let live = ask("/live").await;
        assert!(live.starts_with("HTTP/1.1 503") && live.contains("\"restarting\""), "{live}");
        let page = get(|| async { ([(header::CONNECTION, "close")], "here") });
        drop(routers.send_replace(Router::new().route("/", page)));
        assert!(ask("/").await.ends_with("here"));
        stop.cancel();
        serving.await.unwrap();
    }
}
