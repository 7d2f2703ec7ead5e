//! Fan-out: replay buffers with the newest events of every watched chat, each encoded once, and the subscribers they
//! are written to.
//!
//! A replay buffer is an optimization: a reader whose cursor is behind it reads on from the database. It can therefore
//! be dropped with its last subscriber, and it starts empty. A connection subscribes first and reads the database
//! afterwards; each event names the one before it ([`Encoded::prev`]), so the reader can tell whether the buffer
//! continues where the database ended.
//!
//! Connections do not fetch new events themselves, since that would wake a task for each of them. Subscribers are
//! spread over a few shards. Each shard is a task that writes new events to its share of the subscribers, the same
//! bytes to all.

mod subscriber;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use domain::{ChatId, Event, EventKind, Seq, UserId, frame::ServerFrame};
use tokio::sync::Notify;

use crate::{storage::BATCH_BYTES, wire};
pub use subscriber::{FrameSink, Full, Subscriber};

/// The maximum number of events in a replay buffer: more than a connection misses while it writes one batch.
const BUFFER_EVENTS: usize = 256;
/// The maximum size of a replay buffer in bytes, since every watched chat has one. The newest event is kept even if it
/// alone is larger.
const BUFFER_BYTES: usize = 256 * 1024;
/// The number of subscribers that are written to before the task yields.
const WRITES_A_TURN: usize = 256;
/// The number of subscribers that are prefetched before any of them is written to. Their memory is fetched in parallel,
/// and they are few enough to be still in the processor's cache when they are written to.
const PREFETCHED: usize = 32;

/// An event encoded as a WebSocket frame.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The sequence number of the event.
    pub seq: Seq,
    /// The sequence number of the event before it in the same chat.
    pub prev: Seq,
    /// The encoded frame.
    pub frame: Bytes,
}

impl Encoded {
    /// Encodes an event. Returns `None` if it cannot be written as JSON, which is not known to happen for any event.
    pub fn new(event: &Event) -> Option<Self> {
        let frame = wire::encode(&ServerFrame::Event(event.clone()))?;
        Some(Self { seq: event.seq, prev: event.prev, frame })
    }
}

/// Consecutive events of a chat, without a gap, as bytes.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The sequence number of the event before the first one.
    prev: Seq,
    /// The sequence number of each event, and the offset in `frames` at which its frame ends.
    ends: Vec<(Seq, usize)>,
    frames: Bytes,
}

impl Batch {
    /// Joins consecutive events. Returns `None` if there are none.
    pub fn of(events: &[Encoded]) -> Option<Self> {
        let prev = events.first()?.prev;
        let mut end = 0;
        let ends = events.iter().map(|event| {
            end += event.frame.len();
            (event.seq, end)
        });
        let ends = ends.collect();
        let frames = match events {
            [only] => only.frame.clone(),
            several => {
                let mut frames = Vec::with_capacity(end);
                several.iter().for_each(|event| frames.extend_from_slice(&event.frame));
                frames.into()
            }
        };
        Some(Self { prev, ends, frames })
    }

    /// Returns the sequence number of the newest event.
    pub fn last(&self) -> Seq {
        self.ends.last().map_or(self.prev, |(seq, _)| *seq)
    }

    /// Returns the frames of all events.
    pub fn frames(&self) -> &Bytes {
        &self.frames
    }

    /// Returns the frames of the events after `cursor`. Returns `None` if the cursor is not at an event of this batch
    /// or at the one before it, in which case events between them may be missing, or if there are no newer events.
    pub fn after(&self, cursor: Seq) -> Option<Bytes> {
        if cursor == self.prev {
            return Some(self.frames.clone());
        }
        let place = self.ends.binary_search_by_key(&cursor, |(seq, _)| *seq).ok()?;
        let (_, start) = *self.ends.get(place)?;
        Some(self.frames.slice(start..)).filter(|frames| !frames.is_empty())
    }
}

/// What a replay buffer has for a reader.
#[derive(Debug)]
pub enum CatchUp {
    /// The replay buffer has no events after the cursor.
    Nothing,
    /// The events after the reader's cursor, without a gap.
    Events(Batch),
    /// Events after the cursor may be missing here: they were evicted, or were never in the replay buffer. They have to
    /// be read from the database.
    Evicted,
}

/// The replay buffers of all watched chats, and the shards that write new events to the subscribers.
pub struct Fanout {
    chats: Mutex<HashMap<ChatId, Arc<Mutex<ReplayBuffer>>>>,
    shards: Vec<Shard>,
}

/// A share of all subscribers, written to by one task.
#[derive(Default)]
struct Shard {
    /// The replay buffers with new events for this shard, each at most once.
    waiting: Mutex<Vec<Arc<Mutex<ReplayBuffer>>>>,
    wake: Notify,
    subscribers: AtomicUsize,
}

struct ReplayBuffer {
    /// Incremented whenever events that are in the database may be missing here.
    generation: u64,
    events: VecDeque<Encoded>,
    bytes: usize,
    by_shard: Vec<ShardSubscribers>,
    next_subscriber: u64,
}

/// Subscribers of one chat with their numbers, in ascending order.
type Followers = Arc<Vec<(u64, Arc<Subscriber>)>>;

/// The subscribers of one chat in one shard.
#[derive(Default)]
struct ShardSubscribers {
    /// Shared with the shard while it writes to them.
    subscribers: Followers,
    /// The sequence number of the newest event that the shard has taken.
    taken: Seq,
    /// Whether the buffer is waiting in the shard's list.
    is_told: bool,
}

/// A guard that keeps a subscriber in a chat until it is dropped.
pub struct Subscription {
    fanout: Arc<Fanout>,
    chat: ChatId,
    buffer: Arc<Mutex<ReplayBuffer>>,
    shard: usize,
    number: u64,
    generation: u64,
}

impl Fanout {
    /// Creates a fan-out without replay buffers and with the given number of shards, at least 1.
    pub fn new(shards: usize) -> Self {
        Self { chats: Mutex::default(), shards: (0..shards.max(1)).map(|_| Shard::default()).collect() }
    }

    /// Returns the number of shards. Each of them has to be [run](Fanout::run).
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Subscribes to a chat: every event of it from now on is offered to `subscriber` until the returned guard is
    /// dropped.
    pub fn follow(self: &Arc<Self>, chat: ChatId, subscriber: Arc<Subscriber>) -> Subscription {
        let shard = self.smallest();
        let mut chats = lock(&self.chats);
        let buffer = Arc::clone(chats.entry(chat).or_insert_with(|| ReplayBuffer::new(self.shards.len())));
        let (number, generation) = {
            let mut buffer = lock(&buffer);
            let number = buffer.next_subscriber;
            buffer.next_subscriber += 1;
            if let Some(in_shard) = buffer.by_shard.get_mut(shard) {
                Arc::make_mut(&mut in_shard.subscribers).push((number, subscriber));
            }
            (number, buffer.generation)
        };
        Subscription { fanout: Arc::clone(self), chat, buffer, shard, number, generation }
    }

    /// Returns the shard with the fewest subscribers, and counts one more in it.
    fn smallest(&self) -> usize {
        let count = |shard: &Shard| shard.subscribers.load(Ordering::Relaxed);
        let smallest = (0..self.shards.len()).min_by_key(|place| count(&self.shards[*place])).unwrap_or(0);
        self.shards[smallest].subscribers.fetch_add(1, Ordering::Relaxed);
        smallest
    }

    /// Adds a committed event to the replay buffer of its chat and wakes the shards that have subscribers there. Does
    /// nothing if the chat has no subscribers. The events of a chat have to be appended in their order.
    pub fn append(&self, event: &Event) {
        let Some(buffer) = lock(&self.chats).get(&event.chat).cloned() else { return };
        let Some(encoded) = Encoded::new(event) else { return };
        let mut held = lock(&buffer);
        let clears = event.clears();
        if matches!(event.kind, EventKind::MessageRemoved { .. }) || clears.is_some() {
            // Readers that are behind must not get what was removed: the database has those events without their text.
            held.clear();
        }
        held.push(encoded);
        // A removed user is offered no further event, the removal itself included.
        match (&event.kind, clears) {
            (EventKind::PersonRemoved { person, .. }, _) => held.unsubscribe_user(&[person.id]),
            (EventKind::PeopleRemoved { .. }, Some((people, _))) => held.unsubscribe_user(&people),
            _ => {}
        }
        for (in_shard, shard) in held.by_shard.iter_mut().zip(&self.shards) {
            if !in_shard.subscribers.is_empty() && !mem::replace(&mut in_shard.is_told, true) {
                lock(&shard.waiting).push(Arc::clone(&buffer));
                shard.wake.notify_one();
            }
        }
    }

    /// Empties all replay buffers and wakes all subscribers, so that they read from the database. Called when committed
    /// events may not have been appended.
    pub fn invalidate(&self) {
        let fanout: Vec<_> = lock(&self.chats).values().cloned().collect();
        for buffer in fanout {
            let mut buffer = lock(&buffer);
            buffer.generation += 1;
            buffer.clear();
            buffer
                .by_shard
                .iter()
                .flat_map(|in_shard| &*in_shard.subscribers)
                .for_each(|(_, subscriber)| subscriber.wake());
        }
    }

    /// Returns the number of chats with subscribers.
    pub fn followed(&self) -> usize {
        lock(&self.chats).len()
    }

    /// Runs a shard: writes new events to its share of the subscribers. Returns only if `shard` does not exist.
    pub async fn run(&self, shard: usize) {
        let Some(Shard { waiting, wake, .. }) = self.shards.get(shard) else { return };
        loop {
            let next = lock(waiting).pop();
            match next {
                Some(buffer) => offer_all(&buffer, shard).await,
                None => wake.notified().await,
            }
        }
    }
}

/// Writes what is new in one chat to its subscribers in one shard.
async fn offer_all(buffer: &Mutex<ReplayBuffer>, shard: usize) {
    // Reset before anything is taken, so that an event appended meanwhile wakes the shard again, even if this panics.
    if let Some(in_shard) = lock(buffer).by_shard.get_mut(shard) {
        in_shard.is_told = false;
    }
    loop {
        let Some((batch, subscribers)) = lock(buffer).take(shard) else { return };
        for turn in subscribers.chunks(WRITES_A_TURN) {
            for few in turn.chunks(PREFETCHED) {
                few.iter().for_each(|(_, subscriber)| subscriber.touch());
                few.iter().for_each(|(_, subscriber)| subscriber.offer(&batch));
            }
            tokio::task::yield_now().await;
        }
    }
}

impl ReplayBuffer {
    fn new(shards: usize) -> Arc<Mutex<Self>> {
        let by_shard = (0..shards).map(|_| ShardSubscribers::default()).collect();
        let events = VecDeque::new();
        Arc::new(Mutex::new(Self { generation: 0, events, bytes: 0, by_shard, next_subscriber: 0 }))
    }

    fn push(&mut self, event: Encoded) {
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > BUFFER_EVENTS || (self.bytes > BUFFER_BYTES && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.frame.len();
        }
    }

    fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }

    fn unsubscribe_user(&mut self, users: &[UserId]) {
        for in_shard in &mut self.by_shard {
            if in_shard.subscribers.iter().any(|(_, subscriber)| users.contains(&subscriber.user())) {
                Arc::make_mut(&mut in_shard.subscribers)
                    .retain(|(_, subscriber)| !users.contains(&subscriber.user()));
            }
        }
    }

    /// Returns the events after `cursor`, up to `BATCH_BYTES` at once but at least one.
    fn after(&self, cursor: Seq) -> CatchUp {
        let start = self.events.partition_point(|event| event.seq <= cursor);
        let Some(first) = self.events.get(start) else { return CatchUp::Nothing };
        if first.prev > cursor {
            return CatchUp::Evicted;
        }
        let mut bytes = 0;
        let fits = |event: &&Encoded| {
            let fits = bytes == 0 || bytes + event.frame.len() <= BATCH_BYTES;
            bytes += event.frame.len();
            fits
        };
        let events: Vec<Encoded> = self.events.range(start..).take_while(fits).cloned().collect();
        Batch::of(&events).map_or(CatchUp::Nothing, CatchUp::Events)
    }

    /// Takes the next events for a shard, and returns them with the subscribers there. Returns `None` if there are
    /// none.
    fn take(&mut self, shard: usize) -> Option<(Batch, Followers)> {
        let taken = self.by_shard.get(shard)?.taken;
        // If events were evicted, the subscribers that still need them find the gap.
        let from = match self.events.front() {
            Some(oldest) if oldest.prev > taken => oldest.prev,
            _ => taken,
        };
        let CatchUp::Events(batch) = self.after(from) else { return None };
        let in_shard = self.by_shard.get_mut(shard)?;
        in_shard.taken = batch.last();
        Some((batch, Arc::clone(&in_shard.subscribers)))
    }
}

impl Subscription {
    /// Returns the events after `cursor`, up to `BATCH_BYTES` at once but at least one.
    pub fn after(&mut self, cursor: Seq) -> CatchUp {
        let buffer = lock(&self.buffer);
        if buffer.generation != self.generation {
            self.generation = buffer.generation;
            return CatchUp::Evicted;
        }
        buffer.after(cursor)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut chats = lock(&self.fanout.chats);
        let mut buffer = lock(&self.buffer);
        if let Some(in_shard) = buffer.by_shard.get_mut(self.shard)
            && let Ok(place) = in_shard.subscribers.binary_search_by_key(&self.number, |(number, _)| *number)
        {
            Arc::make_mut(&mut in_shard.subscribers).remove(place);
        }
        if let Some(shard) = self.fanout.shards.get(self.shard) {
            shard.subscribers.fetch_sub(1, Ordering::Relaxed);
        }
        // A user who was removed from the chat may outlive its replay buffer, and there may be a new one by then.
        let is_this = chats.get(&self.chat).is_some_and(|there| Arc::ptr_eq(there, &self.buffer));
        if is_this && buffer.by_shard.iter().all(|in_shard| in_shard.subscribers.is_empty()) {
            chats.remove(&self.chat);
        }
    }
}

/// Locks a mutex. Data behind a poisoned lock is still consistent, since every change under these locks is complete in
/// itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use domain::{Body, ClientId, Message, RemovedBy, Timestamp, User, id::ID_BYTES};
    use futures_util::FutureExt;
    use tokio::sync::mpsc;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

    fn event(seq: u64, prev: u64) -> Event {
        let User { id: author, nickname } = User::new(UserId::from_bytes([1; ID_BYTES]));
        let client_id = ClientId::from_bytes([2; ID_BYTES]);
        let message = Message { author, nickname, client_id, body: Body::parse("hello").unwrap() };
        Event {
            chat: CHAT,
            seq: Seq(seq),
            prev: Seq(prev),
            at: Timestamp(seq),
            kind: EventKind::Posted(message),
        }
    }

    /// A connection that accepts a limited number of batches.
    struct Line {
        room: AtomicUsize,
        sender: mpsc::UnboundedSender<Bytes>,
    }

    impl FrameSink for Line {
        fn try_send(&self, frames: &Bytes) -> Result<(), Full> {
            let left = |room: usize| room.checked_sub(1);
            self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).map_err(|_| Full)?;
            let _ = self.sender.send(frames.clone());
            Ok(())
        }

        fn prefetch(&self) {}
    }

    /// The receiving end of a [`Line`].
    struct OtherEnd {
        receiver: mpsc::UnboundedReceiver<Bytes>,
        unread: Bytes,
    }

    /// Returns a subscriber with a cursor, the receiving end of its connection, and what wakes its task.
    fn follower_with_room(user: u8, begins: u64, room: usize) -> (Arc<Subscriber>, OtherEnd, Arc<Notify>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (line, wake) = (Line { room: AtomicUsize::new(room), sender }, Arc::default());
        let subscriber =
            Subscriber::new(UserId::from_bytes([user; ID_BYTES]), Arc::new(line), Arc::clone(&wake));
        *subscriber.cursor() = Some(Seq(begins));
        (subscriber, OtherEnd { receiver, unread: Bytes::new() }, wake)
    }

    fn subscriber(user: u8, begins: u64) -> (Arc<Subscriber>, OtherEnd, Arc<Notify>) {
        follower_with_room(user, begins, usize::MAX)
    }

    async fn following(fanout: &Arc<Fanout>) -> Subscription {
        fanout.follow(CHAT, subscriber(1, 0).0)
    }

    /// Returns the sequence numbers of the events in a replay buffer after a cursor.
    fn places(ahead: CatchUp) -> Vec<u64> {
        match ahead {
            CatchUp::Events(batch) => batch.ends.iter().map(|(seq, _)| seq.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the sequence numbers of the next `count` events that are received.
    async fn heard(line: &mut OtherEnd, count: usize) -> Vec<u64> {
        let mut heard = Vec::new();
        for _ in 0..count {
            if line.unread.is_empty() {
                line.unread = line.receiver.recv().await.unwrap();
            }
            let [_, 126, high, low] = *line.unread.split_to(4) else { panic!("no event") };
            let frame = line.unread.split_to(u16::from_be_bytes([high, low]).into());
            let ServerFrame::Event(event) = serde_json::from_slice(&frame).unwrap() else {
                panic!("no event")
            };
            heard.push(event.seq.0);
        }
        heard
    }

    fn run(fanout: &Arc<Fanout>) -> AbortOnDropHandle<()> {
        let fanout = Arc::clone(fanout);
        AbortOnDropHandle::new(tokio::spawn(async move { fanout.run(0).await }))
    }

    #[tokio::test]
    async fn a_cursor_reads_on_from_where_it_is() {
        let fanout = Arc::new(Fanout::new(1));
        let mut following = following(&fanout).await;
        for (seq, prev) in [(3, 1), (4, 3), (9, 4)] {
            fanout.append(&event(seq, prev));
        }
        assert_eq!(places(following.after(Seq(1))), [3, 4, 9]);
        assert_eq!(places(following.after(Seq(3))), [4, 9]);
        assert!(matches!(following.after(Seq(9)), CatchUp::Nothing));
    }

    #[test]
    fn a_batch_is_read_from_any_of_its_places() {
        let events: Vec<_> =
            [(3, 1), (4, 3), (9, 4)].map(|(seq, prev)| Encoded::new(&event(seq, prev)).unwrap()).into();
        let batch = Batch::of(&events).unwrap();
        assert_eq!(batch.after(Seq(1)).as_ref(), Some(batch.frames()));
        assert_eq!(batch.after(Seq(4)), Some(events[2].frame.clone()));
        assert_eq!([0, 2, 9, 12].map(|place| batch.after(Seq(place))), [None, None, None, None]);
        assert_eq!((batch.last(), Batch::of(&[]).is_none()), (Seq(9), true));
    }

    #[tokio::test]
    async fn whoever_is_behind_a_removal_reads_on_from_the_store() {
        let fanout = Arc::new(Fanout::new(1));
        let mut following = following(&fanout).await;
        fanout.append(&event(3, 1));
        let kind = EventKind::MessageRemoved { message: Seq(3), by: RemovedBy::Author };
        fanout.append(&Event { kind, ..event(4, 3) });
        assert!(matches!(following.after(Seq(1)), CatchUp::Evicted));
        assert_eq!(places(following.after(Seq(3))), [4]);
    }

    #[tokio::test]
    async fn what_is_not_here_is_in_the_store() {
        let fanout = Arc::new(Fanout::new(1));
        let mut following = following(&fanout).await;
        assert!(matches!(following.after(Seq(0)), CatchUp::Nothing));
        fanout.append(&event(9, 4));
        assert!(matches!(following.after(Seq(3)), CatchUp::Evicted));
        assert_eq!(places(following.after(Seq(4))), [9]);
    }

    #[tokio::test]
    async fn a_tail_is_bounded_and_sends_the_slow_to_the_store() {
        let fanout = Arc::new(Fanout::new(1));
        let mut following = following(&fanout).await;
        for seq in 1..=BUFFER_EVENTS as u64 + 10 {
            fanout.append(&event(seq, seq - 1));
        }
        assert!(matches!(following.after(Seq(9)), CatchUp::Evicted));
        assert_eq!(places(following.after(Seq(10))).len(), BUFFER_EVENTS);
    }

    #[tokio::test]
    async fn a_tail_of_large_events_is_no_larger() {
        let fanout = Arc::new(Fanout::new(1));
        let mut following = following(&fanout).await;
        for seq in 1..=20 {
            let mut large = event(seq, seq - 1);
            let EventKind::Posted(message) = &mut large.kind else { panic!("no message") };
            message.body = Body::parse(&"\u{1F469}\u{200D}\u{1F4BB}".repeat(3_000)).unwrap();
            fanout.append(&large);
        }
        let bytes = lock(&following.buffer).bytes;
        assert!(bytes <= BUFFER_BYTES && bytes > BUFFER_BYTES / 2, "{bytes}");
        let batch = places(following.after(Seq(15)));
        assert_eq!(batch, [16, 17, 18], "and a batch is smaller still");
        assert!(matches!(following.after(Seq(1)), CatchUp::Evicted));
    }

    #[tokio::test]
    async fn what_is_new_is_written_to_all_who_have_begun() {
        let fanout = Arc::new(Fanout::new(1));
        let _running = run(&fanout);
        let (one, mut first, _) = subscriber(1, 0);
        let (other, mut second, _) = subscriber(2, 3);
        let _both = (fanout.follow(CHAT, one), fanout.follow(CHAT, other));
        for (seq, prev) in [(3, 0), (4, 3), (9, 4)] {
            fanout.append(&event(seq, prev));
        }
        assert_eq!(heard(&mut first, 3).await, [3, 4, 9]);
        assert_eq!(heard(&mut second, 2).await, [4, 9], "each from where they are");
    }

    #[tokio::test]
    async fn whoever_has_a_hole_or_has_not_begun_is_left_to_their_own_task() {
        let fanout = Arc::new(Fanout::new(1));
        let _running = run(&fanout);
        let (behind, _there, wake) = subscriber(1, 1);
        let (waits, _here, _) = subscriber(2, 4);
        *waits.cursor() = None;
        let _both = (fanout.follow(CHAT, Arc::clone(&behind)), fanout.follow(CHAT, Arc::clone(&waits)));
        fanout.append(&event(9, 4));
        wake.notified().await;
        assert_eq!((*behind.cursor(), *waits.cursor()), (Some(Seq(1)), None));
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_left_to_their_own_task_and_misses_nothing() {
        let fanout = Arc::new(Fanout::new(1));
        let _running = run(&fanout);
        let (stuck, mut there, wake) = follower_with_room(1, 0, 3);
        let mut following = fanout.follow(CHAT, Arc::clone(&stuck));
        let mut last = 0;
        while wake.notified().now_or_never().is_none() {
            last += 1;
            fanout.append(&event(last, last - 1));
            tokio::task::yield_now().await;
        }
        let sent = stuck.cursor().unwrap();
        let count = usize::try_from(sent.0).unwrap();
        assert_eq!(heard(&mut there, count).await, (1..=sent.0).collect::<Vec<_>>());
        assert!(sent.0 < last && !matches!(following.after(sent), CatchUp::Nothing));
    }

    #[tokio::test]
    async fn whoever_is_removed_is_offered_nothing_of_what_follows() {
        let fanout = Arc::new(Fanout::new(1));
        let (removed, mut there, _) = subscriber(1, 0);
        let (stays, mut here, _) = subscriber(2, 0);
        let _both = (fanout.follow(CHAT, Arc::clone(&removed)), fanout.follow(CHAT, stays));
        let person = User::new(removed.user());
        let kind = EventKind::PersonRemoved { nickname: person.nickname.clone(), person };
        fanout.append(&Event { kind, ..event(1, 0) });
        fanout.append(&event(2, 1));
        let _running = run(&fanout);
        assert_eq!(heard(&mut here, 2).await, [1, 2]);
        drop((removed, _both));
        assert_eq!(there.receiver.recv().await, None, "nothing came before the end");
    }

    #[tokio::test]
    async fn in_doubt_everybody_is_sent_to_the_store() {
        let fanout = Arc::new(Fanout::new(1));
        let (subscriber, _there, wake) = subscriber(1, 0);
        let mut following = fanout.follow(CHAT, subscriber);
        fanout.append(&event(1, 0));
        fanout.invalidate();
        wake.notified().await;
        assert!(matches!(following.after(Seq(0)), CatchUp::Evicted));
        assert!(matches!(following.after(Seq(1)), CatchUp::Nothing), "once");
    }

    #[tokio::test]
    async fn a_tail_goes_with_its_last_follower() {
        let fanout = Arc::new(Fanout::new(3));
        let first = following(&fanout).await;
        let mut second = following(&fanout).await;
        drop(first);
        fanout.append(&event(1, 0));
        assert_eq!(places(second.after(Seq(0))), [1]);
        drop(second);
        assert_eq!(fanout.followed(), 0);
        fanout.append(&event(2, 1));
        assert_eq!(fanout.followed(), 0, "events nobody follows are not kept");
        assert!(fanout.shards.iter().all(|shard| shard.subscribers.load(Ordering::Relaxed) == 0));
    }
}
