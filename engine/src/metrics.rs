//! What the engine counts and measures, for the operator's monitoring. Each part of the engine holds its own instruments,
//! and [`Engine::register_metrics`](crate::Engine::register_metrics) adds them to a registry that is shown to Prometheus.
//!
//! An instrument costs a few atomic operations, a histogram a short lock. What happens for thousands of connections at
//! once is therefore counted once for a batch.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The upper bounds of the buckets for durations, in seconds: from a tenth of what takes shortest, a delivery on an idle
/// machine, to the timeout of what takes longest. Two or three in each power of ten tell percentiles well enough.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Returns an empty histogram of durations in seconds.
pub fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Adds a duration to a histogram of [`seconds`].
pub fn observe(histogram: &Histogram, duration: Duration) {
    histogram.observe(duration.as_secs_f64());
}

/// The instruments of the fan-out.
#[derive(Debug)]
pub struct FanoutMetrics {
    pub(crate) posts: Counter,
    pub(crate) deliveries: Counter,
    pub(crate) delivery: Histogram,
    pub(crate) misses: Counter,
}

impl Default for FanoutMetrics {
    fn default() -> Self {
        Self {
            posts: Counter::default(),
            deliveries: Counter::default(),
            delivery: seconds(),
            misses: Counter::default(),
        }
    }
}

impl FanoutMetrics {
    /// Counts events that were written to connections.
    pub(crate) fn count_deliveries(&self, events: usize) {
        if events > 0 {
            self.deliveries.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { posts, deliveries, delivery, misses } = self;
        registry.register("qchat_posts", "Number of messages that were stored", posts.clone());
        registry.register(
            "qchat_deliveries",
            "Number of events that were written to connections, once for each connection",
            deliveries.clone(),
        );
        registry.register(
            "qchat_delivery_seconds",
            "Time from the commit of an event until it is written to all connections of a shard that keep up",
            delivery.clone(),
        );
        registry.register(
            "qchat_replay_buffer_misses",
            "Number of times that a connection had to read from the database what was evicted from a replay buffer",
            misses.clone(),
        );
    }
}

/// The instruments of the database and its write-ahead log.
#[derive(Debug)]
pub struct StoreMetrics {
    pub(crate) transaction: Histogram,
    pub(crate) fsync: Histogram,
    pub(crate) checkpoint: Histogram,
    pub(crate) write_ahead_log: Gauge,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            transaction: seconds(),
            fsync: seconds(),
            checkpoint: seconds(),
            write_ahead_log: Gauge::default(),
        }
    }
}

impl StoreMetrics {
    /// Notes the size of the write-ahead log in bytes.
    pub(crate) fn set_write_ahead_log(&self, bytes: u64) {
        self.write_ahead_log.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { transaction, fsync, checkpoint, write_ahead_log } = self;
        registry.register(
            "qchat_transaction_seconds",
            "Time to decide a batch of log entries and to store what follows from it, the sync included",
            transaction.clone(),
        );
        registry.register(
            "qchat_fsync_seconds",
            "Time to sync the write-ahead log to the disk, once for each transaction",
            fsync.clone(),
        );
        registry.register(
            "qchat_checkpoint_seconds",
            "Time to make the database file durable and to empty the write-ahead log; nothing is stored meanwhile",
            checkpoint.clone(),
        );
        registry.register(
            "qchat_write_ahead_log_bytes",
            "Size of the write-ahead log in bytes",
            write_ahead_log.clone(),
        );
    }
}

/// The instruments of the log, as those see it who propose.
#[derive(Debug)]
pub struct LogMetrics {
    pub(crate) durable: Histogram,
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self { durable: seconds() }
    }
}

impl LogMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { durable } = self;
        registry.register(
            "qchat_durable_seconds",
            "Time from the request for a change until it is durable and its outcome is known; refusals are not counted",
            durable.clone(),
        );
    }
}

/// The instruments of searches in chats.
#[derive(Debug)]
pub struct SearchMetrics {
    pub(crate) search: Histogram,
}

impl Default for SearchMetrics {
    fn default() -> Self {
        Self { search: seconds() }
    }
}

impl SearchMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { search } = self;
        registry.register(
            "qchat_search_seconds",
            "Time to search one slice of a chat, without the wait for a turn",
            search.clone(),
        );
    }
}

/// The upper bounds of the buckets for the number of proposals in a message of a replicated log.
const PROPOSALS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The instruments of a replicated log. Clones share them.
#[derive(Debug, Clone)]
pub struct ReplicationMetrics {
    pub(crate) publish: Histogram,
    pub(crate) publish_failures: Counter,
    pub(crate) proposals: Histogram,
    pub(crate) repeated: Counter,
    pub(crate) skipped: Counter,
}

impl Default for ReplicationMetrics {
    fn default() -> Self {
        Self {
            publish: seconds(),
            publish_failures: Counter::default(),
            proposals: Histogram::new(PROPOSALS),
            repeated: Counter::default(),
            skipped: Counter::default(),
        }
    }
}

impl ReplicationMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { publish, publish_failures, proposals, repeated, skipped } = self;
        registry.register(
            "qchat_log_publish_seconds",
            "Time from the first attempt to publish a message of the log until it is in the stream",
            publish.clone(),
        );
        registry.register(
            "qchat_log_publish_failures",
            "Number of attempts to publish a message of the log that failed or were not answered; each is made again",
            publish_failures.clone(),
        );
        registry.register(
            "qchat_log_message_proposals",
            "Number of proposals in a message of the log that this node published",
            proposals.clone(),
        );
        registry.register(
            "qchat_log_repeated",
            "Number of messages of the log that were in the stream already and have no effect",
            repeated.clone(),
        );
        registry.register(
            "qchat_log_skipped",
            "Number of messages in the stream that are not of this log or are damaged, and were skipped",
            skipped.clone(),
        );
    }
}
