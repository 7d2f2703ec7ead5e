//! What every log promises: one suite, run for each kind of log.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "support/memory_stream.rs"]
#[expect(dead_code, reason = "each test uses another part of it")]
mod memory_stream;
#[path = "log_contract/suite.rs"]
mod suite;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{Epoch, Lifetimes, LogClock, LogSettings, Rules, Seq, Timestamp, id::ID_BYTES};
use engine::{
    clock::{self, ReplicaClock},
    command_log::{
        local,
        replicated::{self, Opening},
        status,
        transport::{Incarnation, StreamEnd},
    },
    metrics::ReplicationMetrics,
    random,
    storage::{LogState, ReplicaState, Store},
};
use redb::{StorageBackend, backends::InMemoryBackend};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use memory_stream::MemoryStream;
use suite::{Harness, Node, suite};

const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);

/// A file in memory that stays when it is closed, and can be made to fail.
#[derive(Debug, Clone, Default)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    fails: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(&*self.memory, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        StorageBackend::write(&*self.memory, offset, data)
    }
}

/// The log of a single process, on a database and a write-ahead log in memory.
#[derive(Default)]
struct Local {
    database: Disk,
    wal: Disk,
}

impl Harness for Local {
    const IS_DURABLE_ELSEWHERE: bool = false;

    async fn start(&self) -> Node {
        let store = Store::open_on(self.database.clone(), self.wal.clone(), Lifetimes::default()).unwrap();
        let clock = clock::system();
        let ends = store.read(clock()).unwrap().log().unwrap();
        let after = ends.map_or(Seq::ZERO, |log| log.seq);
        let (sequencer, log) = local::open(Arc::clone(&clock), store.epoch(), after);
        Node::new(Arc::new(store), Arc::new(sequencer), log, clock, Vec::new())
    }

    fn fail_disk(&self) {
        for disk in [&self.database, &self.wal] {
            disk.fails.store(true, Ordering::SeqCst);
        }
    }
}

/// The replicated log of one node, over a stream in memory.
struct Replicated {
    database: Disk,
    stream: MemoryStream,
}

impl Replicated {
    fn new(draws: u32) -> Self {
        let stream = MemoryStream::new(7, draws, clock::system()());
        stream.found(EPOCH, LogSettings::default());
        Self { database: Disk::default(), stream }
    }
}

impl Harness for Replicated {
    const IS_DURABLE_ELSEWHERE: bool = true;

    async fn start(&self) -> Node {
        let store = Store::open_replica_on(self.database.clone()).unwrap();
        if store.replica().unwrap().is_none() {
            let log = LogState { epoch: EPOCH, seq: Seq::ZERO, at: Timestamp::default() };
            let state = ReplicaState::beginning(0, LogSettings::default(), LogClock::default());
            store.begin_replica(None, log, &state).unwrap();
        }
        let (deliveries, receiver) = mpsc::channel(64);
        let (sender, mut status) = status::channel();
        let newest = store.replica().unwrap().unwrap().clock.last();
        let clock = Arc::new(ReplicaClock::new(newest, self.stream.uptime(), Arc::new(Timestamp::default)));
        let opening = Opening {
            me: Incarnation::from_bytes(random::bytes().unwrap()),
            published: 0,
            transport: self.stream.clone(),
            deliveries: receiver,
            end: StreamEnd::at(self.stream.length()),
            rules: (Rules::OLDEST, Rules::NEWEST),
            checkpoint_after: Duration::from_millis(500),
            clock: Arc::clone(&clock),
            status: sender.clone(),
            metrics: ReplicationMetrics::default(),
        };
        let place = store.replica().unwrap().unwrap().place;
        let (sequencer, log, batcher) = replicated::open(&store, opening).unwrap();
        let stopped = CancellationToken::new();
        let reading = tokio::spawn(self.stream.clone().read(place, deliveries, stopped.clone()));
        let batching = tokio::spawn(async move {
            batcher.run().await;
            stopped.cancel();
        });
        let node =
            Node::new(Arc::new(store), Arc::new(sequencer), log, clock::system(), vec![batching, reading]);
        sender.set(status::Part::Stream, status::LogStatus::Well);
        status.ready().await;
        node
    }

    fn fail_disk(&self) {
        self.database.fails.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_replicated_log_keeps_the_promises_of_every_log() {
    suite(|| Replicated::new(0)).await;
}

/// Faults make it slower, and nothing else.
#[tokio::test]
async fn the_replicated_log_keeps_them_over_a_stream_that_fails() {
    suite(|| Replicated::new(100)).await;
}

#[tokio::test]
async fn the_log_of_a_single_process_keeps_the_promises_of_every_log() {
    suite(Local::default).await;
}
