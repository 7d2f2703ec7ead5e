//! The metrics of a node of a cluster: how it follows the log, its connection to NATS, the other nodes and the snapshots.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use ::cluster::{Connection, reader::Seen, snapshots::maker::Made};
use engine::{
    clock::ReplicaClock,
    command_log::status::{LogStatus, Part, StatusReceiver},
    metrics::ReplicationMetrics,
    nodes::members::Standing,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::sync::watch;

/// The name of the gauge of what this node has not applied yet, which a single process has as well.
pub(super) const BEHIND: &str = "qchat_log_behind";
/// What it is.
pub(super) const BEHIND_HELP: &str =
    "Number of messages of the log that this node has not applied yet; 0 without a cluster.";

/// What is measured of a node of a cluster, and what is read of it for each scrape.
pub struct ClusterMetrics {
    /// The instruments of the log.
    pub replication: ReplicationMetrics,
    /// The connection to NATS.
    pub connection: Connection,
    /// The clock of the log.
    pub clock: Arc<ReplicaClock>,
    /// How the log is doing.
    pub status: StatusReceiver,
    /// What was seen of the stream.
    pub seen: watch::Receiver<Seen>,
    /// Whether this node does what one does for all.
    pub duty: watch::Receiver<bool>,
    /// What is known of the other nodes and of the snapshots. Empty until the tasks for them have been started.
    pub members: OnceLock<(watch::Receiver<Standing>, watch::Receiver<Made>)>,
}

impl fmt::Debug for ClusterMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterMetrics").finish_non_exhaustive()
    }
}

impl ClusterMetrics {
    /// Adds them to a registry.
    pub fn register(self: Arc<Self>, registry: &mut Registry) {
        self.replication.register(registry);
        registry.register_collector(Box::new(Shown(self)));
    }

    /// Returns the number of messages that are in the stream and not applied here, as far as is known.
    fn behind(&self) -> u64 {
        match self.status.of(Part::Applier) {
            LogStatus::Live { behind } | LogStatus::CatchingUp { behind } => behind,
            _ => 0,
        }
    }
}

/// Shows what is read for each scrape.
#[derive(Debug)]
struct Shown(Arc<ClusterMetrics>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Self(cluster) = self;
        let seen = *cluster.seen.borrow();
        let members = cluster.members.get();
        let made = members.map(|(_, made)| made.borrow().clone()).unwrap_or_default();
        let nodes = members.map_or(0, |(standing, _)| standing.borrow().members);
        let mut gauge = |name: &str, help: &str, value: u64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(BEHIND, BEHIND_HELP, cluster.behind())?;
        gauge(
            "qchat_nats_connected",
            "1 if there is a connection to NATS, 0 otherwise.",
            u64::from(cluster.connection.is_up()),
        )?;
        gauge(
            "qchat_nodes",
            "Number of nodes of the cluster that this node hears, itself included.",
            u64::try_from(nodes).unwrap_or(u64::MAX),
        )?;
        gauge(
            "qchat_on_duty",
            "1 if this node sweeps and makes snapshots for all nodes, 0 otherwise.",
            u64::from(*cluster.duty.borrow()),
        )?;
        if let Some(stream) = seen.stream {
            gauge("qchat_stream_bytes", "Size of the log in NATS in bytes.", stream.bytes)?;
            if let Some(most) = stream.max_bytes {
                gauge(
                    "qchat_stream_max_bytes",
                    "Size that the log in NATS may have in bytes (--nats-max-log).",
                    most,
                )?;
            }
        }
        if let Some(newest) = made.newest {
            gauge("qchat_snapshot_bytes", "Size of the newest snapshot in bytes.", made.bytes)?;
            gauge(
                "qchat_snapshot_age_seconds",
                "Time since the newest snapshot, by the clock of the log.",
                cluster.clock.now().millis_since(newest.at) / 1_000,
            )?;
        }
        let mut counter = |name: &str, help: &str, value: u64| {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)
        };
        counter(
            "qchat_nats_connects",
            "Number of times that this node has connected to a NATS server, the first included.",
            cluster.connection.connects(),
        )?;
        counter(
            "qchat_nats_dropped",
            "Grows when what other nodes tell about their users came faster than it was taken in; it is then asked for again.",
            cluster.connection.dropped(),
        )?;
        counter("qchat_reader_restarts", "Number of times that reading the log began anew.", seen.restarts)?;
        counter("qchat_snapshots_made", "Number of snapshots that this node has made.", made.made)?;
        counter(
            "qchat_snapshot_failures",
            "Number of times that this node could not make a snapshot, or not delete what is old.",
            made.failed,
        )
    }
}
