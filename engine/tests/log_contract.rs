//! What every log promises: one suite, run for each kind of log.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "log_contract/suite.rs"]
mod suite;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{Lifetimes, Seq};
use engine::{clock, command_log::local, storage::Store};
use redb::{StorageBackend, backends::InMemoryBackend};

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

/// The log of a single process, on a database and a write-ahead log in memory.
#[derive(Default)]
struct Local {
    database: Disk,
    wal: Disk,
}

impl Harness for Local {
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

#[tokio::test]
async fn the_log_of_a_single_process_keeps_the_promises_of_every_log() {
    suite(Local::default).await;
}
