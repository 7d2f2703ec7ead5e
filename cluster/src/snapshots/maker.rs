//! Making snapshots: what one node does for all, so that the stream does not grow for ever, a new node does not read it from
//! the beginning, and what was removed is gone from it after a while.
//!
//! A snapshot is made when the newest one is an interval old, when the stream has grown by a quarter of what it may hold, or
//! when a node asks for one. With each, what the snapshot before it has is purged from the stream, and all snapshots but
//! the newest two are deleted. So a text is gone when two snapshots have been made after its removal, and a snapshot that
//! turns out to be damaged is made up for by the one before and the stream.
//!
//! How old the newest snapshot is, each node knows from having seen it come. No clock of a server is trusted.

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
    stream::{LogStream, StreamState},
    trouble::Trouble,
};

/// The interval between two snapshots, unless the operator says otherwise.
pub const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The number of looks at the snapshots within an interval.
const LOOKS: u32 = 10;
/// The longest time between two looks.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// The shortest time between two snapshots that are made because a node asks.
const ASKED_INTERVAL: Duration = Duration::from_secs(30);
/// The part of what the stream may hold by which it grows before a snapshot is made at once.
const GROWTH: u64 = 4;
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
}

/// What is known of snapshots and of making them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The newest snapshot of the log. `None` if there is none, or none has been seen.
    pub newest: Option<About>,
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
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("the database could not be written to a file: {0}")]
    Export(#[from] ExportError),
    #[error("the snapshot could not be made: {0}")]
    Broken(io::Error),
}

impl SnapshotMaker {
    /// Creates it. Nothing is made before [`SnapshotMaker::run`].
    pub fn new(parts: MakerParts) -> Self {
        Self { parts, made: watch::Sender::default() }
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
        let mut told = None;
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
                    Some(_) = wanted.next() => if schedule.ask(Instant::now()) { break },
                    Ok(()) = duty.changed() => break,
                }
            }
            let done = self.look(&mut schedule).await;
            match done {
                Ok(()) => told = None,
                // There will be another look when there is a connection, and the reader tells what is wrong with it.
                Err(NotMade::Trouble(Trouble::NotConnected { .. })) => {}
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
        let MakerParts { stream, duty, .. } = &self.parts;
        let is_mine = || *duty.borrow();
        let state = stream.look().await?;
        let state = state.ok_or_else(|| Trouble::Deleted { stream: stream.name().to_owned() })?;
        if state.epoch.is_some_and(|epoch| epoch != self.parts.store.epoch()) {
            // The reader is about to go on with that log.
            return Ok(());
        }
        let mut listed = self.list().await?;
        schedule.saw(listed.own.first().map(Snapshot::name), state.bytes, Instant::now());
        if !is_mine() {
            return Ok(());
        }
        let is_due = schedule.is_due(state.max_bytes, Instant::now());
        // What a node asks for may replace one that is damaged.
        if is_due && (schedule.is_asked || self.has_more(&state, listed.own.first())?) {
            if !self.make().await? {
                return Ok(());
            }
            schedule.made(Instant::now());
            listed = self.list().await?;
            schedule.saw(listed.own.first().map(Snapshot::name), state.bytes, Instant::now());
        }
        // Not if another node has the duty meanwhile, and also if nothing was made: it may not have worked before.
        if is_mine() {
            self.purge(&listed).await?;
            self.delete_orphans(schedule).await?;
        }
        Ok(())
    }

    /// Returns the snapshots of the log, the newest first, and those of the log that it goes on from. Those of any other log,
    /// that was in the stream before, are left alone: they may be all that is left of it.
    async fn list(&self) -> Result<Listed, NotMade> {
        let epoch = self.parts.store.epoch();
        let replica = self.parts.store.replica().map_err(ExportError::Store)?;
        let before = replica.and_then(|replica| replica.follows).map(|follows| follows.epoch);
        let mut listed = self.parts.snapshots.list().await?;
        let of_predecessor = listed.extract_if(.., |snapshot| Some(snapshot.about.epoch) == before).collect();
        listed.retain(|snapshot| snapshot.about.epoch == epoch);
        let newest = listed.first().map(|snapshot| snapshot.about);
        self.made.send_if_modified(|made| std::mem::replace(&mut made.newest, newest) != newest);
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

    /// Deletes what uploads left that were broken off: it has what users may have removed.
    async fn delete_orphans(&self, schedule: &mut Schedule) -> Result<(), NotMade> {
        let now = Instant::now();
        if now < schedule.orphans_at {
            return Ok(());
        }
        schedule.orphans_at = now + self.parts.interval;
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
    Ok(Some(About {
        format: export::FORMAT,
        epoch: log.epoch,
        place: replica.place,
        seq: log.seq,
        rules: replica.settings.rules.0,
        follows: replica.follows,
    }))
}

/// When a snapshot is due. Pure: it is told what is seen, and the time.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    /// The name of the newest snapshot.
    newest: Option<String>,
    /// When the newest was seen first, or the first look.
    since: Instant,
    /// The smallest size of the stream since then, in bytes. `None` before the first look.
    least_bytes: Option<u64>,
    /// The growth of the stream since then, in bytes.
    growth: u64,
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
            is_asked: false,
            made_at: None,
            orphans_at: now,
            orphans: BTreeMap::new(),
        }
    }

    /// Takes note of the newest snapshot, and of the size of the stream.
    fn saw(&mut self, newest: Option<&str>, bytes: u64, now: Instant) {
        if self.newest.as_deref() != newest {
            self.newest = newest.map(str::to_owned);
            self.since = now;
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
        let has_grown = max_bytes.is_some_and(|max| self.growth >= max / GROWTH);
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
        schedule.saw(Some("1"), 0, begun);
        let later = begun + EVERY - Duration::from_secs(1);
        assert!(!schedule.is_due(MAX, later));
        assert!(schedule.is_due(MAX, begun + EVERY));
        schedule.saw(Some("1"), 0, later);
        assert!(schedule.is_due(MAX, begun + EVERY), "it was seen before");
        schedule.saw(Some("2"), 0, later);
        assert!(!schedule.is_due(MAX, begun + EVERY), "another node has made one");
        assert!(schedule.is_due(MAX, later + EVERY));
    }

    #[test]
    fn the_first_snapshot_is_due_an_interval_after_the_start() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.saw(None, 0, begun + Duration::from_secs(9));
        assert!(!schedule.is_due(MAX, begun + EVERY / 2));
        assert!(schedule.is_due(MAX, begun + EVERY));
    }

    #[test]
    fn a_snapshot_is_due_when_the_stream_has_grown_by_a_quarter_of_what_it_may_hold() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.saw(Some("1"), 3_500, begun);
        assert!(!schedule.is_due(MAX, begun), "it is not known when that came");
        schedule.saw(Some("1"), 500, begun);
        schedule.saw(Some("1"), 1_499, begun);
        assert!(!schedule.is_due(MAX, begun));
        schedule.saw(Some("1"), 1_500, begun);
        assert!(schedule.is_due(MAX, begun));
        assert!(!schedule.is_due(None, begun), "it may grow without a limit");
        schedule.saw(Some("2"), 1_500, begun);
        assert!(!schedule.is_due(MAX, begun), "there is a new one");
    }

    #[test]
    fn a_snapshot_is_due_when_a_node_asks_but_not_again_at_once() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(EVERY, begun);
        schedule.saw(Some("1"), 0, begun);
        assert!(schedule.ask(begun));
        assert!(!schedule.ask(begun), "it is known");
        assert!(schedule.is_due(MAX, begun));
        schedule.made(begun);
        schedule.saw(Some("2"), 0, begun);
        assert!(!schedule.is_due(MAX, begun));
        assert!(!schedule.ask(begun + ASKED_INTERVAL / 2));
        assert!(!schedule.is_due(MAX, begun + ASKED_INTERVAL / 2));
        assert!(schedule.ask(begun + ASKED_INTERVAL));
        assert!(schedule.is_due(MAX, begun + ASKED_INTERVAL));
    }
}
