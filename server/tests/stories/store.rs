//! The database keeps its promises on every kind of storage: one suite, run on a file and in memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use domain::{
    Body, Change, Chat, ChatId, Command, Event, Message, Nickname, Problem, Seq, State, Timestamp, Title,
    User, UserId, Visibility, What, id::ID_BYTES,
};
use futures_util::future::join_all;
use redb::{StorageBackend, backends::InMemoryBackend};
use server::{
    clock,
    presence::{GRACE, Presence},
    sequencer,
    service::Service,
    store::{LogState, Store, StoreError},
    tail::{Ahead, Bell, Tails},
    writer::{Writer, WriterHealth},
};

use crate::support::client_id;

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);

fn started(chat: ChatId, seq: u64) -> Change {
    let what = What::Started {
        owner: ANA,
        nickname: Nickname::parse("Ana").unwrap(),
        title: Title::parse("Tea").unwrap(),
        visibility: Visibility::Public,
    };
    Change::Chat(Event { chat, seq: Seq(seq), prev: Seq::ZERO, at: Timestamp(seq), what })
}

fn posted(chat: ChatId, seq: u64, prev: u64) -> Change {
    let body = Body::parse(&format!("message {seq}")).unwrap();
    let message =
        Message { author: ANA, nickname: Nickname::parse("Ana").unwrap(), client_id: client_id(seq), body };
    Change::Chat(Event {
        chat,
        seq: Seq(seq),
        prev: Seq(prev),
        at: Timestamp(seq),
        what: What::Posted(message),
    })
}

fn write(store: &Store, changes: &[Change]) {
    store.write(|batch| changes.iter().try_for_each(|change| batch.apply(change))).unwrap();
}

fn places(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

/// What every storage has to keep.
fn suite(store: &Store) {
    // a chat and what is said in it
    let between = ChatId::from_bytes([8; ID_BYTES]);
    write(
        store,
        &[
            started(CHAT, 1),
            started(between, 2),
            posted(CHAT, 3, 1),
            posted(between, 4, 2),
            posted(CHAT, 5, 3),
        ],
    );
    let view = store.read().unwrap();
    let Some(Chat { seq, title, owner, .. }) = view.chat(CHAT).unwrap() else { panic!("no chat") };
    assert_eq!((seq, title.as_str(), owner), (Seq(5), "Tea", ANA));
    assert_eq!(view.chat(ChatId::from_bytes([0; ID_BYTES])).unwrap(), None);

    // pages from both ends, never with anything of the neighbours
    assert_eq!(places(&view.events_after(CHAT, Seq::ZERO, 10).unwrap()), [1, 3, 5]);
    assert_eq!(places(&view.events_after(CHAT, Seq(1), 1).unwrap()), [3]);
    assert_eq!(places(&view.events_after(CHAT, Seq(5), 10).unwrap()), [0; 0]);
    assert_eq!(places(&view.events_after(CHAT, Seq(u64::MAX), 10).unwrap()), [0; 0]);
    let (newest, earlier) = view.newest_events(CHAT, 2).unwrap();
    assert_eq!((places(&newest), earlier), (vec![3, 5], true));
    let (newest, earlier) = view.newest_events(CHAT, 3).unwrap();
    assert_eq!((places(&newest), earlier), (vec![1, 3, 5], false));

    // users are who they were until they choose otherwise
    assert_eq!(view.user(ANA).unwrap(), User::new(ANA));
    let ana = User { id: ANA, nickname: Nickname::parse("Ana").unwrap() };
    write(store, &[Change::User(ana.clone())]);
    assert_eq!(view.user(ANA).unwrap(), User::new(ANA), "a view does not change");
    assert_eq!(store.read().unwrap().user(ANA).unwrap(), ana);

    // a transaction sees what it wrote, and what fails leaves nothing
    let failed: Result<(), StoreError> = store.write(|batch| {
        batch.apply(&posted(CHAT, 6, 5))?;
        assert_eq!(batch.posted(CHAT, ANA, client_id(6))?, Some(Seq(6)));
        assert_eq!(batch.chat(CHAT)?.unwrap().seq, Seq(6));
        Err(StoreError::InUse)
    });
    assert!(failed.is_err());
    assert_eq!(store.read().unwrap().chat(CHAT).unwrap().unwrap().seq, Seq(5));
    store
        .write(|batch| {
            assert_eq!(batch.posted(CHAT, ANA, client_id(6))?, None);
            assert_eq!(batch.posted(CHAT, ANA, client_id(5))?, Some(Seq(5)));
            batch.advance(LogState { epoch: store.epoch(), seq: Seq(7), at: Timestamp(7) })
        })
        .unwrap();
    let log = store.read().unwrap().log().unwrap().unwrap();
    assert_eq!((log.epoch, log.seq, log.at), (store.epoch(), Seq(7), Timestamp(7)));
}

#[test]
fn in_memory() {
    suite(&Store::open_on(InMemoryBackend::new()).unwrap());
}

#[test]
fn in_a_file_that_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.redb");
    let store = Store::open(&path).unwrap();
    suite(&store);
    let epoch = store.epoch();
    assert!(matches!(Store::open(&path), Err(StoreError::InUse)));
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.epoch(), epoch, "it is the same log");
    assert_eq!(places(&store.read().unwrap().events_after(CHAT, Seq::ZERO, 10).unwrap()), [1, 3, 5]);
    assert_eq!(store.read().unwrap().log().unwrap().unwrap().seq, Seq(7));
}

#[test]
fn every_database_has_an_epoch_of_its_own() {
    let epochs = [(); 2].map(|()| Store::open_on(InMemoryBackend::new()).unwrap().epoch());
    assert_ne!(epochs[0], epochs[1]);
}

/// Storage that stops working when it is told to.
#[derive(Debug)]
struct Failing {
    memory: InMemoryBackend,
    broken: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_nothing_is_shown_that_is_not_stored() {
    let broken = Arc::new(AtomicBool::new(false));
    let storage = Failing { memory: InMemoryBackend::new(), broken: Arc::clone(&broken) };
    let store = Arc::new(Store::open_on(storage).unwrap());
    let (tails, presence) = (Arc::new(Tails::default()), Arc::new(Presence::new(GRACE)));
    let health = Arc::new(WriterHealth::default());
    let (sequencer, log) = sequencer::local(clock::system());
    let writer =
        Writer::new(log, Arc::clone(&store), Arc::clone(&tails), Arc::clone(&presence), Arc::clone(&health))
            .unwrap();
    let writer = thread::spawn(|| writer.run());
    let service =
        Service::new(Arc::clone(&store), Arc::new(sequencer), Arc::clone(&tails), presence, clock::system());
    let post = |number| {
        let body = Body::parse("hello").unwrap();
        service.execute(ANA, Command::Post { chat: CHAT, client_id: client_id(number), body })
    };
    let start = Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Public };
    let begun = service.execute(ANA, start).await.unwrap();
    let watching = tails.watch(CHAT, Bell::default());
    let stored = post(1).await.unwrap();
    assert!(health.is_well());

    broken.store(true, Ordering::SeqCst);
    for outcome in join_all((2..6).map(post)).await {
        assert_eq!(outcome, Err(Problem::NotStored));
    }
    assert!(!health.is_well());
    let Ahead::Events(shown) = watching.after(begun, 10) else { panic!("nothing is shown") };
    assert_eq!(shown.last().unwrap().seq, stored, "nothing that was not stored is shown");

    drop(service);
    writer.join().unwrap();
    assert!(!health.is_well(), "a writer that has ended is not well");
}
