//! What a node reports of its connections, for the presence of other nodes: every change with a number, in the order in
//! which it was applied, and the whole with the number of the change it includes.
//!
//! No nickname is reported: a node reads those of its own view of the log, so that a report that is late does not bring
//! an old one back.

use std::{
    collections::{HashMap, HashSet},
    mem,
    time::Duration,
};

use domain::{ChatId, User, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{HolderId, NodeId, Presence, PresenceEvent, PresenceState};

/// The maximum number of reports that wait to be taken. Beyond it they are dropped, and the whole is told instead.
pub const REPORTS_LIMIT: usize = 65_536;
/// The maximum number of connections and subscriptions of another node. Further ones are ignored.
const HOLDERS_LIMIT: usize = 1 << 20;

/// A change of the connections of one node. The node is known from where the report came, and its connections and
/// subscriptions are numbers that are unique there.
///
/// Stored by position in messages between nodes: new variants are added at the end, with a new version of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Report {
    /// A connection has opened.
    Opened {
        /// The connection.
        holder: u64,
        /// Its user.
        user: UserId,
    },
    /// A connection has closed.
    Closed {
        /// The connection.
        holder: u64,
        /// Its user.
        user: UserId,
    },
    /// A connection has subscribed to a chat.
    Joined {
        /// The subscription.
        holder: u64,
        /// The chat.
        chat: ChatId,
        /// The user.
        user: UserId,
        /// For how many seconds the user has been in the chat.
        seconds: u32,
    },
    /// A subscription has ended.
    Left {
        /// The subscription.
        holder: u64,
        /// The chat.
        chat: ChatId,
        /// The user.
        user: UserId,
    },
    /// A member is typing. Not part of the whole.
    Typing {
        /// The chat.
        chat: ChatId,
        /// The member.
        user: UserId,
    },
    /// A chat was started from a network, of which only a keyed hash is told.
    ChatFrom {
        /// The chat.
        chat: ChatId,
        /// The hash of the network.
        origin: u64,
    },
}

/// What was reported since it was last taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Reports {
    /// Changes in their order, numbered from `first`. May be empty.
    Changes {
        /// The number of the first change. The first of all has 1.
        first: u64,
        /// The changes.
        reports: Vec<Report>,
    },
    /// There were more than [`REPORTS_LIMIT`]: the whole has to be told instead.
    Overflowed,
}

/// What a node has reported, in few words: two nodes with the same digest have applied the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportSummary {
    /// The number of the newest change. 0 if there was none.
    pub told: u64,
    /// The digest of all connections and subscriptions.
    pub digest: u64,
}

/// The changes of this node that wait to be taken.
#[derive(Default)]
pub(super) struct Outgoing {
    reports: Vec<Report>,
    /// The number of the newest change.
    told: u64,
    has_overflowed: bool,
}

/// The connections and subscriptions of one node. A subscription stays here when its user is removed from the chat by
/// the log, until the node reports that it has ended.
#[derive(Default)]
pub(super) struct Holders {
    of: HashMap<u64, Holder>,
    digest: u64,
}

/// The user of a connection, or the user and the chat of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    user: UserId,
    chat: Option<ChatId>,
}

impl Report {
    /// Returns the report of an event.
    pub(super) fn of(event: &PresenceEvent) -> Self {
        match *event {
            PresenceEvent::Opened { holder, user } => Self::Opened { holder: holder.number(), user },
            PresenceEvent::Closed { holder, user } => Self::Closed { holder: holder.number(), user },
            PresenceEvent::Joined { holder, chat, user: User { id: user, .. }, here_for } => {
                Self::Joined { holder: holder.number(), chat, user, seconds: seconds(here_for) }
            }
            PresenceEvent::Left { holder, chat, user } => Self::Left { holder: holder.number(), chat, user },
            PresenceEvent::Typing { chat, user } => Self::Typing { chat, user },
        }
    }

    /// Returns the event that a node reports. `user` names a user who has joined. `None` if it is not about presence.
    pub fn event(self, node: NodeId, name: impl FnOnce(UserId) -> User) -> Option<PresenceEvent> {
        let holder = |number| HolderId::new(node, number);
        match self {
            Self::Opened { holder: number, user } => {
                Some(PresenceEvent::Opened { holder: holder(number), user })
            }
            Self::Closed { holder: number, user } => {
                Some(PresenceEvent::Closed { holder: holder(number), user })
            }
            Self::Joined { holder: number, chat, user, seconds } => {
                let here_for = Duration::from_secs(seconds.into());
                Some(PresenceEvent::Joined { holder: holder(number), chat, user: name(user), here_for })
            }
            Self::Left { holder: number, chat, user } => {
                Some(PresenceEvent::Left { holder: holder(number), chat, user })
            }
            Self::Typing { chat, user } => Some(PresenceEvent::Typing { chat, user }),
            Self::ChatFrom { .. } => None,
        }
    }

    /// Returns the connection or subscription that begins with this report.
    fn begins(self) -> Option<(u64, Holder)> {
        match self {
            Self::Opened { holder, user } => Some((holder, Holder { user, chat: None })),
            Self::Joined { holder, chat, user, .. } => Some((holder, Holder { user, chat: Some(chat) })),
            Self::Closed { .. } | Self::Left { .. } | Self::Typing { .. } | Self::ChatFrom { .. } => None,
        }
    }

    /// Returns the number of the connection or subscription that ends with this report.
    fn ends(self) -> Option<u64> {
        match self {
            Self::Closed { holder, .. } | Self::Left { holder, .. } => Some(holder),
            Self::Opened { .. } | Self::Joined { .. } | Self::Typing { .. } | Self::ChatFrom { .. } => None,
        }
    }

    /// Returns for how many seconds the user has been in the chat, if this report says so.
    fn seconds(self) -> u32 {
        if let Self::Joined { seconds, .. } = self { seconds } else { 0 }
    }
}

impl Holder {
    /// Returns the report that begins it.
    fn beginning(self, holder: u64, here_for: Duration) -> Report {
        let Self { user, chat } = self;
        match chat {
            Some(chat) => Report::Joined { holder, chat, user, seconds: seconds(here_for) },
            None => Report::Opened { holder, user },
        }
    }

    /// Returns the report that ends it.
    fn end(self, holder: u64) -> Report {
        let Self { user, chat } = self;
        match chat {
            Some(chat) => Report::Left { holder, chat, user },
            None => Report::Closed { holder, user },
        }
    }

    /// Returns a hash that is the same on all nodes, of which a digest is made. It must never change, or nodes of two
    /// versions would tell each other everything all the time.
    fn hash(self, holder: u64) -> u64 {
        let chat = self.chat.map_or([0; domain::id::ID_BYTES], ChatId::bytes);
        let hash = Sha256::new_with_prefix(b"qchat holder\0")
            .chain_update(holder.to_le_bytes())
            .chain_update([u8::from(self.chat.is_some())])
            .chain_update(chat)
            .chain_update(self.user.bytes())
            .finalize();
        hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }
}

impl Holders {
    /// Takes a report in. Returns whether it has to be applied: not if it begins what is there, or ends what is not.
    pub(super) fn note(&mut self, report: Report) -> bool {
        if let Some((number, holder)) = report.begins() {
            if self.of.contains_key(&number) || self.of.len() >= HOLDERS_LIMIT {
                return false;
            }
            self.of.insert(number, holder);
            self.digest ^= holder.hash(number);
        } else if let Some(number) = report.ends() {
            let Some(holder) = self.of.remove(&number) else { return false };
            self.digest ^= holder.hash(number);
        }
        true
    }

    /// Returns the subscriptions of a user to a chat.
    pub(super) fn of_member(
        &self,
        node: NodeId,
        chat: ChatId,
        user: UserId,
    ) -> impl Iterator<Item = HolderId> {
        let member = Holder { user, chat: Some(chat) };
        let theirs = self.of.iter().filter(move |(_, holder)| **holder == member);
        theirs.map(move |(number, _)| HolderId::new(node, *number))
    }

    /// Returns the reports that end all of it.
    pub(super) fn ends(&self) -> Vec<Report> {
        self.of.iter().map(|(number, holder)| holder.end(*number)).collect()
    }

    /// Returns the reports that lead from this to a whole: first what begins, the oldest first, then what ends.
    fn changes_to(&self, whole: &[Report]) -> Vec<Report> {
        let mut is_there = HashSet::with_capacity(whole.len());
        let mut changes = Vec::new();
        let mut moved = Vec::new();
        for report in whole {
            let Some((number, holder)) = report.begins() else { continue };
            if !is_there.insert(number) {
                continue;
            }
            match self.of.get(&number) {
                Some(here) if *here == holder => {}
                Some(here) => moved.extend([here.end(number), *report]),
                None => changes.push(*report),
            }
        }
        changes.sort_by_key(|report| std::cmp::Reverse(report.seconds()));
        changes.extend(moved);
        let gone = self.of.iter().filter(|(number, _)| !is_there.contains(number));
        changes.extend(gone.map(|(number, holder)| holder.end(*number)));
        changes
    }
}

impl Outgoing {
    pub(super) fn push(&mut self, report: Report) {
        self.told += 1;
        if self.reports.len() >= REPORTS_LIMIT {
            self.reports = Vec::new();
            self.has_overflowed = true;
        }
        if !self.has_overflowed {
            self.reports.push(report);
        }
    }
}

impl PresenceState {
    /// Reports an event of a connection of this node.
    pub(super) fn report(&mut self, node: NodeId, report: Report) {
        let Some(outgoing) = &mut self.outgoing else { return };
        self.nodes.entry(node).or_default().note(report);
        outgoing.push(report);
    }
}

impl Presence {
    /// Collects reports from now on. What there is already is part of the whole. Users who go offline are
    /// [kept](Presence::keep_gone), until it is known who is on other nodes.
    pub fn report(&self) {
        let mut state = self.lock();
        state.keeps_gone = true;
        let PresenceState { people, rooms, nodes, outgoing, .. } = &mut *state;
        if outgoing.is_some() {
            return;
        }
        let own = nodes.entry(self.node).or_default();
        let opened = people.iter().flat_map(|(user, person)| {
            person.connections.iter().map(|(holder, _)| (*holder, Holder { user: *user, chat: None }))
        });
        let joined = rooms.iter().flat_map(|(chat, room)| {
            room.holders().map(|(holder, user)| (holder, Holder { user, chat: Some(*chat) }))
        });
        for (holder, of) in opened.chain(joined).filter(|(holder, _)| holder.node() == self.node) {
            own.note(of.beginning(holder.number(), Duration::ZERO));
        }
        *outgoing = Some(Outgoing::default());
    }

    /// Waits until something was reported. May return early.
    pub async fn reported(&self) {
        self.reported.notified().await;
    }

    /// Takes the reports since the last call.
    pub fn take_reports(&self) -> Reports {
        let mut state = self.lock();
        let Some(outgoing) = &mut state.outgoing else {
            return Reports::Changes { first: 1, reports: Vec::new() };
        };
        if mem::take(&mut outgoing.has_overflowed) {
            return Reports::Overflowed;
        }
        let reports = mem::take(&mut outgoing.reports);
        Reports::Changes { first: outgoing.told + 1 - reports.len() as u64, reports }
    }

    /// Returns the number of the newest change of this node, with the digest of all its connections.
    pub fn summary(&self) -> ReportSummary {
        let state = self.lock();
        let told = state.outgoing.as_ref().map_or(0, |outgoing| outgoing.told);
        ReportSummary { told, digest: state.nodes.get(&self.node).map_or(0, |own| own.digest) }
    }

    /// Returns the digest of all connections that a node has reported.
    pub fn digest_of(&self, node: NodeId) -> u64 {
        self.lock().nodes.get(&node).map_or(0, |holders| holders.digest)
    }

    /// Returns all connections of this node, and the number of the newest change that is part of it.
    pub fn whole(&self) -> (u64, Vec<Report>) {
        let now = Instant::now();
        let state = self.lock();
        let told = state.outgoing.as_ref().map_or(0, |outgoing| outgoing.told);
        (told, state.whole_of(self.node, now))
    }

    /// Returns all connections that a node has reported.
    pub fn whole_of(&self, node: NodeId) -> Vec<Report> {
        self.lock().whole_of(node, Instant::now())
    }

    /// Returns the reports that lead from what is known of a node to a whole of it, so that a user who is in both does not
    /// leave, and does not come anew. What begins is first, the oldest of it before the others.
    pub fn changes_to(&self, node: NodeId, whole: &[Report]) -> Vec<Report> {
        let state = self.lock();
        let nothing = Holders::default();
        state.nodes.get(&node).unwrap_or(&nothing).changes_to(whole)
    }

    /// Reports from which network a chat was started, as a keyed hash. Has no effect on presence.
    pub fn report_origin(&self, chat: ChatId, origin: u64) {
        self.lock().report(self.node, Report::ChatFrom { chat, origin });
        self.reported.notify_one();
    }
}

impl PresenceState {
    fn whole_of(&self, node: NodeId, now: Instant) -> Vec<Report> {
        let here_for = |holder: &Holder| {
            let room = self.rooms.get(&holder.chat?)?;
            Some(now.saturating_duration_since(room.came_at(holder.user)?))
        };
        let beginning = |(number, holder): (&u64, &Holder)| {
            holder.beginning(*number, here_for(holder).unwrap_or_default())
        };
        self.nodes.get(&node).map(|holders| holders.of.iter().map(beginning).collect()).unwrap_or_default()
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
