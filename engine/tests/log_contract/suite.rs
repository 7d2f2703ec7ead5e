//! What every log promises to its callers, whatever carries it. A log is tested by a [`Harness`] for it.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use domain::{
    Body, ChatId, ClientId, Command, Event, Problem, Proposal, Seq, UserId, Visibility, id::ID_BYTES,
};
use engine::{
    change_dispatcher::ChangeDispatcher,
    clock::Clock,
    command_log::{Log, Outcome, Sequencer},
    fanout::{CatchUp, Fanout, FrameSink, Full, Subscriber},
    lobby::Lobby,
    presence::{GRACE, NodeId, Presence},
    progress::Progress,
    storage::Store,
    writer::{Writer, WriterHealth},
};
use futures_util::future::join_all;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);
/// The timeout for anything in a test.
const TIMEOUT: Duration = Duration::from_secs(60);
/// More events than are read at once.
const MANY: usize = 100_000;

/// Makes nodes of one log, one after the other.
pub(crate) trait Harness {
    /// Whether entries are durable before they come to the node, so that they are acknowledged although its disk fails,
    /// until it notices that.
    const IS_DURABLE_ELSEWHERE: bool;

    /// Starts a node on what the one before it has left: its disk, and its stream if it has one.
    async fn start(&self) -> Node;

    /// Lets all writes to the disk fail from now on.
    fn fail_disk(&self);
}

/// A node with a writer, and with everything that it publishes to.
pub(crate) struct Node {
    sequencer: Arc<dyn Sequencer>,
    store: Arc<Store>,
    fanout: Arc<Fanout>,
    progress: Arc<Progress>,
    health: Arc<WriterHealth>,
    clock: Clock,
    writer: thread::JoinHandle<()>,
    /// What carries the log, and ends by itself once nothing can be proposed any more.
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts a writer on a log that goes on where the store ends.
    pub(crate) fn new(
        store: Arc<Store>,
        sequencer: Arc<dyn Sequencer>,
        log: impl Log + 'static,
        clock: Clock,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        let fanout = Arc::new(Fanout::new(1));
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
        let (chats, lifetimes) = (Vec::new(), store.lifetimes());
        let lobby =
            Arc::new(Lobby::new(chats, Arc::clone(&presence), lifetimes, Arc::clone(&clock), usize::MAX));
        let ends = store.read(clock()).unwrap().log().unwrap();
        let progress = Arc::new(Progress::new(ends.map_or(Seq::ZERO, |log| log.seq)));
        let dispatcher = ChangeDispatcher {
            store: Arc::clone(&store),
            fanout: Arc::clone(&fanout),
            presence,
            lobby,
            pictures: Arc::new(engine::pictures::Pictures::off()),
            progress: Arc::clone(&progress),
            steady: None,
        };
        let health = Arc::new(WriterHealth::default());
        let writer = Writer::new(log, Arc::clone(&store), dispatcher, Arc::clone(&health), Arc::default());
        let writer = thread::spawn(|| writer.run());
        Self { sequencer, store, fanout, progress, health, clock, writer, tasks }
    }

    /// Proposes a command, and returns where its outcome comes.
    async fn propose(&self, command: Command) -> oneshot::Receiver<Outcome> {
        let proposing = self.sequencer.propose(Proposal::Command { by: ANA, command });
        soon(proposing).await.unwrap()
    }

    /// Proposes a command, and waits for its outcome.
    async fn execute(&self, command: Command) -> Outcome {
        soon(self.propose(command).await).await.unwrap()
    }

    async fn start_chat(&self) -> Seq {
        let start = Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Public };
        self.execute(start).await.unwrap()
    }

    /// Returns all events of the chat that are stored.
    fn events(&self) -> Vec<Event> {
        let view = self.store.read((self.clock)()).unwrap();
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(Seq::ZERO, |last| last.seq);
            let more = view.events_after(CHAT, after, MANY).unwrap();
            if more.is_empty() {
                return events;
            }
            events.extend(more);
        }
    }

    /// Returns the messages that are stored, each by its client id.
    fn messages(&self) -> Vec<ClientId> {
        let events = self.events();
        events.iter().filter_map(|event| event.kind.message()).map(|message| message.client_id).collect()
    }

    /// Stops in order: nothing is proposed any more, and everything that was is stored.
    async fn stop(self) {
        let Self { sequencer, writer, tasks, .. } = self;
        drop(sequencer);
        for task in tasks {
            soon(task).await.unwrap();
        }
        soon(spawn_blocking(|| writer.join())).await.unwrap().unwrap();
    }
}

/// Fails the test if something that has to happen does not happen within [`TIMEOUT`].
async fn soon<T>(future: impl Future<Output = T>) -> T {
    match timeout(TIMEOUT, future).await {
        Ok(done) => done,
        Err(_) => panic!("nothing came within {TIMEOUT:?}"),
    }
}

/// Returns a client id that is unique for each number.
fn client_id(number: u64) -> ClientId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(bytes)
}

fn post(number: u64) -> Command {
    let body = Body::parse(&format!("message {number}")).unwrap();
    Command::Post { chat: CHAT, client_id: client_id(number), body, waited_millis: 0 }
}

/// Runs the whole suite, each case on a harness of its own.
pub(crate) async fn suite<H: Harness>(make: impl Fn() -> H) {
    every_entry_gets_the_next_number_and_one_caller_s_proposals_keep_their_order(&make()).await;
    an_entry_is_answered_when_it_is_stored_and_shown(&make()).await;
    ten_thousand_proposals_of_many_callers_are_stored_once_each(&make()).await;
    what_is_refused_or_done_already_is_told(&make()).await;
    a_stop_stores_what_waits_and_the_next_start_goes_on_after_it(&make()).await;
    a_disk_that_fails_is_told_and_nothing_is_acknowledged_any_more(&make()).await;
}

async fn every_entry_gets_the_next_number_and_one_caller_s_proposals_keep_their_order(
    harness: &impl Harness,
) {
    let node = harness.start().await;
    let Seq(begun) = node.start_chat().await;
    let mut outcomes = Vec::new();
    for number in 1..=300 {
        outcomes.push(node.propose(post(number)).await);
    }
    for (outcome, expected) in outcomes.into_iter().zip(begun + 1..) {
        assert_eq!(soon(outcome).await.unwrap(), Ok(Seq(expected)));
    }
    assert!(node.messages().into_iter().eq((1..=300).map(client_id)));
    assert!(node.events().windows(2).all(|pair| pair[0].at <= pair[1].at));
    // What is refused has its place as well.
    let elsewhere = Command::SetLock { chat: ChatId::from_bytes([8; ID_BYTES]), is_locked: true };
    assert_eq!(node.execute(elsewhere).await, Err(Problem::UnknownChat));
    assert_eq!(node.execute(post(301)).await, Ok(Seq(begun + 302)));
    node.stop().await;
}

/// A sink that accepts everything.
struct Line;

impl FrameSink for Line {
    fn try_send(&self, _: &Bytes) -> Result<(), Full> {
        Ok(())
    }

    fn prefetch(&self) {}
}

async fn an_entry_is_answered_when_it_is_stored_and_shown(harness: &impl Harness) {
    let node = harness.start().await;
    let mut newest = node.start_chat().await;
    let mut subscription = node.fanout.subscribe(CHAT, Subscriber::new(ANA, Arc::new(Line), Arc::default()));
    for number in 1..=50 {
        let seq = node.execute(post(number)).await.unwrap();
        assert!(node.progress.reached() >= seq);
        assert_eq!(node.messages().last(), Some(&client_id(number)));
        let CatchUp::Events(shown) = subscription.after(newest) else { panic!("{number} is not shown") };
        assert_eq!(shown.last(), seq);
        newest = seq;
    }
    node.stop().await;
}

async fn ten_thousand_proposals_of_many_callers_are_stored_once_each(harness: &impl Harness) {
    let node = harness.start().await;
    let Seq(begun) = node.start_chat().await;
    let caller = async |first: u64| {
        // More than one wait at a time, and not all.
        let mut seqs = Vec::new();
        for some in 0..25 {
            let mut outcomes = Vec::new();
            for number in 0..50 {
                outcomes.push(node.propose(post(first + some * 50 + number)).await);
            }
            for outcome in outcomes {
                seqs.push(soon(outcome).await.unwrap().unwrap());
            }
        }
        assert!(seqs.is_sorted(), "the order of a caller");
        seqs
    };
    let mut seqs = join_all((0..8).map(|number| caller(number * 1_250))).await.concat();
    seqs.sort();
    assert!(seqs.into_iter().eq((begun + 1..=begun + 10_000).map(Seq)));
    let mut messages = node.messages();
    messages.sort();
    assert!(messages.into_iter().eq((0..10_000).map(client_id)));
    node.stop().await;
}

async fn what_is_refused_or_done_already_is_told(harness: &impl Harness) {
    let node = harness.start().await;
    assert_eq!(node.execute(post(1)).await, Err(Problem::UnknownChat));
    node.start_chat().await;
    let first = node.execute(post(1)).await;
    // In one batch, in the next one, and after a start.
    let again = [node.propose(post(2)).await, node.propose(post(2)).await, node.propose(post(1)).await];
    let [second, repeated, long_ago] = join_all(again).await.try_into().unwrap();
    assert_eq!((second.as_ref().unwrap(), long_ago.unwrap()), (repeated.as_ref().unwrap(), first));
    node.stop().await;
    let node = harness.start().await;
    assert_eq!(node.execute(post(1)).await, first);
    assert_eq!(node.messages(), [client_id(1), client_id(2)]);
    node.stop().await;
}

async fn a_stop_stores_what_waits_and_the_next_start_goes_on_after_it(harness: &impl Harness) {
    let node = harness.start().await;
    let (epoch, Seq(begun)) = (node.sequencer.epoch(), node.start_chat().await);
    let mut outcomes = Vec::new();
    for number in 1..=600 {
        outcomes.push(node.propose(post(number)).await);
    }
    node.stop().await;
    for (outcome, expected) in outcomes.into_iter().zip(begun + 1..) {
        assert_eq!(soon(outcome).await.unwrap(), Ok(Seq(expected)));
    }
    let node = harness.start().await;
    assert_eq!((node.sequencer.epoch(), node.progress.reached()), (epoch, Seq(begun + 600)));
    assert_eq!(node.execute(post(601)).await, Ok(Seq(begun + 601)));
    assert!(node.messages().into_iter().eq((1..=601).map(client_id)));
    node.stop().await;
}

async fn a_disk_that_fails_is_told_and_nothing_is_acknowledged_any_more<H: Harness>(harness: &H) {
    let node = harness.start().await;
    node.start_chat().await;
    node.execute(post(1)).await.unwrap();
    assert!(node.health.is_well());
    harness.fail_disk();
    let outcome = node.propose(post(2)).await;
    soon(node.health.cannot_go_on()).await;
    assert!(!node.health.is_well());
    let is_acknowledged = matches!(soon(outcome).await, Ok(Ok(_)));
    assert!(!is_acknowledged || H::IS_DURABLE_ELSEWHERE);
    assert_eq!(node.messages().len(), 1 + usize::from(is_acknowledged));
    let command = Proposal::Command { by: ANA, command: post(3) };
    if let Ok(outcome) = soon(node.sequencer.propose(command)).await {
        assert!(!matches!(soon(outcome).await, Ok(Ok(_))));
    }
    node.stop().await;
}
