//! What subscribers are sent, and what is left for the database.

use domain::{Body, ClientId, Message, RemovedBy, Timestamp, User, UserId, frame::ServerFrame, id::ID_BYTES};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use bytes::Bytes;

use super::{
    replay_buffer::{BUFFER_BYTES, BUFFER_EVENTS},
    *,
};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

fn event(seq: u64, prev: u64) -> Event {
    let User { id: author, nickname } = User::new(UserId::from_bytes([1; ID_BYTES]));
    let client_id = ClientId::from_bytes([2; ID_BYTES]);
    let message = Message::plain(author, nickname, client_id, Body::parse("hello").unwrap());
    Event {
        chat: CHAT,
        seq: Seq(seq),
        prev: Seq(prev),
        at: Timestamp(seq),
        kind: EventKind::Said(Box::new(message)),
    }
}

/// A connection that accepts a limited number of batches.
struct Line {
    room: AtomicUsize,
    sender: mpsc::UnboundedSender<Bytes>,
}

impl FrameSink for Line {
    fn try_send(&self, frames: &Bytes) -> Result<(), Full> {
        let left = |room: usize| room.checked_sub(1);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).map_err(|_| Full)?;
        let _ = self.sender.send(frames.clone());
        Ok(())
    }

    fn prefetch(&self) {}
}

/// The receiving end of a [`Line`].
struct OtherEnd {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    unread: Bytes,
}

/// Returns a subscriber with a cursor, the receiving end of its connection, and what wakes its task.
fn subscriber_with_room(user: u8, begins: u64, room: usize) -> (Arc<Subscriber>, OtherEnd, Arc<Notify>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (line, wake) = (Line { room: AtomicUsize::new(room), sender }, Arc::default());
    let subscriber = Subscriber::new(UserId::from_bytes([user; ID_BYTES]), Arc::new(line), Arc::clone(&wake));
    *subscriber.cursor() = Some(Seq(begins));
    (subscriber, OtherEnd { receiver, unread: Bytes::new() }, wake)
}

fn subscriber(user: u8, begins: u64) -> (Arc<Subscriber>, OtherEnd, Arc<Notify>) {
    subscriber_with_room(user, begins, usize::MAX)
}

async fn subscribe(fanout: &Arc<Fanout>) -> Subscription {
    fanout.subscribe(CHAT, subscriber(1, 0).0)
}

/// Returns the sequence numbers of the events in a replay buffer after a cursor.
fn places(ahead: CatchUp) -> Vec<u64> {
    match ahead {
        CatchUp::Events(batch) => batch.ends.iter().map(|(seq, _)| seq.0).collect(),
        other => panic!("{other:?}"),
    }
}

/// Returns the sequence numbers of the next `count` events that are received.
async fn heard(line: &mut OtherEnd, count: usize) -> Vec<u64> {
    let mut heard = Vec::new();
    for _ in 0..count {
        if line.unread.is_empty() {
            line.unread = line.receiver.recv().await.unwrap();
        }
        let [_, 126, high, low] = *line.unread.split_to(4) else { panic!("no event") };
        let frame = line.unread.split_to(u16::from_be_bytes([high, low]).into());
        let ServerFrame::Event(event) = serde_json::from_slice(&frame).unwrap() else { panic!("no event") };
        heard.push(event.seq.0);
    }
    heard
}

fn run(fanout: &Arc<Fanout>) -> AbortOnDropHandle<()> {
    let fanout = Arc::clone(fanout);
    AbortOnDropHandle::new(tokio::spawn(async move { fanout.run(0).await }))
}

#[tokio::test]
async fn a_cursor_reads_on_from_where_it_is() {
    let fanout = Arc::new(Fanout::new(1));
    let mut subscription = subscribe(&fanout).await;
    for (seq, prev) in [(3, 1), (4, 3), (9, 4)] {
        fanout.append(&event(seq, prev));
    }
    assert_eq!(places(subscription.after(Seq(1))), [3, 4, 9]);
    assert_eq!(places(subscription.after(Seq(3))), [4, 9]);
    assert!(matches!(subscription.after(Seq(9)), CatchUp::Nothing));
}

#[test]
fn a_batch_is_read_from_any_of_its_places() {
    let events: Vec<_> =
        [(3, 1), (4, 3), (9, 4)].map(|(seq, prev)| EncodedEvent::new(&event(seq, prev)).unwrap()).into();
    let batch = EventBatch::of(&events).unwrap();
    assert_eq!(batch.after(Seq(1)).as_ref(), Some(batch.frames()));
    assert_eq!(batch.after(Seq(4)), Some(events[2].frame.clone()));
    assert_eq!([0, 1, 3, 4, 9, 10].map(|cursor| batch.count_after(Seq(cursor))), [3, 3, 2, 1, 0, 0]);
    assert_eq!([0, 2, 9, 12].map(|place| batch.after(Seq(place))), [None, None, None, None]);
    assert_eq!((batch.last(), EventBatch::of(&[]).is_none()), (Seq(9), true));
}

#[tokio::test]
async fn a_subscriber_behind_a_removal_reads_on_from_the_store() {
    let fanout = Arc::new(Fanout::new(1));
    let mut subscription = subscribe(&fanout).await;
    fanout.append(&event(3, 1));
    let kind = EventKind::MessageRemoved { message: Seq(3), by: RemovedBy::Author };
    fanout.append(&Event { kind, ..event(4, 3) });
    assert!(matches!(subscription.after(Seq(1)), CatchUp::Evicted));
    assert_eq!(places(subscription.after(Seq(3))), [4]);
}

#[tokio::test]
async fn what_is_not_here_is_in_the_store() {
    let fanout = Arc::new(Fanout::new(1));
    let mut subscription = subscribe(&fanout).await;
    assert!(matches!(subscription.after(Seq(0)), CatchUp::Nothing));
    fanout.append(&event(9, 4));
    assert!(matches!(subscription.after(Seq(3)), CatchUp::Evicted));
    assert_eq!(places(subscription.after(Seq(4))), [9]);
}

#[tokio::test]
async fn a_replay_buffer_is_bounded_and_sends_slow_readers_to_the_store() {
    let fanout = Arc::new(Fanout::new(1));
    let mut subscription = subscribe(&fanout).await;
    for seq in 1..=BUFFER_EVENTS as u64 + 10 {
        fanout.append(&event(seq, seq - 1));
    }
    assert!(matches!(subscription.after(Seq(9)), CatchUp::Evicted));
    assert_eq!(places(subscription.after(Seq(10))).len(), BUFFER_EVENTS);
}

#[tokio::test]
async fn a_replay_buffer_of_large_events_is_no_larger() {
    let fanout = Arc::new(Fanout::new(1));
    let mut subscription = subscribe(&fanout).await;
    for seq in 1..=20 {
        let mut large = event(seq, seq - 1);
        let EventKind::Said(message) = &mut large.kind else { panic!("no message") };
        message.body = Body::parse(&"\u{1F469}\u{200D}\u{1F4BB}".repeat(3_000)).unwrap();
        fanout.append(&large);
    }
    let bytes = lock(&subscription.buffer).bytes;
    assert!(bytes <= BUFFER_BYTES && bytes > BUFFER_BYTES / 2, "{bytes}");
    let batch = places(subscription.after(Seq(15)));
    assert_eq!(batch, [16, 17, 18], "and a batch is smaller still");
    assert!(matches!(subscription.after(Seq(1)), CatchUp::Evicted));
}

#[tokio::test]
async fn new_events_are_written_to_all_subscribers_with_a_cursor() {
    let fanout = Arc::new(Fanout::new(1));
    let _running = run(&fanout);
    let (one, mut first, _) = subscriber(1, 0);
    let (other, mut second, _) = subscriber(2, 3);
    let _both = (fanout.subscribe(CHAT, one), fanout.subscribe(CHAT, other));
    for (seq, prev) in [(3, 0), (4, 3), (9, 4)] {
        fanout.append(&event(seq, prev));
    }
    assert_eq!(heard(&mut first, 3).await, [3, 4, 9]);
    assert_eq!(heard(&mut second, 2).await, [4, 9], "each from where they are");
}

#[tokio::test]
async fn a_subscriber_with_a_gap_or_without_a_cursor_is_left_to_its_own_task() {
    let fanout = Arc::new(Fanout::new(1));
    let _running = run(&fanout);
    let (behind, _there, wake) = subscriber(1, 1);
    let (waits, _here, _) = subscriber(2, 4);
    *waits.cursor() = None;
    let _both = (fanout.subscribe(CHAT, Arc::clone(&behind)), fanout.subscribe(CHAT, Arc::clone(&waits)));
    fanout.append(&event(9, 4));
    wake.notified().await;
    assert_eq!((*behind.cursor(), *waits.cursor()), (Some(Seq(1)), None));
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_is_left_to_its_own_task_and_misses_nothing() {
    let fanout = Arc::new(Fanout::new(1));
    let _running = run(&fanout);
    let (stuck, mut there, wake) = subscriber_with_room(1, 0, 3);
    let mut subscription = fanout.subscribe(CHAT, Arc::clone(&stuck));
    let mut last = 0;
    while wake.notified().now_or_never().is_none() {
        last += 1;
        fanout.append(&event(last, last - 1));
        tokio::task::yield_now().await;
    }
    let sent = stuck.cursor().unwrap();
    let count = usize::try_from(sent.0).unwrap();
    assert_eq!(heard(&mut there, count).await, (1..=sent.0).collect::<Vec<_>>());
    assert!(sent.0 < last && !matches!(subscription.after(sent), CatchUp::Nothing));
}

#[tokio::test]
async fn a_removed_user_is_offered_no_further_event() {
    let fanout = Arc::new(Fanout::new(1));
    let (removed, mut there, _) = subscriber(1, 0);
    let (stays, mut here, _) = subscriber(2, 0);
    let _both = (fanout.subscribe(CHAT, Arc::clone(&removed)), fanout.subscribe(CHAT, stays));
    let person = User::new(removed.user());
    let kind = EventKind::PersonRemoved { nickname: person.nickname.clone(), person };
    fanout.append(&Event { kind, ..event(1, 0) });
    fanout.append(&event(2, 1));
    let _running = run(&fanout);
    assert_eq!(heard(&mut here, 2).await, [1, 2]);
    drop((removed, _both));
    assert_eq!(there.receiver.recv().await, None, "nothing came before the end");
}

#[tokio::test]
async fn in_doubt_all_subscribers_are_sent_to_the_store() {
    let fanout = Arc::new(Fanout::new(1));
    let (subscriber, _there, wake) = subscriber(1, 0);
    let mut subscription = fanout.subscribe(CHAT, subscriber);
    fanout.append(&event(1, 0));
    fanout.invalidate();
    wake.notified().await;
    assert!(matches!(subscription.after(Seq(0)), CatchUp::Evicted));
    assert!(matches!(subscription.after(Seq(1)), CatchUp::Nothing), "once");
}

#[tokio::test]
async fn a_replay_buffer_is_dropped_with_its_last_subscriber() {
    let fanout = Arc::new(Fanout::new(3));
    let first = subscribe(&fanout).await;
    let mut second = subscribe(&fanout).await;
    drop(first);
    fanout.append(&event(1, 0));
    assert_eq!(places(second.after(Seq(0))), [1]);
    drop(second);
    assert_eq!(fanout.watched_chats(), 0);
    fanout.append(&event(2, 1));
    assert_eq!(fanout.watched_chats(), 0, "events of chats without subscribers are not kept");
    assert!(fanout.shards.iter().all(|shard| shard.subscribers.load(Ordering::Relaxed) == 0));
}

#[tokio::test]
async fn deliveries_are_counted_for_each_connection_and_measured_for_each_batch() {
    let fanout = Arc::new(Fanout::new(1));
    let (here, mut line, _) = subscriber(1, 1);
    let (behind, ..) = subscriber(2, 0);
    let (full, ..) = subscriber_with_room(3, 1, 0);
    let _kept = [here, behind, full].map(|subscriber| fanout.subscribe(CHAT, subscriber));
    for (seq, prev) in [(2, 1), (3, 2)] {
        fanout.append(&event(seq, prev));
    }
    let _running = run(&fanout);
    assert_eq!(heard(&mut line, 2).await, [2, 3]);
    let metrics = fanout.metrics();
    assert_eq!((metrics.posts.get(), metrics.deliveries.get()), (2, 2), "two connections took nothing");
}
