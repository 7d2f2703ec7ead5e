use std::fs;

use axum::http::{HeaderMap, header};
use cluster::{Connection, NatsSettings};
use domain::{Timestamp, UserId};
use nats_fixture::Nats;
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;
use crate::http::session::KEY_BYTES;

fn files(folder: &TempDir) -> Files {
    let [current, old] = [SESSION_KEY, OLD_SESSION_KEY].map(|name| folder.path().join(name));
    Files { current, old }
}

fn key(byte: u8) -> SessionKey {
    SessionKey([byte; KEY_BYTES])
}

#[test]
fn the_folder_has_a_copy_of_the_keys_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    let has = || files.read().map(|own| (own.current, own.old)).unwrap();
    assert_eq!(has(), (None, None));
    for (current, old) in [(key(1), None), (key(2), Some(key(1))), (key(3), Some(key(2))), (key(3), None)] {
        files.write(SessionKeys { current, old }).unwrap();
        assert_eq!(has(), (Some(current), old));
    }
}

#[test]
fn a_file_that_is_given_has_to_be_there_and_to_be_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    assert!(matches!(given(&path), Err(KeyFileError { error: KeyError::Io(_), .. })));
    assert!(!path.exists());
    std::fs::write(&path, "short").unwrap();
    assert!(matches!(given(&path), Err(KeyFileError { error: KeyError::NotAKey, .. })));
    std::fs::write(&path, [1; KEY_BYTES]).unwrap();
    assert!(given(&path).is_ok());
    let old = folder.path().join("secret.old");
    std::fs::write(&old, "short").unwrap();
    let refused = given(&path).err().map(|refused| refused.path);
    assert_eq!(refused, Some(old));
}

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// How long something may take on a busy machine before the test fails.
const LIMIT: Duration = Duration::from_secs(90);

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
    let settings = NatsSettings::of(nats.url(0).parse().unwrap());
    let connection = Connection::open(&settings).await.unwrap();
    let shared = SharedKeys::new(connection, &settings);
    let keys = SharedSessionKeys::open(shared, folder.path(), |_| {}).await.unwrap();
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
    let deadline = Instant::now() + LIMIT;
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
