//! The lobby: the counts of users and chats, and the list of public chats, those with members first. It is a conflated
//! state with a version: each page is sent the difference to what it was sent before, of the part it wants to see, at
//! most four times a second.
//!
//! The state is kept in one place, which the writer changes and which is never searched. Views are derived from it: one
//! for all pages that show the whole list, and one for each filter, shared by all pages that use it. Searches run one
//! after the other, on threads that serve no connections.

mod index;
mod listing_quota;
mod origin;
mod search;
#[cfg(test)]
mod tests;

use std::{
    cmp::Ordering,
    collections::HashSet,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    Change, Chat, ChatId, Counts, Expiry, Lifetimes, Listing, Problem, Tracked, UserId,
    lobby::{LISTINGS_LIMIT, LobbyChange, LobbyQuery},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use crate::{clock::Clock, limits::counter, presence::Presence};
use index::{Entry, Index};
use search::Searches;

pub use origin::{Origin, OriginKey};

/// The minimum time between two updates to pages.
const INTERVAL: Duration = Duration::from_millis(250);
/// The maximum time until the clock is read again, so that a leap of it is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The maximum number of requests that wait for a search. Further ones are refused with [`Problem::Busy`].
const WAITING: usize = 256;
/// The shortest search after which to pause. The next search waits for as long as the last one took, so that searches
/// use at most half of one core. A pause shorter than this is not worth sleeping for.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);

/// The lobby of this process.
pub struct Lobby {
    state: Mutex<Index>,
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
            state: Mutex::new(Index::new(listed)),
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
            | Change::Reacted(_)
            | Change::UserTouched(..)
            | Change::UserExpired(_)
            | Change::Expired { .. } => return,
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Sets the network from which a chat was started on this node, and reports it to the others. All chats of a network
    /// count against one quota.
    pub fn came_from(&self, chat: ChatId, network: Origin) {
        let mut state = self.lock();
        let is_known = state.came_from(chat, network);
        if is_known {
            state.started_here.insert(chat);
        }
        drop(state);
        if is_known {
            self.changed.notify_one();
            self.presence.report_origin(chat, network.0);
        }
    }

    /// Sets the network from which a chat was started, as another node has told. If the chat is not known yet, since this
    /// node reads the log a little later, it is set once it is.
    pub fn came_from_elsewhere(&self, chat: ChatId, network: Origin) {
        if self.lock().came_from_elsewhere(chat, network) {
            self.changed.notify_one();
        }
    }

    /// Returns the networks of the public chats that were started on this node since it started, 65,536 at most.
    pub fn own_origins(&self) -> Vec<(ChatId, Origin)> {
        self.lock().own_origins()
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
            tracing::error!(%error, "a lobby search failed");
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
            let news = lobby.lock().take_update(!is_whole);
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
    fn lock(&self) -> MutexGuard<'_, Index> {
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
