//! Data stored by one version can be read by the next. `fixtures` contains a data folder of each version in [`VERSIONS`], as
//! it is after a kill: a database with the first half of its [`changes`], and a write-ahead log with the second.
//!
//! Beside them is a backup of it, `qchat.backup`.
//!
//! A version that stores something else adds an entry to [`VERSIONS`], and what is read of it to [`contents`]. Then `cargo
//! test -p engine --test upgrade -- --ignored` makes its fixture. Those of versions that were released never change.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use domain::{
    Alt, Answer, Body, Change, ChatId, ClientId, Emoji, Event, EventKind, Lifetimes, Mark, MarkKind, Marks,
    Message, Nickname, Picture, PictureId, PlainMessage, Reaction, RemovedBy, Seq, Span, StateReader,
    Timestamp, Title, User, UserId, Visibility, Wording, id::ID_BYTES,
};
use engine::storage::{Store, StoreError};

/// The time of the fixtures, at which nothing in them has expired.
const NOW: Timestamp = Timestamp(1_900_000_000_000);
const LIFETIMES: Lifetimes =
    Lifetimes { chat: Span::seconds(3_600), user: Span::seconds(3_600), message: Span::seconds(3_600) };
const FILES: [&str; 2] = ["qchat.redb", "qchat.journal"];
const BACKUP: &str = "qchat.backup";

/// The versions that store something that none before them did, oldest first, each with the steps that store what is new:
/// every kind of change and of event that it adds.
const VERSIONS: &[(&str, Steps)] = &[("0.1.0", in_0_1_0), ("0.2.0", in_0_2_0)];

/// Returns the steps that store what a version adds.
type Steps = fn() -> Vec<Step>;

/// A step of a fixture.
enum Step {
    /// An event in a chat. Its position follows from the events before it.
    Event(ChatId, EventKind),
    /// Any other change.
    Other(Change),
}

const ROOM: ChatId = ChatId::from_bytes([1; ID_BYTES]);
const DIRECT: ChatId = ChatId::from_bytes([2; ID_BYTES]);
const TALK: ChatId = ChatId::from_bytes([3; ID_BYTES]);

fn user(number: u8) -> User {
    User {
        id: UserId::from_bytes([number; ID_BYTES]),
        nickname: name(["Ana", "Bea", "Cy", "Dee"][usize::from(number)]),
    }
}

fn name(name: &str) -> Nickname {
    Nickname::parse(name).unwrap()
}

fn message(author: u8, number: u8) -> EventKind {
    let User { id: author, nickname } = user(author);
    let client_id = ClientId::from_bytes([number; ID_BYTES]);
    EventKind::Posted(PlainMessage {
        author,
        nickname,
        client_id,
        body: Body::parse(&format!("Nº {number} 👋🏽")).unwrap(),
    })
}

/// Returns the steps of version 0.1.0.
fn in_0_1_0() -> Vec<Step> {
    let [ana, bea, cy, dee] = [0, 1, 2, 3].map(user);
    let started = |owner: &User, title: &str, visibility, guest| EventKind::Started {
        owner: owner.id,
        nickname: owner.nickname.clone(),
        title: Title::parse(title).unwrap(),
        visibility,
        guest,
    };
    let owner = || name("Ana");
    let users = [&ana, &bea, &dee].map(|user| Change::User { user: user.clone(), at: NOW });
    let events = [
        (ROOM, started(&ana, "Tea at five", Visibility::Public, None)),
        (DIRECT, started(&ana, "Ana & Bea", Visibility::Private, Some(bea.clone()))),
        (ROOM, message(0, 1)),
        (ROOM, message(1, 2)),
        (ROOM, message(2, 3)),
        (DIRECT, message(0, 4)),
        (ROOM, EventKind::Renamed { user: bea.id, from: name("Bea"), to: name("Beatrice") }),
        (ROOM, EventKind::TitleEdited { nickname: owner(), title: Title::parse("Tea at six").unwrap() }),
        (ROOM, EventKind::VisibilitySet { nickname: owner(), visibility: Visibility::Private }),
        (DIRECT, EventKind::InviteAnswered { by: bea.clone(), answer: Answer::Decline }),
        (DIRECT, EventKind::Invited { by: ana.clone(), to: bea.clone() }),
        (DIRECT, EventKind::InviteWithdrawn { by: ana.clone(), to: bea.id }),
        (ROOM, EventKind::MessageRemoved { message: Seq(4), by: RemovedBy::Author }),
        (ROOM, EventKind::PersonRemoved { nickname: owner(), person: cy.clone() }),
        (ROOM, EventKind::PersonAdmitted { nickname: owner(), person: cy.clone() }),
        (ROOM, EventKind::LockSet { nickname: owner(), is_locked: true }),
        (ROOM, EventKind::PeopleRemoved { nickname: owner(), first: cy, others: vec![dee.id] }),
        (ROOM, EventKind::OwnRemoved { user: bea.id }),
    ];
    let others = [
        Change::Hidden { from: ana.id, person: bea.id, is_hidden: true },
        Change::InvitesSet { user: bea.id, are_taken: false },
        Change::UserTouched(ana.id, Timestamp(NOW.0 + 100)),
        Change::ChatTouched(ROOM, Timestamp(NOW.0 + 100)),
        Change::UserExpired(dee.id),
        Change::Expired { chat: DIRECT, through: Seq(2) },
        Change::ClockSet(1_000),
    ];
    let events = events.into_iter().map(|(chat, kind)| Step::Event(chat, kind));
    users.into_iter().map(Step::Other).chain(events).chain(others.into_iter().map(Step::Other)).collect()
}

/// Returns the steps of version 0.2.0: messages with all that can belong to them.
fn in_0_2_0() -> Vec<Step> {
    let User { id: author, nickname } = user(1);
    let said = |number: u8, text: &str| {
        let client_id = ClientId::from_bytes([number; ID_BYTES]);
        Message::plain(author, nickname.clone(), client_id, Body::parse(text).unwrap())
    };
    let event = |kind| Step::Event(TALK, kind);
    let say = |message: Message| event(EventKind::Said(Box::new(message)));
    let body = || Body::parse("@Ana **now**").unwrap();
    let marks = [(MarkKind::Mention, 0, 4), (MarkKind::Strong, 5, 12), (MarkKind::Hidden, 5, 7)];
    let marks = marks.map(|(kind, from, to)| Mark(kind, from, to)).to_vec();
    let wording = || Wording {
        body: body(),
        marks: Marks::checked(&body(), marks.clone()).unwrap(),
        mentions: vec![user(0).id],
    };
    let picture = |number| Picture {
        id: PictureId::from_bytes([number; ID_BYTES]),
        width: 2_048,
        height: 1_536,
        small: (480, 360),
        bytes: 300_000,
        alt: Alt::parse("A cat").unwrap(),
    };
    let first = Seq(20);
    let after = |places: u64| Seq(first.0 + places);
    let owner = user(0);
    let started = EventKind::Started {
        owner: owner.id,
        nickname: owner.nickname,
        title: Title::parse("Talk").unwrap(),
        visibility: Visibility::Public,
        guest: None,
    };
    let Wording { body: marked, marks: marked_by, mentions } = wording();
    let full = Message {
        body: marked,
        marks: marked_by,
        mentions,
        reply_to: Some(first),
        reply_author: Some(author),
        pictures: vec![picture(1), picture(2)],
        is_action: true,
        ..said(12, "x")
    };
    let shown = Message { body: Body::empty(), pictures: vec![picture(3)], ..said(13, "x") };
    let react = |message, emoji: &str, by, is_on, seq| {
        let emoji = Emoji::try_from(emoji.to_owned()).unwrap();
        Step::Other(Change::Reacted(Reaction { chat: TALK, message, emoji, by: user(by), is_on, seq }))
    };
    let restored = Some(Box::new(said(14, "again")));
    vec![
        event(started),
        say(said(11, "first")),
        say(full),
        say(shown),
        say(said(14, "again")),
        event(EventKind::MessageEdited { message: first, wording: Some(Box::new(wording())) }),
        event(EventKind::MessageRemoved { message: after(2), by: RemovedBy::Author }),
        event(EventKind::MessageRemoved { message: after(3), by: RemovedBy::Author }),
        event(EventKind::MessageRestored { message: after(3), said: restored }),
        react(first, "👍", 0, true, Seq(100)),
        react(first, "❤️", 1, true, Seq(101)),
        react(first, "👍", 1, true, Seq(102)),
        react(first, "👍", 0, false, Seq(103)),
        react(after(1), "👍", 2, true, Seq(104)),
    ]
}

/// Returns the changes that the fixture of a version contains, in order: its own steps, after those of all versions before
/// it.
fn changes(version: &str) -> Vec<Change> {
    let newest = VERSIONS.iter().position(|(name, _)| *name == version).unwrap();
    let steps = VERSIONS[..=newest].iter().flat_map(|(_, steps)| steps());
    let (mut last, mut prev_in) = (Seq::ZERO, [ROOM, DIRECT, TALK].map(|chat| (chat, Seq::ZERO)));
    let change = |step| match step {
        Step::Event(chat, kind) => {
            let (_, prev) = prev_in.iter_mut().find(|(of, _)| *of == chat).unwrap();
            last = last.next();
            let event = Event { chat, seq: last, prev: *prev, at: Timestamp(NOW.0 + last.0), kind };
            *prev = last;
            Change::Chat(event)
        }
        Step::Other(change) => change,
    };
    steps.map(change).collect()
}

/// Returns the folder with the fixture of a version.
fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

/// Stores each change as an entry of its own.
fn write(store: &Store, changes: &[Change]) {
    for change in changes {
        let before = store.read(NOW).unwrap().log().unwrap().map_or(Seq::ZERO, |log| log.seq);
        let seq = match change {
            Change::Chat(event) => event.seq.max(before.next()),
            _ => before.next(),
        };
        store.write(seq, NOW, |transaction| transaction.apply(change)).unwrap();
    }
}

/// Returns the contents of a store as text.
fn contents(store: &Store) -> String {
    let view = store.read(NOW).unwrap();
    let users: Vec<_> = (0..4).map(|number| view.known_user(user(number).id).unwrap()).collect();
    let noted: Vec<_> = (0..4).map(|number| view.user_noted_at(user(number).id).unwrap()).collect();
    let mut chats: Vec<_> =
        view.chats().unwrap().into_iter().map(|kept| (kept.value, kept.active_at)).collect();
    chats.sort_by_key(|(chat, _)| chat.id);
    let events: Vec<_> =
        [ROOM, DIRECT, TALK].map(|chat| view.events_after(chat, Seq::ZERO, 100).unwrap()).into();
    let mut belongings = String::new();
    let read = store.write(view.log().unwrap().unwrap().seq.next(), NOW, |batch| {
        let messages = (20..24).map(Seq);
        let tallies: Vec<_> = messages.map(|message| batch.tally(TALK, message)).collect();
        let pictures = (1..4).map(|number| PictureId::from_bytes([number; ID_BYTES]));
        let pictures: Vec<_> = pictures
            .map(|picture| match batch.message_of_picture(picture) {
                Ok(Some((chat, message))) => batch.picture(chat, message, picture),
                _ => Ok(None),
            })
            .collect();
        belongings = format!("{tallies:#?}\n{pictures:#?}");
        // Nothing is to be stored.
        Err::<(), _>(StoreError::InUse)
    });
    assert!(read.is_err());
    let of_users = (view.hidden(user(0).id).unwrap(), view.takes_invites(user(1).id).unwrap());
    format!(
        "{users:#?}\n{noted:?}\n{chats:#?}\n{events:#?}\n{of_users:?}\n{belongings}\n{} bytes\n",
        store.bytes()
    )
}

#[test]
fn every_earlier_version_is_read() {
    for (version, _) in VERSIONS {
        let expected = Store::in_memory(LIFETIMES).unwrap();
        write(&expected, &changes(version));
        let copy = tempfile::tempdir().unwrap();
        for file in FILES {
            let copied = fs::copy(fixture(version).join(file), copy.path().join(file));
            assert!(copied.is_ok(), "no fixture of {version} with {file}: {copied:?}");
        }
        let store = Store::open(&copy.path().join(FILES[0]), LIFETIMES).unwrap();
        assert_eq!(contents(&store), contents(&expected), "{version}");
        // The database can be written, also after the next start.
        write(&store, &[Change::User { user: user(3), at: NOW }]);
        drop(store);
        let store = Store::open(&copy.path().join(FILES[0]), LIFETIMES).unwrap();
        assert_eq!(store.read(NOW).unwrap().known_user(user(3).id).unwrap(), Some(user(3)));
    }
}

#[test]
fn every_backup_of_an_earlier_version_is_restored() {
    for (version, _) in VERSIONS {
        let expected = Store::in_memory(LIFETIMES).unwrap();
        write(&expected, &changes(version));
        let file = fixture(version).join(BACKUP);
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join(FILES[0]);
        let had = Store::restore(&file, &database, false).unwrap();
        assert_eq!(had.made_by, *version);
        let store = Store::open(&database, LIFETIMES).unwrap();
        assert_eq!(contents(&store), contents(&expected), "{version}");
        let replaced = Store::in_memory(LIFETIMES).unwrap();
        replaced.replace(&file).unwrap();
        assert_eq!(contents(&replaced), contents(&expected), "{version}");
        if *version == env!("CARGO_PKG_VERSION") {
            let mut again = Vec::new();
            replaced.read(NOW).unwrap().export(&mut again).unwrap();
            assert!(again == fs::read(&file).unwrap(), "it is written as it was");
        }
    }
}

#[test]
fn every_fixture_is_of_a_version() {
    let folders = fs::read_dir(fixture("")).unwrap();
    let folders = folders.map(Result::unwrap).filter(|found| found.file_type().unwrap().is_dir());
    let folders: BTreeSet<OsString> = folders.map(|folder| folder.file_name()).collect();
    let versions: BTreeSet<OsString> = VERSIONS.iter().map(|(version, _)| OsString::from(version)).collect();
    assert_eq!(folders, versions);
}

#[test]
#[ignore = "makes the fixture of the newest version"]
fn make_a_fixture() {
    let (version, _) = VERSIONS.last().unwrap();
    let folder = fixture(version);
    fs::create_dir(&folder).unwrap();
    let work = tempfile::tempdir().unwrap();
    let store = Store::open(&work.path().join(FILES[0]), LIFETIMES).unwrap();
    let changes = changes(version);
    let (first, second) = changes.split_at(changes.len() / 2);
    write(&store, first);
    store.checkpoint().unwrap();
    write(&store, second);
    // As they are after a kill.
    for file in FILES {
        fs::copy(work.path().join(file), folder.join(file)).unwrap();
    }
    store.read(NOW).unwrap().export(fs::File::create(folder.join(BACKUP)).unwrap()).unwrap();
}
