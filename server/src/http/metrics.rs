//! What the server counts and measures for the operator. Names, labels and what to do about them are in
//! `docs/operations.md`.

pub mod cluster;

use std::{fmt, fs, path::PathBuf, sync::Arc, time::SystemTime};

use axum::http::StatusCode;
use domain::{Problem, Seq};
use engine::{
    Engine, limits::Quotas, lobby::Lobby, metrics::seconds, pictures::Collector as PictureCollector,
    presence::Presence, supervisor::Panics,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, prometheus_text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::Registry,
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::http::readiness::Readiness;

/// What the server counts and measures itself, and the registry with the instruments of all parts.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    request_durations: Family<Route, Histogram, fn() -> Histogram>,
    refusals: Family<Reason, Counter>,
    connections_closed: Family<Reason, Counter>,
}

/// The labels of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Adds the instruments of the server to those of its parts, and what is read from `observed` for each scrape.
    pub fn new(mut registry: Registry, observed: Observed) -> Self {
        let requests = Family::default();
        let request_durations = Family::new_with_constructor(seconds as fn() -> Histogram);
        let (refusals, connections_closed) = (Family::default(), Family::default());
        registry.register(
            "qchat_http_requests",
            "Number of requests by route and status, WebSocket handshakes included",
            requests.clone(),
        );
        registry.register(
            "qchat_http_request_seconds",
            "Time from the head of a request to that of its response, waiting for a turn to render included",
            request_durations.clone(),
        );
        registry.register(
            "qchat_refusals",
            "Number of requests, commands and connections that were refused, by the code of the problem",
            refusals.clone(),
        );
        registry.register(
            "qchat_closed_connections",
            "Number of WebSocket connections that ended, by the reason",
            connections_closed.clone(),
        );
        registry.register_collector(Box::new(observed));
        Self { registry, requests, request_durations, refusals, connections_closed }
    }

    /// Returns all of it in the text format of Prometheus. `None` if it cannot be written.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).ok().map(|()| text)
    }

    /// Counts a request that was answered, and how long that took.
    pub(super) fn answered(&self, route: &'static str, status: StatusCode, seconds: f64) {
        self.requests.get_or_create_owned(&Answered { route, status: status.as_u16().into() }).inc();
        self.request_durations.get_or_create_owned(&Route { route }).observe(seconds);
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, problem: Problem) {
        self.refusals.get_or_create_owned(&Reason { reason: problem.code() }).inc();
    }

    /// Counts a WebSocket connection that ended. The reason is one of a few words.
    pub(super) fn connection_closed(&self, reason: &'static str) {
        self.connections_closed.get_or_create_owned(&Reason { reason }).inc();
    }
}

/// The parts of the server that are read for each scrape.
pub struct Observed {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The users who are online.
    pub presence: Arc<Presence>,
    /// The public chats.
    pub lobby: Arc<Lobby>,
    /// The panics of background tasks.
    pub panics: Arc<Panics>,
    /// What looks after the files of pictures.
    pub collector: Arc<PictureCollector>,
    /// Whether the server is ready.
    pub readiness: Arc<Readiness>,
    /// The open WebSockets.
    pub connections: TaskTracker,
    /// The database file.
    pub database: PathBuf,
    /// The quotas, shown beside what they limit.
    pub quotas: Quotas,
    /// When the server was started.
    pub started_at: SystemTime,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: u64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        gauge(
            "qchat_people_online",
            "Number of users online, until 3 seconds after their last page was closed.",
            count(self.presence.people()),
        )?;
        let (pictures, bytes) = self.engine.stored_pictures();
        gauge("qchat_pictures_stored", "Number of pictures whose files are stored.", count(pictures))?;
        gauge("qchat_pictures_bytes", "Size of the files of pictures in bytes.", bytes)?;
        gauge(
            "qchat_pictures_missing",
            "Number of pictures of messages whose files are missing; not 0 after files were lost.",
            self.collector.missing(),
        )?;
        gauge(
            "qchat_members",
            "Number of members of all chats; a user counts once for each chat they are in.",
            count(self.presence.members()),
        )?;
        gauge(
            "qchat_chats_open",
            "Number of chats that have not expired, private ones included.",
            count(self.lobby.counts().chats),
        )?;
        gauge("qchat_connections", "Number of open WebSocket connections.", count(self.connections.len()))?;
        gauge(
            "qchat_max_connections",
            "Number of WebSocket connections that may be open (--max-sockets).",
            count(self.quotas.sockets),
        )?;
        let is_ready = self.readiness.reasons().is_empty();
        gauge(
            "qchat_ready",
            "1 if /readyz says that this server is ready, 0 otherwise.",
            u64::from(is_ready),
        )?;
        gauge(
            "qchat_stored_bytes",
            "Size of all stored records in bytes; the database file is larger.",
            self.engine.stored_bytes(),
        )?;
        gauge(
            "qchat_max_storage_bytes",
            "Size that all stored records may have in bytes (--max-storage).",
            self.quotas.storage,
        )?;
        gauge(
            "qchat_database_bytes",
            "Size of the database file in bytes.",
            fs::metadata(&self.database).map_or(0, |file| file.len()),
        )?;
        gauge(
            "qchat_tasks",
            "Number of running asynchronous tasks.",
            count(Handle::current().metrics().num_alive_tasks()),
        )?;
        if self.readiness.log_check.is_none() {
            gauge(cluster::BEHIND, cluster::BEHIND_HELP, 0)?;
        }
        let Seq(seq) = self.engine.newest_seq().unwrap_or_default();
        gauge("qchat_log_seq", "Sequence number of the newest log entry.", seq)?;
        let started_at = self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970.",
            started_at.as_secs(),
        )?;
        if let Some(bytes) = resident_bytes() {
            gauge(
                "process_resident_memory_bytes",
                "Size of the memory that the process occupies, in bytes.",
                bytes,
            )?;
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let mut build = encoder.encode_descriptor(
            "qchat_build_info",
            "Always 1; the label has the version of Qchat.",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1_u64).encode(build.encode_family(&version)?)?;
        let mut panics = encoder.encode_descriptor(
            "qchat_task_panics",
            "Number of panics since the start, by background task.",
            None,
            MetricType::Counter,
        )?;
        for (task, count) in self.panics.by_task() {
            ConstCounter::new(count).encode(panics.encode_family(&[("task", task)])?)?;
        }
        Ok(())
    }
}

/// Returns the size of the memory that this process occupies, in bytes. `None` where the system does not tell it as Linux
/// does.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}
