//! The replicated log: whatever happens to messages and nodes, all nodes come to the same state, and what was
//! acknowledged is in it once and in order. `QCHAT_CASES=5000` tries as many clusters instead of 64.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "support/memory_stream.rs"]
#[expect(dead_code, reason = "each test uses another part of it")]
mod memory_stream;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    Alt, Attached, Body, Chat, ChatId, ClientId, Command, Emoji, Entry, Epoch, Event, LogClock, LogSettings,
    Mark, MarkKind, Marks, Nickname, Picture, PictureId, Proposal, Restored, Rules, Seq, Timestamp, Title,
    UserId, Visibility, Wording, id::ID_BYTES, model, reaction::EMOJI_BYTES,
};
use engine::{
    clock::ReplicaClock,
    command_log::{
        Guarded, Log, Next, NotStored, Outcome, Sequencer,
        envelope::{Content, Envelope, encode},
        replicated::{self, CHECKPOINT_AFTER, Opening, ReplicatedLog, ReplicatedSequencer},
        status::{self, LogStatus, Part, StatusReceiver},
        transport::{Delivery, Incarnation, NotPublished, StreamEnd},
    },
    metrics::ReplicationMetrics,
    storage::{Advance, LogState, MARK_PLACES, Predecessor, ReplicaState, Store, StoreError},
    supervisor::Panics,
    writer::commit,
};
use memory_stream::{FOUNDER, MemoryStream};
use proptest::prelude::*;
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, Value,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);
const BEGUN: Timestamp = Timestamp(1_800_000_000_000);
const RULES: (Rules, Rules) = (Rules::OLDEST, Rules::NEWEST);

fn settings() -> LogSettings {
    model::LIFETIMES.into()
}

/// A disk in memory, which knows what it would still have after a power cut.
#[derive(Debug, Clone, Default)]
struct Disk {
    now: Arc<Mutex<Vec<u8>>>,
    synced: Arc<Mutex<Vec<u8>>>,
}

impl Disk {
    /// Returns a copy, as it would be after the process was killed, or the power was cut.
    fn copy(&self, is_power_cut: bool) -> Self {
        let bytes = if is_power_cut { self.synced.lock().unwrap() } else { self.now.lock().unwrap() };
        Self { now: Arc::new(Mutex::new(bytes.clone())), synced: Arc::new(Mutex::new(bytes.clone())) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.now.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.now.lock().unwrap();
        let begin = usize::try_from(offset).unwrap();
        out.copy_from_slice(bytes.get(begin..begin + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.now.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.synced.lock().unwrap().clone_from(&self.now.lock().unwrap());
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let begin = usize::try_from(offset).unwrap();
        self.now.lock().unwrap()[begin..begin + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Opens the view of a log that begins with nothing.
fn view(disk: Disk) -> Store {
    let store = Store::open_replica_on(disk).unwrap();
    if store.replica().unwrap().is_none() {
        let log = LogState { epoch: EPOCH, seq: Seq::ZERO, at: Timestamp::default() };
        let state = ReplicaState::beginning(0, LogSettings::default(), LogClock::default());
        store.begin_replica(None, log, &state).unwrap();
    }
    store
}

/// A node whose log is taken step by step.
struct Node {
    disk: Disk,
    store: Store,
    log: ReplicatedLog,
    sequencer: ReplicatedSequencer,
    batching: JoinHandle<()>,
    deliveries: mpsc::Sender<Delivery>,
    status: StatusReceiver,
    end: StreamEnd,
    panics: Panics,
    /// The newest place that was delivered.
    delivered: u64,
    /// The messages that were posted here, and where their outcomes come.
    posted: Vec<(Option<ClientId>, oneshot::Receiver<Outcome>)>,
    /// The rules by which each entry was decided.
    decided_by: BTreeMap<Seq, Rules>,
}

impl Node {
    fn start(runtime: &Runtime, stream: &MemoryStream, disk: Disk, me: Incarnation) -> Self {
        Self::start_by(runtime, stream, disk, me, RULES)
    }

    /// Starts a node that knows these rules.
    fn start_by(
        runtime: &Runtime,
        stream: &MemoryStream,
        disk: Disk,
        me: Incarnation,
        rules: (Rules, Rules),
    ) -> Self {
        let end = StreamEnd::at(stream.length());
        let store = view(disk.clone());
        let (deliveries, receiver) = mpsc::channel(64);
        let (sender, status) = status::channel();
        let opening = Opening {
            me,
            published: 0,
            transport: stream.clone(),
            deliveries: receiver,
            end: end.clone(),
            rules,
            checkpoint_after: CHECKPOINT_AFTER,
            clock: Arc::new(ReplicaClock::new(BEGUN, stream.uptime(), Arc::new(Timestamp::default))),
            status: sender,
            metrics: ReplicationMetrics::default(),
        };
        let (sequencer, log, batcher) = replicated::open(&store, opening).unwrap();
        let batching = runtime.spawn(async move { batcher.run().await });
        let delivered = store.replica().unwrap().unwrap().place;
        Self {
            disk,
            store,
            log,
            sequencer,
            batching,
            deliveries,
            status,
            end,
            panics: Panics::default(),
            delivered,
            posted: Vec::new(),
            decided_by: BTreeMap::new(),
        }
    }

    /// Delivers the next messages, at most `count`, and applies them. Returns the entries with their outcomes.
    fn apply(&mut self, stream: &MemoryStream, count: u64) -> Vec<(Entry, Outcome)> {
        for _ in 0..count {
            let next = self.delivered + 1;
            let Some(delivery) = stream.delivery(next) else { break };
            if self.deliveries.capacity() < 2 {
                break;
            }
            if let Some(again) = stream.again(next) {
                self.deliveries.try_send(stream.delivery(again).unwrap()).unwrap();
            }
            self.deliveries.try_send(delivery).unwrap();
            self.delivered = next;
        }
        let mut applied = Vec::new();
        while self.store.replica().unwrap().unwrap().place < self.delivered {
            applied.extend(self.step());
        }
        applied
    }

    /// Writes a snapshot of what was applied. Returns its place.
    fn snapshot(&self, file: &Path) -> u64 {
        // Nothing is applied meanwhile.
        self.store.read(Timestamp::default()).unwrap().export(File::create(file).unwrap()).unwrap();
        self.store.replica().unwrap().unwrap().place
    }

    /// Delivers a snapshot, and loads it.
    fn load(&mut self, file: &Path, place: u64) {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).unwrap();
        self.deliveries.try_send(Delivery::Replace { file: copy.clone(), place }).unwrap();
        let guarded = Guarded { store: &self.store, panics: &self.panics, task: "test" };
        let Next::Replace(replacement) = self.log.next() else { panic!("a snapshot was to be loaded") };
        self.log.replace(&guarded, replacement).unwrap();
        assert!(!copy.exists(), "what is removed later would still be in it");
        assert_eq!(self.store.replica().unwrap().unwrap().place, place);
        self.delivered = place;
    }

    /// Applies what was delivered, or some of it.
    fn step(&mut self) -> Vec<(Entry, Outcome)> {
        let guarded = Guarded { store: &self.store, panics: &self.panics, task: "test" };
        let Next::Batch(batch) = self.log.next() else { panic!("there was something to apply") };
        let mut applied = Vec::new();
        // Other rules hold from the next batch on.
        let rules = self.store.settings().rules;
        for written in self.log.store(&guarded, batch, commit) {
            for (placed, outcome) in written.entries.into_iter().zip(written.stored.unwrap().outcomes) {
                self.decided_by.insert(placed.entry.seq, rules);
                applied.push((placed.entry.clone(), outcome));
                placed.answer(outcome);
            }
        }
        self.log.maintain(&guarded).unwrap();
        applied
    }

    fn propose(&mut self, runtime: &Runtime, proposal: Proposal) {
        let client_id = posted(&proposal);
        let outcome = runtime.block_on(self.sequencer.propose(proposal)).unwrap();
        self.posted.push((client_id, outcome));
    }

    /// Returns the posts that were acknowledged, in the order in which they were proposed.
    fn acknowledged(&mut self) -> Vec<(ClientId, Seq)> {
        let mut acknowledged = Vec::new();
        for (client_id, outcome) in &mut self.posted {
            if let (Some(client_id), Ok(Ok(seq))) = (*client_id, outcome.try_recv()) {
                acknowledged.push((client_id, seq));
            }
        }
        acknowledged
    }

    /// Ends the node as a kill or a power cut does. Returns its disk.
    fn kill(self, is_power_cut: bool) -> Disk {
        self.batching.abort();
        self.disk.copy(is_power_cut)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Lets the tasks work for a while.
fn pass(runtime: &Runtime, time: Duration) {
    runtime.block_on(async { sleep(time).await });
}

/// Returns the client id of the message that a proposal posts. `None` for another proposal.
fn posted(proposal: &Proposal) -> Option<ClientId> {
    match proposal {
        Proposal::Command { command: Command::Post { client_id, .. }, .. }
        | Proposal::Command { command: Command::Say { client_id, .. }, .. } => Some(*client_id),
        _ => None,
    }
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number % 4; ID_BYTES])
}

/// Returns the proposal of a number: the bytes choose its kind, the user, one of the newest chats and an argument.
fn proposal(
    [kind, who, place, with]: [u8; 4],
    number: u64,
    chats: &mut Vec<ChatId>,
    stream: &MemoryStream,
) -> Proposal {
    let mut fresh = [0; ID_BYTES];
    fresh[2..].copy_from_slice(&number.to_be_bytes());
    let fresh_chat = ChatId::from_bytes(fresh);
    let newest = chats.iter().rev().nth((place % 3).into());
    let (by, chat) = (user(who), newest.copied().unwrap_or(fresh_chat));
    let now = stream.now();
    let earlier = |back: u8| Seq(number.saturating_sub(back.into()));
    let words = || {
        let body = Body::parse(&format!("@you message {number}")).unwrap();
        let marks = Marks::checked(&body, vec![Mark(MarkKind::Mention, 0, 4)]).unwrap();
        Wording { body, marks, mentions: vec![user(with)] }
    };
    let picture = || {
        let id = PictureId::from_bytes(if with > 250 { [7; ID_BYTES] } else { fresh });
        let alt = Alt::parse("A cat").unwrap();
        let picture = Picture { id, width: 20, height: 10, small: (2, 1), bytes: 300, alt };
        Attached { picture, uploaded_at: now }
    };
    let command = match kind % 24 {
        0 | 1 => {
            chats.push(fresh_chat);
            Command::StartChat { chat: fresh_chat, title: None, visibility: Visibility::Public }
        }
        2 => Command::SetNickname { nickname: Nickname::friendly(with.into()), chats: vec![chat] },
        3 => Command::EditTitle { chat, title: Title::for_chat_of(&Nickname::friendly(with.into())) },
        4 => Command::SetLock { chat, is_locked: with % 2 == 0 },
        5 => Command::RemovePerson { chat, person: user(with) },
        6 => Command::ChatPrivately { with: user(with), chat: fresh_chat, is_there: false, is_near: true },
        7 => Command::RemoveMessage { chat, message: earlier(with % 16) },
        8 => return Proposal::UserLeft(by),
        9 => return Proposal::Touch { users: vec![(by, now)], chats: vec![(chat, now)] },
        10 => {
            let events = vec![(chat, Seq(u64::from(with) / 2))];
            return Proposal::Expire { users: vec![by], chats: vec![chat], events };
        }
        11 => return Proposal::ClockSet((i64::from(with) - 128) * 1_000),
        12..15 => Command::Say {
            chat,
            client_id: ClientId::from_bytes(fresh),
            words: words(),
            reply_to: (with % 4 == 0).then(|| earlier(who % 8)),
            pictures: (with % 4 == 1).then(picture).into_iter().collect(),
            is_action: with % 8 == 0,
            waited_millis: 0,
        },
        15 | 16 => Command::EditMessage { chat, message: earlier(with % 8), words: words() },
        17 => {
            let said = Restored { words: words(), reply_to: None, is_action: false, alts: Vec::new() };
            let (message, removal) = (earlier(with % 8), earlier(with / 8 % 8));
            Command::RestoreMessage { chat, message, removal, said: Box::new(said) }
        }
        18..21 => {
            let emoji =
                Emoji::try_from(["\u{1f44d}", "\u{1f389}"][usize::from(with % 2)].to_owned()).unwrap();
            Command::React { chat, message: earlier(with / 2 % 8), emoji, is_on: with < 192 }
        }
        _ => {
            let body = Body::parse(&format!("message {number}")).unwrap();
            Command::Post { chat, client_id: ClientId::from_bytes(fresh), body, waited_millis: 0 }
        }
    };
    Proposal::Command { by, command }
}

/// What happens next in a cluster.
#[derive(Debug, Clone)]
enum Step {
    /// A node proposes something.
    Propose(usize, [u8; 4]),
    /// The nodes publish what they can for a while.
    Publish,
    /// A node applies the next messages, at most this many.
    Apply(usize, u64),
    /// A node makes a checkpoint.
    Checkpoint(usize),
    /// A node is killed, or its power is cut, and it is started again.
    Restart(usize, bool),
    /// A node makes a snapshot.
    Snapshot(usize),
    /// A node loads the newest snapshot, if it is behind it.
    Load(usize),
    /// Another server leads the stream, whose clock is wrong by this much.
    Leap(i64),
    /// True time passes.
    Pass(u64),
    /// A node proposes the newest rules.
    Rules(usize),
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..nodes, any::<[u8; 4]>()).prop_map(|(node, bytes)| Step::Propose(node, bytes)),
        4 => Just(Step::Publish),
        6 => (0..nodes, 1_u64..9).prop_map(|(node, count)| Step::Apply(node, count)),
        1 => (0..nodes).prop_map(Step::Checkpoint),
        1 => (0..nodes, any::<bool>()).prop_map(|(node, is_power_cut)| Step::Restart(node, is_power_cut)),
        1 => (0..nodes).prop_map(Step::Snapshot),
        1 => (0..nodes).prop_map(Step::Load),
        1 => (-3_600_000..3_600_000_i64).prop_map(Step::Leap),
        1 => (0_u64..200_000).prop_map(Step::Pass),
        1 => (0..nodes).prop_map(Step::Rules),
    ]
}

/// What all nodes have to agree on, and has been acknowledged.
#[derive(Default)]
struct Agreed {
    entries: BTreeMap<Seq, (Entry, Outcome)>,
}

impl Agreed {
    /// Adds what a node has applied, which has to be what others have.
    fn add(&mut self, applied: Vec<(Entry, Outcome)>) {
        for (entry, outcome) in applied {
            let seq = entry.seq;
            let first = self.entries.entry(seq).or_insert_with(|| (entry.clone(), outcome));
            assert_eq!(*first, (entry, outcome), "two nodes differ at {seq}");
        }
    }
}

fn rows<K: Key + 'static, V: Value + 'static>(read: &ReadTransaction, name: &str) -> Vec<String> {
    let table = read.open_table(TableDefinition::<K, V>::new(name)).unwrap();
    let row = |row: Result<(redb::AccessGuard<'_, K>, redb::AccessGuard<'_, V>), _>| {
        let (key, value) = row.unwrap();
        format!("{name} {:?} {:?}", key.value(), value.value())
    };
    table.iter().unwrap().map(row).collect()
}

/// Returns everything that is stored.
fn dump(disk: &Disk) -> Vec<String> {
    type Id = [u8; ID_BYTES];
    let database = Database::builder().create_with_backend(disk.clone()).unwrap();
    let read = database.begin_read().unwrap();
    [
        rows::<(), &[u8]>(&read, "log"),
        rows::<(), &[u8]>(&read, "replica"),
        rows::<Id, &[u8]>(&read, "producers"),
        rows::<Id, &[u8]>(&read, "users"),
        rows::<Id, &[u8]>(&read, "chats"),
        rows::<Id, u64>(&read, "users_active"),
        rows::<Id, u64>(&read, "chats_active"),
        rows::<(Id, Id), Id>(&read, "pairs"),
        rows::<(Id, u64), &[u8]>(&read, "events"),
        rows::<(Id, Id, Id), u64>(&read, "posted"),
        rows::<(Id, Id, Id), u64>(&read, "removed"),
        rows::<(Id, Id), ()>(&read, "hidden"),
        rows::<Id, ()>(&read, "uninvited"),
        rows::<(Id, u64, Id, [u8; EMOJI_BYTES]), ()>(&read, "reactions"),
        rows::<(Id, Id, u64, [u8; EMOJI_BYTES]), ()>(&read, "reacted_by"),
        rows::<(Id, u64), &[u8]>(&read, "tallies"),
        rows::<(Id, u64), u64>(&read, "tallied"),
        rows::<(Id, Id, u64), ()>(&read, "mentions"),
        rows::<(Id, u64, Id), &[u8]>(&read, "pictures"),
        rows::<Id, (Id, u64)>(&read, "picture_of"),
        rows::<(), u64>(&read, "bytes"),
    ]
    .concat()
}

/// Runs a cluster, lets it become quiet, and checks all that is promised.
fn run_cluster(seed: u64, count: usize, steps: Vec<Step>) {
    let runtime = runtime();
    let stream = MemoryStream::new(seed, 16, BEGUN);
    let founded = if seed.is_multiple_of(2) { Rules::OLDEST } else { Rules::NEWEST };
    stream.found(EPOCH, LogSettings { rules: founded, ..settings() });
    let mut incarnations = (0_u8..).map(|number| Incarnation::from_bytes([number; ID_BYTES]));
    let mut start = |disk| Node::start(&runtime, &stream, disk, incarnations.next().unwrap());
    let mut nodes: Vec<Node> = (0..count).map(|_| start(Disk::default())).collect();
    let (mut agreed, mut acknowledged, mut number) = (Agreed::default(), Vec::new(), 0);
    let folder = tempfile::tempdir().unwrap();
    let mut snapshots: Vec<(u64, PathBuf)> = Vec::new();
    let (mut chats, mut decided_by) = (Vec::new(), BTreeMap::new());
    for step in steps {
        match step {
            Step::Propose(node, bytes) => {
                number += 1;
                nodes[node].propose(&runtime, proposal(bytes, number, &mut chats, &stream));
            }
            Step::Publish => pass(&runtime, Duration::from_millis(700)),
            Step::Apply(node, count) => agreed.add(nodes[node].apply(&stream, count)),
            Step::Checkpoint(node) => nodes[node].store.checkpoint().unwrap(),
            Step::Restart(node, is_power_cut) => {
                acknowledged.push(nodes[node].acknowledged());
                decided_by.append(&mut nodes[node].decided_by);
                let disk = nodes.remove(node).kill(is_power_cut);
                nodes.insert(node, start(disk));
            }
            Step::Snapshot(node) => {
                let file = folder.path().join(snapshots.len().to_string());
                snapshots.push((nodes[node].snapshot(&file), file));
            }
            Step::Load(node) => {
                let newest = snapshots.iter().max().filter(|(place, _)| *place > nodes[node].delivered);
                if let Some((place, file)) = newest {
                    nodes[node].load(file, *place);
                }
            }
            Step::Leap(wrong) => stream.leap(wrong),
            Step::Pass(millis) => stream.pass(millis),
            Step::Rules(node) => nodes[node].sequencer.rules().propose(Rules::NEWEST),
        }
    }
    // Until nothing comes any more.
    loop {
        let length = stream.length();
        pass(&runtime, Duration::from_secs(60));
        for node in &mut nodes {
            while node.delivered < stream.length() {
                agreed.add(node.apply(&stream, u64::MAX));
            }
        }
        if stream.length() == length {
            break;
        }
    }
    acknowledged.extend(nodes.iter_mut().map(Node::acknowledged));
    nodes.iter_mut().for_each(|node| decided_by.append(&mut node.decided_by));
    let last = nodes.iter().map(|node| node.store.replica().unwrap().unwrap()).collect::<Vec<_>>();
    assert!(last.iter().all(|state| state == &last[0] && state.place == stream.length()), "{last:?}");

    // Every outcome that can be known is known, and nothing was lost, repeated or reordered.
    for node in &mut nodes {
        assert_eq!(node.status.of(Part::Applier), LogStatus::Live { behind: 0 });
        for (_, outcome) in &mut node.posted {
            assert_ne!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Empty), "it still waits");
        }
    }
    for acknowledged in &acknowledged {
        assert!(acknowledged.is_sorted_by_key(|(_, seq)| seq));
        for (client_id, seq) in acknowledged {
            let (entry, outcome) = &agreed.entries[seq];
            assert_eq!(*outcome, Ok(*seq));
            assert_eq!(posted(&entry.proposal), Some(*client_id));
        }
    }
    let mut places = BTreeMap::new();
    for (entry, _) in agreed.entries.values() {
        if let Some(client_id) = posted(&entry.proposal) {
            assert_eq!(places.insert(client_id, entry.seq), None, "it is in the log twice");
        }
    }
    let entries = agreed.entries.len() as u64;
    assert!(agreed.entries.keys().copied().eq((1..=entries).map(Seq)), "numbers are dense");

    // A model that never was killed decides the same.
    let mut model = model::Model::default();
    for (entry, outcome) in agreed.entries.values() {
        let settings = LogSettings { rules: decided_by[&entry.seq], ..settings() };
        let Ok(decision) = domain::decide(&model, entry, settings);
        let decided = match &decision {
            domain::Decision::Accepted(changes) => {
                changes.iter().for_each(|change| model.apply(change));
                Ok(entry.seq)
            }
            domain::Decision::Duplicate(first) => Ok(*first),
            domain::Decision::Rejected(problem) => Err(*problem),
        };
        assert_eq!(decided, *outcome);
    }
    for node in &nodes {
        let view = node.store.read(Timestamp::default()).unwrap();
        let chats: BTreeMap<ChatId, Chat> =
            view.chats().unwrap().into_iter().map(|kept| (kept.value.id, kept.value)).collect();
        let expected: BTreeMap<_, _> =
            model.chats.iter().map(|(id, kept)| (*id, kept.value.clone())).collect();
        assert_eq!(chats, expected);
        let mut events: Vec<Event> =
            chats.keys().flat_map(|chat| view.events_after(*chat, Seq::ZERO, 1 << 30).unwrap()).collect();
        events.sort_by_key(|event| event.seq);
        let read = model.read_events();
        assert!(events.iter().eq(read.iter().filter(|event| chats.contains_key(&event.chat))));
    }
    let exports = nodes.iter().map(|node| {
        let file = folder.path().join("last");
        node.snapshot(&file);
        fs::read(file).unwrap()
    });
    let exports: Vec<_> = exports.collect();
    assert!(exports.iter().all(|export| *export == exports[0]), "the snapshots differ");
    let dumps: Vec<_> = nodes
        .into_iter()
        .map(|node| {
            node.store.checkpoint().unwrap();
            dump(&node.kill(true))
        })
        .collect();
    for other in &dumps {
        assert_eq!(*other, dumps[0]);
    }
}

fn cases() -> u32 {
    std::env::var("QCHAT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_and_nothing_acknowledged_is_lost_repeated_or_reordered(
        seed: u64,
        (count, steps) in (2_usize..4).prop_flat_map(|count| {
            (Just(count), prop::collection::vec(step(count), 1..120))
        }),
    ) {
        run_cluster(seed, count, steps);
    }
}

/// A node whose messages are given to it one by one.
struct Alone {
    runtime: Runtime,
    stream: MemoryStream,
    node: Node,
}

impl Alone {
    fn new() -> Self {
        Self::with(settings(), Disk::default(), RULES)
    }

    /// A node that can decide by these rules and has this disk. The log is founded with settings.
    fn with(settings: LogSettings, disk: Disk, rules: (Rules, Rules)) -> Self {
        let (runtime, stream) = (runtime(), MemoryStream::new(1, 0, BEGUN));
        stream.found(EPOCH, settings);
        let me = Incarnation::from_bytes([1; ID_BYTES]);
        let node = Node::start_by(&runtime, &stream, disk, me, rules);
        Self { runtime, stream, node }
    }

    /// Appends a message of another sender.
    fn append(&self, number: u64, content: Content) {
        let from = Incarnation::from_bytes([2; ID_BYTES]);
        self.stream
            .append(encode(EPOCH, &Envelope { from, number, uptime_millis: number, content }).unwrap());
    }

    fn apply(&mut self) -> Vec<(Entry, Outcome)> {
        self.node.apply(&self.stream, u64::MAX)
    }

    /// Delivers what is in the stream, which stops the log, and closes it. Returns the status.
    fn stops(mut self) -> LogStatus {
        while let Some(delivery) = self.stream.delivery(self.node.delivered + 1) {
            self.node.deliveries.try_send(delivery).unwrap();
            self.node.delivered += 1;
        }
        let before = self.node.store.replica().unwrap();
        self.node.posted.clear();
        self.node.propose(&self.runtime, start_chat());
        let (closed, _) = mpsc::channel(1);
        self.node.deliveries = closed;
        let guarded = Guarded { store: &self.node.store, panics: &self.node.panics, task: "test" };
        loop {
            match self.node.log.next() {
                Next::Batch(batch) => drop(self.node.log.store(&guarded, batch, commit)),
                Next::End => break,
                Next::Idle | Next::Replace(_) => {}
            }
            self.node.log.maintain(&guarded).unwrap();
        }
        // The database is kept, what was to be published is not, and nothing is any more.
        assert!(self.node.store.replica().unwrap().unwrap().place >= before.unwrap().place);
        self.runtime.block_on(&mut self.node.batching).unwrap();
        let (_, mut outcome) = self.node.posted.pop().unwrap();
        assert_eq!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        let refused = self.runtime.block_on(self.node.sequencer.propose(start_chat()));
        assert_eq!(refused.map(drop), Err(domain::Problem::NotStored));
        self.node.status.of(Part::Applier)
    }
}

fn start_chat() -> Proposal {
    let command = Command::StartChat {
        chat: ChatId::from_bytes([7; ID_BYTES]),
        title: None,
        visibility: Visibility::Public,
    };
    Proposal::Command { by: user(1), command }
}

#[test]
fn a_message_of_a_newer_format_stops_a_node_before_it() {
    let alone = Alone::new();
    alone.append(1, Content::Proposals(vec![start_chat()]));
    let mut newer = vec![7_u8];
    newer.extend(EPOCH.bytes());
    let checksum = crc32fast::hash(&newer).to_le_bytes();
    alone.stream.append([b"QCLG\x07".as_slice(), &checksum, &newer[1..]].concat().into());
    assert_eq!(alone.stops(), LogStatus::NeedsFormat { place: 3, format: 7 });
}

#[test]
fn rules_that_are_not_known_stop_a_node_and_known_ones_do_not() {
    let mut alone = Alone::new();
    alone.append(1, Content::Rules(Rules(1)));
    alone.append(2, Content::Proposals(vec![start_chat()]));
    assert_eq!(alone.apply().len(), 1);
    alone.append(3, Content::Rules(Rules(9)));
    alone.append(4, Content::Proposals(vec![start_chat()]));
    assert_eq!(alone.stops(), LogStatus::NeedsRules { place: 4, rules: Rules(9), known: RULES });
}

/// Returns a disk with a view that has applied everything up to a place from which on these rules hold.
fn disk_with_rules(place: u64, rules: Rules) -> Disk {
    let disk = Disk::default();
    let store = Store::open_replica_on(disk.clone()).unwrap();
    let log = LogState { epoch: EPOCH, seq: Seq::ZERO, at: Timestamp::default() };
    let state = ReplicaState::beginning(place, LogSettings { rules, ..settings() }, LogClock::default());
    store.begin_replica(None, log, &state).unwrap();
    drop(store);
    disk
}

#[test]
fn a_database_whose_rules_are_not_known_is_kept_and_nothing_is_applied_to_it() {
    let alone = Alone::with(settings(), disk_with_rules(0, Rules(9)), RULES);
    let needed = LogStatus::NeedsRules { place: 1, rules: Rules(9), known: RULES };
    assert_eq!(alone.node.status.of(Part::Applier), needed);
    let disk = alone.node.disk.clone();
    assert_eq!(alone.stops(), needed);
    assert_eq!(view(disk).replica().unwrap().unwrap().place, 0);
}

#[test]
fn a_snapshot_whose_rules_are_not_known_stops_a_node_there() {
    let mut alone = Alone::new();
    alone.append(1, Content::Proposals(vec![start_chat()]));
    alone.apply();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    let other = view(disk_with_rules(5, Rules(9)));
    other.read(Timestamp::default()).unwrap().export(File::create(&file).unwrap()).unwrap();
    alone.node.load(&file, 5);
    for number in 2..6 {
        alone.append(number, Content::Proposals(Vec::new()));
    }
    assert_eq!(alone.stops(), LogStatus::NeedsRules { place: 6, rules: Rules(9), known: RULES });
}

#[test]
fn older_rules_than_those_that_hold_change_nothing_and_need_not_be_known() {
    let newer = LogSettings { rules: Rules(2), ..settings() };
    let mut alone = Alone::with(newer, disk_with_rules(0, Rules(2)), (Rules(2), Rules(3)));
    alone.append(1, Content::Rules(Rules(1)));
    alone.append(2, Content::Proposals(vec![start_chat()]));
    assert_eq!(alone.apply().len(), 1);
    assert_eq!(alone.node.store.settings(), newer);
    assert_eq!(alone.node.status.of(Part::Applier), LogStatus::Live { behind: 0 });
}

#[test]
fn a_node_is_ready_while_it_reaches_in_time_what_was_the_newest_place() {
    let mut alone = Alone::new();
    alone.apply();
    let mut number = 0;
    let mut seconds = |alone: &mut Alone, seconds: u64, appended: u64, applied: u64| {
        for _ in 0..seconds {
            for _ in 0..appended {
                number += 1;
                alone.append(number, Content::Proposals(Vec::new()));
            }
            alone.stream.pass(1_000);
            alone.node.apply(&alone.stream, applied);
        }
        alone.node.status.of(Part::Applier)
    };
    // There is always one more, and it is never at the end.
    seconds(&mut alone, 1, 2, 1);
    assert_eq!(seconds(&mut alone, 60, 1, 1), LogStatus::Live { behind: 1 });
    // It gets further and further behind.
    assert!(matches!(seconds(&mut alone, 3, 30, 1), LogStatus::Live { .. }), "for a moment only");
    assert!(matches!(seconds(&mut alone, 10, 30, 1), LogStatus::CatchingUp { .. }));
    // It is faster again, and still not at the end.
    assert!(matches!(seconds(&mut alone, 17, 30, 50), LogStatus::Live { behind: 1.. }));
}

#[test]
fn a_node_that_was_away_is_ready_when_it_has_applied_all_that_came_meanwhile() {
    let mut alone = Alone::new();
    alone.apply();
    assert_eq!(alone.node.status.of(Part::Applier), LogStatus::Live { behind: 0 });
    for number in 1..=40 {
        alone.append(number, Content::Proposals(Vec::new()));
    }
    // Somebody else has said more since.
    alone.node.end.owe(31);
    for _ in 0..6 {
        alone.node.apply(&alone.stream, 4);
        assert!(matches!(alone.node.status.of(Part::Applier), LogStatus::CatchingUp { .. }));
    }
    alone.node.apply(&alone.stream, 6);
    assert_eq!(alone.node.status.of(Part::Applier), LogStatus::Live { behind: 10 });
}

#[test]
fn who_waits_for_a_message_that_the_servers_lost_learns_that_though_nobody_writes() {
    let mut alone = Alone::new();
    alone.apply();
    alone.node.propose(&alone.runtime, start_chat());
    pass(&alone.runtime, Duration::from_secs(1));
    assert_eq!(alone.stream.length(), 2);
    alone.stream.cut(1);
    pass(&alone.runtime, Duration::from_secs(45));
    alone.apply();
    let (_, outcome) = &mut alone.node.posted[0];
    assert_eq!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed), "its outcome is unknown");
    pass(&alone.runtime, Duration::from_secs(600));
    assert_eq!(alone.stream.length(), 2, "nothing is overdue any more");
}

#[test]
fn a_node_whose_messages_are_not_read_stops_publishing_and_says_so() {
    let mut alone = Alone::new();
    for _ in 0..70 {
        alone.node.propose(&alone.runtime, start_chat());
        pass(&alone.runtime, Duration::from_millis(10));
    }
    assert_eq!(alone.stream.length(), 65);
    assert_eq!(alone.node.status.of(Part::Publisher), LogStatus::Well);
    pass(&alone.runtime, Duration::from_secs(6));
    assert_eq!(alone.stream.length(), 65);
    assert_eq!(alone.node.status.of(Part::Publisher), LogStatus::Waiting(NotPublished::NotRead));
    let applied = alone.apply().len();
    pass(&alone.runtime, Duration::from_secs(1));
    assert_eq!(applied + alone.apply().len(), 70);
    assert_eq!(alone.node.status.of(Part::Publisher), LogStatus::Well);
}

#[test]
fn rules_are_proposed_between_proposals_and_hold_once() {
    let mut alone = Alone::new();
    let rules = alone.node.sequencer.rules();
    alone.node.propose(&alone.runtime, start_chat());
    pass(&alone.runtime, Duration::from_secs(1));
    for _ in 0..2 {
        rules.propose(Rules::NEWEST);
        pass(&alone.runtime, Duration::from_secs(1));
    }
    alone.node.propose(&alone.runtime, start_chat());
    pass(&alone.runtime, Duration::from_secs(1));
    assert_eq!((alone.stream.length(), alone.apply().len()), (4, 2));
    assert_eq!(alone.node.store.settings(), settings());
    assert_eq!(alone.node.status.of(Part::Applier), LogStatus::Live { behind: 0 });
}

#[test]
fn a_message_that_is_missing_stops_a_node() {
    let mut alone = Alone::new();
    alone.append(1, Content::Proposals(vec![start_chat()]));
    alone.append(2, Content::Proposals(Vec::new()));
    alone.node.delivered = 2;
    assert_eq!(alone.stops(), LogStatus::Gap { after: 0, place: 3 });
}

#[test]
fn a_log_that_does_not_begin_with_its_founding_stops_a_node() {
    let (runtime, stream) = (runtime(), MemoryStream::new(1, 0, BEGUN));
    let node = Node::start(&runtime, &stream, Disk::default(), FOUNDER);
    let alone = Alone { runtime, stream, node };
    alone.append(1, Content::Proposals(vec![start_chat()]));
    assert!(matches!(alone.stops(), LogStatus::Halted { place: 1, .. }));
}

#[test]
fn what_is_not_of_this_log_is_skipped_and_so_is_a_second_founding() {
    let mut alone = Alone::new();
    alone.stream.append(Bytes::from_static(b"hello"));
    alone.stream.append(Bytes::new());
    let other = Envelope {
        from: FOUNDER,
        number: 7,
        uptime_millis: 0,
        content: Content::Proposals(vec![start_chat()]),
    };
    alone.stream.append(encode(Epoch::from_bytes([8; ID_BYTES]), &other).unwrap());
    alone.stream.found(EPOCH, LogSettings::default());
    alone.append(1, Content::Proposals(vec![start_chat()]));
    alone.append(1, Content::Proposals(vec![start_chat()]));
    let applied = alone.apply();
    assert_eq!(applied.iter().map(|(entry, _)| entry.seq).collect::<Vec<_>>(), [Seq(1)]);
    assert_eq!(alone.node.store.settings(), settings());
    assert_eq!(alone.node.store.replica().unwrap().unwrap().place, 7);
}

/// However the messages are put into batches, the marks are of the same places and equal.
#[test]
fn a_mark_is_made_at_every_multiple_of_1024_places() {
    let marks = |at_once: u64| {
        let mut alone = Alone::new();
        for number in 1..=2 * MARK_PLACES + 100 {
            let nickname = Nickname::friendly(number);
            let command = Command::SetNickname { nickname, chats: Vec::new() };
            alone.append(number, Content::Proposals(vec![Proposal::Command { by: user(1), command }]));
        }
        let mut marks = Vec::new();
        while alone.node.delivered < alone.stream.length() {
            alone.node.apply(&alone.stream, at_once);
            marks.push(alone.node.store.replica().unwrap().unwrap().mark);
        }
        marks.dedup();
        marks
    };
    let one_by_one = marks(1);
    let places = one_by_one.iter().map(|(place, _)| *place).collect::<Vec<_>>();
    assert_eq!(places, [0, MARK_PLACES, 2 * MARK_PLACES]);
    assert!(one_by_one.windows(2).all(|pair| pair[0].1 != pair[1].1));
    assert_eq!(marks(50), one_by_one);
}

#[test]
fn the_sender_that_was_silent_for_the_longest_is_forgotten() {
    let mut alone = Alone::new();
    for number in 0..1_500_u64 {
        let mut from = [3; ID_BYTES];
        from[..8].copy_from_slice(&number.to_be_bytes());
        let (from, content) = (Incarnation::from_bytes(from), Content::Proposals(Vec::new()));
        let message = Envelope { from, number: 1, uptime_millis: 0, content };
        alone.stream.append(encode(EPOCH, &message).unwrap());
    }
    while alone.node.delivered < alone.stream.length() {
        alone.apply();
    }
    let mut producers = alone.node.store.producers().unwrap();
    producers.sort_by_key(|(_, producer)| producer.at);
    let first = u64::from_be_bytes(*producers[0].0.as_bytes().first_chunk().unwrap());
    assert_eq!((producers.len(), first), (1_024, 1_500 - 1_024));
}

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

impl Alone {
    /// Proposes something at this node, and applies it. Returns when that was.
    fn happens(&mut self, proposal: Proposal) -> Timestamp {
        self.node.propose(&self.runtime, proposal);
        pass(&self.runtime, Duration::from_millis(1));
        self.apply().last().unwrap().0.at
    }

    /// Lets a user with a name start a chat, and post a message. Returns when that was.
    fn begins(&mut self) -> Timestamp {
        let nickname = Nickname::parse("Ana").unwrap();
        let named = Command::SetNickname { nickname, chats: Vec::new() };
        let (client_id, body) = (ClientId::from_bytes([1; ID_BYTES]), Body::parse("hello").unwrap());
        let posted = Command::Post { chat: CHAT, client_id, body, waited_millis: 0 };
        self.happens(Proposal::Command { by: user(1), command: named });
        self.happens(start_chat());
        self.happens(Proposal::Command { by: user(1), command: posted })
    }

    /// Returns whether the name of the user, the chat and its message are there for somebody who reads at a time.
    fn shows(&self, now: Timestamp) -> [bool; 3] {
        let view = self.node.store.read(now).unwrap();
        let is_named = view.user(user(1)).unwrap().nickname.as_str() == "Ana";
        let messages = view.events_after(CHAT, Seq(2), 10).unwrap();
        [is_named, view.chat(CHAT).unwrap().is_some(), !messages.is_empty()]
    }
}

/// Returns an entry that removes the user and the chat if they have expired.
fn sweep() -> Proposal {
    Proposal::Expire { users: vec![user(1)], chats: vec![CHAT], events: Vec::new() }
}

fn nothing() -> Proposal {
    Proposal::Touch { users: Vec::new(), chats: Vec::new() }
}

#[test]
fn what_is_in_use_does_not_expire_while_nobody_can_note_that_it_is() {
    const MINUTE: u64 = 60_000;
    let mut alone = Alone::new();
    alone.begins();
    for away in [10, 23 * 60] {
        alone.stream.pass(away * MINUTE);
        assert_eq!(alone.shows(alone.stream.now()), [true, true, true], "people read on for {away} minutes");
        let at = alone.happens(sweep());
        assert!(at.millis_since(BEGUN) > away * MINUTE, "the time goes on");
        assert_eq!(alone.shows(alone.stream.now()), [true, true, true], "after {away} minutes");
    }
    alone.stream.pass(60 * MINUTE);
    assert_eq!(alone.shows(alone.stream.now()), [true, true, false], "a message is not in use");
    // While nodes can write, what is not in use expires as ever.
    alone.happens(nothing());
    let since = alone.stream.now();
    let mut shown = Vec::new();
    while alone.stream.now().millis_since(since) < 35 * MINUTE {
        alone.stream.pass(MINUTE - 100);
        alone.happens(nothing());
        shown.push(alone.shows(alone.stream.now()));
    }
    let gone = [0, 1].map(|what| shown.iter().position(|shown| !shown[what]).unwrap());
    assert!((0..5).contains(&gone[0]) && (20..30).contains(&gone[1]), "{gone:?}");
    alone.happens(sweep());
    assert_eq!(alone.node.store.read(Timestamp::default()).unwrap().chats().unwrap(), []);
}

#[test]
fn a_leap_of_the_stream_that_a_new_node_shows_first_takes_nothing_that_is_in_use_with_it() {
    const HOUR: u64 = 3_600_000;
    let mut alone = Alone::new();
    let begun = alone.begins();
    alone.stream.leap(HOUR as i64);
    alone.append(1, Content::Proposals(vec![sweep()]));
    let applied = alone.apply();
    let leapt = applied.last().unwrap().0.at;
    assert!(leapt.millis_since(begun) >= HOUR);
    assert_eq!(alone.shows(leapt), [true, true, true]);
    alone.stream.pass(10_000);
    let at = alone.happens(sweep());
    assert!((10_000..10_100).contains(&at.millis_since(leapt)), "and the time goes on");
    assert_eq!(alone.shows(at), [true, true, true]);
}

#[test]
fn a_node_that_has_not_read_to_the_end_yet_shows_nothing_that_may_have_expired() {
    let mut alone = Alone::new();
    alone.begins();
    alone.node.store.checkpoint().unwrap();
    let disk = alone.node.kill(false);
    // Others go on meanwhile.
    for number in 1..=40 {
        alone.stream.pass(59_000);
        let from = Incarnation::from_bytes([2; ID_BYTES]);
        let (uptime_millis, content) = (number * 59_001, Content::Proposals(Vec::new()));
        let message = Envelope { from, number, uptime_millis, content };
        alone.stream.append(encode(EPOCH, &message).unwrap());
    }
    let me = Incarnation::from_bytes([3; ID_BYTES]);
    alone.node = Node::start(&alone.runtime, &alone.stream, disk, me);
    assert_eq!(alone.shows(alone.stream.now()), [false, false, true]);
    alone.node.apply(&alone.stream, 5);
    assert_eq!(alone.shows(alone.stream.now()), [false, false, true]);
    alone.apply();
    assert_eq!(alone.shows(alone.stream.now()), [false, false, true]);
}

#[test]
fn a_clock_is_set_once_however_often_that_is_proposed() {
    let mut alone = Alone::new();
    alone.append(1, Content::Proposals(vec![start_chat()]));
    alone.apply();
    alone.stream.leap(3_600_000);
    alone.append(2, Content::Proposals(Vec::new()));
    alone.apply();
    let away = alone.node.store.replica().unwrap().unwrap().clock.away();
    assert!((-3_600_010..=-3_599_990).contains(&away), "{away}");
    let set = Proposal::ClockSet(-away);
    alone.append(3, Content::Proposals(vec![set.clone(), set.clone(), start_chat()]));
    let applied = alone.apply();
    let is_set = |(entry, _): &(Entry, Outcome)| matches!(entry.proposal, Proposal::ClockSet(_));
    assert_eq!(applied.iter().filter(|applied| is_set(applied)).count(), 1);
    assert!(
        applied.iter().all(|(_, outcome)| outcome.is_ok() || outcome == &Err(domain::Problem::ChatExists))
    );
    assert_eq!(alone.node.store.replica().unwrap().unwrap().clock.away(), 0);
    assert!(applied[2].0.at >= BEGUN.moved(3_600_000));
}

#[test]
fn a_leap_of_the_stream_by_an_hour_changes_no_lifetime_by_more_than_a_minute() {
    const MINUTE: u64 = 60_000;
    let (chat, used_now) = (ChatId::from_bytes([7; ID_BYTES]), Timestamp(u64::MAX));
    let propose = |alone: &mut Alone, proposal| {
        alone.node.propose(&alone.runtime, proposal);
        pass(&alone.runtime, Duration::from_secs(1));
        alone.apply().pop().unwrap().1
    };
    for (leap, kind) in [(3_600_000, 0), (3_600_000, 1), (3_600_000, 2), (-3_600_000, 0), (-3_600_000, 2)] {
        let lifetimes = model::LIFETIMES;
        let lifetime = [lifetimes.user, lifetimes.chat, lifetimes.message][kind].millis();
        let mut alone = Alone::new();
        let nickname = Nickname::friendly(1);
        let rename = Command::SetNickname { nickname, chats: Vec::new() };
        propose(&mut alone, Proposal::Command { by: user(1), command: rename }).unwrap();
        propose(&mut alone, start_chat()).unwrap();
        let body = Body::parse("hello").unwrap();
        let post =
            Command::Post { chat, client_id: ClientId::from_bytes([1; ID_BYTES]), body, waited_millis: 0 };
        let said = propose(&mut alone, Proposal::Command { by: user(1), command: post }).unwrap();
        alone.stream.leap(leap);
        let there = |alone: &Alone| {
            let view = alone.node.store.read(Timestamp::default()).unwrap();
            let events = view.events_after(chat, Seq::ZERO, 100).unwrap();
            [
                view.user_noted_at(user(1)).unwrap().is_some(),
                view.chat(chat).unwrap().is_some(),
                events.iter().any(|event| event.seq == said),
            ][kind]
        };
        let expire =
            || Proposal::Expire { users: vec![user(1)], chats: vec![chat], events: vec![(chat, said)] };
        // The log is not silent for so long that users and chats could not be noted as active.
        let silence = if kind == 2 { lifetimes.user } else { lifetimes.longest_silence() }.millis() / 2;
        let wait = |alone: &mut Alone, time: u64| {
            let mut passed = 0;
            while passed < time {
                let step = silence.min(time - passed);
                passed += step;
                alone.stream.pass(step);
                let users = if kind == 0 { Vec::new() } else { vec![(user(1), used_now)] };
                let chats = if kind == 1 { Vec::new() } else { vec![(chat, used_now)] };
                propose(alone, Proposal::Touch { users, chats }).unwrap();
            }
        };
        wait(&mut alone, lifetime - MINUTE);
        propose(&mut alone, expire()).unwrap();
        assert!(there(&alone), "{leap} {kind}: it is gone too early");
        wait(&mut alone, 2 * MINUTE);
        propose(&mut alone, expire()).unwrap();
        assert!(!there(&alone), "{leap} {kind}: it is there for too long");
    }
}

/// A node that lags behind another goes on with the log that was founded from that one's state.
#[test]
fn a_log_that_is_recovered_has_all_that_was_acknowledged_and_nothing_that_waited_twice_or_out_of_order() {
    const AGAIN: Epoch = Epoch::from_bytes([8; ID_BYTES]);
    let post = |number: u64| {
        let body = Body::parse(&format!("message {number}")).unwrap();
        let mut client_id = [0; ID_BYTES];
        client_id[2..].copy_from_slice(&number.to_be_bytes());
        let (chat, client_id) = (ChatId::from_bytes([7; ID_BYTES]), ClientId::from_bytes(client_id));
        let command = Command::Post { chat, client_id, body, waited_millis: 0 };
        Proposal::Command { by: user(1), command }
    };
    let mut alone = Alone::new();
    let mut other =
        Node::start(&alone.runtime, &alone.stream, Disk::default(), Incarnation::from_bytes([5; ID_BYTES]));
    for proposal in [start_chat(), post(1)] {
        alone.node.propose(&alone.runtime, proposal);
        pass(&alone.runtime, Duration::from_secs(1));
    }
    alone.apply();
    assert_eq!(alone.node.acknowledged().len(), 1);
    // The other node has applied one message that this one has not, and the stream is gone with the last of them.
    for number in [2, 3] {
        alone.node.propose(&alone.runtime, post(number));
        pass(&alone.runtime, Duration::from_secs(1));
    }
    other.apply(&alone.stream, u64::MAX);
    let place = alone.stream.length();
    for number in [4, 5] {
        alone.node.propose(&alone.runtime, post(number));
        pass(&alone.runtime, Duration::from_secs(1));
    }
    assert_eq!(alone.stream.length(), place + 2);
    alone.node.apply(&alone.stream, 1);
    assert_eq!(alone.node.acknowledged().len(), 1);
    alone.stream.cut(place);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("base");
    let view = other.store.read(Timestamp::default()).unwrap();
    view.export_successor(AGAIN, File::create(&file).unwrap()).unwrap();
    drop(view);
    // It goes into the stream before this node knows of the other log, so all nodes skip it.
    alone.node.propose(&alone.runtime, post(6));
    pass(&alone.runtime, Duration::from_secs(1));
    for node in [&mut alone.node, &mut other] {
        node.load(&file, place);
        assert_eq!((node.store.epoch(), node.sequencer.epoch()), (AGAIN, AGAIN));
        assert_eq!(node.status.of(Part::Applier), LogStatus::Live { behind: 0 });
        let follows = node.store.replica().unwrap().unwrap().follows;
        assert_eq!(follows, Some(Predecessor { epoch: EPOCH, place }));
    }
    pass(&alone.runtime, Duration::from_secs(1));
    for (_, outcome) in &mut alone.node.posted[3..] {
        assert_eq!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed), "its outcome is unknown");
    }
    alone.node.posted.clear();
    // Whoever does not know the outcome asks again.
    for number in 1..=7 {
        alone.node.propose(&alone.runtime, post(number));
    }
    pass(&alone.runtime, Duration::from_secs(1));
    let applied = alone.apply();
    assert_eq!(applied.len(), 7);
    let acknowledged = alone.node.acknowledged();
    assert_eq!(acknowledged.len(), 7);
    assert!(acknowledged.is_sorted_by_key(|(_, seq)| seq));
    other.apply(&alone.stream, u64::MAX);
    let said = |node: &Node| {
        let view = node.store.read(Timestamp::default()).unwrap();
        let events = view.events_after(ChatId::from_bytes([7; ID_BYTES]), Seq::ZERO, 100).unwrap();
        let said = events.iter().filter_map(|event| event.kind.message().map(|said| said.body.to_string()));
        said.collect::<Vec<_>>()
    };
    let expected: Vec<_> = (1..=7).map(|number| format!("message {number}")).collect();
    assert_eq!((said(&alone.node), said(&other)), (expected.clone(), expected));
    assert_eq!(alone.node.store.replica().unwrap(), other.store.replica().unwrap());
}

/// A node whose database a newer program has used keeps it, and does not decide by rules that it does not know.
#[test]
fn a_node_does_not_begin_with_rules_that_it_does_not_know() {
    let mut alone = Alone::new();
    alone.append(1, Content::Proposals(vec![start_chat()]));
    alone.apply();
    let place = alone.node.store.replica().unwrap().unwrap().place;
    alone.node.store.checkpoint().unwrap();
    let (runtime, stream) = (alone.runtime, alone.stream);
    let disk = alone.node.kill(false);
    let older = (Rules(0), Rules(0));
    let me = Incarnation::from_bytes([9; ID_BYTES]);
    let node = Node::start_by(&runtime, &stream, disk, me, older);
    let expected = LogStatus::NeedsRules { place: place + 1, rules: Rules::NEWEST, known: older };
    assert_eq!(node.status.of(Part::Applier), expected);
    assert!(node.status.sends_people_away());
    assert_eq!(Alone { runtime, stream, node }.stops(), expected);
}

/// What cannot be decided is found alone, and what was before it is stored.
#[test]
fn a_node_halts_before_a_message_that_panics_and_stores_what_is_before_it() {
    fn panicking(
        store: &Store,
        batch: &engine::command_log::Batch,
    ) -> Result<engine::command_log::Stored, StoreError> {
        let is_bad = |entry: &Entry| matches!(entry.proposal, Proposal::UserLeft(_));
        assert!(!batch.entries.iter().any(|placed| is_bad(&placed.entry)), "on purpose");
        commit(store, batch)
    }
    let mut alone = Alone::new();
    alone.apply();
    alone.append(1, Content::Proposals(vec![start_chat()]));
    alone.append(2, Content::Proposals(vec![start_chat(), Proposal::UserLeft(user(1))]));
    alone.append(3, Content::Proposals(vec![start_chat()]));
    for place in 2..=4 {
        alone.node.deliveries.try_send(alone.stream.delivery(place).unwrap()).unwrap();
    }
    alone.node.delivered = 4;
    let guarded = Guarded { store: &alone.node.store, panics: &alone.node.panics, task: "test" };
    let Next::Batch(batch) = alone.node.log.next() else { panic!("nothing comes") };
    let written = alone.node.log.store(&guarded, batch, panicking);
    assert_eq!(written.iter().map(|written| written.entries.len()).collect::<Vec<_>>(), [1]);
    assert!(written.iter().all(|written| written.stored.is_ok()));
    alone.node.log.maintain(&guarded).unwrap();
    assert_eq!(alone.node.store.replica().unwrap().unwrap().place, 2);
    assert!(matches!(alone.stops(), LogStatus::Halted { place: 3, .. }));
}

#[test]
fn a_transaction_that_fails_is_tried_again_and_nobody_is_refused() {
    fn failing(_: &Store, _: &engine::command_log::Batch) -> Result<engine::command_log::Stored, StoreError> {
        Err(StoreError::Io(io::Error::other("on purpose")))
    }
    let mut alone = Alone::new();
    alone.apply();
    alone.node.propose(&alone.runtime, start_chat());
    pass(&alone.runtime, Duration::from_millis(1));
    alone.node.deliveries.try_send(alone.stream.delivery(2).unwrap()).unwrap();
    let guarded = Guarded { store: &alone.node.store, panics: &alone.node.panics, task: "test" };
    let Next::Batch(batch) = alone.node.log.next() else { panic!("nothing comes") };
    assert!(alone.node.log.store(&guarded, batch, failing).is_empty());
    assert!(matches!(alone.node.status.of(Part::Applier), LogStatus::DiskFailing(_)));
    assert!(matches!(alone.node.log.maintain(&guarded), Err(NotStored::Store(_))));
    let (_, outcome) = &mut alone.node.posted[0];
    assert_eq!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed), "its outcome is unknown");
}

#[test]
fn messages_are_applied_in_order_or_not_at_all() {
    let store = view(Disk::default());
    let state = store.replica().unwrap().unwrap();
    let advance = |after, place| Advance {
        after,
        place,
        settings: state.settings,
        clock: state.clock,
        producers: Vec::new(),
    };
    let write = |after, place| store.write_replica(None, &advance(after, place), |_| Ok(()));
    write(0, 3).unwrap();
    for (after, place) in [(0, 3), (3, 3), (4, 5), (2, 4)] {
        assert!(matches!(write(after, place), Err(StoreError::OutOfPlace(..))), "{after} {place}");
    }
    write(3, 4).unwrap();
    assert_eq!(store.replica().unwrap().unwrap().place, 4);
}
