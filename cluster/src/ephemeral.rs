//! What nodes tell each other beside the log, over subjects of NATS that nothing is kept of: who is online, and that a node
//! is there at all.
//!
//! The logic is that of [`engine::nodes`], which has no connection; this is its connection and its timer.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::Subscriber;
use bytes::Bytes;
use domain::{Epoch, Seq, Timestamp, id::ID_BYTES};
use engine::{
    command_log::{
        status::{LogStatus, Part, StatusReceiver, StatusSender},
        transport::Incarnation,
    },
    lobby::Lobby,
    nodes::{
        Nodes, Topic,
        members::Standing,
        message::{Mark, Message, Position, Versions},
    },
    presence::Presence,
    storage::{Store, StoreError},
};
use futures_util::{
    FutureExt, StreamExt,
    stream::{SelectAll, select_all},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
    task::block_in_place,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{connection::Connection, settings::NatsSettings, trouble::Trouble};

/// The number of messages that are taken in before a beat, so that a node that was busy does not take the others for
/// silent.
const TAKEN_BEFORE_BEAT: usize = 512;
/// The size in bytes from which on a message may take a while to be taken in.
const LARGE: usize = 16 * 1024;
/// The wait before another attempt to subscribe. Subscribing fails only if the client has ended.
const RETRY: Duration = Duration::from_secs(1);
/// How long the last beat may take to be sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// What this node tells the others beside the log, and what it hears of them.
pub struct Ephemeral {
    connection: Connection,
    subjects: Subjects,
    name: String,
    parts: EphemeralParts,
    state: Mutex<Option<State>>,
    standing: watch::Sender<Standing>,
    is_complete: watch::Sender<bool>,
}

/// What an [`Ephemeral`] is made of.
pub struct EphemeralParts {
    /// This process.
    pub me: Incarnation,
    /// The formats and rules that it knows.
    pub versions: Versions,
    /// Who is online. It begins at once to collect what there is to tell, so no user may have connected before.
    pub presence: Arc<Presence>,
    /// The view of the log.
    pub store: Arc<Store>,
    /// The public chats.
    pub lobby: Arc<Lobby>,
    /// How the log is doing, and where it is told what keeps this node from being one of the others.
    pub status: StatusSender,
    /// Whether this node leaves what one does for all to another.
    pub resigned: watch::Receiver<bool>,
    /// Whether this node does what one does for all. It begins with `false`.
    pub duty: watch::Sender<bool>,
}

struct State {
    nodes: Nodes,
    duty: watch::Receiver<bool>,
    standing: watch::Receiver<Standing>,
    is_complete: watch::Receiver<bool>,
    /// Where this node was when the log could be read last.
    position: Position,
}

/// The subjects of what is not kept.
#[derive(Debug, Clone)]
struct Subjects {
    beat: String,
    told: String,
    whole: String,
}

impl Subjects {
    fn of(settings: &NatsSettings) -> Self {
        let [beat, told, whole] = ["beat", "told", "whole"].map(|what| settings.name.ephemeral(what));
        Self { beat, told, whole }
    }

    fn of_topic(&self, topic: Topic) -> String {
        let of_node = |prefix: &str, node: &dyn Display| format!("{prefix}.{node}");
        match topic {
            Topic::Beat => self.beat.clone(),
            Topic::Told(node) => of_node(&self.told, &node),
            Topic::Ask(node) => of_node(&self.whole, &node),
        }
    }

    /// Returns what a node subscribes to.
    fn heard_by(&self, me: Incarnation) -> [String; 3] {
        [self.beat.clone(), format!("{}.*", self.told), self.of_topic(Topic::Ask(me))]
    }
}

/// How often messages may have been missed: when it was disconnected, and when it was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interruptions {
    connects: u64,
    dropped: u64,
}

impl Interruptions {
    fn of(connection: &Connection) -> Self {
        Self { connects: connection.connects(), dropped: connection.dropped() }
    }
}

impl Ephemeral {
    /// Creates it. Nothing is sent before [`Ephemeral::run`].
    pub fn new(connection: Connection, settings: &NatsSettings, parts: EphemeralParts) -> Self {
        parts.presence.report();
        Self {
            connection,
            subjects: Subjects::of(settings),
            name: settings.node.clone(),
            parts,
            state: Mutex::default(),
            standing: watch::Sender::default(),
            is_complete: watch::Sender::new(false),
        }
    }

    /// Waits until this node knows who is online on all others, which takes some seconds at most after it was connected.
    pub async fn complete(&self) {
        let mut is_complete = self.is_complete.subscribe();
        // The sender is here, so that this cannot fail.
        let _ = is_complete.wait_for(|is_complete| *is_complete).await;
    }

    /// Returns what follows from the beats for this node, now and from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Tells the others what happens here, and takes in what they tell, until this node [leaves](Ephemeral::leave). May be
    /// called again after it panicked: the other nodes are met anew then.
    pub async fn run(&self) {
        self.begin(self.position().ok().flatten().unwrap_or(NOWHERE));
        let mut heard = self.subscribe().await;
        let mut known = Interruptions::of(&self.connection);
        loop {
            let Some(due) = self.with(|state| state.nodes.deadline()) else { return };
            tokio::select! {
                message = heard.next() => match message {
                    Some(message) => self.take(&message.payload).await,
                    None => {
                        sleep(RETRY).await;
                        heard = self.subscribe().await;
                    }
                },
                () = self.parts.presence.reported() => {
                    self.act(|state| state.nodes.flush(Instant::now())).await;
                }
                () = sleep_until(due) => {
                    for _ in 0..TAKEN_BEFORE_BEAT {
                        let Some(Some(message)) = heard.next().now_or_never() else { break };
                        self.take(&message.payload).await;
                    }
                    self.advance().await;
                }
                () = self.connection.changed() => {}
            }
            let now = Interruptions::of(&self.connection);
            if now != known && self.connection.is_up() {
                known = now;
                self.act(|state| state.nodes.missed(Instant::now())).await;
            }
        }
    }

    /// Tells the others that this node stops, so that they do not wait for its beats. It has no duty from then on. To be
    /// called when [`Ephemeral::run`] does not run any more, and the users have been told to go elsewhere.
    pub async fn leave(&self) {
        let state = self.lock().take();
        self.set_duty(false);
        let Some(mut state) = state else { return };
        let goodbye = async {
            self.publish(state.nodes.leave(Instant::now())).await;
            // An error means that nobody hears it, and then the others notice by the silence.
            let _ = self.connection.client().flush().await;
        };
        if self.connection.is_up() {
            let _ = timeout(GOODBYE, goodbye).await;
        }
    }

    fn begin(&self, position: Position) {
        let EphemeralParts { me, versions, presence, store, lobby, .. } = &self.parts;
        let of_node = (Arc::clone(presence), Arc::clone(store), Arc::clone(lobby));
        let nodes = Nodes::new(*me, self.name.clone(), *versions, of_node, Instant::now());
        let (duty, standing, is_complete) = (nodes.duty(), nodes.standing(), nodes.is_complete());
        let mut guard = self.lock();
        self.tell(guard.insert(State { nodes, duty, standing, is_complete, position }));
    }

    async fn subscribe(&self) -> SelectAll<Subscriber> {
        loop {
            let subjects = self.subjects.heard_by(self.parts.me);
            let mut heard = Vec::new();
            for subject in subjects {
                match self.connection.client().subscribe(subject).await {
                    Ok(subscriber) => heard.push(subscriber),
                    Err(error) => tracing::error!(%error, "could not subscribe to what other nodes tell"),
                }
            }
            if heard.len() == 3 {
                return select_all(heard);
            }
            sleep(RETRY).await;
        }
    }

    async fn take(&self, payload: &Bytes) {
        self.act(|state| {
            let mut receive = || state.nodes.receive(payload, Instant::now());
            let received =
                if payload.len() >= LARGE && may_block() { block_in_place(receive) } else { receive() };
            received.unwrap_or_else(|error| {
                tracing::debug!(%error, "a message of another node is ignored");
                Vec::new()
            })
        })
        .await;
    }

    async fn advance(&self) {
        let position = self.position();
        let can_publish = self.parts.status.subscribe().of(Part::Publisher).is_ready();
        self.act(|state| {
            state.position = match position {
                Ok(Some(position)) => position,
                // What was read before is still true, but this node is of no use.
                Ok(None) | Err(_) => Position { is_ready: false, ..state.position },
            };
            let now = Instant::now();
            let messages = state.nodes.advance(state.position, now);
            // Who has left here may have come elsewhere. What is proposed of them while nothing can be published would be
            // decided much later.
            self.parts.presence.keep_gone(!can_publish || !state.nodes.is_in_touch(now));
            messages
        })
        .await;
    }

    /// Returns where this node is in the log. `None` if its database is not a view of one yet.
    fn position(&self) -> Result<Option<Position>, StoreError> {
        let read = self.parts.store.read(Timestamp::default());
        let state = read.and_then(|view| Ok((view.replica()?, view.log()?)));
        let (replica, log) = state.inspect_err(|error| {
            tracing::warn!(%error, "could not read how far the log was applied");
        })?;
        let position = replica.zip(log).map(|(replica, log)| Position {
            epoch: log.epoch,
            is_ready: self.connection.is_up()
                && is_of_use(&self.parts.status.subscribe())
                && !*self.parts.resigned.borrow(),
            place: replica.place,
            seq: log.seq,
            mark: Mark { place: replica.mark.0, digest: replica.mark.1 },
        });
        Ok(position)
    }

    /// Does something, and publishes the messages that follow from it.
    async fn act(&self, work: impl FnOnce(&mut State) -> Vec<Message>) {
        if let Some(messages) = self.with(work) {
            self.publish(messages).await;
        }
    }

    /// Does something, and tells this node what follows from it. `None` if this node has left.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut guard = self.lock();
        let state = guard.as_mut()?;
        let done = work(state);
        self.tell(state);
        Some(done)
    }

    fn tell(&self, state: &mut State) {
        self.set_duty(*state.duty.borrow_and_update());
        let is_complete = *state.is_complete.borrow_and_update();
        self.is_complete.send_if_modified(|known| std::mem::replace(known, is_complete) != is_complete);
        if !state.standing.has_changed().unwrap_or_default() {
            return;
        }
        let standing = state.standing.borrow_and_update().clone();
        let status = match standing {
            Standing { differs_at: Some(place), .. } => LogStatus::Differs { place },
            Standing { has_older_namesake: true, .. } => {
                LogStatus::Trouble(Trouble::SameName { name: self.name.clone() }.to_string())
            }
            _ => LogStatus::Well,
        };
        self.parts.status.set(Part::Membership, status);
        self.standing.send_replace(standing);
    }

    fn set_duty(&self, is_mine: bool) {
        let has_changed =
            self.parts.duty.send_if_modified(|duty| std::mem::replace(duty, is_mine) != is_mine);
        match (has_changed, is_mine) {
            (true, true) => tracing::info!("this node now sweeps and makes snapshots for all nodes"),
            (true, false) => tracing::info!("this node does not sweep and make snapshots any more"),
            (false, _) => {}
        }
    }

    /// Publishes messages, unless there is no connection: they would go out much later, and be wrong by then.
    async fn publish(&self, messages: Vec<Message>) {
        for message in messages {
            if !self.connection.is_up() {
                return;
            }
            let Ok(payload) = message.encode() else { continue };
            let subject = self.subjects.of_topic(message.topic());
            // It fails if the client has ended. What is lost is noticed by the beats.
            let _ = self.connection.client().publish(subject, payload.into()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The position of a node that has no view of a log yet.
const NOWHERE: Position = Position {
    epoch: Epoch::from_bytes([0; ID_BYTES]),
    is_ready: false,
    place: 0,
    seq: Seq::ZERO,
    mark: Mark { place: 0, digest: 0 },
};

/// Returns whether a node reads and applies the log as the others do, so that it can do what one does for all. That it
/// cannot publish does not matter: it would be the same for each node if the stream is full, and then a snapshot is what
/// is needed.
fn is_of_use(status: &StatusReceiver) -> bool {
    [Part::Stream, Part::Applier, Part::Membership].iter().all(|part| status.of(*part).is_ready())
}

/// Returns whether this thread may block, because another takes over what it has to do.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

#[cfg(test)]
mod tests {
    use engine::command_log::{status, transport::NotPublished};

    use super::*;

    const ME: Incarnation = Incarnation::from_bytes([0xa1; ID_BYTES]);

    #[test]
    fn each_topic_has_a_subject_that_its_readers_hear() {
        let subjects = Subjects::of(&NatsSettings::of("localhost".parse().unwrap()));
        let me = "a1".repeat(ID_BYTES);
        let topics = [Topic::Beat, Topic::Told(ME), Topic::Ask(ME)].map(|topic| subjects.of_topic(topic));
        assert_eq!(
            topics,
            ["qchat.beat".to_owned(), format!("qchat.told.{me}"), format!("qchat.whole.{me}")]
        );
        let heard = ["qchat.beat".to_owned(), "qchat.told.*".to_owned(), format!("qchat.whole.{me}")];
        assert_eq!(subjects.heard_by(ME), heard);
    }

    #[test]
    fn a_node_is_of_use_though_the_stream_is_full() {
        let (sender, receiver) = status::channel();
        assert!(!is_of_use(&receiver));
        sender.set(Part::Stream, LogStatus::Well);
        sender.set(Part::Applier, LogStatus::Live { behind: 0 });
        assert!(is_of_use(&receiver));
        sender.set(Part::Publisher, LogStatus::Waiting(NotPublished::Full));
        assert!(is_of_use(&receiver));
        sender.set(Part::Membership, LogStatus::Trouble("it differs".to_owned()));
        assert!(!is_of_use(&receiver));
    }
}
