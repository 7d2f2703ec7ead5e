//! A database that is damaged: cut short or with bits flipped. It is refused at the start with a sentence, or it opens and
//! what is read of it is an answer or an error. Nothing panics and nothing is made up.
//!
//! `QCHAT_DAMAGES=20000 cargo test --release -p server --test stories damage -- --nocapture` tries more; `QCHAT_SEED` says
//! where.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use domain::{
    Body, Change, ChatId, Event, Lifetimes, Message, Nickname, Seq, Timestamp, Title, User, UserId,
    Visibility, What, id::ID_BYTES,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use server::store::{Store, StoreError};

use crate::support::{client_id, history::number};

const DAMAGES: u64 = 300;
const CHATS: u8 = 4;
const MESSAGES: u64 = 200;
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);

fn chat(number: u8) -> ChatId {
    ChatId::from_bytes([number; ID_BYTES])
}

fn event(chat: ChatId, seq: u64, prev: u64, what: What) -> Change {
    Change::Chat(Event { chat, seq: Seq(seq), prev: Seq(prev), at: Timestamp(seq), what })
}

fn message(number: u64) -> What {
    let body = Body::parse(&format!("message {number}")).unwrap();
    What::Posted(Message { author: ANA, nickname: Nickname::friendly(1), client_id: client_id(number), body })
}

/// A database with some chats and something said in each.
fn fill(store: &Store) {
    let mut seq = 0;
    let mut newest = [0; CHATS as usize];
    for number in 0..CHATS {
        seq += 1;
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Tea").unwrap());
        let what = What::Started { owner: ANA, nickname, title, visibility: Visibility::Public, guest: None };
        let user = Change::User { user: User::new(ANA), at: Timestamp(seq) };
        write(store, &[user, event(chat(number), seq, 0, what)]).unwrap();
        newest[usize::from(number)] = seq;
    }
    for number in 0..MESSAGES {
        seq += 1;
        let place = (number % u64::from(CHATS)) as u8;
        write(store, &[event(chat(place), seq, newest[usize::from(place)], message(number))]).unwrap();
        newest[usize::from(place)] = seq;
    }
}

fn write(store: &Store, changes: &[Change]) -> Result<(), StoreError> {
    store.write(|batch| changes.iter().try_for_each(|change| batch.apply(change)))
}

/// Reads all there is and writes something. Gives how many of the messages are there.
fn use_it(store: &Store) -> Result<u64, StoreError> {
    let view = store.read(Timestamp(1))?;
    view.log()?;
    view.sweepings()?;
    let mut there = 0;
    for kept in view.chats()? {
        for event in view.events_after(kept.value.id, Seq::ZERO, 10_000)? {
            if let What::Posted(said) = &event.what {
                assert!(said.body.as_str().starts_with("message "), "something is made up: {said:?}");
                there += 1;
            }
        }
    }
    view.user(ANA)?;
    write(store, &[event(chat(0), 1_000_000, 999, message(MESSAGES))])?;
    Ok(there)
}

#[test]
fn a_damaged_database_is_refused_or_read_as_far_as_it_goes() {
    let (damages, seed) = (number("QCHAT_DAMAGES", DAMAGES), number("QCHAT_SEED", rand::random()));
    println!("QCHAT_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.redb");
    {
        let store = Store::open(&path, Lifetimes::default()).unwrap();
        fill(&store);
    }
    let epoch = Store::open(&path, Lifetimes::default()).unwrap().epoch();
    // as a kill leaves it, and as a stop in order does
    let killed = fs::read(&path).unwrap();
    Store::open(&path, Lifetimes::default()).unwrap().close(&path).unwrap();
    let (closed, seal) = (fs::read(&path).unwrap(), fs::read(path.with_extension("seal")).unwrap());
    let places = |bytes: &[u8]| (0..bytes.len()).filter(|place| bytes[*place] != 0).collect::<Vec<_>>();
    let used = [places(&killed), places(&closed)];
    let (mut refused, mut failed, mut read, mut fewer, mut panicked) = (0, 0, 0, 0, Vec::new());
    let mut resumed = Vec::new();
    for number in 0..damages {
        let is_closed = number % 2 == 1;
        let mut bytes = if is_closed { closed.clone() } else { killed.clone() };
        let used = &used[usize::from(is_closed)];
        let what = if chance.random_ratio(1, 4) {
            let len = chance.random_range(0..bytes.len());
            bytes.truncate(len);
            format!("cut to {len}")
        } else {
            let flips: Vec<(usize, u8)> = (0..chance.random_range(1..9))
                .map(|_| (used[chance.random_range(0..used.len())], chance.random_range(0..8)))
                .collect();
            for (place, bit) in &flips {
                bytes[*place] ^= 1 << bit;
            }
            format!("flipped {flips:?}")
        };
        let damaged = folder.path().join(format!("damaged-{number}.redb"));
        fs::write(&damaged, bytes).unwrap();
        if is_closed {
            fs::write(damaged.with_extension("seal"), &seal).unwrap();
        }
        let tried = catch_unwind(AssertUnwindSafe(|| match Store::open(&damaged, Lifetimes::default()) {
            Err(_) => refused += 1,
            Ok(store) => match use_it(&store) {
                Err(_) => failed += 1,
                Ok(MESSAGES) => read += 1,
                // the end was lost: whoever was further must not go on as if nothing were
                Ok(_) => {
                    fewer += 1;
                    if store.epoch() == epoch {
                        resumed.push(what.clone());
                    }
                }
            },
        }));
        if tried.is_err() {
            panicked.push(what);
        }
        let _ = fs::remove_file(&damaged);
    }
    println!(
        "{damages} damages, seed {seed}: {refused} refused at the start, {failed} found while reading, {read} without \
         consequence, {fewer} with fewer messages and another epoch, {} panics",
        panicked.len()
    );
    assert_eq!(panicked, Vec::<String>::new());
    assert_eq!(resumed, Vec::<String>::new());
}
