//! How fast posts are decided and stored, by a single process and in a cluster, and how long a checkpoint takes, during
//! which nothing is stored:
//!
//!     cargo test --release -p engine --test write_speed -- --ignored --nocapture

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints what it measures, and says what went wrong by failing"
)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use domain::{
    Body, ChatId, ClientId, Command, Entry, Epoch, Lifetimes, LogClock, LogSettings, Proposal, Seq,
    Timestamp, UserId, Visibility, id::ID_BYTES,
};
use engine::{
    command_log::{Batch, PendingEntry, local},
    storage::{Advance, LogState, ReplicaState, Store},
    writer::commit,
};

/// The number of posts of each run.
const POSTS: u64 = 300_000;
/// The number of chats that they are in, in turn.
const CHATS: u64 = 100;
/// As of the replicated log.
const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;
/// As of the replicated log.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(10);

fn id(number: u64) -> [u8; ID_BYTES] {
    // Spread like random ids, in a fixed order.
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; ID_BYTES];
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes
}

fn proposal(number: u64) -> Proposal {
    let (chat, by) = (ChatId::from_bytes(id(number % CHATS)), UserId::from_bytes(id(number % (3 * CHATS))));
    let command = if number < CHATS {
        Command::StartChat { chat, title: None, visibility: Visibility::Public }
    } else {
        let body = Body::parse(&format!("{number} {}", "words ".repeat(33))).unwrap();
        Command::Post { chat, client_id: ClientId::from_bytes(id(number)), body, waited_millis: 0 }
    };
    Proposal::Command { by, command }
}

/// Stores all posts in batches of a size. Returns the rate of posts, and how long the checkpoints took.
fn run(name: &str, size: u64, store: &Store, advances: bool, is_due: impl Fn(&Store, Instant) -> bool) {
    let state = store.replica().unwrap();
    let (begun, mut checkpoints, mut last) = (Instant::now(), Vec::new(), Instant::now());
    let mut slowest = Duration::ZERO;
    for (place, first) in (1..).zip((0..POSTS).step_by(size as usize)) {
        let entries = (first..first + size).map(|number| PendingEntry {
            entry: Entry { seq: Seq(number + 1), at: Timestamp(number), proposal: proposal(number) },
            outcome: None,
        });
        let advance = state.filter(|_| advances).map(|state| Advance {
            after: place - 1,
            place,
            settings: state.settings,
            clock: state.clock,
            producers: Vec::new(),
        });
        let batch = Batch { entries: entries.collect(), advance };
        let writing = Instant::now();
        let stored = commit(store, &batch).unwrap();
        slowest = slowest.max(writing.elapsed());
        assert!(stored.outcomes.iter().all(Result::is_ok));
        if is_due(store, last) {
            let checkpoint = Instant::now();
            store.checkpoint().unwrap();
            checkpoints.push(checkpoint.elapsed());
            last = Instant::now();
        }
    }
    let rate = POSTS as f64 / begun.elapsed().as_secs_f64();
    let longest = checkpoints.iter().max().copied().unwrap_or_default();
    let mean = checkpoints.iter().sum::<Duration>() / u32::try_from(checkpoints.len().max(1)).unwrap();
    println!(
        "{name}, {size} posts a batch: {rate:.0} posts/s, slowest batch {slowest:.1?}, {} checkpoints, mean {mean:.1?}, longest {longest:.1?}",
        checkpoints.len(),
    );
}

fn local(path: &Path, size: u64) {
    let store = Store::open(path, Lifetimes::default()).unwrap();
    run("a single process", size, &store, false, |store, last| {
        store.wal_bytes() >= local::CHECKPOINT_BYTES || last.elapsed() >= Duration::from_secs(5)
    });
}

fn replica(path: &Path, size: u64) {
    let store = Store::open_replica(path).unwrap();
    let log = LogState { epoch: Epoch::from_bytes([1; ID_BYTES]), seq: Seq::ZERO, at: Timestamp(0) };
    let state = ReplicaState::beginning(0, LogSettings::default(), LogClock::default());
    store.begin_replica(Some(path), log, &state).unwrap();
    run("a node of a cluster", size, &store, true, |store, last| {
        store.unsaved_bytes() >= CHECKPOINT_BYTES || last.elapsed() >= CHECKPOINT_AFTER
    });
}

#[test]
#[ignore = "measures"]
fn how_fast_posts_are_stored() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for size in [50, 250, 1_000] {
        local(&folder.path().join(format!("local-{size}.redb")), size);
        replica(&folder.path().join(format!("replica-{size}.redb")), size);
    }
}
