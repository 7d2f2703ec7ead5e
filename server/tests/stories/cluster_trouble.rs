//! What can be wrong with NATS, and what nodes of a cluster do about it: the operator is told once, in one line, and so is
//! `/readyz`; people read on; what they write waits; nothing acknowledged is lost; and everything goes on by itself when
//! the cause is gone. Skipped with a line on standard error where there is no nats-server.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self, Context,
    stream::{Config, DiscardPolicy, StorageType},
};
use bytes::Bytes;
use domain::{ChatId, Event, Problem, Seq, Timestamp, frame::ServerFrame};
use engine::{
    command_log::{
        envelope::{Content, Envelope, encode},
        transport::Incarnation,
    },
    storage::Store,
};
use nats_fixture::{Nats, Slow};
use reqwest::StatusCode;
use server::start::DATABASE;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use crate::{
    cluster::{
        BETWEEN, Cluster, PATIENCE, folder, reasons, start_chat, until, until_applied, until_metric,
        until_ready, until_said,
    },
    support::{Client, Person, bodies, client_id, process::Process},
};

/// The setting with which a node logs what an operator should look at.
const WARN: (&str, &str) = ("QCHAT_LOG", "warn");
/// The delay in each direction of a slow network.
const DELAY: Duration = Duration::from_millis(500);

/// A chat of Ana's, in which she reads and writes on one node.
struct Talk {
    ana: Person,
    chat: ChatId,
    client: Client,
    /// What was acknowledged, in its order.
    said: Vec<String>,
    /// The place of the newest of it.
    newest: Seq,
    asked: u64,
}

/// What Ana wrote and has not seen stored yet.
struct Waiting {
    body: String,
    request: u64,
}

impl Talk {
    /// Ana starts a chat on a node that is ready, and says something.
    async fn begin(node: &Process) -> Self {
        let ana = Person::arrive(node.address).await;
        let (chat, _) = start_chat(&ana).await;
        let client = ana.watch(chat).await;
        let mut talk = Self { ana, chat, client, said: Vec::new(), newest: Seq::ZERO, asked: 0 };
        talk.say("hello").await;
        talk
    }

    /// Writes something.
    async fn ask(&mut self, body: &str) -> Waiting {
        self.asked += 1;
        let request = self.client.ask(self.chat, client_id(self.asked), body).await;
        Waiting { body: body.to_owned(), request }
    }

    /// Waits until it is acknowledged.
    async fn answered(&mut self, Waiting { body, request }: Waiting) {
        self.newest = self.client.answer(request).await.unwrap();
        self.said.push(body);
    }

    async fn say(&mut self, body: &str) {
        let waiting = self.ask(body).await;
        self.answered(waiting).await;
    }

    /// Returns the page of the chat as a node shows it to Ana.
    async fn page(&self, node: &Process) -> (StatusCode, String) {
        let ana = Person { address: node.address, ..self.ana.clone() };
        let answer = ana.get(&format!("/chat/{}", self.chat)).await;
        (answer.status, answer.text)
    }

    /// Asserts that people read on, on her connection and in pages of these nodes: all that was acknowledged is there, and
    /// nothing that waits.
    async fn reads_on(&mut self, nodes: &[&Process], waits: &str) {
        let history = self.client.watch(self.chat, None).await.unwrap();
        assert_eq!(bodies(&history.events), self.said);
        for node in nodes {
            let (status, page) = self.page(node).await;
            assert_eq!(status, StatusCode::OK);
            assert!(self.said.iter().all(|body| page.contains(body)), "{page}");
            assert!(!page.contains(waits), "{page}");
        }
    }

    /// Waits until these nodes are ready and show everything.
    async fn goes_on(&self, nodes: &[&Process]) {
        for node in nodes {
            until_ready(node.address).await;
            until_applied(node, &self.ana, self.chat, self.newest.0).await;
            let ana = Person { address: node.address, ..self.ana.clone() };
            let history = ana.connect().await.watch(self.chat, None).await.unwrap();
            assert_eq!(bodies(&history.events), self.said);
        }
    }

    /// From now on Ana reads and writes on another node.
    async fn moves_to(&mut self, node: &Process) {
        self.ana.address = node.address;
        self.client = self.ana.watch(self.chat).await;
    }

    /// Stops these nodes, and asserts that all have the same, and that it is what was acknowledged.
    fn ends(self, nodes: Vec<(Process, &TempDir)>) {
        let Self { chat, said, client, .. } = self;
        drop(client);
        let mut folders = Vec::new();
        for (node, folder) in nodes {
            node.stop();
            folders.push(folder);
        }
        let all: Vec<_> = folders.iter().map(|folder| events(folder.path(), chat)).collect();
        assert!(bodies(&all[0]) == said, "something was lost, or is there twice");
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "nodes differ");
    }
}

fn open(data_dir: &Path) -> Store {
    Store::open_read_only(&data_dir.join(DATABASE)).unwrap()
}

/// Returns all events of a chat in the database of a node that does not run.
fn events(data_dir: &Path, chat: ChatId) -> Vec<Event> {
    let store = open(data_dir);
    let view = store.read(Timestamp::default()).unwrap();
    let mut all: Vec<Event> = Vec::new();
    loop {
        let after = all.last().map_or(Seq::ZERO, |event| event.seq);
        // A page has a limited size.
        let page = view.events_after(chat, after, 1_000).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn jetstream(nats: &Nats) -> Context {
    jetstream::new(async_nats::connect(nats.url(0)).await.unwrap())
}

/// Returns the content of all messages of a stream, with their places.
async fn messages(jetstream: &Context, stream: &str) -> Vec<(u64, Bytes)> {
    let Ok(stream) = jetstream.get_stream(stream).await else { return Vec::new() };
    let state = &stream.cached_info().state;
    let mut all = Vec::new();
    for place in state.first_sequence..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(place).await {
            all.push((place, message.payload));
        }
    }
    all
}

/// Returns the place of the oldest message of the log.
async fn first(jetstream: &Context) -> u64 {
    jetstream.get_stream("qchat_log").await.unwrap().cached_info().state.first_sequence
}

/// Waits until something is so.
async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it does not happen: {what}");
        sleep(BETWEEN).await;
    }
}

/// Returns how often a node has logged a line with this in it.
fn told(node: &mut Process, line: &str) -> usize {
    node.said().lines().filter(|said| said.contains(line)).count()
}

/// Returns what a node has logged that an operator should look at.
fn warnings(node: &mut Process) -> Vec<String> {
    let said = node.said();
    // Tests run without the site.
    said.lines().filter(|line| !line.contains("built without its site")).map(str::to_owned).collect()
}

/// Waits until the server has counted so many more of something in `/varz`: a node has tried again and again.
async fn tried(nats: &Nats, what: &str, more: u64) {
    let count =
        async || nats.monitor(0, "/varz").await.and_then(|varz| varz[what].as_u64()).unwrap_or_default();
    let then = count().await + more;
    wait(what, async || count().await >= then).await;
}

/// Starts a new node that cannot begin, for a reason that it says in this line. However often it tries, it logs that once.
/// Returns it, and its folder.
async fn does_not_begin(
    cluster: &Cluster,
    settings: &[(&str, &str)],
    line: &str,
    tried: impl Future<Output = ()>,
) -> (Process, TempDir) {
    let folder = folder();
    let mut node = cluster.begin(folder.path(), &[settings, &[WARN]].concat());
    until(node.address, |reasons| reasons.iter().any(|reason| reason.starts_with(line))).await;
    let get =
        async |path: &str| reqwest::get(format!("http://{}{path}", node.address)).await.unwrap().status();
    assert_eq!(get("/healthz").await, StatusCode::OK);
    assert_eq!(get("/").await, StatusCode::SERVICE_UNAVAILABLE);
    tried.await;
    assert_eq!(told(&mut node, line), 1, "{}", node.said());
    (node, folder)
}

/// Waits until a node that could not begin does, and people talk on it.
async fn begins(mut node: Process, folder: &TempDir) {
    until_ready(node.address).await;
    let talk = Talk::begin(&node).await;
    // Some servers were started anew for it.
    assert!(warnings(&mut node).len() <= 2, "{}", node.said());
    talk.ends(vec![(node, folder)]);
}

/// An address at which nobody listens until it is opened. It ends when it is dropped.
struct Door {
    address: SocketAddr,
    tries: Arc<AtomicU64>,
    opened: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    async fn to(server: String) -> Self {
        let server = server.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tries, (opened, is_open)) = (Arc::<AtomicU64>::default(), watch::channel(false));
        let counted = Arc::clone(&tries);
        let task = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                if *is_open.borrow() {
                    let mut server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
                }
            }
        });
        Self { address, tries, opened, task }
    }
}

#[tokio::test]
async fn a_wrong_address_is_named_and_the_node_begins_when_a_server_is_there() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let door = Door::to(cluster.nats.url(0)).await;
    let address = door.address.to_string();
    cluster.settings.retain(|(name, _)| *name != "QCHAT_NATS_URL");
    let settings = [("QCHAT_NATS_URL", address.as_str()), ("QCHAT_NATS_ONLY", "true")];
    let line = format!("NATS at {address} cannot be reached: no server takes the connection");
    let tried = wait("attempts to connect", async || door.tries.load(Ordering::Relaxed) >= 6);
    let (node, folder) = does_not_begin(&cluster, &settings, &line, tried).await;
    door.opened.send_replace(true);
    begins(node, &folder).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_the_node_begins_when_it_is_right() {
    let account = |password: &str| format!("authorization {{ user: ana, password: {password} }}");
    let Some(nats) = Nats::one_with(&account("another")).await else { return };
    let mut cluster = Cluster::of(nats);
    let settings = [("QCHAT_NATS_USER", "ana"), ("QCHAT_NATS_PASSWORD", "secret")];
    let line = "NATS refuses the login";
    let tried = tried(&cluster.nats, "total_connections", 6);
    let (mut node, folder) = does_not_begin(&cluster, &settings, line, tried).await;
    assert!(!node.said().contains("secret"), "{}", node.said());
    // While the server starts anew, it is away for a moment.
    cluster.nats.configure(true, &account("secret")).await;
    begins(node, &folder).await;
}

#[tokio::test]
async fn servers_without_jetstream_are_told_and_the_node_begins_when_they_have_it() {
    let Some(nats) = Nats::without_jetstream().await else { return };
    let mut cluster = Cluster::of(nats);
    let tried = tried(&cluster.nats, "in_msgs", 6);
    let (node, folder) = does_not_begin(&cluster, &[], "the NATS servers run without JetStream", tried).await;
    cluster.nats.configure(true, "").await;
    begins(node, &folder).await;
}

#[tokio::test]
async fn a_stream_that_is_anothers_is_named_and_left_alone_and_the_node_begins_when_it_is_gone() {
    let Some(cluster) = Cluster::start().await else { return };
    let jetstream = jetstream(&cluster.nats).await;
    let subjects = vec!["orders.>".to_owned()];
    let config = Config { name: "qchat_log".to_owned(), subjects, ..Config::default() };
    let mut stream = jetstream.create_stream(config).await.unwrap();
    let before = stream.cached_info().clone();
    let line =
        "the stream qchat_log is not as Qchat made it: its metadata `qchat` is missing, and has to be log";
    let (node, folder) = does_not_begin(&cluster, &[], line, tried(&cluster.nats, "in_msgs", 6)).await;
    let after = stream.info().await.unwrap();
    assert_eq!((&before.config, before.state.last_sequence), (&after.config, after.state.last_sequence));
    jetstream.delete_stream("qchat_log").await.unwrap();
    begins(node, &folder).await;
}

#[tokio::test]
async fn a_bucket_of_session_keys_that_is_not_as_it_has_to_be_is_told_and_the_node_begins_when_it_is_gone() {
    let Some(cluster) = Cluster::start().await else { return };
    let jetstream = jetstream(&cluster.nats).await;
    let bucket = jetstream::kv::Config {
        bucket: "qchat_keys".to_owned(),
        storage: StorageType::Memory,
        ..jetstream::kv::Config::default()
    };
    jetstream.create_key_value(bucket).await.unwrap();
    let line = "the session keys of all nodes are not known yet: the stream KV_qchat_keys is not as Qchat made it: its storage is Memory, and has to be File";
    let (node, folder) = does_not_begin(&cluster, &[], line, tried(&cluster.nats, "in_msgs", 6)).await;
    jetstream.delete_key_value("qchat_keys").await.unwrap();
    begins(node, &folder).await;
}

#[tokio::test]
async fn while_the_settings_of_the_stream_are_wrong_people_read_on_and_what_they_write_waits() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (mut a, b) = (cluster.begin(one.path(), &[WARN]), cluster.node(another.path()).await);
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    talk.goes_on(&[&b]).await;
    let jetstream = jetstream(&cluster.nats).await;
    let mut config = jetstream.get_stream("qchat_log").await.unwrap().cached_info().config.clone();
    config.discard = DiscardPolicy::Old;
    jetstream.update_stream(&config).await.unwrap();
    let line = "the stream qchat_log is not as Qchat made it: its discard policy is Old, and has to be New";
    for node in [&a, &b] {
        until_said(node.address, line).await;
    }
    let last = async || jetstream.get_stream("qchat_log").await.unwrap().cached_info().state.last_sequence;
    let before = last().await;
    let waiting = talk.ask("are you there?").await;
    until_said(a.address, "what people write waits: this node has not read what is in the stream").await;
    talk.reads_on(&[&a, &b], "are you there?").await;
    tried(&cluster.nats, "in_msgs", 6).await;
    assert_eq!(last().await, before, "nothing is written to a stream that is not as it has to be");
    assert_eq!(told(&mut a, line), 1, "{}", a.said());

    config.discard = DiscardPolicy::New;
    jetstream.update_stream(&config).await.unwrap();
    until_ready(a.address).await;
    talk.answered(waiting).await;
    talk.goes_on(&[&a, &b]).await;
    talk.ends(vec![(a, &one), (b, &another)]);
}

#[tokio::test]
async fn while_the_stream_is_deleted_people_read_on_and_no_new_node_begins_another_log() {
    // Nothing is to come into the log between the backup and the deletion.
    const SELDOM: (&str, &str) = ("QCHAT_SWEEP_INTERVAL", "1h");
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another, third] = [(); 3].map(|()| folder());
    let (mut a, b) = (cluster.begin(one.path(), &[WARN, SELDOM]), cluster.begin(another.path(), &[SELDOM]));
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    talk.goes_on(&[&b]).await;
    let jetstream = jetstream(&cluster.nats).await;
    let backup = messages(&jetstream, "qchat_log").await;
    let mut config = jetstream.get_stream("qchat_log").await.unwrap().cached_info().config.clone();
    jetstream.delete_stream("qchat_log").await.unwrap();
    let line =
        "the stream qchat_log has been deleted: restore it from a backup, or recover the log from a node";
    for node in [&a, &b] {
        until_said(node.address, line).await;
    }
    let waiting = talk.ask("are you there?").await;
    until_said(a.address, "what people write waits").await;
    talk.reads_on(&[&a, &b], "are you there?").await;
    let gone = "there is no log in the stream qchat_log, and the node";
    let (c, nothing) = does_not_begin(&cluster, &[], gone, tried(&cluster.nats, "in_msgs", 6)).await;
    c.stop();
    drop(nothing);
    assert_eq!(told(&mut a, line), 1, "{}", a.said());

    config.metadata.retain(|key, _| !key.starts_with("_nats"));
    jetstream.create_stream(config).await.unwrap();
    for (place, payload) in backup {
        let restored = jetstream.publish("qchat.log", payload).await.unwrap().await.unwrap();
        assert_eq!(restored.sequence, place);
    }
    until_ready(a.address).await;
    talk.answered(waiting).await;
    let c = cluster.begin(third.path(), &[]);
    talk.goes_on(&[&a, &b, &c]).await;
    // What it has is of other times, since this backup did not keep them.
    c.stop();
    talk.ends(vec![(a, &one), (b, &another)]);
}

#[tokio::test]
async fn nodes_that_miss_what_was_purged_by_hand_get_a_snapshot() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another, third] = [(); 3].map(|()| folder());
    let a = cluster.node(one.path()).await;
    cluster.node(another.path()).await.stop();
    let mut talk = Talk::begin(&a).await;
    talk.say("nobody else has seen this").await;
    let jetstream = jetstream(&cluster.nats).await;
    jetstream.get_stream("qchat_log").await.unwrap().purge().await.unwrap();
    // The node that has everything goes on.
    talk.say("nor this").await;
    talk.goes_on(&[&a]).await;
    // One that is new, and one that was away.
    for folder in [&third, &another] {
        let mut node = cluster.begin(folder.path(), &[WARN]);
        talk.goes_on(&[&node]).await;
        assert!(told(&mut node, "there is no snapshot in between") <= 1, "{}", node.said());
        node.stop();
    }
    let (b, c) = (cluster.node(another.path()).await, cluster.node(third.path()).await);
    talk.say("and this all have").await;
    talk.goes_on(&[&a, &b, &c]).await;
    talk.ends(vec![(a, &one), (b, &another), (c, &third)]);
}

#[tokio::test]
async fn a_stream_that_is_full_gets_room_by_snapshots_and_everything_that_was_written_is_stored() {
    /// About four times what the stream holds.
    const POSTS: u64 = 1_000;
    let Some(mut cluster) = Cluster::start().await else { return };
    cluster.settings.retain(|(name, _)| *name != "QCHAT_NATS_MAX_LOG");
    cluster.settings.push(("QCHAT_NATS_MAX_LOG", "1".to_owned()));
    let [one, another] = [(); 2].map(|()| folder());
    let (mut a, b) = (cluster.begin(one.path(), &[WARN]), cluster.node(another.path()).await);
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    let long = "x".repeat(3_900);
    let mut waiting = Vec::new();
    for number in 0..POSTS {
        waiting.push(talk.ask(&format!("{number} {long}")).await);
    }
    let begun = Instant::now();
    for waiting in waiting {
        talk.answered(waiting).await;
    }
    println!("{POSTS} posts of 4 kB through a log of 1 MiB in {:.1?}", begun.elapsed());
    assert!(told(&mut a, "what people write waits: the stream is full") >= 1, "{}", a.said());
    for node in [&a, &b] {
        until_ready(node.address).await;
        until_metric(node.address, "qchat_log_seq", |seq| seq >= talk.newest.0).await;
    }
    let jetstream = jetstream(&cluster.nats).await;
    let state = jetstream.get_stream("qchat_log").await.unwrap().cached_info().state.clone();
    assert!(state.bytes <= 1 << 20 && state.first_sequence > 1, "{state:?}");
    talk.ends(vec![(a, &one), (b, &another)]);
}

#[tokio::test]
async fn messages_of_others_and_damaged_ones_are_skipped_by_all_nodes_alike() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let [mut a, mut b] = [&one, &another].map(|folder| cluster.begin(folder.path(), &[WARN]));
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    let jetstream = jetstream(&cluster.nats).await;
    let (_, real) = messages(&jetstream, "qchat_log").await.pop().unwrap();
    let mut flipped = real.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let envelope = Envelope {
        from: Incarnation::from_bytes([9; 10]),
        number: 1,
        uptime_millis: 0,
        content: Content::Proposals(Vec::new()),
    };
    let of_another_log = encode(domain::Epoch::from_bytes([9; 10]), &envelope).unwrap();
    let strange: [Bytes; 6] = [
        Bytes::new(),
        Bytes::from_static(b"hello"),
        Bytes::from(vec![0xff; 100_000]),
        flipped.into(),
        real.slice(..real.len() / 2),
        of_another_log,
    ];
    for (number, payload) in (0..).zip(strange) {
        jetstream.publish("qchat.log", payload).await.unwrap().await.unwrap();
        talk.say(&format!("after {number}")).await;
    }
    talk.goes_on(&[&a, &b]).await;
    let line = "messages of the stream are skipped, by all nodes alike";
    for node in [&mut a, &mut b] {
        assert_eq!(told(node, line), 1, "{}", node.said());
    }
    talk.ends(vec![(a, &one), (b, &another)]);
}

#[tokio::test]
async fn a_message_of_a_newer_version_stops_all_that_cannot_read_it_and_they_keep_what_they_have() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (mut a, b) = (cluster.begin(one.path(), &[WARN]), cluster.node(another.path()).await);
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    talk.goes_on(&[&b]).await;
    let jetstream = jetstream(&cluster.nats).await;
    let (_, real) = messages(&jetstream, "qchat_log").await.pop().unwrap();
    let mut newer = real.to_vec();
    newer[4] = 7;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&newer[4..5]);
    checksum.update(&newer[9..]);
    newer[5..9].copy_from_slice(&checksum.finalize().to_le_bytes());
    let place = jetstream.publish("qchat.log", newer.into()).await.unwrap().await.unwrap().sequence;
    let line =
        format!("place {place} of the log has format 7, and this Qchat reads up to 2: upgrade this node");
    for node in [&a, &b] {
        until_said(node.address, &line).await;
    }
    // Its people are sent to another node.
    loop {
        match talk.client.try_next().await {
            None | Some(ServerFrame::Refused { problem: Problem::Restarting, .. }) => break,
            Some(_) => {}
        }
    }
    for node in [&a, &b] {
        let (status, page) = talk.page(node).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("hello"), "{page}");
    }
    assert_eq!(told(&mut a, &line), 1, "{}", a.said());

    // A new start changes nothing, and the database is kept.
    b.stop();
    let b = cluster.begin(another.path(), &[]);
    until_said(b.address, &line).await;
    wait("it shows what it has", async || talk.page(&b).await.0 == StatusCode::OK).await;
    assert!(!reasons(b.address).await.is_empty());
    talk.ends(vec![(a, &one), (b, &another)]);
}

#[tokio::test]
async fn of_two_nodes_of_one_name_the_younger_says_so_and_is_ready_when_the_other_is_gone() {
    const NAME: (&str, &str) = ("QCHAT_NODE", "one");
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let a = cluster.begin(one.path(), &[NAME, WARN]);
    until_ready(a.address).await;
    let b = cluster.begin(another.path(), &[NAME, WARN]);
    let line =
        "another node of the cluster is called \"one\" as well, and is older: give this one another name";
    let says_so = async |node: &Process| reasons(node.address).await.iter().any(|reason| reason == line);
    wait("one of them says so", async || says_so(&a).await || says_so(&b).await).await;
    // They may have become ready at the same moment.
    let is_second = says_so(&b).await;
    let ((older, _), (mut younger, folder)) =
        if is_second { ((a, one), (b, another)) } else { ((b, another), (a, one)) };
    until_ready(older.address).await;
    let mut talk = Talk::begin(&older).await;
    talk.goes_on(&[&older]).await;
    older.stop();
    talk.goes_on(&[&younger]).await;
    talk.moves_to(&younger).await;
    talk.say("alone").await;
    assert_eq!(told(&mut younger, line), 1, "{}", younger.said());
    talk.ends(vec![(younger, &folder)]);
}

#[tokio::test]
async fn over_a_network_that_takes_half_a_second_in_each_direction_everything_works_only_later() {
    const POSTS: usize = 8;
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let slow = Slow::to(cluster.nats.url(0), DELAY).await;
    let address = slow.address.to_string();
    let far = [("QCHAT_NATS_URL", address.as_str()), ("QCHAT_NATS_ONLY", "true"), WARN];
    let mut a = cluster.begin(one.path(), &far);
    until_ready(a.address).await;
    let b = cluster.node(another.path()).await;
    let mut talk = Talk::begin(&a).await;
    talk.goes_on(&[&b]).await;
    let bob = Person::arrive(b.address).await;
    let mut near = bob.watch(talk.chat).await;
    let mut latencies = Vec::new();
    for number in 0..POSTS {
        let begun = Instant::now();
        talk.say(&format!("from afar {number}")).await;
        latencies.push(begun.elapsed());
        let said = near.post(talk.chat, client_id(number as u64), "from near").await.unwrap();
        until_metric(a.address, "qchat_log_seq", |seq| seq >= said.0).await;
        talk.said.push("from near".to_owned());
    }
    latencies.sort();
    println!(
        "half a second in each direction: posts take {:.2?} at least, {:.2?} in the middle, {:.2?} at most",
        latencies[0],
        latencies[POSTS / 2],
        latencies[POSTS - 1]
    );
    // There and back.
    assert!(latencies[0] >= 2 * DELAY && latencies[POSTS / 2] < 6 * DELAY, "{latencies:?}");
    // Both are online for both.
    for node in [&a, &b] {
        until_metric(node.address, "qchat_people_online", |people| people == 2).await;
    }
    drop(near);
    until_metric(a.address, "qchat_people_online", |people| people == 1).await;
    talk.goes_on(&[&a, &b]).await;
    assert_eq!(warnings(&mut a), Vec::<String>::new());
    talk.ends(vec![(a, &one), (b, &another)]);
}

/// Damages a snapshot: a part of it is lost. `index` counts from the newest.
async fn damage(jetstream: &Context, index: usize) {
    let store = jetstream.get_object_store("qchat_snapshots").await.unwrap();
    let mut names = BTreeSet::new();
    let mut list = store.list().await.unwrap();
    while let Some(object) = futures_util::StreamExt::next(&mut list).await {
        names.insert(object.unwrap().name);
    }
    let name = names.iter().rev().nth(index).unwrap();
    let chunks = format!("$O.qchat_snapshots.C.{}", store.info(name).await.unwrap().nuid);
    let stream = jetstream.get_stream("OBJ_qchat_snapshots").await.unwrap();
    let part = stream.get_last_raw_message_by_subject(&chunks).await.unwrap();
    assert!(stream.delete_message(part.sequence).await.unwrap());
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over_and_where_all_are_damaged_another_is_asked_for() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another, third] = [(); 3].map(|()| folder());
    let a = cluster.begin(one.path(), &[("QCHAT_SNAPSHOT_INTERVAL", "1s")]);
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    let jetstream = jetstream(&cluster.nats).await;
    // With the second snapshot, what the first one has is purged.
    wait("the stream is purged", async || first(&jetstream).await > 1).await;
    a.stop();
    // From now on none is made unless one is asked for.
    let a = cluster.node(one.path()).await;
    talk.client = Person { address: a.address, ..talk.ana.clone() }.watch(talk.chat).await;
    talk.say("after the snapshots").await;

    damage(&jetstream, 0).await;
    let mut b = cluster.begin(another.path(), &[WARN]);
    talk.goes_on(&[&b]).await;
    assert_eq!(told(&mut b, "a snapshot could not be loaded"), 1, "{}", b.said());

    damage(&jetstream, 1).await;
    let mut c = cluster.begin(third.path(), &[WARN]);
    talk.goes_on(&[&c]).await;
    assert_eq!(told(&mut c, "the snapshot of place"), 1, "{}", c.said());
    talk.say("with a new one").await;
    talk.goes_on(&[&a, &b, &c]).await;
    talk.ends(vec![(a, &one), (b, &another), (c, &third)]);
}

/// Returns whether a text is in any of these bytes.
fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn what_was_removed_or_has_expired_is_gone_from_all_nodes_and_from_all_that_nats_stores() {
    const REMOVED: &str = "an unfortunate remark";
    const EXPIRED: &str = "what nobody needs to know tomorrow";
    let Some(cluster) = Cluster::start().await else { return };
    let settings = [
        ("QCHAT_MESSAGE_LIFETIME", "15s"),
        ("QCHAT_SWEEP_INTERVAL", "1s"),
        ("QCHAT_SNAPSHOT_INTERVAL", "2s"),
    ];
    let [one, another] = [(); 2].map(|()| folder());
    let [a, b] = [&one, &another].map(|folder| cluster.begin(folder.path(), &settings));
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    talk.say(EXPIRED).await;
    let said_at = Instant::now();
    talk.say(REMOVED).await;
    let jetstream = jetstream(&cluster.nats).await;
    let where_is = async |text: &str| {
        let mut found = Vec::new();
        for stream in ["qchat_log", "OBJ_qchat_snapshots"] {
            let all = messages(&jetstream, stream).await;
            found.extend(all.iter().any(|(_, payload)| has(payload, text)).then_some(stream));
        }
        found
    };
    for text in [REMOVED, EXPIRED] {
        assert!(where_is(text).await.contains(&"qchat_log"), "the test looks for it in the wrong way");
    }
    wait("a snapshot has it", async || where_is(REMOVED).await.contains(&"OBJ_qchat_snapshots")).await;

    // Two intervals, and some time to make them.
    const BOUND: Duration = Duration::from_secs(20);
    let removal = domain::frame::ClientCommand::RemoveMessage { chat: talk.chat, message: talk.newest };
    talk.client.do_it(removal).await.unwrap();
    let removed_at = Instant::now();
    wait("what was removed is gone", async || where_is(REMOVED).await.is_empty()).await;
    let took = removed_at.elapsed();
    println!("snapshots every 2 s: what was removed was gone after {took:.1?}");
    assert!(took < BOUND, "{took:?}");

    let lifetime = Duration::from_secs(15);
    wait("what has expired is gone", async || {
        said_at.elapsed() >= lifetime && where_is(EXPIRED).await.is_empty()
    })
    .await;
    let took = said_at.elapsed() - lifetime;
    println!("what has expired was gone after {took:.1?}");
    assert!(took < BOUND, "{took:?}");

    let newest = talk.client.post(talk.chat, client_id(99), "still there").await.unwrap();
    until_applied(&b, &talk.ana, talk.chat, newest.0).await;
    a.stop();
    b.stop();
    for folder in [&one, &another] {
        let mut all = Vec::new();
        open(folder.path()).read(Timestamp::default()).unwrap().export(&mut all).unwrap();
        assert!(has(&all, "still there"));
        assert!(!has(&all, REMOVED) && !has(&all, EXPIRED));
    }
}

/// Certificates of an authority, a server and a node.
struct Certificates(TempDir);

impl Certificates {
    /// Makes them with `openssl`. `None` after a line on standard error if there is no such program.
    fn make() -> Option<Self> {
        let made = Self(folder());
        if Command::new("openssl").arg("version").output().is_err() {
            let _ = writeln!(std::io::stderr(), "SKIPPED a test: there is no openssl");
            return None;
        }
        fs::write(made.path("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        made.run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"));
        for name in ["server", "node"] {
            made.run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
            made.run(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile san"
            ));
        }
        Some(made)
    }

    fn run(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        let done = openssl.args(arguments.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }
}

#[tokio::test]
async fn certificates_that_are_not_trusted_are_told_and_with_the_right_ones_nats_is_spoken_to_by_tls() {
    let Some(made) = Certificates::make() else { return };
    let [server, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|file| made.path(file));
    let [certificate, of_node] = ["node.pem", "node.key"].map(|file| made.path(file));
    let configuration =
        format!("tls {{ cert_file: \"{server}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}");
    let Some(nats) = Nats::one_with(&configuration).await else { return };
    let mut cluster = Cluster::of(nats);
    let line = |cluster: &Cluster| {
        let address = cluster.nats.url(0).replace("nats://", "");
        format!("NATS at {address} cannot be reached: TLS failed, look at the certificates of both sides")
    };
    let tried_to_connect = async |nats: &Nats| tried(nats, "total_connections", 3).await;
    let (node, nothing) =
        does_not_begin(&cluster, &[], &line(&cluster), tried_to_connect(&cluster.nats)).await;
    node.stop();
    drop(nothing);
    let trusted = [
        ("QCHAT_NATS_CA", ca.as_str()),
        ("QCHAT_NATS_CERTIFICATE", &certificate),
        ("QCHAT_NATS_KEY", &of_node),
        ("QCHAT_NATS_TLS", "true"),
    ];
    let folder = folder();
    let node = cluster.begin(folder.path(), &trusted);
    begins(node, &folder).await;
    // A server that does not speak TLS any more.
    cluster.nats.configure(true, "").await;
    let mut node = cluster.begin(folder.path(), &[trusted.as_slice(), &[WARN]].concat());
    until_said(node.address, "TLS failed").await;
    assert_eq!(told(&mut node, "TLS failed"), 1, "{}", node.said());
    node.stop();
}

#[tokio::test]
async fn an_account_that_may_do_what_the_manual_says_is_enough_and_one_that_may_not_is_told() {
    let account = |publish: &str| {
        format!(
            "authorization {{ users: [ {{ user: ana, password: secret, permissions: {{ publish: [{publish}], subscribe: [\"qchat.>\", \"_INBOX.>\"] }} }} ] }}"
        )
    };
    let Some(nats) = Nats::one_with(&account("\"qchat.>\", \"_INBOX.>\"")).await else { return };
    let mut cluster = Cluster::of(nats);
    let user = [("QCHAT_NATS_USER", "ana"), ("QCHAT_NATS_PASSWORD", "secret")];
    let line = "NATS does not allow something that Qchat needs: ";
    let (a, one) = does_not_begin(&cluster, &user, line, tried(&cluster.nats, "in_msgs", 6)).await;
    let enough = ["qchat.>", "$JS.API.>", "$O.qchat_snapshots.>", "$KV.qchat_keys.>", "_INBOX.>"];
    cluster.nats.configure(true, &account(&enough.map(|subject| format!("{subject:?}")).join(", "))).await;
    until_ready(a.address).await;
    a.stop();

    let settings = [user.as_slice(), &[WARN, ("QCHAT_SNAPSHOT_INTERVAL", "1s")]].concat();
    let mut a = cluster.begin(one.path(), &settings);
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    let [(_, user), (_, password)] = user.map(|(name, value)| (name, value.to_owned()));
    let client = async_nats::ConnectOptions::with_user_and_password(user, password);
    let jetstream = jetstream::new(client.connect(cluster.nats.url(0)).await.unwrap());
    wait("the stream is purged", async || first(&jetstream).await > 1).await;
    // A new node begins with a snapshot then.
    let another = folder();
    let mut b = cluster.begin(another.path(), &settings);
    talk.goes_on(&[&b]).await;
    talk.say("and on").await;
    talk.goes_on(&[&a, &b]).await;
    for node in [&mut a, &mut b] {
        assert_eq!(warnings(node), Vec::<String>::new());
    }
    talk.ends(vec![(a, &one), (b, &another)]);
}

/// A small disk in memory. It is unmounted when it is dropped.
struct Disk(TempDir);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

impl Disk {
    fn mount(mebibytes: u64) -> Self {
        let disk = Self(folder());
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        assert!(
            mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(disk.0.path()).status().unwrap().success()
        );
        disk
    }

    /// Fills it. Returns the file that takes all the room.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut ballast = File::create(&path).unwrap();
        while ballast.write_all(&[0; 4_096]).is_ok() {}
        path
    }
}

/// Has to be run as root: `cargo test -p server --test stories disk_of_nats -- --ignored`.
#[tokio::test]
#[ignore = "it mounts a disk, for which one has to be root on Linux"]
async fn while_the_disk_of_nats_is_full_people_read_on_and_what_they_write_waits() {
    let disk = Disk::mount(24);
    let Some(nats) = Nats::one_on(&disk.0.path().join("jetstream")).await else { return };
    let mut cluster = Cluster::of(nats);
    let folder = folder();
    let mut a = cluster.begin(folder.path(), &[WARN]);
    until_ready(a.address).await;
    let mut talk = Talk::begin(&a).await;
    let ballast = disk.fill();
    // The block that is begun may have room.
    let waiting = loop {
        let long = format!("{} {}", talk.asked, "x".repeat(3_900));
        let Waiting { body, request } = talk.ask(&long).await;
        match tokio::time::timeout(Duration::from_secs(5), talk.client.answer(request)).await {
            Ok(answer) => {
                talk.newest = answer.unwrap();
                talk.said.push(body);
            }
            Err(_) => break Waiting { body, request },
        }
    };
    until_said(a.address, "what people write waits: the stream does not answer").await;
    let history = talk.client.watch(talk.chat, None).await.unwrap();
    assert_eq!(bodies(&history.events).last(), talk.said.last());
    tried(&cluster.nats, "in_msgs", 6).await;
    assert_eq!(warnings(&mut a).len(), 1, "{}", a.said());
    fs::remove_file(ballast).unwrap();
    // It does not try again by itself.
    cluster.nats.kill(0);
    cluster.nats.start(0).await;
    until_ready(a.address).await;
    talk.answered(waiting).await;
    talk.ends(vec![(a, &folder)]);
}
