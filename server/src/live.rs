//! `/live`: the one WebSocket of a page.
//!
//! A connection has no queue of messages. It is a set of cursors: for each chat it watches, the last place it sent.
//! When a bell rings it reads what is new from the tail, or from the database if it fell off the tail, and writes it
//! in one batch. Live delivery, a slow reader and a reconnect are the same code: "send me what is after N".

mod connection;
mod follower;
mod outlet;
mod watch;
pub mod wire;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::Problem;

use connection::Connection;
pub use follower::Follower;
pub use outlet::{Outlet, Stuck};

use crate::{
    client::{Caller, Client},
    problem,
    router::Parts,
};

/// Checks a handshake and takes the connection over.
pub async fn upgrade(
    State(parts): State<Arc<Parts>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    if !is_same_origin(request.headers()) {
        return problem::plain(Problem::CrossOrigin);
    }
    // A page cannot see why a handshake failed, so those without a session are let in and told.
    let caller = match parts.sessions.find(request.headers(), parts.service.now()) {
        Some(session) if !parts.stop.is_cancelled() => {
            Ok(Caller { user: session.user(), address: client.address })
        }
        Some(_) => Err(Problem::Restarting),
        None => Err(Problem::NoSession),
    };
    // Those who come too often cost the least before their handshake. Pages take it for a network that fails, and come
    // back later each time.
    let place = match parts.service.let_in(caller.ok().map(|caller| caller.user), client.address) {
        Ok(place) => place,
        Err(problem) => return problem::plain(problem),
    };
    let entry = caller.and_then(|caller| Ok((caller, parts.service.open(caller.user)?)));
    let (answer, upgrade) = match wire::shake_hands(request) {
        Ok(shaken) => shaken,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let tracker = parts.connections.clone();
    tracker.spawn(async move {
        let _place = place;
        let Some((outlet, inlet)) = wire::take_over(upgrade).await else { return };
        match entry {
            Ok((caller, _open)) => {
                connection::run(Connection::new(outlet, inlet, caller, parts)).await;
            }
            // rare, and not to take room in all the others
            Err(problem) => Box::pin(connection::refuse(&outlet, inlet, problem)).await,
        }
    });
    answer
}

/// Browsers say which page opens a socket, and no page of another site may. Other clients send no Origin; they hold
/// their cookies in their own hands, so nobody can abuse them from elsewhere.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        is_same_origin(&headers)
    }

    #[test]
    fn only_pages_of_this_site_open_a_socket() {
        assert!(allowed(Some("http://chat.example:3000"), "chat.example:3000"));
        assert!(allowed(Some("https://chat.example"), "chat.example"));
        assert!(allowed(None, "chat.example"));
        for foreign in
            ["http://evil.example", "http://chat.example.evil.example", "null", "http://chat.example:81"]
        {
            assert!(!allowed(Some(foreign), "chat.example"), "{foreign}");
        }
    }
}
