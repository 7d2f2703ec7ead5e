//! What every log promises, over a real stream.

#[path = "../../../engine/tests/log_contract/suite.rs"]
mod suite;

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{
    NatsSettings,
    join::Founder,
    reader::{Reader, Start},
    snapshots::Snapshots,
    stream::LogStream,
};
use domain::{LogClock, LogSettings, Rules, Seq, Timestamp};
use engine::{
    clock::{self, ReplicaClock},
    command_log::{
        envelope::Founding,
        replicated::{self, Opening},
        status,
        transport::{Incarnation, StreamEnd},
    },
    metrics::ReplicationMetrics,
    random,
    storage::{LogState, ReplicaState, Store},
};
use nats_fixture::Nats;
use redb::{StorageBackend, backends::InMemoryBackend};
use tempfile::TempDir;

use crate::support::{connect, join, settings};
use suite::{Harness, Node, suite};

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

/// A log in the stream of a name of its own.
struct Streamed {
    database: Disk,
    folder: TempDir,
    settings: NatsSettings,
}

impl Streamed {
    fn new(nats: &Nats, name: &str) -> Self {
        let mut settings = settings(nats);
        settings.name = name.parse().unwrap();
        Self { database: Disk::default(), folder: TempDir::new().unwrap(), settings }
    }
}

impl Harness for Streamed {
    const IS_DURABLE_ELSEWHERE: bool = true;

    async fn start(&self) -> Node {
        let connection = connect(&self.settings).await;
        let stream = LogStream::new(connection.clone(), &self.settings);
        let snapshots = Snapshots::new(connection, &self.settings);
        let (sender, mut status) = status::channel();
        let founding = Founding {
            settings: LogSettings::default(),
            seq: Seq::ZERO,
            at: Timestamp::default(),
            base: None,
            clock_offset: 0,
        };
        let founder = Founder {
            me: Incarnation::from_bytes(random::bytes().unwrap()),
            uptime_millis: 0,
            epoch: random::epoch().unwrap(),
            founding,
        };
        let joined = join(&stream, &snapshots, &founder).await;
        assert_eq!(joined.founding, Some(founding));

        let store = Store::open_replica_on(self.database.clone()).unwrap();
        if store.replica().unwrap().is_none() {
            let log = LogState { epoch: joined.epoch, seq: Seq::ZERO, at: Timestamp::default() };
            let state = ReplicaState::beginning(0, founding.settings, LogClock::default());
            store.begin_replica(None, log, &state).unwrap();
        }
        let end = StreamEnd::at(joined.stream.last);
        let applied = store.producers().unwrap().into_iter();
        let (reader, deliveries) = Reader::new(Start {
            stream: stream.clone(),
            snapshots,
            folder: self.folder.path().to_owned(),
            epoch: joined.epoch,
            reached: store.replica().unwrap().unwrap().place,
            rules: (Rules::OLDEST, Rules::NEWEST),
            applied: applied.map(|(sender, newest)| (sender, newest.number)).collect(),
            end: end.clone(),
            status: sender.clone(),
        })
        .await;
        let newest = store.replica().unwrap().unwrap().clock.last();
        let opening = Opening {
            me: founder.me,
            published: u64::from(joined.is_founder),
            transport: reader.transport(),
            deliveries,
            end,
            rules: (Rules::OLDEST, Rules::NEWEST),
            checkpoint_after: Duration::from_millis(500),
            clock: Arc::new(ReplicaClock::new(newest, clock::uptime(), clock::system())),
            status: sender,
            metrics: ReplicationMetrics::default(),
        };
        let (sequencer, log, batcher) = replicated::open(&store, opening).unwrap();
        // The reader ends when everything of this node was published and read back.
        let task = tokio::spawn(async move {
            tokio::select! {
                () = batcher.run() => {}
                () = reader.run() => {}
            }
        });
        let node = Node::new(Arc::new(store), Arc::new(sequencer), log, clock::system(), vec![task]);
        crate::support::within(status.ready()).await;
        node
    }

    fn fail_disk(&self) {
        self.database.fails.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_log_over_one_server_keeps_the_promises_of_every_log() {
    let Some(nats) = Nats::one().await else { return };
    let number = Cell::new(0);
    suite(|| {
        number.set(number.get() + 1);
        Streamed::new(&nats, &format!("contract{}", number.get()))
    })
    .await;
}

#[tokio::test]
async fn the_log_over_three_servers_keeps_them_as_well() {
    let Some(nats) = Nats::three().await else { return };
    let number = Cell::new(0);
    suite(|| {
        number.set(number.get() + 1);
        Streamed::new(&nats, &format!("contract{}", number.get()))
    })
    .await;
}
