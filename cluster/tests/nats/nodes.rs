//! What nodes tell each other beside the log: who is online, that they are there, and which of them does what one does for
//! all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_nats::Client;
use bytes::Bytes;
use engine::{
    command_log::{
        status::{LogStatus, Part, StatusReceiver},
        transport::Incarnation,
    },
    nodes::{Topic, message::Message},
};
use futures_util::{StreamExt, future::join_all};
use nats_fixture::Nats;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    member::{Member, NEVER},
    support::{connect, settings, until, within},
};

/// The number of beats of each node that were heard.
struct Beats {
    heard: Arc<Mutex<HashMap<Incarnation, u64>>>,
    task: JoinHandle<()>,
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Beats {
    async fn listen(nats: &Nats) -> Self {
        let mut messages = client(nats).await.subscribe("qchat.beat").await.unwrap();
        let heard = Arc::new(Mutex::new(HashMap::new()));
        let counted = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if let Message::Beat(beat) = Message::decode(&message.payload).unwrap() {
                    *counted.lock().unwrap().entry(beat.from).or_default() += 1;
                }
            }
        });
        Self { heard, task }
    }

    fn of(&self, member: &Member) -> u64 {
        self.heard.lock().unwrap().get(&member.me).copied().unwrap_or_default()
    }

    /// Waits for some more beats of a node.
    async fn pass(&self, member: &Member, count: u64) {
        let then = self.of(member) + count;
        until(async || (self.of(member) >= then).then_some(())).await;
    }
}

async fn client(nats: &Nats) -> Client {
    let connection = connect(&settings(nats)).await;
    // The clone keeps the connection.
    connection.client().clone()
}

/// Waits until exactly one of the nodes does what one does for all, and returns which.
async fn on_duty(members: &[Member]) -> usize {
    until(async || {
        let on_duty: Vec<_> = (0..members.len()).filter(|index| *members[*index].duty.borrow()).collect();
        let [one] = on_duty[..] else { return None };
        Some(one)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_three_nodes_see_each_other_come_and_go() {
    let Some(nats) = Nats::one().await else { return };
    let members = Member::start_all(&nats, &["a", "b", "c"], NEVER).await;
    members[0].start_chat().await;
    let first = members[0].open(1);
    let second = members[1].open(2);
    // The third user is on two nodes, and one member.
    let third = [members[0].open(3), members[2].open(3)];
    join_all(members.iter().map(|member| member.shows_only(&[1, 2, 3]))).await;
    drop(second);
    join_all(members.iter().map(|member| member.shows_only(&[1, 3]))).await;
    let [here, there] = third;
    drop(here);
    drop(first);
    join_all(members.iter().map(|member| member.shows_only(&[3]))).await;
    drop(there);
    join_all(members.iter().map(|member| member.shows_only(&[]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_late_is_told_who_is_there() {
    let Some(nats) = Nats::one().await else { return };
    let first = Member::start(&nats, "a", NEVER).await;
    first.start_chat().await;
    let pages: Vec<_> = (1..=20).map(|number| first.open(number)).collect();
    let second = Member::start(&nats, "b", NEVER).await;
    let users: Vec<u8> = (1..=20).collect();
    second.shows_only(&users).await;
    drop(pages);
    second.shows_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_is_forgotten_with_its_users_after_three_beats() {
    let Some(nats) = Nats::one().await else { return };
    let mut members = Member::start_all(&nats, &["a", "b"], NEVER).await;
    members[0].start_chat().await;
    let beats = Beats::listen(&nats).await;
    let killed = members.pop().unwrap();
    let _page = killed.open(2);
    members[0].shows_only(&[2]).await;
    beats.pass(&members[0], 1).await;
    let then = beats.of(&members[0]);
    drop(killed);
    members[0].knows(1).await;
    assert!(beats.of(&members[0]) >= then + 2, "it is not forgotten before some of its beats are missing");
    members[0].shows_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_goodbye_is_forgotten_at_once() {
    let Some(nats) = Nats::one().await else { return };
    let mut members = Member::start_all(&nats, &["a", "b"], NEVER).await;
    members[0].start_chat().await;
    let beats = Beats::listen(&nats).await;
    let leaving = members.pop().unwrap();
    let _page = leaving.open(2);
    members[0].shows_only(&[2]).await;
    beats.pass(&members[0], 1).await;
    let then = beats.of(&members[0]);
    leaving.leave().await;
    members[0].knows(1).await;
    assert!(beats.of(&members[0]) < then + 3, "without a goodbye it takes longer");
    members[0].shows_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_node_does_what_one_does_for_all() {
    let Some(nats) = Nats::one().await else { return };
    let mut members = Member::start_all(&nats, &["a", "b", "c"], NEVER).await;
    let beats = Beats::listen(&nats).await;
    for _killed in 0..2 {
        let one = on_duty(&members).await;
        beats.pass(&members[one], 3).await;
        assert_eq!(on_duty(&members).await, one, "it stays so");
        drop(members.remove(one));
    }
    on_duty(&members).await;
    let mut duty = members[0].duty.clone();
    within(members.remove(0).leave()).await;
    assert!(!*duty.borrow_and_update(), "a node that stops has no duty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_servers_a_node_is_alone_and_without_duty_and_then_all_is_well_again() {
    let Some(mut nats) = Nats::one().await else { return };
    let mut members = Member::start_all(&nats, &["a", "b"], NEVER).await;
    members[0].start_chat().await;
    let first = members[0].open(1);
    join_all(members.iter().map(|member| member.shows_only(&[1]))).await;
    on_duty(&members).await;
    nats.kill(0);
    for member in &mut members {
        member.knows(1).await;
        within(member.duty.wait_for(|is_mine| !is_mine)).await.unwrap();
    }
    members[0].shows_only(&[1]).await;
    members[1].shows_only(&[]).await;
    drop(first);
    let _second = members[0].open(2);
    let _third = members[1].open(3);
    nats.start(0).await;
    for member in &mut members {
        member.knows(2).await;
        member.shows_only(&[2, 3]).await;
    }
    on_duty(&members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_messages_tells_and_asks_for_the_whole() {
    let Some(nats) = Nats::one().await else { return };
    let members = Member::start_all(&nats, &["a", "b"], NEVER).await;
    let [slow, other] = &members[..] else { panic!() };
    let client = client(&nats).await;
    let (sender, mut asked) = mpsc::channel(100);
    let subject = format!("qchat.whole.{}", other.me);
    let mut asks = client.subscribe(subject).await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = asks.next().await {
            let ask = Message::decode(&message.payload).unwrap();
            if sender.send(ask.topic()).await.is_err() {
                return;
            }
        }
    });
    // One of its subscriptions is full. Which, the client does not tell.
    let connection = slow.stream.connection();
    let unread = connection.client().subscribe("unread").await.unwrap();
    connection.client().flush().await.unwrap();
    while connection.dropped() == 0 {
        for _ in 0..1_000 {
            client.publish("unread", Bytes::new()).await.unwrap();
        }
        client.flush().await.unwrap();
    }
    assert_eq!(within(asked.recv()).await, Some(Topic::Ask(other.me)));
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_of_one_name_the_younger_is_not_ready() {
    let Some(nats) = Nats::one().await else { return };
    let mut first = Member::start(&nats, "a", NEVER).await;
    let mut second = Member::start(&nats, "a", NEVER).await;
    let line =
        "another node of the cluster is called \"a\" as well, and is older: give this one another name";
    let is_told =
        |status: &StatusReceiver| status.of(Part::Membership) == LogStatus::Trouble(line.to_owned());
    let younger = until(async || {
        let told = [&first, &second].map(|member| is_told(&member.status));
        told.iter().position(|is_told| *is_told)
    })
    .await;
    let (older, younger) = if younger == 0 { (&mut second, first) } else { (&mut first, second) };
    assert!(!is_told(&older.status));
    drop(younger);
    older.knows(1).await;
    within(older.status.ready()).await;
}
