//! The command log of a cluster: a stream that every node reads in the same order, and whose messages are durable before
//! they are read. What this node's callers propose is put into it by the [`Batcher`]; what any node has put into it is
//! taken from it by the [`ReplicatedLog`], on each node alike.
//!
//! A message takes effect once, however often it is in the stream: it has the incarnation of its sender and a number, and
//! what was applied of each sender is part of the state. So a sender repeats a message until it is sure that it is there.
//!
//! A node that cannot tell what to do with a message stops before it, and does not guess: it would differ from the others.
//!
//! It stops in this order: the [`ReplicatedSequencer`] is dropped; [`Batcher::run`] publishes what waits, and returns when
//! that has been read back; then whatever reads the stream drops its end of [`Opening::deliveries`], and the log ends.

use std::{
    collections::HashMap,
    fs,
    sync::Arc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::{Entry, Epoch, LogClock, LogSettings, Problem, Proposal, Rules, Seq, Timestamp};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{
    Batch, Commit, Guarded, Log, Next, NotStored, Outcome, PendingEntry, Replacement, Sequencer, Written,
    batcher::{Batcher, InFlight},
    envelope::{Content, Decoded, Envelope, Founding, NotDecodable, Skipped, decode},
    parking::Parked,
    queue::{ProposalQueue, queue},
    status::{LogStatus, Part, StatusSender},
    transport::{Delivery, Incarnation, StreamEnd, Transport},
};
use crate::{
    clock::ReplicaClock,
    metrics::ReplicationMetrics,
    storage::{Advance, MARK_PLACES, Producer, Store, StoreError, export::ExportError},
};

/// The number of proposals after which a transaction is not made larger.
const BATCH_PROPOSALS: usize = 1_024;
/// The size in bytes of the messages after which a transaction is not made larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The maximum number of senders that are known: the one that has been silent for the longest is forgotten.
const PRODUCERS: usize = 1_024;
/// The maximum size of the changes since a checkpoint, in bytes, at which the next one is made.
const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;
/// The maximum time from the first change after a checkpoint to the next checkpoint. After a kill as much is read from the
/// stream again.
pub const CHECKPOINT_AFTER: Duration = Duration::from_secs(10);
/// How often it is tried to write to the database. redb accepts nothing more after some errors, so the process has to be
/// started again then.
const TRIES: u32 = 3;
/// The time between two lines of the log about messages that are skipped.
const TELLING: Duration = Duration::from_secs(60);
/// The wait before the second try. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The time within which a node has to reach what is the newest place of the stream at some moment, or else it counts as not
/// ready.
const LAG: Duration = Duration::from_secs(5);

/// What a replicated log is opened with.
pub struct Opening<T> {
    /// The incarnation of this process.
    pub me: Incarnation,
    /// The number of messages that this incarnation has published already: 1 if it founded the log, else 0.
    pub published: u64,
    /// What publishes messages.
    pub transport: T,
    /// What was read from the stream, beginning after the place that the store has reached. The log ends when this does.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// How far the stream goes now, and from now on.
    pub end: StreamEnd,
    /// The oldest and the newest rules by which this process can decide.
    pub rules: (Rules, Rules),
    /// The clock of this node, which the log keeps at the time of the stream.
    pub clock: Arc<ReplicaClock>,
    /// The maximum time from the first change after a checkpoint to the next checkpoint: [`CHECKPOINT_AFTER`], except in
    /// tests.
    pub checkpoint_after: Duration,
    /// Where the log tells how it is doing.
    pub status: StatusSender,
    /// Where the log counts and measures.
    pub metrics: ReplicationMetrics,
}

/// Opens a replicated log, which goes on where the store ends.
///
/// # Errors
/// [`StoreError::NotAReplica`] if the store is not the view of a replicated log, or any error of reading it.
pub fn open<T: Transport>(
    store: &Store,
    opening: Opening<T>,
) -> Result<(ReplicatedSequencer, ReplicatedLog, Batcher<T>), StoreError> {
    let Opening { me, published, transport, deliveries, end, rules, clock, .. } = opening;
    let Opening { checkpoint_after, status, metrics, .. } = opening;
    let applied = Applied::of(store)?;
    let in_flight = Arc::new(InFlight::new(applied.epoch, published));
    let (sender, receiver) = queue();
    let sequencer = ReplicatedSequencer { queue: sender, in_flight: Arc::clone(&in_flight) };
    let batcher = Batcher::new(
        receiver,
        transport,
        Arc::clone(&in_flight),
        (me, published),
        Arc::clone(&clock),
        (status.clone(), metrics.clone()),
    );
    let progress = Progress::new(applied.place, &end, clock.uptime());
    let mut log = ReplicatedLog {
        deliveries: Parked::new(deliveries),
        pending: None,
        me,
        rules,
        clock,
        applied,
        parts: Vec::new(),
        in_flight,
        status,
        metrics,
        checkpoint_after,
        checkpoint: None,
        stopped: None,
        progress,
        was_live: false,
        end,
        skipped: Skipping::default(),
    };
    log.begin();
    Ok((sequencer, log, batcher))
}

/// The end of a replicated log that takes proposals.
pub struct ReplicatedSequencer {
    queue: ProposalQueue,
    in_flight: Arc<InFlight>,
}

impl ReplicatedSequencer {
    /// Returns what proposes rules. It does not keep the log open.
    pub fn rules(&self) -> RulesProposer {
        RulesProposer(Arc::clone(&self.in_flight))
    }
}

/// Proposes rules.
#[derive(Clone)]
pub struct RulesProposer(Arc<InFlight>);

impl RulesProposer {
    /// Proposes that rules hold from some place of the log on. If they hold already, or newer ones do, nothing changes. A
    /// node that does not know them stops there.
    pub fn propose(&self, rules: Rules) {
        self.0.propose_rules(rules);
    }
}

impl Sequencer for ReplicatedSequencer {
    fn epoch(&self) -> Epoch {
        self.in_flight.epoch()
    }

    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>> {
        Box::pin(self.queue.propose(proposal))
    }
}

/// The end of a replicated log that the writer reads.
pub struct ReplicatedLog {
    deliveries: Parked<Delivery>,
    /// What was taken from the channel and could not be part of the batch.
    pending: Option<Delivery>,
    me: Incarnation,
    rules: (Rules, Rules),
    clock: Arc<ReplicaClock>,
    applied: Applied,
    /// The messages of the batch that was handed out.
    parts: Vec<MessagePart>,
    in_flight: Arc<InFlight>,
    status: StatusSender,
    metrics: ReplicationMetrics,
    checkpoint_after: Duration,
    /// When the next checkpoint is due at the latest. `None` if nothing has been stored since the last one.
    checkpoint: Option<Instant>,
    stopped: Option<Stopped>,
    progress: Progress,
    /// Whether this node has been at the end of the stream.
    was_live: bool,
    end: StreamEnd,
    skipped: Skipping,
}

/// The state of the log as the store will have it after what was handed out.
struct Applied {
    epoch: Epoch,
    seq: Seq,
    place: u64,
    settings: LogSettings,
    clock: LogClock,
    producers: HashMap<Incarnation, Producer>,
}

impl Applied {
    /// Reads it from the store.
    fn of(store: &Store) -> Result<Self, StoreError> {
        let state = store.replica()?.ok_or(StoreError::NotAReplica)?;
        let log = store.read(Timestamp::default())?.log()?.ok_or(StoreError::NotAReplica)?;
        Ok(Self {
            epoch: log.epoch,
            seq: log.seq,
            place: state.place,
            settings: state.settings,
            clock: state.clock,
            producers: store.producers()?.into_iter().collect(),
        })
    }

    /// Moves on to the next place. `producers` is what has become known there.
    fn advance(&mut self, producers: Vec<(Incarnation, Option<Producer>)>) -> Advance {
        let after = self.place;
        self.place += 1;
        Advance { after, place: self.place, settings: self.settings, clock: self.clock, producers }
    }

    /// Notes the newest message of a sender. Returns what has become known.
    fn note(&mut self, from: Incarnation, producer: Producer) -> Vec<(Incarnation, Option<Producer>)> {
        let mut noted = vec![(from, Some(producer))];
        self.producers.insert(from, producer);
        if self.producers.len() > PRODUCERS {
            // The order is the same on all nodes.
            let others = self.producers.iter().filter(|(id, _)| **id != from);
            if let Some(oldest) = others.min_by_key(|(id, known)| (known.at, **id)).map(|(id, _)| *id) {
                self.producers.remove(&oldest);
                noted.push((oldest, None));
            }
        }
        noted
    }
}

/// One message of a batch.
struct MessagePart {
    /// The number of its entries.
    entries: usize,
    advance: Advance,
}

/// Why nothing more is applied.
enum Stopped {
    /// There is a message that cannot be applied. The database stays as it is.
    Halted,
    /// The database could not be written. The writer has not been told yet.
    Failing(NotStored),
    /// The writer has been told.
    Failed,
}

/// Whether this node keeps up with the stream. It does not have to be at the end at any moment, and under load it seldom is:
/// it has to reach again and again, in time, what was the end at some moment.
struct Progress {
    /// The place that is to be reached.
    goal: u64,
    /// The uptime at which that was the newest place.
    since: Duration,
    /// The newest place that was owed.
    owed: u64,
    is_behind: bool,
}

impl Progress {
    fn new(place: u64, end: &StreamEnd, now: Duration) -> Self {
        Self { goal: end.newest(), since: now, owed: end.owed(), is_behind: place < end.newest() }
    }

    /// Takes note of the place that this node has reached.
    fn advance(&mut self, place: u64, end: &StreamEnd, now: Duration) {
        if self.owed < end.owed() {
            self.owed = end.owed();
            if place < self.owed {
                (self.goal, self.since, self.is_behind) = (self.owed, now, true);
            }
        }
        let is_late = now.saturating_sub(self.since) >= LAG;
        if place >= end.newest() {
            self.is_behind = false;
        } else if place >= self.goal || is_late {
            self.is_behind = is_late;
        } else {
            return;
        }
        (self.goal, self.since) = (end.newest(), now);
    }
}

/// The messages that are skipped, of which there may be many.
#[derive(Default)]
struct Skipping {
    /// The number since the operator was told.
    untold: u64,
    told_at: Option<Instant>,
}

impl Skipping {
    /// Notes that a message was skipped. Tells it to the operator, but not more often than once a minute.
    fn note(&mut self, place: u64, reason: Skipped) {
        self.untold += 1;
        if self.told_at.is_none_or(|at| at.elapsed() >= TELLING) {
            let messages = self.untold;
            tracing::warn!(place, messages, %reason, "messages of the stream are skipped, by all nodes alike");
            *self = Self { untold: 0, told_at: Some(Instant::now()) };
        }
    }
}

/// A batch that is being put together.
#[derive(Default)]
struct Gathered {
    entries: Vec<PendingEntry>,
    parts: Vec<MessagePart>,
    bytes: usize,
    /// Whether the settings have changed, so that what follows is decided otherwise.
    ends: bool,
}

impl Gathered {
    fn is_full(&self) -> bool {
        let is_marked = self.parts.last().is_some_and(|part| part.advance.place.is_multiple_of(MARK_PLACES));
        self.ends || is_marked || self.entries.len() >= BATCH_PROPOSALS || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, entries: Vec<PendingEntry>, advance: Advance) {
        self.parts.push(MessagePart { entries: entries.len(), advance });
        self.entries.extend(entries);
    }
}

impl Log for ReplicatedLog {
    /// Takes the messages that are waiting, up to about 1,024 proposals. Each proposal gets the next sequence number; all
    /// of a message get its time.
    fn next(&mut self) -> Next {
        loop {
            let first = match self.pending.take() {
                Some(first) => first,
                None => match self.deliveries.receive(self.checkpoint) {
                    Poll::Ready(Some(first)) => first,
                    Poll::Ready(None) => return Next::End,
                    Poll::Pending => return Next::Idle,
                },
            };
            let mut gathered = Gathered::default();
            let mut delivery = Some(first);
            while let Some(taken) = delivery {
                // After a stop everything is taken and dropped, until the log is closed.
                match taken {
                    Delivery::Replace { file, .. } if self.stopped.is_some() => {
                        // It has what users may remove later. What is left is removed by the next start.
                        let _ = fs::remove_file(file);
                    }
                    _ if self.stopped.is_some() => {}
                    Delivery::Message { place, at, payload, behind } => {
                        self.take(&mut gathered, place, at, &payload);
                        self.end.saw(place.saturating_add(behind));
                    }
                    Delivery::Replace { file, place } if gathered.parts.is_empty() => {
                        self.status.set(Part::Applier, LogStatus::Loading { place });
                        return Next::Replace(Replacement { file, place });
                    }
                    replacement @ Delivery::Replace { .. } => {
                        self.pending = Some(replacement);
                        break;
                    }
                }
                if gathered.is_full() {
                    break;
                }
                delivery = self.deliveries.take();
            }
            let Gathered { entries, parts, .. } = gathered;
            if let Some(advance) = merged(&parts) {
                self.parts = parts;
                return Next::Batch(Batch { entries, advance: Some(advance) });
            }
        }
    }

    /// Entries are in the stream, so none is refused and none is left out. If a batch panics, its messages are stored one
    /// by one, and the log halts before the one that panics alone.
    fn store(&mut self, store: &Guarded<'_>, batch: Batch, commit: Commit) -> Vec<Written> {
        let parts = std::mem::take(&mut self.parts);
        let mut written = Vec::new();
        match self.stored(store, &batch, commit) {
            Ok(stored) => written.push(Written { entries: batch.entries, stored: Ok(stored) }),
            Err(NotStored::Panicked) => {
                tracing::warn!(messages = parts.len(), "messages of the log are tried one by one");
                let mut entries = batch.entries.into_iter();
                for MessagePart { entries: count, advance } in parts {
                    let place = advance.place;
                    let entries = entries.by_ref().take(count).collect();
                    let batch = Batch { entries, advance: Some(advance) };
                    match self.stored(store, &batch, commit) {
                        Ok(stored) => written.push(Written { entries: batch.entries, stored: Ok(stored) }),
                        Err(NotStored::Panicked) => {
                            let reason = "to decide it panics, which is a fault in Qchat".to_owned();
                            self.halt(LogStatus::Halted { place, reason });
                            break;
                        }
                        Err(error) => {
                            self.stopped = Some(Stopped::Failing(error));
                            break;
                        }
                    }
                }
            }
            // Nobody is told that the entries were not stored: they are in the stream, and will be.
            Err(error) => self.stopped = Some(Stopped::Failing(error)),
        }
        if self.stopped.is_none() {
            self.tell_time(store.store);
            self.tell_progress();
        }
        written
    }

    fn replace(&mut self, store: &Guarded<'_>, replacement: Replacement) -> Result<(), NotStored> {
        let Replacement { file, place } = replacement;
        tracing::info!(place, "the database is replaced by a snapshot of the cluster");
        self.applied = store.run(|store| {
            store.replace(&file).map_err(ExportError::into_store_error)?;
            Applied::of(store)
        })?;
        // It is only in the way, and has what users may remove later. What is left is removed by the next start.
        if let Err(error) = fs::remove_file(&file) {
            tracing::warn!(%error, "the file of the snapshot could not be removed");
        }
        if let Some(trouble) = self.trouble_with_rules(self.applied.settings.rules) {
            self.halt(trouble);
            return Ok(());
        }
        if self.applied.epoch != self.in_flight.epoch() {
            tracing::info!(place, "the log was recovered from a node, and goes on");
            self.in_flight.begin_epoch(self.applied.epoch);
            // What was after it in the stream before is gone.
            self.end.begin_anew(self.applied.place);
        }
        if let Some(known) = self.applied.producers.get(&self.me) {
            // Their outcomes are not known here.
            drop(self.in_flight.take(known.number));
        }
        self.tell_progress();
        Ok(())
    }

    /// Makes a checkpoint when it is due.
    fn maintain(&mut self, store: &Guarded<'_>) -> Result<(), NotStored> {
        if let Some(Stopped::Failing(_)) = self.stopped
            && let Some(Stopped::Failing(error)) = self.stopped.replace(Stopped::Failed)
        {
            self.in_flight.halt();
            return Err(error);
        }
        let is_due = self.checkpoint.is_some_and(|at| at <= Instant::now());
        if is_due || store.store.unsaved_bytes() >= self.checkpoint_bytes() {
            self.checkpoint = None;
            if let Err(error) = self.persistently(store, Store::checkpoint) {
                self.stopped = Some(Stopped::Failed);
                self.in_flight.halt();
                return Err(error);
            }
            if self.stopped.is_none() {
                // It may have failed before.
                self.tell_progress();
            }
        }
        Ok(())
    }
}

impl ReplicatedLog {
    /// Begins to apply messages after what is stored, unless this process cannot decide by the rules that hold there.
    fn begin(&mut self) {
        match self.trouble_with_rules(self.applied.settings.rules) {
            Some(trouble) => self.halt(trouble),
            None => self.tell_progress(),
        }
    }

    /// Adds the next message to a batch, unless it is none for this node, or was added before.
    fn take(&mut self, gathered: &mut Gathered, place: u64, at: Timestamp, payload: &Bytes) {
        let reached = self.applied.place;
        if place <= reached {
            return;
        }
        if place != reached + 1 {
            return self.halt(LogStatus::Gap { after: reached, place });
        }
        gathered.bytes += payload.len();
        match decode(self.applied.epoch, payload) {
            Ok(Decoded::Envelope(envelope)) => self.accept(gathered, at, envelope),
            Ok(Decoded::Skipped(reason)) => {
                self.skipped.note(place, reason);
                self.metrics.skipped.inc();
                gathered.add(Vec::new(), self.applied.advance(Vec::new()));
            }
            Err(NotDecodable::Newer { format }) => self.halt(LogStatus::NeedsFormat { place, format }),
            Err(error @ NotDecodable::Malformed) => {
                self.halt(LogStatus::Halted { place, reason: error.to_string() });
            }
        }
    }

    /// Adds a message that can be read to a batch.
    fn accept(&mut self, gathered: &mut Gathered, stream_time: Timestamp, envelope: Envelope) {
        let Envelope { from, number, uptime_millis, content } = envelope;
        let known = self.applied.producers.get(&from).copied();
        let is_repeated = known.is_some_and(|known| number <= known.number);
        let is_first = self.applied.producers.is_empty();
        match &content {
            _ if is_repeated => {}
            Content::Founded(founding) if is_first => {
                if let Some(trouble) = self.trouble_with(founding) {
                    return self.halt(trouble);
                }
                self.applied.settings = founding.settings;
                self.applied.clock = LogClock::new(founding.at, founding.clock_offset);
                gathered.ends = true;
            }
            _ if is_first => {
                let place = self.applied.place + 1;
                let reason = "the log does not begin with how it was founded".to_owned();
                return self.halt(LogStatus::Halted { place, reason });
            }
            Content::Rules(rules) => {
                // Older ones than those that hold change nothing.
                let rules = self.applied.settings.rules.max(*rules);
                if let Some(trouble) = self.trouble_with_rules(rules) {
                    return self.halt(trouble);
                }
                if rules > self.applied.settings.rules {
                    tracing::info!(place = self.applied.place + 1, %rules, "newer rules hold from here on");
                }
                self.applied.settings.rules = rules;
                gathered.ends = true;
            }
            Content::Founded(_) | Content::Proposals(_) => {}
        }
        let callers = if from == self.me { self.in_flight.take(number) } else { Vec::new() };
        if is_repeated {
            self.metrics.repeated.inc();
            return gathered.add(Vec::new(), self.applied.advance(Vec::new()));
        }
        let (mut clock, before) = (known.map(|known| known.clock), self.applied.clock.last());
        let at = self.applied.clock.at(stream_time, &mut clock, uptime_millis);
        // What the log begins with may have been stopped for long, and nobody used it meanwhile.
        let begins = matches!(content, Content::Founded(_));
        let mut entries: Vec<_> = if begins { Vec::new() } else { self.go_on(before).into_iter().collect() };
        if let Content::Proposals(proposals) = content {
            entries.extend(self.place(proposals, callers));
        }
        let noted = clock.map(|clock| self.applied.note(from, Producer { number, at, clock }));
        gathered.add(entries, self.applied.advance(noted.unwrap_or_default()));
    }

    /// Returns an entry of this log itself, before those of a message that comes after the log was interrupted: for as long
    /// as nobody could note what was in use, none of it has come closer to its end. `before` is the time of the message
    /// before. `None` if the log was not interrupted, or has nothing that could expire.
    fn go_on(&mut self, before: Timestamp) -> Option<PendingEntry> {
        let at = self.applied.clock.last();
        let over = self.applied.settings.lifetimes.interruption(before, at)?;
        if self.applied.seq == Seq::ZERO {
            return None;
        }
        let place = self.applied.place + 1;
        tracing::info!(place, seconds = over / 1_000, "the log was interrupted: what was in use stays");
        self.applied.seq = self.applied.seq.next();
        // What was in use is moved as it is when a clock is set forward. This clock is as it was.
        let entry = Entry { seq: self.applied.seq, at, proposal: Proposal::ClockSet(over) };
        Some(PendingEntry { entry, outcome: None })
    }

    /// Gives the proposals of a message their sequence numbers and the time of the message.
    fn place(
        &mut self,
        proposals: Vec<Proposal>,
        callers: Vec<oneshot::Sender<Outcome>>,
    ) -> Vec<PendingEntry> {
        let mut callers = callers.into_iter();
        let mut pending = Vec::with_capacity(proposals.len());
        for mut proposal in proposals {
            if let Proposal::ClockSet(by) = proposal {
                if by == self.applied.clock.away().saturating_neg() && by != 0 {
                    self.applied.clock.set(by);
                } else {
                    // It was proposed twice: the clock is right already. An entry that changes nothing takes its place.
                    proposal = Proposal::Touch { users: Vec::new(), chats: Vec::new() };
                }
            }
            self.applied.seq = self.applied.seq.next();
            let entry = Entry { seq: self.applied.seq, at: self.applied.clock.last(), proposal };
            pending.push(PendingEntry { entry, outcome: callers.next() });
        }
        pending
    }

    /// Returns why this node cannot apply the founding of the log, or `None` if it can.
    fn trouble_with(&self, founding: &Founding) -> Option<LogStatus> {
        if founding.seq != self.applied.seq {
            let (place, Seq(has), Seq(needs)) = (self.applied.place + 1, self.applied.seq, founding.seq);
            let reason = format!("the log was founded with {needs} entries, and this node has {has}");
            return Some(LogStatus::Halted { place, reason });
        }
        self.trouble_with_rules(founding.settings.rules)
    }

    /// Returns why this node cannot decide by these rules, or `None` if it can.
    fn trouble_with_rules(&self, rules: Rules) -> Option<LogStatus> {
        let (oldest, newest) = self.rules;
        let is_known = (oldest..=newest).contains(&rules);
        let place = self.applied.place + 1;
        (!is_known).then_some(LogStatus::NeedsRules { place, rules, known: self.rules })
    }

    /// Stops before a message. What is stored stays.
    fn halt(&mut self, status: LogStatus) {
        self.status.set(Part::Applier, status);
        self.in_flight.halt();
        self.stopped = Some(Stopped::Halted);
    }

    /// Stores a batch, or fails when that has failed several times.
    fn stored(
        &mut self,
        store: &Guarded<'_>,
        batch: &Batch,
        commit: Commit,
    ) -> Result<super::Stored, NotStored> {
        let stored = self.persistently(store, |store| commit(store, batch))?;
        let after = self.checkpoint_after();
        self.checkpoint.get_or_insert_with(|| Instant::now() + after);
        Ok(stored)
    }

    /// Tries something several times, with a checkpoint in between, which makes room in the database. A panic is not tried
    /// again.
    fn persistently<R>(
        &self,
        store: &Guarded<'_>,
        work: impl Fn(&Store) -> Result<R, StoreError>,
    ) -> Result<R, NotStored> {
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        loop {
            let error = match store.run(&work) {
                Err(NotStored::Store(error)) => error,
                done => return done,
            };
            tracing::error!(%error, tries, "the database cannot be written");
            self.status.set(Part::Applier, LogStatus::DiskFailing(error.to_string()));
            if tries == TRIES {
                return Err(error.into());
            }
            if let Err(error) = store.run(Store::checkpoint) {
                tracing::error!(%error, "no checkpoint of the database can be made");
            }
            thread::sleep(wait);
            wait *= 2;
            tries += 1;
        }
    }

    /// Tells the time of the log, after something was stored. Once this node has been at the end of the stream, what is in
    /// use expires no sooner than others can have noted it.
    fn tell_time(&mut self, store: &Store) {
        let last = self.applied.clock.last();
        if self.behind() == 0 {
            self.clock.follow(last);
            self.was_live = true;
        } else {
            self.clock.pass(last);
        }
        if self.was_live {
            let silence = self.applied.settings.lifetimes.longest_silence().millis();
            store.note_until(Timestamp(last.0.saturating_add(silence)));
        }
    }

    /// Returns the number of messages that are in the stream after what was handed out.
    fn behind(&self) -> u64 {
        self.end.newest().saturating_sub(self.applied.place)
    }

    /// Tells how far behind the stream this node is, after something was stored.
    fn tell_progress(&mut self) {
        self.progress.advance(self.applied.place, &self.end, self.clock.uptime());
        let behind = self.behind();
        let status = match self.progress.is_behind {
            true => LogStatus::CatchingUp { behind },
            false => LogStatus::Live { behind },
        };
        self.status.set(Part::Applier, status);
    }

    /// Returns the time from the first change to a checkpoint. It differs from node to node, so that not all of them make
    /// theirs, which takes a moment, at the same time.
    fn checkpoint_after(&self) -> Duration {
        self.checkpoint_after - self.checkpoint_after * u32::from(self.stagger()) / 1_024
    }

    /// Returns the size of the changes at which a checkpoint is made. It differs likewise.
    fn checkpoint_bytes(&self) -> u64 {
        CHECKPOINT_BYTES - 32 * 1024 * u64::from(self.stagger())
    }

    /// Returns a number that is fixed for this incarnation and random among others.
    fn stagger(&self) -> u8 {
        let [first, ..] = self.me.as_bytes();
        *first
    }
}

/// Returns how far several messages take the log, one after the other. `None` if there are none.
fn merged(parts: &[MessagePart]) -> Option<Advance> {
    let (first, last) = (parts.first()?, parts.last()?);
    let producers = parts.iter().flat_map(|part| part.advance.producers.iter().copied()).collect();
    let Advance { place, settings, clock, .. } = last.advance;
    Some(Advance { after: first.advance.after, place, settings, clock, producers })
}
