//! Pictures in a stream: from one node to the others, and gone when no message has them.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use cluster::{
    Trouble,
    pictures::{
        PictureBucket,
        keeper::{KeeperParts, PictureKeeper, put_all},
    },
    stream::LogStream,
};
use domain::{
    Alt, Body, Change, ChatId, ClientId, Event, EventKind, Lifetimes, Message, Nickname, Picture, PictureId,
    RemovedBy, Seq, Timestamp, Title, UserId, Visibility, id::ID_BYTES,
};
use engine::{
    command_log::status::{self, LogStatus, Part, StatusSender},
    pictures::{
        Bucket, Collector, Encoded, Folder, PictureSettings, Pictures, SharedPicture, Ticket, Tickets,
    },
    storage::Store,
};
use nats_fixture::Nats;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::support::{connect, settings, until};

/// When pictures were uploaded.
const AT: Timestamp = Timestamp(1_800_000_000_000);
const MINUTE: u64 = 60_000;
/// The interval of sweeps that are waited for.
const OFTEN: Duration = Duration::from_millis(100);
const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);

fn id(number: u8) -> PictureId {
    PictureId::from_bytes([number; ID_BYTES])
}

/// A picture of four parts.
fn large() -> SharedPicture {
    let large = (0..1_800_000_u32).map(|byte| byte as u8).collect();
    SharedPicture { uploaded_at: AT, large, small: vec![2; 300] }
}

fn small(uploaded_at: Timestamp) -> SharedPicture {
    SharedPicture { uploaded_at, large: vec![1; 70], small: vec![2; 30] }
}

async fn bucket(nats: &Nats) -> PictureBucket {
    let settings = settings(nats);
    PictureBucket::new(connect(&settings).await, &settings, 64 << 20)
}

fn context(bucket: &PictureBucket) -> jetstream::Context {
    jetstream::new(bucket.connection().client().clone())
}

/// Returns what is stored in the stream: the number of messages.
async fn messages(bucket: &PictureBucket) -> u64 {
    context(bucket).get_stream("qchat_pictures").await.unwrap().cached_info().state.messages
}

async fn listed(bucket: &PictureBucket) -> Vec<PictureId> {
    bucket.list().await.unwrap().into_keys().collect()
}

#[tokio::test]
async fn a_picture_is_loaded_as_it_was_stored_and_removed_without_a_trace() {
    let Some(nats) = Nats::one().await else { return };
    let (bucket, other) = (bucket(&nats).await, bucket(&nats).await);
    assert_eq!((other.list().await.unwrap().len(), other.load(id(1)).await), (0, Ok(None)));
    bucket.store(id(1), &large()).await.unwrap();
    bucket.store(id(2), &small(AT)).await.unwrap();
    assert_eq!(other.load(id(1)).await, Ok(Some(large())));
    assert_eq!(other.load(id(3)).await, Ok(None));
    assert_eq!(messages(&bucket).await, 5, "four parts, and one");
    other.store(id(1), &large()).await.unwrap();
    assert_eq!(messages(&bucket).await, 5, "it was there");
    let all = bucket.list().await.unwrap();
    assert!(all.values().all(|listed| listed.is_whole() && listed.uploaded_at == AT), "{all:?}");
    assert_eq!(listed(&bucket).await, [id(1), id(2)]);

    for _ in 0..2 {
        other.remove(id(1)).await.unwrap();
        assert_eq!((listed(&bucket).await, messages(&bucket).await), (vec![id(2)], 1));
    }
    assert_eq!(bucket.load(id(1)).await, Ok(None));
}

#[tokio::test]
async fn an_upload_that_was_broken_off_is_no_picture_and_can_be_removed() {
    let Some(nats) = Nats::one().await else { return };
    let bucket = bucket(&nats).await;
    bucket.store(id(1), &small(AT)).await.unwrap();
    let context = context(&bucket);
    for subject in [format!("{}.{}.1", id(2), AT.0), "notes".to_owned(), format!("{}.x.y", id(3))] {
        let sent = context.publish(format!("qchat.picture.{subject}"), Bytes::from_static(b"part"));
        sent.await.unwrap().await.unwrap();
    }
    assert_eq!(bucket.load(id(2)).await, Ok(None));
    let all = bucket.list().await.unwrap();
    assert_eq!(
        all.keys().copied().collect::<Vec<_>>(),
        [id(1), id(2)],
        "what is called otherwise is left out"
    );
    assert!(all[&id(1)].is_whole() && !all[&id(2)].is_whole());
    bucket.remove(id(2)).await.unwrap();
    assert_eq!(listed(&bucket).await, [id(1)]);

    // One that somebody else has written.
    let first = format!("qchat.picture.{}.{}.0", id(4), AT.0);
    context.publish(first, Bytes::from_static(b"nothing")).await.unwrap().await.unwrap();
    let said = bucket.load(id(4)).await.unwrap_err().to_string();
    assert!(said.contains("is damaged"), "{said}");
}

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let Some(mut nats) = Nats::one().await else { return };
    let full = {
        let settings = settings(&nats);
        PictureBucket::new(connect(&settings).await, &settings, 1_000_000)
    };
    let said = full.store(id(1), &large()).await.unwrap_err();
    assert!(matches!(said, Trouble::NoRoom(_)), "{said}");
    full.remove(id(1)).await.unwrap();
    full.store(id(2), &small(AT)).await.unwrap();

    nats.kill(0);
    until(async || (!full.is_up()).then_some(())).await;
    let away = |trouble: Trouble| assert!(matches!(trouble, Trouble::NotConnected { .. }), "{trouble}");
    away(full.store(id(3), &small(AT)).await.unwrap_err());
    away(full.load(id(2)).await.unwrap_err());
    away(full.list().await.unwrap_err());
    away(full.remove(id(2)).await.unwrap_err());
    nats.start(0).await;
    let loaded = until(async || full.load(id(2)).await.ok()).await;
    assert_eq!(loaded, Some(small(AT)));

    context(&full).delete_stream("qchat_pictures").await.unwrap();
    let foreign = stream::Config {
        name: "qchat_pictures".to_owned(),
        subjects: vec!["qchat.picture.>".to_owned()],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    context(&full).create_stream(foreign).await.unwrap();
    let said = full.store(id(3), &small(AT)).await.unwrap_err();
    assert!(matches!(said, Trouble::Foreign(_)), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_there_when_one_server_of_three_is_away() {
    let Some(mut nats) = Nats::three().await else { return };
    let (bucket, other) = (bucket(&nats).await, bucket(&nats).await);
    // The servers may have no leader yet.
    until(async || bucket.store(id(1), &large()).await.ok()).await;
    assert_eq!(other.load(id(1)).await, Ok(Some(large())), "whichever server answers");
    let stream = context(&bucket).get_stream("qchat_pictures").await.unwrap();
    assert_eq!(stream.cached_info().config.num_replicas, 3);
    let leader = nats.leader("qchat_pictures").await;
    nats.kill(leader);
    let loaded = until(async || other.load(id(1)).await.ok()).await;
    assert_eq!(loaded, Some(large()));
    until(async || bucket.store(id(2), &small(AT)).await.ok()).await;
    until(async || (other.load(id(2)).await == Ok(Some(small(AT)))).then_some(())).await;
}

#[tokio::test]
async fn a_stream_that_finds_no_room_is_made_smaller() {
    let Some(nats) = Nats::one().await else { return };
    let settings = settings(&nats);
    let bucket = PictureBucket::new(connect(&settings).await, &settings, 1 << 40);
    bucket.store(id(1), &small(AT)).await.unwrap();
    let stream = context(&bucket).get_stream("qchat_pictures").await.unwrap();
    assert_eq!(stream.cached_info().config.max_bytes, 256 << 20);
}

/// Nobody posts with a ticket here.
struct NoTickets;

impl Tickets for NoTickets {
    fn write(&self, _: &Ticket) -> String {
        String::new()
    }

    fn read(&self, _: &str) -> Option<Ticket> {
        None
    }
}

/// A node as far as pictures go. It ends when it is dropped.
struct Node {
    bucket: PictureBucket,
    pictures: Arc<Pictures>,
    store: Arc<Store>,
    duty: watch::Sender<bool>,
    _status: StatusSender,
    _folder: TempDir,
    running: Option<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl Node {
    /// A node that has applied a chat.
    async fn new(nats: &Nats) -> Self {
        let folder = TempDir::new().unwrap();
        let bucket = bucket(nats).await;
        let files = Arc::new(Folder::open(&folder.path().join("pictures")).unwrap());
        let settings = PictureSettings { are_on: true, max_storage: 1 << 30, max_in_message: 8 };
        let pictures = Pictures::open(files, Arc::new(NoTickets), settings).unwrap();
        let store = Arc::new(Store::in_memory(Lifetimes::default()).unwrap());
        let started = EventKind::Started {
            owner: ANA,
            nickname: Nickname::parse("Ana").unwrap(),
            title: Title::parse("Tea").unwrap(),
            visibility: Visibility::Public,
            guest: None,
        };
        let node = Self {
            pictures: Arc::new(pictures.shared_by(Arc::new(bucket.clone()))),
            bucket,
            store,
            duty: watch::Sender::new(false),
            _status: status::channel().0,
            _folder: folder,
            running: None,
        };
        node.apply(1, AT, started);
        node
    }

    fn apply(&self, seq: u64, at: Timestamp, kind: EventKind) {
        let prev = self.store.read(AT).unwrap().log().unwrap().map_or(Seq::ZERO, |log| log.seq);
        let event = Event { chat: CHAT, seq: Seq(seq), prev, at, kind };
        self.store.write(Seq(seq), at, |batch| batch.apply(&Change::Chat(event))).unwrap();
    }

    /// Applies a message with a picture.
    fn say(&self, seq: u64, at: Timestamp, picture: PictureId) {
        let picture =
            Picture { id: picture, width: 20, height: 10, small: (4, 2), bytes: 100, alt: Alt::empty() };
        let plain = Message::plain(
            ANA,
            Nickname::parse("Ana").unwrap(),
            ClientId::from_bytes([u8::try_from(seq).unwrap(); ID_BYTES]),
            Body::try_from("look".to_owned()).unwrap(),
        );
        self.apply(seq, at, EventKind::Said(Box::new(Message { pictures: vec![picture], ..plain })));
    }

    /// Stores a picture here alone.
    fn keep(&self, id: PictureId) {
        let SharedPicture { large, small, .. } = small(AT);
        let encoded = Encoded { large, large_size: (20, 10), small, small_size: (4, 2) };
        self.pictures.keep(id, AT, &encoded).unwrap();
    }

    async fn run(&mut self, nats: &Nats, interval: Duration) {
        let settings = settings(nats);
        let (sender, status) = status::channel();
        for part in [Part::Stream, Part::Publisher, Part::Applier, Part::Membership] {
            sender.set(part, LogStatus::Well);
        }
        let stream = LogStream::new(self.bucket.connection().clone(), &settings);
        stream.open().await.unwrap();
        let keeper = PictureKeeper::new(KeeperParts {
            bucket: self.bucket.clone(),
            pictures: Arc::clone(&self.pictures),
            store: Arc::clone(&self.store),
            stream,
            duty: self.duty.subscribe(),
            status,
            interval,
        });
        self._status = sender;
        self.running = Some(tokio::spawn(async move { keeper.run().await }));
    }
}

#[tokio::test]
async fn a_node_fetches_what_it_lacks_and_puts_back_what_only_it_has() {
    let Some(nats) = Nats::one().await else { return };
    let (mut one, mut other) = (Node::new(&nats).await, Node::new(&nats).await);
    for node in [&one, &other] {
        node.say(2, AT, id(1));
        node.say(3, AT, id(2));
    }
    one.keep(id(1));
    put_all(&one.bucket, &one.pictures, &one.store).await.unwrap();
    assert_eq!(listed(&one.bucket).await, [id(1)], "nobody has the other");
    other.run(&nats, OFTEN).await;
    until(async || other.pictures.has(id(1)).then_some(())).await;
    assert_eq!(other.pictures.to_share(id(1)).unwrap(), Some(small(AT)));

    // All is lost in NATS, and a file that another node has is missing there.
    context(&one.bucket).delete_stream("qchat_pictures").await.unwrap();
    one.keep(id(2));
    one.run(&nats, OFTEN).await;
    until(async || (listed(&one.bucket).await == [id(1), id(2)]).then_some(())).await;
    assert!(other.pictures.fetch(id(2)).await.unwrap());
}

#[tokio::test]
async fn the_node_on_duty_removes_what_no_message_has_or_can_have() {
    let Some(nats) = Nats::one().await else { return };
    let (mut one, mut other) = (Node::new(&nats).await, Node::new(&nats).await);
    let now = Timestamp(AT.0 + 31 * MINUTE);
    let fresh = Timestamp(AT.0 + 2 * MINUTE);
    for node in [&one, &other] {
        node.say(2, AT, id(1));
        node.say(3, AT, id(2));
        let removed = EventKind::MessageRemoved { message: Seq(3), by: RemovedBy::Author };
        node.apply(4, Timestamp(now.0 - MINUTE), removed);
        // The time of the log goes on.
        node.say(5, now, id(5));
    }
    for (number, uploaded_at) in [(1, AT), (2, AT), (3, AT), (4, fresh), (5, AT)] {
        one.bucket.store(id(number), &small(uploaded_at)).await.unwrap();
    }
    // Parts of one that was never whole.
    let part = format!("qchat.picture.{}.{}.1", id(6), AT.0);
    context(&one.bucket).publish(part, Bytes::from_static(b"part")).await.unwrap().await.unwrap();

    other.keep(id(2));
    other.run(&nats, OFTEN).await;
    until(async || other.pictures.has(id(5)).then_some(())).await;
    sleep(3 * OFTEN).await;
    assert_eq!(listed(&one.bucket).await.len(), 6, "it is not on duty");
    // What it has seen go it removes all the same: the one on duty may not have.
    let (store, pictures) = (Arc::clone(&other.store), Arc::clone(&other.pictures));
    let collector = Collector::new(store, pictures, Arc::new(Timestamp::default), true, OFTEN);
    collector.collect().unwrap();
    until(async || (!listed(&one.bucket).await.contains(&id(2))).then_some(())).await;
    one.duty.send_replace(true);
    one.run(&nats, OFTEN).await;
    let left = [id(1), id(4), id(5)];
    until(async || (listed(&one.bucket).await == left).then_some(())).await;
    assert_eq!(messages(&one.bucket).await, 3, "nothing else is left");
}
