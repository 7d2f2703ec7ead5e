//! The index of all chats: which are public, listed, filtered, when they expire, and who owns them.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry as MapEntry},
    sync::Arc,
};

use domain::{
    Chat, ChatId, Counts, Expiry, Lifetimes, Listing, Timestamp, User, UserId, Visibility,
    lobby::{LISTINGS_LIMIT, Place},
};

use super::{
    Found,
    listing_quota::{Freed, ListingQuota},
    origin::Origin,
    search::{self, ListUpdate},
};

/// How many milliseconds "last said" may be behind, so that a busy chat does not cause an update with every message.
pub(super) const SAID_MILLIS: u64 = 15_000;

/// The quota of listed chats of one network, as a multiple of that of one session.
const LISTED_AT_AN_ADDRESS: usize = 4;

/// The maximum number of networks that are kept for chats that are not known here yet. Nodes are milliseconds apart.
const EARLY_ORIGINS: usize = 1_024;
/// The maximum number of networks of chats that one node tells.
const OWN_ORIGINS: usize = 65_536;

pub(super) struct Index {
    pub(super) version: u64,
    pub(super) people: usize,
    pub(super) chats: HashMap<ChatId, Known>,
    /// The number of chats that have not expired, for each user who owns any.
    pub(super) owned: HashMap<UserId, usize>,
    pub(super) expired: usize,
    /// The public chats that have not expired and are within the quotas of their owner and of their network, in the
    /// order in which they are listed.
    pub(super) listed: BTreeSet<Place>,
    pub(super) owners: ListingQuota<UserId>,
    pub(super) addresses: ListingQuota<Origin>,
    /// The public chats that the searches have not taken in yet: added, removed or changed ones.
    pub(super) news: HashSet<ChatId>,
    /// The chats that were started on this node, from a network that is known.
    pub(super) started_here: HashSet<ChatId>,
    /// The networks of chats that other nodes have told and that are not known here yet.
    pub(super) early_origins: HashMap<ChatId, Origin>,
    /// When each chat that has not expired will expire, unless it is touched before.
    pub(super) expiries: BTreeSet<(Timestamp, ChatId)>,
}

pub(super) struct Known {
    pub(super) chat: Chat,
    pub(super) active_at: Timestamp,
    pub(super) is_expired: bool,
    /// The title, case-folded for filters.
    pub(super) folded: Arc<str>,
    pub(super) members: usize,
    pub(super) faces: Vec<User>,
    pub(super) said_at: Option<Timestamp>,
    /// The network from which the chat was started. `None` if that was before this process started, or from this
    /// machine.
    pub(super) from: Option<Origin>,
    /// The chat as it is shown. `None` if it is private or has expired.
    pub(super) entry: Option<Arc<Entry>>,
}

/// A public chat as it is shown. It is immutable: whenever it looks different, there is a new entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) listing: Listing,
    /// The title, case-folded for filters.
    pub(super) folded: Arc<str>,
}

impl Index {
    pub(super) fn new(listed: usize) -> Self {
        Self {
            version: 0,
            people: 0,
            chats: HashMap::new(),
            owned: HashMap::new(),
            expired: 0,
            listed: BTreeSet::new(),
            owners: ListingQuota::new(listed),
            addresses: ListingQuota::new(listed.saturating_mul(LISTED_AT_AN_ADDRESS)),
            news: HashSet::new(),
            started_here: HashSet::new(),
            early_origins: HashMap::new(),
            expiries: BTreeSet::new(),
        }
    }

    pub(super) fn count(&mut self, people: usize) {
        if self.people != people {
            self.people = people;
            self.version += 1;
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { people: self.people, chats: self.chats.len() - self.expired }
    }

    /// Returns the whole list. If its entries are those of `before`, they are shared with it.
    pub(super) fn found(&self, before: &Found) -> Found {
        let entry = |place: &Place| self.chats.get(&place.2)?.entry.clone();
        let first: Vec<_> = self.listed.iter().filter_map(entry).take(LISTINGS_LIMIT).collect();
        let is_same = first.len() == before.first.len()
            && first.iter().zip(&*before.first).all(|(one, other)| Arc::ptr_eq(one, other));
        let first = if is_same { Arc::clone(&before.first) } else { first.into() };
        Found { version: self.version, counts: self.counts(), matching: self.listed.len(), first }
    }

    /// Takes the changes that the searches have not taken in yet, or all chats if `is_all`.
    pub(super) fn take_update(&mut self, is_all: bool) -> ListUpdate {
        let news = std::mem::take(&mut self.news);
        let entry = |id: ChatId| (id, self.chats.get(&id).and_then(|known| known.entry.clone()));
        let chats = if is_all {
            self.chats.keys().copied().map(entry).filter(|(_, entry)| entry.is_some()).collect()
        } else {
            news.into_iter().map(entry).collect()
        };
        ListUpdate { version: self.version, counts: self.counts(), chats }
    }

    /// Updates how a chat is shown.
    pub(super) fn show(&mut self, id: ChatId) {
        self.version += 1;
        let Some(known) = self.chats.get_mut(&id) else { return };
        let is_shown = known.chat.visibility == Visibility::Public && !known.is_expired;
        let after = is_shown.then(|| Arc::new(known.entry()));
        let place = |entry: &Option<Arc<Entry>>| entry.as_ref().map(|entry| entry.listing.place());
        let (before, now) = (place(&known.entry), place(&after));
        if before.is_none() && now.is_none() {
            return;
        }
        known.entry = after;
        self.news.insert(id);
        if before != now {
            before.into_iter().for_each(|place| self.unlist(place));
            now.into_iter().for_each(|place| self.list(place));
        }
    }

    /// Adds a chat to the list, if it is within the quotas of its owner and its network.
    pub(super) fn list(&mut self, place: Place) {
        let Some(owner) = self.chats.get(&place.2).map(|known| known.chat.owner) else { return };
        match self.owners.add(owner, place) {
            Some(beyond) if beyond == place => {}
            beyond => {
                beyond.into_iter().for_each(|beyond| self.leave_address(beyond));
                self.enter_address(place);
            }
        }
    }

    pub(super) fn unlist(&mut self, place: Place) {
        let Some(owner) = self.chats.get(&place.2).map(|known| known.chat.owner) else { return };
        let Freed { was_shown, shown_now } = self.owners.remove(&owner, &place);
        if was_shown {
            self.leave_address(place);
        }
        shown_now.into_iter().for_each(|place| self.enter_address(place));
    }

    pub(super) fn enter_address(&mut self, place: Place) {
        if let Some(from) = self.from(place)
            && let Some(beyond) = self.addresses.add(from, place)
        {
            if beyond == place {
                return;
            }
            self.listed.remove(&beyond);
        }
        self.listed.insert(place);
    }

    pub(super) fn leave_address(&mut self, place: Place) {
        self.listed.remove(&place);
        if let Some(from) = self.from(place) {
            self.listed.extend(self.addresses.remove(&from, &place).shown_now);
        }
    }

    pub(super) fn from(&self, place: Place) -> Option<Origin> {
        self.chats.get(&place.2)?.from
    }

    /// Sets the network from which a chat was started. Returns whether the chat is known.
    pub(super) fn came_from(&mut self, chat: ChatId, network: Origin) -> bool {
        let Some(known) = self.chats.get(&chat) else { return false };
        if known.from == Some(network) {
            return true;
        }
        let place = known.entry.as_ref().map(|entry| entry.listing.place());
        place.into_iter().for_each(|place| self.unlist(place));
        if let Some(known) = self.chats.get_mut(&chat) {
            known.from = Some(network);
        }
        place.into_iter().for_each(|place| self.list(place));
        self.version += 1;
        true
    }

    /// Does the same for a chat that may become known later.
    pub(super) fn came_from_elsewhere(&mut self, chat: ChatId, network: Origin) -> bool {
        let is_known = self.came_from(chat, network);
        if !is_known {
            if self.early_origins.len() >= EARLY_ORIGINS {
                // The nodes tell all of them again within a minute.
                self.early_origins.clear();
            }
            self.early_origins.insert(chat, network);
        }
        is_known
    }

    pub(super) fn own_origins(&self) -> Vec<(ChatId, Origin)> {
        let known = self.started_here.iter().filter_map(|chat| self.chats.get(chat));
        let public = known.filter(|known| known.entry.is_some());
        public.filter_map(|known| Some((known.chat.id, known.from?))).take(OWN_ORIGINS).collect()
    }

    pub(super) fn put(&mut self, chat: Chat, active_at: Timestamp, lifetimes: Lifetimes) {
        let id = chat.id;
        if let Some(known) = self.chats.get_mut(&id) {
            let said = |at: Option<Timestamp>| at.map_or(0, |at| at.0);
            let is_said_anew = said(chat.said_at).abs_diff(said(known.said_at)) >= SAID_MILLIS
                || known.said_at.is_some() != chat.said_at.is_some();
            let is_renamed = known.chat.title != chat.title;
            if is_renamed {
                known.folded = search::folded(chat.title.as_str()).into();
            }
            let is_different = is_renamed || known.chat.visibility != chat.visibility || is_said_anew;
            if is_different {
                known.said_at = chat.said_at;
            }
            known.chat = chat;
            if is_different {
                self.show(id);
            }
        } else {
            let known = Known {
                active_at: Timestamp::default(),
                is_expired: false,
                folded: search::folded(chat.title.as_str()).into(),
                members: 0,
                faces: Vec::new(),
                said_at: chat.said_at,
                from: self.early_origins.remove(&id),
                entry: None,
                chat,
            };
            *self.owned.entry(known.chat.owner).or_default() += 1;
            self.chats.insert(id, known);
            self.show(id);
        }
        self.touch(id, active_at, lifetimes);
    }

    pub(super) fn touch(&mut self, id: ChatId, at: Timestamp, lifetimes: Lifetimes) {
        let Some(known) = self.chats.get_mut(&id) else { return };
        self.expiries.remove(&(end(known.active_at, lifetimes), id));
        known.active_at = known.active_at.max(at);
        self.expiries.insert((end(known.active_at, lifetimes), id));
        if known.is_expired {
            known.is_expired = false;
            *self.owned.entry(known.chat.owner).or_default() += 1;
            self.expired -= 1;
            self.show(id);
        }
    }

    /// Moves the times when chats were last active by a number of milliseconds, since the clock was set.
    pub(super) fn move_times(&mut self, by: i64, lifetimes: Lifetimes) {
        self.expiries.clear();
        for (id, known) in &mut self.chats {
            known.active_at = known.active_at.moved(by);
            if !known.is_expired {
                self.expiries.insert((end(known.active_at, lifetimes), *id));
            }
        }
    }

    pub(super) fn gather(&mut self, id: ChatId, members: usize, faces: Vec<User>) {
        let Some(known) = self.chats.get_mut(&id) else { return };
        if known.members != members || known.faces != faces {
            (known.members, known.faces) = (members, faces);
            self.show(id);
        }
    }

    /// Hides the chats that have expired, swept or not. They are kept, since an activity that was noted late may still
    /// revive them.
    pub(super) fn expire(&mut self, expiry: Expiry) {
        while let Some(&(at, id)) = self.expiries.first()
            && at <= expiry.now
        {
            self.expiries.pop_first();
            if let Some(known) = self.chats.get_mut(&id).filter(|known| !known.is_expired) {
                known.is_expired = true;
                self.expired += 1;
                let owner = known.chat.owner;
                self.show(id);
                self.disown(owner);
            }
        }
    }

    pub(super) fn remove(&mut self, id: ChatId, lifetimes: Lifetimes) {
        let Some(known) = self.chats.get_mut(&id) else { return };
        let (owner, was_expired) = (known.chat.owner, known.is_expired);
        self.expiries.remove(&(end(known.active_at, lifetimes), id));
        if was_expired {
            self.version += 1;
            self.expired -= 1;
        } else {
            known.is_expired = true;
            self.show(id);
            self.disown(owner);
        }
        self.chats.remove(&id);
        self.started_here.remove(&id);
    }

    pub(super) fn disown(&mut self, owner: UserId) {
        if let MapEntry::Occupied(mut owned) = self.owned.entry(owner) {
            *owned.get_mut() -= 1;
            if *owned.get() == 0 {
                owned.remove();
            }
        }
    }
}

impl Known {
    pub(super) fn entry(&self) -> Entry {
        let Chat { id, title, started_at, .. } = &self.chat;
        let listing = Listing {
            id: *id,
            title: title.clone(),
            started_at: *started_at,
            said_at: self.chat.said_at,
            members: self.members,
            faces: self.faces.clone(),
        };
        Entry { listing, folded: Arc::clone(&self.folded) }
    }
}

fn end(active_at: Timestamp, lifetimes: Lifetimes) -> Timestamp {
    Timestamp(active_at.0.saturating_add(lifetimes.chat.millis()))
}
