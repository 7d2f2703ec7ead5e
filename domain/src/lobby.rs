//! What goes on: who is there in all, and the public chats one can enter. A conflated state with a version, not part
//! of the log.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{ChatId, Timestamp, Title, User, text::TITLE_LIMIT};

/// A page shows this many public chats at first, and this many more each time more are asked for.
pub const PAGE_LISTINGS: usize = 50;
/// Nobody is shown more than this many at once; whoever looks for another one filters.
pub const LISTINGS_LIMIT: usize = 500;
/// A listing shows this many of its members at most.
pub const FACES: usize = 3;
/// A filter has at most this many characters, as people count them: as many as the longest title.
pub const FILTER_LIMIT: usize = TITLE_LIMIT;

/// How many there are in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// People with an open page.
    pub people: usize,
    /// Chats that have not expired, private ones included.
    pub chats: usize,
}

/// A public chat as the lobby shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which.
    pub id: ChatId,
    /// What it is called.
    pub title: Title,
    /// When it was started.
    pub started_at: Timestamp,
    /// When something was last said in it, some seconds late at most; nothing until something is.
    pub said_at: Option<Timestamp>,
    /// How many are there now.
    pub members: usize,
    /// Some of them.
    pub faces: Vec<User>,
}

/// What one reader wants to see of the lobby.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LobbyQuery {
    /// Only chats with this in their title, whatever its case and however it is composed; all where it is blank.
    #[serde(default)]
    pub filter: String,
    /// At most this many, the first; [`LISTINGS_LIMIT`] is the most there is.
    pub limit: usize,
}

/// The lobby at some version, as one reader wants to see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lobby {
    /// Counts up with every change; comparable only within one connection.
    pub version: u64,
    /// How many there are in all.
    pub counts: Counts,
    /// How many public chats pass the filter, those beyond the limit included.
    pub matching: usize,
    /// The first of them, in the order of their [places](Listing::place).
    pub listings: Vec<Listing>,
}

/// From one version of the lobby to a later one, skipping what came between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyChange {
    /// The version it leads to.
    pub version: u64,
    /// How many there are in all.
    pub counts: Counts,
    /// How many public chats pass the filter.
    pub matching: usize,
    /// Those that came into view, or look different now.
    pub listed: Vec<Listing>,
    /// Those that went out of view.
    pub gone: Vec<ChatId>,
}

impl Lobby {
    /// Takes in a change. One that leads to a version already reached changes nothing.
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

/// Where a chat stands in the list: whether it is empty, when it was started, and which it is.
pub type Place = (bool, Reverse<Timestamp>, ChatId);

impl Listing {
    /// Where it stands: chats with people in them before empty ones, then the newest, and always in the same order.
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
