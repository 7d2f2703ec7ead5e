//! The lobby: the counts of users and chats, and the list of public chats, those with members first. It is a conflated
//! state with a version: each page is sent the difference to what it was sent before, of the part it wants to see, at
//! most four times a second.
//!
//! The state is kept in one place, which the writer changes and which is never searched. Views are derived from it: one
//! for all pages that show the whole list, and one for each filter, shared by all pages that use it. Searches run one
//! after the other, on threads that serve no connections.

mod search;
mod share;

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry as MapEntry},
    net::IpAddr,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    Change, Chat, ChatId, Counts, Expiry, Lifetimes, Listing, Problem, Timestamp, Tracked, User, UserId,
    Visibility,
    lobby::{LISTINGS_LIMIT, LobbyChange, LobbyQuery, Place},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use crate::{clock::Clock, limits::counter, presence::Presence};
use search::{News, Searches};
use share::{Freed, Shares};

/// The minimum time between two updates to pages.
const INTERVAL: Duration = Duration::from_millis(250);
/// The maximum time until the clock is read again, so that a leap of it is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How many milliseconds "last said" may be behind, so that a busy chat does not cause an update with every message.
const SAID_MILLIS: u64 = 15_000;
/// The share in the list of all sessions of one network, as a multiple of the share of one session.
const LISTED_AT_AN_ADDRESS: usize = 4;
/// The maximum number of requests that wait for a search. Further ones are refused with [`Problem::Busy`].
const WAITING: usize = 256;
/// The shortest search after which to pause. The next search waits for as long as the last one took, so that searches
/// use at most half of one core. A pause shorter than this is not worth sleeping for.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);

/// The lobby of this process.
pub struct Lobby {
    state: Mutex<State>,
    /// Notified when the state has changed.
    changed: Notify,
    /// Notified when changes were published to the whole list, for the searches to take them in.
    looked: Notify,
    /// The whole list as it was last published to pages.
    told: watch::Sender<Arc<Found>>,
    /// Locked only by the holder of `turn`, for as long as a search takes.
    searches: Mutex<Searches>,
    /// The permit to search.
    turn: Arc<Semaphore>,
    waiting: Arc<counter::Counts<()>>,
    presence: Arc<Presence>,
    lifetimes: Lifetimes,
    clock: Clock,
}

struct State {
    version: u64,
    people: usize,
    chats: HashMap<ChatId, Known>,
    /// The number of chats that have not expired, for each user who owns any.
    owned: HashMap<UserId, usize>,
    expired: usize,
    /// The public chats that have not expired and are within the shares of their owner and of their network, in the
    /// order in which they are listed.
    listed: BTreeSet<Place>,
    owners: Shares<UserId>,
    addresses: Shares<IpAddr>,
    /// The public chats that the searches have not taken in yet: added, removed or changed ones.
    news: HashSet<ChatId>,
    /// When each chat that has not expired will expire, unless it is touched before.
    expiries: BTreeSet<(Timestamp, ChatId)>,
}

struct Known {
    chat: Chat,
    active_at: Timestamp,
    is_expired: bool,
    /// The title, case-folded for filters.
    folded: Arc<str>,
    members: usize,
    faces: Vec<User>,
    said_at: Option<Timestamp>,
    /// The network from which the chat was started. `None` if that was before this process started, or from this
    /// machine.
    from: Option<IpAddr>,
    /// The chat as it is shown. `None` if it is private or has expired.
    entry: Option<Arc<Entry>>,
}

/// A public chat as it is shown. It is immutable: whenever it looks different, there is a new entry.
#[derive(Debug)]
struct Entry {
    listing: Listing,
    /// The title, case-folded for filters.
    folded: Arc<str>,
}

/// A view of the lobby, shared by all pages with the same filter.
#[derive(Debug)]
pub struct Found {
    version: u64,
    counts: Counts,
    matching: usize,
    /// The first of the matching chats, at most [`LISTINGS_LIMIT`].
    first: Arc<[Arc<Entry>]>,
}

impl Default for Found {
    fn default() -> Self {
        Self { version: 0, counts: Counts::default(), matching: 0, first: Arc::from([]) }
    }
}

/// What one page was last sent of the lobby.
pub struct LobbyCursor {
    limit: usize,
    told: watch::Receiver<Arc<Found>>,
    sent: Arc<Found>,
}

impl Lobby {
    /// Creates a lobby with the given chats, which lists at most `listed` of each owner.
    pub fn new(
        chats: Vec<Tracked<Chat>>,
        presence: Arc<Presence>,
        lifetimes: Lifetimes,
        clock: Clock,
        listed: usize,
    ) -> Self {
        let lobby = Self {
            state: Mutex::new(State::new(listed)),
            changed: Notify::new(),
            looked: Notify::new(),
            told: watch::channel(Arc::default()).0,
            searches: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
            presence,
            lifetimes,
            clock,
        };
        lobby.reset(chats);
        lobby
    }

    /// Replaces all chats with the given ones. A chat that was known keeps the later of its two times of last activity.
    pub fn reset(&self, chats: Vec<Tracked<Chat>>) {
        let mut state = self.lock();
        let there: HashSet<ChatId> = chats.iter().map(|kept| kept.value.id).collect();
        let gone: Vec<ChatId> = state.chats.keys().filter(|id| !there.contains(id)).copied().collect();
        gone.into_iter().for_each(|id| state.remove(id, self.lifetimes));
        for Tracked { value, active_at } in chats {
            state.put(value, active_at, self.lifetimes);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns the number of chats a user owns that have not expired, direct chats included.
    pub fn owned_by(&self, user: UserId) -> usize {
        self.lock().owned.get(&user).copied().unwrap_or_default()
    }

    /// Applies a committed change.
    pub fn apply(&self, change: &Change) {
        let mut state = self.lock();
        match change {
            Change::Chat(event) => {
                let before = state.chats.get(&event.chat).map(|known| known.chat.clone());
                let Some(chat) = event.apply_to(before) else { return };
                state.put(chat, event.at, self.lifetimes);
            }
            Change::ChatTouched(chat, at) => state.touch(*chat, *at, self.lifetimes),
            Change::ChatExpired(chat) => state.remove(chat.id, self.lifetimes),
            Change::ClockSet(by) => state.move_times(*by, self.lifetimes),
            Change::User { .. }
            | Change::Hidden { .. }
            | Change::InvitesSet { .. }
            | Change::UserTouched(..)
            | Change::UserExpired(_)
            | Change::Expired { .. } => return,
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Sets the network from which a chat was started. All chats of a network share a part of the list.
    pub fn came_from(&self, chat: ChatId, network: IpAddr) {
        let mut state = self.lock();
        let Some(known) = state.chats.get(&chat) else { return };
        let place = known.entry.as_ref().map(|entry| entry.listing.place());
        place.into_iter().for_each(|place| state.unlist(place));
        if let Some(known) = state.chats.get_mut(&chat) {
            known.from = Some(network);
        }
        place.into_iter().for_each(|place| state.list(place));
        state.version += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// Publishes changes to pages. Never returns. The whole list does not wait for the searches.
    pub async fn run(self: &Arc<Self>) {
        let looking = async {
            loop {
                self.look();
                self.looked.notify_one();
                sleep(INTERVAL).await;
                let sleeps = sleep(self.until_next_expiry());
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = self.presence.moved() => {}
                    () = sleeps => {}
                }
            }
        };
        let following = async {
            loop {
                self.looked.notified().await;
                self.follow().await;
            }
        };
        tokio::join!(looking, following);
    }

    /// Returns the lobby for a query, and the cursor to receive changes from.
    ///
    /// # Errors
    /// [`Problem::FilterTooLong`] if the filter is too long; [`Problem::Busy`] if too many requests wait or too many
    /// searches are in use; [`Problem::NotReadable`] if the search panicked.
    pub async fn enter(
        self: &Arc<Self>,
        wanted: LobbyQuery,
    ) -> Result<(LobbyCursor, domain::Lobby), Problem> {
        let limit = wanted.limit.min(LISTINGS_LIMIT);
        let filter = search::filter(&wanted.filter)?;
        let mut told =
            if filter.is_empty() { self.told.subscribe() } else { self.find(filter.clone()).await? };
        let told_last = told.borrow_and_update().clone();
        // The list includes a chat that the reader has only just started.
        let sent = if filter.is_empty() { self.newest(told_last) } else { told_last };
        let view = LobbyCursor { limit, told, sent };
        let Found { version, counts, matching, .. } = *view.sent;
        let listings = shown(&view.sent, limit).iter().map(|entry| entry.listing.clone()).collect();
        Ok((view, domain::Lobby { version, counts, matching, listings }))
    }

    /// Returns the counts of users and chats.
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    fn until_next_expiry(&self) -> Duration {
        let now = (self.clock)();
        let next = self.lock().expiries.first().map(|(at, _)| Duration::from_millis(at.millis_since(now)));
        next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// Takes in changes of rooms and what has expired, and publishes the whole list if it has changed.
    fn look(&self) {
        let moved: Vec<_> = self.presence.take_moved().into_iter().collect();
        let moved: Vec<_> = moved.into_iter().map(|chat| (chat, self.presence.preview(chat))).collect();
        let people = self.presence.people();
        let now = (self.clock)();
        let mut state = self.lock();
        for (chat, (members, faces)) in moved {
            state.gather(chat, members, faces);
        }
        state.expire(Expiry { now, lifetimes: self.lifetimes });
        state.count(people);
        drop(state);
        let told = self.told.borrow().clone();
        let newest = self.newest(Arc::clone(&told));
        if newest.version > told.version {
            self.told.send_replace(newest);
        }
    }

    /// Returns the whole list as it is now, or `known` if it is the same.
    fn newest(&self, known: Arc<Found>) -> Arc<Found> {
        let people = self.presence.people();
        let mut state = self.lock();
        state.count(people);
        if state.version <= known.version { known } else { Arc::new(state.found(&known)) }
    }

    /// Lets the searches take in what has changed.
    async fn follow(self: &Arc<Self>) {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return };
        let followed = self.search(turn, |_| ()).await;
        // This task is then restarted, and the searches start over.
        if let Some(panic) = followed.err().and_then(|error| error.try_into_panic().ok()) {
            resume_unwind(panic);
        }
    }

    /// Returns a receiver of what matches a filter, now and from now on.
    async fn find(self: &Arc<Self>, filter: String) -> Result<watch::Receiver<Arc<Found>>, Problem> {
        let waiting = self.waiting.add(());
        if waiting.count() > WAITING {
            return Err(Problem::Busy);
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Problem::Restarting)?;
        self.search(turn, move |searches| searches.find(&filter)).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a search failed");
            Err(Problem::NotReadable)
        })
    }

    /// Takes in what has changed and calls `look` with the searches, on a blocking thread.
    async fn search<T: Send + 'static>(
        self: &Arc<Self>,
        turn: OwnedSemaphorePermit,
        look: impl FnOnce(&mut Searches) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let lobby = Arc::clone(self);
        // The permit moves to the thread, since the caller may stop waiting for the result.
        spawn_blocking(move || {
            let began = Instant::now();
            let mut searches = lobby.searches.lock().unwrap_or_else(PoisonError::into_inner);
            let is_whole = searches.is_whole();
            let news = lobby.lock().take_news(!is_whole);
            if !is_whole {
                searches.start_over();
            }
            searches.follow(news);
            let found = look(&mut searches);
            drop(searches);
            let took = began.elapsed();
            if took >= SHORTEST_BACKOFF {
                Handle::current().spawn(async move {
                    sleep(took).await;
                    drop(turn);
                });
            }
            found
        })
        .await
    }

    /// Locks the state. After a panic it is still consistent, since every change under this lock is complete in itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LobbyCursor {
    /// Waits until there may be changes.
    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            // The lobby was dropped because the process is about to end.
            std::future::pending::<()>().await;
        }
    }

    /// Returns what has changed since this page was last sent something. `None` if it would look the same.
    pub fn news(&mut self) -> Option<LobbyChange> {
        let found = self.told.borrow_and_update().clone();
        if found.version <= self.sent.version {
            return None;
        }
        let sent = std::mem::replace(&mut self.sent, Arc::clone(&found));
        let (listed, gone) = if Arc::ptr_eq(&sent.first, &found.first) {
            Default::default()
        } else {
            difference(shown(&sent, self.limit), shown(&found, self.limit))
        };
        let Found { version, counts, matching, .. } = *found;
        let looks_the_same =
            listed.is_empty() && gone.is_empty() && (counts, matching) == (sent.counts, sent.matching);
        (!looks_the_same).then_some(LobbyChange { version, counts, matching, listed, gone })
    }
}

/// Returns the first `limit` entries.
fn shown(found: &Found, limit: usize) -> &[Arc<Entry>] {
    &found.first[..limit.min(found.first.len())]
}

/// Returns the listings that were added, changed or moved, and the ids of those that were removed, between two lists in
/// order.
fn difference(before: &[Arc<Entry>], after: &[Arc<Entry>]) -> (Vec<Listing>, Vec<ChatId>) {
    let (mut listed, mut went) = (Vec::new(), Vec::new());
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(one), Some(other)) => one.listing.place().cmp(&other.listing.place()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let one = if order.is_le() { before.next() } else { None };
        let other = if order.is_ge() { after.next() } else { None };
        match (one, other) {
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => {}
            (_, Some(other)) => listed.push(other.listing.clone()),
            (Some(one), None) => went.push(one.listing.id),
            (None, None) => {}
        }
    }
    // A listing that has moved is not removed.
    let there: HashSet<ChatId> = listed.iter().map(|listing| listing.id).collect();
    went.retain(|id| !there.contains(id));
    (listed, went)
}

impl State {
    fn new(listed: usize) -> Self {
        Self {
            version: 0,
            people: 0,
            chats: HashMap::new(),
            owned: HashMap::new(),
            expired: 0,
            listed: BTreeSet::new(),
            owners: Shares::new(listed),
            addresses: Shares::new(listed.saturating_mul(LISTED_AT_AN_ADDRESS)),
            news: HashSet::new(),
            expiries: BTreeSet::new(),
        }
    }

    fn count(&mut self, people: usize) {
        if self.people != people {
            self.people = people;
            self.version += 1;
        }
    }

    fn counts(&self) -> Counts {
        Counts { people: self.people, chats: self.chats.len() - self.expired }
    }

    /// Returns the whole list. If its entries are those of `before`, they are shared with it.
    fn found(&self, before: &Found) -> Found {
        let entry = |place: &Place| self.chats.get(&place.2)?.entry.clone();
        let first: Vec<_> = self.listed.iter().filter_map(entry).take(LISTINGS_LIMIT).collect();
        let is_same = first.len() == before.first.len()
            && first.iter().zip(&*before.first).all(|(one, other)| Arc::ptr_eq(one, other));
        let first = if is_same { Arc::clone(&before.first) } else { first.into() };
        Found { version: self.version, counts: self.counts(), matching: self.listed.len(), first }
    }

    /// Takes the changes that the searches have not taken in yet, or all chats if `is_all`.
    fn take_news(&mut self, is_all: bool) -> News {
        let news = std::mem::take(&mut self.news);
        let entry = |id: ChatId| (id, self.chats.get(&id).and_then(|known| known.entry.clone()));
        let chats = if is_all {
            self.chats.keys().copied().map(entry).filter(|(_, entry)| entry.is_some()).collect()
        } else {
            news.into_iter().map(entry).collect()
        };
        News { version: self.version, counts: self.counts(), chats }
    }

    /// Updates how a chat is shown.
    fn show(&mut self, id: ChatId) {
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

    /// Adds a chat to the list, if it is within the shares of its owner and its network.
    fn list(&mut self, place: Place) {
        let Some(owner) = self.chats.get(&place.2).map(|known| known.chat.owner) else { return };
        match self.owners.add(owner, place) {
            Some(beyond) if beyond == place => {}
            beyond => {
                beyond.into_iter().for_each(|beyond| self.leave_address(beyond));
                self.enter_address(place);
            }
        }
    }

    fn unlist(&mut self, place: Place) {
        let Some(owner) = self.chats.get(&place.2).map(|known| known.chat.owner) else { return };
        let Freed { was_shown, shown_now } = self.owners.remove(&owner, &place);
        if was_shown {
            self.leave_address(place);
        }
        shown_now.into_iter().for_each(|place| self.enter_address(place));
    }

    fn enter_address(&mut self, place: Place) {
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

    fn leave_address(&mut self, place: Place) {
        self.listed.remove(&place);
        if let Some(from) = self.from(place) {
            self.listed.extend(self.addresses.remove(&from, &place).shown_now);
        }
    }

    fn from(&self, place: Place) -> Option<IpAddr> {
        self.chats.get(&place.2)?.from
    }

    fn put(&mut self, chat: Chat, active_at: Timestamp, lifetimes: Lifetimes) {
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
                from: None,
                entry: None,
                chat,
            };
            *self.owned.entry(known.chat.owner).or_default() += 1;
            self.chats.insert(id, known);
            self.show(id);
        }
        self.touch(id, active_at, lifetimes);
    }

    fn touch(&mut self, id: ChatId, at: Timestamp, lifetimes: Lifetimes) {
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
    fn move_times(&mut self, by: i64, lifetimes: Lifetimes) {
        self.expiries.clear();
        for (id, known) in &mut self.chats {
            known.active_at = known.active_at.moved(by);
            if !known.is_expired {
                self.expiries.insert((end(known.active_at, lifetimes), *id));
            }
        }
    }

    fn gather(&mut self, id: ChatId, members: usize, faces: Vec<User>) {
        let Some(known) = self.chats.get_mut(&id) else { return };
        if known.members != members || known.faces != faces {
            (known.members, known.faces) = (members, faces);
            self.show(id);
        }
    }

    /// Hides the chats that have expired, swept or not. They are kept, since an activity that was noted late may still
    /// revive them.
    fn expire(&mut self, expiry: Expiry) {
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

    fn remove(&mut self, id: ChatId, lifetimes: Lifetimes) {
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
    }

    fn disown(&mut self, owner: UserId) {
        if let MapEntry::Occupied(mut owned) = self.owned.entry(owner) {
            *owned.get_mut() -= 1;
            if *owned.get() == 0 {
                owned.remove();
            }
        }
    }
}

impl Known {
    fn entry(&self) -> Entry {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use domain::{Event, EventKind, Nickname, Seq, Span, Title, UserId, id::ID_BYTES};

    use super::*;
    use crate::{clock, presence::GRACE};

    fn id(number: u64) -> ChatId {
        let mut bytes = [0; ID_BYTES];
        bytes[2..].copy_from_slice(&number.to_be_bytes());
        ChatId::from_bytes(bytes)
    }

    fn event(number: u64, at: u64, kind: EventKind) -> Change {
        Change::Chat(Event { chat: id(number), seq: Seq(at), prev: Seq::ZERO, at: Timestamp(at), kind })
    }

    fn started(number: u64, visibility: Visibility) -> Change {
        started_by(1, number, visibility)
    }

    fn started_by(owner: u8, number: u64, visibility: Visibility) -> Change {
        let nickname = Nickname::parse("Ana").unwrap();
        let title = Title::parse(&format!("Chat {number}")).unwrap();
        let owner = UserId::from_bytes([owner; ID_BYTES]);
        event(number, number, EventKind::Started { owner, nickname, title, visibility, guest: None })
    }

    fn lobby_at(clock: Clock, listed: usize) -> Arc<Lobby> {
        let presence = Arc::new(Presence::new(GRACE, clock::system()));
        let lifetimes = Lifetimes { chat: Span::seconds(60), ..Lifetimes::default() };
        Arc::new(Lobby::new(Vec::new(), presence, lifetimes, clock, listed))
    }

    fn lobby() -> Arc<Lobby> {
        lobby_at(Arc::new(|| Timestamp(1_000)), usize::MAX)
    }

    async fn enter(lobby: &Arc<Lobby>, filter: &str, limit: usize) -> (LobbyCursor, domain::Lobby) {
        lobby.enter(wanted(filter, limit)).await.unwrap()
    }

    /// Returns the changes for a page, after everything was taken in.
    async fn news(lobby: &Arc<Lobby>, view: &mut LobbyCursor) -> Option<LobbyChange> {
        lobby.look();
        lobby.follow().await;
        view.news()
    }

    fn wanted(filter: &str, limit: usize) -> LobbyQuery {
        LobbyQuery { filter: filter.to_owned(), limit }
    }

    fn titles(lobby: &domain::Lobby) -> Vec<&str> {
        lobby.listings.iter().map(|listing| listing.title.as_str()).collect()
    }

    #[tokio::test]
    async fn public_chats_are_listed_newest_first_and_private_ones_only_counted() {
        let lobby = lobby();
        for number in 1..=4 {
            let visibility = if number == 2 { Visibility::Private } else { Visibility::Public };
            lobby.apply(&started(number, visibility));
        }
        let (_, all) = enter(&lobby, "", 10).await;
        assert_eq!(titles(&all), ["Chat 4", "Chat 3", "Chat 1"]);
        assert_eq!((all.counts.chats, all.matching), (4, 3));
        let (_, some) = enter(&lobby, "", 2).await;
        assert_eq!((titles(&some), some.matching), (vec!["Chat 4", "Chat 3"], 3));
        let (_, found) = enter(&lobby, " CHAT 3", 2).await;
        assert_eq!((titles(&found), found.matching), (vec!["Chat 3"], 1));
        assert_eq!(enter(&lobby, "", 0).await.1.listings, []);
        let too_long = lobby.enter(wanted(&"e".repeat(101), 10)).await;
        assert_eq!(too_long.err(), Some(Problem::FilterTooLong));
    }

    /// Whatever happens, a page that applies the differences shows the same as a new page.
    #[tokio::test]
    async fn differences_lead_to_what_there_is() {
        let lobby = lobby();
        for number in 1..=8 {
            lobby.apply(&started(number, Visibility::Public));
        }
        let mut seats = Vec::new();
        for (filter, limit) in [("", 3), ("new", 5), ("", 0), ("chat", 4)] {
            let (mut view, mut page) = enter(&lobby, filter, limit).await;
            let nickname = || Nickname::parse("Ana").unwrap();
            let title = |text: &str| Title::parse(text).unwrap();
            let steps = [
                Some(event(8, 20, EventKind::TitleEdited { nickname: nickname(), title: title("new") })),
                Some(event(1, 21, EventKind::TitleEdited { nickname: nickname(), title: title("NEW") })),
                // A user enters a chat that is not in view.
                None,
                Some(event(
                    7,
                    22,
                    EventKind::VisibilitySet { nickname: nickname(), visibility: Visibility::Private },
                )),
                Some(started(9, Visibility::Public)),
                Some(event(
                    7,
                    23,
                    EventKind::VisibilitySet { nickname: nickname(), visibility: Visibility::Public },
                )),
                Some(Change::ChatExpired(chat_of(&started(9, Visibility::Public)))),
                Some(event(8, 24, EventKind::TitleEdited { nickname: nickname(), title: title("Chat 8") })),
            ];
            for step in steps {
                match step {
                    Some(step) => lobby.apply(&step),
                    None => {
                        let user = User::new(UserId::from_bytes([seats.len() as u8; ID_BYTES]));
                        seats.push(lobby.presence.join(id(2), user, Arc::default()));
                    }
                }
                if let Some(change) = news(&lobby, &mut view).await {
                    page.apply(change);
                }
                let there_is = enter(&lobby, filter, limit).await.1;
                assert_eq!(page.listings, there_is.listings, "{filter}");
                assert_eq!((page.counts, page.matching), (there_is.counts, there_is.matching));
                assert_eq!(news(&lobby, &mut view).await, None, "nothing is told twice");
            }
        }
    }

    #[tokio::test]
    async fn people_come_first_and_one_owner_or_address_has_a_share_of_the_list() {
        let lobby = lobby_at(Arc::new(|| Timestamp(1_000)), 2);
        (1..=5).for_each(|number| lobby.apply(&started_by(1, number, Visibility::Public)));
        lobby.apply(&started_by(2, 6, Visibility::Public));
        assert_eq!(titles(&enter(&lobby, "", 10).await.1), ["Chat 6", "Chat 5", "Chat 4"]);
        assert_eq!(enter(&lobby, "chat", 10).await.1.matching, 6, "whoever looks for one finds it");
        // An empty chat makes room for one with a member.
        let (mut view, mut page) = enter(&lobby, "", 10).await;
        let somebody = User::new(UserId::from_bytes([9; ID_BYTES]));
        let member_guard = lobby.presence.join(id(1), somebody, Arc::default());
        page.apply(news(&lobby, &mut view).await.unwrap());
        assert_eq!(titles(&page), ["Chat 1", "Chat 6", "Chat 5"]);
        drop(member_guard);
        let fifth = lobby.lock().chats[&id(5)].chat.clone();
        lobby.apply(&Change::ChatExpired(fifth));
        page.apply(news(&lobby, &mut view).await.unwrap());
        assert_eq!(titles(&page), ["Chat 1", "Chat 6", "Chat 4"], "what goes makes room as well");

        let lobby = lobby_at(Arc::new(|| Timestamp(1_000)), 2);
        for number in 1..=20 {
            lobby.apply(&started_by(number as u8, number, Visibility::Public));
            lobby.came_from(id(number), [192, 0, 2, 1].into());
        }
        lobby.apply(&started_by(21, 21, Visibility::Public));
        let (_, page) = enter(&lobby, "", 100).await;
        assert_eq!((page.listings.len(), page.matching), (9, 9), "those of four sessions, and another");
        assert_eq!(titles(&page)[..2], ["Chat 21", "Chat 20"]);
        (13..=20).for_each(|number| {
            let chat = lobby.lock().chats[&id(number)].chat.clone();
            lobby.apply(&Change::ChatExpired(chat));
        });
        assert_eq!(titles(&enter(&lobby, "", 100).await.1)[..2], ["Chat 21", "Chat 12"]);
        assert_eq!(lobby.lock().listed.len(), 9);
    }

    fn chat_of(change: &Change) -> Chat {
        let Change::Chat(event) = change else { panic!("no event") };
        event.apply_to(None).unwrap()
    }

    #[tokio::test]
    async fn after_starting_over_it_is_as_it_would_have_been() {
        let lobby = lobby();
        for number in 1..=3 {
            lobby.apply(&started(number, Visibility::Public));
        }
        let (mut view, mut page) = enter(&lobby, "", 10).await;
        let kept = |number| Tracked {
            value: chat_of(&started(number, Visibility::Public)),
            active_at: Timestamp(900),
        };
        lobby.reset(vec![kept(2), kept(4)]);
        page.apply(news(&lobby, &mut view).await.unwrap());
        assert_eq!(titles(&page), ["Chat 4", "Chat 2"]);
        assert_eq!(page.counts.chats, 2);
        assert_eq!(lobby.lock().expiries.len(), 2);
    }

    #[tokio::test]
    async fn a_busy_chat_is_no_news_with_every_message() {
        let lobby = lobby();
        lobby.apply(&started(1, Visibility::Public));
        let said = |at| {
            let author = UserId::from_bytes([1; ID_BYTES]);
            let client_id = domain::ClientId::from_bytes([1; ID_BYTES]);
            let (nickname, body) = (Nickname::parse("Ana").unwrap(), domain::Body::parse("x").unwrap());
            event(1, at, EventKind::Posted(domain::Message { author, nickname, client_id, body }))
        };
        let (mut view, _) = enter(&lobby, "", 10).await;
        lobby.apply(&said(10));
        assert_eq!(news(&lobby, &mut view).await.unwrap().listed[0].said_at, Some(Timestamp(10)));
        for at in 11..1_000 {
            lobby.apply(&said(at));
        }
        assert_eq!(news(&lobby, &mut view).await, None);
        lobby.apply(&said(10 + SAID_MILLIS));
        assert!(news(&lobby, &mut view).await.is_some());
    }

    #[tokio::test]
    async fn what_has_expired_is_gone_before_it_is_swept_and_back_when_it_is_touched() {
        let time = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&time);
        let lobby = lobby_at(Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))), usize::MAX);
        lobby.apply(&started(1, Visibility::Public));
        lobby.apply(&started(2, Visibility::Private));
        let (mut view, _) = enter(&lobby, "", 10).await;
        time.store(60_000, Ordering::SeqCst);
        lobby.look();
        assert_eq!(news(&lobby, &mut view).await, None);
        time.store(60_002, Ordering::SeqCst);
        lobby.look();
        let change = news(&lobby, &mut view).await.unwrap();
        assert_eq!((change.gone, change.counts.chats, change.matching), (vec![id(1)], 0, 0));
        let owner = UserId::from_bytes([1; ID_BYTES]);
        assert_eq!(lobby.owned_by(owner), 0);
        lobby.apply(&Change::ChatTouched(id(1), Timestamp(50_000)));
        lobby.look();
        assert_eq!(titles(&enter(&lobby, "", 10).await.1), ["Chat 1"]);
        assert_eq!(lobby.owned_by(owner), 1);
        time.store(120_000, Ordering::SeqCst);
        lobby.look();
        for number in [1, 2] {
            let chat = lobby.lock().chats[&id(number)].chat.clone();
            lobby.apply(&Change::ChatExpired(chat));
        }
        let state = lobby.lock();
        assert!(state.chats.is_empty() && state.listed.is_empty() && state.expiries.is_empty());
        assert_eq!(state.expired, 0);
        assert!(state.owned.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_told_four_times_a_second_at_most() {
        let lobby = lobby();
        let running = tokio::spawn({
            let lobby = Arc::clone(&lobby);
            async move { lobby.run().await }
        });
        let mut wakes = lobby.told.subscribe();
        let mut last_wake = 0;
        for number in 1..=200 {
            lobby.apply(&started(number, Visibility::Public));
            sleep(Duration::from_millis(5)).await;
            last_wake += u32::from(wakes.has_changed().unwrap());
            wakes.mark_unchanged();
        }
        assert!((3..=5).contains(&last_wake), "{last_wake} in a second");
        running.abort();
    }

    #[tokio::test]
    async fn who_is_there_is_shown() {
        let lobby = lobby();
        lobby.apply(&started(1, Visibility::Public));
        let users: Vec<_> = (1..=5).map(|n| User::new(UserId::from_bytes([n; ID_BYTES]))).collect();
        let _seats: Vec<_> =
            users.iter().map(|user| lobby.presence.join(id(1), user.clone(), Arc::default())).collect();
        let _stay = lobby.presence.arrive(users[0].id, Arc::default());
        lobby.look();
        let (_, page) = enter(&lobby, "", 1).await;
        assert_eq!((page.listings[0].members, &page.listings[0].faces[..]), (5, &users[..3]));
        assert_eq!(page.counts.people, 1);
    }
}
