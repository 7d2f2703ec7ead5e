//! A log that is gone for good, and is recovered from what a node has.

use std::{fs, sync::Arc};

use async_nats::jetstream;
use cluster::{
    recovery::{NotRecovered, Recovery},
    snapshots::{About, Snapshots},
};
use domain::{Rules, Timestamp};
use engine::{command_log::status::Part, storage::Store};
use nats_fixture::Nats;
use tempfile::TempDir;

use crate::{
    member::{Member, NEVER},
    support::{message_of, settings, until},
};

async fn recover_log(nats: &Nats, store: &Arc<Store>) -> Result<u64, NotRecovered> {
    let (settings, folder) = (settings(nats), TempDir::new().unwrap());
    let rules = (Rules::OLDEST, Rules::NEWEST);
    Recovery { settings: &settings, store, folder: folder.path(), rules }.run().await
}

/// Uploads what a database has as a snapshot. One of a later place than it has cannot be loaded.
async fn upload(nats: &Nats, member: &Member, later: u64) {
    let (log, replica) = {
        let view = member.store.read(Timestamp::default()).unwrap();
        view.log().unwrap().zip(view.replica().unwrap()).unwrap()
    };
    let about = About {
        format: 1,
        epoch: log.epoch,
        place: replica.place + later,
        seq: log.seq,
        rules: replica.settings.rules.0,
        at: replica.clock.last(),
        follows: replica.follows,
    };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("made");
    fs::write(&file, member.export()).unwrap();
    let snapshots = Snapshots::new(member.stream.connection().clone(), &settings(nats));
    snapshots.upload(&file, about).await.unwrap();
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

    let refused = recover_log(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotRecovered::NotGone(_)), "{refused}");
    a.stream.delete().await.unwrap();
    let refused = recover_log(&nats, &store).await.unwrap_err();
    let is_told = matches!(&refused, NotRecovered::Ahead { name, place: at, own: of } if name == "a" && (*at, *of) == (place, own));
    assert!(is_told, "{refused}");
    assert_eq!(recover_log(&nats, &a.store).await.unwrap(), place);

    follows(&a, epoch).await;
    assert_eq!(a.place(), place);
    a.post("three").await;
    let c = Member::start(&nats, "c", NEVER).await;
    c.post("four").await;
    until(async || (a.export() == c.export()).then_some(())).await;
    let refused = recover_log(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotRecovered::Already(_)), "{refused}");
    let refused = recover_log(&nats, &c.store).await.unwrap_err();
    assert!(matches!(refused, NotRecovered::NotGone(_)), "{refused}");

    // It is lost again. A node that was away all the time knows nothing of what came since.
    upload(&nats, &c, 0).await;
    let (place, newest) = (c.place(), Arc::clone(&c.store));
    a.stream.delete().await.unwrap();
    let refused = recover_log(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotRecovered::Outdated(of) if of == place), "{refused}");
    drop(c);
    assert_eq!(recover_log(&nats, &newest).await.unwrap(), place);
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
    // A damaged snapshot counts as none, and an older one takes nothing back.
    upload(&nats, &a, 50).await;
    assert_eq!(recover_log(&nats, &a.store).await.unwrap(), place);
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
    let refused = recover_log(&nats, &store).await.unwrap_err();
    let is_told = matches!(refused, NotRecovered::Hole { first, last: to, own: of, .. } if (first, to, of) == (own + 3, last, own));
    assert!(is_told, "{refused}");
    stream.delete().await.unwrap();
    assert_eq!(recover_log(&nats, &store).await.unwrap(), own);
    let c = Member::start(&nats, "c", NEVER).await;
    c.post("after").await;
    drop(c);

    // By an operator who begins anew.
    stream.delete().await.unwrap();
    let context = jetstream::new(stream.connection().client().clone());
    context.delete_object_store("qchat_snapshots").await.unwrap();
    let new = Member::start(&nats, "d", NEVER).await;
    let refused = recover_log(&nats, &store).await.unwrap_err();
    assert!(matches!(refused, NotRecovered::OtherLog(_)), "{refused}");
    new.start_chat().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_one_node_has_is_not_given_up_without_being_asked() {
    let Some(nats) = Nats::one().await else { return };
    let a = Member::start(&nats, "a", NEVER).await;
    a.start_chat().await;
    let behind = Member::start(&nats, "b", NEVER).await;
    until(async || (a.export() == behind.export()).then_some(())).await;
    let (store, own, stream) = (Arc::clone(&behind.store), behind.place(), a.stream.clone());
    drop(behind);
    a.post("only here").await;
    let (ahead, epoch, place) = (Arc::clone(&a.store), a.store.epoch(), a.place());
    drop(a);

    // Others took the places of what was lost.
    stream.delete().await.unwrap();
    stream.create(1).await.unwrap();
    let client = stream.connection().client();
    for number in 1..=place {
        client.publish(stream.subject().to_owned(), message_of(epoch, number)).await.unwrap();
    }
    client.flush().await.unwrap();
    let refused = recover_log(&nats, &ahead).await.unwrap_err();
    assert!(matches!(refused, NotRecovered::OtherHistory { place: of, .. } if of == place), "{refused}");

    // The log is recovered from the node that has less.
    stream.delete().await.unwrap();
    assert_eq!(recover_log(&nats, &store).await.unwrap(), own);
    let refused = recover_log(&nats, &ahead).await.unwrap_err();
    let is_told =
        matches!(refused, NotRecovered::Behind { place: from, own: of } if (from, of) == (own, place));
    assert!(is_told, "{refused}");
    stream.delete().await.unwrap();
    assert_eq!(recover_log(&nats, &ahead).await.unwrap(), place);
}
