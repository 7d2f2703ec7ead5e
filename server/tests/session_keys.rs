//! The session keys that nodes share over a real NATS server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::{fs, time::Duration};

use axum::http::{HeaderMap, header};
use cluster::{Connection, NatsSettings, keys::SharedKeys};
use domain::{Timestamp, UserId};
use nats_fixture::Nats;
use server::{
    http::session::Sessions,
    start::{OLD_SESSION_KEY, SESSION_KEY, session_keys::SharedSessionKeys},
};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// How long something may take on a busy machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// The keys of a node that runs. It ends when it is dropped, and its folder stays.
struct Node {
    sessions: Arc<Sessions>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(nats: &Nats, folder: &TempDir) -> Node {
    let mut settings = NatsSettings::of(nats.url(0).parse().unwrap());
    settings.replicas = "1".parse().unwrap();
    let connection = Connection::open(&settings).await.unwrap();
    let shared = SharedKeys::new(connection, &settings);
    let keys = SharedSessionKeys::open(shared, folder.path()).await.unwrap();
    let sessions = keys.sessions();
    Node { sessions, task: tokio::spawn(async move { keys.run().await }) }
}

/// Starts a session, and returns its user and its cookie.
fn begin(node: &Node) -> (UserId, HeaderMap) {
    let (session, cookie) = node.sessions.find_or_start(&HeaderMap::new(), NOW, false).unwrap();
    let cookie = cookie.unwrap().to_str().unwrap().to_owned();
    let pair = cookie.split(';').next().unwrap();
    (session.user(), HeaderMap::from_iter([(header::COOKIE, pair.parse().unwrap())]))
}

fn user(node: &Node, cookie: &HeaderMap) -> Option<UserId> {
    node.sessions.find(cookie, NOW).unwrap().map(|session| session.user())
}

/// Waits until a node has this user for a cookie.
async fn until(node: &Node, cookie: &HeaderMap, expected: Option<UserId>) {
    let deadline = Instant::now() + PATIENCE;
    while user(node, cookie) != expected {
        assert!(Instant::now() < deadline, "it does not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_session_of_one_node_holds_on_all_and_so_does_what_is_done_to_the_keys_of_one() {
    let Some(nats) = Nats::one().await else { return };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (one, other) = tokio::join!(start(&nats, &folders[0]), start(&nats, &folders[1]));
    let (ana, hers) = begin(&one);
    assert_eq!(user(&other, &hers), Some(ana));
    let files = folders.each_ref().map(|folder| fs::read(folder.path().join(SESSION_KEY)).unwrap());
    assert_eq!(files[0], files[1], "each has a copy");

    // The key is put aside on one node.
    drop(other);
    let [key, old] = [SESSION_KEY, OLD_SESSION_KEY].map(|name| folders[1].path().join(name));
    fs::rename(&key, &old).unwrap();
    let other = start(&nats, &folders[1]).await;
    assert_eq!(user(&other, &hers), Some(ana), "it is still taken");
    let (bob, his) = begin(&other);
    until(&one, &his, Some(bob)).await;
    assert_eq!(user(&one, &hers), Some(ana));

    // And then it is removed there.
    drop(other);
    fs::remove_file(&old).unwrap();
    let other = start(&nats, &folders[1]).await;
    assert_eq!((user(&other, &hers), user(&other, &his)), (None, Some(bob)));
    until(&one, &hers, None).await;
    assert_eq!(user(&one, &his), Some(bob));
}

#[tokio::test]
async fn a_node_that_has_keys_starts_with_them_without_the_servers_and_takes_those_in_force_later() {
    let Some(mut nats) = Nats::one().await else { return };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let one = start(&nats, &folders[0]).await;
    let (ana, hers) = begin(&one);
    drop(one);
    nats.kill(0);
    // It has never met the others.
    let key = folders[1].path().join(SESSION_KEY);
    fs::write(&key, [9; 64]).unwrap();
    let (one, other) = tokio::join!(start(&nats, &folders[0]), start(&nats, &folders[1]));
    assert_eq!((user(&one, &hers), user(&other, &hers)), (Some(ana), None));
    nats.start(0).await;
    until(&other, &hers, Some(ana)).await;
    assert_eq!(user(&one, &hers), Some(ana));
}
