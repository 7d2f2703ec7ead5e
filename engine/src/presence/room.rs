//! One chat with people in it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use domain::{
    Member, Nickname, Roster, Seq, User, UserId,
    roster::{ROSTER_LIMIT, RosterChange},
};
use tokio::{sync::Notify, time::Instant};

/// Changes that a room remembers. A connection further behind is sent the whole roster.
pub(super) const REMEMBERED_CHANGES: usize = 256;
/// In a room with more members than this, changes are told in batches: each of n people who come would otherwise wake
/// all n.
pub const SMALL_ROOM: usize = 32;
/// A batch in a large room comes no sooner than this after the one before,
pub(super) const BATCH_INTERVAL: Duration = Duration::from_millis(250);
/// and no sooner than so long for each member: a room tells 4,000 members a second, however many it has.
const INTERVAL_OF_A_MEMBER: Duration = Duration::from_micros(250);
/// So many different things are told of one version at most, to those who were here at different times.
const TELLINGS: usize = 8;

/// What a connection has to be told about a room.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Everybody who is there.
    Whole(Roster),
    /// What changed since the version it knows.
    Change(RosterChange),
}

#[derive(Default)]
pub(super) struct Room {
    version: u64,
    members: HashMap<UserId, Present>,
    /// Who owns the chat, once that is known.
    pub(super) owner: Option<UserId>,
    /// Whether names hold and nobody new is named but the owner, since the chat is locked; and since which place.
    is_locked: bool,
    locked_at: Seq,
    /// The members that may be named, in the order they came.
    arrivals: BTreeMap<u64, UserId>,
    next_arrival: u64,
    /// Rosters name those who came from here on.
    named_from: u64,
    changes: VecDeque<(u64, UserId)>,
    watchers: HashMap<u64, Arc<Notify>>,
    last_wake: Option<(u64, Instant)>,
    rings_later: bool,
    /// What was told of this version, encoded, by what was known before.
    told: Vec<(Option<u64>, Bytes)>,
    told_version: u64,
    /// The last that was told of everybody in a large room, and when.
    whole: Option<(u64, Instant, Bytes)>,
}

struct Present {
    member: Member,
    came_at: Instant,
    /// Nothing for whoever came while the chat was locked, and is counted only.
    arrival: Option<u64>,
    /// What they are called when the chat is open again.
    later: Option<Nickname>,
    /// The seats they have: one for each connection, and rarely more than one.
    seats: Vec<u64>,
    leaves_at: Option<Instant>,
    typing_until: Option<Instant>,
}

impl Room {
    /// Rings `wake` from now on, until the one with this number stands up.
    pub(super) fn watch(&mut self, watcher: u64, wake: Arc<Notify>) {
        self.watchers.insert(watcher, wake);
    }

    /// One more connection of somebody, which watches by that number; true where they were not here.
    pub(super) fn add_holder(&mut self, watcher: u64, user: User, now: Instant) -> bool {
        let id = user.id;
        if let Some(member) = self.members.get_mut(&id) {
            member.seats.push(watcher);
            member.leaves_at = None;
            return false;
        }
        let present = Present {
            member: user.into(),
            came_at: now,
            arrival: None,
            later: None,
            seats: vec![watcher],
            leaves_at: None,
            typing_until: None,
        };
        self.members.insert(id, present);
        if self.is_locked && self.owner != Some(id) {
            self.changed(id);
        } else {
            self.name(id);
        }
        true
    }

    /// Rosters may name a member from now on.
    fn name(&mut self, id: UserId) {
        let Some(present) = self.members.get_mut(&id) else { return };
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        present.arrival = Some(arrival);
        self.arrivals.insert(arrival, id);
        self.changed(id);
        if self.arrivals.range(self.named_from..).count() > ROSTER_LIMIT {
            // whoever came first of those who are named is only counted from now on
            let mut named = self.arrivals.range(self.named_from..).map(|(arrival, user)| (*arrival, *user));
            if let (Some((_, first)), Some((next, _))) = (named.next(), named.next()) {
                self.named_from = next;
                self.changed(first);
            }
        }
    }

    /// From a place of the log on, names hold and nobody new is named, or all are named as they are called; true where
    /// something is to be seen of that. What was told of a later place already stays.
    pub(super) fn lock_names(&mut self, is_locked: bool, seq: Seq) -> bool {
        if seq < self.locked_at {
            return false;
        }
        self.locked_at = seq;
        if is_locked || !std::mem::replace(&mut self.is_locked, is_locked) {
            self.is_locked = is_locked;
            return false;
        }
        // whoever comes now is not told how it was
        self.whole = None;
        let mut unnamed: Vec<_> =
            self.members.iter().filter(|(_, present)| present.arrival.is_none()).collect();
        unnamed.sort_by_key(|(_, present)| present.came_at);
        let unnamed: Vec<UserId> = unnamed.into_iter().map(|(id, _)| *id).collect();
        unnamed.into_iter().for_each(|id| self.name(id));
        let mut renamed = Vec::new();
        for (id, present) in &mut self.members {
            if let Some(nickname) = present.later.take() {
                present.member.nickname = nickname;
                renamed.push(*id);
            }
        }
        renamed.into_iter().for_each(|id| self.changed(id));
        true
    }

    /// Who came no longer ago than this.
    pub(super) fn newcomers(&self, since: Duration) -> Vec<UserId> {
        let is_new = |present: &Present| present.came_at.elapsed() <= since;
        self.members.iter().filter(|(_, present)| is_new(present)).map(|(id, _)| *id).collect()
    }

    /// One connection of somebody less; true where it was their last.
    pub(super) fn remove_holder(&mut self, watcher: u64, user: UserId, leaves_at: Instant) -> bool {
        self.watchers.remove(&watcher);
        let Some(member) = self.members.get_mut(&user) else { return false };
        let before = member.seats.len();
        member.seats.retain(|member_guard| *member_guard != watcher);
        if member.seats.len() == before || !member.seats.is_empty() {
            return false;
        }
        member.leaves_at = Some(leaves_at);
        true
    }

    /// Lets somebody leave who was to leave then; false where they came back.
    pub(super) fn leave(&mut self, user: UserId, at: Instant) -> bool {
        if self.members.get(&user).is_none_or(|member| member.leaves_at != Some(at)) {
            return false;
        }
        self.remove(user)
    }

    /// Whether somebody sits there still.
    pub(super) fn is_holder(&self, user: UserId, watcher: u64) -> bool {
        self.members.get(&user).is_some_and(|member| member.seats.contains(&watcher))
    }

    /// Everybody who is there.
    pub(super) fn users(&self) -> Vec<UserId> {
        self.members.keys().copied().collect()
    }

    /// Takes somebody out with all their seats; false where they were not here. Whoever has such a seat is still rung, and
    /// finds that it is theirs no longer.
    pub(super) fn remove(&mut self, user: UserId) -> bool {
        let Some(Present { arrival, .. }) = self.members.remove(&user) else { return false };
        self.changed(user);
        let Some(arrival) = arrival else { return true };
        self.arrivals.remove(&arrival);
        if arrival >= self.named_from
            && let Some((before, unnamed)) =
                self.arrivals.range(..self.named_from).next_back().map(|(arrival, user)| (*arrival, *user))
        {
            self.named_from = before;
            self.changed(unnamed);
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// True where somebody was here under another name.
    pub(super) fn rename(&mut self, user: &User) -> bool {
        let Some(Present { member, later, .. }) = self.members.get_mut(&user.id) else { return false };
        *later = None;
        if member.nickname == user.nickname {
            return false;
        }
        if self.is_locked && self.owner != Some(user.id) {
            // a name is a way to say something, too
            *later = Some(user.nickname.clone());
            return false;
        }
        member.nickname = user.nickname.clone();
        // whoever comes now is not told the old one
        self.whole = None;
        self.changed(user.id);
        true
    }

    pub(super) fn typing_until(&self, user: UserId) -> Option<Instant> {
        self.members.get(&user).and_then(|present| present.typing_until)
    }

    /// True where that is to be seen.
    pub(super) fn type_until(&mut self, user: UserId, until: Option<Instant>) -> bool {
        let Some(present) = self.members.get_mut(&user) else { return false };
        present.typing_until = until;
        if present.member.typing == until.is_some() {
            return false;
        }
        present.member.typing = until.is_some();
        self.changed(user);
        true
    }

    /// Somebody was to stop typing then; false where they went on.
    pub(super) fn pause(&mut self, user: UserId, at: Instant) -> bool {
        self.typing_until(user) == Some(at) && self.type_until(user, None)
    }

    /// Tells everybody of what changed, or gives the time when to call [`Room::ring_late`].
    #[must_use]
    pub(super) fn wake(&mut self, now: Instant) -> Option<Instant> {
        match self.last_wake {
            Some((version, _)) if version == self.version => None,
            Some((_, last)) if self.is_large() && now < last + self.interval() => {
                let is_first = !self.rings_later;
                self.rings_later = true;
                is_first.then_some(last + self.interval())
            }
            _ => {
                self.last_wake = Some((self.version, now));
                self.watchers.values().for_each(|wake| wake.notify_one());
                None
            }
        }
    }

    /// As [`Room::wake`], at the time it gave.
    #[must_use]
    pub(super) fn ring_late(&mut self, now: Instant) -> Option<Instant> {
        self.rings_later = false;
        self.wake(now)
    }

    fn is_large(&self) -> bool {
        self.members.len() > SMALL_ROOM
    }

    /// How long a batch comes after the one before.
    fn interval(&self) -> Duration {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        BATCH_INTERVAL.max(INTERVAL_OF_A_MEMBER.saturating_mul(members))
    }

    pub(super) fn roster(&self) -> Roster {
        let named = self.arrivals.range(self.named_from..).filter_map(|(_, user)| self.members.get(user));
        Roster::new(self.version, self.members.len(), named.map(|present| present.member.clone()).collect())
    }

    /// How many there are, and the first of them.
    pub(super) fn preview(&self, faces: usize) -> (usize, Vec<User>) {
        let first = self.arrivals.values().filter_map(|user| self.members.get(user)).take(faces);
        let faces = first.map(|present| &present.member);
        let faces = faces.map(|member| User { id: member.id, nickname: member.nickname.clone() });
        (self.members.len(), faces.collect())
    }

    /// The same as [`Room::news`], as bytes, and the version it leads to. All who know as much are told the same bytes; and
    /// where not everybody is named, those who come between two batches are told of all as they were with the last, since
    /// the next is on its way.
    pub(super) fn tell(
        &mut self,
        known: Option<u64>,
        now: Instant,
        encode: impl FnOnce(News) -> Option<Bytes>,
    ) -> Option<(u64, Bytes)> {
        let version = self.version;
        if known == Some(version) {
            return None;
        }
        let is_new = known.is_none();
        let known = known.filter(|known| self.remembers(*known));
        if let Some((version, at, bytes)) = self.whole.as_ref().filter(|_| is_new)
            && self.members.len() > ROSTER_LIMIT
            && now < *at + self.interval()
            && self.last_wake.is_some_and(|(last_wake, _)| last_wake <= *version)
        {
            return Some((*version, bytes.clone()));
        }
        if self.told_version != version {
            self.told.clear();
            self.told_version = version;
        }
        if let Some((_, bytes)) = self.told.iter().find(|(from, _)| *from == known) {
            return Some((version, bytes.clone()));
        }
        let bytes = encode(self.news(known)?)?;
        self.whole = self.whole.take().filter(|_| self.is_large());
        if known.is_none() && self.is_large() {
            self.whole = Some((version, now, bytes.clone()));
        }
        if self.told.len() < TELLINGS {
            self.told.push((known, bytes.clone()));
        }
        Some((version, bytes))
    }

    /// Whether it is known what changed since a version.
    fn remembers(&self, version: u64) -> bool {
        self.changes.front().is_some_and(|(first, _)| *first <= version + 1)
    }

    /// What happened since a version; nothing known gets everything.
    pub(super) fn news(&self, known: Option<u64>) -> Option<News> {
        let Some(known) = known.filter(|known| *known == self.version || self.remembers(*known)) else {
            return Some(News::Whole(self.roster()));
        };
        if known == self.version {
            return None;
        }
        let (version, count) = (self.version, self.members.len());
        let mut change = RosterChange { version, count, present: Vec::new(), gone: Vec::new() };
        let changed: HashSet<UserId> =
            self.changes.iter().filter(|(version, _)| *version > known).map(|(_, user)| *user).collect();
        for user in changed {
            match self.members.get(&user).filter(|present| present.arrival >= Some(self.named_from)) {
                Some(present) => change.present.push(present.member.clone()),
                None => change.gone.push(user),
            }
        }
        Some(News::Change(change))
    }

    fn changed(&mut self, user: UserId) {
        self.version += 1;
        if self.changes.len() == REMEMBERED_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((self.version, user));
    }
}
