//! Several nodes with one log over NATS: what is written on one is read on all, and nothing that was acknowledged is lost
//! when a node or NATS goes away. Skipped with a line on standard error where there is no nats-server.
//!
//! `QCHAT_KILLS=100 cargo test -p server --test stories cluster -- --nocapture` is a longer run.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use domain::{ChatId, Event};
use nats_fixture::Nats;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{
    StatusCode,
    header::{HeaderMap, LOCATION, RETRY_AFTER, SET_COOKIE},
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    crash::client,
    support::{
        Client, Person, bodies, client_id,
        history::{Compared, History, compare, finish, number},
        process::Process,
    },
};

/// How long something between processes may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two questions.
pub(crate) const BETWEEN: Duration = Duration::from_millis(20);
/// The number of kills.
const KILLS: u64 = 5;
/// The number of clients of each node.
const CLIENTS: usize = 3;

/// A NATS server, and what its nodes are told.
pub(crate) struct Cluster {
    pub(crate) nats: Nats,
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Cluster {
    pub(crate) async fn start() -> Option<Self> {
        Some(Self::of(Nats::one().await?))
    }

    pub(crate) fn of(nats: Nats) -> Self {
        let settings = vec![
            ("QCHAT_NATS_URL", nats.urls().join(",")),
            ("QCHAT_NATS_REPLICAS", "1".to_owned()),
            ("QCHAT_NATS_MAX_LOG", "64".to_owned()),
        ];
        Self { nats, settings }
    }

    /// Starts a node, which may not be ready yet.
    pub(crate) fn begin(&self, folder: &Path, more: &[(&str, &str)]) -> Process {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Process::start_with(folder, &[settings.as_slice(), more].concat())
    }

    /// Starts a node, and waits until it is ready.
    pub(crate) async fn node(&self, folder: &Path) -> Process {
        let node = self.begin(folder, &[]);
        until_ready(node.address).await;
        node
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Returns what `/readyz` says, without `not ready: `, one reason after the other.
pub(crate) async fn reasons(address: SocketAddr) -> Vec<String> {
    let said = reqwest::get(format!("http://{address}/readyz")).await.unwrap().text().await.unwrap();
    let lines = said.lines().filter(|line| *line != "ready");
    lines.map(|line| line.strip_prefix("not ready: ").unwrap().to_owned()).collect()
}

/// Waits until a node has these reasons not to be ready.
pub(crate) async fn until(
    address: SocketAddr,
    mut are_expected: impl FnMut(&[String]) -> bool,
) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = reasons(address).await;
        if are_expected(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "it says {now:?}");
        sleep(BETWEEN).await;
    }
}

pub(crate) async fn until_ready(address: SocketAddr) {
    until(address, <[String]>::is_empty).await;
}

/// Waits until a node says a sentence among others.
pub(crate) async fn until_said(address: SocketAddr, sentence: &str) {
    until(address, |reasons| reasons.iter().any(|reason| reason.contains(sentence))).await;
}

/// Starts a chat. Returns also the cookie that says how far the log is.
pub(crate) async fn start_chat(person: &Person) -> (ChatId, String) {
    let answer = person.submit("/api/start_chat", &[("nickname", "Ana"), ("title", "Tea")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let path = answer.headers[LOCATION].to_str().unwrap();
    (path.strip_prefix("/chat/").unwrap().parse().unwrap(), reached(&answer.headers))
}

fn reached(headers: &HeaderMap) -> String {
    let mut cookies = headers.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap());
    let cookie = cookies.find(|cookie| cookie.starts_with("qchat_at=")).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Returns the next messages that a client receives.
async fn messages(client: &mut Client, count: usize) -> Vec<Event> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.extend(Some(client.event().await).filter(|event| event.kind.message().is_some()));
    }
    messages
}

#[tokio::test]
async fn what_is_written_on_any_node_is_read_on_all_in_one_order() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    let ana = Person::arrive(a.address).await;
    let (chat, reached) = start_chat(&ana).await;
    let mut bob = Person::arrive(b.address).await;
    bob.cookie = format!("{}; {reached}", bob.cookie);
    let page = bob.get(&format!("/chat/{chat}")).await;
    assert_eq!(
        page.status,
        StatusCode::OK,
        "the page of the other node waits for what the form did on the first"
    );
    assert!(page.text.contains("Tea"), "{}", page.text);

    let (mut ana, mut bob) = (ana.watch(chat).await, bob.watch(chat).await);
    for number in 0..50 {
        ana.ask(chat, client_id(number), "from A").await;
        bob.ask(chat, client_id(number), "from B").await;
    }
    let (seen, also_seen) = (messages(&mut ana, 100).await, messages(&mut bob, 100).await);
    assert_eq!(seen, also_seen);
    let said = bodies(&seen);
    assert_eq!(said.iter().filter(|body| *body == "from A").count(), 50);
    drop((ana, bob));
    a.stop();
    b.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_repeated_or_reordered_when_a_node_is_killed() {
    let Some(cluster) = Cluster::start().await else { return };
    let kills = number("QCHAT_KILLS", KILLS);
    let seed = number("QCHAT_SEED", rand::random());
    println!("QCHAT_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let [one, another] = [(); 2].map(|()| folder());
    let (mut a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    let ana = Person::arrive(a.address).await;
    let (chat, reached) = start_chat(&ana).await;
    until_applied(&b, &ana, chat, reached.rsplit('.').next().unwrap().parse().unwrap()).await;

    let (tell, at_a) = watch::channel(Some(a.address));
    let (_running, at_b) = watch::channel(Some(b.address));
    let enough = CancellationToken::new();
    let mut histories = Vec::new();
    for (node, place) in [(&a, &at_a), (&b, &at_b)] {
        for _ in 0..CLIENTS {
            histories.push((History::begin(node.address, chat).await, place.clone()));
        }
    }
    let mut living = JoinSet::new();
    for (history, place) in histories {
        living.spawn(client(history, place, enough.clone()));
    }
    let started = Instant::now();
    for _ in 0..kills {
        sleep(Duration::from_millis(random.random_range(100..400))).await;
        tell.send_replace(None);
        a.kill();
        a = cluster.node(one.path()).await;
        tell.send_replace(Some(a.address));
    }
    sleep(Duration::from_millis(300)).await;
    enough.cancel();
    let mut histories = Vec::new();
    while let Some(history) = living.join_next().await {
        histories.push(history.unwrap());
    }
    finish(&mut histories, b.address).await;
    // A node that is told to stop has applied what was acknowledged on the other when it has read as much.
    let newest = histories.iter().flat_map(|history| history.acknowledged.values()).max().unwrap();
    until_applied(&a, &ana, chat, newest.0).await;
    a.stop();
    b.stop();
    for folder in [&one, &another] {
        let Compared { acknowledged, seen, snapshots } = compare(&histories, folder.path());
        println!(
            "{kills} kills in {:.1?}, seed {seed}: {acknowledged} messages acknowledged, {seen} deliveries compared with the log, \
             0 lost, duplicated or reordered; {snapshots} snapshots",
            started.elapsed()
        );
        assert!(acknowledged as u64 > kills, "there were messages to lose: {acknowledged}");
    }
}

#[tokio::test]
async fn users_of_all_nodes_are_online_on_each_and_their_sessions_hold_there() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    let (ana, bob) = (Person::arrive(a.address).await, Person::arrive(b.address).await);
    let (at_a, at_b) = (ana.connect().await, bob.connect().await);
    for node in [&a, &b] {
        until_metric(node.address, "qchat_people_online", |people| people == 2).await;
    }
    let elsewhere = Person { address: b.address, ..ana }.connect().await;
    assert_eq!(elsewhere.me.id, at_a.me.id);
    assert_ne!(elsewhere.me.id, at_b.me.id);
    // A user of two nodes is one.
    for node in [&a, &b] {
        until_metric(node.address, "qchat_people_online", |people| people == 2).await;
    }
    drop((elsewhere, at_a));
    until_metric(b.address, "qchat_people_online", |people| people == 1).await;
    drop(at_b);
    // One that is killed takes its users with it.
    let _at_b = bob.connect().await;
    b.kill();
    until_metric(a.address, "qchat_people_online", |people| people == 0).await;
    a.stop();
}

/// Waits until a metric of a node is as expected.
pub(crate) async fn until_metric(address: SocketAddr, name: &str, mut is_expected: impl FnMut(u64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
        if is_expected(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {value}");
        sleep(BETWEEN).await;
    }
}

/// Waits until a node has applied an entry, and shows a chat.
pub(crate) async fn until_applied(node: &Process, person: &Person, chat: ChatId, seq: u64) {
    until_metric(node.address, "qchat_log_seq", |reached| reached >= seq).await;
    let person = Person { address: node.address, ..person.clone() };
    assert_eq!(person.get(&format!("/chat/{chat}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn while_nats_is_away_people_read_on_and_what_they_write_waits() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    let ana = Person::arrive(a.address).await;
    let (chat, _) = start_chat(&ana).await;
    let mut client = ana.watch(chat).await;
    let hello = client.post(chat, client_id(1), "hello").await.unwrap();
    until_applied(&b, &ana, chat, hello.0).await;
    let read = async |address| {
        let page = Person { address, ..ana.clone() }.get(&format!("/chat/{chat}")).await;
        (page.status, page.text.contains("hello"))
    };

    cluster.nats.kill(0);
    until_said(a.address, "cannot be reached").await;
    let waiting = client.ask(chat, client_id(2), "are you there?").await;
    until_said(a.address, "what people write waits").await;
    assert_eq!(read(a.address).await, (StatusCode::OK, true));

    // One that is started meanwhile shows what it has.
    b.stop();
    let b = cluster.begin(another.path(), &[]);
    until_said(b.address, "cannot be reached").await;
    let deadline = Instant::now() + PATIENCE;
    while read(b.address).await != (StatusCode::OK, true) {
        assert!(Instant::now() < deadline, "it shows nothing");
        sleep(BETWEEN).await;
    }
    assert!(!reasons(b.address).await.is_empty(), "it is not ready all the same");

    cluster.nats.start(0).await;
    let seq = client.answer(waiting).await.unwrap();
    for node in [&a, &b] {
        until_ready(node.address).await;
        until_applied(node, &ana, chat, seq.0).await;
    }
    let history =
        Person { address: b.address, ..ana.clone() }.connect().await.watch(chat, None).await.unwrap();
    assert_eq!(bodies(&history.events), ["hello", "are you there?"]);
    drop(client);
    a.stop();
    b.stop();
}

#[tokio::test]
async fn a_node_that_may_not_log_in_says_so_and_stops_when_it_is_told_to() {
    let accounts = "authorization { user: \"ana\", password: \"secret\" }";
    let Some(nats) = Nats::one_with(accounts).await else { return };
    let (cluster, folder) = (Cluster::of(nats), folder());
    let node = cluster.begin(folder.path(), &[("QCHAT_NATS_USER", "ana"), ("QCHAT_NATS_PASSWORD", "wrong")]);
    until_said(node.address, "NATS refuses the login").await;
    let get = async |path: &str| reqwest::get(format!("http://{}{path}", node.address)).await.unwrap();
    assert_eq!(get("/healthz").await.status(), StatusCode::OK);
    let home = get("/").await;
    assert_eq!(home.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(home.headers()[RETRY_AFTER], "2");
    node.stop();
    let node = cluster.begin(folder.path(), &[("QCHAT_NATS_USER", "ana"), ("QCHAT_NATS_PASSWORD", "secret")]);
    until_ready(node.address).await;
    node.stop();
}

#[tokio::test]
async fn servers_without_jetstream_are_told_to_the_operator() {
    let Some(nats) = Nats::without_jetstream().await else { return };
    let (cluster, folder) = (Cluster::of(nats), folder());
    let node = cluster.begin(folder.path(), &[]);
    until_said(node.address, "without JetStream").await;
    node.stop();
}

#[tokio::test]
async fn a_stream_that_is_not_as_it_has_to_be_is_told_to_the_operator() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    cluster.node(one.path()).await.stop();
    let node = cluster.begin(another.path(), &[("QCHAT_NATS_REPLICAS", "3")]);
    let expected = "the stream qchat_log is not as Qchat made it: the number of its replicas is 1, and has to be 3 or more";
    until_said(node.address, expected).await;
    node.stop();
    // One with another name is another cluster.
    let node = cluster.begin(another.path(), &[("QCHAT_NATS_NAME", "other")]);
    until_ready(node.address).await;
    node.stop();
    // Its database is not one of the first.
    let node = cluster.begin(another.path(), &[]);
    until_said(node.address, "the stream qchat_log holds another log than this node").await;
    node.stop();
}

#[tokio::test]
async fn lifetimes_that_differ_from_those_of_the_log_end_a_node() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let first = cluster.begin(one.path(), &[("QCHAT_CHAT_LIFETIME", "20m")]);
    until_ready(first.address).await;
    let failure = cluster.begin(another.path(), &[("QCHAT_CHAT_LIFETIME", "10m")]).end();
    let expected =
        "--chat-lifetime is 10 minutes, but the log of this cluster has 20 minutes, set by its first node";
    assert_eq!((failure.code, failure.said.contains(expected)), (Some(1), true), "{}", failure.said);
    // Not told, it takes what holds.
    cluster.node(another.path()).await.stop();
    first.stop();
}

#[tokio::test]
async fn a_qchat_that_was_alone_takes_its_chats_into_a_cluster_and_out_again() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let alone = Process::start(one.path());
    let ana = Person::arrive(alone.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    ana.watch(chat).await.post(chat, client_id(1), "hello").await.unwrap();
    alone.stop();

    let (a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    for node in [&a, &b] {
        let ana = Person { address: node.address, ..ana.clone() };
        let mut client = ana.connect().await;
        assert_eq!(bodies(&client.watch(chat, None).await.unwrap().events)[0], "hello");
        client.post(chat, client_id(u64::from(node.id())), "still here").await.unwrap();
    }
    a.stop();
    b.stop();

    let third = folder();
    let alone = Process::start(third.path());
    Person::arrive(alone.address).await.start_chat("Bob", "Coffee").await;
    alone.stop();
    let failure = cluster.begin(third.path(), &[]).end();
    let is_refused = failure.said.contains("has another chat than the cluster");
    assert_eq!((failure.code, is_refused), (Some(1), true), "{}", failure.said);
    Process::start(third.path()).stop();

    let failure = Process::fail(one.path(), "127.0.0.1:0");
    assert!(failure.said.contains("it belongs to a cluster: set --nats-url, or"), "{}", failure.said);
    let (code, said) = Process::run(one.path(), &["--leave-cluster"]);
    assert_eq!((code, said.contains("has left its cluster")), (Some(0), true), "{said}");
    let alone = Process::start(one.path());
    let ana = Person { address: alone.address, ..ana };
    assert_eq!(bodies(&ana.connect().await.watch(chat, None).await.unwrap().events)[0], "hello");
    alone.stop();
}
