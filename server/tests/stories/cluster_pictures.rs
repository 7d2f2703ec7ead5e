//! Pictures in a cluster: uploaded on one node they are seen on all, whichever of them or of NATS goes away, and gone from all
//! with their message. Skipped with a line on standard error where there is no nats-server.

use std::{fs, path::Path, time::Duration};

use async_nats::jetstream;
use domain::{
    ChatId, EventKind, Picture, PictureId, Problem, Seq,
    frame::{ClientCommand, PictureAlt},
};
use image::{DynamicImage, ImageFormat, RgbImage};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{StatusCode, header::RETRY_AFTER};
use server::start::PICTURES;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    cluster::{BETWEEN, Cluster, PATIENCE, folder, start_chat, until_applied, until_ready, until_said},
    log_life::recover_log,
    pictures::{address, files, jpeg, look, pictures, post, problem_of, send, upload},
    support::{Client, Person, bodies, client_id, history::number, process::Process},
};

/// The settings of nodes that tidy up often. The log is never silent for longer than some seconds then.
const OFTEN: [(&str, &str); 3] =
    [("QCHAT_SWEEP_INTERVAL", "1s"), ("QCHAT_SNAPSHOT_INTERVAL", "1s"), ("QCHAT_USER_LIFETIME", "20s")];

/// Waits until something is so.
async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it is not so: {what}");
        sleep(BETWEEN).await;
    }
}

fn at(person: &Person, node: &Process) -> Person {
    Person { address: node.address, ..person.clone() }
}

/// Returns the number of messages in NATS with parts of pictures. None if there was never a picture.
async fn in_nats(cluster: &Cluster) -> u64 {
    let client = async_nats::connect(cluster.nats.url(0)).await.unwrap();
    let stream = jetstream::new(client).get_stream("qchat_pictures").await;
    stream.map_or(0, |stream| stream.cached_info().state.messages)
}

/// Two nodes with a chat of Ana's, in which she is at the first one and Bea at the second one.
struct Two {
    a: Process,
    b: Process,
    folders: [TempDir; 2],
    ana: Person,
    bea: Person,
    chat: ChatId,
    at_a: Client,
    at_b: Client,
}

impl Two {
    async fn begin(cluster: &Cluster, settings: &[(&str, &str)]) -> Self {
        let folders = [(); 2].map(|()| folder());
        let [a, b] = [0, 1].map(|number: usize| cluster.begin(folders[number].path(), settings));
        until_ready(a.address).await;
        until_ready(b.address).await;
        let (ana, bea) = (Person::arrive(a.address).await, Person::arrive(b.address).await);
        let (chat, reached) = start_chat(&ana).await;
        until_applied(&b, &bea, chat, reached.rsplit('.').next().unwrap().parse().unwrap()).await;
        let (at_a, at_b) = (ana.watch(chat).await, bea.watch(chat).await);
        Self { a, b, folders, ana, bea, chat, at_a, at_b }
    }

    fn files(&self) -> [usize; 2] {
        [0, 1].map(|number: usize| files(self.folders[number].path()))
    }

    /// Has Ana post a picture, and waits until Bea is told of it. Returns its message, and its address.
    async fn show(&mut self, number: u64) -> (Seq, Picture, String) {
        let ticket = upload(&self.ana, self.chat).await;
        post(&mut self.at_a, self.chat, number, "look", &[&ticket]).await.unwrap();
        let (seq, mut posted) = pictures(&mut self.at_b).await;
        let picture = posted.remove(0);
        let address = address(self.chat, seq, &picture);
        (seq, picture, address)
    }
}

#[tokio::test]
async fn a_picture_is_seen_on_all_nodes_and_gone_from_all_with_its_message() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut two = Two::begin(&cluster, &OFTEN).await;
    // What is uploaded on one node can be posted on another.
    let ticket = upload(&two.ana, two.chat).await;
    let (elsewhere, chat) = (at(&two.ana, &two.b), two.chat);
    let seq = post(&mut elsewhere.watch(chat).await, chat, 1, "look", &[&ticket]).await.unwrap();
    let (said, posted) = pictures(&mut two.at_a).await;
    assert_eq!(said, seq);
    let path = address(chat, seq, &posted[0]);
    until_applied(&two.a, &two.ana, chat, seq.0).await;
    until_applied(&two.b, &two.bea, chat, seq.0).await;
    for person in [&two.ana, &two.bea] {
        for path in [path.clone(), format!("{path}/small")] {
            assert_eq!(look(person, &path).await, StatusCode::OK, "{path}");
        }
    }
    wait("both nodes have the files", async || two.files() == [2, 2]).await;
    assert_eq!(in_nats(&cluster).await, 1);

    // Removed and put back, and then removed for good.
    let remove = || ClientCommand::RemoveMessage { chat, message: seq };
    let removal = two.at_a.do_it(remove()).await.unwrap();
    assert_eq!(look(&two.ana, &path).await, StatusCode::NOT_FOUND);
    wait("it is gone on the other node", async || look(&two.bea, &path).await == StatusCode::NOT_FOUND).await;
    let restore = ClientCommand::RestoreMessage {
        chat,
        message: seq,
        removal,
        body: "look".to_owned(),
        reply_to: None,
        mentions: None,
        pictures: vec![PictureAlt { id: posted[0].id, alt: String::new() }],
        is_action: false,
    };
    two.at_a.do_it(restore).await.unwrap();
    wait("it is there again", async || look(&two.bea, &path).await == StatusCode::OK).await;
    two.at_a.do_it(remove()).await.unwrap();
    wait("it is gone again", async || look(&two.bea, &path).await == StatusCode::NOT_FOUND).await;
    wait("no node has the files", async || two.files() == [0, 0]).await;
    wait("nothing of it is in NATS", async || in_nats(&cluster).await == 0).await;
    two.a.stop();
    two.b.stop();
}

#[tokio::test]
async fn the_pictures_of_a_chat_that_has_ended_and_of_expired_messages_are_gone_everywhere() {
    let Some(cluster) = Cluster::start().await else { return };
    let settings = [OFTEN.as_slice(), &[("QCHAT_MESSAGE_LIFETIME", "15s")]].concat();
    let mut two = Two::begin(&cluster, &settings).await;
    let (_, _, path) = two.show(1).await;
    let begun = Instant::now();
    wait("both nodes have the files", async || two.files() == [2, 2]).await;
    assert_eq!(look(&two.bea, &path).await, StatusCode::OK);
    for person in [&two.ana, &two.bea] {
        wait("it has expired", async || look(person, &path).await == StatusCode::NOT_FOUND).await;
    }
    wait("no node has the files", async || two.files() == [0, 0]).await;
    wait("nothing of it is in NATS", async || in_nats(&cluster).await == 0).await;
    println!("messages live for 15 s: their pictures were gone after {:.1?}", begun.elapsed());

    let (_, _, path) = two.show(2).await;
    wait("both nodes have the files", async || two.files() == [2, 2]).await;
    let link = format!("http://{}/chat/{}", two.b.address, two.chat);
    let (code, said) = two.b.end_chat(two.folders[1].path(), &link);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(look(&two.bea, &path).await, StatusCode::NOT_FOUND);
    wait("no node has the files", async || two.files() == [0, 0]).await;
    wait("nothing of it is in NATS", async || in_nats(&cluster).await == 0).await;
    two.a.stop();
    two.b.stop();
}

#[tokio::test]
async fn while_nats_is_away_uploads_are_refused_and_texts_wait_and_pictures_are_seen() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let mut two = Two::begin(&cluster, &[]).await;
    let (_, picture, path) = two.show(1).await;
    wait("both nodes have the files", async || two.files() == [2, 2]).await;
    // One that was lost on a disk is fetched again by whoever looks at it.
    let lost = || {
        for file in fs::read_dir(two.folders[1].path().join(PICTURES)).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    };
    lost();
    assert_eq!(look(&two.bea, &path).await, StatusCode::OK);
    assert_eq!(two.files(), [2, 2]);

    let ticket = upload(&two.ana, two.chat).await;
    cluster.nats.kill(0);
    until_said(two.a.address, "cannot be reached").await;
    until_said(two.b.address, "cannot be reached").await;
    let refused = send(&two.ana, two.chat, jpeg()).await;
    assert_eq!(problem_of(&refused), Problem::NotStored);
    assert!(refused.text.contains("Qchat could not store this. Try again in a moment"), "{}", refused.text);
    assert_eq!(two.files()[0], 4, "nothing is left of it");
    for person in [&two.ana, &two.bea] {
        assert_eq!(look(person, &path).await, StatusCode::OK);
    }
    let text = two.at_a.ask(two.chat, client_id(2), "a text").await;
    until_said(two.a.address, "what people write waits").await;
    lost();
    let later = two.bea.get(&path).await;
    assert_eq!(later.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(later.headers.contains_key(RETRY_AFTER));

    cluster.nats.start(0).await;
    two.at_a.answer(text).await.unwrap();
    post(&mut two.at_a, two.chat, 3, "", &[&ticket]).await.unwrap();
    let of_text = two.at_b.event().await;
    assert_eq!(bodies([&of_text]), ["a text"]);
    let (seq, posted) = pictures(&mut two.at_b).await;
    assert_ne!(posted[0].id, picture.id);
    for path in [path, address(two.chat, seq, &posted[0])] {
        wait("it is seen", async || look(&two.bea, &path).await == StatusCode::OK).await;
    }
    upload(&two.ana, two.chat).await;
    two.a.stop();
    two.b.stop();
}

/// Returns the ids of the pictures in a folder of which both files are there, and how many other files there are.
fn whole(folder: &Path) -> (Vec<PictureId>, usize) {
    let names = fs::read_dir(folder.join(PICTURES)).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let of = |ending: &str| {
        let ids = names.iter().filter_map(|name| name.strip_suffix(ending)?.split_once('.'));
        ids.map(|(_, id)| id.parse().unwrap()).collect::<Vec<PictureId>>()
    };
    let small = of(".small");
    let both: Vec<_> = of(".large").into_iter().filter(|id| small.contains(id)).collect();
    let others = names.len() - 2 * both.len();
    (both, others)
}

/// A picture that takes a while to be stored.
fn large() -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(1);
    let image = RgbImage::from_fn(1_600, 1_200, |_, _| image::Rgb([random.random(), random.random(), 90]));
    let mut file = std::io::Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut file, ImageFormat::Jpeg).unwrap();
    file.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_while_it_takes_pictures_leaves_no_message_without_its_pictures() {
    let Some(cluster) = Cluster::start().await else { return };
    let kills = number("QCHAT_KILLS", 6);
    let seed = number("QCHAT_SEED", rand::random());
    println!("QCHAT_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let Two { mut a, b, folders, ana, bea, chat, at_a, mut at_b } = Two::begin(&cluster, &[]).await;
    drop(at_a);
    let (file, mut ana, mut shown) = (large(), ana, Vec::new());
    for number in 0..kills {
        let (person, body) = (ana.clone(), file.clone());
        let uploading = tokio::spawn(async move {
            let path = format!("/api/picture?chat={chat}");
            let request = person.http.post(person.url(&path)).header("cookie", &person.cookie).body(body);
            let answer = request.send().await.ok()?.text().await.ok()?;
            let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
            Some(answer["ticket"].as_str()?.to_owned())
        });
        // The first one is killed when it has answered.
        if number > 0 {
            sleep(Duration::from_millis(random.random_range(50..1_500))).await;
            a.kill();
        } else {
            wait("it has answered", async || uploading.is_finished()).await;
            a.kill();
        }
        // A ticket that was handed out is good at another node, and its picture is there.
        let ticket = uploading.await.unwrap();
        if let Some(ticket) = &ticket {
            let elsewhere = at(&ana, &b);
            let posted = post(&mut elsewhere.watch(chat).await, chat, number + 1, "look", &[ticket]).await;
            posted.unwrap();
            let (seq, posted) = pictures(&mut at_b).await;
            shown.push((posted[0].id, address(chat, seq, &posted[0])));
        }
        a = cluster.node(folders[0].path()).await;
        ana = at(&ana, &a);
        // One that was posted, and whose node is killed at once.
        let ticket = upload(&ana, chat).await;
        let mut here = ana.watch(chat).await;
        post(&mut here, chat, 100 + number, "look", &[&ticket]).await.unwrap();
        a.kill();
        let (seq, posted) = pictures(&mut at_b).await;
        shown.push((posted[0].id, address(chat, seq, &posted[0])));
        a = cluster.node(folders[0].path()).await;
        ana = at(&ana, &a);
    }
    assert!(shown.len() as u64 > kills, "there were tickets before a kill: {}", shown.len());
    for (id, path) in &shown {
        for person in [&ana, &bea] {
            wait("it is seen", async || look(person, path).await == StatusCode::OK).await;
        }
        for folder in &folders {
            wait("its files are there", async || whole(folder.path()).0.contains(id)).await;
        }
    }
    // What was broken off is gone with the start after it, but for what may be posted yet.
    for folder in &folders {
        assert_eq!(whole(folder.path()).1, 0, "a part of a picture is left");
    }
    println!("{kills} kills, seed {seed}: {} pictures shown", shown.len());
    a.stop();
    b.stop();
}

#[tokio::test]
async fn pictures_come_into_a_cluster_with_their_chats_to_new_nodes_and_out_again() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another, third] = [(); 3].map(|()| folder());
    let alone = Process::start(one.path());
    let ana = Person::arrive(alone.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut client = ana.watch(chat).await;
    let ticket = upload(&ana, chat).await;
    post(&mut client, chat, 1, "look", &[&ticket]).await.unwrap();
    let (seq, posted) = pictures(&mut client).await;
    let path = address(chat, seq, &posted[0]);
    drop(client);
    alone.stop();

    let a = cluster.node(one.path()).await;
    assert_eq!(in_nats(&cluster).await, 1, "it is there before others read of it");
    // The others come when the node that had the pictures is away.
    a.stop();
    let b = cluster.node(another.path()).await;
    assert_eq!(look(&at(&ana, &b), &path).await, StatusCode::OK);
    wait("it has the files", async || files(another.path()) == 2).await;

    // All of it is lost in NATS, and comes back from a node that has it.
    let client = async_nats::connect(cluster.nats.url(0)).await.unwrap();
    jetstream::new(client).delete_stream("qchat_pictures").await.unwrap();
    b.stop();
    let b = cluster.node(another.path()).await;
    wait("it is in NATS again", async || in_nats(&cluster).await == 1).await;
    let c = cluster.node(third.path()).await;
    assert_eq!(look(&at(&ana, &c), &path).await, StatusCode::OK);
    c.stop();
    b.stop();

    let (code, said) = Process::run(another.path(), &["--leave-cluster"]);
    assert_eq!((code, said.contains("missing")), (Some(0), false), "{said}");
    let alone = Process::start(another.path());
    assert_eq!(look(&at(&ana, &alone), &path).await, StatusCode::OK);
    alone.stop();
    // A node without the files says so.
    fs::remove_dir_all(third.path().join(PICTURES)).unwrap();
    let (code, said) = Process::run(third.path(), &["--leave-cluster"]);
    assert_eq!((code, said.contains("Pictures whose files are missing: 1.")), (Some(0), true), "{said}");
}

#[tokio::test]
async fn pictures_are_there_again_when_the_log_and_all_in_nats_was_lost_and_recovered() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut two = Two::begin(&cluster, &[]).await;
    let (_, _, path) = two.show(1).await;
    wait("both nodes have the files", async || two.files() == [2, 2]).await;
    let client = async_nats::connect(cluster.nats.url(0)).await.unwrap();
    for stream in ["qchat_log", "qchat_pictures"] {
        jetstream::new(client.clone()).delete_stream(stream).await.unwrap();
    }
    until_said(two.a.address, "the stream qchat_log has been deleted").await;
    two.b.stop();
    let (code, said) = recover_log(&cluster, two.folders[1].path());
    assert_eq!(code, Some(0), "{said}");
    let b = cluster.node(two.folders[1].path()).await;
    until_ready(two.a.address).await;
    wait("it is in NATS again", async || in_nats(&cluster).await == 1).await;
    let third = folder();
    let c = cluster.node(third.path()).await;
    for node in [&two.a, &b, &c] {
        let ana = at(&two.ana, node);
        wait("it is seen", async || look(&ana, &path).await == StatusCode::OK).await;
    }
    two.a.stop();
    b.stop();
    c.stop();
}

#[tokio::test]
async fn what_is_edited_removed_and_put_back_on_one_node_is_so_on_the_other() {
    let Some(cluster) = Cluster::start().await else { return };
    let Two { a, b, folders, chat, mut at_a, mut at_b, bea, .. } = Two::begin(&cluster, &[]).await;
    let message = at_a.post(chat, client_id(1), "Tea at five?").await.unwrap();
    let edit =
        |body: &str| ClientCommand::EditMessage { chat, message, body: body.to_owned(), mentions: None };
    at_a.do_it(edit("Tea at **six**?")).await.unwrap();
    assert_eq!(at_b.do_it(edit("Coffee!")).await, Err(Problem::NotAuthor));
    let removal = at_a.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    let restore = ClientCommand::RestoreMessage {
        chat,
        message,
        removal,
        body: "Tea at **six**?".to_owned(),
        reply_to: None,
        mentions: None,
        pictures: Vec::new(),
        is_action: false,
    };
    at_a.do_it(restore).await.unwrap();
    let newest = at_a.do_it(edit("Tea at seven?")).await.unwrap();
    // A reader that is behind is sent the wording of now, or none if there is none now.
    let mut seen = Vec::new();
    while seen.len() < 5 {
        match at_b.event().await.kind {
            EventKind::Said(_) | EventKind::Tombstone(_) => seen.push("said"),
            EventKind::MessageEdited { .. } => seen.push("edited"),
            EventKind::MessageRemoved { .. } => seen.push("removed"),
            EventKind::MessageRestored { .. } => seen.push("restored"),
            _ => {}
        }
    }
    assert_eq!(seen, ["said", "edited", "removed", "restored", "edited"]);
    until_applied(&b, &bea, chat, newest.0).await;
    let history = bea.connect().await.watch(chat, None).await.unwrap();
    assert_eq!(bodies(&history.events), ["Tea at seven?"]);
    a.stop();
    b.stop();
    drop(folders);
}
