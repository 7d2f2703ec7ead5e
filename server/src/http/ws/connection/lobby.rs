//! The lobby subscription of a connection: searches for what the client asks for, and sends it changes.

use std::{sync::Arc, time::Duration};

use domain::{Problem, frame::ServerFrame, lobby::LobbyQuery};
use engine::{limits::FilterGuard, lobby};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{super::close::End, Connection};

/// The shortest time between two answers about the lobby: while a filter is typed, only the last one is answered.
const LOBBY_INTERVAL: Duration = Duration::from_millis(250);

/// How long to wait if too many search the lobby.
const LOBBY_BACKOFF: Duration = Duration::from_secs(2);

/// The result of a search in the lobby.
pub(super) struct Entered {
    wanted: LobbyQuery,
    is_filtered: bool,
    /// The guard for the quota of filters, unless the connection had one before.
    filtering: Option<FilterGuard>,
    found: Result<(lobby::LobbyCursor, domain::Lobby), Problem>,
}

impl Connection {
    /// Starts the search for the lobby query that was requested last. It may have to wait for other searches, and the
    /// connection goes on meanwhile.
    pub(super) async fn enter_lobby(&mut self) -> Result<(), End> {
        let Some(wanted) = self.wanted.take() else { return Ok(()) };
        self.lobby_paused_until = Instant::now() + LOBBY_INTERVAL;
        let is_filtered = !wanted.filter.trim().is_empty();
        let filtering = match is_filtered && self.filtering.is_none() {
            true => match self.state.engine.filter(self.caller) {
                Ok(filtering) => Some(filtering),
                Err(problem) => return self.send(&ServerFrame::refused(problem)).await,
            },
            false => None,
        };
        let lobby = Arc::clone(&self.state.lobby);
        self.search = Some(Box::pin(async move {
            let found = lobby.enter(wanted.clone()).await;
            Entered { wanted, is_filtered, filtering, found }
        }));
        Ok(())
    }

    /// Sends the result of a search. If it failed, the previous subscription goes on.
    pub(super) async fn show_lobby(&mut self, entered: Entered) -> Result<(), End> {
        self.search = None;
        match entered.found {
            Ok((view, lobby)) => {
                self.lobby = Some(view);
                if !entered.is_filtered {
                    self.filtering = None;
                } else if entered.filtering.is_some() {
                    self.filtering = entered.filtering;
                }
                self.send(&ServerFrame::Lobby(lobby)).await
            }
            // retried on behalf of the client, unless it requested something else meanwhile
            Err(Problem::Busy) => {
                self.wanted.get_or_insert(entered.wanted);
                self.lobby_paused_until = Instant::now() + LOBBY_BACKOFF;
                Ok(())
            }
            Err(problem) => self.send(&ServerFrame::refused(problem)).await,
        }
    }

    pub(super) async fn tell_lobby(&mut self) -> Result<(), End> {
        match self.lobby.as_mut().and_then(lobby::LobbyCursor::news) {
            Some(change) => self.send(&ServerFrame::LobbyChange(change)).await,
            None => Ok(()),
        }
    }
}

/// Waits until the lobby subscription may have changes.
pub(super) async fn changed(lobby: &mut Option<lobby::LobbyCursor>) {
    match lobby {
        Some(view) => view.changed().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn entered(search: &mut Option<BoxFuture<'static, Entered>>) -> Entered {
    match search {
        Some(search) => search.await,
        None => std::future::pending().await,
    }
}
