//! What the nodes of a cluster share beside the log: who is online, in which chats and typing, where chats were started,
//! which nodes there are, and which of them is the eldest.
//!
//! None of it is durable, and none of it is waited for. Messages between nodes may be lost, late, repeated and in another
//! order: each node numbers its changes and says once a second how many there were and what they amount to, so that
//! another node notices what it lacks and asks for the whole. A node that falls silent is forgotten with its connections,
//! as if each had closed by itself.
//!
//! [`Nodes`] has no task, no timer and no connection. What has a connection drives it, and publishes the messages that
//! its methods return:
//!
//! - Before any connection of a user is accepted, [`Presence::report`] begins to collect what happens here; `Nodes::new`
//!   calls it.
//! - Three kinds of subjects carry [`Message`]s: one for the [beats](Topic::Beat) of all nodes (`qchat.beat`), one for what
//!   [each node tells](Topic::Told) (`qchat.told.` and the incarnation), and one for what is [asked of each](Topic::Ask)
//!   (`qchat.whole.` and the incarnation). A node subscribes to the beats, to what all nodes tell (`qchat.told.*`), and to
//!   what is asked of itself. Its own messages may come back; they are ignored.
//! - One task loops: [`Nodes::receive`] for each message that has come, [`Nodes::flush`] whenever [`Presence::reported`]
//!   returns, and [`Nodes::advance`] at [`Nodes::deadline`]. What has come is taken in before `advance`, some hundred
//!   messages at most, so that a node that was busy does not take the others for silent. Taking in a large part of a whole
//!   takes some milliseconds, so the task calls `receive` where it may block (`tokio::task::block_in_place`).
//! - Nothing is published while there is no connection, and the node says in its [`Position`] that it is not ready, so that
//!   it does not take itself for the eldest. After a reconnect, or when the client has dropped messages, [`Nodes::missed`]
//!   asks for everything anew.
//! - A node that stops in order publishes what [`Nodes::leave`] returns, after its users were told to go elsewhere.
//!
//! What is known only by the log does not travel: names, owners, locks and removals are read from the own view of the log,
//! which may be some milliseconds ahead or behind. In a chat whose names are locked, members whom a node comes to know only
//! while it is locked are counted there and not named, as after a restart of a node that is alone.
//!
//! [`Nodes::duty`] says whether this node is the one that does what is done once for all; [`Nodes::standing`] has what
//! follows from the beats for readiness and for the versions of what is written.

mod applier;
pub mod members;
pub mod message;
pub mod peers;
pub mod teller;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{
    command_log::transport::Incarnation,
    lobby::Lobby,
    presence::{Presence, Report, Reports},
    storage::Store,
};
use applier::Applier;
use members::{BEAT, MemberEvent, Members, Standing};
use message::{Ask, Beat, Message, NotAMessage, Position, Versions};
use peers::{Peers, Step};
use teller::Teller;

pub use message::Topic;

/// How long a node that knows no other listens before it takes those that it has heard for all. They answer its first beat
/// at once.
const FIRST_BEATS: Duration = Duration::from_millis(500);
/// How long such a node waits for what the others have to tell.
const FIRST_WHOLES: Duration = Duration::from_secs(3);

/// What this node and the others tell each other beside the log.
pub struct Nodes {
    me: Incarnation,
    members: Members,
    peers: Peers,
    teller: Teller,
    applier: Applier,
    presence: Arc<Presence>,
    lobby: Arc<Lobby>,
    beat_at: Instant,
    /// When this node began to listen for others.
    begun_at: Instant,
    /// Until when it listens. `None` once that is over.
    listens_until: Option<Instant>,
    is_complete: watch::Sender<bool>,
    /// Whether a node was heard that has just started, and waits for a beat of this one.
    is_awaited: bool,
    duty: watch::Sender<bool>,
    standing: watch::Sender<Standing>,
}

impl Nodes {
    /// Creates the view of a node that has heard no other yet, and lets presence collect what it has to tell. What was known
    /// of others is forgotten. If this is done again in one process, as by a task that is restarted after a panic, the
    /// others find the node silent for a moment, and meet it anew; nobody is seen to leave.
    pub fn new(
        me: Incarnation,
        name: String,
        versions: Versions,
        (presence, store, lobby): (Arc<Presence>, Arc<Store>, Arc<Lobby>),
        now: Instant,
    ) -> Self {
        presence.report();
        presence.forget_others();
        Self {
            me,
            members: Members::new(me, name, versions, now),
            peers: Peers::default(),
            teller: Teller::new(me, now),
            applier: Applier::new(Arc::clone(&presence), store, Arc::clone(&lobby)),
            presence,
            lobby,
            beat_at: now,
            begun_at: now,
            listens_until: Some(now + FIRST_BEATS),
            is_complete: watch::Sender::new(false),
            is_awaited: false,
            duty: watch::Sender::new(false),
            standing: watch::Sender::default(),
        }
    }

    /// Returns whether this node does what one node does for all, now and from now on.
    pub fn duty(&self) -> watch::Receiver<bool> {
        self.duty.subscribe()
    }

    /// Returns whether this node knows who is online on all others. At the latest three seconds after its start it is taken
    /// to be so.
    pub fn is_complete(&self) -> watch::Receiver<bool> {
        self.is_complete.subscribe()
    }

    /// Returns what follows from the beats for this node, now and from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Returns the nodes as this one sees them.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Returns when [`Nodes::advance`] is due.
    pub fn deadline(&self) -> Instant {
        let due_at = self.beat_at.min(self.teller.due_at());
        self.listens_until.map_or(due_at, |until| due_at.min(until))
    }

    /// Takes in a message. Returns the messages to publish.
    ///
    /// # Errors
    /// [`NotAMessage`] for bytes that are none, or that a newer Qchat wrote. They are ignored.
    pub fn receive(&mut self, payload: &[u8], now: Instant) -> Result<Vec<Message>, NotAMessage> {
        let message = Message::decode(payload)?;
        if message.from() == self.me {
            return Ok(Vec::new());
        }
        let steps = match message {
            Message::Beat(beat) => self.heard(beat, now),
            Message::Changes(changes) => self.peers.changes(changes, now),
            Message::Part(part) => self.peers.part(part),
            Message::Ask(Ask { of, .. }) => {
                if of == self.me {
                    self.teller.ask(now);
                }
                Vec::new()
            }
        };
        let mut messages = self.perform(steps);
        if std::mem::take(&mut self.is_awaited) {
            messages.extend(self.beat(now, false));
        }
        self.publish_standing(now);
        Ok(messages)
    }

    /// Returns the messages to publish for what has happened to the connections of this node.
    pub fn flush(&mut self, now: Instant) -> Vec<Message> {
        match self.presence.take_reports() {
            Reports::Changes { first, reports } => self.teller.changes(first, &reports),
            Reports::Overflowed => {
                self.teller.ask(now);
                Vec::new()
            }
        }
    }

    /// Does what is due: beats, forgets who has fallen silent, asks again, and tells the whole. Returns the messages to
    /// publish.
    pub fn advance(&mut self, position: Position, now: Instant) -> Vec<Message> {
        let mut messages = Vec::new();
        self.listens_until = self.listens_until.filter(|until| now < *until);
        if now >= self.beat_at {
            // Not two in a row after a beat that was late.
            self.beat_at = (self.beat_at + BEAT).max(now + BEAT / 2);
            let events = self.members.tick(position, now);
            let mut steps: Vec<_> = events.into_iter().flat_map(|event| self.follow(event, now)).collect();
            steps.extend(self.peers.tick(now));
            messages.extend(self.perform(steps));
            messages.extend(self.beat(now, false));
        }
        let whole = || {
            let (upto, mut whole) = self.presence.whole();
            let origins = self.lobby.own_origins().into_iter();
            whole.extend(origins.map(|(chat, origin)| Report::ChatFrom { chat, origin: origin.0 }));
            (upto, whole)
        };
        messages.extend(self.teller.whole(now, whole));
        self.publish_standing(now);
        messages
    }

    /// Asks all nodes for what was missed, and lets them know all of this one, since messages may have been lost in both
    /// directions. Returns the messages to publish.
    pub fn missed(&mut self, now: Instant) -> Vec<Message> {
        self.members.missed(now);
        self.teller.ask(now);
        if self.members.others().next().is_none() {
            // As at the start: there may be others now.
            self.begun_at = now;
            self.listens_until = Some(now + FIRST_BEATS);
        }
        let steps = self.peers.missed(now);
        self.perform(steps)
    }

    /// Returns whether it is certain, as far as can be, that a user who is not known here is on no other node either.
    pub fn is_in_touch(&self, now: Instant) -> bool {
        self.members.is_in_touch(now) && self.peers.are_complete()
    }

    /// Returns the last messages of a node that stops in order: the others forget it at once.
    pub fn leave(&mut self, now: Instant) -> Vec<Message> {
        self.beat(now, true)
    }

    /// Returns a beat, which says how many changes there were, and before it the changes that were not told yet.
    fn beat(&mut self, now: Instant, is_last: bool) -> Vec<Message> {
        let mut messages = self.flush(now);
        messages.extend(self.members.beat(self.presence.summary(), is_last).map(Message::Beat));
        messages
    }

    fn heard(&mut self, beat: Beat, now: Instant) -> Vec<Step> {
        let (from, told) = (beat.from, beat.summary());
        let is_new = beat.number == 1 || beat.born.is_none();
        let event = self.members.heard(beat, now);
        self.is_awaited |= is_new && matches!(event, Some(MemberEvent::Met { .. }));
        let mut steps: Vec<_> = event.into_iter().flat_map(|event| self.follow(event, now)).collect();
        if let Some(node) = self.members.node(from) {
            steps.extend(self.peers.compare(from, told, self.presence.digest_of(node), now));
        }
        steps
    }

    fn follow(&mut self, event: MemberEvent, now: Instant) -> Vec<Step> {
        match event {
            MemberEvent::Met { incarnation, node } => {
                self.peers.met(incarnation, node, now).into_iter().collect()
            }
            MemberEvent::Gone { incarnation, node } => {
                self.peers.gone(incarnation);
                self.applier.forget(node);
                Vec::new()
            }
            MemberEvent::HeldUp => {
                self.teller.ask(now);
                self.peers.missed(now)
            }
        }
    }

    /// Applies what is to be applied. Returns the messages that ask.
    fn perform(&self, steps: Vec<Step>) -> Vec<Message> {
        let mut asks = Vec::new();
        for step in steps {
            match step {
                Step::Apply { node, reports } => self.applier.apply(node, &reports),
                Step::Replace { node, whole } => self.applier.replace(node, &whole),
                Step::Ask(of) => asks.push(Message::Ask(Ask { from: self.me, of })),
            }
        }
        asks
    }

    fn publish_standing(&self, now: Instant) {
        let has_heard_all = self.listens_until.is_none() && self.peers.have_told();
        let is_complete = has_heard_all || now >= self.begun_at + FIRST_WHOLES;
        self.is_complete.send_if_modified(|known| std::mem::replace(known, is_complete) != is_complete);
        let standing = self.members.standing(now);
        // Known at once, while the next beat says that it is not ready.
        let is_mine = self.members.is_eldest(now) && standing.differs_at.is_none();
        self.duty.send_if_modified(|duty| std::mem::replace(duty, is_mine) != is_mine);
        self.standing.send_if_modified(|known| {
            *known != standing && {
                *known = standing;
                true
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use domain::{Epoch, Lifetimes, Rules, Seq, id::ID_BYTES};

    use super::*;
    use crate::{
        clock,
        nodes::message::Mark,
        presence::{GRACE, NodeId},
    };

    #[tokio::test]
    async fn a_node_that_learns_that_it_differs_has_no_duty_from_then_on() {
        let (lifetimes, now) = (Lifetimes::default(), Instant::now());
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()));
        let lobby = Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, clock::system(), usize::MAX);
        let parts = (presence, Arc::new(Store::in_memory(lifetimes).unwrap()), Arc::new(lobby));
        let versions = Versions { formats: (1, 1), rules: (Rules(1), Rules(1)) };
        let incarnation = |number| Incarnation::from_bytes([number; ID_BYTES]);
        let mut nodes = Nodes::new(incarnation(1), "node 1".to_owned(), versions, parts, now);
        let duty = nodes.duty();
        let position = |digest| Position {
            epoch: Epoch::from_bytes([9; ID_BYTES]),
            is_ready: true,
            place: 1_100,
            seq: Seq(5_000),
            mark: Mark { place: 1_024, digest },
        };
        for second in 1..=4 {
            nodes.advance(position(1), now + BEAT * second);
        }
        assert!(*duty.borrow());
        for number in 2..=3 {
            let beat = Beat {
                from: incarnation(number),
                number: 1,
                is_last: false,
                name: format!("node {number}"),
                qchat: String::new(),
                born: Some(2_000),
                position: position(2),
                versions,
                told: 0,
                digest: 0,
            };
            nodes.receive(&Message::Beat(beat).encode().unwrap(), now + BEAT * 4).unwrap();
        }
        assert!(!*duty.borrow(), "what it decided must not become a snapshot");
    }
}
