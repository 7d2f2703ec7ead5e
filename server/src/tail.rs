//! The newest events of every chat that somebody watches, encoded once, and the bells that say there are more.
//!
//! A tail is a shortcut, not a promise: whoever is behind what it holds reads on from the database. So it can be
//! dropped with its last watcher, and it needs no care when it is made: watch first, then look at the database, and
//! the links from each event to the one before tell whether the tail goes on from there.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::extract::ws::Utf8Bytes;
use domain::{ChatId, Event, Seq, What, frame::ServerFrame};
use tokio::sync::Notify;

/// Events that a tail holds: more than a connection misses while it writes one batch.
const TAIL_EVENTS: usize = 256;
/// And so many bytes, give or take its newest event, since every watched chat has a tail.
const TAIL_BYTES: usize = 256 * 1024;

/// Rings when there is something new. Ringing twice before anybody listens is ringing once.
pub type Bell = Arc<Notify>;

/// An event as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Its place.
    pub seq: Seq,
    /// The place of the one before it.
    pub prev: Seq,
    /// Its frame.
    pub frame: Utf8Bytes,
}

impl Encoded {
    /// Encodes an event; nothing if it cannot be written as JSON, which no event is known to do.
    pub fn new(event: &Event) -> Option<Self> {
        match serde_json::to_string(&ServerFrame::Event(event.clone())) {
            Ok(json) => Some(Self { seq: event.seq, prev: event.prev, frame: json.into() }),
            Err(error) => {
                tracing::error!(%error, seq = event.seq.0, "an event could not be encoded");
                None
            }
        }
    }
}

/// What a tail has for a reader.
#[derive(Debug)]
pub enum Ahead {
    /// Nothing new.
    Nothing,
    /// What follows the reader's cursor, without a hole.
    Events(Vec<Encoded>),
    /// Something between the cursor and the tail is not here: the database has it.
    InStore,
}

/// The tails of all chats that are watched.
#[derive(Default)]
pub struct Tails {
    chats: Mutex<HashMap<ChatId, Arc<Mutex<Tail>>>>,
}

#[derive(Default)]
struct Tail {
    /// Counts how often something may be missing here that is in the database.
    doubts: u64,
    events: VecDeque<Encoded>,
    bytes: usize,
    watchers: HashMap<u64, Bell>,
    next_watcher: u64,
}

/// Somebody watches a chat for as long as this lives.
pub struct Watching {
    tails: Arc<Tails>,
    chat: ChatId,
    tail: Arc<Mutex<Tail>>,
    watcher: u64,
    doubts: u64,
}

impl Tails {
    /// Rings `bell` for every event of the chat from now on.
    pub fn watch(self: &Arc<Self>, chat: ChatId, bell: Bell) -> Watching {
        let mut chats = lock(&self.chats);
        let tail = Arc::clone(chats.entry(chat).or_default());
        let (watcher, doubts) = {
            let mut tail = lock(&tail);
            let watcher = tail.next_watcher;
            tail.next_watcher += 1;
            tail.watchers.insert(watcher, bell);
            (watcher, tail.doubts)
        };
        Watching { tails: Arc::clone(self), chat, tail, watcher, doubts }
    }

    /// Shows a committed event to everybody who watches its chat. Events of a chat have to come in their order.
    pub fn append(&self, event: &Event) {
        let Some(tail) = lock(&self.chats).get(&event.chat).cloned() else { return };
        let Some(encoded) = Encoded::new(event) else { return };
        let mut tail = lock(&tail);
        if matches!(event.what, What::MessageRemoved { .. }) {
            // what was removed is not shown to those who are behind: the database has it without its text
            tail.clear();
        }
        tail.push(encoded);
        tail.watchers.values().for_each(|bell| bell.notify_one());
    }

    /// Sends everybody to the database, since something committed may not have been shown.
    pub fn distrust(&self) {
        let tails: Vec<_> = lock(&self.chats).values().cloned().collect();
        for tail in tails {
            let mut tail = lock(&tail);
            tail.doubts += 1;
            tail.clear();
            tail.watchers.values().for_each(|bell| bell.notify_one());
        }
    }

    /// How many chats are watched.
    pub fn watched(&self) -> usize {
        lock(&self.chats).len()
    }
}

impl Tail {
    fn push(&mut self, event: Encoded) {
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > TAIL_EVENTS || (self.bytes > TAIL_BYTES && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.frame.len();
        }
    }

    fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }
}

impl Watching {
    /// Up to `limit` events after a cursor.
    pub fn after(&mut self, cursor: Seq, limit: usize) -> Ahead {
        let tail = lock(&self.tail);
        if tail.doubts != self.doubts {
            self.doubts = tail.doubts;
            return Ahead::InStore;
        }
        let start = tail.events.partition_point(|event| event.seq <= cursor);
        match tail.events.get(start) {
            None => Ahead::Nothing,
            Some(first) if first.prev > cursor => Ahead::InStore,
            Some(_) => Ahead::Events(tail.events.range(start..).take(limit).cloned().collect()),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut chats = lock(&self.tails.chats);
        let mut tail = lock(&self.tail);
        tail.watchers.remove(&self.watcher);
        if tail.watchers.is_empty() {
            chats.remove(&self.chat);
        }
    }
}

/// What a panic elsewhere left behind is still whole: every change under these locks is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use domain::{Body, ClientId, Message, RemovedBy, Timestamp, User, UserId, id::ID_BYTES};

    use super::*;

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

    fn event(seq: u64, prev: u64) -> Event {
        let User { id: author, nickname } = User::new(UserId::from_bytes([1; ID_BYTES]));
        let client_id = ClientId::from_bytes([2; ID_BYTES]);
        let message = Message { author, nickname, client_id, body: Body::parse("hello").unwrap() };
        Event { chat: CHAT, seq: Seq(seq), prev: Seq(prev), at: Timestamp(seq), what: What::Posted(message) }
    }

    fn places(ahead: Ahead) -> Vec<u64> {
        match ahead {
            Ahead::Events(events) => events.iter().map(|event| event.seq.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cursor_reads_on_from_where_it_is() {
        let tails = Arc::new(Tails::default());
        let mut watching = tails.watch(CHAT, Bell::default());
        for (seq, prev) in [(3, 1), (4, 3), (9, 4)] {
            tails.append(&event(seq, prev));
        }
        assert_eq!(places(watching.after(Seq(1), 10)), [3, 4, 9]);
        assert_eq!(places(watching.after(Seq(3), 10)), [4, 9]);
        assert_eq!(places(watching.after(Seq(1), 2)), [3, 4]);
        assert!(matches!(watching.after(Seq(9), 10), Ahead::Nothing));
    }

    #[test]
    fn whoever_is_behind_a_removal_reads_on_from_the_store() {
        let tails = Arc::new(Tails::default());
        let mut watching = tails.watch(CHAT, Bell::default());
        tails.append(&event(3, 1));
        let what = What::MessageRemoved { message: Seq(3), by: RemovedBy::Author };
        tails.append(&Event { what, ..event(4, 3) });
        assert!(matches!(watching.after(Seq(1), 10), Ahead::InStore));
        assert_eq!(places(watching.after(Seq(3), 10)), [4]);
    }

    #[test]
    fn what_is_not_here_is_in_the_store() {
        let tails = Arc::new(Tails::default());
        let mut watching = tails.watch(CHAT, Bell::default());
        assert!(matches!(watching.after(Seq(0), 10), Ahead::Nothing));
        tails.append(&event(9, 4));
        assert!(matches!(watching.after(Seq(3), 10), Ahead::InStore));
        assert_eq!(places(watching.after(Seq(4), 10)), [9]);
    }

    #[test]
    fn a_tail_is_bounded_and_sends_the_slow_to_the_store() {
        let tails = Arc::new(Tails::default());
        let mut watching = tails.watch(CHAT, Bell::default());
        for seq in 1..=TAIL_EVENTS as u64 + 10 {
            tails.append(&event(seq, seq - 1));
        }
        assert!(matches!(watching.after(Seq(9), 1000), Ahead::InStore));
        assert_eq!(places(watching.after(Seq(10), 1000)).len(), TAIL_EVENTS);
    }

    #[test]
    fn a_tail_of_large_events_is_no_larger() {
        let tails = Arc::new(Tails::default());
        let mut watching = tails.watch(CHAT, Bell::default());
        for seq in 1..=20 {
            let mut large = event(seq, seq - 1);
            let What::Posted(message) = &mut large.what else { panic!("no message") };
            message.body = Body::parse(&"\u{1F469}\u{200D}\u{1F4BB}".repeat(3_000)).unwrap();
            tails.append(&large);
        }
        let held = places(watching.after(Seq(15), 1_000));
        let bytes = lock(&watching.tail).bytes;
        assert!(held == [16, 17, 18, 19, 20] && bytes <= TAIL_BYTES, "{held:?} {bytes}");
        assert!(matches!(watching.after(Seq(1), 1_000), Ahead::InStore));
    }

    #[tokio::test]
    async fn in_doubt_everybody_is_sent_to_the_store() {
        let tails = Arc::new(Tails::default());
        let bell = Bell::default();
        let mut watching = tails.watch(CHAT, Arc::clone(&bell));
        tails.append(&event(1, 0));
        bell.notified().await;
        tails.distrust();
        bell.notified().await;
        assert!(matches!(watching.after(Seq(0), 10), Ahead::InStore));
        assert!(matches!(watching.after(Seq(1), 10), Ahead::Nothing), "once");
    }

    #[tokio::test]
    async fn the_bell_rings_for_each_watcher_and_waits_for_those_who_do_not_listen_yet() {
        let tails = Arc::new(Tails::default());
        let bells = [Bell::default(), Bell::default()];
        let _watching = bells.clone().map(|bell| tails.watch(CHAT, bell));
        tails.append(&event(1, 0));
        for bell in bells {
            bell.notified().await;
        }
    }

    #[test]
    fn a_tail_goes_with_its_last_watcher() {
        let tails = Arc::new(Tails::default());
        let first = tails.watch(CHAT, Bell::default());
        let mut second = tails.watch(CHAT, Bell::default());
        drop(first);
        tails.append(&event(1, 0));
        assert_eq!(places(second.after(Seq(0), 10)), [1]);
        drop(second);
        assert_eq!(tails.watched(), 0);
        tails.append(&event(2, 1));
        assert_eq!(tails.watched(), 0, "events nobody watches are not kept");
    }
}
