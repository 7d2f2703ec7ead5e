//! Power cuts at random moments: what was written since the last sync is there in part, torn, or not at all. Everything
//! acknowledged is there, in order, and the database opens.
//!
//! `QCHAT_CUTS=10000 cargo test --release -p server --test stories power_cut -- --nocapture` is a longer run;
//! `QCHAT_SEED` chooses another one.

use std::{
    env, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{
    Body, Change, ChatId, Event, EventKind, Lifetimes, Message, Nickname, Seq, Timestamp, Title, UserId,
    Visibility, id::ID_BYTES,
};
use engine::storage::{Store, StoreError};
use rand::{Rng, SeedableRng, rngs::StdRng};
use redb::StorageBackend;

use crate::support::client_id;

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);
/// The number of bytes that a disk writes atomically.
const SECTOR: usize = 512;
/// The number of power cuts of one disk. Then a new one is used, so that it stays small.
const CUTS_A_DISK: u64 = 50;
/// The maximum number of operations until the power is cut: an append to the WAL takes four, a checkpoint a dozen.
const OPERATIONS: u32 = 100;
/// One transaction in this many fails although there is power.
const FAILURES: u32 = 8;
/// One transaction in this many is followed by a checkpoint.
const CHECKPOINTS: u32 = 6;

/// A file on a disk with a volatile cache.
#[derive(Debug, Default)]
struct Platters {
    /// The contents that survive for certain.
    durable: Vec<u8>,
    /// The contents as read while there is power.
    seen: Vec<u8>,
    /// The operations since the last sync, in order.
    cached: Vec<Step>,
}

/// The number of operations until the power is cut. `None` if it is not cut.
type Power = Arc<Mutex<Option<u32>>>;

#[derive(Debug)]
enum Step {
    SetLen(usize),
    Write { offset: usize, bytes: Vec<u8> },
}

#[derive(Debug, Default, Clone)]
struct Disk {
    platters: Arc<Mutex<Platters>>,
    power: Power,
    /// Whether the next sync does nothing and fails.
    fails_once: Arc<AtomicBool>,
}

/// A database and its WAL, with the same power supply.
#[derive(Debug, Default)]
struct Machine {
    database: Disk,
    wal: Disk,
}

impl Step {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write { offset, bytes: written } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
        }
    }

    /// Returns what is left of the operation if it was torn.
    fn torn(self, chance: &mut StdRng) -> Vec<Self> {
        match self {
            Self::SetLen(_) => {
                if chance.random() {
                    vec![self]
                } else {
                    vec![]
                }
            }
            Self::Write { offset, bytes } => {
                let sectors = bytes.chunks(SECTOR).enumerate();
                let kept = sectors.filter(|_| chance.random()).map(|(number, sector)| Self::Write {
                    offset: offset + number * SECTOR,
                    bytes: sector.to_vec(),
                });
                kept.collect()
            }
        }
    }
}

impl Disk {
    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.platters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation. Fails if there is no power for it.
    fn power(&self) -> io::Result<MutexGuard<'_, Platters>> {
        let mut power = self.power.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *power {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(self.platters())
    }

    fn do_it(&self, step: Step) -> io::Result<()> {
        let mut platters = self.power()?;
        step.apply(&mut platters.seen);
        platters.cached.push(step);
        Ok(())
    }

    /// Returns the disk after a power cut.
    fn after_cut(&self, chance: &mut StdRng, power: Power) -> Self {
        let mut platters = std::mem::take(&mut *self.platters());
        // All, none or parts of what was not synced.
        let steps: Vec<Step> = match chance.random_range(0..4) {
            0 => Vec::new(),
            1 => platters.cached,
            _ => platters.cached.into_iter().flat_map(|step| step.torn(chance)).collect(),
        };
        steps.iter().for_each(|step| step.apply(&mut platters.durable));
        let seen = platters.durable.clone();
        let platters = Platters { durable: platters.durable, seen, cached: Vec::new() };
        Self { platters: Arc::new(Mutex::new(platters)), power, fails_once: Arc::default() }
    }
}

impl Machine {
    /// Returns the machine after a power cut, with power for `left` operations.
    fn after_cut(&self, chance: &mut StdRng, left: u32) -> Self {
        let power = Arc::new(Mutex::new(Some(left)));
        let database = self.database.after_cut(chance, Arc::clone(&power));
        Self { database, wal: self.wal.after_cut(chance, power) }
    }

    fn is_dark(&self) -> bool {
        *self.database.power.lock().unwrap() == Some(0)
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open_on(self.database.clone(), self.wal.clone(), Lifetimes::default())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platters().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.platters();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let found = platters.seen.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.do_it(Step::SetLen(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.power()?;
        if self.fails_once.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("not now"));
        }
        let Platters { durable, cached, .. } = &mut *platters;
        cached.drain(..).for_each(|step| step.apply(durable));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.do_it(Step::Write { offset, bytes: data.to_vec() })
    }
}

fn event(seq: u64, kind: EventKind) -> Change {
    let prev = Seq(seq.saturating_sub(1));
    Change::Chat(Event { chat: CHAT, seq: Seq(seq), prev, at: Timestamp(seq), kind })
}

fn started() -> Change {
    let nickname = Nickname::parse("Ana").unwrap();
    let title = Title::parse("Tea").unwrap();
    event(1, EventKind::Started { owner: ANA, nickname, title, visibility: Visibility::Public, guest: None })
}

fn posted(seq: u64, length: usize) -> Change {
    let body = Body::parse(&format!("{seq} {}", "x".repeat(length))).unwrap();
    let nickname = Nickname::parse("Ana").unwrap();
    event(seq, EventKind::Said(Box::new(Message::plain(ANA, nickname, client_id(seq), body))))
}

fn store_up_to(store: &Store, changes: &[Change], seq: u64) -> Result<(), StoreError> {
    store.write(Seq(seq), Timestamp(seq), |batch| changes.iter().try_for_each(|change| batch.apply(change)))
}

/// Returns the newest position in the database. Checks that there is no gap before it, and that the log ends there.
fn newest(store: &Store) -> u64 {
    let view = store.read(Timestamp(0)).unwrap();
    let mut newest = 0;
    loop {
        let events = view.events_after(CHAT, Seq(newest), usize::MAX).unwrap();
        assert!(
            events.iter().zip(newest + 1..).all(|(event, place)| event.seq == Seq(place)),
            "a hole or a repeat"
        );
        newest += events.len() as u64;
        if events.is_empty() {
            break;
        }
    }
    let chat = view.chat(CHAT).unwrap().map_or(0, |chat| chat.seq.0);
    let log = view.log().unwrap().map_or(0, |log| log.seq.0);
    assert_eq!((chat, log), (newest, newest), "a transaction is applied in part");
    newest
}

/// Writes until the power is cut. A transaction that fails before that is rolled back. Returns the newest position
/// acknowledged, and the newest one requested.
fn write_until_dark(machine: &Machine, store: &Store, from: u64, chance: &mut StdRng) -> (u64, u64) {
    let mut acknowledged = from;
    loop {
        // Transactions that fail are small, so that sometimes all of one reaches the disk.
        let (fails, mut most, mut longest) = (chance.random_ratio(1, FAILURES), 8, 3_000);
        if fails {
            (most, longest) = (1, 1);
        }
        machine.wal.fails_once.store(fails, Ordering::SeqCst);
        let through = acknowledged + chance.random_range(1..=most);
        let changes: Vec<_> =
            (acknowledged + 1..=through).map(|seq| posted(seq, chance.random_range(0..longest))).collect();
        match store_up_to(store, &changes, through) {
            Ok(()) => acknowledged = through,
            // The power is cut at once, or later.
            Err(_) if store.rollback().is_ok() => {
                if chance.random() {
                    return (acknowledged, acknowledged);
                }
            }
            Err(_) => return (acknowledged, through),
        }
        if chance.random_ratio(1, CHECKPOINTS) && store.checkpoint().is_err() {
            return (acknowledged, acknowledged);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    // By this seed 300 failures reach every phase. A write-ahead log is torn by about one of sixty.
    let (cuts, seed) = (number("QCHAT_CUTS", 300), number("QCHAT_SEED", 2));
    let mut chance = StdRng::seed_from_u64(seed);
    let (mut disks, mut acknowledged, mut kept_more, mut dark_at_start, mut torn) = (0, 0, 0, 0, 0);
    let (mut disk, mut known, mut asked, mut epoch) = (Machine::default(), 0, 0, None);
    for cut in 0..cuts {
        if cut % CUTS_A_DISK == 0 {
            disk = Machine::default();
            let store = disk.open().unwrap();
            store_up_to(&store, &[started()], 1).unwrap();
            drop(store);
            (known, asked, disks, epoch) = (1, 1, disks + 1, None);
        }
        // Everything synced while there was power is on the disk. What follows is cut at some point.
        let left = chance.random_range(0..OPERATIONS);
        disk = disk.after_cut(&mut chance, left);
        let Ok(store) = disk.open() else {
            assert!(disk.is_dark(), "the database does not open, though the power did not fail");
            dark_at_start += 1;
            continue;
        };
        let found = newest(&store);
        assert!((known..=asked).contains(&found), "{found} found, {known} acknowledged, {asked} posted");
        kept_more += u64::from(found > known);
        torn += u64::from(epoch.is_some_and(|before| before != store.epoch()));
        epoch = Some(store.epoch());
        (known, asked) = write_until_dark(&disk, &store, found, &mut chance);
        acknowledged += known - found;
    }
    println!(
        "{cuts} power failures on {disks} disks, seed {seed}: {acknowledged} messages acknowledged, 0 lost, 0 reordered; \
         {kept_more} unacknowledged transactions survived, {torn} times the write-ahead log was torn, {dark_at_start} \
         failures while the database was opened"
    );
    assert!(
        acknowledged > cuts && kept_more > 0 && torn > 0 && dark_at_start > 0,
        "power failed in every phase"
    );
}

/// Returns a store with a chat of this many messages.
fn filled(machine: &Machine, messages: u64) -> Store {
    let store = machine.open().unwrap();
    store_up_to(&store, &[started()], 1).unwrap();
    for seq in 2..=messages {
        store_up_to(&store, &[posted(seq, 100)], seq).unwrap();
    }
    store
}

#[test]
fn a_database_that_is_replaced_during_a_power_cut_is_the_old_one_or_the_new_one() {
    const OLD: u64 = 20;
    const NEW: u64 = 90;
    let (cuts, seed) = (number("QCHAT_CUTS", 300), number("QCHAT_SEED", 1));
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    let source = filled(&Machine::default(), NEW);
    source.read(Timestamp(0)).unwrap().export(std::fs::File::create(&file).unwrap()).unwrap();
    let (mut olds, mut news) = (0, 0);
    for _ in 0..cuts {
        let machine = Machine::default();
        drop(filled(&machine, OLD));
        let left = chance.random_range(20..OPERATIONS);
        let machine = machine.after_cut(&mut chance, left);
        let Ok(store) = machine.open() else { continue };
        // So that the write-ahead log has a record of the old state.
        let old = if store_up_to(&store, &[posted(OLD + 1, 1)], OLD + 1).is_ok() { OLD + 1 } else { OLD };
        let old_epoch = store.epoch();
        let is_replaced = store.replace(&file).is_ok();
        drop(store);
        let store = machine.after_cut(&mut chance, u32::MAX).open().unwrap();
        let found = newest(&store);
        if found == NEW {
            assert_eq!(store.epoch(), source.epoch());
            news += 1;
        } else {
            // A record that was not acknowledged may be there as well.
            assert!((old..=OLD + 1).contains(&found) && !is_replaced, "{found} found, {is_replaced}");
            assert_ne!(store.epoch(), source.epoch());
            olds += u32::from(store.epoch() == old_epoch);
        }
    }
    println!("{cuts} power failures, seed {seed}: {olds} times the old state, {news} times the new one");
    assert!(olds > 0 && news > 0, "power failed before and after: {olds}, {news}");
}
