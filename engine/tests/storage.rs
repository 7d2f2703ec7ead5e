//! The guarantees of the database on every kind of storage: one suite, run on a file and in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;
use domain::{
    Body, Change, Chat, ChatId, ClientId, Command, Event, EventKind, Lifetimes, Message, Nickname, Problem,
    RemovedBy, Seq, Span, StateReader, Timestamp, Title, User, UserId, Visibility, id::ID_BYTES,
};
use engine::{
    Caller, Engine, EngineParts,
    change_dispatcher::ChangeDispatcher,
    clock::{self, Clock},
    command_log::local,
    fanout::{CatchUp, Fanout, FrameSink, Full, Subscriber},
    limits::{Limits, Quotas, Rates},
    lobby::{Lobby, OriginKey},
    presence::{GRACE, NodeId, Presence},
    progress::Progress,
    storage::{ExpiredBatch, Store, StoreError},
    supervisor::Panics,
    writer::{Writer, WriterHealth},
};
use futures_util::future::join_all;
use redb::{StorageBackend, backends::InMemoryBackend};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
/// A time at which nothing of the suite has expired.
const NOW: Timestamp = Timestamp(8);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);
const CALLER: Caller = Caller { user: ANA, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };

fn started(chat: ChatId, seq: u64) -> Change {
    let kind = EventKind::Started {
        owner: ANA,
        nickname: Nickname::parse("Ana").unwrap(),
        title: Title::parse("Tea").unwrap(),
        visibility: Visibility::Public,
        guest: None,
    };
    Change::Chat(Event { chat, seq: Seq(seq), prev: Seq::ZERO, at: Timestamp(seq), kind })
}

fn posted(chat: ChatId, seq: u64, prev: u64) -> Change {
    let body = Body::parse(&format!("message {seq}")).unwrap();
    let message = Message::plain(ANA, Nickname::parse("Ana").unwrap(), client_id(seq), body);
    Change::Chat(Event {
        chat,
        seq: Seq(seq),
        prev: Seq(prev),
        at: Timestamp(seq),
        kind: EventKind::Said(Box::new(message)),
    })
}

/// Returns a client id that is unique for each number.
fn client_id(number: u64) -> ClientId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(bytes)
}

/// Stores changes as the next entry of the log, or at the highest position of their events if that is later.
fn try_write(store: &Store, changes: &[Change]) -> Result<(), StoreError> {
    let log = store.read(Timestamp::default())?.log()?;
    let (newest, now) = log.map_or((Seq::ZERO, Timestamp::default()), |log| (log.seq, log.at));
    let seq = changes.iter().fold(newest.next(), |seq, change| match change {
        Change::Chat(event) => seq.max(event.seq),
        _ => seq,
    });
    store.write(seq, now.max(Timestamp(seq.0)), |batch| {
        changes.iter().try_for_each(|change| batch.apply(change))
    })
}

fn write(store: &Store, changes: &[Change]) {
    try_write(store, changes).unwrap();
}

fn places(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

/// The size grows with what is stored, and returns to 0 when everything is removed.
#[test]
fn what_is_kept_is_counted_and_what_goes_is_not() {
    let store = Store::in_memory(Lifetimes::default()).unwrap();
    assert_eq!(store.bytes(), 0);
    write(&store, &[started(CHAT, 1)]);
    let empty = store.bytes();
    let ana = User { id: ANA, nickname: Nickname::parse("Ana").unwrap() };
    write(
        &store,
        &[Change::User { user: ana.clone(), at: Timestamp(7) }, posted(CHAT, 3, 1), posted(CHAT, 5, 3)],
    );
    let full = store.bytes();
    assert!(full > empty + 2 * "message 3".len() as u64, "{full}");
    write(&store, &[Change::User { user: ana, at: Timestamp(8) }]);
    assert_eq!(store.bytes(), full, "a record in the place of another is one");
    let kind = EventKind::MessageRemoved { message: Seq(3), by: RemovedBy::Author };
    let removed = Event { chat: CHAT, seq: Seq(6), prev: Seq(5), at: Timestamp(6), kind };
    let failed: Result<(), StoreError> = store.write(Seq(99), NOW, |batch| {
        batch.apply(&Change::Chat(removed.clone()))?;
        Err(StoreError::InUse)
    });
    assert!(failed.is_err());
    assert_eq!(store.bytes(), full, "what was not stored does not count");
    write(&store, &[Change::Chat(removed)]);
    let chat = store.read(NOW).unwrap().chat(CHAT).unwrap().unwrap();
    write(
        &store,
        &[
            Change::Expired { chat: CHAT, through: Seq(6) },
            Change::ChatExpired(chat),
            Change::UserExpired(ANA),
        ],
    );
    assert_eq!(store.bytes(), 0);
}

#[test]
fn small_things_count_as_well() {
    let store = Store::in_memory(Lifetimes::default()).unwrap();
    let (nickname, guest) = (Nickname::parse("Ana").unwrap(), User::new(UserId::from_bytes([2; ID_BYTES])));
    let hide = |is_hidden| Change::Hidden { from: ANA, person: guest.id, is_hidden };
    let mut before = 0;
    let ana = User { id: ANA, nickname: nickname.clone() };
    let kind = EventKind::Started {
        owner: ANA,
        nickname,
        title: Title::parse("Tea").unwrap(),
        visibility: Visibility::Private,
        guest: Some(guest.clone()),
    };
    let two = Event { chat: CHAT, seq: Seq(1), prev: Seq::ZERO, at: Timestamp(1), kind };
    for more in [Change::User { user: ana, at: Timestamp(7) }, Change::Chat(two), hide(true)] {
        write(&store, std::slice::from_ref(&more));
        assert!(store.bytes() > before, "{more:?}");
        before = store.bytes();
    }
    for none in [hide(true), Change::UserTouched(ANA, Timestamp(8)), Change::ChatTouched(CHAT, Timestamp(8))]
    {
        write(&store, std::slice::from_ref(&none));
        assert_eq!(store.bytes(), before, "{none:?}");
    }
    write(&store, &[hide(false)]);
    assert!(store.bytes() < before);
    let chat = store.read(NOW).unwrap().chat(CHAT).unwrap().unwrap();
    let gone = [Change::Expired { chat: CHAT, through: Seq(1) }, Change::ChatExpired(chat)];
    write(&store, &[&[hide(true)], &gone[..], &[Change::UserExpired(ANA)]].concat());
    assert_eq!(store.bytes(), 0);
}

/// Checks what has to hold on every kind of storage.
fn suite(store: &Store) {
    // A chat and its messages.
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
    let view = store.read(NOW).unwrap();
    let Some(Chat { seq, title, owner, .. }) = view.chat(CHAT).unwrap() else { panic!("no chat") };
    assert_eq!((seq, title.as_str(), owner), (Seq(5), "Tea", ANA));
    assert_eq!(view.chat(ChatId::from_bytes([0; ID_BYTES])).unwrap(), None);

    // Pages from both ends, without events of other chats.
    assert_eq!(places(&view.events_after(CHAT, Seq::ZERO, 10).unwrap()), [1, 3, 5]);
    assert_eq!(places(&view.events_after(CHAT, Seq(1), 1).unwrap()), [3]);
    assert_eq!(places(&view.events_after(CHAT, Seq(5), 10).unwrap()), [0; 0]);
    assert_eq!(places(&view.events_after(CHAT, Seq(u64::MAX), 10).unwrap()), [0; 0]);
    let (newest, earlier) = view.newest_events(CHAT, 2).unwrap();
    assert_eq!((places(&newest), earlier), (vec![3, 5], true));
    let (newest, earlier) = view.newest_events(CHAT, 3).unwrap();
    assert_eq!((places(&newest), earlier), (vec![1, 3, 5], false));

    // A user has the default nickname until they choose another.
    assert_eq!(view.user(ANA).unwrap(), User::new(ANA));
    let ana = User { id: ANA, nickname: Nickname::parse("Ana").unwrap() };
    write(store, &[Change::User { user: ana.clone(), at: Timestamp(7) }]);
    assert_eq!(view.user(ANA).unwrap(), User::new(ANA), "a view does not change");
    assert_eq!(store.read(NOW).unwrap().user(ANA).unwrap(), ana);

    // A transaction sees its own writes, and leaves nothing if it fails.
    let failed: Result<(), StoreError> = store.write(Seq(7), Timestamp(7), |batch| {
        batch.apply(&posted(CHAT, 6, 5))?;
        assert_eq!(batch.posted(CHAT, ANA, client_id(6))?, Some(Seq(6)));
        assert_eq!(batch.chat(CHAT)?.unwrap().value.seq, Seq(6));
        Err(StoreError::InUse)
    });
    assert!(failed.is_err());
    assert_eq!(store.read(NOW).unwrap().chat(CHAT).unwrap().unwrap().seq, Seq(5));
    store
        .write(Seq(7), Timestamp(7), |batch| {
            assert_eq!(batch.posted(CHAT, ANA, client_id(6))?, None);
            assert_eq!(batch.posted(CHAT, ANA, client_id(5))?, Some(Seq(5)));
            Ok(())
        })
        .unwrap();
    let log = store.read(NOW).unwrap().log().unwrap().unwrap();
    assert_eq!((log.epoch, log.seq, log.at), (store.epoch(), Seq(7), Timestamp(7)));
    let again = store.write(Seq(7), Timestamp(8), |_| Ok(()));
    assert!(matches!(again, Err(StoreError::OutOfOrder(Seq(7), Seq(7)))), "a place is taken once");
}

/// Lifetimes of one and two seconds. Times are in milliseconds.
const SHORT: Lifetimes =
    Lifetimes { chat: Span::seconds(2), user: Span::seconds(1), message: Span::seconds(1) };

#[test]
fn what_has_expired_is_not_read_and_then_swept() {
    let store = Store::in_memory(SHORT).unwrap();
    let ana = User { id: ANA, nickname: Nickname::parse("Ana").unwrap() };
    write(&store, &[Change::User { user: ana.clone(), at: Timestamp(0) }, started(CHAT, 1)]);
    write(&store, &[posted(CHAT, 100, 1), posted(CHAT, 900, 100)]);
    let at = |now| store.read(Timestamp(now)).unwrap();
    assert_eq!((at(999).user(ANA).unwrap(), at(1_000).user(ANA).unwrap()), (ana, User::new(ANA)));
    for (now, left, earlier) in
        [(1_000, vec![1, 100, 900], true), (1_001, vec![100, 900], true), (1_100, vec![900], false)]
    {
        assert_eq!(places(&at(now).events_after(CHAT, Seq::ZERO, 10).unwrap()), left, "{now}");
        let (newest, more) = at(now).newest_events(CHAT, 1).unwrap();
        assert_eq!((places(&newest), more), (vec![900], earlier), "{now}");
    }
    // A cursor before an event that has expired cannot be resumed.
    let chat = at(0).chat(CHAT).unwrap().unwrap();
    assert!(at(1_100).can_resume(&chat, Seq(100), 10).unwrap());
    assert!(
        at(1_099).can_resume(&chat, Seq(1), 10).unwrap() && !at(1_100).can_resume(&chat, Seq(1), 10).unwrap()
    );
    assert!(at(1_900).can_resume(&chat, Seq(900), 10).unwrap(), "nothing follows");
    assert_eq!(at(2_899).chats().unwrap().len(), 1);
    assert_eq!((at(2_900).chat(CHAT).unwrap(), at(2_900).chats().unwrap().len()), (None, 0));

    let sweep = |now| {
        let sweepings = at(now).expired_batch().unwrap();
        let ExpiredBatch { users, chats, events } = sweepings;
        let mut changes: Vec<_> = users.into_iter().map(Change::UserExpired).collect();
        changes.extend(events.into_iter().map(|(chat, through)| Change::Expired { chat, through }));
        changes.extend(chats.into_iter().map(|_| Change::ChatExpired(chat.clone())));
        write(&store, &changes);
        changes
    };
    assert_eq!(sweep(999), []);
    assert_eq!(sweep(1_500), [Change::UserExpired(ANA), Change::Expired { chat: CHAT, through: Seq(100) }]);
    assert_eq!(places(&at(0).events_after(CHAT, Seq::ZERO, 10).unwrap()), [900], "off the disk");
    store
        .write(Seq(1_000), Timestamp(1_000), |batch| {
            assert_eq!(batch.posted(CHAT, ANA, client_id(100))?, None);
            assert_eq!(batch.posted(CHAT, ANA, client_id(900))?, Some(Seq(900)));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        sweep(2_900),
        [Change::Expired { chat: CHAT, through: Seq(900) }, Change::ChatExpired(chat.clone())]
    );
    assert_eq!(sweep(2_900), []);
    assert_eq!(at(0).chat(CHAT).unwrap(), None);
}

#[test]
fn a_long_chat_is_swept_in_parts() {
    let store = Store::in_memory(SHORT).unwrap();
    let mut changes = vec![started(CHAT, 1)];
    changes.extend((2..=1_500).map(|seq| posted(CHAT, seq, seq - 1)));
    write(&store, &changes);
    let mut steps = 0;
    loop {
        let ExpiredBatch { chats, events, .. } =
            store.read(Timestamp(9_999)).unwrap().expired_batch().unwrap();
        let [(chat, through)] = events[..] else { panic!("{events:?}") };
        steps += 1;
        assert_eq!(through, Seq((512 * steps).min(1_500)), "bounded");
        write(&store, &[Change::Expired { chat, through }]);
        if !chats.is_empty() {
            break;
        }
    }
    assert_eq!(steps, 3);
}

#[test]
fn in_memory() {
    suite(&Store::in_memory(Lifetimes::default()).unwrap());
}

#[test]
fn in_a_file_that_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.redb");
    let store = Store::open(&path, Lifetimes::default()).unwrap();
    suite(&store);
    let epoch = store.epoch();
    assert!(matches!(Store::open(&path, Lifetimes::default()), Err(StoreError::InUse)));
    let (killed, wal) =
        (folder.path().join("killed.redb"), fs::read(path.with_extension("journal")).unwrap());
    fs::copy(&path, &killed).unwrap();
    fs::write(killed.with_extension("journal"), &wal).unwrap();
    drop(store);
    // And once more with a WAL that is in the database already.
    for (path, wal) in [(&killed, &[][..]), (&path, &[]), (&path, wal.as_slice())] {
        if !wal.is_empty() {
            fs::write(path.with_extension("journal"), wal).unwrap();
        }
        let store = Store::open(path, Lifetimes::default()).unwrap();
        assert_eq!(store.epoch(), epoch, "it is the same log");
        assert_eq!(places(&store.read(NOW).unwrap().events_after(CHAT, Seq::ZERO, 10).unwrap()), [1, 3, 5]);
        assert_eq!(store.read(NOW).unwrap().log().unwrap().unwrap().seq, Seq(7));
        assert!(fs::read(path.with_extension("journal")).unwrap().is_empty());
    }
}

#[test]
fn a_write_ahead_log_that_does_not_fit_is_refused_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let [this, earlier, other, none] =
        ["this", "earlier", "other", "none"].map(|name| folder.path().join(name).with_extension("redb"));
    let wal = |of: &Path| of.with_extension("journal");
    let store = Store::open(&this, Lifetimes::default()).unwrap();
    suite(&store);
    store.checkpoint().unwrap();
    fs::copy(&this, &earlier).unwrap();
    // The WAL of a later moment: the entries between are in neither.
    write(&store, &[posted(CHAT, 8, 5)]);
    store.checkpoint().unwrap();
    write(&store, &[posted(CHAT, 9, 8)]);
    let written = fs::read(wal(&this)).unwrap();
    // The database of another log that has come as far.
    let stranger = Store::open(&other, Lifetimes::default()).unwrap();
    suite(&stranger);
    write(&stranger, &[posted(CHAT, 8, 5)]);
    drop(stranger);
    for path in [&earlier, &other, &none] {
        fs::write(wal(path), &written).unwrap();
        let refused = Store::open(path, Lifetimes::default()).map(|_| ());
        assert!(matches!(refused, Err(StoreError::NotItsWal)), "{path:?}: {refused:?}");
        assert_eq!(fs::read(wal(path)).unwrap(), written, "{path:?}");
    }
    assert!(!none.exists(), "no new database in the place of one that is elsewhere");
    drop(store);
    fs::copy(&this, &none).unwrap();
    assert_eq!(
        Store::open(&none, Lifetimes::default()).unwrap().read(NOW).unwrap().log().unwrap().unwrap().seq,
        Seq(9)
    );
}

#[test]
fn what_a_newer_version_wrote_is_refused_in_one_sentence_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("this.redb");
    let store = Store::open(&path, Lifetimes::default()).unwrap();
    write(&store, &[started(CHAT, 1)]);
    let wal = fs::read(path.with_extension("journal")).unwrap();
    // What follows the length and the checksum begins with the version of the record.
    let record = &wal[8..];
    let of_version = |version: u8| [&[version][..], &record[1..]].concat();
    let with_an_unknown_change = [record, &[100][..]].concat();
    let another = "or use another data folder";
    for (name, record, words) in [
        ("older", of_version(1), ["version 1", "reads version", "move the data folder away"]),
        ("newer", of_version(200), ["version 200", "reads version", another]),
        ("added", with_an_unknown_change, ["a kind that this Qchat", "a newer one wrote it", another]),
    ] {
        let other = folder.path().join(name).with_extension("redb");
        fs::copy(&path, &other).unwrap();
        let length = u32::try_from(record.len()).unwrap().to_le_bytes();
        let written = [&length[..], &crc32fast::hash(&record).to_le_bytes(), &record[..]].concat();
        fs::write(other.with_extension("journal"), &written).unwrap();
        let refused = Store::open(&other, Lifetimes::default()).map(|_| ());
        assert!(matches!(refused, Err(StoreError::Record(_))), "{name}: {refused:?}");
        let said = refused.unwrap_err().to_string();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        assert!(!said.contains('\n') && !said.contains("Serde"), "{said:?}");
        assert_eq!(fs::read(other.with_extension("journal")).unwrap(), written, "{name}");
    }
}

#[test]
fn without_the_write_ahead_log_the_log_begins_another_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.redb");
    let reopen = |store: Store| {
        let epoch = store.epoch();
        drop(store);
        fs::remove_file(path.with_extension("journal")).unwrap();
        let store = Store::open(&path, Lifetimes::default()).unwrap();
        (store.epoch() == epoch, store)
    };
    let store = Store::open(&path, Lifetimes::default()).unwrap();
    suite(&store);
    let (is_same, store) = reopen(store);
    assert!(!is_same, "what was in it is not known");
    let epoch = store.epoch();
    store.close(&path).unwrap();
    fs::remove_file(path.with_extension("journal")).unwrap();
    assert_eq!(
        Store::open(&path, Lifetimes::default()).unwrap().epoch(),
        epoch,
        "it was empty, says the seal"
    );
}

#[test]
fn what_was_refused_does_not_come_back() {
    let trouble = Trouble::default();
    let (database, wal) = (Failing::on(&Trouble::default()), Failing::on(&trouble));
    let open = || Store::open_on(database.clone(), wal.clone(), Lifetimes::default()).unwrap();
    let store = open();
    write(&store, &[started(CHAT, 1)]);
    trouble.fails_to_sync_once.store(true, Ordering::SeqCst);
    assert!(matches!(try_write(&store, &[posted(CHAT, 2, 1)]), Err(StoreError::Io(_))));
    store.rollback().unwrap();
    drop(store);
    let store = open();
    assert_eq!(places(&store.read(NOW).unwrap().events_after(CHAT, Seq::ZERO, 10).unwrap()), [1]);
    // The position is taken by the next entry.
    write(&store, &[posted(CHAT, 2, 1)]);
    drop(store);
    assert_eq!(places(&open().read(NOW).unwrap().events_after(CHAT, Seq::ZERO, 10).unwrap()), [1, 2]);
}

#[test]
fn every_database_has_an_epoch_of_its_own() {
    let epochs = [(); 2].map(|()| Store::in_memory(Lifetimes::default()).unwrap().epoch());
    assert_ne!(epochs[0], epochs[1]);
}

/// A storage backend that fails on demand.
#[derive(Debug, Clone)]
struct Failing {
    memory: Arc<InMemoryBackend>,
    trouble: Trouble,
}

#[derive(Debug, Clone)]
struct Trouble {
    fails: Arc<AtomicBool>,
    /// Whether the next sync does nothing and fails.
    fails_to_sync_once: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    /// The maximum size of the file, in bytes.
    room: Arc<AtomicU64>,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            fails: Arc::default(),
            fails_to_sync_once: Arc::default(),
            panics: Arc::default(),
            room: Arc::new(u64::MAX.into()),
        }
    }
}

impl Failing {
    fn on(trouble: &Trouble) -> Self {
        Self { memory: Arc::default(), trouble: trouble.clone() }
    }

    fn check(&self) -> io::Result<()> {
        assert!(!self.trouble.panics.load(Ordering::SeqCst), "on purpose");
        if self.trouble.fails.load(Ordering::SeqCst) {
            Err(io::Error::other("the disk is gone"))
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(&*self.memory, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        if len > self.trouble.room.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        if self.trouble.fails_to_sync_once.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("not now"));
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        StorageBackend::write(&*self.memory, offset, data)
    }
}

/// A writer on some storage, with everything that it publishes to.
struct Work {
    service: Engine,
    fanout: Arc<Fanout>,
    health: Arc<WriterHealth>,
    panics: Arc<Panics>,
    writer: thread::JoinHandle<()>,
}

fn work_in_memory(clock: Clock) -> Work {
    work_on(InMemoryBackend::new(), InMemoryBackend::new(), clock)
}

fn work_on(database: impl StorageBackend, wal: impl StorageBackend, clock: Clock) -> Work {
    let lifetimes = Lifetimes::default();
    let store = Arc::new(Store::open_on(database, wal, lifetimes).unwrap());
    let fanout = Arc::new(Fanout::new(1));
    let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
    let lobby =
        Arc::new(Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, Arc::clone(&clock), usize::MAX));
    let (health, panics) = (Arc::new(WriterHealth::default()), Arc::new(Panics::default()));
    let ends = store.read(NOW).unwrap().log().unwrap();
    let after = ends.map_or(Seq::ZERO, |log| log.seq);
    let (sequencer, local) = local::open(Arc::clone(&clock), store.epoch(), after);
    let progress = Arc::new(Progress::new(after));
    let dispatcher = ChangeDispatcher {
        store: Arc::clone(&store),
        fanout: Arc::clone(&fanout),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
        pictures: Arc::new(engine::pictures::Pictures::off()),
        progress: Arc::clone(&progress),
        steady: None,
    };
    let writer = Writer::new(local, Arc::clone(&store), dispatcher, Arc::clone(&health), Arc::clone(&panics));
    let writer = thread::Builder::new().name("writer".to_owned()).spawn(|| writer.run()).unwrap();
    let limits = Arc::new(Limits::new(Rates::OFF, Quotas::OFF, std::time::Duration::from_secs(60)));
    let service = Engine::new(EngineParts {
        store,
        sequencer: Arc::new(sequencer),
        fanout: Arc::clone(&fanout),
        presence,
        lobby,
        pictures: Arc::new(engine::pictures::Pictures::off()),
        limits,
        progress,
        is_shared: false,
        clock,
        origin_key: OriginKey::new(b"secret"),
    });
    Work { service, fanout, health, panics, writer }
}

/// A sink that accepts everything.
struct Line;

impl FrameSink for Line {
    fn try_send(&self, _: &Bytes) -> Result<(), Full> {
        Ok(())
    }

    fn prefetch(&self) {}
}

fn subscriber() -> Arc<Subscriber> {
    Subscriber::new(ANA, Arc::new(Line), Arc::default())
}

impl Work {
    async fn post(&self, number: u64) -> Result<Seq, Problem> {
        let body = Body::parse("hello").unwrap();
        let command = Command::Post { chat: CHAT, client_id: client_id(number), body, waited_millis: 0 };
        self.service.execute(CALLER, command).await
    }

    async fn start_chat(&self) -> Seq {
        let start = Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Public };
        self.service.execute(CALLER, start).await.unwrap()
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_nothing_is_shown_that_is_not_stored() {
    let trouble = Trouble::default();
    let work = work_on(Failing::on(&trouble), Failing::on(&trouble), clock::system());
    let begun = work.start_chat().await;
    let mut subscription = work.fanout.subscribe(CHAT, subscriber());
    let stored = work.post(1).await.unwrap();
    assert!(work.health.is_well());

    trouble.fails.store(true, Ordering::SeqCst);
    for outcome in join_all((2..6).map(|number| work.post(number))).await {
        assert_eq!(outcome, Err(Problem::NotStored));
    }
    work.health.cannot_go_on().await;
    assert!(!work.health.is_well());
    assert_eq!(work.post(7).await, Err(Problem::NotStored), "later callers are refused, too");
    let CatchUp::Events(shown) = subscription.after(begun) else { panic!("nothing is shown") };
    assert_eq!(shown.last(), stored, "nothing that was not stored is shown");

    let Work { service, health, writer, .. } = work;
    drop(service);
    writer.join().unwrap();
    assert!(!health.is_well(), "a writer that has ended is not well");
}

#[tokio::test]
async fn a_writer_that_panics_refuses_what_it_had_in_hand_and_is_begun_again() {
    let panics_now = Arc::new(AtomicBool::new(false));
    let clock: Clock = Arc::new({
        let panics_now = Arc::clone(&panics_now);
        move || {
            // The writer reads the time while it holds a proposal.
            let is_writer = thread::current().name() == Some("writer");
            assert!(!(is_writer && panics_now.swap(false, Ordering::SeqCst)), "on purpose");
            clock::system()()
        }
    });
    let work = work_in_memory(clock);
    let begun = work.start_chat().await;
    let mut subscription = work.fanout.subscribe(CHAT, subscriber());
    for number in 1..4 {
        panics_now.store(true, Ordering::SeqCst);
        assert_eq!(work.post(number).await, Err(Problem::NotStored));
        work.post(number).await.unwrap();
        assert!(work.health.is_well());
    }
    assert_eq!(work.panics.of("writer"), 3);
    assert!(matches!(subscription.after(begun), CatchUp::Evicted), "what was shown is doubted once");
}

#[tokio::test]
async fn a_full_write_ahead_log_makes_room_and_no_post_is_refused() {
    let trouble = Trouble::default();
    trouble.room.store(2_000, Ordering::SeqCst);
    let work = work_on(InMemoryBackend::new(), Failing::on(&trouble), clock::system());
    work.start_chat().await;
    for number in 1..100 {
        work.post(number).await.unwrap();
    }
    let posts = join_all((100..200).map(|number| work.post(number))).await;
    assert!(posts.iter().all(Result::is_ok), "{posts:?}");
    // Some room is left, but less than the next entry needs.
    trouble.room.store(40, Ordering::SeqCst);
    assert_eq!(work.post(200).await, Err(Problem::NotStored));
    work.health.cannot_go_on().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_noticed_by_the_checkpoint() {
    let (trouble, full) = (Trouble::default(), Trouble::default());
    let work = work_on(Failing::on(&trouble), Failing::on(&full), clock::system());
    work.start_chat().await;
    for number in 1..40 {
        work.post(number).await.unwrap();
    }
    trouble.fails.store(true, Ordering::SeqCst);
    // It is stored, unless a checkpoint is due already.
    let _ = work.post(40).await;
    full.room.store(0, Ordering::SeqCst);
    assert_eq!(work.post(41).await, Err(Problem::NotStored));
    work.health.cannot_go_on().await;
    assert!(!work.health.is_well());
}

#[tokio::test]
async fn storage_that_panics_ends_the_writer_and_is_told() {
    let trouble = Trouble::default();
    let work = work_on(Failing::on(&trouble), Failing::on(&trouble), clock::system());
    work.start_chat().await;
    trouble.panics.store(true, Ordering::SeqCst);
    for number in 1..4 {
        assert_eq!(work.post(number).await, Err(Problem::NotStored));
    }
    work.health.cannot_go_on().await;
    assert!(!work.health.is_well() && work.panics.of("writer") > 0);
}

#[tokio::test]
async fn a_clock_that_goes_back_an_hour_takes_nothing_with_it() {
    const HOUR: u64 = 60 * 60 * 1_000;
    let time = Arc::new(AtomicU64::new(1_000 * HOUR));
    let clock: Clock = Arc::new({
        let time = Arc::clone(&time);
        move || Timestamp(time.load(Ordering::SeqCst))
    });
    let work = work_in_memory(clock);
    work.start_chat().await;
    work.post(1).await.unwrap();
    time.fetch_sub(HOUR, Ordering::SeqCst);
    work.post(2).await.unwrap();
    let history = work.service.earlier(CHAT, ANA, Seq(u64::MAX)).unwrap();
    let times: Vec<Timestamp> = history.events.iter().map(|event| event.at).collect();
    let hours = [1_000, 1_000, 999].map(|hours| Timestamp(hours * HOUR));
    assert_eq!(times, hours, "order is by place, and each bears the time it was");
    assert_eq!(work.post(1).await, Ok(history.events[1].seq), "a retry is still one");
    // Once the clock is right again, what was posted while it was wrong has not expired early.
    time.fetch_add(HOUR + HOUR / 3, Ordering::SeqCst);
    work.post(3).await.unwrap();
    assert_eq!(work.service.earlier(CHAT, ANA, Seq(u64::MAX)).unwrap().events.len(), 4);
    assert!(work.health.is_well());
}
