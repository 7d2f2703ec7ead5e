//! Reading the log from a place on: every message once, in order, without gaps, for as long as the node runs.
//!
//! The reader has its own ephemeral consumer and makes it anew whenever something is wrong with it. It does not trust what it
//! is sent: a consumer whose first message was purged begins later and says nothing, and so does one that begins beyond the
//! end. Where messages are missing, a snapshot takes their place.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_nats::jetstream::{
    self, ErrorCode,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    stream::ConsumerErrorKind,
};
use domain::{Epoch, Timestamp};
use engine::{
    command_log::{
        envelope,
        status::{LogStatus, Part, StatusSender},
        transport::Delivery,
    },
    nodes::members::Standing,
};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use crate::{
    connection::Connection,
    snapshots::{FILE, Snapshot, Snapshots, TransferError},
    stream::{LogStream, StreamState},
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
/// How long a stream has to be away, or shorter than it was, for that to be believed. A server that has just become its
/// leader may not know better for a moment.
const BELIEVED_AFTER: Duration = Duration::from_secs(5);
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
    epoch: Epoch,
    /// The place of the newest message that was handed over.
    reached: AtomicU64,
    deliveries: mpsc::Sender<Delivery>,
    status: StatusSender,
    seen: watch::Sender<Seen>,
    /// Whether the stream was found to hold the log that is read, and was not lost since.
    recognised: watch::Sender<bool>,
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
    /// Where the reader tells how the stream is doing.
    pub status: StatusSender,
}

/// Why reading stopped.
enum Stop {
    /// Nobody takes what is read any more.
    Closed,
    /// Something does not work.
    Trouble(Trouble),
    /// The consumer is of no use any more. A new one may be.
    Again,
    /// The stream is away, or shorter than it was, and that is not to be believed yet.
    Doubt,
    /// The servers say nothing.
    Silence,
}

impl Stop {
    /// Tells whether the stream may not be the one that was read.
    fn is_about_the_stream(&self) -> bool {
        match self {
            Self::Doubt => true,
            Self::Trouble(trouble) => matches!(
                trouble,
                Trouble::OtherLog { .. }
                    | Trouble::Deleted { .. }
                    | Trouble::Shorter { .. }
                    | Trouble::Foreign(_)
            ),
            Self::Closed | Self::Again | Self::Silence => false,
        }
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NoAnswer => Self::Silence,
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
    silences: u32,
    failures: u32,
    wait: Duration,
    gone_since: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { silences: 0, failures: 0, wait: FIRST_WAIT, gone_since: None }
    }

    /// Returns how long an answer may take.
    fn silence(&self) -> Duration {
        let doublings = (self.silences / DOUBLED_AFTER).min(u32::BITS - 1);
        FIRST_PATIENCE.saturating_mul(1 << doublings).min(LONGEST_PATIENCE)
    }

    /// Takes note of a silence. Returns whether it was one of several.
    fn silent(&mut self) -> bool {
        self.silences = self.silences.saturating_add(1);
        self.silences >= SILENCES
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
            epoch: start.epoch,
            reached: AtomicU64::new(start.reached),
            deliveries,
            status: start.status,
            seen: watch::Sender::default(),
            recognised: watch::Sender::default(),
            replaced_after: watch::Sender::default(),
        };
        (reader, receiver)
    }

    /// Returns what it has seen of the stream, and the changes of it.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Returns whether the stream holds the log that is read, as far as it is known, and the changes of it. At first it does
    /// not. That the servers are silent changes nothing.
    pub fn recognised(&self) -> watch::Receiver<bool> {
        self.recognised.subscribe()
    }

    /// Reads until the receiver of the channel is dropped. May be called again after it panicked: it goes on where it was.
    pub async fn run(&self) {
        let mut patience = Patience::new();
        loop {
            let began = Instant::now();
            let stopped = tokio::select! {
                stopped = self.read(&mut patience) => stopped,
                () = self.deliveries.closed() => Stop::Closed,
            };
            if began.elapsed() >= CALM {
                patience = Patience::new();
            }
            self.seen.send_modify(|seen| seen.restarts += 1);
            if stopped.is_about_the_stream() {
                self.recognised.send_replace(false);
            }
            let wait = match stopped {
                Stop::Closed => return,
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
        let state = self.look(patience).await?;
        self.recognise(&state).await?;
        self.recognised.send_replace(plan(&state, self.reached()) != Plan::Shorter);
        let mut replaced_after = self.replaced_after.subscribe();
        let after = *replaced_after.borrow_and_update();
        if let Some(after) = after {
            return self.load(&state, after, Trouble::Differs { place: after }).await;
        }
        let reached = self.reached();
        match plan(&state, reached) {
            Plan::Read => {}
            Plan::Load => {
                let stream = self.stream.name().to_owned();
                return self
                    .load(&state, reached, Trouble::Hole { stream, first: state.first, reached })
                    .await;
            }
            Plan::Shorter if patience.is_gone() => {
                return Err(Stop::Trouble(Trouble::Shorter {
                    stream: self.stream.name().to_owned(),
                    last: state.last,
                    reached: self.reached(),
                }));
            }
            Plan::Shorter => return Ok(Stop::Doubt),
        }
        patience.is_there();
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
        let changed = self.keep_looking();
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
            self.hand_over(Delivery::Message { place, at, payload, behind }, place).await?;
            patience.heard();
        }
    }

    /// Hands over what was read up to a place.
    async fn hand_over(&self, delivery: Delivery, place: u64) -> Result<(), Stop> {
        self.deliveries.send(delivery).await.map_err(|_| Stop::Closed)?;
        self.reached.store(place, Ordering::Release);
        Ok(())
    }

    /// Looks at the stream.
    async fn look(&self, patience: &mut Patience) -> Result<StreamState, Stop> {
        if let Some(state) = self.stream.look_within(patience.silence()).await? {
            self.seen.send_modify(|seen| seen.stream = Some(state));
            return Ok(state);
        }
        Err(if patience.is_gone() {
            Stop::Trouble(Trouble::Deleted { stream: self.stream.name().to_owned() })
        } else {
            Stop::Doubt
        })
    }

    /// Looks at the stream again and again, until there is something to see for which reading has to begin anew.
    async fn keep_looking(&self) -> Stop {
        loop {
            sleep(LOOK).await;
            let reached = self.reached();
            match self.stream.look_within(LONGEST_PATIENCE).await {
                Ok(Some(state)) => {
                    self.seen.send_modify(|seen| seen.stream = Some(state));
                    // Meanwhile more may have been read, but then it was there to be read.
                    if state.last < reached || state.first > self.reached() + 1 {
                        return Stop::Again;
                    }
                }
                Ok(None) => return Stop::Again,
                // Reading goes on without a leader, and tells by itself if it does not.
                Err(Trouble::NoAnswer | Trouble::NotConnected { .. } | Trouble::NoJetStream) => {}
                Err(trouble) => return Stop::Trouble(trouble),
            }
        }
    }

    /// Makes sure that the stream holds the log that is read, and not one that was founded after it: that one of its newest
    /// messages is of this log, if any is of a log. What a node of another log put between them is skipped.
    async fn recognise(&self, state: &StreamState) -> Result<(), Stop> {
        let oldest = state.first.max(state.last.saturating_sub(RECOGNISED_BY - 1));
        let mut is_another = false;
        for place in (oldest..=state.last).rev() {
            let Some(message) = self.stream.message(place).await? else { break };
            match envelope::epoch(&message) {
                Some(epoch) if epoch == self.epoch => return Ok(()),
                Some(_) => is_another = true,
                // Somebody else's message, which is skipped.
                None => {}
            }
        }
        let other_log = || Trouble::OtherLog { stream: self.stream.name().to_owned() };
        if is_another { Err(Stop::Trouble(other_log())) } else { Ok(()) }
    }

    async fn consumer(&self, within: Duration) -> Result<PullConsumer, Stop> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.reached() + 1 },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        };
        let api = self.connection().api_within(within);
        let created = api.create_consumer_on_stream(config, self.stream.name()).await;
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
    async fn load(&self, state: &StreamState, after: u64, mut trouble: Trouble) -> Result<Stop, Stop> {
        let fits = |snapshot: &Snapshot| {
            let about = snapshot.about;
            about.epoch == self.epoch && about.place > after && about.place + 1 >= state.first
        };
        for snapshot in self.snapshots.list().await?.into_iter().filter(fits) {
            let place = snapshot.about.place;
            self.tell(LogStatus::Loading { place });
            let file = self.folder.join(format!("{FILE}{place}"));
            match self.snapshots.download(&snapshot, &file).await {
                Ok(()) => {
                    self.hand_over(Delivery::Replace { file, place }, place).await?;
                    self.replaced_after
                        .send_if_modified(|wanted| wanted.take_if(|after| *after < place).is_some());
                    return Ok(Stop::Again);
                }
                Err(TransferError::Trouble(trouble)) => return Err(trouble.into()),
                // The one before it may do: the stream reaches back to it.
                Err(error) => trouble = Trouble::Snapshot { place, reason: error.to_string() },
            }
        }
        // The node on duty makes a snapshot when asked. Nothing is lost if nobody hears it: it is asked again.
        self.snapshots.ask().await;
        Err(Stop::Trouble(trouble))
    }
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

/// Tells whether trouble goes on until an operator does something about it.
fn is_lasting(trouble: &Trouble) -> bool {
    !matches!(trouble, Trouble::NoAnswer | Trouble::NotConnected { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(first: u64, last: u64) -> StreamState {
        StreamState { begins: 1, first, last, bytes: 0, max_bytes: None }
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
