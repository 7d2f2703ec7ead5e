//! Making snapshots: what one node does for all, so that the stream does not grow for ever, a new node does not read it from
//! the beginning, and what was removed is gone from it after a while.
//!
//! A snapshot is made when the newest one is an interval old, when the stream has grown by a quarter of what it may hold, when
//! it is half full, or when a node asks for one. With each, what the snapshot before it has is purged from the stream, and all
//! snapshots but the newest two are deleted. So a text is gone when two snapshots have been made after its removal, and a snapshot that
//! turns out to be damaged is made up for by the one before and the stream.
//!
//! How old the newest snapshot is, is told by the log: it has a time at each place. No clock of a server is trusted.
//!
//! A node that cannot make one, because its disk is full, leaves that to another for a while.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::Timestamp;
use engine::storage::{
    Store,
    export::{self, ExportError},
};
use futures_util::StreamExt;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{About, FILE, Snapshot, Snapshots, TransferError};
use crate::{
    stream::{LogStream, ROOM_WANTED, StreamState},
    trouble::Trouble,
};

/// The interval between two snapshots, unless the operator says otherwise.
pub const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The number of looks at the snapshots within an interval.
const LOOKS: u32 = 10;
/// The longest time between two looks.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// The shortest time between two looks because a node asks.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);
/// The shortest time between two snapshots that are made because a node asks.
const ASKED_INTERVAL: Duration = Duration::from_secs(30);
/// The part of what the stream may hold by which it grows before a snapshot is made at once.
const GROWTH: u64 = 4;
/// The part of what the stream may hold from which on a snapshot is made at once, so that room is made.
const FULL: u64 = 2;
/// The number of times that this node cannot make a snapshot, one after the other, before it leaves that to another.
const FAILURES: u32 = 3;
/// How long it does.
const RESIGNED_FOR: Duration = Duration::from_secs(120);
/// How long the snapshots of another log are kept, by the time of this one: they may be all that is left of it.
const OTHER_LOGS_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The shortest time after which what belongs to no snapshot is taken to be left by an upload that was broken off.
const ORPHANED_AFTER: Duration = Duration::from_secs(60);
/// The maximum number of broken uploads that are remembered.
const MAX_ORPHANS: usize = 1_024;
/// The number of snapshots that are kept.
const KEPT: usize = 2;
/// The wait before another attempt to subscribe. Subscribing fails only if the client has ended.
const RETRY: Duration = Duration::from_secs(1);

/// What a [`SnapshotMaker`] is made of.
pub struct MakerParts {
    /// The stream.
    pub stream: LogStream,
    /// The snapshots.
    pub snapshots: Snapshots,
    /// The view of the log.
    pub store: Arc<Store>,
    /// Whether it is this node that makes them.
    pub duty: watch::Receiver<bool>,
    /// The folder in which they are made, which must have room for one.
    pub folder: PathBuf,
    /// The interval between two: [`INTERVAL`] by default.
    pub interval: Duration,
}

/// Makes snapshots, if that is the duty of this node.
pub struct SnapshotMaker {
    parts: MakerParts,
    made: watch::Sender<Made>,
    resigned: watch::Sender<bool>,
}

/// What is known of snapshots and of making them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The newest snapshot of the log. `None` if there is none, or none has been seen.
    pub newest: Option<About>,
    /// The size of the newest snapshot in bytes, or 0.
    pub bytes: u64,
    /// The number of snapshots that this node has made.
    pub made: u64,
    /// The number of times that this node could not make one, or not delete what is old.
    pub failed: u64,
}

/// The snapshots that there are.
struct Listed {
    /// Those of the log, the newest first.
    own: Vec<Snapshot>,
    /// Those of the log that it goes on from.
    of_predecessor: Vec<Snapshot>,
}

/// Why a snapshot was not made, or what is old was not deleted.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// The reader has the same trouble with the stream, and tells it.
    #[error(transparent)]
    Stream(Trouble),
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("the database could not be written to a file: {0}")]
    Export(#[from] ExportError),
    #[error("the snapshot could not be made: {0}")]
    Broken(io::Error),
}

impl NotMade {
    /// Returns whether it is the fault of this node, so that another one may be able to.
    fn is_own(&self) -> bool {
        match self {
            Self::Stream(_) | Self::Trouble(_) => false,
            Self::Transfer(error) => matches!(error, TransferError::File { .. }),
            Self::Export(_) | Self::Broken(_) => true,
        }
    }
}

impl SnapshotMaker {
    /// Creates it. Nothing is made before [`SnapshotMaker::run`].
    pub fn new(parts: MakerParts) -> Self {
        Self { parts, made: watch::Sender::default(), resigned: watch::Sender::default() }
    }

    /// Returns whether this node leaves the duty to another for now, since it cannot make snapshots.
    pub fn resigned(&self) -> watch::Receiver<bool> {
        self.resigned.subscribe()
    }

    /// Returns what is known of snapshots, now and from now on.
    pub fn made(&self) -> watch::Receiver<Made> {
        self.made.subscribe()
    }

    /// Makes a snapshot whenever one is due, and deletes what is old. Never returns. What does not work is tried again at
    /// the next look, and told in the log of this process.
    pub async fn run(&self) {
        let look = (self.parts.interval / LOOKS).min(LONGEST_LOOK);
        let mut schedule = Schedule::new(self.parts.interval, Instant::now());
        let (mut told, mut failures, mut resigned_at) = (None, 0, None);
        let connection = self.parts.stream.connection();
        let mut wanted = loop {
            match connection.client().subscribe(self.parts.snapshots.wanted().to_owned()).await {
                Ok(wanted) => break wanted,
                Err(_) => sleep(RETRY).await,
            }
        };
        let mut duty = self.parts.duty.clone();
        loop {
            let next = Instant::now() + look;
            loop {
                tokio::select! {
                    () = sleep_until(next) => break,
                    Some(asked) = wanted.next() => {
                        let now = Instant::now();
                        // Where room is wanted, what there is decides.
                        let is_full = asked.payload == ROOM_WANTED && now >= next - look + SHORTEST_LOOK;
                        if is_full || (asked.payload.is_empty() && schedule.ask(now)) {
                            break;
                        }
                    }
                    Ok(()) = duty.changed() => break,
                }
            }
            if resigned_at.is_some_and(|at: Instant| at.elapsed() >= RESIGNED_FOR) {
                resigned_at = None;
                self.resigned.send_replace(false);
            }
            let done = self.look(&mut schedule).await;
            failures = if done.as_ref().is_err_and(NotMade::is_own) { failures + 1 } else { 0 };
            if failures >= FAILURES {
                (failures, resigned_at) = (0, Some(Instant::now()));
                self.resigned.send_replace(true);
                tracing::warn!("this node leaves it to others to make snapshots for a while");
            }
            match done {
                Ok(()) => told = None,
                // There will be another look when there is a connection, and the reader tells what is wrong with it.
                Err(NotMade::Trouble(Trouble::NotConnected { .. }) | NotMade::Stream(_)) => {}
                Err(error) => {
                    self.made.send_modify(|made| made.failed += 1);
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(error, "snapshots are not made or deleted for now");
                    }
                    told = Some(error);
                }
            }
        }
    }

    /// Looks at what there is, and does what is due.
    async fn look(&self, schedule: &mut Schedule) -> Result<(), NotMade> {
        // One more than are kept, so that a stream that is full has room afterwards.
        for _ in 0..=KEPT {
            if !self.look_once(schedule).await? {
                break;
            }
        }
        Ok(())
    }

    /// Looks at what there is, and does what is due. Returns whether it made a snapshot because the stream is crowded, so that
    /// another may be of use at once.
    async fn look_once(&self, schedule: &mut Schedule) -> Result<bool, NotMade> {
        let MakerParts { stream, duty, .. } = &self.parts;
        let is_mine = || *duty.borrow();
        let state = stream.look().await.map_err(NotMade::Stream)?;
        let deleted = || NotMade::Stream(Trouble::Deleted { stream: stream.name().to_owned() });
        let state = state.ok_or_else(deleted)?;
        if state.epoch.is_some_and(|epoch| epoch != self.parts.store.epoch()) {
            // The reader is about to go on with that log.
            return Ok(false);
        }
        let mut listed = self.list().await?;
        let now = self.log_time()?;
        schedule.saw(listed.own.first(), now, state.bytes, Instant::now());
        if !is_mine() {
            return Ok(false);
        }
        let is_crowded = is_crowded(&state, listed.own.first().map(|newest| newest.about.place));
        let is_due = is_crowded || schedule.is_due(state.max_bytes, Instant::now());
        // What a node asks for may replace one that is damaged.
        if is_due && (schedule.is_asked || self.has_more(&state, listed.own.first())?) {
            if !self.make().await? {
                return Ok(false);
            }
            schedule.made(Instant::now());
            listed = self.list().await?;
            schedule.saw(listed.own.first(), now, state.bytes, Instant::now());
        }
        // Not if another node has the duty meanwhile, and also if nothing was made: it may not have worked before.
        if is_mine() {
            self.purge(&listed).await?;
            self.delete_orphans(schedule).await?;
        }
        Ok(is_crowded)
    }

    /// Returns the time of the log, as far as it was applied here.
    fn log_time(&self) -> Result<Timestamp, NotMade> {
        let replica = self.parts.store.replica().map_err(ExportError::Store)?;
        Ok(replica.map(|replica| replica.clock.last()).unwrap_or_default())
    }

    /// Returns the snapshots of the log, the newest first, and those of the log that it goes on from.
    async fn list(&self) -> Result<Listed, NotMade> {
        let epoch = self.parts.store.epoch();
        let replica = self.parts.store.replica().map_err(ExportError::Store)?;
        let before = replica.and_then(|replica| replica.follows).map(|follows| follows.epoch);
        let mut listed = self.parts.snapshots.list().await?;
        let of_predecessor = listed.extract_if(.., |snapshot| Some(snapshot.about.epoch) == before).collect();
        listed.retain(|snapshot| snapshot.about.epoch == epoch);
        let newest = listed.first().map(|snapshot| snapshot.about);
        self.made.send_if_modified(|made| {
            if made.newest == newest {
                return false;
            }
            made.newest = newest;
            made.bytes = listed.first().map_or(0, |snapshot| snapshot.bytes);
            true
        });
        Ok(Listed { own: listed, of_predecessor })
    }

    /// Returns whether a snapshot would be of use: there is something after the newest one, or something in the stream that
    /// is in it, and goes when there is a second one.
    fn has_more(&self, state: &StreamState, newest: Option<&Snapshot>) -> Result<bool, NotMade> {
        let replica = self.parts.store.replica().map_err(ExportError::Store)?;
        let Some(replica) = replica.filter(|replica| replica.place >= state.begins) else { return Ok(false) };
        Ok(newest.is_none_or(|newest| {
            let of = newest.about.place;
            replica.place > of || (replica.place == of && state.first <= of)
        }))
    }

    /// Makes a snapshot. Returns whether there is one now: there is nothing to make one of if the database is not a view of
    /// the log yet.
    async fn make(&self) -> Result<bool, NotMade> {
        let MakerParts { store, snapshots, folder, .. } = &self.parts;
        let (begun, file) = (Instant::now(), folder.join(format!("{FILE}made")));
        let (from, to) = (Arc::clone(store), file.clone());
        let written = spawn_blocking(move || write(&from, &to)).await;
        let done = match written.map_err(|error| NotMade::Broken(io::Error::other(error))) {
            Ok(Ok(Some(about))) => snapshots.upload(&file, about).await.map(Some).map_err(NotMade::from),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error),
        };
        // It has what users may remove later. The next one would replace it.
        let _ = tokio::fs::remove_file(&file).await;
        let Some(snapshot) = done? else { return Ok(false) };
        self.made.send_modify(|made| made.made += 1);
        let (place, bytes) = (snapshot.about.place, snapshot.bytes);
        tracing::info!(place, bytes, millis = begun.elapsed().as_millis(), "a snapshot was made");
        Ok(true)
    }

    /// Deletes what nobody needs any more: what the snapshot before the newest has is purged from the stream, and those
    /// before it are deleted, with those of the log that this one goes on from.
    async fn purge(&self, Listed { own, of_predecessor }: &Listed) -> Result<(), NotMade> {
        let Some(before) = own.get(KEPT - 1) else { return Ok(()) };
        let MakerParts { stream, snapshots, .. } = &self.parts;
        let next = before.about.place + 1;
        if stream.look().await?.is_some_and(|state| state.first < next && state.last >= before.about.place) {
            stream.purge_before(next).await?;
        }
        for old in own.iter().skip(KEPT).chain(of_predecessor) {
            snapshots.delete(old).await?;
        }
        Ok(())
    }

    /// Deletes the snapshots of other logs, which were in the stream before or were not founded, after a week.
    async fn delete_other_logs(&self) -> Result<(), NotMade> {
        let MakerParts { store, snapshots, .. } = &self.parts;
        let (epoch, now) = (store.epoch(), self.log_time()?);
        for snapshot in snapshots.list().await? {
            if snapshot.about.epoch != epoch && since(snapshot.about.at, now) >= OTHER_LOGS_KEPT_FOR {
                snapshots.delete(&snapshot).await?;
            }
        }
        Ok(())
    }

    /// Deletes what uploads left that were broken off: it has what users may have removed.
    async fn delete_orphans(&self, schedule: &mut Schedule) -> Result<(), NotMade> {
        let now = Instant::now();
        if now < schedule.orphans_at {
            return Ok(());
        }
        schedule.orphans_at = now + self.parts.interval;
        self.delete_other_logs().await?;
        let orphans = self.parts.snapshots.orphans().await?;
        schedule.orphans.retain(|id, _| orphans.contains(id));
        for id in orphans {
            match schedule.orphans.get(&id) {
                Some(since) if now.duration_since(*since) >= ORPHANED_AFTER.max(self.parts.interval) => {
                    self.parts.snapshots.delete_orphan(&id).await?;
                }
                Some(_) => {}
                None if schedule.orphans.len() < MAX_ORPHANS => drop(schedule.orphans.insert(id, now)),
                None => {}
            }
        }
        Ok(())
    }
}

/// Writes all that is in a database to a file, and checks that it can be read back: others will have nothing else. `None`
/// if the database is not a view of a log.
fn write(store: &Store, path: &Path) -> Result<Option<About>, ExportError> {
    let view = store.read(Timestamp::default())?;
    let (Some(replica), Some(log)) = (view.replica()?, view.log()?) else { return Ok(None) };
    let file = File::create(path).map_err(ExportError::Io)?;
    view.export(file)?;
    drop(view);
    export::check(path)?;
    Ok(Some(About::written(&log, &replica)))
}

/// Returns whether a stream is half full, and has messages that are purged with the next snapshot: because there is none yet, or
/// because they are in the newest one, up to this place.
fn is_crowded(state: &StreamState, newest: Option<u64>) -> bool {
    let is_half_full = state.max_bytes.is_some_and(|max| state.bytes >= max / 2);
    is_half_full && newest.is_none_or(|place| state.first <= place)
}

/// Returns the time from one moment of the log to another. None is before.
fn since(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.0.saturating_sub(at.0))
}

/// When a snapshot is due. Pure: it is told what is seen, and the time.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    /// The name of the newest snapshot.
    newest: Option<String>,
    /// When the newest was made, or the first look was.
    since: Instant,
    /// The smallest size of the stream since then, in bytes. `None` before the first look.
    least_bytes: Option<u64>,
    /// The growth of the stream since then, in bytes.
    growth: u64,
    /// The size of the stream, in bytes.
    bytes: u64,
    /// Whether a node has asked for one since the newest was seen.
    is_asked: bool,
    /// When this node made one.
    made_at: Option<Instant>,
    /// When to look for broken uploads.
    orphans_at: Instant,
    /// Broken uploads, and when each was seen first.
    orphans: BTreeMap<String, Instant>,
}

impl Schedule {
    fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            newest: None,
            since: now,
            least_bytes: None,
            growth: 0,
            bytes: 0,
            is_asked: false,
            made_at: None,
            orphans_at: now,
            orphans: BTreeMap::new(),
        }
    }

    /// Takes note of the newest snapshot, at a time of the log, and of the size of the stream.
    fn saw(&mut self, newest: Option<&Snapshot>, log_time: Timestamp, bytes: u64, now: Instant) {
        let age = newest.map(|newest| since(newest.about.at, log_time));
        self.note(newest.map(Snapshot::name), age.unwrap_or_default(), bytes, now);
    }

    fn note(&mut self, newest: Option<&str>, age: Duration, bytes: u64, now: Instant) {
        self.bytes = bytes;
        if self.newest.as_deref() != newest {
            self.newest = newest.map(str::to_owned);
            self.since = now.checked_sub(age).unwrap_or(now);
            self.least_bytes = None;
            self.is_asked = false;
        }
        let least = self.least_bytes.map_or(bytes, |least| least.min(bytes));
        self.least_bytes = Some(least);
        self.growth = bytes - least;
    }

    /// Takes note that a node asks for a snapshot. Returns whether to look at once.
    fn ask(&mut self, now: Instant) -> bool {
        let pause = ASKED_INTERVAL.min(self.interval);
        let is_soon = self.made_at.is_some_and(|at| now.duration_since(at) < pause);
        let is_new = !is_soon && !self.is_asked;
        self.is_asked |= is_new;
        is_new
    }

    /// Takes note that this node has made one.
    fn made(&mut self, now: Instant) {
        self.made_at = Some(now);
    }

    /// Returns whether a snapshot is due, in a stream that may hold so many bytes.
    fn is_due(&self, max_bytes: Option<u64>, now: Instant) -> bool {
        let has_grown = max_bytes.is_some_and(|max| self.growth >= max / GROWTH || self.bytes >= max / FULL);
        now.duration_since(self.since) >= self.interval || has_grown || self.is_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(900);
    const MAX: Option<u64> = Some(4_000);

    #[test]
    fn a_snapshot_is_due_when_the_newest_is_an_interval_old() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.note(Some("1"), Duration::ZERO, 0, begun);
        let later = begun + EVERY - Duration::from_secs(1);
        assert!(!schedule.is_due(MAX, later));
        assert!(schedule.is_due(MAX, begun + EVERY));
        schedule.note(Some("1"), Duration::ZERO, 0, later);
        assert!(schedule.is_due(MAX, begun + EVERY), "it was seen before");
        schedule.note(Some("2"), Duration::ZERO, 0, later);
        assert!(!schedule.is_due(MAX, begun + EVERY), "another node has made one");
        assert!(schedule.is_due(MAX, later + EVERY));
    }

    #[test]
    fn the_first_snapshot_is_due_an_interval_after_the_start() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.note(None, Duration::ZERO, 0, begun + Duration::from_secs(9));
        assert!(!schedule.is_due(MAX, begun + EVERY / 2));
        assert!(schedule.is_due(MAX, begun + EVERY));
    }

    #[test]
    fn a_snapshot_is_due_when_the_stream_has_grown_by_a_quarter_of_what_it_may_hold() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.note(Some("1"), Duration::ZERO, 1_900, begun);
        assert!(!schedule.is_due(MAX, begun), "it is not known when that came");
        schedule.note(Some("1"), Duration::ZERO, 500, begun);
        schedule.note(Some("1"), Duration::ZERO, 1_499, begun);
        assert!(!schedule.is_due(MAX, begun));
        schedule.note(Some("1"), Duration::ZERO, 1_500, begun);
        assert!(schedule.is_due(MAX, begun));
        assert!(!schedule.is_due(None, begun), "it may grow without a limit");
        schedule.note(Some("2"), Duration::ZERO, 1_500, begun);
        assert!(!schedule.is_due(MAX, begun), "there is a new one");
    }

    #[test]
    fn a_stream_is_crowded_if_it_is_half_full_and_another_snapshot_makes_room() {
        let state =
            |bytes, first| StreamState { epoch: None, begins: 1, first, last: 90, bytes, max_bytes: MAX };
        assert!(!is_crowded(&state(1_999, 10), None));
        assert!(is_crowded(&state(2_000, 10), None));
        assert!(is_crowded(&state(4_000, 10), Some(50)));
        assert!(
            !is_crowded(&state(4_000, 51), Some(50)),
            "the newest snapshot has nothing that is in the stream"
        );
        assert!(!is_crowded(&StreamState { max_bytes: None, ..state(4_000, 10) }, None));
    }

    #[test]
    fn a_snapshot_is_due_while_the_stream_has_half_of_what_it_may_hold() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.note(Some("1"), Duration::ZERO, 2_000, begun);
        assert!(schedule.is_due(MAX, begun));
        schedule.note(Some("2"), Duration::ZERO, 2_000, begun);
        assert!(schedule.is_due(MAX, begun), "the second makes room");
        schedule.note(Some("3"), Duration::ZERO, 1_999, begun);
        assert!(!schedule.is_due(MAX, begun));
        assert!(!schedule.is_due(None, begun), "it may grow without a limit");
    }

    #[test]
    fn the_age_of_a_snapshot_counts_though_this_node_has_just_started() {
        let begun = Instant::now() + EVERY;
        let mut schedule = Schedule::new(EVERY, begun);
        let left = Duration::from_secs(1);
        schedule.note(Some("1"), EVERY - left, 0, begun);
        assert!(!schedule.is_due(MAX, begun));
        assert!(schedule.is_due(MAX, begun + left));
    }

    #[test]
    fn a_snapshot_is_due_when_a_node_asks_but_not_again_at_once() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.note(Some("1"), Duration::ZERO, 0, begun);
        assert!(schedule.ask(begun));
        assert!(!schedule.ask(begun), "it is known");
        assert!(schedule.is_due(MAX, begun));
        schedule.made(begun);
        schedule.note(Some("2"), Duration::ZERO, 0, begun);
        assert!(!schedule.is_due(MAX, begun));
        assert!(!schedule.ask(begun + ASKED_INTERVAL / 2));
        assert!(!schedule.is_due(MAX, begun + ASKED_INTERVAL / 2));
        assert!(schedule.ask(begun + ASKED_INTERVAL));
        assert!(schedule.is_due(MAX, begun + ASKED_INTERVAL));
    }
}
