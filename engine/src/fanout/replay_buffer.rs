//! The replay buffer of a watched chat: its newest events, and who is subscribed to it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use domain::{Seq, UserId};

use super::{EncodedEvent, EventBatch, Subscriber};
use crate::storage::BATCH_BYTES;

/// The maximum number of events in a replay buffer: more than a connection misses while it writes one batch.
pub(super) const BUFFER_EVENTS: usize = 256;

/// The maximum size of a replay buffer in bytes, since every watched chat has one. The newest event is kept even if it
/// alone is larger.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// What a replay buffer has for a reader.
#[derive(Debug)]
pub enum CatchUp {
    /// The replay buffer has no events after the cursor.
    Nothing,
    /// The events after the reader's cursor, without a gap.
    Events(EventBatch),
    /// Events after the cursor may be missing here: they were evicted, or were never in the replay buffer. They have to
    /// be read from the database.
    Evicted,
}

pub(super) struct ReplayBuffer {
    /// Incremented whenever events that are in the database may be missing here.
    pub(super) generation: u64,
    pub(super) events: VecDeque<EncodedEvent>,
    pub(super) bytes: usize,
    pub(super) by_shard: Vec<ShardSubscribers>,
    pub(super) next_subscriber: u64,
}

/// Subscribers of one chat with their numbers, in ascending order.
pub(super) type NumberedSubscribers = Arc<Vec<(u64, Arc<Subscriber>)>>;

/// The subscribers of one chat in one shard.
#[derive(Default)]
pub(super) struct ShardSubscribers {
    /// Shared with the shard while it writes to them.
    pub(super) subscribers: NumberedSubscribers,
    /// The sequence number of the newest event that the shard has taken.
    pub(super) taken: Seq,
    /// Whether the buffer is waiting in the shard's list.
    pub(super) is_told: bool,
    /// When the oldest event that the shard has not taken was appended. `None` if it has taken all of them.
    pub(super) appended_at: Option<Instant>,
}

/// What a shard has taken to write.
pub(super) struct Taken {
    pub(super) batch: EventBatch,
    pub(super) subscribers: NumberedSubscribers,
    /// When the oldest of the events was appended. `None` if they have been taken before in part.
    pub(super) appended_at: Option<Instant>,
}

impl ReplayBuffer {
    pub(super) fn new(shards: usize) -> Arc<Mutex<Self>> {
        let by_shard = (0..shards).map(|_| ShardSubscribers::default()).collect();
        let events = VecDeque::new();
        Arc::new(Mutex::new(Self { generation: 0, events, bytes: 0, by_shard, next_subscriber: 0 }))
    }

    pub(super) fn push(&mut self, event: EncodedEvent) {
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > BUFFER_EVENTS || (self.bytes > BUFFER_BYTES && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.frame.len();
        }
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }

    pub(super) fn unsubscribe_user(&mut self, users: &[UserId]) {
        for in_shard in &mut self.by_shard {
            if in_shard.subscribers.iter().any(|(_, subscriber)| users.contains(&subscriber.user())) {
                Arc::make_mut(&mut in_shard.subscribers)
                    .retain(|(_, subscriber)| !users.contains(&subscriber.user()));
            }
        }
    }

    /// Returns the events after `cursor`, up to `BATCH_BYTES` at once but at least one.
    pub(super) fn after(&self, cursor: Seq) -> CatchUp {
        let start = self.events.partition_point(|event| event.seq <= cursor);
        let Some(first) = self.events.get(start) else { return CatchUp::Nothing };
        if first.prev > cursor {
            return CatchUp::Evicted;
        }
        let mut bytes = 0;
        let fits = |event: &&EncodedEvent| {
            let fits = bytes == 0 || bytes + event.frame.len() <= BATCH_BYTES;
            bytes += event.frame.len();
            fits
        };
        let events: Vec<EncodedEvent> = self.events.range(start..).take_while(fits).cloned().collect();
        EventBatch::of(&events).map_or(CatchUp::Nothing, CatchUp::Events)
    }

    /// Takes the next events for a shard, and returns them with the subscribers there. Returns `None` if there are
    /// none.
    pub(super) fn take(&mut self, shard: usize) -> Option<Taken> {
        let taken = self.by_shard.get(shard)?.taken;
        // If events were evicted, the subscribers that still need them find the gap.
        let from = match self.events.front() {
            Some(oldest) if oldest.prev > taken => oldest.prev,
            _ => taken,
        };
        let CatchUp::Events(batch) = self.after(from) else { return None };
        let in_shard = self.by_shard.get_mut(shard)?;
        in_shard.taken = batch.last();
        let appended_at = in_shard.appended_at.take();
        Some(Taken { batch, subscribers: Arc::clone(&in_shard.subscribers), appended_at })
    }
}
