//! Three servers, one of which dies or freezes while messages are published.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use engine::command_log::transport::Delivery;
use nats_fixture::Nats;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::support::{Node, Running, number, within};

/// How long it may take until messages are taken and read again.
const BACK: Duration = Duration::from_secs(10);

/// A node that publishes without pause, and one that reads.
struct Load {
    acknowledged: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    publishing: JoinHandle<()>,
    reading: Running,
    read: Vec<u64>,
}

impl Load {
    async fn begin(nats: &Nats) -> Self {
        let publisher = Arc::new(Node::join(nats).await);
        let (sender, acknowledged) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let publishing = tokio::spawn(async move {
            let mut number = 0;
            while !*stopped.borrow() {
                number += 1;
                publisher.publish(number).await;
                sender.send_replace(number);
            }
        });
        let reading = Node::join(nats).await.read_after(0).await;
        Self { acknowledged, stop, publishing, reading, read: Vec::new() }
    }

    /// Waits until so many more messages have been acknowledged. Returns the longest time between two of them.
    async fn acknowledged(&mut self, more: u64) -> Duration {
        let (mut longest, mut before) = (Duration::ZERO, Instant::now());
        for _ in 0..more {
            within(self.acknowledged.changed()).await.unwrap();
            longest = longest.max(before.elapsed());
            before = Instant::now();
        }
        longest
    }

    /// Reads everything that has been acknowledged. Returns the longest time between two messages.
    async fn catch_up(&mut self) -> Duration {
        let newest = *self.acknowledged.borrow();
        let (mut longest, mut before) = (Duration::ZERO, Instant::now());
        while self.read.last().is_none_or(|read| *read < newest) {
            match self.reading.next().await {
                Delivery::Message { payload, .. } => self.read.push(number(&payload)),
                Delivery::Replace { .. } => panic!("a snapshot"),
            }
            longest = longest.max(before.elapsed());
            before = Instant::now();
        }
        longest
    }

    /// Stops, and asserts that everything that was acknowledged was read, in its order. What was published twice, since its
    /// acknowledgement was lost, may be there twice.
    async fn end(mut self) {
        self.stop.send_replace(true);
        within(&mut self.publishing).await.unwrap();
        self.catch_up().await;
        let newest = *self.acknowledged.borrow();
        let mut seen = BTreeSet::new();
        let once: Vec<_> = self.read.iter().copied().filter(|number| seen.insert(*number)).collect();
        assert!(once.iter().copied().eq(1..=newest), "lost or reordered: {:?}", &self.read);
        assert!(self.read.len() < once.len() + 5, "repeated: {}", self.read.len() - once.len());
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_leaders_die() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    for _ in 0..2 {
        load.acknowledged(100).await;
        load.catch_up().await;
        let leader = nats.leader("qchat_log").await;
        nats.kill(leader);
        let (unacknowledged, unread) = (load.acknowledged(100).await, load.catch_up().await);
        println!("leader killed: not acknowledged for {unacknowledged:?}, not read for {unread:?}");
        assert!(unacknowledged < BACK && unread < BACK, "{unacknowledged:?}, {unread:?}");
        nats.start(leader).await;
    }
    load.end().await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_a_leader_freezes() {
    let Some(nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    load.acknowledged(100).await;
    load.catch_up().await;
    let leader = nats.leader("qchat_log").await;
    nats.freeze(leader);
    let (unacknowledged, unread) = (load.acknowledged(100).await, load.catch_up().await);
    println!("leader frozen: not acknowledged for {unacknowledged:?}, not read for {unread:?}");
    assert!(unacknowledged < 2 * BACK && unread < 2 * BACK, "{unacknowledged:?}, {unread:?}");
    nats.thaw(leader);
    load.acknowledged(100).await;
    load.end().await;
}

#[tokio::test]
async fn a_server_that_follows_may_die_without_anyone_noticing() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    load.acknowledged(100).await;
    let follower = (nats.leader("qchat_log").await + 1) % 3;
    nats.kill(follower);
    let unacknowledged = load.acknowledged(200).await;
    println!("follower killed: not acknowledged for {unacknowledged:?}");
    assert!(unacknowledged < BACK, "{unacknowledged:?}");
    load.end().await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged_and_everything_goes_on_with_one() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    load.acknowledged(20).await;
    nats.kill(0);
    nats.kill(1);
    // What is under way may still be acknowledged.
    let mut acknowledged = load.acknowledged.clone();
    let silent =
        async { while tokio::time::timeout(Duration::from_secs(5), acknowledged.changed()).await.is_ok() {} };
    within(silent).await;
    nats.start(0).await;
    load.acknowledged(100).await;
    nats.start(1).await;
    load.end().await;
}
