//! The batcher of a replicated log: puts the proposals that wait into one message, and publishes one message after the
//! other. The next one goes out when the one before is in the stream, so that the order is kept.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{Epoch, Rules};
use postcard::ser_flavors::Size;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Outcome,
    envelope::{Content, Envelope, MESSAGE_BYTES, encode},
    queue::Waiting,
    status::{LogStatus, Part, StatusSender},
    transport::{Incarnation, MessageId, NotPublished, Transport},
};
use crate::{
    clock::ReplicaClock,
    metrics::{self, ReplicationMetrics},
};

/// The maximum number of proposals in a message.
const MESSAGE_PROPOSALS: usize = 256;
/// The maximum number of messages of this node that are in the stream and have not been read yet. The next one waits.
const UNREAD: u64 = 64;
/// How long the next message may wait for that before it is told to the operator.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a message that is in the stream may take to be read, if none follows it. The servers may have lost it.
const OVERDUE: Duration = Duration::from_secs(30);
/// The wait before a message is published again. It doubles with every further attempt.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The maximum wait before a message is published again. Most that fail do so while the servers elect a leader, and people
/// wait for it.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The messages of this node that have not been read from the stream yet. Shared by both ends of the log.
pub(super) struct InFlight {
    unread: SyncMutex<Unread>,
    /// The number of the newest message of this node that was read.
    read: watch::Sender<u64>,
    /// The newest rules that were proposed here.
    rules: watch::Sender<Option<Rules>>,
    /// The epoch of the log.
    begun: watch::Sender<Epoch>,
    halted: CancellationToken,
}

/// The messages that have not been read.
struct Unread {
    /// The log that they are for.
    epoch: Epoch,
    /// The number of the newest message.
    newest: u64,
    /// The callers that wait for the outcomes of each message, by its number, in order.
    callers: VecDeque<(u64, Vec<oneshot::Sender<Outcome>>)>,
}

impl InFlight {
    /// Creates it for a node that has published `published` messages.
    pub(super) fn new(epoch: Epoch, published: u64) -> Self {
        Self {
            unread: SyncMutex::new(Unread { epoch, newest: published, callers: VecDeque::new() }),
            read: watch::Sender::new(published),
            rules: watch::Sender::new(None),
            begun: watch::Sender::new(epoch),
            halted: CancellationToken::new(),
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.lock().epoch
    }

    /// Begins with another log, which goes on from the one before. Everything that was not read from that is dropped: the
    /// outcomes are unknown, and whoever wants them asks again, in the order in which they asked first.
    pub(super) fn begin_epoch(&self, epoch: Epoch) {
        let mut unread = self.lock();
        unread.epoch = epoch;
        unread.callers.clear();
        let newest = unread.newest;
        drop(unread);
        self.rules.send_replace(None);
        self.note_read(newest);
        self.begun.send_replace(epoch);
    }

    /// Notes who waits for the outcomes of a message. In a log that is halted nobody can. Returns the epoch of the log that the
    /// message is for.
    fn push(&self, number: u64, callers: Vec<oneshot::Sender<Outcome>>) -> Epoch {
        let mut unread = self.lock();
        unread.newest = number;
        if !self.halted.is_cancelled() {
            unread.callers.push_back((number, callers));
        }
        unread.epoch
    }

    /// Notes that a message of this node was read, and returns those who wait for its outcomes. Those who wait for
    /// earlier messages are dropped: their outcome is unknown.
    pub(super) fn take(&self, number: u64) -> Vec<oneshot::Sender<Outcome>> {
        let mut taken = Vec::new();
        let mut unread = self.lock();
        while let Some((of, waiting)) = unread.callers.pop_front_if(|(of, _)| *of <= number) {
            if of == number {
                taken = waiting;
            }
        }
        drop(unread);
        self.note_read(number);
        taken
    }

    fn note_read(&self, number: u64) {
        self.read.send_if_modified(|read| {
            let is_newer = number > *read;
            *read = number.max(*read);
            is_newer
        });
    }

    pub(super) fn propose_rules(&self, rules: Rules) {
        self.rules.send_replace(Some(rules));
    }

    /// Waits until there is another log than that of this epoch, and returns its epoch.
    async fn epoch_after(&self, epoch: Epoch) -> Epoch {
        let mut begun = self.begun.subscribe();
        // The sender is part of `self`, so it is not gone.
        begun.wait_for(|begun| *begun != epoch).await.map_or(epoch, |begun| *begun)
    }

    /// Waits until other rules are proposed than these.
    async fn rules_after(&self, proposed: Option<Rules>) -> Option<Rules> {
        let mut rules = self.rules.subscribe();
        // The sender is part of `self`, so it is not gone.
        rules.wait_for(|rules| *rules != proposed).await.ok().and_then(|rules| *rules)
    }

    /// Stops the log: nothing is published any more.
    pub(super) fn halt(&self) {
        self.halted.cancel();
        self.lock().callers.clear();
    }

    /// Waits until a message of this node was read.
    async fn has_read(&self, number: u64) {
        // The sender is part of `self`, so it is not gone.
        let _ = self.read.subscribe().wait_for(|read| *read >= number).await;
    }

    fn lock(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes the proposals of this node.
pub struct Batcher<T> {
    /// Held while it runs, so that there is one at a time.
    work: Mutex<Work>,
    transport: T,
    in_flight: Arc<InFlight>,
    from: Incarnation,
    clock: Arc<ReplicaClock>,
    status: StatusSender,
    metrics: ReplicationMetrics,
}

/// What is to be published.
struct Work {
    queue: mpsc::Receiver<Waiting>,
    /// The message that is being published. It is kept here, so that it is not lost by a panic.
    current: Option<Envelope>,
    /// The number of the newest message.
    number: u64,
    /// The rules that were proposed last.
    rules: Option<Rules>,
    /// The log that messages are for.
    epoch: Epoch,
}

impl<T: Transport> Batcher<T> {
    /// Creates a batcher for an incarnation that has published a number of messages.
    pub(super) fn new(
        queue: mpsc::Receiver<Waiting>,
        transport: T,
        in_flight: Arc<InFlight>,
        (from, published): (Incarnation, u64),
        clock: Arc<ReplicaClock>,
        (status, metrics): (StatusSender, ReplicationMetrics),
    ) -> Self {
        let epoch = in_flight.epoch();
        let work = Mutex::new(Work { queue, current: None, number: published, rules: None, epoch });
        Self { work, transport, in_flight, from, clock, status, metrics }
    }

    /// Publishes what is proposed, until nobody can propose any more and all messages of this node have been read back,
    /// or until the log is halted. A message is published until it is in the stream, and never skipped. May be called
    /// again after a panic, and goes on where it was.
    pub async fn run(&self) {
        let mut work = self.work.lock().await;
        tokio::select! {
            biased;
            () = self.in_flight.halted.cancelled() => work.queue.close(),
            () = self.publish_all(&mut work) => {}
        }
        // Callers that still wait in a log that is halted ask another node.
        while work.queue.try_recv().is_ok() {}
    }

    async fn publish_all(&self, work: &mut Work) {
        loop {
            if work.current.is_none() {
                let Some((content, epoch)) = self.next(work).await else { break };
                if epoch != work.epoch {
                    self.begin_epoch(work, epoch);
                    continue;
                }
                let (from, number) = (self.from, work.number);
                work.current = Some(Envelope { from, number, uptime_millis: 0, content });
            }
            if let Some(message) = work.current.as_mut() {
                self.wait_for_room(message.number).await;
                self.publish(message).await;
            }
            work.current = None;
            let epoch = self.in_flight.epoch();
            if epoch != work.epoch {
                self.begin_epoch(work, epoch);
            }
        }
        self.in_flight.has_read(work.number).await;
    }

    /// Begins with another log. Everything that waits is dropped, since it may follow what was dropped with the log before. It is
    /// asked for again, in order.
    fn begin_epoch(&self, work: &mut Work, epoch: Epoch) {
        drop(self.in_flight.take(work.number));
        while work.queue.try_recv().is_ok() {}
        (work.epoch, work.rules) = (epoch, None);
    }

    /// Waits until few enough of the messages before this one are in the stream and have not been read.
    async fn wait_for_room(&self, number: u64) {
        let read = self.in_flight.has_read(number.saturating_sub(UNREAD));
        tokio::pin!(read);
        if timeout(UNREAD_TIMEOUT, &mut read).await.is_err() {
            self.status.set(Part::Publisher, LogStatus::Waiting(NotPublished::NotRead));
            read.await;
        }
    }

    /// Waits until the newest message is overdue to be read. Never returns if it is read before.
    async fn is_overdue(&self, number: u64) {
        if timeout(OVERDUE, self.in_flight.has_read(number)).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for proposals, and takes those that are waiting, or for rules. Returns them with the epoch of the log that they are
    /// for. `None` if there are no proposals and nobody can make any more.
    async fn next(&self, work: &mut Work) -> Option<(Content, Epoch)> {
        let mut waiting = tokio::select! {
            waiting = work.queue.recv() => Some(waiting?),
            Some(rules) = self.in_flight.rules_after(work.rules) => {
                work.rules = Some(rules);
                work.number += 1;
                let epoch = self.in_flight.push(work.number, Vec::new());
                return Some((Content::Rules(rules), epoch));
            }
            epoch = self.in_flight.epoch_after(work.epoch) => {
                return Some((Content::Proposals(Vec::new()), epoch));
            }
            // Whoever waits for a message that is lost learns that when a later one is read.
            () = self.is_overdue(work.number) => {
                work.number += 1;
                return Some((Content::Proposals(Vec::new()), self.in_flight.epoch()));
            }
        };
        let (mut proposals, mut callers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(Waiting { proposal, outcome }) = waiting {
            // A proposal that cannot be encoded counts as nothing here, and is refused when its message is.
            bytes += postcard::serialize_with_flavor(&proposal, Size::default()).unwrap_or(0);
            proposals.push(proposal);
            callers.push(outcome);
            let is_full = bytes >= MESSAGE_BYTES || proposals.len() >= MESSAGE_PROPOSALS;
            waiting = if is_full { None } else { work.queue.try_recv().ok() };
        }
        work.number += 1;
        let epoch = self.in_flight.push(work.number, callers);
        Some((Content::Proposals(proposals), epoch))
    }

    /// Publishes a message until it is in the stream: until that is acknowledged, or the message was read back, since an
    /// answer may be lost. It is dropped when another log begins.
    async fn publish(&self, message: &mut Envelope) {
        let MessageId { from, number } = MessageId { from: self.from, number: message.number };
        let (begun, mut wait) = (Instant::now(), FIRST_WAIT);
        if let Content::Proposals(proposals) = &message.content {
            self.metrics.proposals.observe(f64::from(u32::try_from(proposals.len()).unwrap_or(u32::MAX)));
        }
        loop {
            message.uptime_millis = u64::try_from(self.clock.uptime().as_millis()).unwrap_or(u64::MAX);
            let payload = match encode(self.in_flight.epoch(), message) {
                Ok(payload) => payload,
                Err(error) => {
                    tracing::error!(%error, "a message of the log could not be encoded, and is dropped");
                    drop(self.in_flight.take(number));
                    return;
                }
            };
            let published = tokio::select! {
                published = self.transport.publish(MessageId { from, number }, payload) => published,
                () = self.in_flight.has_read(number) => Ok(()),
            };
            let Err(error) = published else { break };
            self.metrics.publish_failures.inc();
            self.status.set(Part::Publisher, LogStatus::Waiting(error));
            tokio::select! {
                () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                () = self.in_flight.has_read(number) => break,
            }
        }
        metrics::observe(&self.metrics.publish, begun.elapsed());
        self.status.set(Part::Publisher, LogStatus::Well);
    }
}
