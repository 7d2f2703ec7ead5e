//! Making the stream, recognising it, and founding a log in it.

use std::fs;

use async_nats::jetstream::{
    self,
    stream::{Config, DiscardPolicy},
};
use cluster::{
    Trouble,
    join::{Founder, try_join},
    snapshots::About,
    stream::{Founded, LogStream},
};
use domain::{LogSettings, Seq, Timestamp};
use engine::command_log::{
    envelope::Founding,
    transport::{Incarnation, MessageId},
};
use futures_util::future::join_all;
use nats_fixture::Nats;

use crate::support::{EPOCH, NODE, Node, connect, message, settings};

#[tokio::test]
async fn of_three_that_found_a_log_at_once_one_succeeds() {
    let Some(nats) = Nats::one().await else { return };
    let mut streams = Vec::new();
    for _ in 0..3 {
        let settings = settings(&nats);
        streams.push(LogStream::new(connect(&settings).await, &settings));
    }
    let founded = join_all((1..).zip(&streams).map(async |(node, stream)| {
        let state = stream.open().await.unwrap();
        let id = MessageId { from: Incarnation::from_bytes([node; 10]), number: 1 };
        stream.found(&state, id, message(node.into())).await.unwrap()
    }))
    .await;
    let winners: Vec<_> = (1..).zip(&founded).filter(|(_, founded)| **founded == Founded::Here).collect();
    let [(winner, _)] = winners[..] else { panic!("{founded:?}") };
    for stream in &streams {
        let state = stream.look().await.unwrap().unwrap();
        assert_eq!((state.begins, state.first, state.last), (1, 1, 1));
        assert!(!state.is_unfounded());
        assert_eq!(stream.message(1).await, Ok(Some(message(winner))));
    }
}

#[tokio::test]
async fn a_founder_whose_acknowledgement_was_lost_is_told_so_when_it_tries_again() {
    let Some(mut nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let state = node.stream.look().await.unwrap().unwrap();
    assert!(state.is_unfounded() && state.last < state.first);
    let id = MessageId { from: Incarnation::from_bytes([1; 10]), number: 1 };
    for _ in 0..2 {
        assert_eq!(node.stream.found(&state, id, message(1)).await, Ok(Founded::Here));
    }
    // The servers may have forgotten the id.
    let other = MessageId { number: 2, ..id };
    assert_eq!(node.stream.found(&state, other, message(1)).await, Ok(Founded::Here));
    assert_eq!(node.stream.found(&state, other, message(2)).await, Ok(Founded::Elsewhere));
    nats.kill(0);
    nats.start(0).await;
    crate::support::within(node.stream.connection().connected()).await;
    assert_eq!(node.stream.found(&state, id, message(1)).await, Ok(Founded::Here));
    assert_eq!(node.stream.message(2).await, Ok(None));
}

#[tokio::test]
async fn a_log_that_is_recovered_begins_at_a_place() {
    let Some(nats) = Nats::one().await else { return };
    let settings = settings(&nats);
    let stream = LogStream::new(connect(&settings).await, &settings);
    assert_eq!(stream.look().await, Ok(None));
    let state = stream.create(1_000).await.unwrap();
    assert_eq!((state.begins, state.first, state.last), (1_000, 1_000, 999));
    assert!(state.is_unfounded());
    let id = MessageId { from: Incarnation::from_bytes([1; 10]), number: 1 };
    assert_eq!(stream.found(&state, id, message(1)).await, Ok(Founded::Here));
    let state = stream.look().await.unwrap().unwrap();
    assert_eq!((state.begins, state.first, state.last, state.is_unfounded()), (1_000, 1_000, 1_000, false));
    assert_eq!(stream.message(1_000).await, Ok(Some(message(1))));
    stream.purge_before(1_001).await.unwrap();
    let state = stream.look().await.unwrap().unwrap();
    assert_eq!((state.begins, state.first, state.last), (1_000, 1_001, 1_000));
    assert!(state.last < state.first && !state.is_unfounded());
}

#[tokio::test]
async fn a_node_with_nothing_founds_no_log_where_there_are_snapshots_of_one() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    jetstream.delete_stream("qchat_log").await.unwrap();
    let file = node.folder.path().join("made");
    fs::write(&file, "whatever is in it").unwrap();
    let at = Timestamp::default();
    let about = About { format: 1, epoch: EPOCH, place: 42, seq: Seq(7), rules: 1, at, follows: None };
    node.snapshots.upload(&file, about).await.unwrap();

    let founding = |base| Founding {
        settings: LogSettings::default(),
        seq: Seq::ZERO,
        at: Timestamp::default(),
        base,
        clock_offset: 0,
    };
    let founder = |base| Founder { me: NODE, uptime_millis: 0, epoch: EPOCH, founding: founding(base) };
    let refused = try_join(&node.stream, &node.snapshots, &founder(None)).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the stream qchat_log is empty, but there is a snapshot of place 42 of its log: restore it from a backup, recover the log from a node that has it, or delete the bucket of the snapshots to begin with nothing"
    );
    assert_eq!(node.stream.look().await, Ok(None), "it was not made either");
    let state = node.stream.create(1).await.unwrap();
    assert!(try_join(&node.stream, &node.snapshots, &founder(None)).await.is_err());
    assert_eq!(node.stream.look().await, Ok(Some(state)));
    // One that has what was in it does.
    let joined = try_join(&node.stream, &node.snapshots, &founder(Some(0))).await.unwrap();
    assert!(joined.is_founder);
    // And then there is a log to be joined.
    let joined = try_join(&node.stream, &node.snapshots, &founder(None)).await.unwrap();
    assert_eq!(joined.founding, Some(founding(Some(0))));
}

#[tokio::test]
async fn a_stream_that_is_anothers_is_named_and_left_alone() {
    let Some(nats) = Nats::one().await else { return };
    let settings = settings(&nats);
    let connection = connect(&settings).await;
    let jetstream = jetstream::new(connection.client().clone());
    let config = Config { name: "qchat_log".to_owned(), ..Config::default() };
    let before = jetstream.create_stream(config).await.unwrap().cached_info().clone();
    let stream = LogStream::new(connection, &settings);
    for opened in [stream.look().await.map(|_| ()), stream.open().await.map(|_| ())] {
        assert_eq!(
            opened.unwrap_err().to_string(),
            "the stream qchat_log is not as Qchat made it: its metadata `qchat` is missing, and has to be log"
        );
    }
    let after = jetstream.get_stream("qchat_log").await.unwrap().cached_info().clone();
    assert_eq!((before.config, before.state.last_sequence), (after.config, after.state.last_sequence));
}

#[tokio::test]
async fn a_subject_that_is_anothers_is_named() {
    let Some(nats) = Nats::one().await else { return };
    let settings = settings(&nats);
    let connection = connect(&settings).await;
    let subjects = vec!["qchat.>".to_owned()];
    let config = Config { name: "other".to_owned(), subjects, ..Config::default() };
    jetstream::new(connection.client().clone()).create_stream(config).await.unwrap();
    let stream = LogStream::new(connection, &settings);
    assert_eq!(stream.open().await, Err(Trouble::SubjectTaken { subject: "qchat.log".to_owned() }));
}

#[tokio::test]
async fn a_stream_with_weaker_settings_is_named_and_left_alone() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut strict = node.settings.clone();
    strict.replicas = Some(cluster::settings::Replicas::THREE);
    let strict = LogStream::new(node.stream.connection().clone(), &strict);
    assert_eq!(
        strict.open().await.unwrap_err().to_string(),
        "the stream qchat_log is not as Qchat made it: the number of its replicas is 1, and has to be 3 or more (or --nats-replicas 1)"
    );
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    let mut config = jetstream.get_stream("qchat_log").await.unwrap().cached_info().config.clone();
    config.discard = DiscardPolicy::Old;
    jetstream.update_stream(config).await.unwrap();
    assert_eq!(
        node.stream.open().await.unwrap_err().to_string(),
        "the stream qchat_log is not as Qchat made it: its discard policy is Old, and has to be New"
    );
}
