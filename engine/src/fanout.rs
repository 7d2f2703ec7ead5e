//! Fan-out: replay buffers with the newest events of every watched chat, each encoded once, and the subscribers they
//! are written to.
//!
//! A replay buffer is an optimization: a reader whose cursor is behind it reads on from the database. It can therefore
//! be dropped with its last subscriber, and it starts empty. A connection subscribes first and reads the database
//! afterwards; each event names the one before it ([`EncodedEvent::prev`]), so the reader can tell whether the buffer
//! continues where the database ended.
//!
//! Connections do not fetch new events themselves, since that would wake a task for each of them. Subscribers are
//! spread over a few shards. Each shard is a task that writes new events to its share of the subscribers, the same
//! bytes to all.

mod event_batch;
mod replay_buffer;
mod subscriber;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use domain::{ChatId, Event, EventKind, Seq};
use tokio::sync::Notify;

use crate::metrics::{self, FanoutMetrics};

pub use event_batch::{EncodedEvent, EventBatch};
pub use replay_buffer::CatchUp;
use replay_buffer::{ReplayBuffer, Taken};
pub use subscriber::{FrameSink, Full, Subscriber};

/// The number of subscribers that are written to before the task yields.
const WRITES_A_TURN: usize = 256;
/// The number of subscribers that are prefetched before any of them is written to. Their memory is fetched in parallel,
/// and they are few enough to be still in the processor's cache when they are written to.
const PREFETCHED: usize = 32;

/// The replay buffers of all watched chats, and the shards that write new events to the subscribers.
pub struct Fanout {
    chats: Mutex<HashMap<ChatId, Arc<Mutex<ReplayBuffer>>>>,
    shards: Vec<Shard>,
    metrics: FanoutMetrics,
}

/// A share of all subscribers, written to by one task.
#[derive(Default)]
struct Shard {
    /// The replay buffers with new events for this shard, each at most once.
    waiting: Mutex<Vec<Arc<Mutex<ReplayBuffer>>>>,
    wake: Notify,
    subscribers: AtomicUsize,
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
        let shards = (0..shards.max(1)).map(|_| Shard::default()).collect();
        Self { chats: Mutex::default(), shards, metrics: FanoutMetrics::default() }
    }

    /// Returns what the fan-out counts and measures.
    pub fn metrics(&self) -> &FanoutMetrics {
        &self.metrics
    }

    /// Returns the number of shards. Each of them has to be [run](Fanout::run).
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Subscribes to a chat: every event of it from now on is offered to `subscriber` until the returned guard is
    /// dropped.
    pub fn subscribe(self: &Arc<Self>, chat: ChatId, subscriber: Arc<Subscriber>) -> Subscription {
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
        if event.kind.message().is_some() {
            self.metrics.posts.inc();
        }
        let Some(buffer) = lock(&self.chats).get(&event.chat).cloned() else { return };
        let Some(encoded) = EncodedEvent::new(event) else { return };
        let mut held = lock(&buffer);
        let clears = event.clears();
        let is_removal = matches!(event.kind, EventKind::MessageRemoved { .. }) || clears.is_some();
        if is_removal || event.kind.amends().is_some() {
            // Readers that are behind must not get what was removed or edited: the database has those events as they are
            // now.
            held.clear();
        }
        held.push(encoded);
        // A removed user is offered no further event, the removal itself included.
        match (&event.kind, clears) {
            (EventKind::PersonRemoved { person, .. }, _) => held.unsubscribe_user(&[person.id]),
            (EventKind::PeopleRemoved { .. }, Some((people, _))) => held.unsubscribe_user(&people),
            _ => {}
        }
        let now = Instant::now();
        for (in_shard, shard) in held.by_shard.iter_mut().zip(&self.shards) {
            if in_shard.subscribers.is_empty() {
                continue;
            }
            in_shard.appended_at.get_or_insert(now);
            if !mem::replace(&mut in_shard.is_told, true) {
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
    pub fn watched_chats(&self) -> usize {
        lock(&self.chats).len()
    }

    /// Runs a shard: writes new events to its share of the subscribers. Returns only if `shard` does not exist.
    pub async fn run(&self, shard: usize) {
        let Some(Shard { waiting, wake, .. }) = self.shards.get(shard) else { return };
        loop {
            let next = lock(waiting).pop();
            match next {
                Some(buffer) => offer_all(&buffer, shard, &self.metrics).await,
                None => wake.notified().await,
            }
        }
    }
}

/// Writes what is new in one chat to its subscribers in one shard.
async fn offer_all(buffer: &Mutex<ReplayBuffer>, shard: usize, metrics: &FanoutMetrics) {
    // Reset before anything is taken, so that an event appended meanwhile wakes the shard again, even if this panics.
    if let Some(in_shard) = lock(buffer).by_shard.get_mut(shard) {
        in_shard.is_told = false;
    }
    loop {
        let Some(Taken { batch, subscribers, appended_at }) = lock(buffer).take(shard) else { return };
        for turn in subscribers.chunks(WRITES_A_TURN) {
            let mut written = 0;
            for few in turn.chunks(PREFETCHED) {
                few.iter().for_each(|(_, subscriber)| subscriber.touch());
                written += few.iter().map(|(_, subscriber)| subscriber.offer(&batch)).sum::<usize>();
            }
            metrics.count_deliveries(written);
            tokio::task::yield_now().await;
        }
        if let Some(appended_at) = appended_at {
            metrics::observe(&metrics.delivery, appended_at.elapsed());
        }
    }
}

impl Subscription {
    /// Returns the events after `cursor`, up to `BATCH_BYTES` at once but at least one.
    pub fn after(&mut self, cursor: Seq) -> CatchUp {
        let buffer = lock(&self.buffer);
        if buffer.generation != self.generation {
            self.generation = buffer.generation;
            return self.missed();
        }
        let found = buffer.after(cursor);
        drop(buffer);
        if let CatchUp::Evicted = found { self.missed() } else { found }
    }

    /// Counts the events of a batch that the subscriber's own task has written, those after `cursor`.
    pub fn count_deliveries(&self, batch: &EventBatch, cursor: Seq) {
        self.fanout.metrics.count_deliveries(batch.count_after(cursor));
    }

    fn missed(&self) -> CatchUp {
        self.fanout.metrics.misses.inc();
        CatchUp::Evicted
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
