//! A damaged database or WAL: truncated, or with bits flipped. Either the start is refused with an error, or it opens,
//! and what is read is correct or an error. Nothing panics, and no data is made up.
//!
//! `QCHAT_DAMAGES=20000 cargo test --release -p server --test stories damage -- --nocapture` is a longer run;
//! `QCHAT_SEED` repeats one.

use std::{
    fs,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use domain::{
    Body, Change, ChatId, Event, EventKind, Lifetimes, Message, Nickname, Seq, Timestamp, Title, User,
    UserId, Visibility, id::ID_BYTES,
};
use engine::storage::{Store, StoreError};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{client_id, history::number, write};

const DAMAGES: u64 = 300;
const CHATS: u8 = 4;
const MESSAGES: u64 = 200;
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);

fn chat(number: u8) -> ChatId {
    ChatId::from_bytes([number; ID_BYTES])
}

fn event(chat: ChatId, seq: u64, prev: u64, kind: EventKind) -> Change {
    Change::Chat(Event { chat, seq: Seq(seq), prev: Seq(prev), at: Timestamp(seq), kind })
}

fn message(number: u64) -> EventKind {
    let body = Body::parse(&format!("message {number}")).unwrap();
    EventKind::Said(Box::new(Message::plain(ANA, Nickname::friendly(1), client_id(number), body)))
}

/// Fills a database with some chats and messages, half of which are still in the WAL.
fn fill(store: &Store) {
    let mut seq = 0;
    let mut newest = [0; CHATS as usize];
    for number in 0..CHATS {
        seq += 1;
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Tea").unwrap());
        let kind =
            EventKind::Started { owner: ANA, nickname, title, visibility: Visibility::Public, guest: None };
        let user = Change::User { user: User::new(ANA), at: Timestamp(seq) };
        write(store, &[user, event(chat(number), seq, 0, kind)]).unwrap();
        newest[usize::from(number)] = seq;
    }
    for number in 0..MESSAGES {
        if number == MESSAGES / 2 {
            store.checkpoint().unwrap();
        }
        seq += 1;
        let place = (number % u64::from(CHATS)) as u8;
        write(store, &[event(chat(place), seq, newest[usize::from(place)], message(number))]).unwrap();
        newest[usize::from(place)] = seq;
    }
}

/// Reads everything and writes something. Returns the number of messages found.
fn use_it(store: &Store) -> Result<u64, StoreError> {
    let view = store.read(Timestamp(1))?;
    view.log()?;
    view.expired_batch()?;
    let mut there = 0;
    for kept in view.chats()? {
        for event in view.events_after(kept.value.id, Seq::ZERO, 10_000)? {
            if let Some(said) = event.kind.message() {
                assert!(
                    said.body.as_str().starts_with("message "),
                    "a message that was never stored: {said:?}"
                );
                there += 1;
            }
        }
    }
    view.user(ANA)?;
    write(store, &[event(chat(0), 1_000_000, 999, message(MESSAGES))])?;
    Ok(there)
}

/// The files of a database.
#[derive(Clone)]
struct Files {
    database: Vec<u8>,
    wal: Vec<u8>,
    seal: Option<Vec<u8>>,
}

impl Files {
    fn of(path: &Path) -> Self {
        let [database, wal] =
            [path.to_owned(), path.with_extension("journal")].map(|file| fs::read(file).unwrap());
        Self { database, wal, seal: fs::read(path.with_extension("seal")).ok() }
    }

    fn put(&self, path: &Path) {
        fs::write(path, &self.database).unwrap();
        fs::write(path.with_extension("journal"), &self.wal).unwrap();
        if let Some(seal) = &self.seal {
            fs::write(path.with_extension("seal"), seal).unwrap();
        }
    }

    fn remove(path: &Path) {
        for extension in ["redb", "journal", "seal", "mark"] {
            let _ = fs::remove_file(path.with_extension(extension));
        }
    }
}

/// Returns the range of each record in a WAL.
fn records(wal: &[u8]) -> Vec<Range<usize>> {
    let (mut records, mut start) = (Vec::new(), 0);
    while let Some(length) = wal.get(start..start + 4) {
        let end = start + 8 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        records.push(start..end);
        start = end;
    }
    records
}

/// Truncates a file or flips some of its bits, and describes the damage.
fn damage(bytes: &mut Vec<u8>, used: &[usize], chance: &mut StdRng) -> String {
    if chance.random_ratio(1, 4) {
        let len = chance.random_range(0..bytes.len());
        bytes.truncate(len);
        return format!("truncated to {len} bytes");
    }
    let flips: Vec<(usize, u8)> = (0..chance.random_range(1..9))
        .map(|_| (used[chance.random_range(0..used.len())], chance.random_range(0..8)))
        .collect();
    for (place, bit) in &flips {
        bytes[*place] ^= 1 << bit;
    }
    format!("bits flipped: {flips:?}")
}

#[test]
fn a_damaged_database_is_refused_or_read_as_far_as_it_goes() {
    let (damages, seed) = (number("QCHAT_DAMAGES", DAMAGES), number("QCHAT_SEED", rand::random()));
    println!("QCHAT_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.redb");
    // As after a kill, and as after a graceful shutdown.
    let store = Store::open(&path, Lifetimes::default()).unwrap();
    fill(&store);
    let (epoch, killed) = (store.epoch(), Files::of(&path));
    store.close(&path).unwrap();
    let closed = Files::of(&path);
    assert!(killed.wal.len() > 5_000 && closed.wal.is_empty());
    let journaled = records(&killed.wal);
    let places = |bytes: &[u8]| (0..bytes.len()).filter(|place| bytes[*place] != 0).collect::<Vec<_>>();
    let used = [&killed.wal, &closed.database, &killed.database].map(|bytes| places(bytes));
    let (mut refused, mut failed, mut read, mut fewer, mut panicked) = (0, 0, 0, 0, Vec::new());
    let mut resumed = Vec::new();
    for number in 0..damages {
        let which = usize::try_from(number % 3).unwrap();
        let mut files = if which == 1 { closed.clone() } else { killed.clone() };
        let file = if which == 0 { &mut files.wal } else { &mut files.database };
        let kind = damage(file, &used[which], &mut chance);
        // A WAL that was cut between two records is the same as one with fewer records.
        let is_unseen = which == 0 && {
            let end = journaled.iter().map(|record| record.start).filter(|start| *start <= file.len()).max();
            file.len() < killed.wal.len() && file[end.unwrap()..].iter().all(|byte| *byte == 0)
        };
        let damaged = folder.path().join(format!("damaged-{number}.redb"));
        files.put(&damaged);
        let tried = catch_unwind(AssertUnwindSafe(|| match Store::open(&damaged, Lifetimes::default()) {
            Err(_) => refused += 1,
            Ok(store) => match use_it(&store) {
                Err(_) => failed += 1,
                Ok(MESSAGES) => read += 1,
                // The end was lost: a client that had received it must not resume as if nothing had happened.
                Ok(_) => {
                    fewer += 1;
                    if store.epoch() == epoch && !is_unseen {
                        resumed.push(kind.clone());
                    }
                }
            },
        }));
        if tried.is_err() {
            panicked.push(kind);
        }
        Files::remove(&damaged);
    }
    println!(
        "{damages} damaged files, seed {seed}: {refused} refused at the start, {failed} detected while reading, {read} \
         without effect, {fewer} opened with fewer messages and another epoch, {} panics",
        panicked.len()
    );
    assert_eq!(panicked, Vec::<String>::new());
    assert_eq!(resumed, Vec::<String>::new());
}
