//! The data folder of a node of a cluster: what is opened as what, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{fs, path::Path};

use domain::{Change, Epoch, Lifetimes, LogClock, LogSettings, Seq, Timestamp, User, UserId, id::ID_BYTES};
use engine::{
    command_log::transport::Incarnation,
    storage::{Advance, LogState, Producer, ReplicaState, Store, StoreError},
};

const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);
const SENDER: Incarnation = Incarnation::from_bytes([2; ID_BYTES]);

fn beginning() -> ReplicaState {
    ReplicaState::beginning(0, LogSettings::default(), LogClock::default())
}

fn begin(path: &Path) -> Store {
    let store = Store::open_replica(path).unwrap();
    assert_eq!(store.replica().unwrap(), None);
    let log = LogState { epoch: EPOCH, seq: Seq::ZERO, at: Timestamp(0) };
    store.begin_replica(Some(path), log, &beginning()).unwrap();
    store
}

fn ana() -> Change {
    Change::User { user: User::new(ANA), at: Timestamp(5) }
}

/// Applies the message at the next place, which has one entry.
fn write(store: &Store) {
    let state = store.replica().unwrap().unwrap();
    let Seq(seq) = store.read(Timestamp(0)).unwrap().log().unwrap().unwrap().seq;
    let mut clock = None;
    let mut of_log = state.clock;
    let at = of_log.at(Timestamp(5), &mut clock, 7);
    let producer = Producer { number: seq + 1, at, clock: clock.unwrap() };
    let advance = Advance {
        after: state.place,
        place: state.place + 1,
        settings: state.settings,
        clock: of_log,
        producers: vec![(SENDER, Some(producer))],
    };
    let log = LogState { epoch: EPOCH, seq: Seq(seq + 1), at };
    store.write_replica(Some(log), &advance, |write| write.apply(&ana())).unwrap();
}

fn seq(store: &Store) -> Seq {
    store.read(Timestamp(0)).unwrap().log().unwrap().unwrap().seq
}

#[test]
fn a_view_is_opened_again_as_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    let store = begin(&path);
    write(&store);
    let (state, producers) = (store.replica().unwrap(), store.producers().unwrap());
    assert_eq!(producers.len(), 1);
    assert!(store.unsaved_bytes() > 0);
    store.close(&path).unwrap();
    assert!(!path.with_extension("journal").exists());
    let store = Store::open_replica(&path).unwrap();
    assert_eq!((store.replica().unwrap(), store.producers().unwrap()), (state, producers));
    assert_eq!((store.epoch(), store.unsaved_bytes(), seq(&store)), (EPOCH, 0, Seq(1)));
}

#[test]
fn a_view_that_was_not_closed_is_as_at_its_last_checkpoint_or_later_and_of_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    let store = begin(&path);
    write(&store);
    store.checkpoint().unwrap();
    write(&store);
    let copy = folder.path().join("killed.redb");
    fs::copy(&path, &copy).unwrap();
    let killed = Store::open_replica(&copy).unwrap();
    let place = killed.replica().unwrap().unwrap().place;
    assert!((1..=2).contains(&place));
    assert_eq!((seq(&killed), killed.producers().unwrap()[0].1.number), (Seq(place), place));
    assert_eq!(killed.epoch(), EPOCH, "a view never gets another epoch");
}

#[test]
fn a_view_is_not_opened_without_its_cluster_until_it_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    let store = begin(&path);
    write(&store);
    assert!(matches!(store.write(Seq(2), Timestamp(5), |_| Ok(())), Err(StoreError::OfCluster)));
    store.close(&path).unwrap();
    let Err(refused) = Store::open(&path, Lifetimes::default()) else { panic!("it was opened") };
    assert_eq!(
        refused.to_string(),
        "it belongs to a cluster: set --nats-url, or make it leave the cluster with --leave-cluster"
    );
    assert_eq!(
        Store::open_replica(&path).unwrap().replica().unwrap().unwrap().place,
        1,
        "nothing has changed"
    );

    Store::leave_cluster(&path).unwrap();
    assert!(matches!(Store::leave_cluster(&path), Err(StoreError::NotAReplica)));
    let store = Store::open(&path, Lifetimes::default()).unwrap();
    assert_ne!(store.epoch(), EPOCH);
    assert_eq!((store.replica().unwrap(), store.producers().unwrap()), (None, Vec::new()));
    assert_eq!(seq(&store), Seq(1));
    store.write(Seq(2), Timestamp(5), |write| write.apply(&ana())).unwrap();
}

#[test]
fn the_database_of_a_single_process_becomes_a_view_with_all_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    let store = Store::open(&path, Lifetimes::default()).unwrap();
    let epoch = store.epoch();
    store.write(Seq(1), Timestamp(5), |write| write.apply(&ana())).unwrap();
    // It was killed: what was written is in the write-ahead log.
    let killed = folder.path().join("killed.redb");
    fs::copy(&path, &killed).unwrap();
    fs::copy(path.with_extension("journal"), killed.with_extension("journal")).unwrap();
    let store = Store::open_replica(&killed).unwrap();
    assert_eq!((store.replica().unwrap(), store.epoch(), seq(&store)), (None, epoch, Seq(1)));
    drop(store);

    // Until it begins as one, it is one of a single process.
    drop(Store::open(&killed, Lifetimes::default()).unwrap());
    let store = Store::open_replica(&killed).unwrap();
    let log = store.read(Timestamp(0)).unwrap().log().unwrap().unwrap();
    store.begin_replica(Some(&killed), log, &beginning()).unwrap();
    assert!(!killed.with_extension("journal").exists());
    assert_eq!((store.epoch(), store.replica().unwrap()), (epoch, Some(beginning())));
}

#[test]
fn a_view_is_opened_though_its_process_ended_before_the_write_ahead_log_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    let journal = path.with_extension("journal");
    drop(Store::open(&path, Lifetimes::default()).unwrap());
    let left = fs::read(&journal).unwrap();
    let store = begin(&path);
    write(&store);
    let state = store.replica().unwrap();
    // Killed at once, or by a power cut that brought the file back.
    let killed = folder.path().join("killed.redb");
    fs::copy(&path, &killed).unwrap();
    fs::write(killed.with_extension("journal"), &left).unwrap();
    let opened = Store::open_replica(&killed).unwrap();
    assert!(opened.replica().unwrap().is_some());
    assert_eq!((opened.epoch(), killed.with_extension("journal").exists()), (EPOCH, false));
    store.close(&path).unwrap();
    fs::write(&journal, &left).unwrap();
    let opened = Store::open_replica(&path).unwrap();
    assert_eq!((opened.replica().unwrap(), opened.epoch(), journal.exists()), (state, EPOCH, false));
}

#[test]
fn a_view_that_is_damaged_is_moved_aside_and_a_database_of_a_single_process_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    begin(&path).close(&path).unwrap();
    fs::write(&path, "it was a database").unwrap();
    let store = Store::open_replica(&path).unwrap();
    assert_eq!(store.replica().unwrap(), None);
    assert_eq!(fs::read(folder.path().join("qchat.redb.damaged")).unwrap(), b"it was a database");
    drop(store);

    let path = folder.path().join("alone.redb");
    drop(Store::open(&path, Lifetimes::default()).unwrap());
    fs::write(&path, "it was a database").unwrap();
    assert!(matches!(Store::open_replica(&path), Err(StoreError::NotADatabase(_))));
    assert_eq!(fs::read(&path).unwrap(), b"it was a database");
}

#[test]
fn no_other_process_opens_a_view_that_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qchat.redb");
    let _store = begin(&path);
    assert!(matches!(Store::open_replica(&path), Err(StoreError::InUse)));
}
