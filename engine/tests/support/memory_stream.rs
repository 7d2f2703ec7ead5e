//! A stream in memory, as the servers of a cluster keep one, with faults that are drawn from a seed.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use domain::{Epoch, LogSettings, Seq, Timestamp};
use engine::{
    clock::Uptime,
    command_log::{
        envelope::{Content, Envelope, Founding, encode},
        transport::{Delivery, Incarnation, MessageId, NotPublished, Transport},
    },
};
use futures_util::future::BoxFuture;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::mpsc, sync::watch};
use tokio_util::sync::CancellationToken;

/// The incarnation that founds the log.
pub(crate) const FOUNDER: Incarnation = Incarnation::from_bytes([0xff; 10]);

/// A stream in memory. Clones are the same stream.
#[derive(Clone)]
pub(crate) struct MemoryStream(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The number of messages.
    length: watch::Sender<u64>,
}

struct State {
    messages: Vec<(Timestamp, Bytes)>,
    /// Copies of messages that were on their way for longer than those after them.
    late: Vec<Bytes>,
    chance: StdRng,
    /// What goes wrong is drawn from this many, of which 9 are faults. 0 if nothing does.
    draws: u32,
    /// The true time in milliseconds, which passes with each message.
    now: u64,
    /// By how much the clock of the server that leads the stream is wrong, in milliseconds.
    wrong: i64,
}

impl State {
    fn append(&mut self, message: Bytes) {
        let step = if self.draws > 0 { self.chance.random_range(0..3_000) } else { 1 };
        self.now += step;
        self.messages.push((Timestamp(self.now).moved(self.wrong), message));
    }

    /// Adds a message that is not a valid one of the log.
    fn append_foreign(&mut self, like: &Bytes) {
        let mut foreign = like.to_vec();
        match self.chance.random_range(0..4) {
            0 => foreign = b"hello".to_vec(),
            1 => foreign.clear(),
            // Of another epoch, or damaged anywhere.
            2 => {
                let other = Envelope {
                    from: FOUNDER,
                    number: 99,
                    uptime_millis: 0,
                    content: Content::Proposals(Vec::new()),
                };
                foreign = encode(Epoch::from_bytes([0xee; 10]), &other).unwrap().to_vec();
            }
            _ => {
                let place = self.chance.random_range(0..foreign.len().max(1));
                if let Some(byte) = foreign.get_mut(place) {
                    *byte ^= 1 << self.chance.random_range(0..8);
                }
            }
        }
        self.append(foreign.into());
    }
}

impl MemoryStream {
    /// Creates an empty stream, whose clock begins at `now`. 9 of `draws` messages meet a fault, or none if it is 0.
    pub(crate) fn new(seed: u64, draws: u32, now: Timestamp) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        let state = State { messages: Vec::new(), late: Vec::new(), chance, draws, now: now.0, wrong: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), length: watch::Sender::new(0) }))
    }

    /// Founds a log in the empty stream.
    pub(crate) fn found(&self, epoch: Epoch, settings: LogSettings) {
        let founding =
            Founding { settings, seq: Seq::ZERO, at: Timestamp::default(), base: None, clock_offset: 0 };
        let content = Content::Founded(founding);
        self.append(
            encode(epoch, &Envelope { from: FOUNDER, number: 1, uptime_millis: 0, content }).unwrap(),
        );
    }

    /// Appends a message as it is.
    pub(crate) fn append(&self, message: Bytes) {
        let mut state = self.lock();
        state.append(message);
        self.tell(&state);
    }

    /// Loses all messages after a place.
    pub(crate) fn cut(&self, place: u64) {
        let mut state = self.lock();
        state.messages.truncate(usize::try_from(place).unwrap());
        self.tell(&state);
    }

    /// Lets the clock of the stream be wrong from now on.
    pub(crate) fn leap(&self, wrong: i64) {
        self.lock().wrong = wrong;
    }

    /// Lets true time pass.
    pub(crate) fn pass(&self, millis: u64) {
        self.lock().now += millis;
    }

    /// Returns the number of messages.
    pub(crate) fn length(&self) -> u64 {
        *self.0.length.borrow()
    }

    /// Returns the uptime of a process that is started now: how long ago that was, by true time.
    pub(crate) fn uptime(&self) -> Uptime {
        let (stream, begun) = (self.clone(), self.lock().now);
        Arc::new(move || Duration::from_millis(stream.lock().now - begun))
    }

    /// Returns the true time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.lock().now)
    }

    /// Returns what a reader is handed for a place. `None` if the stream ends before it.
    pub(crate) fn delivery(&self, place: u64) -> Option<Delivery> {
        let state = self.lock();
        let index = usize::try_from(place.checked_sub(1)?).unwrap();
        let (at, payload) = state.messages.get(index)?.clone();
        Some(Delivery::Message { place, at, payload, behind: state.messages.len() as u64 - place })
    }

    /// Reads the stream after a place, until it is stopped or nobody takes what was read. Some messages are delivered
    /// twice if there are faults.
    pub(crate) async fn read(
        self,
        after: u64,
        deliveries: mpsc::Sender<Delivery>,
        stopped: CancellationToken,
    ) {
        let mut length = self.0.length.subscribe();
        let mut place = after;
        while !deliveries.is_closed() {
            tokio::select! {
                biased;
                grown = length.wait_for(|length| *length > place) => if grown.is_err() { return },
                () = stopped.cancelled() => return,
            }
            place += 1;
            let again = self.again(place);
            for place in again.into_iter().chain([place]) {
                let Some(delivery) = self.delivery(place) else { return };
                if deliveries.send(delivery).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Returns an earlier place that is delivered once more before this one, if chance has it.
    pub(crate) fn again(&self, place: u64) -> Option<u64> {
        let mut state = self.lock();
        let is_again = state.draws > 0 && place > 1 && state.chance.random_bool(0.1);
        is_again.then(|| state.chance.random_range(1..place))
    }

    fn tell(&self, state: &State) {
        self.0.length.send_replace(state.messages.len() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

/// Whether a message is acknowledged, and how often and when it gets into the stream, is left to chance.
impl Transport for MemoryStream {
    fn publish(&self, _: MessageId, payload: Bytes) -> BoxFuture<'_, Result<(), NotPublished>> {
        Box::pin(async move {
            let mut state = self.lock();
            let draws = state.draws;
            let fault = if draws > 0 { state.chance.random_range(0..draws) } else { u32::MAX };
            let mut late = std::mem::take(&mut state.late);
            if state.draws > 0 && state.chance.random_bool(0.5) {
                late.drain(..).for_each(|late| state.append(late));
            }
            let published = match fault {
                // The answer is lost.
                0 | 1 => {
                    state.append(payload);
                    Err(NotPublished::NoAnswer)
                }
                // The message is lost.
                2 | 3 => Err(NotPublished::NoStream),
                // It is taken twice.
                4 => {
                    state.append(payload.clone());
                    state.append(payload);
                    Ok(())
                }
                // It comes once more, before or after the next one.
                5 | 6 => {
                    state.append(payload.clone());
                    state.late.push(payload);
                    Ok(())
                }
                // It comes before or after the next attempt, which is one for the same message.
                7 => {
                    state.late.push(payload);
                    Err(NotPublished::NoAnswer)
                }
                8 => {
                    state.append_foreign(&payload);
                    state.append(payload);
                    Ok(())
                }
                _ => {
                    state.append(payload);
                    Ok(())
                }
            };
            late.into_iter().for_each(|late| state.append(late));
            self.tell(&state);
            published
        })
    }
}
