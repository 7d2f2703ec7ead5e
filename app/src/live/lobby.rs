//! The state of the live home page: the public chats that the reader wants to see.

use domain::{
    Lobby,
    lobby::{LISTINGS_LIMIT, LobbyChange, LobbyQuery, PAGE_LISTINGS},
    page::HomePage,
};
use leptos::prelude::*;

use crate::view::list_pause::ListPause;

use super::{Connection, Live};

/// The state of a live home page.
#[derive(Clone, Copy)]
pub struct LiveLobby {
    /// The state of the page.
    pub live: Live,
    /// The query of the reader.
    pub query: RwSignal<LobbyQuery>,
    /// The newest version of the lobby received.
    pub lobby: RwSignal<Lobby>,
    /// Pauses the updates of the list while the reader is about to choose a chat.
    pub list_pause: ListPause,
    /// Whether the query has changed and its answer has not come. The answer is shown at once, even if the list is
    /// paused.
    is_requested: StoredValue<bool>,
}

impl LiveLobby {
    /// Creates the state from the data the page was rendered with.
    pub fn new(page: HomePage) -> Self {
        let HomePage { visit, wanted, lobby } = page;
        Self {
            live: Live::new(visit),
            query: RwSignal::new(wanted),
            lobby: RwSignal::new(lobby),
            list_pause: ListPause::default(),
            is_requested: StoredValue::new(false),
        }
    }

    /// Returns the lobby of the page around the current view.
    ///
    /// # Panics
    /// Panics outside of the home page, which provides it.
    pub fn from_context() -> Self {
        expect_context()
    }

    /// Filters the list by title.
    pub fn filter(self, filter: String) {
        self.request(LobbyQuery { filter, limit: PAGE_LISTINGS });
    }

    /// Requests more chats, if there are more and no request is under way. Returns false if there is no transport, so
    /// that the page has to be reloaded instead.
    pub fn show_more(self) -> bool {
        let query = self.query.get_untracked();
        let shown = self.lobby.with_untracked(|lobby| lobby.listings.len());
        // One page at a time: a request under way has to be answered first.
        if shown >= query.limit && query.limit < LISTINGS_LIMIT {
            let limit = (query.limit + PAGE_LISTINGS).min(LISTINGS_LIMIT);
            self.request(LobbyQuery { limit, ..query });
        }
        self.live.transport().is_some()
    }

    fn request(self, query: LobbyQuery) {
        if let Some(transport) = self.live.transport() {
            transport.request_lobby(&query, &address(&query));
        }
        self.query.set(query);
        self.is_requested.set_value(true);
    }

    /// Applies the lobby of a fresh copy of the page, unless the query has changed since.
    pub(super) fn refresh(self, page: HomePage) {
        if self.query.with_untracked(|query| *query == page.wanted) {
            self.show(page.lobby);
        }
    }

    pub(super) fn show(self, lobby: Lobby) {
        self.lobby.set(lobby);
        if self.is_requested.get_value() {
            self.is_requested.set_value(false);
            self.list_pause.update_once();
        }
        self.live.connection.set(Connection::Connected);
    }

    pub(super) fn change(self, change: LobbyChange) {
        self.lobby.update(|lobby| lobby.apply(change));
    }
}

/// Returns the address of the home page with this query.
pub fn address(query: &LobbyQuery) -> String {
    match (query.limit, query.filter.trim()) {
        (PAGE_LISTINGS, "") => "/".to_owned(),
        (PAGE_LISTINGS, filter) => format!("/?filter={}", percent(filter)),
        (limit, filter) => format!("/?limit={limit}&filter={}", percent(filter)),
    }
}

/// Percent-encodes the value of a query parameter: everything but ASCII letters and digits (RFC 3986, section 2.1).
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_written_into_a_link() {
        let query = |filter: &str, limit| LobbyQuery { filter: filter.to_owned(), limit };
        assert_eq!(address(&query(" a b&é", PAGE_LISTINGS)), "/?filter=a%20b%26%C3%A9");
        assert_eq!(address(&query("", 100)), "/?limit=100&filter=");
        assert_eq!(address(&query("  ", PAGE_LISTINGS)), "/");
    }
}
