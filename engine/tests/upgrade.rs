//! Data stored by one version can be read by the next. `fixtures` contains data folders of earlier versions, as they
//! are after a kill: a database with the first half of [`changes`], and a write-ahead log with the second.
//!
//! A version that stores something else adds a folder named after it, and changes none of the others: `cargo test -p
//! engine --test upgrade -- --ignored` creates one in the folder that `QCHAT_FIXTURE` names, an absolute path. What the
//! older folders do not have is then left out of [`changes`] for these.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{env, fs, path::Path};

use domain::{
    Answer, Body, Change, ChatId, ClientId, Event, EventKind, Lifetimes, Message, Nickname, RemovedBy, Seq,
    Span, Timestamp, Title, User, UserId, Visibility, id::ID_BYTES,
};
use engine::storage::Store;

/// The time of the fixtures, at which nothing in them has expired.
const NOW: Timestamp = Timestamp(1_900_000_000_000);
const LIFETIMES: Lifetimes =
    Lifetimes { chat: Span::seconds(3_600), user: Span::seconds(3_600), message: Span::seconds(3_600) };
const FILES: [&str; 2] = ["qchat.redb", "qchat.journal"];

const ROOM: ChatId = ChatId::from_bytes([1; ID_BYTES]);
const DIRECT: ChatId = ChatId::from_bytes([2; ID_BYTES]);

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
    EventKind::Posted(Message {
        author,
        nickname,
        client_id,
        body: Body::parse(&format!("Nº {number} 👋🏽")).unwrap(),
    })
}

/// Returns each kind of change, with each kind of event, in order.
fn changes() -> Vec<Change> {
    let [ana, bea, cy, dee] = [0, 1, 2, 3].map(user);
    let started = |owner: &User, title: &str, visibility, guest| EventKind::Started {
        owner: owner.id,
        nickname: owner.nickname.clone(),
        title: Title::parse(title).unwrap(),
        visibility,
        guest,
    };
    let owner = || name("Ana");
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
    let mut newest = [(ROOM, Seq::ZERO), (DIRECT, Seq::ZERO)];
    let mut all = vec![
        Change::User { user: ana.clone(), at: NOW },
        Change::User { user: bea.clone(), at: NOW },
        Change::User { user: dee.clone(), at: NOW },
    ];
    for (seq, (chat, kind)) in (1..).zip(events) {
        let (_, newest) = newest.iter_mut().find(|(of, _)| *of == chat).unwrap();
        let event = Event { chat, seq: Seq(seq), prev: *newest, at: Timestamp(NOW.0 + seq), kind };
        *newest = event.seq;
        all.push(Change::Chat(event));
    }
    all.extend([
        Change::Hidden { from: ana.id, person: bea.id, is_hidden: true },
        Change::InvitesSet { user: bea.id, are_taken: false },
        Change::UserTouched(ana.id, Timestamp(NOW.0 + 100)),
        Change::ChatTouched(ROOM, Timestamp(NOW.0 + 100)),
        Change::UserExpired(dee.id),
        Change::Expired { chat: DIRECT, through: Seq(2) },
        Change::ClockSet(1_000),
    ]);
    all
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
    let events: Vec<_> = [ROOM, DIRECT].map(|chat| view.events_after(chat, Seq::ZERO, 100).unwrap()).into();
    let of_users = (view.hidden(user(0).id).unwrap(), view.takes_invites(user(1).id).unwrap());
    format!("{users:#?}\n{noted:?}\n{chats:#?}\n{events:#?}\n{of_users:?}\n{} bytes\n", store.bytes())
}

#[test]
fn every_earlier_version_is_read() {
    let expected = Store::in_memory(LIFETIMES).unwrap();
    write(&expected, &changes());
    let expected = contents(&expected);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut versions = 0;
    for folder in fs::read_dir(&fixtures).unwrap_or_else(|_| panic!("{} is missing", fixtures.display())) {
        let folder = folder.unwrap().path();
        let copy = tempfile::tempdir().unwrap();
        for file in FILES {
            fs::copy(folder.join(file), copy.path().join(file)).unwrap();
        }
        let store = Store::open(&copy.path().join(FILES[0]), LIFETIMES).unwrap();
        assert_eq!(contents(&store), expected, "{}", folder.display());
        // The database can be written, also after the next start.
        write(&store, &[Change::User { user: user(3), at: NOW }]);
        drop(store);
        let store = Store::open(&copy.path().join(FILES[0]), LIFETIMES).unwrap();
        assert_eq!(store.read(NOW).unwrap().known_user(user(3).id).unwrap(), Some(user(3)));
        versions += 1;
    }
    assert!(versions > 0);
}

#[test]
#[ignore = "makes a fixture"]
fn make_a_fixture() {
    let Some(folder) = env::var_os("QCHAT_FIXTURE") else { panic!("QCHAT_FIXTURE does not name a folder") };
    fs::create_dir(&folder).unwrap();
    let work = tempfile::tempdir().unwrap();
    let store = Store::open(&work.path().join(FILES[0]), LIFETIMES).unwrap();
    let changes = changes();
    let (first, second) = changes.split_at(changes.len() / 2);
    write(&store, first);
    store.checkpoint().unwrap();
    write(&store, second);
    // As they are after a kill.
    for file in FILES {
        fs::copy(work.path().join(file), Path::new(&folder).join(file)).unwrap();
    }
}
