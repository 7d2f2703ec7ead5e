//! Reading the log from a place on: every message once, in order, without gaps, for as long as the node runs.
//!
//! The reader has its own ephemeral consumer and makes it anew whenever something is wrong with it. It does not trust what it
//! is sent: a consumer whose first message was purged begins later and says nothing, and so does one that begins beyond the
//! end. Where messages are missing, a snapshot takes their place. Nor does it trust the stream: one that has lost its end, and
//! was written to since, looks as if nothing had been, and is recognised by the newest message that was read.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{
    self, ErrorCode,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    stream::ConsumerErrorKind,
};
use bytes::Bytes;
use domain::{Epoch, Rules, Timestamp};
use engine::{
    command_log::{
        envelope::{self, Decoded},
        status::{LogStatus, Part, StatusSender},
        transport::{Delivery, Incarnation, StreamEnd},
    },
    nodes::members::Standing,
    storage::Predecessor,
};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    connection::{Connection, ask_again_and_again},
    snapshots::{FILE, Snapshot, Snapshots, Unusable},
    stream::{LogStream, StreamState},
    transport::NatsTransport,
    trouble::Trouble,
};

/// The number of messages that may wait for the log. No more are read from the stream meanwhile.
const MAX_WAITING: usize = 64;
/// The number of messages that are asked for at once, and their size in bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// How long the stream waits for messages before it is asked again.
const EXPIRES: Duration = Duration::from_secs(30);
/// The time after which the servers drop a consumer that nobody reads from.
const INACTIVE: Duration = Duration::from_secs(10);
/// How long the servers may be silent at first. Most silences are those of a server that died, and end when it has been
/// replaced, which is asked for again and again.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// The number of round trips to a server that it may be silent for. The first patience is longer than that in most networks.
const ROUND_TRIPS: u32 = 3;
/// The number of silences after which patience is doubled: the network may be slow.
const DOUBLED_AFTER: u32 = 3;
/// How long the servers may be silent at most.
const LONGEST_PATIENCE: Duration = Duration::from_secs(4);
/// The time of undisturbed reading after which patience is short again.
const CALM: Duration = Duration::from_secs(60);
/// The wait after the first trouble. It is doubled with each further.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait after trouble.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The wait after trouble that does not end by itself within seconds.
const LASTING_WAIT: Duration = Duration::from_secs(2);
/// The time between two looks at the stream while it is read from. Some things do not show in what is read: its
/// settings, and that it was purged beyond this place.
const LOOK: Duration = Duration::from_secs(5);
/// The same while the looks are not answered.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long the stream may be read from though it has no leader. An election takes less. A server that is cut off from the
/// others goes on as if nothing were, and never gets what they do without it.
const LEADERLESS: Duration = Duration::from_secs(10);
/// How long the servers may be silent before another one is tried, and then another one.
const LEFT_AFTER: Duration = Duration::from_secs(10);
/// The number of messages that may have come while the stream was not read for a moment. With more of them, this node is not
/// ready before it has applied them.
const FEW: u64 = 512;
/// How long a stream has to be away, or shorter than it was, for that to be believed. A server that has just become its
/// leader may not know better for a moment.
pub(crate) const BELIEVED_AFTER: Duration = Duration::from_secs(5);
/// The number of silences after which the server is asked for a sign of life.
const SILENCES: u32 = 2;
/// The number of consumers without any message, one after the other, that is told to the operator.
const TOLD_FAILURES: u32 = 5;
/// The number of messages at the end of the stream that are looked at to know which log it is.
const RECOGNISED_BY: u64 = 16;

/// What the reader has seen of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// What was in the stream at the newest look. `None` before the first.
    pub stream: Option<StreamState>,
    /// How often reading began anew.
    pub restarts: u64,
}

/// Reads the log from a place on. What it reads ends when it is dropped.
pub struct Reader {
    stream: LogStream,
    snapshots: Snapshots,
    /// The folder for snapshots.
    folder: PathBuf,
    /// The log that is read.
    epoch: RwLock<Epoch>,
    rules: (Rules, Rules),
    /// The place of the newest message that was handed over.
    reached: AtomicU64,
    /// What is known of the message at that place.
    known: Mutex<Known>,
    end: StreamEnd,
    /// The number of the connection by which the stream was recognised, as long as nothing speaks against it.
    recognised: watch::Sender<Option<u64>>,
    deliveries: mpsc::Sender<Delivery>,
    status: StatusSender,
    seen: watch::Sender<Seen>,
    /// The place after which a snapshot has to be that takes the place of the database. `None` if none has to.
    replaced_after: watch::Sender<Option<u64>>,
}

/// Where and what to read.
pub struct Start {
    /// The stream.
    pub stream: LogStream,
    /// The snapshots for messages that are missing.
    pub snapshots: Snapshots,
    /// The folder in which snapshots are put. What an earlier process left there is removed.
    pub folder: PathBuf,
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The place of the newest message that this node has applied, or 0.
    pub reached: u64,
    /// The oldest and the newest rules by which this node can decide.
    pub rules: (Rules, Rules),
    /// The number of the newest message of each sender up to there.
    pub applied: HashMap<Incarnation, u64>,
    /// Where the reader notes how far the stream goes.
    pub end: StreamEnd,
    /// Where the reader tells how the stream is doing.
    pub status: StatusSender,
}

/// What is known of the newest message that was handed over, or is in the database.
#[derive(Clone)]
pub(crate) enum Known {
    /// It is in the database, which has applied these messages of each sender at last.
    Applied(Arc<HashMap<Incarnation, u64>>),
    /// It was read, and this is the hash of its content.
    Read(u64),
}

/// Why reading stopped.
enum Stop {
    /// Nobody takes what is read any more.
    Closed,
    /// Something does not work.
    Trouble(Trouble),
    /// The consumer is of no use any more. A new one may be.
    Again,
    /// There is another connection to the servers, which may have lost something.
    Reconnected,
    /// The stream is away, or shorter than it was, and that is not to be believed yet.
    Doubt,
    /// The servers say nothing.
    Silence,
    /// The stream has no leader.
    NoLeader,
    /// It was read from, and has not had one for longer than an election takes.
    Leaderless,
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NoAnswer => Self::Silence,
            Trouble::NoLeader => Self::NoLeader,
            other => Self::Trouble(other),
        }
    }
}

/// What to do about a place in a stream.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The next message is there, or will come.
    Read,
    /// Messages are missing.
    Load,
    /// The stream ends before that place.
    Shorter,
}

/// How often and how long in a row something did not work.
struct Patience {
    /// How long an answer takes at least, and the number of connections when that was measured.
    round_trip: Duration,
    measured: u64,
    /// The number of connections when the snapshots were listed.
    listed: u64,
    silences: u32,
    failures: u32,
    wait: Duration,
    gone_since: Option<Instant>,
    /// Since when the servers have been of no use, or another one was tried.
    silent_since: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self {
            round_trip: Duration::ZERO,
            measured: 0,
            listed: 0,
            silences: 0,
            failures: 0,
            wait: FIRST_WAIT,
            gone_since: None,
            silent_since: None,
        }
    }

    /// Returns how long an answer may take.
    fn silence(&self) -> Duration {
        let doublings = (self.silences / DOUBLED_AFTER).min(u32::BITS - 1);
        let first = FIRST_PATIENCE.max(self.round_trip.saturating_mul(ROUND_TRIPS));
        first.saturating_mul(1 << doublings).min(LONGEST_PATIENCE)
    }

    /// Takes note of a silence. Returns whether it was one of several.
    fn silent(&mut self) -> bool {
        self.silences = self.silences.saturating_add(1);
        self.silences >= SILENCES
    }

    /// Takes note that the stream has had no leader for longer than an election takes.
    fn is_led_elsewhere(&mut self) {
        self.silent_since = Instant::now().checked_sub(LEFT_AFTER);
    }

    /// Takes note that the servers are of no use now. Returns whether to try another one.
    fn leaves(&mut self) -> bool {
        let is_over = self.silent_since.get_or_insert_with(Instant::now).elapsed() >= LEFT_AFTER;
        if is_over {
            self.silent_since = Some(Instant::now());
        }
        is_over
    }

    /// Takes note that a consumer was of no use. Returns whether that is worth telling: one fails whenever the servers elect
    /// a leader, or the stream was purged.
    fn failed(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures >= TOLD_FAILURES
    }

    /// Takes note of something that worked.
    fn heard(&mut self) {
        self.failures = 0;
        self.wait = FIRST_WAIT;
    }

    /// Returns how long to wait before the next attempt.
    fn next_wait(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        wait
    }

    /// Takes note that the stream, or its end, is not there. Returns whether it is to be believed.
    fn is_gone(&mut self) -> bool {
        self.gone_since.get_or_insert_with(Instant::now).elapsed() >= BELIEVED_AFTER
    }

    /// Takes note that the stream is there.
    fn is_there(&mut self) {
        self.gone_since = None;
        self.silent_since = None;
    }
}

impl Reader {
    /// Creates a reader, and the channel for what it reads. Removes snapshots that an earlier process left.
    pub async fn new(start: Start) -> (Self, mpsc::Receiver<Delivery>) {
        remove_snapshots(&start.folder).await;
        let (deliveries, receiver) = mpsc::channel(MAX_WAITING);
        let reader = Self {
            stream: start.stream,
            snapshots: start.snapshots,
            folder: start.folder,
            epoch: RwLock::new(start.epoch),
            rules: start.rules,
            reached: AtomicU64::new(start.reached),
            known: Mutex::new(Known::Applied(Arc::new(start.applied))),
            end: start.end,
            recognised: watch::Sender::default(),
            deliveries,
            status: start.status,
            seen: watch::Sender::default(),
            replaced_after: watch::Sender::default(),
        };
        (reader, receiver)
    }

    /// Returns what it has seen of the stream, and the changes of it.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Returns what publishes to the stream, while that is recognised.
    pub fn transport(&self) -> NatsTransport {
        NatsTransport::beside(self.stream.clone(), self.recognised.subscribe())
    }

    /// Reads until the receiver of the channel is dropped. May be called again after it panicked: it goes on where it was.
    pub async fn run(&self) {
        let mut patience = Patience::new();
        self.connection().settled().await;
        loop {
            let began = Instant::now();
            let stopped = tokio::select! {
                stopped = self.read(&mut patience) => stopped,
                () = self.deliveries.closed() => Stop::Closed,
            };
            if !matches!(&stopped, Stop::Trouble(trouble) if is_of_reading(trouble)) {
                self.recognised.send_replace(None);
            }
            if began.elapsed() >= CALM {
                patience = Patience::new();
            }
            self.seen.send_modify(|seen| seen.restarts += 1);
            // It may be back at once.
            if !matches!(stopped, Stop::Closed)
                && !self.connection().is_up()
                && self.connection().settle(Trouble::NoAnswer).await.is_none()
            {
                continue;
            }
            let wait = match stopped {
                Stop::Closed => return,
                Stop::Reconnected => Duration::ZERO,
                Stop::Doubt => patience.next_wait(),
                Stop::Again => {
                    if patience.failed() {
                        self.complain(&self.connection().silence());
                    }
                    patience.next_wait()
                }
                Stop::Silence => {
                    self.complain(&self.connection().silence());
                    if patience.silent() {
                        self.connection().leave_if_frozen().await;
                    }
                    if patience.leaves() {
                        self.connection().leave().await;
                    }
                    // It has been waited for already.
                    FIRST_WAIT
                }
                // The next look tells what there is to tell.
                Stop::Leaderless => {
                    patience.is_led_elsewhere();
                    Duration::ZERO
                }
                // It is not a silence: the next answer may be as quick.
                Stop::NoLeader => {
                    self.complain(&Trouble::NoLeader);
                    if patience.leaves() {
                        self.connection().leave().await;
                    }
                    patience.next_wait()
                }
                Stop::Trouble(trouble) => {
                    self.complain(&trouble);
                    if is_lasting(&trouble) { LASTING_WAIT } else { patience.next_wait() }
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.connection().changed() => {}
                () = self.deliveries.closed() => return,
            }
        }
    }

    /// Reads a snapshot in place of what this node has decided, whenever that differs from what most others have. The
    /// snapshot is one that another node makes afterwards, of a place that this one has not reached: it may have made the
    /// others itself. So nothing is read while nothing new is in the log. Never returns.
    pub async fn mend(&self, mut standing: watch::Receiver<Standing>) {
        let mut differed = None;
        loop {
            let differs_at = standing.borrow_and_update().differs_at;
            if differs_at != differed {
                differed = differs_at;
                self.replaced_after.send_replace(differs_at.map(|_| self.reached()));
            }
            if standing.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn complain(&self, trouble: &Trouble) {
        self.tell(LogStatus::Trouble(trouble.to_string()));
    }

    fn tell(&self, status: LogStatus) {
        self.status.set(Part::Stream, status);
    }

    fn connection(&self) -> &Connection {
        self.stream.connection()
    }

    fn epoch(&self) -> Epoch {
        *self.epoch.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Reads until something is wrong.
    async fn read(&self, patience: &mut Patience) -> Stop {
        match self.try_read(patience).await {
            Ok(stop) | Err(stop) => stop,
        }
    }

    async fn try_read(&self, patience: &mut Patience) -> Result<Stop, Stop> {
        let connects = self.connection().connects();
        if patience.measured != connects
            && let Some(round_trip) = self.connection().round_trip().await
        {
            (patience.round_trip, patience.measured) = (round_trip, connects);
        }
        let mut state = self.look(patience).await?;
        if let Some(epoch) = self.other_epoch(&state).await? {
            return self.follow(&state, epoch).await;
        }
        let reached = self.reached();
        let newest = if patience.listed == connects { 0 } else { self.newest_snapshot().await };
        if newest > state.last {
            // It may have been made after the look.
            state = self.look(patience).await?;
        }
        let plan = if newest > state.last { Plan::Shorter } else { plan(&state, reached) };
        if plan != Plan::Shorter {
            // Only servers that are started again have lost something.
            patience.listed = connects;
        }
        if plan != Plan::Shorter {
            self.compare(&state, reached).await?;
            self.recognised.send_replace(Some(connects));
            patience.is_there();
        }
        let mut replaced_after = self.replaced_after.subscribe();
        let after = *replaced_after.borrow_and_update();
        if let Some(after) = after {
            return self.load(&state, after, Trouble::Differs { place: after }).await;
        }
        match plan {
            Plan::Read => {
                let is_first = self.end.owed() == 0;
                if is_first || state.last - reached > FEW {
                    self.owe(&state);
                }
            }
            Plan::Load => {
                self.owe(&state);
                let stream = self.stream.name().to_owned();
                return self
                    .load(&state, reached, Trouble::Hole { stream, first: state.first, reached })
                    .await;
            }
            Plan::Shorter if patience.is_gone() => {
                let (stream, last) = (self.stream.name().to_owned(), state.last);
                return Err(Stop::Trouble(match last < reached {
                    true => Trouble::Shorter { stream, last, reached },
                    false => Trouble::ShorterThanSnapshot { stream, last, place: newest },
                }));
            }
            Plan::Shorter => return Ok(Stop::Doubt),
        }
        let consumer = self.consumer(patience.silence()).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .max_bytes_per_batch(BATCH_BYTES)
            // The client calls it silence after twice this time.
            .heartbeat(patience.silence() / 2)
            .expires(EXPIRES)
            .messages()
            .await;
        let mut messages = messages.map_err(|_| Stop::Silence)?;
        self.tell(LogStatus::Well);
        let changed = self.keep_looking(connects);
        tokio::pin!(changed);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                stop = &mut changed => return Ok(stop),
                Ok(()) = replaced_after.changed() => return Ok(Stop::Again),
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) if error.kind() == pull::MessagesErrorKind::MissingHeartbeat => {
                    return Err(Stop::Silence);
                }
                Some(Err(_)) | None => return Ok(Stop::Again),
            };
            let Ok(info) = message.info() else { return Ok(Stop::Again) };
            let (place, behind) = (info.stream_sequence, info.pending);
            let next = self.reached() + 1;
            if place < next {
                continue;
            }
            if place > next {
                // Purged while it was read, which the next look will show.
                return Ok(Stop::Again);
            }
            let at = Timestamp(
                u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
            );
            let payload = message.message.payload;
            let known = Known::Read(hash(&payload));
            self.end.saw(place.saturating_add(behind));
            tokio::select! {
                done = self.hand_over(Delivery::Message { place, at, payload, behind }, place, known) => done?,
                stop = &mut changed => return Ok(stop),
            }
            patience.heard();
        }
    }

    /// Hands over what was read up to a place, and notes what is known of the message there.
    async fn hand_over(&self, delivery: Delivery, place: u64, known: Known) -> Result<(), Stop> {
        self.deliveries.send(delivery).await.map_err(|_| Stop::Closed)?;
        *self.known() = known;
        self.reached.store(place, Ordering::Release);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all that is in the stream has to be applied before this node is ready.
    fn owe(&self, state: &StreamState) {
        self.end.owe(state.last);
        let behind = state.last.saturating_sub(self.reached());
        if behind > 0 {
            self.status.overtaken(behind);
        }
    }

    /// Looks at the stream.
    async fn look(&self, patience: &mut Patience) -> Result<StreamState, Stop> {
        if let Some(state) = self.stream.look_within(patience.silence()).await? {
            self.saw(state);
            return Ok(state);
        }
        Err(if patience.is_gone() {
            Stop::Trouble(Trouble::Deleted { stream: self.stream.name().to_owned() })
        } else {
            Stop::Doubt
        })
    }

    fn saw(&self, state: StreamState) {
        self.end.saw(state.last);
        self.seen.send_modify(|seen| seen.stream = Some(state));
    }

    /// Looks at the stream again and again, until there is something to see for which reading has to begin anew.
    async fn keep_looking(&self, connects: u64) -> Stop {
        let mut unanswered_since = None;
        loop {
            let wait = if unanswered_since.is_none() { LOOK } else { LOOK_AGAIN };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.connection().reconnected(connects) => return Stop::Reconnected,
            }
            let (reached, asked_at) = (self.reached(), Instant::now());
            match self.stream.look_within(LONGEST_PATIENCE).await {
                Ok(Some(state)) => {
                    unanswered_since = None;
                    self.saw(state);
                    // Meanwhile more may have been read, but then it was there to be read.
                    let is_other = state.epoch.is_some_and(|epoch| epoch != self.epoch());
                    if is_other || state.last < reached || state.first > self.reached() + 1 {
                        return Stop::Again;
                    }
                }
                Ok(None) => return Stop::Again,
                // Reading goes on without a leader for a while.
                Err(
                    Trouble::NoAnswer
                    | Trouble::NoLeader
                    | Trouble::NotConnected { .. }
                    | Trouble::NoJetStream,
                ) => {
                    if unanswered_since.get_or_insert(asked_at).elapsed() >= LEADERLESS {
                        return Stop::Leaderless;
                    }
                }
                Err(trouble) => return Stop::Trouble(trouble),
            }
        }
    }

    /// Returns the epoch of the log in the stream, if it is another one than that is read, and was founded after it.
    async fn other_epoch(&self, state: &StreamState) -> Result<Option<Epoch>, Stop> {
        let is_other = |epoch: &Epoch| *epoch != self.epoch();
        if state.epoch.is_some() {
            return Ok(state.epoch.filter(is_other));
        }
        let oldest = state.first.max(state.last.saturating_sub(RECOGNISED_BY - 1));
        let mut other = None;
        for place in (oldest..=state.last).rev() {
            let Some(message) = self.stream.message(place).await? else { break };
            match envelope::epoch(&message) {
                Some(epoch) if is_other(&epoch) => other = other.or(Some(epoch)),
                // Messages that a node of another log put between those of this one are skipped.
                Some(_) => return Ok(None),
                // Somebody else's message, which is skipped.
                None => {}
            }
        }
        Ok(other)
    }

    /// Goes on with the log in the stream, if it was founded from the one that is read, with all that was read of it. Then a
    /// snapshot of it is loaded.
    async fn follow(&self, state: &StreamState, epoch: Epoch) -> Result<Stop, Stop> {
        let (stream, reached) = (self.stream.name().to_owned(), self.reached());
        let mut trouble = Trouble::OtherLog { stream: stream.clone() };
        let mut fitting = Vec::new();
        for snapshot in self.snapshots.list().await? {
            let about = snapshot.about;
            let follows = about.follows.filter(|follows| follows.epoch == self.epoch());
            match follows {
                Some(Predecessor { place, .. }) if about.epoch == epoch && about.place + 1 >= state.first => {
                    if place >= reached {
                        fitting.push(snapshot);
                    } else {
                        trouble = Trouble::RecoveredBehind { stream: stream.clone(), place, reached };
                    }
                }
                _ => {}
            }
        }
        let stop = self.load_first(fitting, trouble).await?;
        *self.epoch.write().unwrap_or_else(PoisonError::into_inner) = epoch;
        Ok(stop)
    }

    /// Makes sure that what is at the place that was reached is what was read there, if it is still there.
    async fn compare(&self, state: &StreamState, reached: u64) -> Result<(), Stop> {
        let known = self.known().clone();
        match differs_at(&self.stream, state, self.epoch(), reached, &known).await? {
            Some(place) => {
                let stream = self.stream.name().to_owned();
                Err(Stop::Trouble(Trouble::OtherHistory { stream, place }))
            }
            None => Ok(()),
        }
    }

    /// Returns the place of the newest snapshot of the log that is read, or 0 if there is none, or none can be listed at once.
    async fn newest_snapshot(&self) -> u64 {
        let listed = timeout(FIRST_PATIENCE, self.snapshots.list()).await;
        let listed = listed.ok().and_then(Result::ok).unwrap_or_default();
        let own = listed.iter().find(|snapshot| snapshot.about.epoch == self.epoch());
        own.map_or(0, |snapshot| snapshot.about.place)
    }

    async fn consumer(&self, within: Duration) -> Result<PullConsumer, Stop> {
        // With a name it is made once, however often that is asked for.
        let name = self.connection().client().new_inbox().rsplit('.').next().map(str::to_owned);
        let config = pull::Config {
            name,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.reached() + 1 },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        };
        let api = self.connection().api_within(within);
        let create = || api.create_consumer_on_stream(config.clone(), self.stream.name());
        let created = ask_again_and_again(create).await;
        created.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Stop::Again
            }
            ConsumerErrorKind::JetStream(error) => self.stop_of(&error),
            _ => Stop::Silence,
        })
    }

    fn stop_of(&self, error: &jetstream::Error) -> Stop {
        self.stream.explain(error).into()
    }

    /// Loads a snapshot of a place after this one. `trouble` is why, and what is told if there is none.
    async fn load(&self, state: &StreamState, after: u64, trouble: Trouble) -> Result<Stop, Stop> {
        let fits = |snapshot: &Snapshot| {
            let about = snapshot.about;
            about.epoch == self.epoch() && about.place > after && about.place + 1 >= state.first
        };
        let mut fitting = self.snapshots.list().await?;
        fitting.retain(fits);
        let loaded = self.load_first(fitting, trouble).await;
        if matches!(loaded, Err(Stop::Trouble(_))) && self.connection().is_up() {
            // The node on duty makes a snapshot when asked. Nothing is lost if nobody hears it: it is asked again.
            self.snapshots.ask().await;
        }
        loaded
    }

    /// Loads the first of some snapshots that can be used. `trouble` is what is told if there is none.
    async fn load_first(&self, fitting: Vec<Snapshot>, mut trouble: Trouble) -> Result<Stop, Stop> {
        for snapshot in fitting {
            let place = snapshot.about.place;
            if let Err(needs_rules) = snapshot.about.check_rules(self.rules) {
                trouble = needs_rules;
                continue;
            }
            self.tell(LogStatus::Loading { place });
            let file = self.folder.join(format!("{FILE}{place}"));
            match self.snapshots.usable(&snapshot, &file).await {
                Ok(contents) => {
                    let known = Known::Applied(Arc::new(contents.applied));
                    self.hand_over(Delivery::Replace { file, place }, place, known).await?;
                    self.replaced_after
                        .send_if_modified(|wanted| wanted.take_if(|after| *after < place).is_some());
                    return Ok(Stop::Again);
                }
                Err(Unusable::Trouble(trouble)) => return Err(trouble.into()),
                // The one before it may do: the stream reaches back to it.
                Err(Unusable::For(reason)) => trouble = Trouble::Snapshot { place, reason },
            }
        }
        Err(Stop::Trouble(trouble))
    }
}

impl Known {
    /// Returns whether the message at the place that was reached, or one shortly before it, is what was there. `None` if it
    /// says nothing about that.
    fn recognises(&self, epoch: Epoch, message: &Bytes) -> Option<bool> {
        match self {
            Self::Read(known) => Some(*known == hash(message)),
            // A database that was founded with, and that has applied nothing of the log.
            Self::Applied(senders) if senders.is_empty() => None,
            Self::Applied(senders) => match envelope::decode(epoch, message) {
                Ok(Decoded::Envelope(envelope)) => {
                    Some(senders.get(&envelope.from).is_some_and(|newest| envelope.number <= *newest))
                }
                Ok(Decoded::Skipped(_)) | Err(_) => None,
            },
        }
    }
}

/// Returns the place at which a stream has another message than the one that is known to be at the place that was reached, or
/// shortly before it: the stream may have lost its end, and have got another one. `None` if it has the same, or nothing there
/// any more.
pub(crate) async fn differs_at(
    stream: &LogStream,
    state: &StreamState,
    epoch: Epoch,
    reached: u64,
    known: &Known,
) -> Result<Option<u64>, Trouble> {
    let oldest = state.first.max(reached.saturating_sub(RECOGNISED_BY - 1)).max(1);
    for place in (oldest..=reached).rev() {
        let Some(message) = stream.message(place).await? else { break };
        // What another program put there is skipped.
        if let Some(is_same) = known.recognises(epoch, &message) {
            return Ok((!is_same).then_some(place));
        }
    }
    Ok(None)
}

/// Returns a hash of what is in a message.
fn hash(payload: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}

/// Removes the snapshots that an earlier process left in a folder.
async fn remove_snapshots(folder: &Path) {
    let Ok(mut files) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(file)) = files.next_entry().await {
        if file.file_name().to_string_lossy().starts_with(FILE) {
            // It is only in the way.
            let _ = tokio::fs::remove_file(file.path()).await;
        }
    }
}

/// Tells what to do in a stream for a node that has applied everything up to a place.
fn plan(state: &StreamState, reached: u64) -> Plan {
    if state.last < reached {
        Plan::Shorter
    } else if state.first > reached + 1 {
        Plan::Load
    } else {
        Plan::Read
    }
}

/// Tells whether trouble is about what this node has not read, in a stream that is the right one. What its people write can be
/// published all the same: other nodes read it.
fn is_of_reading(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Differs { .. } | Trouble::Hole { .. } | Trouble::Snapshot { .. })
}

/// Tells whether trouble goes on until an operator does something about it.
fn is_lasting(trouble: &Trouble) -> bool {
    // A server that has just been started says for a moment that there is no JetStream.
    !matches!(
        trouble,
        Trouble::NoAnswer | Trouble::NoLeader | Trouble::NoJetStream | Trouble::NotConnected { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(first: u64, last: u64) -> StreamState {
        StreamState { epoch: None, begins: 1, first, last, bytes: 0, max_bytes: None }
    }

    #[test]
    fn the_next_message_is_read_if_it_is_there_or_will_come() {
        for (first, last, reached) in [(1, 0, 0), (1, 9, 0), (1, 9, 5), (1, 9, 9), (6, 9, 5), (10, 9, 9)] {
            assert_eq!(plan(&state(first, last), reached), Plan::Read, "{first}..={last}, {reached}");
        }
    }

    #[test]
    fn a_snapshot_is_needed_if_the_next_message_was_purged() {
        for (first, last, reached) in [(2, 9, 0), (7, 9, 5), (10, 9, 8)] {
            assert_eq!(plan(&state(first, last), reached), Plan::Load, "{first}..={last}, {reached}");
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_told() {
        for (first, last, reached) in [(1, 0, 1), (1, 8, 9), (5, 8, 9)] {
            assert_eq!(plan(&state(first, last), reached), Plan::Shorter, "{first}..={last}, {reached}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_grows_with_silence_and_is_bounded() {
        let mut patience = Patience::new();
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(patience.silence().as_secs());
            patience.silent();
        }
        assert_eq!(seen, [1, 1, 1, 2, 2, 2, 4, 4]);
        patience.round_trip = Duration::from_millis(600);
        patience.silences = 0;
        assert_eq!(patience.silence(), Duration::from_millis(1_800), "a slow network is not silent");
        patience.silences = u32::MAX;
        patience.silent();
        assert_eq!(patience.silence(), LONGEST_PATIENCE);
        for _ in 0..100 {
            assert!(patience.next_wait() <= LONGEST_WAIT);
        }
        patience.heard();
        assert_eq!(patience.next_wait(), FIRST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn another_server_is_tried_again_and_again_while_there_is_no_leader() {
        let mut patience = Patience::new();
        assert!(!patience.leaves());
        tokio::time::advance(LEFT_AFTER).await;
        assert!(patience.leaves());
        assert!(!patience.leaves());
        tokio::time::advance(LEFT_AFTER).await;
        assert!(patience.leaves());
        patience.is_there();
        assert!(!patience.leaves());
        patience.is_led_elsewhere();
        assert!(patience.leaves());
        assert_eq!(patience.silence(), FIRST_PATIENCE, "the servers are not slow because of that");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_counts_as_gone_if_it_stays_away() {
        let mut patience = Patience::new();
        assert!(!patience.is_gone());
        tokio::time::advance(BELIEVED_AFTER / 2).await;
        patience.is_there();
        assert!(!patience.is_gone());
        tokio::time::advance(BELIEVED_AFTER).await;
        assert!(patience.is_gone());
    }
}
