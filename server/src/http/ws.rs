//! `/live`: the WebSocket of a page.
//!
//! A connection has no queue of messages. It is a set of cursors: for each chat it watches, the last position it sent.
//! When it is woken it reads what is new from the replay buffer, or from the database if that was evicted, and writes
//! it in one batch. Live delivery, a slow reader and a reconnect are the same code: "send me what is after N".

mod close;
mod connection;
mod handshake;
mod subscription;
mod write_half;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::Problem;
use engine::Caller;

use connection::Connection;

use crate::http::{client::Client, error, origin, state::AppState};

/// Handles a WebSocket handshake and starts to serve the connection.
pub async fn upgrade(
    State(state): State<Arc<AppState>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    if !origin::is_same(request.headers(), client.is_secure) {
        state.refusals.note(request.headers());
        return error::plain(Problem::CrossOrigin);
    }
    // A page cannot see why a handshake failed, so connections without a session are accepted and told the reason.
    let caller = match state.sessions.find(request.headers(), state.engine.now()) {
        Ok(Some(session)) if state.admission.is_open() => {
            Ok(Caller { user: session.user(), address: client.address })
        }
        Ok(Some(_)) => Err(Problem::Restarting),
        Ok(None) => Err(Problem::NoSession),
        Err(problem) => Err(problem),
    };
    // Connections beyond the rate limit are cheapest to refuse before the handshake. Pages take that for a network
    // error and back off.
    let place = match state.engine.check_connect(caller.ok().map(|caller| caller.user), client.address) {
        Ok(place) => place,
        Err(problem) => return error::plain(problem),
    };
    let entry = caller.and_then(|caller| Ok((caller, state.engine.open(caller.user)?)));
    let (answer, upgrade) = match handshake::accept_handshake(request) {
        Ok(shaken) => shaken,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let tracker = state.connections.clone();
    tracker.spawn(async move {
        let _place = place;
        let Some((write_half, read_half)) = handshake::into_halves(upgrade).await else { return };
        match entry {
            Ok((caller, _open)) => {
                connection::run(Connection::new(write_half, read_half, caller, state)).await;
            }
            // boxed, since this is rare and would enlarge the future of every connection
            Err(problem) => {
                state.metrics.connection_closed(problem.code());
                state.metrics.refused(problem);
                Box::pin(close::refuse(&write_half, read_half, problem)).await;
            }
        }
    });
    answer
}
