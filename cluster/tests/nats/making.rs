//! Making snapshots: the stream is purged, new nodes begin with a snapshot, and what was removed is gone.

use std::{fs, time::Duration};

use async_nats::jetstream;
use cluster::snapshots::About;
use nats_fixture::Nats;

use crate::{
    member::{Member, NEVER},
    support::{until, within},
};

const OFTEN: Duration = Duration::from_secs(1);

/// Returns the places of the snapshots, the newest first.
async fn places(member: &Member) -> Vec<u64> {
    let listed = member.snapshots.list().await.unwrap_or_default();
    listed.iter().map(|snapshot| snapshot.about.place).collect()
}

/// Returns the place of the oldest message that is in the stream.
async fn oldest(member: &Member) -> u64 {
    member.stream.look().await.unwrap().unwrap().first
}

/// Returns whether there is a text in some bytes.
fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Returns whether a text is in any message of a stream.
async fn is_in_stream(member: &Member, stream: &str, text: &str) -> bool {
    let jetstream = jetstream::new(member.stream.connection().client().clone());
    let stream = jetstream.get_stream(stream).await.unwrap();
    let state = &stream.cached_info().state;
    for place in state.first_sequence..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(place).await
            && has(&message.payload, text)
        {
            return true;
        }
    }
    false
}

/// Waits until all nodes have applied the same.
async fn settled(members: &[Member]) {
    until(async || members.windows(2).all(|pair| pair[0].export() == pair[1].export()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_purged_up_to_the_snapshot_before_and_a_new_node_begins_with_one() {
    let Some(nats) = Nats::one().await else { return };
    let mut members = Member::start_all(&nats, &["a", "b"], OFTEN).await;
    members[0].start_chat().await;
    for number in 0..20 {
        members[number % 2].post(&format!("message {number}")).await;
    }
    // Two of the same place if nothing happens any more.
    let places = until(async || {
        let places = places(&members[0]).await;
        (places.len() == 2 && oldest(&members[0]).await > 20).then_some(places)
    })
    .await;
    assert!(oldest(&members[0]).await <= places[0] + 1, "what is not in a snapshot is in the stream");
    let newest = within(members[1].made.wait_for(|made| made.newest.is_some())).await.unwrap().newest;
    assert_eq!(newest.map(|About { epoch, .. }| epoch), Some(members[1].store.epoch()));

    members.push(Member::start(&nats, "c", OFTEN).await);
    members[2].post("after").await;
    settled(&members).await;
    assert!(has(&members[2].export(), "message 19"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_was_removed_is_gone_when_two_snapshots_have_been_made() {
    const TEXT: &str = "an unfortunate remark";
    let Some(nats) = Nats::one().await else { return };
    let members = Member::start_all(&nats, &["a", "b"], OFTEN).await;
    members[0].start_chat().await;
    let said = members[0].post(TEXT).await;
    // It is everywhere.
    let place = members[0].place();
    assert!(is_in_stream(&members[0], "qchat_log", TEXT).await);
    until(async || places(&members[0]).await.first().is_some_and(|newest| *newest >= place).then_some(()))
        .await;
    assert!(is_in_stream(&members[0], "OBJ_qchat_snapshots", TEXT).await);
    settled(&members).await;
    assert!(members.iter().all(|member| has(&member.export(), TEXT)));

    members[1].remove(said).await;
    let place = members[1].place();
    until(async || {
        let places = places(&members[0]).await;
        (places.len() == 2 && places.iter().all(|of| *of >= place)).then_some(())
    })
    .await;
    // The rest is done with the second, but after it.
    until(async || (oldest(&members[0]).await > place).then_some(())).await;
    assert!(!is_in_stream(&members[0], "qchat_log", TEXT).await);
    until(async || (!is_in_stream(&members[0], "OBJ_qchat_snapshots", TEXT).await).then_some(())).await;
    settled(&members).await;
    assert!(members.iter().all(|member| !has(&member.export(), TEXT)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_a_hole_asks_for_a_snapshot_and_goes_on() {
    let Some(nats) = Nats::one().await else { return };
    let members = Member::start_all(&nats, &["a"], NEVER).await;
    members[0].start_chat().await;
    for number in 0..5 {
        members[0].post(&format!("message {number}")).await;
    }
    let mut duty = members[0].duty.clone();
    within(duty.wait_for(|is_mine| *is_mine)).await.unwrap();
    // By an operator, without a snapshot.
    members[0].stream.purge_before(5).await.unwrap();
    let client = members[0].stream.connection().client();
    client.publish("qchat.snapshot.wanted", bytes::Bytes::new()).await.unwrap();
    until(async || (!places(&members[0]).await.is_empty()).then_some(())).await;
    let second = Member::start(&nats, "b", NEVER).await;
    assert_eq!(second.export(), members[0].export());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_make_snapshots_leaves_it_to_another() {
    let Some(nats) = Nats::one().await else { return };
    let members = Member::start_all(&nats, &["a", "b"], OFTEN).await;
    let with_duty = async || members.iter().position(|member| *member.duty.borrow());
    let one = until(with_duty).await;
    let (one, other) = (&members[one], &members[1 - one]);
    fs::remove_dir_all(&one.for_snapshots).unwrap();
    other.start_chat().await;
    let place = other.place();
    until(async || places(other).await.first().is_some_and(|newest| *newest >= place).then_some(())).await;
    assert!(*other.duty.borrow() && !*one.duty.borrow());
}
