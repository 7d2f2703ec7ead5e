//! Lifetimes in a cluster: what is in use does not expire because NATS or a node was away, and what has expired is not
//! shown by a node that comes back. Skipped with a line on standard error where there is no nats-server.

use std::time::{Duration, Instant};

use domain::{
    ChatId, Problem,
    frame::{ClientCommand, ClientFrame, ServerFrame},
};
use reqwest::StatusCode;
use tokio::time::sleep;

use crate::{
    cluster::{Cluster, folder, reasons, start_chat, until_ready, until_said},
    support::{Client, Person, client_id},
};

/// How long something between processes may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two looks.
const BETWEEN: Duration = Duration::from_millis(200);

/// A page that is open in a chat.
struct Open {
    name: &'static str,
    person: Person,
    chat: ChatId,
    client: Client,
}

/// Looks for a while whether all that is in use is there for those who load a page.
async fn all_are_there(open: &[Open], time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        for Open { name, person, chat, .. } in open {
            let page = person.get(&format!("/chat/{chat}")).await;
            assert_eq!(page.status, StatusCode::OK, "the chat of {name} after {:?}", begun.elapsed());
            let nickname = person.connect().await.me.nickname;
            assert_eq!(nickname.as_str(), *name, "after {:?}", begun.elapsed());
        }
        sleep(BETWEEN).await;
    }
}

#[tokio::test]
async fn what_is_in_use_is_there_when_nats_was_away_for_longer_than_its_lifetime() {
    const LIFETIME: Duration = Duration::from_secs(12);
    let Some(mut cluster) = Cluster::start().await else { return };
    let lifetimes =
        [("QCHAT_USER_LIFETIME", "12s"), ("QCHAT_CHAT_LIFETIME", "12s"), ("QCHAT_SWEEP_INTERVAL", "1s")];
    let [one, another] = [(); 2].map(|()| folder());
    let (a, b) = (cluster.begin(one.path(), &lifetimes), cluster.begin(another.path(), &lifetimes));
    for node in [&a, &b] {
        until_ready(node.address).await;
    }
    // One of them sweeps, and each has a page that is open.
    let mut open = Vec::new();
    for (node, name) in [(&a, "Anastasia"), (&b, "Balthasar")] {
        let person = Person::arrive(node.address).await;
        let (chat, _) = start_chat(&person).await;
        let mut client = person.watch(chat).await;
        client.do_it(ClientCommand::SetNickname { nickname: name.to_owned() }).await.unwrap();
        open.push(Open { name, person, chat, client });
    }
    cluster.nats.kill(0);
    until_said(a.address, "cannot be reached").await;
    all_are_there(&open, LIFETIME + LIFETIME / 2).await;
    cluster.nats.start(0).await;
    for node in [&a, &b] {
        until_ready(node.address).await;
    }
    all_are_there(&open, LIFETIME).await;
    for Open { chat, client, .. } in &mut open {
        client.post(*chat, client_id(1), "still here").await.unwrap();
    }
    drop(open);
    a.stop();
    b.stop();
}

#[tokio::test]
async fn a_node_that_starts_without_nats_shows_no_message_that_has_expired_meanwhile() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let folder = folder();
    let lifetimes = [("QCHAT_MESSAGE_LIFETIME", "3s")];
    let node = cluster.begin(folder.path(), &lifetimes);
    until_ready(node.address).await;
    let ana = Person::arrive(node.address).await;
    let (chat, _) = start_chat(&ana).await;
    let path = format!("/chat/{chat}");
    ana.watch(chat).await.post(chat, client_id(1), "a secret").await.unwrap();
    assert!(ana.get(&path).await.text.contains("a secret"));
    node.stop();
    cluster.nats.kill(0);
    sleep(Duration::from_secs(3)).await;
    let node = cluster.begin(folder.path(), &lifetimes);
    until_said(node.address, "cannot be reached").await;
    let ana = Person { address: node.address, ..ana };
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        let page = ana.get(&path).await;
        if page.status == StatusCode::OK {
            break page.text;
        }
        assert!(Instant::now() < deadline, "it shows nothing");
        sleep(BETWEEN).await;
    };
    assert!(text.contains("Tea") && !text.contains("a secret"), "{text}");
    assert!(!reasons(node.address).await.is_empty());
    node.stop();
}

#[tokio::test]
async fn a_node_that_starts_without_nats_does_not_say_of_a_chat_that_it_has_ended() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let folder = folder();
    let lifetimes = [("QCHAT_CHAT_LIFETIME", "3s")];
    let node = cluster.begin(folder.path(), &lifetimes);
    until_ready(node.address).await;
    let ana = Person::arrive(node.address).await;
    let (chat, _) = start_chat(&ana).await;
    ana.watch(chat).await.post(chat, client_id(1), "hello").await.unwrap();
    node.stop();
    cluster.nats.kill(0);
    sleep(Duration::from_secs(3)).await;
    let node = cluster.begin(folder.path(), &lifetimes);
    let ana = Person { address: node.address, ..ana };
    let deadline = Instant::now() + PATIENCE;
    // Its pages are there, but the chat may be in use elsewhere.
    while ana.get("/").await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "it shows nothing");
        sleep(BETWEEN).await;
    }
    assert_eq!(ana.get(&format!("/chat/{chat}")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let mut client = ana.connect().await;
    client.send(&ClientFrame::Watch { chat, after: None }).await;
    let problem = client.find(|frame| match frame {
        ServerFrame::Refused { chat: Some(_), problem, .. } => Some(*problem),
        _ => None,
    });
    assert_eq!(problem.await, Problem::Restarting);
    cluster.nats.start(0).await;
    until_ready(node.address).await;
    ana.watch(chat).await.post(chat, client_id(2), "still here").await.unwrap();
    node.stop();
}
