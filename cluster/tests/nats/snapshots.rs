//! Snapshots in the object store, and reading on from one.

use std::{collections::BTreeSet, fs, path::PathBuf};

use async_nats::jetstream;
use bytes::Bytes;
use cluster::{
    Trouble,
    snapshots::{About, Snapshot, TransferError},
};
use domain::{Epoch, LogClock, LogSettings, Rules, Seq, Timestamp};
use engine::{
    command_log::transport::Delivery,
    storage::{LogState, ReplicaState, Store},
};
use futures_util::StreamExt;
use nats_fixture::Nats;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{EPOCH, Node};

/// More than five parts, the last of which is not full.
const BYTES: usize = 5 * 512 * 1024 + 1_000;

fn about(place: u64) -> About {
    let (epoch, at) = (EPOCH, Timestamp::default());
    About { format: 1, epoch, place, seq: Seq(place * 10), rules: 1, at, follows: None }
}

fn content(place: u64) -> Vec<u8> {
    let mut content = vec![0; BYTES];
    StdRng::seed_from_u64(place).fill(&mut content[..]);
    content
}

/// Returns what a database has that has applied everything up to a place.
fn state(about: About) -> Vec<u8> {
    let store = Store::replica_in_memory().unwrap();
    let log = LogState { epoch: about.epoch, seq: about.seq, at: Timestamp::default() };
    let settings = LogSettings { rules: Rules(about.rules), ..LogSettings::default() };
    let state = ReplicaState::beginning(about.place, settings, LogClock::default());
    store.begin_replica(None, log, &state).unwrap();
    let mut bytes = Vec::new();
    store.read(Timestamp::default()).unwrap().export(&mut bytes).unwrap();
    bytes
}

async fn upload(node: &Node, about: About) -> Snapshot {
    upload_content(node, about, content(about.place)).await
}

/// Uploads a snapshot that can be loaded.
async fn upload_state(node: &Node, about: About) -> Snapshot {
    upload_content(node, about, state(about)).await
}

async fn upload_content(node: &Node, about: About, content: Vec<u8>) -> Snapshot {
    let file = node.folder.path().join("made");
    fs::write(&file, content).unwrap();
    node.snapshots.upload(&file, about).await.unwrap()
}

async fn places(node: &Node) -> Vec<u64> {
    node.snapshots.list().await.unwrap().iter().map(|snapshot| snapshot.about.place).collect()
}

async fn bucket(node: &Node) -> jetstream::stream::Stream {
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    jetstream.get_stream("OBJ_qchat_snapshots").await.unwrap()
}

/// Returns the places in the bucket of the parts of the newest upload.
async fn parts(node: &Node) -> Vec<u64> {
    let bucket = bucket(node).await;
    let mut parts = Vec::new();
    let mut subject = None;
    for place in (1..=bucket.cached_info().state.last_sequence).rev() {
        let Ok(message) = bucket.get_raw_message(place).await else { continue };
        if message.subject.contains(".C.") && subject.as_ref().is_none_or(|newest| *newest == message.subject)
        {
            subject = Some(message.subject);
            parts.push(place);
        }
    }
    parts
}

fn target(node: &Node) -> PathBuf {
    node.folder.path().join("loaded")
}

#[tokio::test]
async fn a_snapshot_is_downloaded_as_it_was_uploaded() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    assert_eq!(node.snapshots.list().await, Ok(Vec::new()));
    let snapshot = upload(&node, about(42)).await;
    assert_eq!((snapshot.about, snapshot.bytes), (about(42), BYTES as u64));
    assert_eq!(node.snapshots.list().await, Ok(vec![snapshot.clone()]));
    assert_eq!(parts(&node).await.len(), 6, "parts have their size");
    fs::write(target(&node), "old").unwrap();
    node.snapshots.download(&snapshot, &target(&node)).await.unwrap();
    assert!(fs::read(target(&node)).unwrap() == content(42));
    assert!(!node.folder.path().join("loaded.part").exists());
}

#[tokio::test]
async fn snapshots_are_listed_with_the_newest_first_and_deleted_without_a_trace() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    for place in [5, 100, 20, 20] {
        upload(&node, about(place)).await;
    }
    assert_eq!(places(&node).await, [100, 20, 20, 5]);
    let listed = node.snapshots.list().await.unwrap();
    let names: Vec<_> = listed.iter().map(|snapshot| snapshot.name().trim_start_matches('0')).collect();
    assert_eq!(names, ["100", "20-2", "20", "5"]);
    for snapshot in &listed[1..] {
        node.snapshots.delete(snapshot).await.unwrap();
    }
    assert_eq!(places(&node).await, [100]);
    node.snapshots.delete(&listed[1]).await.unwrap();
    let gone = node.snapshots.download(&listed[1], &target(&node)).await;
    assert!(matches!(gone, Err(TransferError::Stopped { .. })));
    assert!(!target(&node).exists());
    // The name, and six parts.
    assert_eq!(bucket(&node).await.cached_info().state.messages, 7);
}

#[tokio::test]
async fn what_is_no_snapshot_is_not_listed() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    upload(&node, about(7)).await;
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    let store = jetstream.get_object_store("qchat_snapshots").await.unwrap();
    store.put("notes.txt", &mut b"hello".as_slice()).await.unwrap();
    store.put("00000000000000000099", &mut b"hello".as_slice()).await.unwrap();
    assert_eq!(places(&node).await, [7]);
}

#[tokio::test]
async fn what_an_upload_left_is_found_and_deleted() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    assert_eq!(node.snapshots.orphans().await, Ok(BTreeSet::new()));
    upload(&node, about(7)).await;
    assert_eq!(node.snapshots.orphans().await, Ok(BTreeSet::new()));
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    let part = Bytes::from_static(b"part");
    jetstream.publish("$O.qchat_snapshots.C.broken", part).await.unwrap().await.unwrap();
    assert_eq!(node.snapshots.orphans().await, Ok(BTreeSet::from(["broken".to_owned()])));
    node.snapshots.delete_orphan("broken").await.unwrap();
    assert_eq!(node.snapshots.orphans().await, Ok(BTreeSet::new()));
    assert_eq!(places(&node).await, [7]);
}

#[tokio::test]
async fn a_damaged_snapshot_is_told() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let snapshot = upload(&node, about(7)).await;
    bucket(&node).await.delete_message(parts(&node).await[3]).await.unwrap();
    let damaged = node.snapshots.download(&snapshot, &target(&node)).await;
    assert!(matches!(damaged, Err(TransferError::Damaged(_))), "{damaged:?}");
    assert!(!target(&node).exists() && !node.folder.path().join("loaded.part").exists());
}

#[tokio::test]
async fn a_reader_loads_the_newest_snapshot_where_the_stream_does_not_reach_back() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..21).await;
    for place in [4, 8, 15] {
        upload_state(&node, about(place)).await;
    }
    node.stream.purge_before(9).await.unwrap();
    let mut reader = node.read_after(0).await;
    let Delivery::Replace { file, place: 15 } = reader.next().await else { panic!("no snapshot") };
    assert!(fs::read(&file).unwrap() == state(about(15)));
    reader.expect(16, 16..21).await;
    node.publish(21).await;
    reader.expect(21, 21..22).await;
    // What the last process left is removed, and a node that needs none loads none.
    let mut reader = node.read_after(18).await;
    reader.expect(19, 19..22).await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_reader_loads_the_newest_snapshot_that_it_can_use() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..21).await;
    upload_state(&node, about(12)).await;
    // Intact, and not what a database can be loaded from.
    upload(&node, about(13)).await;
    // Of another place than it says.
    upload_content(&node, about(14), state(about(12))).await;
    // For a newer program.
    upload_state(&node, About { rules: 9, ..about(15) }).await;
    node.stream.purge_before(11).await.unwrap();
    let newer = upload_state(&node, About { format: 9, ..about(16) }).await;
    let mut reader = node.read_after(0).await;
    let Delivery::Replace { place: 12, .. } = reader.next().await else { panic!("another snapshot") };
    reader.expect(13, 13..21).await;

    // What is wrong with the oldest of those that are left is told.
    node.stream.purge_before(15).await.unwrap();
    let mut reader = node.read_after(0).await;
    reader
        .until_it_says(
            "the snapshot of place 14 could not be loaded: it has something else than its name says",
        )
        .await;
    node.stream.purge_before(16).await.unwrap();
    reader
        .until_it_says("the snapshot of place 15 needs the rules 9, and this Qchat decides by the rules 1 to 2: upgrade this node")
        .await;
    node.stream.purge_before(17).await.unwrap();
    reader
        .until_it_says("the snapshot of place 16 could not be loaded: it has format 9, and this Qchat reads up to 1: upgrade this node")
        .await;
    node.snapshots.delete(&newer).await.unwrap();
    upload_state(&node, about(16)).await;
    let Delivery::Replace { place: 16, .. } = reader.next().await else { panic!("another snapshot") };
    reader.expect(17, 17..21).await;
}

#[tokio::test]
async fn a_reader_loads_the_snapshot_before_a_damaged_one() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..11).await;
    upload_state(&node, about(5)).await;
    upload_state(&node, about(8)).await;
    bucket(&node).await.delete_message(parts(&node).await[0]).await.unwrap();
    node.stream.purge_before(6).await.unwrap();
    let mut reader = node.read_after(0).await;
    let Delivery::Replace { place: 5, .. } = reader.next().await else { panic!("another snapshot") };
    reader.expect(6, 6..11).await;
}

#[tokio::test]
async fn a_reader_waits_for_a_snapshot_that_is_of_its_log_and_leaves_no_hole() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let client = node.stream.connection().client();
    let mut asked = client.subscribe(node.snapshots.wanted().to_owned()).await.unwrap();
    node.publish_all(1..11).await;
    node.stream.purge_before(7).await.unwrap();
    upload_state(&node, about(5)).await;
    upload_state(&node, About { epoch: Epoch::from_bytes([8; 10]), ..about(9) }).await;
    let mut reader = node.read_after(3).await;
    assert_eq!(
        reader.complaint().await,
        "the stream qchat_log begins at place 7, this node has applied 3, and there is no snapshot in between: waiting for a node to make one"
    );
    crate::support::within(asked.next()).await.unwrap();
    upload_state(&node, about(6)).await;
    let Delivery::Replace { place: 6, .. } = reader.next().await else { panic!("another snapshot") };
    reader.expect(7, 7..11).await;
    reader.reads().await;
}

#[tokio::test]
async fn a_reader_of_a_node_that_differs_from_the_others_reads_a_snapshot_that_is_made_afterwards() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..11).await;
    // This node may have made it, before it was known that it differs.
    upload_state(&node, about(10)).await;
    let mut reader = node.read_after(0).await;
    reader.expect(1, 1..11).await;
    reader.standing.send_modify(|standing| standing.differs_at = Some(8));
    let line = "this node has decided differently from most others up to place 10 of the log: a snapshot takes the place of its database";
    reader.until_it_says(line).await;
    node.publish_all(11..14).await;
    upload_state(&node, about(12)).await;
    let Delivery::Replace { place: 12, .. } = reader.next().await else { panic!("another snapshot") };
    reader.expect(13, 13..14).await;
    // That it still differs, as long as the others have not heard more of it, is not news.
    reader.standing.send_modify(|_| {});
    node.publish_all(14..16).await;
    reader.expect(14, 14..16).await;
    reader.standing.send_modify(|standing| standing.differs_at = None);
    reader.reads().await;
}

#[tokio::test]
async fn a_stream_that_ends_before_a_snapshot_of_its_log_is_not_read_on() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..11).await;
    upload_state(&node, about(20)).await;
    let mut reader = node.read_after(3).await;
    let lost = Trouble::ShorterThanSnapshot { stream: "qchat_log".to_owned(), last: 10, place: 20 };
    reader.until_it_says(&lost.to_string()).await;
    node.publish_all(11..21).await;
    reader.expect(4, 4..21).await;
    reader.reads().await;
}
