//! Presence: which users are online, and in which chats. It is not part of the log, but the state of the open
//! connections. A version counts every change in a room, so that each connection can be sent the difference to what it
//! was sent before.

mod event;
mod guards;
mod last_active;
mod reactions;
mod report;
mod room;
#[cfg(test)]
mod tests;

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

use crate::clock::Clock;
pub use event::{HolderId, NodeId, PresenceEvent};
pub use guards::{MemberGuard, OnlineGuard};
pub use last_active::{LastActive, STILL_HERE};
use report::{Holders, Outgoing};
pub use report::{REPORTS_LIMIT, Report, ReportSummary, Reports};
use room::Room;
pub use room::{RosterUpdate, SMALL_ROOM};

/// How long a user is shown as typing after their last keystroke.
pub const TYPING: Duration = Duration::from_secs(3);
/// The minimum time between two typing signals of a user. A signal that comes sooner is ignored.
pub const TYPING_SIGNALS: Duration = Duration::from_secs(1);

/// How long a user whose last connection has closed is still shown, so that a reload does not flicker.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long a user has to be gone whose last connection was on a node that is not heard any more, until they are taken to
/// have left: that node may be held up, or cut off with its users.
pub const UNHEARD: Duration = Duration::from_secs(60);

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
    /// Notified when there is something to report to other nodes.
    reported: Notify,
    grace: Duration,
    clock: Clock,
    clock_sets: AtomicU64,
    begun: Instant,
    node: NodeId,
    next_holder: AtomicU64,
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
    /// The users who have gone and the rooms that have become empty since [`Presence::take_active`], and when that was.
    seen: LastActive,
    /// The users who have come online and the rooms that were entered since [`Presence::take_arrivals`].
    came: LastActive,
    /// The users who have gone offline and were not taken yet.
    gone: Vec<Gone>,
    /// Whether they are kept for now.
    keeps_gone: bool,
    /// The connections and subscriptions that each node has reported. Those of this node only if it reports them.
    nodes: HashMap<NodeId, Holders>,
    /// What this node has to report. `None` if it reports nothing, since it is alone.
    outgoing: Option<Outgoing>,
}

/// A user who has gone offline.
#[derive(Clone, Copy)]
struct Gone {
    user: UserId,
    at: Instant,
    /// Whether the connection that closed last was one of this node.
    left_here: bool,
}

/// Who has to be notified of a change.
#[derive(Default)]
struct Effects {
    /// The lobby: what it shows has changed.
    moved: bool,
    /// The expiry job: a user has come online, or a chat has its first member.
    came: bool,
    /// [`Presence::run`]: its next deadline may be sooner than before.
    sooner: bool,
    /// Nobody: it was a typing signal that has no effect.
    is_ignored: bool,
}

/// A user with at least one open page, or who had one until less than the grace period ago.
#[derive(Default)]
struct Person {
    /// The connections on all nodes, each of this node with what is notified when their invites may have changed.
    connections: Vec<(HolderId, Option<Arc<Notify>>)>,
    leaves_at: Option<Instant>,
    /// Whether the connection that closed last was one of this node.
    left_here: bool,
}

impl Person {
    /// Returns whether this node has to note that the user is online: they have a connection of this node, or may come
    /// back to any.
    fn is_used_here(&self) -> bool {
        self.connections.is_empty() || self.connections.iter().any(|(_, wake_user)| wake_user.is_some())
    }
}

impl Presence {
    /// Creates the empty presence of a node. Users whose last guard is dropped are shown for `grace` longer.
    pub fn new(node: NodeId, grace: Duration, clock: Clock) -> Self {
        let [sooner, moved, left, came, reported] = [(); 5].map(|()| Notify::new());
        let clock_sets = AtomicU64::new(0);
        let (begun, next_holder) = (Instant::now(), AtomicU64::new(0));
        let state = Mutex::default();
        Self {
            state,
            sooner,
            moved,
            left,
            came,
            reported,
            grace,
            clock,
            clock_sets,
            begun,
            node,
            next_holder,
        }
    }

    /// Applies an event of a connection of another node, with the chat as it was read here if one has joined. An event
    /// that was applied before has no effect, and neither has one of this node.
    pub fn apply(&self, event: PresenceEvent, known: Option<&Chat>) {
        let mut state = self.lock();
        if let Some(holder) = event.holder()
            && (holder.node() == self.node
                || !state.nodes.entry(holder.node()).or_default().note(Report::of(&event)))
        {
            return;
        }
        let effects = state.change(event, None, known, self.grace);
        drop(state);
        self.tell(&effects);
    }

    /// Closes all connections of a node that is gone, as if each had closed by itself.
    pub fn forget_node(&self, node: NodeId) {
        if node == self.node {
            return;
        }
        let Some(holders) = self.lock().nodes.remove(&node) else { return };
        for event in holders.ends().into_iter().filter_map(|report| report.event(node, User::new)) {
            // Locked for each, since others must not wait for all of them.
            let effects = self.lock().change(event, None, None, self.grace);
            self.tell(&effects);
        }
    }

    /// Does the same for all other nodes.
    pub fn forget_others(&self) {
        let others: Vec<_> = self.lock().nodes.keys().copied().filter(|node| *node != self.node).collect();
        others.into_iter().for_each(|node| self.forget_node(node));
    }

    /// Applies an event of this node, which may come with what is notified of changes, and with the chat as it was read.
    fn take(&self, event: PresenceEvent, wake: Option<Arc<Notify>>, known: Option<&Chat>) {
        let mut state = self.lock();
        let report = state.outgoing.is_some().then(|| Report::of(&event));
        let effects = state.change(event, wake, known, self.grace);
        // Under the lock, so that reports have the order in which the events were applied.
        let report = report.filter(|_| !effects.is_ignored);
        if let Some(report) = report {
            state.report(self.node, report);
        }
        drop(state);
        self.tell(&effects);
        if report.is_some() {
            self.reported.notify_one();
        }
    }

    fn tell(&self, effects: &Effects) {
        let Effects { moved, came, sooner, .. } = *effects;
        for (is_due, notify) in [(moved, &self.moved), (came, &self.came), (sooner, &self.sooner)] {
            if is_due {
                notify.notify_one();
            }
        }
    }

    fn new_holder(&self) -> HolderId {
        HolderId::new(self.node, self.next_holder.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens a connection of a user. `wake_user` is notified whenever their invites may have changed.
    pub fn arrive(self: &Arc<Self>, user: UserId, wake_user: Arc<Notify>) -> OnlineGuard {
        let holder = self.new_holder();
        self.take(PresenceEvent::Opened { holder, user }, Some(wake_user), None);
        OnlineGuard { presence: Arc::clone(self), user, holder }
    }

    /// Returns whether a user is online: has an open page, or had one until less than the grace period ago.
    pub fn is_here(&self, user: UserId) -> bool {
        self.lock().people.contains_key(&user)
    }

    /// Returns the number of users who are online.
    pub fn people(&self) -> usize {
        self.lock().people.len()
    }

    /// Returns the number of members of all chats; a user counts once for each chat they are in.
    pub fn members(&self) -> usize {
        self.lock().places.values().map(HashSet::len).sum()
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
            .for_each(|(_, wake_user)| wake_user.iter().for_each(|wake_user| wake_user.notify_one()));
    }

    /// Wakes all connections of a user, since their invites may have changed.
    pub fn wake_user(&self, user: UserId) {
        if let Some(person) = self.lock().people.get(&user) {
            person
                .connections
                .iter()
                .filter_map(|(_, wake)| wake.as_ref())
                .for_each(|wake| wake.notify_one());
        }
    }

    /// Adds a user to a chat. A user with three tabs has three guards and is one member. `wake` is notified of every
    /// change in the room.
    pub fn join(self: &Arc<Self>, chat: ChatId, user: User, wake: Arc<Notify>) -> MemberGuard {
        self.subscribe(chat, None, user, wake)
    }

    /// Does the same as [`Presence::join`] for a chat that was read, which also gives the room its owner and whether
    /// names are locked.
    pub fn join_in(self: &Arc<Self>, chat: &Chat, user: User, wake: Arc<Notify>) -> MemberGuard {
        self.subscribe(chat.id, Some(chat), user, wake)
    }

    fn subscribe(
        self: &Arc<Self>,
        chat: ChatId,
        known: Option<&Chat>,
        user: User,
        wake: Arc<Notify>,
    ) -> MemberGuard {
        // Unique among all rooms, since a guard can outlive its room, and a new room may have taken its place.
        let (holder, id) = (self.new_holder(), user.id);
        self.take(PresenceEvent::Joined { holder, chat, user, here_for: Duration::ZERO }, Some(wake), known);
        MemberGuard { presence: Arc::clone(self), chat, user: id, holder }
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

    /// Gives the room of a chat its owner, if users were there before the chat was known here.
    pub fn started(&self, chat: ChatId, owner: UserId) {
        if let Some(room) = self.lock().rooms.get_mut(&chat) {
            room.owner = Some(owner);
        }
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

    /// Adds a user, with their nickname as of now, to a chat from which they were removed and may return, if another node has reported that they
    /// have: where the log is read later than the reports, the removal came after that.
    pub fn readmit(&self, chat: ChatId, user: &User) {
        let now = Instant::now();
        let mut state = self.lock();
        let PresenceState { nodes, rooms, .. } = &*state;
        let is_in_room = |holder| rooms.get(&chat).is_some_and(|room| room.is_holder(user.id, holder));
        let returned: Vec<HolderId> = nodes
            .iter()
            .filter(|(node, _)| **node != self.node)
            .flat_map(|(node, holders)| holders.of_member(*node, chat, user.id))
            .filter(|holder| !is_in_room(*holder))
            .collect();
        for holder in returned {
            let effects = state.join((holder, None), chat, user.clone(), None, (now, now));
            self.tell(&effects);
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

    /// Closes the rooms of this node whose chats are not among these: they have ended without this node being told. Rooms that
    /// only other nodes have connections in are left alone, since their chats may not be known here yet.
    pub fn close_ended(&self, chats: &HashSet<ChatId>) {
        let is_ended = |(chat, room): &(&ChatId, &Room)| !chats.contains(chat) && room.is_used_here();
        let ended: Vec<_> = self.lock().rooms.iter().filter(is_ended).map(|(chat, _)| *chat).collect();
        ended.into_iter().for_each(|chat| self.close(chat));
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

    /// Waits until what the lobby shows may have changed.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Takes the rooms whose members have changed since the last call.
    pub fn take_moved(&self) -> HashSet<ChatId> {
        mem::take(&mut self.lock().moved)
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
    /// Applies an event. One of this node comes with what is notified of changes, if it begins something.
    fn change(
        &mut self,
        event: PresenceEvent,
        wake: Option<Arc<Notify>>,
        known: Option<&Chat>,
        grace: Duration,
    ) -> Effects {
        let now = Instant::now();
        match event {
            PresenceEvent::Opened { holder, user } => self.open(holder, user, wake),
            PresenceEvent::Closed { holder, user } => self.close(holder, user, now + grace),
            PresenceEvent::Joined { holder, chat, user, here_for } => {
                let came_at = now.checked_sub(here_for).unwrap_or(now);
                self.join((holder, wake), chat, user, known, (now, came_at))
            }
            PresenceEvent::Left { holder, chat, user } => self.unjoin(holder, chat, user, now + grace),
            PresenceEvent::Typing { chat, user } => self.typing(chat, user, now),
        }
    }

    fn open(&mut self, holder: HolderId, user: UserId, wake_user: Option<Arc<Notify>>) -> Effects {
        let is_new = !self.people.contains_key(&user);
        // Another node notes its own.
        let came = is_new && wake_user.is_some();
        let person = self.people.entry(user).or_default();
        person.connections.push((holder, wake_user));
        person.leaves_at = None;
        if came {
            self.came.note(Some(user), None, STILL_HERE);
        }
        Effects { moved: is_new, came, ..Effects::default() }
    }

    fn close(&mut self, holder: HolderId, user: UserId, offline_at: Instant) -> Effects {
        let Some(person) = self.people.get_mut(&user) else { return Effects::default() };
        let Some(at) = person.connections.iter().position(|(other, _)| *other == holder) else {
            return Effects::default();
        };
        let (_, wake_user) = person.connections.swap_remove(at);
        person.left_here = wake_user.is_some();
        let is_last = person.connections.is_empty();
        if is_last {
            person.leaves_at = Some(offline_at);
            self.offline_at.insert((offline_at, user));
        }
        Effects { sooner: is_last, ..Effects::default() }
    }

    fn join(
        &mut self,
        (holder, wake): (HolderId, Option<Arc<Notify>>),
        chat: ChatId,
        user: User,
        known: Option<&Chat>,
        (now, came_at): (Instant, Instant),
    ) -> Effects {
        self.places.entry(user.id).or_default().insert(chat);
        let room = self.rooms.entry(chat).or_default();
        // Another node notes its own.
        let is_first = room.is_empty() && wake.is_some();
        if is_first {
            self.came.note(None, Some(chat), STILL_HERE);
        }
        if let Some(wake) = wake {
            room.watch(holder, wake);
        }
        if let Some(known) = known {
            room.owner = Some(known.owner);
            room.lock_names(known.is_locked, known.seq);
        }
        let is_new = room.add_holder(holder, user, came_at);
        if is_new {
            self.moved.insert(chat);
        }
        self.wakes.extend(room.wake(now).map(|at| (at, chat)));
        Effects { moved: is_new, came: is_first, sooner: true, ..Effects::default() }
    }

    fn unjoin(&mut self, holder: HolderId, chat: ChatId, user: UserId, leaves_at: Instant) -> Effects {
        let Some(room) = self.rooms.get_mut(&chat) else { return Effects::default() };
        let is_last = room.remove_holder(holder, user, leaves_at);
        if is_last {
            self.departures.insert((leaves_at, chat, user));
        }
        Effects { sooner: is_last, ..Effects::default() }
    }

    /// Shows a member as typing. A signal less than a second after the last one, of any of their connections, is ignored,
    /// and so is one of a user who is not a member.
    fn typing(&mut self, chat: ChatId, user: UserId, now: Instant) -> Effects {
        let ignored = Effects { is_ignored: true, ..Effects::default() };
        let until = now + TYPING;
        let Some(room) = self.rooms.get_mut(&chat).filter(|room| room.came_at(user).is_some()) else {
            return ignored;
        };
        if room.typing_until(user).is_some_and(|last| until < last + TYPING_SIGNALS) {
            return ignored;
        }
        if room.type_until(user, Some(until)) {
            self.wakes.extend(room.wake(now).map(|at| (at, chat)));
        }
        self.typing_until.insert((until, chat, user));
        Effects { sooner: true, ..Effects::default() }
    }

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
        let Some(person) = self.people.get(&user).filter(|person| person.leaves_at == Some(at)) else {
            return false;
        };
        if self.gone.len() < REMEMBERED_LEFT {
            self.gone.push(Gone { user, at, left_here: person.left_here });
        }
        self.people.remove(&user);
        self.seen.note(Some(user), None, time);
        true
    }
}
