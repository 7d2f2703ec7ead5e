//! Who is in which chat now. Not part of the log: it is what the open connections say, with a version that counts
//! every change, so that each connection can be sent the difference to what it was sent before.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{ChatId, Member, Roster, User, UserId, roster::RosterChange};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::tail::Bell;

/// How long somebody is shown as typing after their last keystroke.
pub const TYPING: Duration = Duration::from_secs(3);
/// A signal that comes sooner than this after the one before is not worth more than that one.
const TYPING_SIGNALS: Duration = Duration::from_secs(1);

/// How long somebody whose last connection closed is still shown, so that a reload does not flicker.
pub const GRACE: Duration = Duration::from_secs(3);
/// Changes that a room remembers. A connection further behind is sent the whole roster.
const REMEMBERED_CHANGES: usize = 256;

/// A rename is noted in this many chats. Nobody talks in more at once, and one command has to stay one.
const NOTED_CHATS: usize = 64;

/// The rooms with somebody in them.
pub struct Presence {
    rooms: Mutex<Rooms>,
    departure: Notify,
    grace: Duration,
}

#[derive(Default)]
struct Rooms {
    rooms: HashMap<ChatId, Room>,
    /// Where each user is, so that a rename need not look everywhere.
    places: HashMap<UserId, HashSet<ChatId>>,
    /// Who leaves when, unless they come back. One entry for each member without a connection at most, but for
    /// those who came back meanwhile; they are skipped.
    departures: BTreeSet<(Instant, ChatId, UserId)>,
    /// Who is no longer typing when, unless they go on: a few entries at most for each member.
    pauses: BTreeSet<(Instant, ChatId, UserId)>,
}

#[derive(Default)]
struct Room {
    version: u64,
    members: HashMap<UserId, Present>,
    changes: VecDeque<(u64, UserId)>,
    watchers: HashMap<u64, Bell>,
    next_watcher: u64,
}

struct Present {
    member: Member,
    connections: usize,
    leaves_at: Option<Instant>,
    typing_until: Option<Instant>,
}

/// What a connection has to be told about a room.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Everybody who is there.
    Whole(Roster),
    /// What changed since the version it knows.
    Change(RosterChange),
}

/// A place in a room. Dropping it is leaving, however the connection ended.
pub struct Seat {
    presence: Arc<Presence>,
    chat: ChatId,
    user: UserId,
    watcher: u64,
}

impl Presence {
    /// Nobody anywhere; those who go are shown for `grace` longer.
    pub fn new(grace: Duration) -> Self {
        Self { rooms: Mutex::default(), departure: Notify::new(), grace }
    }

    /// Takes a seat. Somebody with three tabs has three seats and is one member. `bell` rings for every change.
    pub fn join(self: &Arc<Self>, chat: ChatId, user: User, bell: Bell) -> Seat {
        let id = user.id;
        let mut rooms = self.lock();
        rooms.places.entry(id).or_default().insert(chat);
        let room = rooms.rooms.entry(chat).or_default();
        let watcher = room.next_watcher;
        room.next_watcher += 1;
        room.watchers.insert(watcher, bell);
        match room.members.get_mut(&id) {
            Some(member) => {
                member.connections += 1;
                member.leaves_at = None;
            }
            None => {
                let present =
                    Present { member: user.into(), connections: 1, leaves_at: None, typing_until: None };
                room.members.insert(id, present);
                room.changed(id);
            }
        }
        Seat { presence: Arc::clone(self), chat, user: id, watcher }
    }

    /// Calls a user by another name wherever they are.
    pub fn rename(&self, user: &User) {
        let mut rooms = self.lock();
        let Rooms { rooms, places, .. } = &mut *rooms;
        for chat in places.get(&user.id).into_iter().flatten() {
            let Some(room) = rooms.get_mut(chat) else { continue };
            if let Some(Present { member, .. }) = room.members.get_mut(&user.id)
                && member.nickname != user.nickname
            {
                member.nickname = user.nickname.clone();
                room.changed(user.id);
            }
        }
    }

    /// Where a user is, 64 chats at most.
    pub fn chats_of(&self, user: UserId) -> Vec<ChatId> {
        self.lock().places.get(&user).into_iter().flatten().copied().take(NOTED_CHATS).collect()
    }

    /// Who is in a chat, for a page that is rendered once.
    pub fn roster(&self, chat: ChatId) -> Roster {
        self.lock().rooms.get(&chat).map(Room::roster).unwrap_or_default()
    }

    /// Somebody has said what they were typing.
    pub fn said(&self, chat: ChatId, user: UserId) {
        if let Some(room) = self.lock().rooms.get_mut(&chat) {
            room.type_until(user, None);
        }
    }

    /// Lets those leave whose grace is over, and pause who no longer types, for ever.
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
                () = self.departure.notified() => {}
            }
        }
    }

    fn depart(&self, now: Instant) {
        let mut rooms = self.lock();
        while let Some(&(at, chat, user)) = rooms.departures.first()
            && at <= now
        {
            rooms.departures.pop_first();
            rooms.leave(chat, user, at);
        }
        while let Some(&(at, chat, user)) = rooms.pauses.first()
            && at <= now
        {
            rooms.pauses.pop_first();
            if let Some(room) = rooms.rooms.get_mut(&chat)
                && room.members.get(&user).is_some_and(|present| present.typing_until == Some(at))
            {
                room.type_until(user, None);
            }
        }
    }

    /// What a panic elsewhere left behind is still whole: every change under this lock is complete in itself.
    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    fn next_deadline(&self) -> Option<Instant> {
        let first = |deadlines: &BTreeSet<(Instant, ChatId, UserId)>| deadlines.first().map(|(at, ..)| *at);
        [first(&self.departures), first(&self.pauses)].into_iter().flatten().min()
    }

    fn leave(&mut self, chat: ChatId, user: UserId, at: Instant) {
        let Some(room) = self.rooms.get_mut(&chat) else { return };
        if room.members.get(&user).is_none_or(|member| member.leaves_at != Some(at)) {
            return;
        }
        room.members.remove(&user);
        room.changed(user);
        if room.members.is_empty() {
            self.rooms.remove(&chat);
        }
        if let Some(places) = self.places.get_mut(&user) {
            places.remove(&chat);
            if places.is_empty() {
                self.places.remove(&user);
            }
        }
    }
}

impl Room {
    fn changed(&mut self, user: UserId) {
        self.version += 1;
        if self.changes.len() == REMEMBERED_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((self.version, user));
        self.watchers.values().for_each(|bell| bell.notify_one());
    }

    fn type_until(&mut self, user: UserId, until: Option<Instant>) {
        let Some(present) = self.members.get_mut(&user) else { return };
        present.typing_until = until;
        if present.member.typing != until.is_some() {
            present.member.typing = until.is_some();
            self.changed(user);
        }
    }

    fn roster(&self) -> Roster {
        Roster::new(self.version, self.members.values().map(|present| present.member.clone()).collect())
    }

    fn news(&self, known: Option<u64>) -> Option<News> {
        let Some(known) = known else { return Some(News::Whole(self.roster())) };
        if known == self.version {
            return None;
        }
        if self.changes.front().is_none_or(|(version, _)| *version > known + 1) {
            return Some(News::Whole(self.roster()));
        }
        let mut change = RosterChange { version: self.version, present: Vec::new(), gone: Vec::new() };
        let changed: HashSet<UserId> =
            self.changes.iter().filter(|(version, _)| *version > known).map(|(_, user)| *user).collect();
        for user in changed {
            match self.members.get(&user) {
                Some(present) => change.present.push(present.member.clone()),
                None => change.gone.push(user),
            }
        }
        Some(News::Change(change))
    }
}

impl Seat {
    /// Whoever sits here is typing. More signals than one a second are not looked at.
    pub fn typing(&self) {
        let until = Instant::now() + TYPING;
        let mut rooms = self.presence.lock();
        let Some(room) = rooms.rooms.get_mut(&self.chat) else { return };
        let last = room.members.get(&self.user).and_then(|present| present.typing_until);
        if last.is_some_and(|last| until < last + TYPING_SIGNALS) {
            return;
        }
        room.type_until(self.user, Some(until));
        rooms.pauses.insert((until, self.chat, self.user));
        drop(rooms);
        self.presence.departure.notify_one();
    }

    /// What happened in the room since a version; nothing known gets everything.
    pub fn news(&self, known: Option<u64>) -> Option<News> {
        self.presence.lock().rooms.get(&self.chat)?.news(known)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.presence.lock();
        let Some(room) = rooms.rooms.get_mut(&self.chat) else { return };
        room.watchers.remove(&self.watcher);
        let Some(member) = room.members.get_mut(&self.user) else { return };
        member.connections = member.connections.saturating_sub(1);
        if member.connections == 0 {
            let at = Instant::now() + self.presence.grace;
            member.leaves_at = Some(at);
            rooms.departures.insert((at, self.chat, self.user));
            drop(rooms);
            self.presence.departure.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Nickname, id::ID_BYTES};
    use tokio::time::advance;

    use super::*;

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

    fn user(number: u8, name: &str) -> User {
        User { id: UserId::from_bytes([number; ID_BYTES]), nickname: Nickname::parse(name).unwrap() }
    }

    fn presence() -> Arc<Presence> {
        Arc::new(Presence::new(GRACE))
    }

    fn names(presence: &Presence) -> Vec<String> {
        presence.roster(CHAT).members.iter().map(|member| member.nickname.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_with_three_tabs_is_one_member_until_the_last_closes() {
        let presence = presence();
        let mut seats: Vec<_> =
            (0..3).map(|_| presence.join(CHAT, user(1, "Ana"), Bell::default())).collect();
        assert_eq!(names(&presence), ["Ana"]);
        let version = presence.roster(CHAT).version;
        seats.truncate(1);
        advance(GRACE * 2).await;
        presence.depart(Instant::now());
        assert_eq!(presence.roster(CHAT).version, version, "nobody sees tabs come and go");
        drop(seats);
        presence.depart(Instant::now() + GRACE);
        assert_eq!(names(&presence), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_does_not_flicker() {
        let presence = presence();
        let _other = presence.join(CHAT, user(2, "Bea"), Bell::default());
        let seat = presence.join(CHAT, user(1, "Ana"), Bell::default());
        let version = presence.roster(CHAT).version;
        drop(seat);
        advance(GRACE / 2).await;
        let _seat = presence.join(CHAT, user(1, "Ana"), Bell::default());
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
        let bell = Bell::default();
        let _other = presence.join(CHAT, user(2, "Bea"), Arc::clone(&bell));
        drop(presence.join(CHAT, user(1, "Ana"), Bell::default()));
        while names(&presence) != ["Bea"] {
            bell.notified().await;
        }
        running.abort();
    }

    #[test]
    fn a_watcher_is_told_the_difference_to_what_it_knows() {
        let presence = presence();
        let seat = presence.join(CHAT, user(1, "Ana"), Bell::default());
        let Some(News::Whole(mut mine)) = seat.news(None) else { panic!("nothing") };
        assert_eq!(seat.news(Some(mine.version)), None);
        let _bea = presence.join(CHAT, user(2, "Bea"), Bell::default());
        drop(presence.join(CHAT, user(3, "Cy"), Bell::default()));
        presence.depart(Instant::now() + GRACE * 2);
        presence.rename(&user(1, "Anna"));
        let Some(News::Change(change)) = seat.news(Some(mine.version)) else { panic!("nothing") };
        mine.apply(change);
        assert_eq!(mine, presence.roster(CHAT));
    }

    #[tokio::test(start_paused = true)]
    async fn typing_lasts_for_three_seconds_after_the_last_signal_or_until_it_is_said() {
        let presence = presence();
        let seat = presence.join(CHAT, user(1, "Ana"), Bell::default());
        let is_typing = || presence.roster(CHAT).members[0].typing;
        assert!(!is_typing());
        for _ in 0..3 {
            seat.typing();
            let version = presence.roster(CHAT).version;
            for _ in 0..1_000 {
                seat.typing();
            }
            assert_eq!(presence.lock().pauses.len(), 1, "many signals are one");
            advance(TYPING - Duration::from_millis(10)).await;
            presence.depart(Instant::now());
            assert!(is_typing());
            seat.typing();
            assert_eq!(presence.roster(CHAT).version, version, "going on is no change");
            advance(TYPING - Duration::from_millis(10)).await;
            presence.depart(Instant::now());
            assert!(is_typing());
            advance(Duration::from_millis(10)).await;
            presence.depart(Instant::now());
            assert!(!is_typing());
        }
        seat.typing();
        presence.said(CHAT, user(1, "Ana").id);
        assert!(!is_typing());
    }

    #[test]
    fn a_watcher_far_behind_is_told_everything() {
        let presence = presence();
        let seat = presence.join(CHAT, user(1, "Ana"), Bell::default());
        for round in 0..REMEMBERED_CHANGES {
            presence.rename(&user(1, &format!("Ana {round}")));
        }
        assert!(matches!(seat.news(Some(0)), Some(News::Whole(_))));
        assert!(matches!(seat.news(Some(1)), Some(News::Change(_))));
    }

    #[test]
    fn nothing_is_left_of_an_empty_room() {
        let presence = presence();
        let seat = presence.join(CHAT, user(1, "Ana"), Bell::default());
        seat.typing();
        drop(seat);
        presence.depart(Instant::now() + GRACE * 2);
        let rooms = presence.lock();
        assert!(rooms.rooms.is_empty() && rooms.places.is_empty() && rooms.departures.is_empty());
        assert!(rooms.pauses.is_empty());
    }
}
