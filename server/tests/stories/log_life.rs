//! What becomes of the log of a cluster: a node that cannot go on with it, newer rules, and a log that is gone.

use std::{path::Path, time::Instant};

use ::cluster::{Connection, NatsSettings, stream::LogStream, transport::NatsTransport};
use domain::{ChatId, Epoch, Problem, Rules, Timestamp, frame::ClientCommand};
use engine::{
    command_log::transport::{Incarnation, MessageId, Transport},
    storage::Store,
};
use reqwest::StatusCode;
use server::start::DATABASE;
use tokio::time::sleep;

use crate::{
    cluster::{BETWEEN, Cluster, PATIENCE, folder, start_chat, until_applied, until_ready, until_said},
    support::{
        Client, Person, bodies,
        client::{handshake, last_words, open},
        client_id,
        process::Process,
    },
};

/// Returns the stream of the log, as another program sees it.
async fn stream(cluster: &Cluster) -> LogStream {
    let settings = NatsSettings::of(cluster.nats.urls().join(",").parse().unwrap());
    let connection = Connection::open(&settings).await.unwrap();
    connection.connected().await;
    LogStream::new(connection, &settings)
}

/// Waits until a node has written something to its log.
async fn until_logged(node: &mut Process, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !node.said().contains(line) {
        assert!(Instant::now() < deadline, "it says {}", node.said());
        sleep(BETWEEN).await;
    }
}

/// Returns why a node refuses a socket.
async fn refused(person: &Person) -> Option<Problem> {
    last_words(open(handshake(person.address, Some(&person.cookie))).await.unwrap()).await.0
}

/// Returns the rules and the texts of a chat in a data folder that no process uses.
fn stored(folder: &Path, chat: ChatId) -> (Rules, Vec<String>) {
    let store = Store::open_replica(&folder.join(DATABASE)).unwrap();
    let events =
        store.read(Timestamp::default()).unwrap().events_after(chat, domain::Seq::ZERO, 100).unwrap();
    (store.settings().rules, bodies(&events))
}

/// Returns the texts of a chat as a new page shows them.
async fn shown(person: &Person, chat: ChatId) -> Vec<String> {
    bodies(&person.connect().await.watch(chat, None).await.unwrap().events)
}

fn at(person: &Person, node: &Process) -> Person {
    Person { address: node.address, ..person.clone() }
}

#[tokio::test]
async fn a_node_whose_log_has_stopped_sends_its_people_to_another_and_keeps_what_it_has() {
    let Some(cluster) = Cluster::start().await else { return };
    let folder = folder();
    let node = cluster.node(folder.path()).await;
    let ana = Person::arrive(node.address).await;
    let (chat, reached) = start_chat(&ana).await;
    let mut client = ana.watch(chat).await;
    client.post(chat, client_id(1), "hello").await.unwrap();

    // A message that a later version wrote.
    let epoch: Epoch = reached.trim_start_matches("qchat_at=").split('.').next().unwrap().parse().unwrap();
    let rest = [b"\x07".as_slice(), &epoch.bytes()].concat();
    let checksum = crc32fast::hash(&rest).to_le_bytes();
    let message = [b"QCLG\x07".as_slice(), &checksum, &rest[1..]].concat();
    let stream = stream(&cluster).await;
    let transport = NatsTransport::new(stream.clone());
    let id = MessageId { from: Incarnation::from_bytes([1; 10]), number: 1 };
    transport.publish(id, message.into()).await.unwrap();
    let place = stream.look().await.unwrap().unwrap().last;

    let reason =
        format!("place {place} of the log has format 7, and this Qchat reads up to 2: upgrade this node");
    until_said(node.address, &reason).await;
    assert_eq!(last_words(client.wire).await, (Some(Problem::Restarting), Some(1012)));
    assert_eq!(refused(&ana).await, Some(Problem::Restarting));
    let form =
        [("chat", chat.to_string()), ("client_id", client_id(2).to_string()), ("body", "typed".into())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = ana.submit("/api/post_message", &form).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text.contains("typed"), "what was written is not lost: {}", answer.text);
    let page = ana.get(&format!("/chat/{chat}")).await;
    assert_eq!((page.status, page.text.contains("hello")), (StatusCode::OK, true));

    node.stop();
    let node = cluster.begin(folder.path(), &[]);
    until_said(node.address, &reason).await;
    node.stop();
    assert_eq!(stored(folder.path(), chat).1, ["hello"]);
}

#[tokio::test]
async fn newer_rules_come_into_force_when_the_last_node_that_does_not_know_them_is_gone() {
    const OLD: (&str, &str) = ("QCHAT_TEST_RULES", "1..=1");
    const NEW: (&str, &str) = ("QCHAT_TEST_RULES", "1..=2");
    const RAISED: &str = "newer rules hold from here on";
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let old = cluster.begin(one.path(), &[OLD]);
    until_ready(old.address).await;
    let mut new = cluster.begin(another.path(), &[NEW, ("QCHAT_LOG", "info")]);
    until_ready(new.address).await;
    let ana = Person::arrive(old.address).await;
    let (chat, _) = start_chat(&ana).await;
    let mut client = ana.watch(chat).await;
    let seq = client.post(chat, client_id(1), "from the old one").await.unwrap();
    until_applied(&new, &ana, chat, seq.0).await;
    let mut client = at(&ana, &new).watch(chat).await;
    let seq = client.post(chat, client_id(2), "from the new one").await.unwrap();
    until_applied(&old, &ana, chat, seq.0).await;
    assert!(!new.said().contains(RAISED), "{}", new.said());
    let react = || ClientCommand::React { chat, message: seq, emoji: "\u{1f44d}".to_owned(), is_on: true };
    assert_eq!(client.do_it(react()).await, Err(Problem::NotYet));

    old.stop();
    assert_eq!(stored(one.path(), chat).0, Rules(1));
    until_logged(&mut new, RAISED).await;
    client.post(chat, client_id(3), "by the new rules").await.unwrap();
    client.do_it(react()).await.unwrap();

    let old = cluster.begin(one.path(), &[OLD]);
    let reason = "the rules 2 hold, and this Qchat decides by the rules 1 to 1: upgrade this node";
    until_said(old.address, reason).await;
    old.stop();
    let kept = ["from the old one", "from the new one"].map(str::to_owned);
    assert_eq!(stored(one.path(), chat), (Rules(1), kept.to_vec()));

    // Upgraded, it goes on. From then on its database cannot be used by the old one.
    let upgraded = cluster.begin(one.path(), &[NEW]);
    until_ready(upgraded.address).await;
    assert_eq!(shown(&at(&ana, &upgraded), chat).await.len(), 3);
    upgraded.stop();
    assert_eq!(stored(one.path(), chat).0, Rules(2));
    let old = cluster.begin(one.path(), &[OLD]);
    until_said(old.address, reason).await;
    old.stop();
    new.stop();
}

/// Founds the log again with the folder of a node. Returns the exit code and what is said.
pub(crate) fn recover_log(cluster: &Cluster, folder: &Path) -> (Option<i32>, String) {
    let urls = cluster.nats.urls().join(",");
    let args = ["--recover-log", "--nats-url", &urls, "--nats-replicas", "1", "--nats-max-log", "64"];
    Process::run(folder, &args)
}

#[tokio::test]
async fn a_log_that_is_gone_is_recovered_and_everything_goes_on() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    let ana = Person::arrive(a.address).await;
    let (chat, _) = start_chat(&ana).await;
    let mut client = ana.watch(chat).await;
    let seq = client.post(chat, client_id(1), "hello").await.unwrap();
    until_applied(&b, &ana, chat, seq.0).await;

    stream(&cluster).await.delete().await.unwrap();
    for node in [&a, &b] {
        until_said(node.address, "the stream qchat_log has been deleted").await;
    }
    let waiting = client.ask(chat, client_id(2), "are you there?").await;
    until_said(a.address, "what people write waits").await;
    let page = at(&ana, &b).get(&format!("/chat/{chat}")).await;
    assert_eq!((page.status, page.text.contains("hello")), (StatusCode::OK, true), "people read on");

    // A new node does not take the place of what the others have.
    let third = folder();
    let c = cluster.begin(third.path(), &[]);
    until_said(c.address, "there is no log in the stream qchat_log, and the node").await;

    let (code, said) = recover_log(&cluster, another.path());
    assert_eq!((code, said.contains("another Qchat has it open")), (Some(1), true), "{said}");
    b.stop();
    let (code, said) = recover_log(&cluster, another.path());
    assert_eq!((code, said.contains("The log in the stream qchat_log goes on")), (Some(0), true), "{said}");
    // Pages begin anew with what the log has now, and send again what was not answered.
    assert_eq!(last_words(client.wire).await.0, Some(Problem::Restarting));
    let b = cluster.node(another.path()).await;
    until_ready(a.address).await;
    let mut client = ana.watch(chat).await;
    client.post(chat, client_id(2), "are you there?").await.unwrap();
    let mut client = at(&ana, &b).watch(chat).await;
    let seq = client.post(chat, client_id(3), "I am").await.unwrap();
    for node in [&a, &b] {
        until_applied(node, &ana, chat, seq.0).await;
        assert_eq!(shown(&at(&ana, node), chat).await, ["hello", "are you there?", "I am"]);
    }
    let _ = waiting;

    // The new node finds the log, and the command finds nothing to do.
    until_ready(c.address).await;
    let seq = at(&ana, &a).watch(chat).await.post(chat, client_id(4), "all of us").await.unwrap();
    until_applied(&c, &ana, chat, seq.0).await;
    assert_eq!(shown(&at(&ana, &c), chat).await.len(), 4);
    c.stop();
    let (code, said) = recover_log(&cluster, third.path());
    assert_eq!((code, said.contains("this node can go on with it")), (Some(1), true), "{said}");
    drop::<Client>(client);
    a.stop();
    b.stop();
}

#[tokio::test]
async fn what_has_expired_while_nats_is_away_does_not_come_back_with_a_restart() {
    const LIFETIME: (&str, &str) = ("QCHAT_MESSAGE_LIFETIME", "3s");
    let Some(mut cluster) = Cluster::start().await else { return };
    let folder = folder();
    let node = cluster.begin(folder.path(), &[LIFETIME]);
    until_ready(node.address).await;
    let ana = Person::arrive(node.address).await;
    let (chat, _) = start_chat(&ana).await;
    let mut client = ana.watch(chat).await;
    client.post(chat, client_id(1), "hello").await.unwrap();
    drop(client);
    cluster.nats.kill(0);
    let (path, deadline) = (format!("/chat/{chat}"), Instant::now() + PATIENCE);
    loop {
        let page = ana.get(&path).await;
        assert_eq!(page.status, StatusCode::OK);
        if !page.text.contains("hello") {
            break;
        }
        assert!(Instant::now() < deadline, "it does not expire");
        sleep(BETWEEN).await;
    }
    node.stop();

    let node = cluster.begin(folder.path(), &[LIFETIME]);
    let ana = Person { address: node.address, ..ana };
    let page = loop {
        let page = ana.get(&path).await;
        if page.status == StatusCode::OK {
            break page;
        }
        assert!(Instant::now() < deadline, "it shows nothing");
        sleep(BETWEEN).await;
    };
    assert!(page.text.contains("Tea") && !page.text.contains("hello"), "{}", page.text);
    cluster.nats.start(0).await;
    until_ready(node.address).await;
    ana.watch(chat).await.post(chat, client_id(2), "here again").await.unwrap();
    assert_eq!(shown(&ana, chat).await, ["here again"]);
    node.stop();
}
