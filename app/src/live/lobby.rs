//! The live lobby: the public chats that the reader wants to see.

use domain::{
    Lobby,
    lobby::{LISTINGS_LIMIT, LobbyChange, LobbyQuery, PAGE_LISTINGS},
    page::HomePage,
};
use leptos::prelude::*;

use crate::view::hold::Hold;

use super::{Connection, Live};

/// The lobby as one reader sees it, alive.
#[derive(Clone, Copy)]
pub struct LiveLobby {
    /// The page it is on.
    pub live: Live,
    /// What the reader wants to see.
    pub wanted: RwSignal<LobbyQuery>,
    /// What there is of it.
    pub lobby: RwSignal<Lobby>,
    /// Holds the list of them still while the reader is about to choose one.
    pub hold: Hold,
    /// Whether the reader asked for something else than what is shown, which is shown at once when it comes.
    is_asked: StoredValue<bool>,
}

impl LiveLobby {
    /// The lobby as its page arrived.
    pub fn new(page: HomePage) -> Self {
        let HomePage { visit, wanted, lobby } = page;
        Self {
            live: Live::new(visit),
            wanted: RwSignal::new(wanted),
            lobby: RwSignal::new(lobby),
            hold: Hold::default(),
            is_asked: StoredValue::new(false),
        }
    }

    /// The live lobby of the page around a view.
    ///
    /// # Panics
    /// Outside of the home page, which provides it.
    pub fn here() -> Self {
        expect_context()
    }

    /// Shows only chats with this in their title.
    pub fn filter(self, filter: String) {
        self.want(LobbyQuery { filter, limit: PAGE_LISTINGS });
    }

    /// Shows more chats, if there are more. False where the page has to be loaded anew for it.
    pub fn show_more(self) -> bool {
        let wanted = self.wanted.get_untracked();
        let shown = self.lobby.with_untracked(|lobby| lobby.listings.len());
        // one page at a time: what is on its way comes first
        if shown >= wanted.limit && wanted.limit < LISTINGS_LIMIT {
            let limit = (wanted.limit + PAGE_LISTINGS).min(LISTINGS_LIMIT);
            self.want(LobbyQuery { limit, ..wanted });
        }
        self.live.transport().is_some()
    }

    fn want(self, wanted: LobbyQuery) {
        if let Some(transport) = self.live.transport() {
            transport.lobby(&wanted, &address(&wanted));
        }
        self.wanted.set(wanted);
        self.is_asked.set_value(true);
    }

    /// Takes in the home page as it is now, unless the reader asked for something else meanwhile.
    pub(super) fn refresh(self, page: HomePage) {
        if self.wanted.with_untracked(|wanted| *wanted == page.wanted) {
            self.show(page.lobby);
        }
    }

    pub(super) fn show(self, lobby: Lobby) {
        self.lobby.set(lobby);
        if self.is_asked.get_value() {
            self.is_asked.set_value(false);
            self.hold.settle();
        }
        self.live.connection.set(Connection::Connected);
    }

    pub(super) fn change(self, change: LobbyChange) {
        self.lobby.update(|lobby| lobby.apply(change));
    }
}

/// The address of a home page with this part of the lobby.
pub fn address(wanted: &LobbyQuery) -> String {
    match (wanted.limit, wanted.filter.trim()) {
        (PAGE_LISTINGS, "") => "/".to_owned(),
        (PAGE_LISTINGS, filter) => format!("/?filter={}", percent(filter)),
        (limit, filter) => format!("/?limit={limit}&filter={}", percent(filter)),
    }
}

/// As the value of a query: everything but letters and digits as bytes in hexadecimal (RFC 3986, section 2.1).
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
        let wanted = |filter: &str, limit| LobbyQuery { filter: filter.to_owned(), limit };
        assert_eq!(address(&wanted(" a b&é", PAGE_LISTINGS)), "/?filter=a%20b%26%C3%A9");
        assert_eq!(address(&wanted("", 100)), "/?limit=100&filter=");
        assert_eq!(address(&wanted("  ", PAGE_LISTINGS)), "/");
    }
}
