//! A room: the presence state of one chat that has members.

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

use super::{HolderId, reactions::RoomReactions};

/// The number of changes that a room remembers. A connection that is further behind is sent the whole roster.
pub(super) const REMEMBERED_CHANGES: usize = 256;
/// The maximum number of members of a small room. In a larger one, changes are sent in batches: otherwise each of n
/// members who join would wake all n.
pub const SMALL_ROOM: usize = 32;
/// The minimum time between two batches in a large room.
pub(super) const BATCH_INTERVAL: Duration = Duration::from_millis(250);
/// The minimum time between two batches in a large room, for each of its members: a room sends to at most 4,000 members
/// a second, however many it has.
const INTERVAL_OF_A_MEMBER: Duration = Duration::from_micros(250);
/// The maximum number of encoded updates that are cached for one version, each for connections with another known version.
const CACHED_UPDATES: usize = 8;

/// What a connection has to be sent about a room.
#[derive(Debug, PartialEq, Eq)]
pub enum RosterUpdate {
    /// The whole roster.
    Whole(Roster),
    /// The difference to the version that the connection knows.
    Change(RosterChange),
}

#[derive(Default)]
pub(super) struct Room {
    version: u64,
    members: HashMap<UserId, Present>,
    /// The owner of the chat, once it is known.
    pub(super) owner: Option<UserId>,
    /// Whether names are locked, since the chat is: members keep their names, and no new member but the owner is named.
    is_locked: bool,
    locked_at: Seq,
    /// The members that may be named, in the order in which they came.
    arrivals: BTreeMap<u64, UserId>,
    next_arrival: u64,
    /// The first arrival that rosters name. Members who came before it are only counted.
    named_from: u64,
    changes: VecDeque<(u64, UserId)>,
    watchers: HashMap<HolderId, Arc<Notify>>,
    /// The newest change of reactions in the chat since the room exists, and the encoded updates to it.
    reactions: RoomReactions,
    /// The version and the newest change of reactions that the connections were notified of last, and when.
    last_wake: Option<((u64, Seq), Instant)>,
    wakes_later: bool,
    /// The encoded updates to version `cached_version`, by the version that was known before.
    cached: Vec<(Option<u64>, Bytes)>,
    cached_version: u64,
    /// The last encoded roster of a large room, its version, and when it was encoded.
    whole: Option<(u64, Instant, Bytes)>,
}

struct Present {
    member: Member,
    came_at: Instant,
    /// The number of the arrival. `None` if the member came while the chat was locked, and is only counted.
    arrival: Option<u64>,
    /// The nickname that the member gets when the chat is unlocked.
    later: Option<Nickname>,
    /// The numbers of the member's guards: one for each connection, and rarely more than one.
    holders: Vec<HolderId>,
    leaves_at: Option<Instant>,
    typing_until: Option<Instant>,
}

impl Room {
    /// Notifies `wake` of changes until the guard with this number is dropped.
    pub(super) fn watch(&mut self, holder: HolderId, wake: Arc<Notify>) {
        self.watchers.insert(holder, wake);
    }

    /// Adds a connection of a user who came at `came_at`. Returns whether the user is a new member.
    pub(super) fn add_holder(&mut self, holder: HolderId, user: User, came_at: Instant) -> bool {
        let id = user.id;
        if let Some(member) = self.members.get_mut(&id) {
            member.holders.push(holder);
            member.leaves_at = None;
            member.came_at = member.came_at.min(came_at);
            return false;
        }
        let present = Present {
            member: user.into(),
            came_at,
            arrival: None,
            later: None,
            holders: vec![holder],
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

    /// Lets rosters name a member from now on.
    fn name(&mut self, id: UserId) {
        let Some(present) = self.members.get_mut(&id) else { return };
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        present.arrival = Some(arrival);
        self.arrivals.insert(arrival, id);
        self.changed(id);
        if self.arrivals.range(self.named_from..).count() > ROSTER_LIMIT {
            // The first of the named members is only counted from now on.
            let mut named = self.arrivals.range(self.named_from..).map(|(arrival, user)| (*arrival, *user));
            if let (Some((_, first)), Some((next, _))) = (named.next(), named.next()) {
                self.named_from = next;
                self.changed(first);
            }
        }
    }

    /// Locks or unlocks names as of a sequence number. Returns whether this changes what is shown. Ignored if a later
    /// sequence number was seen already.
    pub(super) fn lock_names(&mut self, is_locked: bool, seq: Seq) -> bool {
        if seq < self.locked_at {
            return false;
        }
        self.locked_at = seq;
        if is_locked || !std::mem::replace(&mut self.is_locked, is_locked) {
            self.is_locked = is_locked;
            return false;
        }
        // The cached roster must not be sent to new connections.
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

    /// Returns the members who came at most `since` ago.
    pub(super) fn newcomers(&self, since: Duration) -> Vec<UserId> {
        let is_new = |present: &Present| present.came_at.elapsed() <= since;
        self.members.iter().filter(|(_, present)| is_new(present)).map(|(id, _)| *id).collect()
    }

    /// Removes a connection of a user. Returns whether it was the member's last.
    pub(super) fn remove_holder(&mut self, holder: HolderId, user: UserId, leaves_at: Instant) -> bool {
        self.watchers.remove(&holder);
        let Some(member) = self.members.get_mut(&user) else { return false };
        let before = member.holders.len();
        member.holders.retain(|other| *other != holder);
        if member.holders.len() == before || !member.holders.is_empty() {
            return false;
        }
        member.leaves_at = Some(leaves_at);
        true
    }

    /// Removes a member who was to leave at `at`. Returns `false` if they have returned.
    pub(super) fn leave(&mut self, user: UserId, at: Instant) -> bool {
        if self.members.get(&user).is_none_or(|member| member.leaves_at != Some(at)) {
            return false;
        }
        self.remove(user)
    }

    /// Returns when a member came. `None` if the user is not a member.
    pub(super) fn came_at(&self, user: UserId) -> Option<Instant> {
        self.members.get(&user).map(|present| present.came_at)
    }

    /// Returns whether this node has to note that the room is in use: it has a connection of this node, or a member who
    /// may come back to any.
    pub(super) fn is_used_here(&self) -> bool {
        self.is_watched() || self.members.values().any(|present| present.holders.is_empty())
    }

    /// Returns whether it has a connection of this node.
    pub(super) fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// Returns whether the guard with this number is still valid.
    pub(super) fn is_holder(&self, user: UserId, holder: HolderId) -> bool {
        self.members.get(&user).is_some_and(|member| member.holders.contains(&holder))
    }

    /// Returns the holders of all members.
    pub(super) fn holders(&self) -> impl Iterator<Item = (HolderId, UserId)> {
        let of_member = |(user, present)| {
            let (user, present): (&UserId, &Present) = (user, present);
            present.holders.iter().map(|holder| (*holder, *user))
        };
        self.members.iter().flat_map(of_member)
    }

    /// Returns all members.
    pub(super) fn users(&self) -> Vec<UserId> {
        self.members.keys().copied().collect()
    }

    /// Removes a member and invalidates all their guards. Returns `false` if the user is not a member. The connections
    /// of these guards are still notified, and then find that their guards are invalid.
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

    /// Changes the nickname of a member. Returns whether this changes what is shown.
    pub(super) fn rename(&mut self, user: &User) -> bool {
        let Some(Present { member, later, .. }) = self.members.get_mut(&user.id) else { return false };
        *later = None;
        if member.nickname == user.nickname {
            return false;
        }
        if self.is_locked && self.owner != Some(user.id) {
            // A nickname can carry a message, too, which a locked chat does not allow.
            *later = Some(user.nickname.clone());
            return false;
        }
        member.nickname = user.nickname.clone();
        // The cached roster must not be sent to new connections.
        self.whole = None;
        self.changed(user.id);
        true
    }

    pub(super) fn typing_until(&self, user: UserId) -> Option<Instant> {
        self.members.get(&user).and_then(|present| present.typing_until)
    }

    /// Sets until when a member is typing; `None` means not at all. Returns whether this changes what is shown.
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

    /// Ends the typing of a member who was to stop at `at`. Returns `false` if they went on.
    pub(super) fn pause(&mut self, user: UserId, at: Instant) -> bool {
        self.typing_until(user) == Some(at) && self.type_until(user, None)
    }

    /// Notifies all connections of changes of members and reactions. In a large room this may be too soon after the last
    /// batch; the time is then returned at which [`Room::wake_late`] has to be called, unless it was returned before.
    #[must_use]
    pub(super) fn wake(&mut self, now: Instant) -> Option<Instant> {
        let state = (self.version, self.reactions.reacted());
        match self.last_wake {
            Some((told, _)) if told == state => None,
            Some((_, last)) if self.is_large() && now < last + self.interval() => {
                let is_first = !self.wakes_later;
                self.wakes_later = true;
                is_first.then_some(last + self.interval())
            }
            _ => {
                self.last_wake = Some((state, now));
                self.watchers.values().for_each(|wake| wake.notify_one());
                None
            }
        }
    }

    /// Notifies as [`Room::wake`] does, at the time which that returned.
    #[must_use]
    pub(super) fn wake_late(&mut self, now: Instant) -> Option<Instant> {
        self.wakes_later = false;
        self.wake(now)
    }

    /// Returns the newest change of reactions in the chat, and the encoded updates to it.
    pub(super) fn reactions(&mut self) -> &mut RoomReactions {
        &mut self.reactions
    }

    fn is_large(&self) -> bool {
        self.members.len() > SMALL_ROOM
    }

    /// Returns the minimum time between two batches.
    fn interval(&self) -> Duration {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        BATCH_INTERVAL.max(INTERVAL_OF_A_MEMBER.saturating_mul(members))
    }

    pub(super) fn roster(&self) -> Roster {
        let named = self.arrivals.range(self.named_from..).filter_map(|(_, user)| self.members.get(user));
        Roster::new(self.version, self.members.len(), named.map(|present| present.member.clone()).collect())
    }

    /// Returns the number of members, and the first of those that may be named.
    pub(super) fn preview(&self, faces: usize) -> (usize, Vec<User>) {
        let first = self.arrivals.values().filter_map(|user| self.members.get(user)).take(faces);
        let faces = first.map(|present| &present.member);
        let faces = faces.map(|member| User { id: member.id, nickname: member.nickname.clone() });
        (self.members.len(), faces.collect())
    }

    /// Returns [`Room::update_since`] encoded, and the version it leads to. All connections that know the same version are sent
    /// the same bytes. If not all members are named, connections that join between two batches are sent the roster as
    /// of the last batch, since the next batch follows soon.
    pub(super) fn tell(
        &mut self,
        known: Option<u64>,
        now: Instant,
        encode: impl FnOnce(RosterUpdate) -> Option<Bytes>,
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
            && self.last_wake.is_some_and(|((last_wake, _), _)| last_wake <= *version)
        {
            return Some((*version, bytes.clone()));
        }
        if self.cached_version != version {
            self.cached.clear();
            self.cached_version = version;
        }
        if let Some((_, bytes)) = self.cached.iter().find(|(from, _)| *from == known) {
            return Some((version, bytes.clone()));
        }
        let bytes = encode(self.update_since(known)?)?;
        self.whole = self.whole.take().filter(|_| self.is_large());
        if known.is_none() && self.is_large() {
            self.whole = Some((version, now, bytes.clone()));
        }
        if self.cached.len() < CACHED_UPDATES {
            self.cached.push((known, bytes.clone()));
        }
        Some((version, bytes))
    }

    /// Returns whether all changes since a version are remembered.
    fn remembers(&self, version: u64) -> bool {
        self.changes.front().is_some_and(|(first, _)| *first <= version + 1)
    }

    /// Returns what has changed since a version: the whole roster if it is `None` or too old. Returns `None` if there
    /// is nothing new.
    pub(super) fn update_since(&self, known: Option<u64>) -> Option<RosterUpdate> {
        let Some(known) = known.filter(|known| *known == self.version || self.remembers(*known)) else {
            return Some(RosterUpdate::Whole(self.roster()));
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
        Some(RosterUpdate::Change(change))
    }

    fn changed(&mut self, user: UserId) {
        self.version += 1;
        if self.changes.len() == REMEMBERED_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((self.version, user));
    }
}
