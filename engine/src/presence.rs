//! Presence: which users are online, and in which chats. It is not part of the log, but the state of the open
//! connections. A version counts every change in a room, so that each connection can be sent the difference to what it
//! was sent before.

mod room;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{Chat, ChatId, Roster, Seq, Timestamp, User, UserId, lobby::FACES};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use bytes::Bytes;

use crate::clock::Clock;

use room::Room;
pub use room::{News, SMALL_ROOM};

/// How long a user is shown as typing after their last keystroke.
pub const TYPING: Duration = Duration::from_secs(3);
/// The minimum time between two typing signals of a user. A signal that comes sooner is ignored.
pub const TYPING_SIGNALS: Duration = Duration::from_secs(1);

/// How long a user whose last connection has closed is still shown, so that a reload does not flicker.
pub const GRACE: Duration = Duration::from_secs(3);

/// The maximum time that pages take to reconnect after the server has started.
const COMING_BACK: Duration = Duration::from_secs(30);

/// The maximum number of chats in which a rename is noted. No user talks in more at once, and a rename has to stay one
/// command.
const NOTED_CHATS: usize = 64;
/// The maximum number of users, and of chats, that are remembered until they are noted in the log. Beyond it, a user
/// who leaves keeps the time at which they were noted before.
const REMEMBERED_LEFT: usize = 100_000;

/// The users who are online, and the chats they are in.
pub struct Presence {
    state: Mutex<PresenceState>,
    /// Notified when the next deadline of [`Presence::run`] may be sooner than before.
    sooner: Notify,
    /// Notified when what the lobby shows has changed.
    moved: Notify,
    /// Notified when a user has gone offline.
    left: Notify,
    /// Notified when a user has come online, or when a chat has its first member.
    came: Notify,
    grace: Duration,
    clock: Clock,
    clock_sets: AtomicU64,
    begun: Instant,
}

#[derive(Default)]
struct PresenceState {
    people: HashMap<UserId, Person>,
    rooms: HashMap<ChatId, Room>,
    /// The chats that each user is in, so that a rename need not search all rooms.
    places: HashMap<UserId, HashSet<ChatId>>,
    /// When each member without a connection leaves their room, unless they return. At most one entry for each of them,
    /// plus entries of members who have returned; those are skipped.
    departures: BTreeSet<(Instant, ChatId, UserId)>,
    /// When each user without a connection goes offline, unless they return.
    offline_at: BTreeSet<(Instant, UserId)>,
    /// When each member stops typing, unless they go on: a few entries at most for each member.
    typing_until: BTreeSet<(Instant, ChatId, UserId)>,
    /// When each large room is notified of its changes.
    wakes: BTreeSet<(Instant, ChatId)>,
    /// The rooms whose members have changed since the lobby last asked.
    moved: HashSet<ChatId>,
    /// The users who have gone and the rooms that have become empty since [`Presence::take_seen`], and when that was.
    seen: Seen,
    /// The users who have come online and the rooms that were entered since [`Presence::take_came`].
    came: Seen,
    /// The users who have gone offline since [`Presence::take_gone`].
    gone: Vec<UserId>,
    next_connection: u64,
    next_holder: u64,
}

/// A user with at least one open page, or who had one until less than the grace period ago.
#[derive(Default)]
struct Person {
    connections: Vec<(u64, Arc<Notify>)>,
    leaves_at: Option<Instant>,
}

/// The time that stands for "online now", whatever the time is. The log limits what is noted to the time of the entry.
pub const STILL_HERE: Timestamp = Timestamp(u64::MAX);

/// When users and chats were last active.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When each user was last online.
    pub users: HashMap<UserId, Timestamp>,
    /// When each chat last had a member.
    pub chats: HashMap<ChatId, Timestamp>,
}

/// A guard that keeps a user online. Dropping it closes the connection, however it ended.
pub struct OnlineGuard {
    presence: Arc<Presence>,
    user: UserId,
    connection: u64,
}

/// A guard that keeps a user in a chat. Dropping it leaves the chat, however the connection ended.
pub struct MemberGuard {
    presence: Arc<Presence>,
    chat: ChatId,
    user: UserId,
    watcher: u64,
}

impl Presence {
    /// Creates an empty presence. Users whose last guard is dropped are shown for `grace` longer.
    pub fn new(grace: Duration, clock: Clock) -> Self {
        let [sooner, moved, left, came] = [(); 4].map(|()| Notify::new());
        let clock_sets = AtomicU64::new(0);
        let begun = Instant::now();
        Self { state: Mutex::default(), sooner, moved, left, came, grace, clock, clock_sets, begun }
    }

    /// Opens a connection of a user. `wake_user` is notified whenever their invites may have changed.
    pub fn arrive(self: &Arc<Self>, user: UserId, wake_user: Arc<Notify>) -> OnlineGuard {
        let mut state = self.lock();
        let connection = state.next_connection;
        state.next_connection += 1;
        let is_new = !state.people.contains_key(&user);
        let person = state.people.entry(user).or_default();
        person.connections.push((connection, wake_user));
        person.leaves_at = None;
        if is_new {
            state.came.note(Some(user), None, STILL_HERE);
            self.moved.notify_one();
            self.came.notify_one();
        }
        drop(state);
        OnlineGuard { presence: Arc::clone(self), user, connection }
    }

    /// Returns whether a user is online: has an open page, or had one until less than the grace period ago.
    pub fn is_here(&self, user: UserId) -> bool {
        self.lock().people.contains_key(&user)
    }

    /// Returns the number of users who are online.
    pub fn people(&self) -> usize {
        self.lock().people.len()
    }

    /// Returns how often the clock was set.
    pub fn clock_sets(&self) -> u64 {
        self.clock_sets.load(Ordering::Relaxed)
    }

    /// Counts that the clock was set, and wakes all connections, so that they send the time to their clients.
    pub fn tell_time(&self) {
        self.clock_sets.fetch_add(1, Ordering::Relaxed);
        self.lock()
            .people
            .values()
            .flat_map(|person| &person.connections)
            .for_each(|(_, wake_user)| wake_user.notify_one());
    }

    /// Wakes all connections of a user, since their invites may have changed.
    pub fn wake_user(&self, user: UserId) {
        if let Some(person) = self.lock().people.get(&user) {
            person.connections.iter().for_each(|(_, wake_user)| wake_user.notify_one());
        }
    }

    /// Adds a user to a chat. A user with three tabs has three guards and is one member. `wake` is notified of every
    /// change in the room.
    pub fn join(self: &Arc<Self>, chat: ChatId, user: User, wake: Arc<Notify>) -> MemberGuard {
        self.add_holder(chat, None, user, wake)
    }

    /// Does the same as [`Presence::join`] for a chat that was read, which also gives the room its owner and whether
    /// names are locked.
    pub fn join_in(self: &Arc<Self>, chat: &Chat, user: User, wake: Arc<Notify>) -> MemberGuard {
        self.add_holder(chat.id, Some(chat), user, wake)
    }

    fn add_holder(
        self: &Arc<Self>,
        chat: ChatId,
        known: Option<&Chat>,
        user: User,
        wake: Arc<Notify>,
    ) -> MemberGuard {
        let (id, now) = (user.id, Instant::now());
        let mut state = self.lock();
        // Unique among all rooms, since a guard can outlive its room, and a new room may have taken its place.
        let watcher = state.next_holder;
        state.next_holder += 1;
        let PresenceState { rooms, places, wakes, moved, came, .. } = &mut *state;
        places.entry(id).or_default().insert(chat);
        let room = rooms.entry(chat).or_default();
        if room.is_empty() {
            came.note(None, Some(chat), STILL_HERE);
            self.came.notify_one();
        }
        room.watch(watcher, wake);
        if let Some(known) = known {
            room.owner = Some(known.owner);
            room.lock_names(known.is_locked, known.seq);
        }
        if room.add_holder(watcher, user, now) {
            moved.insert(chat);
            self.moved.notify_one();
        }
        wakes.extend(room.wake(now).map(|at| (at, chat)));
        drop(state);
        self.sooner.notify_one();
        MemberGuard { presence: Arc::clone(self), chat, user: id, watcher }
    }

    /// Changes the nickname of a user in all rooms they are in.
    pub fn rename(&self, user: &User) {
        let now = Instant::now();
        let mut state = self.lock();
        let PresenceState { rooms, places, wakes, moved, .. } = &mut *state;
        for chat in places.get(&user.id).into_iter().flatten() {
            let Some(room) = rooms.get_mut(chat) else { continue };
            if room.rename(user) {
                wakes.extend(room.wake(now).map(|at| (at, *chat)));
                moved.insert(*chat);
                self.moved.notify_one();
            }
        }
        drop(state);
        self.sooner.notify_one();
    }

    /// Locks or unlocks the names in a chat as of a sequence number. While they are locked, members keep the names they
    /// have, and new members are not named.
    pub fn lock_names(&self, chat: ChatId, is_locked: bool, seq: Seq) {
        let now = Instant::now();
        let mut state = self.lock();
        let PresenceState { rooms, wakes, moved, .. } = &mut *state;
        let Some(room) = rooms.get_mut(&chat) else { return };
        if room.lock_names(is_locked, seq) {
            wakes.extend(room.wake(now).map(|at| (at, chat)));
            moved.insert(chat);
            self.moved.notify_one();
        }
        drop(state);
        self.sooner.notify_one();
    }

    /// Returns the members of a chat who came at most `since` ago. Members who come within 30 seconds after the server
    /// has started are taken to have been there before.
    pub fn newcomers(&self, chat: ChatId, since: Duration) -> Vec<UserId> {
        let known = self.begun.elapsed().saturating_sub(COMING_BACK);
        self.lock().rooms.get(&chat).map(|room| room.newcomers(since.min(known))).unwrap_or_default()
    }

    /// Removes a user from a chat, invalidates their guards, and notifies the members.
    pub fn remove(&self, chat: ChatId, user: UserId) {
        let (now, time) = (Instant::now(), (self.clock)());
        let mut state = self.lock();
        let Some(room) = state.rooms.get_mut(&chat) else { return };
        if room.remove(user) {
            state.left(chat, user, now, time);
            drop(state);
            self.moved.notify_one();
            self.sooner.notify_one();
        }
    }

    /// Removes all members from a chat that has ended, and invalidates their guards.
    pub fn close(&self, chat: ChatId) {
        let (now, time) = (Instant::now(), (self.clock)());
        let mut state = self.lock();
        let Some(users) = state.rooms.get(&chat).map(Room::users) else { return };
        for user in users {
            if state.rooms.get_mut(&chat).is_some_and(|room| room.remove(user)) {
                state.left(chat, user, now, time);
            }
        }
        drop(state);
        self.moved.notify_one();
        self.sooner.notify_one();
    }

    /// Returns the chats a user is in, 64 at most.
    pub fn chats_of(&self, user: UserId) -> Vec<ChatId> {
        self.lock().places.get(&user).into_iter().flatten().copied().take(NOTED_CHATS).collect()
    }

    /// Returns whether there is a chat that both users are in.
    pub fn are_together(&self, one: UserId, other: UserId) -> bool {
        let state = self.lock();
        let (Some(ones), Some(others)) = (state.places.get(&one), state.places.get(&other)) else {
            return false;
        };
        ones.iter().any(|chat| others.contains(chat))
    }

    /// Returns whether a user is in a chat.
    pub fn is_in(&self, chat: ChatId, user: UserId) -> bool {
        self.lock().places.get(&user).is_some_and(|chats| chats.contains(&chat))
    }

    /// Returns the roster of a chat. Empty if it has no members.
    pub fn roster(&self, chat: ChatId) -> Roster {
        self.lock().rooms.get(&chat).map(Room::roster).unwrap_or_default()
    }

    /// Returns the number of members of a chat, and the first of them.
    pub fn preview(&self, chat: ChatId) -> (usize, Vec<User>) {
        self.lock().rooms.get(&chat).map(|room| room.preview(FACES)).unwrap_or_default()
    }

    /// Notes that a user has posted a message in a chat, and is therefore not typing any more.
    pub fn said(&self, chat: ChatId, user: UserId) {
        let mut state = self.lock();
        let PresenceState { rooms, wakes, .. } = &mut *state;
        if let Some(room) = rooms.get_mut(&chat)
            && room.type_until(user, None)
        {
            wakes.extend(room.wake(Instant::now()).map(|at| (at, chat)));
            self.sooner.notify_one();
        }
    }

    /// Notes that a page without a WebSocket was loaded, which keeps its user and its chat from expiring as an open
    /// connection does.
    pub fn looked(&self, user: Option<UserId>, chat: Option<ChatId>) {
        if user.is_none() && chat.is_none() {
            return;
        }
        let now = (self.clock)();
        self.lock().came.note(user, chat, now);
        self.came.notify_one();
    }

    /// Waits until what the lobby shows may have changed.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Takes the rooms whose members have changed since the last call.
    pub fn take_moved(&self) -> HashSet<ChatId> {
        mem::take(&mut self.lock().moved)
    }

    /// Waits until a user has gone offline.
    pub async fn user_left(&self) {
        self.left.notified().await;
    }

    /// Takes the users who have gone offline since the last call, without those who have returned.
    pub fn take_gone(&self) -> Vec<UserId> {
        let mut state = self.lock();
        let mut gone = mem::take(&mut state.gone);
        gone.retain(|user| !state.people.contains_key(user));
        gone
    }

    /// Takes the users and rooms that have been here since the last call, those that still are included.
    pub fn take_seen(&self) -> Seen {
        let mut state = self.lock();
        let mut seen = mem::take(&mut state.seen);
        seen.users.extend(state.people.keys().map(|user| (*user, STILL_HERE)));
        seen.chats.extend(state.rooms.keys().map(|chat| (*chat, STILL_HERE)));
        seen
    }

    /// Waits until a user has come online, or a chat has its first member.
    pub async fn user_came(&self) {
        self.came.notified().await;
    }

    /// Takes the users who have come online and the rooms that were entered since the last call. They may be about to
    /// expire.
    pub fn take_came(&self) -> Seen {
        mem::take(&mut self.lock().came)
    }

    /// Puts back some of what [`Presence::take_came`] returned, to be returned by [`Presence::take_seen`]. Users and
    /// rooms that are still here are returned by that anyway.
    pub fn defer(&self, later: Seen) {
        let mut state = self.lock();
        let looked = |at: &Timestamp| *at != STILL_HERE;
        for (user, at) in later.users.into_iter().filter(|(_, at)| looked(at)) {
            state.seen.note(Some(user), None, at);
        }
        for (chat, at) in later.chats.into_iter().filter(|(_, at)| looked(at)) {
            state.seen.note(None, Some(chat), at);
        }
    }

    /// Returns all users who are online.
    pub fn online_users(&self) -> Vec<UserId> {
        self.lock().people.keys().copied().collect()
    }

    /// Lets users leave when their grace period is over, and ends their typing when it times out. Never returns.
    pub async fn run(&self) {
        loop {
            let next = self.lock().next_deadline();
            let deadline = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = deadline => self.depart(Instant::now()),
                () = self.sooner.notified() => {}
            }
        }
    }

    fn depart(&self, now: Instant) {
        let time = (self.clock)();
        let mut state = self.lock();
        while let Some(&(at, chat, user)) = state.departures.first()
            && at <= now
        {
            state.departures.pop_first();
            if state.leave(chat, user, at, now, time) {
                self.moved.notify_one();
            }
        }
        while let Some(&(at, user)) = state.offline_at.first()
            && at <= now
        {
            state.offline_at.pop_first();
            if state.go(user, at, time) {
                self.moved.notify_one();
                self.left.notify_one();
            }
        }
        let PresenceState { rooms, typing_until, wakes, .. } = &mut *state;
        while let Some(&(at, chat, user)) = typing_until.first()
            && at <= now
        {
            typing_until.pop_first();
            if let Some(room) = rooms.get_mut(&chat)
                && room.pause(user, at)
            {
                wakes.extend(room.wake(now).map(|at| (at, chat)));
            }
        }
        while let Some(&(at, chat)) = wakes.first()
            && at <= now
        {
            wakes.pop_first();
            if let Some(room) = rooms.get_mut(&chat) {
                wakes.extend(room.wake_late(now).map(|at| (at, chat)));
            }
        }
    }

    /// Locks the state. After a panic it is still consistent, since every change under this lock is complete in itself.
    fn lock(&self) -> MutexGuard<'_, PresenceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PresenceState {
    fn next_deadline(&self) -> Option<Instant> {
        let first = |deadlines: &BTreeSet<(Instant, ChatId, UserId)>| deadlines.first().map(|(at, ..)| *at);
        let farewell = self.offline_at.first().map(|(at, _)| *at);
        let wake = self.wakes.first().map(|(at, _)| *at);
        [first(&self.departures), first(&self.typing_until), farewell, wake].into_iter().flatten().min()
    }

    /// Lets a member leave who was to leave at `at`. Returns `false` if they have returned.
    fn leave(&mut self, chat: ChatId, user: UserId, at: Instant, now: Instant, time: Timestamp) -> bool {
        let Some(room) = self.rooms.get_mut(&chat) else { return false };
        if !room.leave(user, at) {
            return false;
        }
        self.left(chat, user, now, time);
        true
    }

    /// Updates everything that depends on a user being in a room, after they have left it.
    fn left(&mut self, chat: ChatId, user: UserId, now: Instant, time: Timestamp) {
        let Some(room) = self.rooms.get_mut(&chat) else { return };
        self.wakes.extend(room.wake(now).map(|at| (at, chat)));
        if room.is_empty() {
            self.rooms.remove(&chat);
            self.seen.note(None, Some(chat), time);
        }
        if let Some(places) = self.places.get_mut(&user) {
            places.remove(&chat);
            if places.is_empty() {
                self.places.remove(&user);
            }
        }
        self.moved.insert(chat);
    }

    /// Lets a user go offline who was to go at `at`. Returns `false` if they have returned.
    fn go(&mut self, user: UserId, at: Instant, time: Timestamp) -> bool {
        if self.people.get(&user).is_none_or(|person| person.leaves_at != Some(at)) {
            return false;
        }
        self.people.remove(&user);
        self.seen.note(Some(user), None, time);
        if self.gone.len() < REMEMBERED_LEFT {
            self.gone.push(user);
        }
        true
    }
}

impl Seen {
    fn note(&mut self, user: Option<UserId>, chat: Option<ChatId>, at: Timestamp) {
        if self.users.len() < REMEMBERED_LEFT {
            self.users.extend(user.map(|user| (user, at)));
        }
        if self.chats.len() < REMEMBERED_LEFT {
            self.chats.extend(chat.map(|chat| (chat, at)));
        }
    }
}

impl MemberGuard {
    /// Notes that the user is typing. A signal less than a second after the last one, from any of their guards, has no
    /// effect.
    pub fn typing(&self) {
        let now = Instant::now();
        let until = now + TYPING;
        let mut state = self.presence.lock();
        let PresenceState { rooms, typing_until, wakes, .. } = &mut *state;
        let Some(room) = rooms.get_mut(&self.chat) else { return };
        if room.typing_until(self.user).is_some_and(|last| until < last + TYPING_SIGNALS) {
            return;
        }
        if room.type_until(self.user, Some(until)) {
            wakes.extend(room.wake(now).map(|at| (at, self.chat)));
        }
        typing_until.insert((until, self.chat, self.user));
        drop(state);
        self.presence.sooner.notify_one();
    }

    /// Returns whether the guard is still valid: removing the user from the chat invalidates it.
    pub fn is_kept(&self) -> bool {
        let state = self.presence.lock();
        state.rooms.get(&self.chat).is_some_and(|room| room.is_holder(self.user, self.watcher))
    }

    /// Returns what has changed in the room since a version, encoded by `encode`, and the version this leads to. With
    /// `None` as the known version, the whole roster is encoded. Returns `None` if there is nothing new.
    pub fn news(
        &self,
        known: Option<u64>,
        encode: impl FnOnce(News) -> Option<Bytes>,
    ) -> Option<(u64, Bytes)> {
        self.presence.lock().rooms.get_mut(&self.chat)?.tell(known, Instant::now(), encode)
    }
}

impl Drop for MemberGuard {
    fn drop(&mut self) {
        let at = Instant::now() + self.presence.grace;
        let mut state = self.presence.lock();
        let Some(room) = state.rooms.get_mut(&self.chat) else { return };
        if room.remove_holder(self.watcher, self.user, at) {
            state.departures.insert((at, self.chat, self.user));
            drop(state);
            self.presence.sooner.notify_one();
        }
    }
}

impl Drop for OnlineGuard {
    fn drop(&mut self) {
        let at = Instant::now() + self.presence.grace;
        let mut state = self.presence.lock();
        let Some(person) = state.people.get_mut(&self.user) else { return };
        person.connections.retain(|(connection, _)| *connection != self.connection);
        if person.connections.is_empty() {
            person.leaves_at = Some(at);
            state.offline_at.insert((at, self.user));
            drop(state);
            self.presence.sooner.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Nickname, id::ID_BYTES, roster::RosterChange};
    use futures_util::FutureExt;
    use tokio::time::{advance, sleep};

    use super::{
        room::{BATCH_INTERVAL, REMEMBERED_CHANGES},
        *,
    };
    use crate::clock;

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

    fn user(number: u8, name: &str) -> User {
        User { id: UserId::from_bytes([number; ID_BYTES]), nickname: Nickname::parse(name).unwrap() }
    }

    fn presence() -> Arc<Presence> {
        Arc::new(Presence::new(GRACE, clock::system()))
    }

    /// Returns the news for a connection that knows a version.
    fn news(member_guard: &MemberGuard, known: Option<u64>) -> Option<News> {
        let (version, bytes) = member_guard.news(known, |news| {
            let bytes = match news {
                News::Whole(roster) => serde_json::to_vec(&(Some(roster), None::<RosterChange>)),
                News::Change(change) => serde_json::to_vec(&(None::<Roster>, Some(change))),
            };
            Some(bytes.unwrap().into())
        })?;
        match serde_json::from_slice::<(Option<Roster>, Option<RosterChange>)>(&bytes).unwrap() {
            (Some(roster), _) => {
                assert_eq!(roster.version, version);
                Some(News::Whole(roster))
            }
            (None, change) => {
                assert_eq!(change.as_ref().map(|change| change.version), Some(version));
                change.map(News::Change)
            }
        }
    }

    fn names(presence: &Presence) -> Vec<String> {
        presence.roster(CHAT).members.iter().map(|member| member.nickname.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_with_three_tabs_is_one_member_until_the_last_closes() {
        let presence = presence();
        let mut holders: Vec<_> =
            (0..3).map(|_| presence.join(CHAT, user(1, "Ana"), Arc::default())).collect();
        assert_eq!(names(&presence), ["Ana"]);
        let version = presence.roster(CHAT).version;
        holders.truncate(1);
        advance(GRACE * 2).await;
        presence.depart(Instant::now());
        assert_eq!(presence.roster(CHAT).version, version, "nobody sees tabs come and go");
        drop(holders);
        presence.depart(Instant::now() + GRACE);
        assert_eq!(names(&presence), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_does_not_flicker() {
        let presence = presence();
        let _other = presence.join(CHAT, user(2, "Bea"), Arc::default());
        let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
        let version = presence.roster(CHAT).version;
        drop(member_guard);
        advance(GRACE / 2).await;
        let _seat = presence.join(CHAT, user(1, "Ana"), Arc::default());
        advance(GRACE * 2).await;
        presence.depart(Instant::now());
        assert_eq!(presence.roster(CHAT).version, version);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_stays_away_leaves_by_the_running_task() {
        let presence = presence();
        let running = tokio::spawn({
            let presence = Arc::clone(&presence);
            async move { presence.run().await }
        });
        let wake = Arc::default();
        let _other = presence.join(CHAT, user(2, "Bea"), Arc::clone(&wake));
        drop(presence.join(CHAT, user(1, "Ana"), Arc::default()));
        while names(&presence) != ["Bea"] {
            wake.notified().await;
        }
        running.abort();
    }

    #[test]
    fn a_watcher_is_told_the_difference_to_what_it_knows() {
        let presence = presence();
        let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
        let Some(News::Whole(mut mine)) = news(&member_guard, None) else { panic!("nothing") };
        assert_eq!(news(&member_guard, Some(mine.version)), None);
        let _bea = presence.join(CHAT, user(2, "Bea"), Arc::default());
        drop(presence.join(CHAT, user(3, "Cy"), Arc::default()));
        presence.depart(Instant::now() + GRACE * 2);
        presence.rename(&user(1, "Anna"));
        let Some(News::Change(change)) = news(&member_guard, Some(mine.version)) else { panic!("nothing") };
        mine.apply(change);
        assert_eq!(mine, presence.roster(CHAT));
    }

    #[tokio::test(start_paused = true)]
    async fn typing_lasts_for_three_seconds_after_the_last_signal_or_until_it_is_said() {
        let presence = presence();
        let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
        let is_typing = || presence.roster(CHAT).members[0].typing;
        assert!(!is_typing());
        for _ in 0..3 {
            member_guard.typing();
            let version = presence.roster(CHAT).version;
            for _ in 0..1_000 {
                member_guard.typing();
            }
            assert_eq!(presence.lock().typing_until.len(), 1, "many signals are one");
            advance(TYPING - Duration::from_millis(10)).await;
            presence.depart(Instant::now());
            assert!(is_typing());
            member_guard.typing();
            assert_eq!(presence.roster(CHAT).version, version, "going on is no change");
            advance(TYPING - Duration::from_millis(10)).await;
            presence.depart(Instant::now());
            assert!(is_typing());
            advance(Duration::from_millis(10)).await;
            presence.depart(Instant::now());
            assert!(!is_typing());
        }
        member_guard.typing();
        presence.said(CHAT, user(1, "Ana").id);
        assert!(!is_typing());
    }

    #[test]
    fn a_watcher_far_behind_is_told_everything() {
        let presence = presence();
        let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
        for round in 0..REMEMBERED_CHANGES {
            presence.rename(&user(1, &format!("Ana {round}")));
        }
        assert!(matches!(news(&member_guard, Some(0)), Some(News::Whole(_))));
        assert!(matches!(news(&member_guard, Some(1)), Some(News::Change(_))));
    }

    #[test]
    fn nothing_is_left_of_an_empty_room() {
        let presence = presence();
        let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
        member_guard.typing();
        drop(member_guard);
        presence.depart(Instant::now() + GRACE * 2);
        let state = presence.lock();
        assert!(state.rooms.is_empty() && state.places.is_empty() && state.departures.is_empty());
        assert!(state.typing_until.is_empty() && state.wakes.is_empty());
    }

    fn numbered(number: u32) -> User {
        let mut bytes = [0; ID_BYTES];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        User::new(UserId::from_bytes(bytes))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_room_is_told_in_batches_and_names_only_those_who_came_last() {
        let presence = presence();
        let wake = Arc::default();
        let member_guard = presence.join(CHAT, numbered(0), Arc::clone(&wake));
        let mut known = Roster::default();
        let mut holders = Vec::new();
        let catch_up =
            |member_guard: &MemberGuard, known: &mut Roster| match news(member_guard, Some(known.version)) {
                Some(News::Whole(roster)) => *known = roster,
                Some(News::Change(change)) => known.apply(change),
                None => {}
            };
        let mut wakes = 0;
        for number in 1..=300 {
            holders.push(presence.join(CHAT, numbered(number), Arc::default()));
            if number % 10 == 0 {
                catch_up(&member_guard, &mut known);
                // Whether the watcher was notified.
                let rang = tokio::select! { biased; () = wake.notified() => true, () = std::future::ready(()) => false };
                wakes += u32::from(rang);
            }
        }
        assert!(wakes <= 1 + SMALL_ROOM as u32 / 10, "one batch at a time: {wakes}");
        catch_up(&member_guard, &mut known);
        presence.depart(Instant::now() + BATCH_INTERVAL);
        wake.notified().await;
        holders.drain(250..).for_each(drop);
        presence.depart(Instant::now() + GRACE);
        catch_up(&member_guard, &mut known);
        assert_eq!(known, presence.roster(CHAT));
        assert_eq!((known.count, known.members.len()), (251, domain::roster::ROSTER_LIMIT));
        holders.drain(..200).for_each(drop);
        presence.depart(Instant::now() + GRACE);
        catch_up(&member_guard, &mut known);
        assert_eq!(known, presence.roster(CHAT));
        assert_eq!((known.count, known.members.len()), (51, 51));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_large_room_those_who_know_as_much_are_told_the_same_bytes_and_all_end_up_knowing_all() {
        let presence = presence();
        let join = |number| {
            let wake = Arc::default();
            (presence.join(CHAT, numbered(number), Arc::clone(&wake)), wake)
        };
        let next_batch = async || {
            advance(BATCH_INTERVAL).await;
            presence.depart(Instant::now());
        };
        let mut watchers: Vec<_> = (0..300).map(join).collect();
        next_batch().await;
        let times = std::cell::Cell::new(0);
        let tell = |(member_guard, _): &(MemberGuard, Arc<Notify>), known| {
            let encoded = |_| {
                times.set(times.get() + 1);
                Some(Bytes::from_static(b"{}"))
            };
            member_guard.news(known, encoded)
        };
        let first: HashSet<_> = watchers.iter().map(|watcher| tell(watcher, None)).collect();
        assert_eq!((first.len(), times.get()), (1, 1));
        let known = first.iter().flatten().map(|(version, _)| *version).next();
        // Connections that join before the next batch get what the others got, and are notified with them.
        watchers.extend((300..310).map(join));
        assert_eq!(watchers[300..].iter().map(|watcher| tell(watcher, None)).collect::<HashSet<_>>(), first);
        next_batch().await;
        for (_, wake) in &watchers {
            wake.notified().await;
        }
        let Some(News::Change(change)) = news(&watchers[0].0, known) else { panic!("nothing") };
        assert_eq!((change.count, change.version), (310, presence.roster(CHAT).version));
        assert!(watchers.iter().all(|watcher| tell(watcher, known).is_some() && times.get() == 1));
        assert_eq!(news(&watchers[309].0, None), Some(News::Whole(presence.roster(CHAT))));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_large_room_the_end_of_typing_is_told_with_the_next_batch() {
        let presence = presence();
        let running = tokio::spawn({
            let presence = Arc::clone(&presence);
            async move { presence.run().await }
        });
        let members: Vec<_> =
            (0..300).map(|number| presence.join(CHAT, numbered(number), Arc::default())).collect();
        let typing = || presence.roster(CHAT).members.iter().filter(|member| member.typing).count();
        sleep(BATCH_INTERVAL * 2).await;
        members[299].typing();
        sleep(BATCH_INTERVAL * 2).await;
        assert_eq!(typing(), 1);
        // the next batch has just been sent
        let wake = Arc::<Notify>::default();
        let _watching = presence.join(CHAT, numbered(400), Arc::clone(&wake));
        sleep(Duration::from_millis(1)).await;
        while wake.notified().now_or_never().is_some() {}
        presence.said(CHAT, numbered(299).id);
        // long before the dots would have gone by themselves
        tokio::time::timeout(BATCH_INTERVAL * 2, wake.notified()).await.unwrap();
        assert_eq!(typing(), 0);
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_was_seen_until_then_and_is_told_of_once() {
        let presence = presence();
        let stays = [(); 2].map(|()| presence.arrive(numbered(1).id, Arc::default()));
        let member_guard = presence.join(CHAT, numbered(1), Arc::default());
        assert_eq!((presence.people(), presence.preview(CHAT).0), (1, 1));
        assert!(presence.take_seen().users.contains_key(&numbered(1).id));
        drop(stays);
        drop(member_guard);
        assert!(presence.take_seen().chats.contains_key(&CHAT), "for the grace, they are here");
        let _back = presence.arrive(numbered(1).id, Arc::default());
        presence.depart(Instant::now() + GRACE);
        assert_eq!((presence.people(), presence.take_gone().len()), (1, 0));
        drop(_back);
        presence.depart(Instant::now() + GRACE);
        assert_eq!(presence.take_gone(), [numbered(1).id]);
        assert_eq!(presence.take_gone(), []);
        let seen = presence.take_seen();
        assert!(seen.users.contains_key(&numbered(1).id) && seen.chats.contains_key(&CHAT));
        assert_eq!(presence.take_seen(), Seen::default());
        assert_eq!(presence.take_moved().len(), 1);
    }
}
