//! Publishing to the stream, and reading it.

use std::time::Duration;

use async_nats::jetstream::{self, stream::DiscardPolicy};
use bytes::Bytes;
use cluster::Trouble;
use domain::Epoch;
use engine::command_log::{
    status::{LogStatus, Part},
    transport::{Delivery, MessageId, NotPublished, Transport},
};
use futures_util::StreamExt;
use nats_fixture::{Nats, Slow};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{EPOCH, NODE, Node, Running, message, message_of, settings, until, within};

#[tokio::test]
async fn what_is_published_is_read_in_its_order_by_all() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut early = node.read_after(0).await;
    node.publish_all(1..301).await;
    let mut late = node.read_after(0).await;
    early.expect(1, 1..301).await;
    late.expect(1, 1..301).await;
    late.reads().await;
    assert_eq!(late.seen.borrow().restarts, 0);
}

#[tokio::test]
async fn a_delivery_has_the_time_of_the_stream_and_what_is_behind_it() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..11).await;
    let mut reader = node.read_after(0).await;
    let mut before = None;
    for place in 1..=10 {
        let Delivery::Message { at, behind, .. } = reader.next().await else { panic!("a snapshot") };
        assert_eq!(behind, 10 - place);
        assert!(before <= Some(at));
        before = Some(at);
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let age = now.saturating_sub(Duration::from_millis(before.unwrap().0));
    assert!(age < Duration::from_secs(60), "{age:?}");
}

#[tokio::test]
async fn reading_goes_on_from_a_place() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    node.publish_all(1..11).await;
    node.read_after(0).await.expect(1, 1..11).await;
    let mut middle = node.read_after(7).await;
    middle.expect(8, 8..11).await;
    let mut end = node.read_after(10).await;
    node.publish(11).await;
    middle.expect(11, 11..12).await;
    end.expect(11, 11..12).await;
}

#[tokio::test]
async fn a_reader_that_is_not_read_from_waits_and_loses_nothing() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish_all(1..1_001).await;
    reader.reads().await;
    reader.expect(1, 1..1_001).await;
}

#[tokio::test]
async fn a_message_that_is_published_twice_is_there_once() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    for number in [1, 1, 2, 1, 2] {
        node.publish(number).await;
    }
    assert_eq!(node.stream.look().await.unwrap().unwrap().last, 2);
    node.read_after(0).await.expect(1, 1..3).await;
}

#[tokio::test]
async fn a_batch_of_the_largest_size_is_carried_and_a_larger_one_refused() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut largest = vec![0; cluster::connection::NEEDED_PAYLOAD - 1_024];
    StdRng::seed_from_u64(1).fill(&mut largest[..]);
    let id = MessageId { from: NODE, number: 1 };
    node.transport.publish(id, largest.clone().into()).await.unwrap();
    let Delivery::Message { payload, .. } = node.read_after(0).await.next().await else {
        panic!("a snapshot")
    };
    assert!(payload == largest);
    let id = MessageId { from: NODE, number: 2 };
    let too_large = node.transport.publish(id, vec![0; 2 << 20].into()).await;
    assert_eq!(too_large, Err(NotPublished::TooLarge));
}

#[tokio::test]
async fn messages_of_others_are_handed_over_as_they_are() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let client = node.stream.connection().client();
    node.publish(1).await;
    client.publish("qchat.log", Bytes::from_static(b"hello")).await.unwrap();
    client.flush().await.unwrap();
    until(async || (node.stream.look().await.ok()??.last == 2).then_some(())).await;
    let mut reader = node.read_after(0).await;
    reader.expect(1, 1..2).await;
    let Delivery::Message { place: 2, payload, .. } = reader.next().await else { panic!("another") };
    assert_eq!(&payload[..], b"hello");
    node.publish(2).await;
    reader.expect(3, 2..3).await;
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_is_waited_for() {
    let Some(mut nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish_all(1..11).await;
    reader.expect(1, 1..11).await;
    nats.kill(0);
    let address = nats.url(0).replace("nats://", "");
    reader
        .until_it_says(&format!("NATS at {address} cannot be reached: no server takes the connection"))
        .await;
    assert_eq!(node.try_publish(11).await, Err(NotPublished::NoAnswer));
    nats.start(0).await;
    node.publish_all(11..21).await;
    reader.expect(11, 11..21).await;
    reader.reads().await;
    assert_eq!(node.stream.connection().connects(), 2);
}

#[tokio::test]
async fn a_slow_network_is_read_over() {
    let Some(nats) = Nats::one().await else { return };
    let near = Node::join(&nats).await;
    near.publish_all(1..11).await;
    let slow = Slow::to(nats.url(0), Duration::from_millis(500)).await;
    let mut settings = settings(&nats);
    settings.servers = slow.address.to_string().parse().unwrap();
    settings.discover = false;
    let far = Node::with(settings).await;
    let mut reader = far.read_after(0).await;
    reader.expect(1, 1..11).await;
    far.publish_all(11..14).await;
    reader.expect(11, 11..14).await;
    // Nothing is said for a while, which must not be taken for a silence of the servers.
    reader.reads().await;
    near.publish_all(14..17).await;
    reader.expect(14, 14..17).await;
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_told_and_so_is_one_that_is_made_anew() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish_all(1..11).await;
    reader.expect(1, 1..11).await;
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    jetstream.delete_stream("qchat_log").await.unwrap();
    let deleted =
        "the stream qchat_log has been deleted: restore it from a backup, or recover the log from a node";
    assert_eq!(reader.complaint().await, deleted);
    assert_eq!(node.try_publish(11).await, Err(NotPublished::NoStream));

    node.stream.create(1).await.unwrap();
    node.publish_all(1..4).await;
    reader
        .until_it_says("the stream qchat_log ends at place 3, and this node has applied 10: messages were lost, or an old backup was restored")
        .await;

    for number in 4..20 {
        let id = MessageId { from: NODE, number };
        let other = message_of(Epoch::from_bytes([8; 10]), number);
        node.transport.publish(id, other).await.unwrap();
    }
    reader.until_it_says("the stream qchat_log holds another log than this node: it was founded anew").await;

    // Restored, with what came after it.
    jetstream.delete_stream("qchat_log").await.unwrap();
    node.stream.create(1).await.unwrap();
    for number in 1..13 {
        let id = MessageId { from: NODE, number: number + 100 };
        node.transport.publish(id, message_of(EPOCH, number)).await.unwrap();
    }
    reader.expect(11, 11..13).await;
}

#[tokio::test]
async fn a_stream_that_lost_its_end_and_got_another_is_told_and_neither_read_nor_written_to() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish_all(1..11).await;
    reader.expect(1, 1..11).await;
    let publish = async |reader: &Running, number| {
        reader.transport.publish(MessageId { from: NODE, number }, message(number)).await
    };
    assert_eq!(publish(&reader, 11).await, Ok(()));
    reader.expect(11, 11..12).await;

    let jetstream = jetstream::new(node.stream.connection().client().clone());
    jetstream.delete_stream("qchat_log").await.unwrap();
    node.stream.create(1).await.unwrap();
    // Seven of them are still there, and the places of the others are taken.
    node.publish_all(1..8).await;
    node.publish_all(108..113).await;
    let line = "the stream qchat_log has another message at place 11 than this node has applied: messages were lost and others took their places, or an old backup was restored";
    reader.until_it_says(line).await;
    assert_eq!(publish(&reader, 12).await, Err(NotPublished::NotRead));
    node.publish_all(113..121).await;
    // A process that is started afterwards knows it by what it has applied.
    let mut later = node.read_after(11).await;
    for reader in [&mut reader, &mut later] {
        reader.until_it_says(line).await;
        assert!(reader.deliveries.try_recv().is_err(), "it read on");
    }
    assert_eq!(publish(&later, 12).await, Err(NotPublished::NotRead));
    // One that has not applied what is lost reads on.
    node.read_after(7).await.expect(8, 108..121).await;
    assert_eq!(node.stream.look().await.unwrap().unwrap().last, 20);
}

#[tokio::test]
async fn after_a_reconnect_nothing_is_published_before_the_stream_is_looked_at() {
    let Some(mut nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish(1).await;
    reader.expect(1, 1..2).await;
    nats.kill(0);
    let publishing = |number| reader.transport.publish(MessageId { from: NODE, number }, message(number));
    assert!(publishing(2).await.is_err());
    nats.start(0).await;
    until(async || publishing(2).await.ok()).await;
    let seen = *reader.seen.borrow();
    assert!(seen.restarts > 0, "it was looked at again: {seen:?}");
    reader.expect(2, 2..3).await;
}

#[tokio::test]
async fn a_reader_that_stands_still_knows_how_far_the_stream_goes() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish(1).await;
    reader.expect(1, 1..2).await;
    reader.told.set(Part::Applier, LogStatus::Live { behind: 0 });
    node.publish_all(2..2_001).await;
    until(async || (reader.end.newest() == 2_000).then_some(())).await;
    assert!(reader.end.owed() < 2_000, "it was not away while they came");
    // It was away, and does not know yet that it was only for a moment.
    node.stream.connection().client().force_reconnect().await.unwrap();
    let told = reader.until_part(Part::Applier, |status| !status.is_ready()).await;
    assert!(matches!(told, LogStatus::CatchingUp { behind: 1_900.. }), "{told}");
    assert_eq!(reader.end.owed(), 2_000);
    reader.expect(2, 2..2_001).await;
}

#[tokio::test]
async fn a_stream_whose_settings_are_changed_is_told_and_read_again_when_they_are_right() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish(1).await;
    reader.expect(1, 1..2).await;
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    let mut config = jetstream.get_stream("qchat_log").await.unwrap().cached_info().config.clone();
    config.discard = DiscardPolicy::Old;
    jetstream.update_stream(&config).await.unwrap();
    assert_eq!(
        reader.complaint().await,
        "the stream qchat_log is not as Qchat made it: its discard policy is Old, and has to be New"
    );
    config.discard = DiscardPolicy::New;
    jetstream.update_stream(&config).await.unwrap();
    reader.reads().await;
    node.publish(2).await;
    reader.expect(2, 2..3).await;
}

#[tokio::test]
async fn a_purge_asks_for_a_snapshot() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut asked =
        node.stream.connection().client().subscribe(node.snapshots.wanted().to_owned()).await.unwrap();
    node.publish_all(1..11).await;
    node.stream.purge_before(6).await.unwrap();
    let mut up_to_date = node.read_after(5).await;
    up_to_date.expect(6, 6..11).await;
    let mut reader = node.read_after(2).await;
    let hole = "the stream qchat_log begins at place 6, this node has applied 2, and there is no snapshot in between: waiting for a node to make one";
    assert_eq!(reader.complaint().await, hole);
    within(asked.next()).await.unwrap();
    // All is purged, and a node that has everything does not mind.
    node.stream.purge_before(11).await.unwrap();
    node.publish(11).await;
    up_to_date.expect(11, 11..12).await;
}

#[tokio::test]
async fn a_purge_beyond_what_was_read_is_noticed_though_no_message_follows() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish(1).await;
    reader.expect(1, 1..2).await;
    // The reader stands still, since nobody takes what it reads, and what it has not got yet is purged.
    node.publish_all(2..2_000).await;
    node.stream.purge_before(2_000).await.unwrap();
    let complaint = async {
        let mut read = 1;
        while let Ok(Delivery::Message { place, .. }) =
            tokio::time::timeout(Duration::from_secs(1), reader.next()).await
        {
            read = place;
        }
        read
    };
    let read = complaint.await;
    assert!(read < 1_999, "the test needs more messages");
    assert_eq!(
        reader.complaint().await,
        format!(
            "the stream qchat_log begins at place 2000, this node has applied {read}, and there is no snapshot in between: waiting for a node to make one"
        )
    );
}

#[tokio::test]
async fn a_full_stream_is_told_and_takes_messages_again_when_it_was_purged() {
    let Some(nats) = Nats::one().await else { return };
    let mut settings = settings(&nats);
    settings.max_log_bytes = Some(1 << 20);
    let node = Node::with(settings).await;
    let big = Bytes::from(vec![0; 100 * 1024]);
    let mut number = 0;
    let refused = loop {
        number += 1;
        match node.transport.publish(MessageId { from: NODE, number }, big.clone()).await {
            Ok(()) => assert!(number < 20),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, NotPublished::Full);
    let state = node.stream.look().await.unwrap().unwrap();
    assert_eq!((state.last, state.max_bytes), (number - 1, Some(1 << 20)));
    node.stream.purge_before(number - 1).await.unwrap();
    node.transport.publish(MessageId { from: NODE, number }, big.clone()).await.unwrap();
}

#[tokio::test]
async fn a_reader_ends_when_nobody_takes_what_it_reads() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let mut reader = node.read_after(0).await;
    node.publish(1).await;
    reader.expect(1, 1..2).await;
    reader.deliveries.close();
    within(reader.ended()).await;
}

#[tokio::test]
async fn a_log_of_another_epoch_is_not_read() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let other = message_of(Epoch::from_bytes([8; 10]), 1);
    node.transport.publish(MessageId { from: NODE, number: 1 }, other).await.unwrap();
    let mut reader = node.read_after(0).await;
    let trouble = Trouble::OtherLog { stream: "qchat_log".to_owned() };
    assert_eq!(reader.complaint().await, trouble.to_string());
}

#[tokio::test]
async fn nothing_is_published_into_a_stream_that_holds_another_log() {
    let Some(nats) = Nats::one().await else { return };
    let node = Node::join(&nats).await;
    let publish = async |reader: &Running, number| {
        reader.transport.publish(MessageId { from: NODE, number }, message(number)).await
    };
    let reader = node.read_after(0).await;
    assert_eq!(publish(&reader, 1).await, Ok(()));
    let jetstream = jetstream::new(node.stream.connection().client().clone());
    jetstream.delete_stream("qchat_log").await.unwrap();
    drop(reader);
    node.stream.create(1).await.unwrap();
    let other = message_of(Epoch::from_bytes([8; 10]), 1);
    node.transport.publish(MessageId { from: NODE, number: 2 }, other).await.unwrap();
    let mut reader = node.read_after(0).await;
    assert_eq!(publish(&reader, 3).await, Err(NotPublished::NotRead));
    let trouble = Trouble::OtherLog { stream: "qchat_log".to_owned() };
    reader.until_it_says(&trouble.to_string()).await;
    assert_eq!(node.stream.look().await.unwrap().unwrap().last, 1);
    // A message of another log among those of this one changes nothing.
    node.publish(4).await;
    let other = message_of(Epoch::from_bytes([8; 10]), 5);
    node.transport.publish(MessageId { from: NODE, number: 5 }, other).await.unwrap();
    let reader = node.read_after(0).await;
    assert_eq!(publish(&reader, 6).await, Ok(()));
}
