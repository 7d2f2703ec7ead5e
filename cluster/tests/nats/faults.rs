//! Three servers, one of which dies or freezes while messages are published.

use std::{collections::BTreeSet, time::Duration};

use cluster::Trouble;
use engine::command_log::transport::Delivery;
use nats_fixture::Nats;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::support::{Node, number, settings, until, within};

/// How long it may take until messages are taken and read again.
const BACK: Duration = Duration::from_secs(10);

/// A node that publishes without pause, and one that reads.
struct Load {
    /// The newest number that was acknowledged.
    acknowledged: watch::Receiver<u64>,
    /// The newest number that was read.
    read: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    publishing: JoinHandle<()>,
    reading: JoinHandle<Vec<u64>>,
}

impl Load {
    async fn begin(nats: &Nats) -> Self {
        let (publisher, reader) = (Node::join(nats).await, Node::join(nats).await);
        let (acknowledge, acknowledged) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let publishing = tokio::spawn(async move {
            let mut number = 0;
            while !*stopped.borrow() {
                number += 1;
                publisher.publish(number).await;
                acknowledge.send_replace(number);
            }
        });
        let (note, read) = watch::channel(0);
        let mut published = acknowledged.clone();
        let reading = tokio::spawn(async move {
            let mut running = reader.read_after(0).await;
            let mut all = Vec::new();
            // Until nothing more is published, and all of it has been read. What is published last may be read before that ends.
            let mut is_over = false;
            while !is_over || *note.borrow() < *published.borrow() {
                let delivery = tokio::select! {
                    delivery = running.next() => delivery,
                    changed = published.changed(), if !is_over => {
                        is_over = changed.is_err();
                        continue;
                    }
                };
                let Delivery::Message { payload, .. } = delivery else { panic!("a snapshot") };
                all.push(number(&payload));
                note.send_replace(number(&payload));
            }
            all
        });
        Self { acknowledged, read, stop, publishing, reading }
    }

    /// Waits until so many more messages have been acknowledged and read. Returns the longest time between two of them.
    async fn goes_on(&mut self, more: u64) -> (Duration, Duration) {
        tokio::join!(longest(&mut self.acknowledged, more), longest(&mut self.read, more))
    }

    /// Stops, and asserts that everything that was acknowledged was read, in its order. What was published twice, since its
    /// acknowledgement was lost, may be there twice.
    async fn end(self) {
        self.stop.send_replace(true);
        within(self.publishing).await.unwrap();
        let read = within(self.reading).await.unwrap();
        let newest = *self.acknowledged.borrow();
        let mut seen = BTreeSet::new();
        let once: Vec<_> = read.iter().copied().filter(|number| seen.insert(*number)).collect();
        assert!(once.iter().copied().eq(1..=newest), "lost or reordered: {read:?}");
        assert!(read.len() < once.len() + 5, "repeated: {}", read.len() - once.len());
    }
}

/// Waits until a number has changed so often. Returns the longest time between two changes.
async fn longest(numbers: &mut watch::Receiver<u64>, changes: u64) -> Duration {
    let (mut longest, mut before) = (Duration::ZERO, Instant::now());
    for _ in 0..changes {
        within(numbers.changed()).await.unwrap();
        longest = longest.max(before.elapsed());
        before = Instant::now();
    }
    longest
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_leaders_die() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    for _ in 0..2 {
        load.goes_on(100).await;
        let leader = nats.leader("qchat_log").await;
        nats.kill(leader);
        let (unacknowledged, unread) = load.goes_on(100).await;
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
    load.goes_on(100).await;
    let leader = nats.leader("qchat_log").await;
    nats.freeze(leader);
    let (unacknowledged, unread) = load.goes_on(100).await;
    println!("leader frozen: not acknowledged for {unacknowledged:?}, not read for {unread:?}");
    assert!(unacknowledged < 2 * BACK && unread < 2 * BACK, "{unacknowledged:?}, {unread:?}");
    nats.thaw(leader);
    load.goes_on(100).await;
    load.end().await;
}

#[tokio::test]
async fn a_server_that_follows_may_die_without_anyone_noticing() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    load.goes_on(100).await;
    let follower = (nats.leader("qchat_log").await + 1) % 3;
    nats.kill(follower);
    let (unacknowledged, unread) = load.goes_on(200).await;
    println!("follower killed: not acknowledged for {unacknowledged:?}, not read for {unread:?}");
    assert!(unacknowledged < BACK && unread < BACK, "{unacknowledged:?}, {unread:?}");
    load.end().await;
}

#[tokio::test]
async fn a_node_whose_server_has_lost_the_others_says_so_though_nobody_writes_and_tries_another() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut settings = settings(&nats);
    settings.servers = nats.url(2).parse().unwrap();
    settings.discover = false;
    let node = Node::with(settings).await;
    let mut reader = node.read_after(0).await;
    node.publish_all(1..11).await;
    reader.expect(1, 1..11).await;
    let connects = node.stream.connection().connects();
    nats.kill(0);
    nats.kill(1);
    let killed = Instant::now();
    reader.until_it_says(&Trouble::NoLeader.to_string()).await;
    println!("two of three killed: noticed after {:?}", killed.elapsed());
    assert!(killed.elapsed() < 3 * BACK, "{:?}", killed.elapsed());
    // It may be trying another server at this moment, which is the same one here.
    until(async || (node.stream.look().await == Err(Trouble::NoLeader)).then_some(())).await;
    until(async || (node.stream.connection().connects() > connects).then_some(())).await;
    nats.start(0).await;
    node.publish(11).await;
    reader.expect(11, 11..12).await;
    reader.reads().await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged_and_everything_goes_on_with_one() {
    let Some(mut nats) = Nats::three().await else { return };
    let mut load = Load::begin(&nats).await;
    load.goes_on(20).await;
    nats.kill(0);
    nats.kill(1);
    // What is under way may still be acknowledged.
    let mut acknowledged = load.acknowledged.clone();
    let silent =
        async { while tokio::time::timeout(Duration::from_secs(5), acknowledged.changed()).await.is_ok() {} };
    within(silent).await;
    nats.start(0).await;
    load.goes_on(100).await;
    nats.start(1).await;
    load.end().await;
}
