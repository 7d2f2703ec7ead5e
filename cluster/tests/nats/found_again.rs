//! A log that is gone for good, and goes on from what a node has.

use std::sync::Arc;

use async_nats::jetstream;
use cluster::found_again::{FoundAgain, FoundedAgain, NotFoundedAgain};
use domain::Rules;
use engine::{command_log::status::Part, storage::Store};
use nats_fixture::Nats;
use tempfile::TempDir;

use crate::{
    member::{Member, NEVER},
    support::{settings, until},
};

async fn found_again(nats: &Nats, store: &Arc<Store>) -> Result<FoundedAgain, NotFoundedAgain> {
    let (settings, folder) = (settings(nats), TempDir::new().unwrap());
    let rules = (Rules::OLDEST, Rules::NEWEST);
    FoundAgain { settings: &settings, store, folder: folder.path(), rules }.run().await
}

/// Waits until a node reads another log than the one of this epoch.
async fn follows(member: &Member, epoch: domain::Epoch) {
    until(async || {
        let is_ready = [Part::Stream, Part::Applier].iter().all(|part| member.status.of(*part).is_ready());
        (is_ready && member.store.epoch() != epoch).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_log_goes_on_from_the_node_that_has_most_of_it() {
    let Some(nats) = Nats::one().await else { return };
    let mut members = Member::start_all(&nats, &["a", "b"], NEVER).await;
    members[0].start_chat().await;
    members[0].post("one").await;
    until(async || (members[0].export() == members[1].export()).then_some(())).await;
    let behind = members.pop().unwrap();
    let (store, epoch, own) = (Arc::clone(&behind.store), behind.store.epoch(), behind.place());
    drop(behind);
    let a = members.pop().unwrap();
    a.post("two").await;
    let place = a.place();

    let refused = found_again(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotFoundedAgain::NotGone(_)), "{refused}");
    a.stream.delete().await.unwrap();
    let refused = found_again(&nats, &store).await.unwrap_err();
    let is_told = matches!(&refused, NotFoundedAgain::Ahead { name, place: at, own: of } if name == "a" && (*at, *of) == (place, own));
    assert!(is_told, "{refused}");
    assert_eq!(found_again(&nats, &a.store).await.unwrap(), FoundedAgain { place, lost: None });

    follows(&a, epoch).await;
    assert_eq!(a.place(), place);
    a.post("three").await;
    let c = Member::start(&nats, "c", NEVER).await;
    c.post("four").await;
    until(async || (a.export() == c.export()).then_some(())).await;
    let refused = found_again(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotFoundedAgain::Already(_)), "{refused}");
    let refused = found_again(&nats, &c.store).await.unwrap_err();
    assert!(matches!(refused, NotFoundedAgain::NotGone(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_lost_its_newest_messages_goes_on_with_them() {
    let Some(nats) = Nats::one().await else { return };
    let a = Member::start(&nats, "a", NEVER).await;
    a.start_chat().await;
    for number in 0..5 {
        a.post(&number.to_string()).await;
    }
    let (epoch, place) = (a.store.epoch(), a.place());
    // Restored from an old backup.
    let messages: Vec<_> = {
        let mut messages = Vec::new();
        for place in 1..=3 {
            messages.push(a.stream.message(place).await.unwrap().unwrap());
        }
        messages
    };
    a.stream.delete().await.unwrap();
    a.stream.create(1).await.unwrap();
    for message in messages {
        let client = a.stream.connection().client();
        client.publish(a.stream.subject().to_owned(), message).await.unwrap();
        client.flush().await.unwrap();
    }
    until(async || a.status.of(Part::Stream).to_string().contains("ends at place 3").then_some(())).await;
    assert_eq!(found_again(&nats, &a.store).await.unwrap(), FoundedAgain { place, lost: None });
    follows(&a, epoch).await;
    a.post("after").await;
    let b = Member::start(&nats, "b", NEVER).await;
    until(async || (a.export() == b.export()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_a_hole_is_left_for_a_new_one_and_another_log_is_not_touched() {
    let Some(nats) = Nats::one().await else { return };
    let a = Member::start(&nats, "a", NEVER).await;
    a.start_chat().await;
    let behind = Member::start(&nats, "b", NEVER).await;
    until(async || (a.export() == behind.export()).then_some(())).await;
    let (store, own) = (Arc::clone(&behind.store), behind.place());
    drop(behind);
    for number in 0..5 {
        a.post(&number.to_string()).await;
    }
    let last = a.place();
    a.stream.purge_before(own + 3).await.unwrap();
    // The only node that had it all is gone.
    let stream = a.stream.clone();
    drop(a);
    let lost = Some((own + 3, last));
    assert_eq!(found_again(&nats, &store).await.unwrap(), FoundedAgain { place: own, lost });
    let c = Member::start(&nats, "c", NEVER).await;
    c.post("after").await;
    drop(c);

    // By an operator who begins anew.
    stream.delete().await.unwrap();
    let context = jetstream::new(stream.connection().client().clone());
    context.delete_object_store("qchat_snapshots").await.unwrap();
    let new = Member::start(&nats, "d", NEVER).await;
    let refused = found_again(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotFoundedAgain::OtherLog(_)), "{refused}");
    new.start_chat().await;
}
