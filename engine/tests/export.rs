//! Snapshot files: what is written is read, and what was changed since is refused; a database is created from one or
//! replaced by one, as a whole or not at all.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::{
    collections::BTreeMap,
    fs,
    io::BufWriter,
    path::{Path, PathBuf},
    time::Instant,
};

use domain::{
    Alt, Body, Change, ChatId, ClientId, Emoji, Epoch, Event, EventKind, Lifetimes, LogClock, Mark, MarkKind,
    Marks, Message, Nickname, Picture, PictureId, Reaction, RemovedBy, SenderClock, Seq, Span, StateReader,
    Timestamp, Title, User, UserId, Visibility, Wording, id::ID_BYTES,
};
use engine::{
    incarnation::Incarnation,
    storage::{
        Advance, LogState, Producer, ReplicaState, Store, StoreError,
        export::{self, ExportError},
    },
};
use proptest::prelude::*;
use tempfile::TempDir;

/// A time at which nothing in the tests has expired.
const NOW: Timestamp = Timestamp(8);
const DATABASE: &str = "qchat.redb";

fn user(number: u8) -> User {
    let nickname = Nickname::parse(["Ana", "Bea", "Cy"][usize::from(number % 3)]).unwrap();
    User { id: UserId::from_bytes([number; ID_BYTES]), nickname }
}

fn chat(number: u8) -> ChatId {
    ChatId::from_bytes([number; ID_BYTES])
}

fn client_id(number: u64) -> ClientId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(bytes)
}

fn started(owner: u8) -> EventKind {
    EventKind::Started {
        owner: user(owner).id,
        nickname: user(owner).nickname,
        title: Title::parse("Tea").unwrap(),
        visibility: Visibility::Public,
        guest: None,
    }
}

fn posted(author: u8, number: u64) -> EventKind {
    long(author, number, 0)
}

/// Returns a message of some length.
fn long(author: u8, number: u64, length: usize) -> EventKind {
    let User { id: author, nickname } = user(author);
    let body = Body::parse(format!("message {number} {}", "x".repeat(length)).trim()).unwrap();
    EventKind::Said(Box::new(Message::plain(author, nickname, client_id(number), body)))
}

/// Stores an event in a chat as the next entry of the log.
fn put(store: &Store, chat: ChatId, kind: EventKind) -> Seq {
    let view = store.read(NOW).unwrap();
    let seq = view.log().unwrap().unwrap().seq.next();
    let prev = view.chat(chat).unwrap().map_or(Seq::ZERO, |chat| chat.seq);
    let event = Event { chat, seq, prev, at: NOW, kind };
    store.write(seq, NOW, |batch| batch.apply(&Change::Chat(event))).unwrap();
    seq
}

fn change(store: &Store, change: &Change) {
    let seq = store.read(NOW).unwrap().log().unwrap().unwrap().seq.next();
    store.write(seq, NOW, |batch| batch.apply(change)).unwrap();
}

/// Fills a store with rows in every table.
fn fill(store: &Store, messages: u64) {
    for number in 0..3 {
        change(store, &Change::User { user: user(number), at: NOW });
        put(store, chat(number), started(number));
    }
    let guest = Some(user(1));
    let EventKind::Started { owner, nickname, title, visibility, .. } = started(0) else { panic!() };
    put(store, chat(9), EventKind::Started { owner, nickname, title, visibility, guest });
    for number in 0..messages {
        put(store, chat((number % 3) as u8), posted((number % 2) as u8, number));
    }
    let last = put(store, chat(0), posted(0, messages));
    put(store, chat(0), EventKind::MessageRemoved { message: last, by: RemovedBy::Author });
    change(store, &Change::Hidden { from: user(0).id, person: user(1).id, is_hidden: true });
    change(store, &Change::InvitesSet { user: user(1).id, are_taken: false });
    fill_belongings(store);
}

/// Adds what messages can have beside a text, and what is left of some of it.
fn fill_belongings(store: &Store) {
    let picture = |number| Picture {
        id: PictureId::from_bytes([number; ID_BYTES]),
        width: 20,
        height: 10,
        small: (2, 1),
        bytes: 300,
        alt: Alt::parse("A cat").unwrap(),
    };
    let EventKind::Said(plain) = posted(0, 1_000_000) else { panic!() };
    let body = Body::parse("@Bea **hi**").unwrap();
    let marks = vec![Mark(MarkKind::Mention, 0, 4), Mark(MarkKind::Strong, 5, 11)];
    let marks = Marks::checked(&body, marks).unwrap();
    let full = |number: u8| {
        EventKind::Said(Box::new(Message {
            client_id: client_id(1_000_000 + u64::from(number)),
            body: body.clone(),
            marks: marks.clone(),
            mentions: vec![user(1).id],
            reply_author: Some(user(2).id),
            pictures: vec![picture(number)],
            ..Message::clone(&plain)
        }))
    };
    let [kept, gone] = [1, 2].map(|number| put(store, chat(1), full(number)));
    for (message, emoji, number) in [(kept, "👍", 0), (kept, "❤️", 1), (kept, "👍", 1), (gone, "👍", 1)]
    {
        let seq = store.read(NOW).unwrap().log().unwrap().unwrap().seq.next();
        let emoji = Emoji::try_from(emoji.to_owned()).unwrap();
        let reaction = Reaction { chat: chat(1), message, emoji, by: user(number), is_on: true, seq };
        change(store, &Change::Reacted(reaction));
    }
    let wording = Some(Box::new(Wording::plain(Body::parse("other words").unwrap())));
    put(store, chat(1), EventKind::MessageEdited { message: kept, wording });
    put(store, chat(1), EventKind::MessageRemoved { message: gone, by: RemovedBy::Author });
}

fn filled(messages: u64) -> Store {
    let store = Store::in_memory(Lifetimes::default()).unwrap();
    fill(&store, messages);
    store
}

fn bytes_of(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(NOW).unwrap().export(&mut bytes).unwrap();
    bytes
}

/// A folder with a file of these bytes.
fn file_of(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.backup");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Returns the names and contents of all files in a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn what_was_exported_is_there_again_in_another_database() {
    let store = filled(600);
    let exported = bytes_of(&store);
    let (_folder, path) = file_of(&exported);
    let contents = export::check(&path).unwrap();
    let log = store.read(NOW).unwrap().log().unwrap().unwrap();
    assert_eq!((contents.users, contents.chats, contents.events), (3, 4, 610));
    assert_eq!((contents.log, contents.made_by.as_str()), (Some(log), env!("CARGO_PKG_VERSION")));
    assert_eq!(store.read(NOW).unwrap().check().unwrap(), contents);

    let other = filled(3);
    assert_eq!(other.replace(&path).unwrap(), contents);
    assert!(
        bytes_of(&other) == exported,
        "a node that loads a snapshot has the same rows as one that wrote it"
    );
    assert_eq!((other.epoch(), other.bytes()), (log.epoch, store.bytes()));

    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    Store::restore(&path, &database, false).unwrap();
    let restored = Store::open(&database, Lifetimes::default()).unwrap();
    assert_ne!(
        restored.epoch(),
        store.epoch(),
        "what was stored later is missing, so no cursor of before holds"
    );
    assert_eq!(restored.bytes(), store.bytes());
    for number in [0, 1, 2, 9] {
        let events =
            |store: &Store| store.read(NOW).unwrap().events_after(chat(number), Seq::ZERO, 9_999).unwrap();
        assert_eq!(events(&restored), events(&store));
    }
    // The two differ by the epoch alone.
    let again = restored.read(NOW).unwrap().check().unwrap();
    assert_eq!(again.log.unwrap().seq, log.seq);
    let different = bytes_of(&restored).len();
    assert_eq!(different, exported.len());
}

/// The state of a view that has applied nothing, at a place of the stream.
fn state(place: u64) -> ReplicaState {
    let lifetimes = Lifetimes { message: Span::seconds(99), ..Lifetimes::default() };
    ReplicaState::beginning(place, lifetimes.into(), LogClock::new(NOW, 0))
}

/// Returns an empty view of a replicated log, at a place of the stream.
fn view_at(place: u64) -> Store {
    let store = Store::replica_in_memory().unwrap();
    let log = LogState { epoch: Epoch::from_bytes([5; ID_BYTES]), seq: Seq(100), at: NOW };
    store.begin_replica(None, log, &state(place)).unwrap();
    store
}

/// Applies the next message of the stream, which starts a chat.
fn apply_next(store: &Store) {
    let before = store.replica().unwrap().unwrap();
    let log = store.read(NOW).unwrap().log().unwrap().unwrap();
    let log = LogState { seq: log.seq.next(), ..log };
    let sender = Incarnation::from_bytes([6; ID_BYTES]);
    let clock = SenderClock { uptime_millis: 7, steady: NOW, is_behind: false };
    let advance = Advance {
        after: before.place,
        place: before.place + 1,
        settings: before.settings,
        clock: before.clock,
        producers: vec![(sender, Some(Producer { number: before.place, at: NOW, clock }))],
    };
    let event = Event { chat: chat(0), seq: log.seq, prev: Seq::ZERO, at: NOW, kind: started(0) };
    store.write_replica(Some(log), &advance, |batch| batch.apply(&Change::Chat(event))).unwrap();
}

#[test]
fn a_node_that_loads_a_snapshot_goes_on_at_its_place_with_its_settings_and_senders() {
    let store = view_at(40);
    apply_next(&store);
    let (_folder, path) = file_of(&bytes_of(&store));
    let contents = export::check(&path).unwrap();
    assert_eq!(contents.replica.map(|replica| replica.place), Some(41));
    assert_eq!(store.read(NOW).unwrap().replica().unwrap(), contents.replica);
    let other = Store::replica_in_memory().unwrap();
    assert_eq!(other.replace(&path).unwrap(), contents);
    assert_eq!(other.replica().unwrap(), store.replica().unwrap());
    assert_eq!(other.producers().unwrap(), store.producers().unwrap());
    assert_eq!((other.epoch(), other.settings()), (store.epoch(), state(0).settings));
    apply_next(&store);
    apply_next(&other);
    assert!(bytes_of(&other) == bytes_of(&store), "the same rows and the same digest");

    // Neither takes the place of the other.
    let alone = filled(1);
    let refused = alone.replace(&path);
    assert!(matches!(refused, Err(ExportError::Store(StoreError::OfCluster))), "{refused:?}");
    let (_alone, of_alone) = file_of(&bytes_of(&alone));
    let refused = other.replace(&of_alone);
    assert!(matches!(refused, Err(ExportError::Store(StoreError::NotAReplica))), "{refused:?}");
    assert_eq!(other.replica().unwrap().unwrap().place, 42);
}

#[test]
fn a_backup_of_a_node_is_restored_as_the_database_of_a_single_process() {
    let folder = tempfile::tempdir().unwrap();
    let of_node = folder.path().join("node.redb");
    let store = Store::open_replica(&of_node).unwrap();
    let log = LogState { epoch: Epoch::from_bytes([5; ID_BYTES]), seq: Seq(100), at: NOW };
    store.begin_replica(Some(&of_node), log, &state(40)).unwrap();
    apply_next(&store);
    store.close(&of_node).unwrap();
    assert_eq!(Store::check(&of_node).unwrap().replica.unwrap().place, 41);
    let store = Store::open_read_only(&of_node).unwrap();
    let (_folder, path) = file_of(&bytes_of(&store));
    let database = folder.path().join(DATABASE);
    Store::restore(&path, &database, false).unwrap();
    let restored = Store::open(&database, Lifetimes::default()).unwrap();
    assert_eq!((restored.replica().unwrap(), restored.producers().unwrap()), (None, Vec::new()));
    assert_ne!(restored.epoch(), log.epoch);
    assert_eq!(put(&restored, chat(0), posted(0, 1)), Seq(102));
}

#[test]
fn an_empty_database_can_be_exported_as_well() {
    let (_folder, path) = file_of(&bytes_of(&Store::in_memory(Lifetimes::default()).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    Store::restore(&path, &folder.path().join(DATABASE), false).unwrap();
    assert_eq!(export::check(&path).unwrap().log.unwrap().seq, Seq::ZERO);
}

#[test]
fn a_removed_message_is_not_in_a_snapshot_file() {
    let store = filled(0);
    let said = put(&store, chat(0), posted(0, 4711));
    let has = |store: &Store| bytes_of(store).windows(12).any(|part| part == b"message 4711");
    assert!(has(&store));
    put(&store, chat(0), EventKind::MessageRemoved { message: said, by: RemovedBy::Author });
    assert!(!has(&store));
}

#[test]
fn every_flipped_byte_every_cut_and_every_addition_is_refused() {
    let bytes = bytes_of(&filled(5));
    let (_folder, path) = file_of(&bytes);
    export::check(&path).unwrap();
    let refuse = |what: &str, bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        assert!(export::check(&path).is_err(), "{what}");
    };
    for place in 0..bytes.len() {
        for mask in [1 << (place % 8), 0xff] {
            let mut flipped = bytes.clone();
            flipped[place] ^= mask;
            refuse(&format!("{mask:#x} flipped at {place}"), &flipped);
        }
    }
    for length in 0..bytes.len() {
        refuse(&format!("cut at {length}"), &bytes[..length]);
    }
    refuse("with a byte more", &[&bytes[..], &[0]].concat());
    refuse("twice", &[&bytes[..], &bytes].concat());
}

#[test]
fn frames_that_are_missing_repeated_or_moved_are_refused() {
    let store = filled(3);
    for number in 0..200 {
        put(&store, chat(0), long(0, 1_000 + number, 3_900));
    }
    let bytes = bytes_of(&store);
    let (mut frames, mut at) = (Vec::new(), 5);
    while at < bytes.len() {
        let end = at + 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        frames.push(&bytes[at..end]);
        at = end;
    }
    assert!(frames.len() > 13, "several of one table: {}", frames.len());
    let (_folder, path) = file_of(&bytes);
    let refuse = |what: &str, frames: &[&[u8]]| {
        fs::write(&path, [&[&bytes[..5]], frames].concat().concat()).unwrap();
        assert!(export::check(&path).is_err(), "{what}");
    };
    for place in 0..frames.len() {
        let without = [&frames[..place], &frames[place + 1..]].concat();
        refuse(&format!("without {place}"), &without);
        refuse(&format!("{place} twice"), &[&frames[..=place], &frames[place..]].concat());
        if place > 0 {
            let mut moved = frames.clone();
            moved.swap(place - 1, place);
            refuse(&format!("{place} before its time"), &moved);
        }
    }
    refuse("as it was, but for the last", &frames[..frames.len() - 1]);
}

#[test]
fn other_files_are_told_from_damaged_ones() {
    let bytes = bytes_of(&filled(1));
    let (folder, path) = file_of(&bytes);
    assert!(export::is_export(&path).unwrap());
    let said = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        export::check(&path).unwrap_err()
    };
    assert!(matches!(said(b""), ExportError::NotAnExport));
    assert!(matches!(said(b"QCS"), ExportError::NotAnExport));
    assert!(matches!(said(b"a letter to a friend"), ExportError::NotAnExport));
    assert!(!export::is_export(&path).unwrap());
    assert!(matches!(said(&bytes[..4]), ExportError::Incomplete));
    assert!(matches!(said(&bytes[..bytes.len() - 1]), ExportError::Incomplete));
    let mut damaged = bytes.clone();
    damaged[40] ^= 1;
    assert!(matches!(said(&damaged), ExportError::Damaged(_)));
    let missing = export::check(&folder.path().join("missing")).unwrap_err();
    assert!(matches!(missing, ExportError::Io(_)), "{missing}");
}

#[test]
fn readers_see_the_old_state_or_the_new_one_and_the_log_goes_on_from_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    fill(&store, 5);
    let old = bytes_of(&store);
    let before = store.read(NOW).unwrap();
    let source = filled(300);
    let newest = put(&source, chat(2), posted(1, 77_777));
    let new = bytes_of(&source);
    let (_other, path) = file_of(&new);

    store.replace(&path).unwrap();
    let mut seen = Vec::new();
    before.export(&mut seen).unwrap();
    assert!(seen == old, "a view of before is as it was");
    drop(before);
    assert!(bytes_of(&store) == new);
    // A retry is recognised, and what is written follows.
    let found = store.write(newest.next(), NOW, |batch| batch.posted(chat(2), user(1).id, client_id(77_777)));
    assert_eq!(found.unwrap(), Some(newest));
    let out_of_order = store.write(newest, NOW, |_| Ok(()));
    assert!(matches!(out_of_order, Err(StoreError::OutOfOrder(..))));
    store.rollback().unwrap();
    let after = put(&store, chat(2), posted(0, 88_888));
    assert_eq!(after, newest.next().next());
    assert_eq!(store.read(NOW).unwrap().event(chat(2), after).unwrap().unwrap().prev, newest);

    // As after a kill.
    let expected = bytes_of(&store);
    drop(store);
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    assert!(bytes_of(&store) == expected);
    assert_eq!(store.epoch(), source.epoch());
    store.close(&database).unwrap();
    assert_eq!(Store::check(&database).unwrap().log.unwrap().seq, after);
}

#[test]
fn a_picture_as_large_as_they_get_is_in_a_backup_and_comes_back() {
    let store = filled(3);
    let id = PictureId::from_bytes([9; ID_BYTES]);
    let alt = Alt::parse("noise").unwrap();
    let picture = Picture { id, width: 2_048, height: 2_048, small: (480, 480), bytes: 8_000_000, alt };
    let User { id: author, nickname } = user(1);
    let said = Message::plain(author, nickname, client_id(4_444), Body::parse("Look").unwrap());
    put(&store, chat(1), EventKind::Said(Box::new(Message { pictures: vec![picture], ..said })));
    let large: Vec<u8> =
        (0..8_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let export = |large: &[u8]| {
        let files = |of| {
            let both = [("large".to_owned(), large.to_vec()), ("small".to_owned(), vec![7])];
            Ok(both.into_iter().filter(|_| of == id).collect())
        };
        let mut bytes = Vec::new();
        store.read(NOW).unwrap().export_with_files(&mut bytes, files).map(|()| bytes)
    };
    let (_folder, path) = file_of(&export(&large).unwrap());
    assert_eq!(export::check(&path).unwrap().files, 2);
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let put = |name: &str, bytes: &[u8]| {
        files.push((name.to_owned(), bytes.to_vec()));
        Ok(())
    };
    Store::restore_with_files(&path, &folder.path().join(DATABASE), false, put).unwrap();
    assert!(files == [("large".to_owned(), large), ("small".to_owned(), vec![7])]);
    let refused = export(&vec![0; 17 * 1024 * 1024]).unwrap_err();
    assert!(matches!(refused, ExportError::Io(_)), "{refused}");
}

#[test]
fn a_file_that_cannot_be_loaded_changes_nothing() {
    let store = filled(50);
    let before = bytes_of(&store);
    let bytes = bytes_of(&filled(500));
    for cut in [3, 100, bytes.len() / 2, bytes.len() - 1] {
        let (_folder, path) = file_of(&bytes[..cut]);
        assert!(store.replace(&path).is_err());
        assert!(bytes_of(&store) == before);
        put(&store, chat(0), posted(0, 1_000_000 + cut as u64));
        put(&store, chat(0), posted(0, 2_000_000 + cut as u64));
        let (_folder, path) = file_of(&before);
        store.replace(&path).unwrap();
        assert!(bytes_of(&store) == before, "it can be replaced after that");
    }
}

#[test]
fn a_database_is_restored_over_another_only_if_that_is_asked_for_and_never_while_it_is_open() {
    let (_folder, path) = file_of(&bytes_of(&filled(100)));
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    fill(&store, 3);
    let open = Store::restore(&path, &database, true);
    assert!(matches!(open, Err(ExportError::Store(StoreError::InUse))), "{open:?}");
    drop(store);
    let before = files(folder.path());
    let occupied = Store::restore(&path, &database, false);
    assert!(matches!(occupied, Err(ExportError::Occupied)), "{occupied:?}");
    let (_other, cut) = file_of(&fs::read(&path).unwrap()[..2_000]);
    assert!(matches!(Store::restore(&cut, &database, true), Err(ExportError::Incomplete)));
    assert!(files(folder.path()) == before, "nothing was changed");

    // Its write-ahead log, which is not empty, goes with it.
    assert!(fs::metadata(database.with_extension("journal")).unwrap().len() > 0);
    Store::restore(&path, &database, true).unwrap();
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    assert_eq!(store.read(NOW).unwrap().check().unwrap().events, 110);
    drop(store);
    fs::remove_file(&database).unwrap();
    let empty = fs::metadata(database.with_extension("journal")).unwrap().len() == 0;
    assert_eq!(
        Store::restore(&path, &database, false).is_ok(),
        empty,
        "a write-ahead log may be all that is left"
    );
}

#[test]
fn a_database_is_read_and_checked_without_a_change_to_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    fill(&store, 500);
    store.checkpoint().unwrap();
    let last = put(&store, chat(1), posted(0, 99_999));
    assert!(matches!(Store::open_read_only(&database), Err(StoreError::InUse)));
    let expected = bytes_of(&store);
    drop(store);
    // As after a kill: the last message is in the write-ahead log alone.
    for _ in 0..2 {
        let before = files(folder.path());
        let store = Store::open_read_only(&database).unwrap();
        assert!(bytes_of(&store) == expected);
        put(&store, chat(1), posted(0, 100_000));
        drop(store);
        assert_eq!(Store::check(&database).unwrap().log.unwrap().seq, last);
        assert!(files(folder.path()) == before);
        // As after a copy, whose pages are not known to be intact.
        let _ = fs::remove_file(database.with_extension("mark"));
    }
    let missing = Store::open_read_only(&folder.path().join("missing.redb"));
    assert!(matches!(missing, Err(StoreError::Io(_))));
    assert!(!folder.path().join("missing.redb").exists());
}

#[test]
fn a_check_finds_damage_in_any_page_that_is_used_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    fill(&store, 1_300);
    store.close(&database).unwrap();
    let whole = fs::read(&database).unwrap();
    Store::check(&database).unwrap();
    let text = b"message 1234";
    let places: Vec<usize> =
        (0..whole.len() - text.len()).filter(|place| whole[*place..].starts_with(text)).collect();
    assert!(!places.is_empty());
    let mut found = 0;
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        fs::write(&database, &damaged).unwrap();
        let seal = fs::read(database.with_extension("seal")).unwrap();
        // A page that is not used any more may have an older copy of the record.
        found += u32::from(Store::check(&database).is_err());
        assert!(fs::read(&database).unwrap() == damaged);
        assert_eq!(fs::read(database.with_extension("seal")).unwrap(), seal);
    }
    assert!(found > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_a_reader_panic(start in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let start = [&b""[..], b"QCSN\x01", b"QCSN\x01\x07\x00\x00\x00"][start];
        let (_folder, path) = file_of(&[start, &bytes].concat());
        prop_assert!(export::check(&path).is_err());
        prop_assert!(Store::in_memory(Lifetimes::default()).unwrap().replace(&path).is_err());
    }
}

/// Prints how long it takes to export and to load `QCHAT_MESSAGES` messages, and how large they are.
#[test]
#[ignore = "takes a minute: cargo test --release -p engine --test export -- --ignored --nocapture"]
fn a_million_messages_are_exported_and_loaded_in_seconds() {
    let messages: u64 =
        std::env::var("QCHAT_MESSAGES").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    let store = Store::open(&database, Lifetimes::default()).unwrap();
    let mut newest = BTreeMap::new();
    let mut seq = Seq::ZERO;
    for first in (0..messages).step_by(1_000) {
        let log = seq;
        store
            .write(Seq(log.0 + 1_000), NOW, |batch| {
                for number in first..first + 1_000 {
                    seq = seq.next();
                    let chat = chat((number % 100) as u8);
                    let prev = newest.insert(chat, seq).unwrap_or(Seq::ZERO);
                    let User { id: author, nickname } = user((number % 7) as u8);
                    let body = Body::parse(&format!("message {number}, {}", "x".repeat(80))).unwrap();
                    // Random as those of browsers are, so that they are not in the order of the log.
                    let client_id = client_id(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    let kind = match prev {
                        Seq::ZERO => started(0),
                        _ => EventKind::Said(Box::new(Message::plain(author, nickname, client_id, body))),
                    };
                    batch.apply(&Change::Chat(Event { chat, seq, prev, at: NOW, kind }))?;
                }
                Ok(())
            })
            .unwrap();
    }
    store.checkpoint().unwrap();
    let size = |path: &Path| fs::metadata(path).unwrap().len() as f64 / 1e6;
    println!("{messages} messages, database {:.0} MB", size(&database));
    let path = folder.path().join("backup");
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let begins = Instant::now();
        work();
        println!("{what}: {:.2} s", begins.elapsed().as_secs_f64());
    };
    timed("exported", &mut || {
        let mut out = BufWriter::new(fs::File::create(&path).unwrap());
        store.read(NOW).unwrap().export(&mut out).unwrap();
        out.into_inner().unwrap().sync_all().unwrap();
    });
    println!("file: {:.0} MB", size(&path));
    timed("checked", &mut || drop(export::check(&path).unwrap()));
    let restored = folder.path().join("restored.redb");
    timed("restored", &mut || drop(Store::restore(&path, &restored, false).unwrap()));
    println!("restored database: {:.0} MB", size(&restored));
    let empty = Store::open(&folder.path().join("empty.redb"), Lifetimes::default()).unwrap();
    timed("loaded in the place of an empty state", &mut || drop(empty.replace(&path).unwrap()));
    timed("loaded in the place of a full state", &mut || drop(store.replace(&path).unwrap()));
    println!("database after that: {:.0} MB", size(&database));
}
