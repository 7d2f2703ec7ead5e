//! The lobby: counts of users and chats, and the public chats. A conflated state with a version, not part of the log.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{ChatId, Timestamp, Title, User, text::TITLE_LIMIT};

/// The number of public chats a page lists at first, and the number added each time the reader asks for more.
pub const PAGE_LISTINGS: usize = 50;
/// The maximum number of chats listed at once. To find others, the reader filters.
pub const LISTINGS_LIMIT: usize = 500;
/// The maximum number of members that a listing shows.
pub const FACES: usize = 3;
/// The maximum length of a filter, in grapheme clusters: that of the longest title.
pub const FILTER_LIMIT: usize = TITLE_LIMIT;

/// The totals over all chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Users with an open page.
    pub people: usize,
    /// Chats that have not expired, including private ones.
    pub chats: usize,
}

/// A public chat as listed in the lobby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The chat's id.
    pub id: ChatId,
    /// The current title.
    pub title: Title,
    /// When the chat was started.
    pub started_at: Timestamp,
    /// When the newest message was posted, up to some seconds late. `None` if there has been none.
    pub said_at: Option<Timestamp>,
    /// The number of members now.
    pub members: usize,
    /// Some of the members.
    pub faces: Vec<User>,
}

/// The part of the lobby that a reader wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LobbyQuery {
    /// Text that the title has to contain, regardless of case and Unicode composition. Blank matches all chats.
    #[serde(default)]
    pub filter: String,
    /// The maximum number of listings, from the first on, capped at [`LISTINGS_LIMIT`].
    pub limit: usize,
}

/// The lobby at some version, as one reader wants to see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lobby {
    /// Increases with every change. Only comparable within one connection.
    pub version: u64,
    /// The totals.
    pub counts: Counts,
    /// The number of public chats that match the filter, including those beyond the limit.
    pub matching: usize,
    /// The first of them, ordered by [`Listing::place`].
    pub listings: Vec<Listing>,
}

/// The difference between a version of the lobby and a later one; versions between are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyChange {
    /// The version it leads to.
    pub version: u64,
    /// The totals.
    pub counts: Counts,
    /// The number of public chats that match the filter.
    pub matching: usize,
    /// Listings that were added or changed.
    pub listed: Vec<Listing>,
    /// Chats that are no longer listed.
    pub gone: Vec<ChatId>,
}

impl Lobby {
    /// Applies a change. A change to a version already reached has no effect.
    pub fn apply(&mut self, change: LobbyChange) {
        if change.version <= self.version {
            return;
        }
        self.version = change.version;
        self.counts = change.counts;
        self.matching = change.matching;
        let replaced =
            |id: &ChatId| change.gone.contains(id) || change.listed.iter().any(|listing| listing.id == *id);
        self.listings.retain(|listing| !replaced(&listing.id));
        for listing in change.listed {
            let after = self.listings.partition_point(|other| other.place() < listing.place());
            self.listings.insert(after, listing);
        }
    }
}

/// The sort key of a listing: whether the chat is empty, when it was started, and its id.
pub type Place = (bool, Reverse<Timestamp>, ChatId);

impl Listing {
    /// Returns the sort key: chats with members before empty ones, then the newest first, ties broken by id.
    pub fn place(&self) -> Place {
        (self.members == 0, Reverse(self.started_at), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ID_BYTES;

    fn listing(number: u8, title: &str) -> Listing {
        Listing {
            id: ChatId::from_bytes([number; ID_BYTES]),
            title: Title::parse(title).unwrap(),
            started_at: Timestamp(u64::from(number / 2)),
            said_at: None,
            members: 1,
            faces: Vec::new(),
        }
    }

    #[test]
    fn a_change_brings_takes_and_keeps_the_order() {
        let mut lobby =
            Lobby { version: 1, listings: vec![listing(6, "six"), listing(2, "two")], ..Lobby::default() };
        let change = LobbyChange {
            version: 3,
            counts: Counts { people: 4, chats: 5 },
            matching: 3,
            listed: vec![listing(3, "three"), listing(8, "eight"), listing(2, "TWO")],
            gone: vec![listing(6, "six").id],
        };
        lobby.apply(change.clone());
        let titles: Vec<_> = lobby.listings.iter().map(|listing| listing.title.as_str()).collect();
        assert_eq!(titles, ["eight", "TWO", "three"], "newest first, then by id");
        let empty = Listing { members: 0, ..listing(8, "eight") };
        lobby.apply(LobbyChange { version: 4, listed: vec![empty], gone: Vec::new(), ..change.clone() });
        let titles: Vec<_> = lobby.listings.iter().map(|listing| listing.title.as_str()).collect();
        assert_eq!(titles, ["TWO", "three", "eight"], "where people are comes first");
        assert_eq!((lobby.counts.people, lobby.matching), (4, 3));
        let once = lobby.clone();
        lobby.apply(change);
        assert_eq!(lobby, once);
    }
}
