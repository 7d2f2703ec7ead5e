//! What a client sent and received over many connections, to be compared with the log in the end.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use domain::{
    ChatId, ClientId, Event, Lifetimes, Problem, Seq, Timestamp, UserId,
    frame::{ClientCommand, ClientFrame, Cursor, RESUME_EVENTS, ServerFrame},
    page,
};
use engine::storage::{Store, StoreError};
use rand::seq::SliceRandom;
use server::start::DATABASE;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Client, Person,
    client::{handshake, open},
    client_id,
};

/// The number of events that are read from the log at once.
const PAGE: usize = 1_000;
/// How long a client of several nodes waits for one of them to take its connection before it tries another.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client of several nodes waits for any frame before it asks for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(1);
/// How long it waits for that.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A message in the log: its position, author and id.
type Said = (Seq, UserId, ClientId);

fn said(event: &Event) -> Option<Said> {
    event.kind.message().map(|message| (event.seq, message.author, message.client_id))
}

/// How a client posts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Posting {
    /// Only what is unacknowledged.
    Nothing,
    /// As fast as the answers come, with this many requests in flight.
    InFlight(usize),
    /// A message at this interval.
    Every(Duration),
    /// A message at this interval, with at most this many requests in flight.
    Paced(Duration, usize),
}

impl Posting {
    fn pace(self) -> Option<Duration> {
        match self {
            Self::Every(pace) | Self::Paced(pace, _) => Some(pace),
            Self::Nothing | Self::InFlight(_) => None,
        }
    }

    /// Returns how many requests may be in flight when another message is due.
    fn limit(self) -> usize {
        if let Self::Paced(_, limit) = self { limit } else { usize::MAX }
    }
}

/// A connection to one of several nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    /// The node.
    pub(crate) address: SocketAddr,
    /// When the chat was watched.
    pub(crate) from: Instant,
    /// When the client noticed that the connection was lost, or gave it up. `None` before that.
    pub(crate) to: Option<Instant>,
}

/// A message that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posted {
    /// When it was written.
    pub(crate) written: Instant,
    /// When the acknowledgement came.
    pub(crate) acknowledged: Instant,
}

/// What one client sent and received.
pub(crate) struct History {
    cookie: String,
    chat: ChatId,
    /// The last event received.
    cursor: Cursor,
    /// Every message, in the order received.
    seen: Vec<Said>,
    /// Ranges of positions that it did not receive, since it was so far behind that it was sent a snapshot.
    skipped: Vec<(Seq, Seq)>,
    /// Every acknowledged message, with its position.
    pub(crate) acknowledged: HashMap<ClientId, Seq>,
    /// Messages that were sent and not acknowledged, to be sent again, and when they were written.
    open: Vec<(ClientId, Instant)>,
    /// Every acknowledged message, in the order of the acknowledgements.
    pub(crate) posted: Vec<Posted>,
    /// Every connection to one of several nodes on which the chat was watched.
    pub(crate) visits: Vec<Visit>,
    sent: u64,
    /// The number of attempts to connect since the last success.
    pub(crate) attempts: u32,
    /// The age of the oldest event received since the last [`History::take_oldest`].
    oldest: Duration,
}

impl History {
    /// Creates a new user who watches a chat.
    pub(crate) async fn begin(server: SocketAddr, chat: ChatId) -> Self {
        let person = Person::arrive(server).await;
        let snapshot = person.connect().await.watch(chat, None).await.unwrap();
        Self {
            cookie: person.cookie.clone(),
            chat,
            cursor: Cursor::new(snapshot.epoch, snapshot.seq),
            seen: Vec::new(),
            skipped: Vec::new(),
            acknowledged: HashMap::new(),
            open: Vec::new(),
            posted: Vec::new(),
            visits: Vec::new(),
            sent: 0,
            attempts: 0,
            oldest: Duration::ZERO,
        }
    }

    fn ask(&self, message: ClientId) -> ClientFrame {
        let command = ClientCommand::post(self.chat, message, format!("message {message}"), 0);
        // Answers carry only the number of the request, so the client id is used as that number.
        let request = message.bytes().iter().skip(2).fold(0, |number, byte| number << 8 | u64::from(*byte));
        ClientFrame::Do { request, command }
    }

    /// Writes a message. It is sent with the next connection if there is none.
    pub(crate) fn write(&mut self) -> ClientId {
        self.sent += 1;
        let message = client_id(self.sent);
        self.open.push((message, Instant::now()));
        message
    }

    /// Returns how old the oldest event since the last call was when it was received.
    pub(crate) fn take_oldest(&mut self) -> Duration {
        std::mem::take(&mut self.oldest)
    }

    fn take(&mut self, event: &Event) {
        assert!(event.seq > self.cursor.seq, "duplicate at {}", event.seq);
        assert_eq!(event.prev, self.cursor.seq, "gap before {}", event.seq);
        self.cursor.seq = event.seq;
        self.seen.extend(said(event));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.oldest = self.oldest.max(now.saturating_sub(Duration::from_millis(event.at.0)));
    }

    /// Applies a snapshot. A snapshot may replace only a gap that is too long for a resume.
    fn start_over(&mut self, history: page::History) {
        assert_eq!(history.epoch, self.cursor.epoch, "the database is another one");
        let begins = history.events.first().map_or(history.seq, |event| event.prev);
        let places = history.seq.0.saturating_sub(self.cursor.seq.0);
        assert!(
            places > RESUME_EVENTS as u64,
            "the cursor was not resumed, and {places} places are missing at most"
        );
        assert!(begins > self.cursor.seq, "the cursor was not resumed, and nothing is missing");
        self.skipped.push((self.cursor.seq, begins));
        self.cursor.seq = begins;
        history.events.iter().for_each(|event| self.take(event));
    }

    /// Runs one connection until it ends, until `until` is cancelled, or, with [`Posting::Nothing`], until everything
    /// is acknowledged. Returns `None` if the connection ended.
    pub(crate) async fn live(
        &mut self,
        address: SocketAddr,
        posting: Posting,
        until: &CancellationToken,
    ) -> Option<()> {
        self.attempts += 1;
        let wire = open(handshake(address, Some(&self.cookie))).await.ok()?;
        let client = Client::greet(wire).await?;
        self.talk(client, posting, None, until).await
    }

    /// As [`History::live`], with any of several nodes: the first, in random order, that takes the connection in time. A
    /// node that gives no sign of life is left.
    pub(crate) async fn live_at_any(
        &mut self,
        nodes: &[SocketAddr],
        posting: Posting,
        until: &CancellationToken,
    ) -> Option<()> {
        self.attempts += 1;
        let mut nodes = nodes.to_vec();
        nodes.shuffle(&mut rand::rng());
        for address in nodes {
            let connecting = async {
                let wire = open(handshake(address, Some(&self.cookie))).await.ok()?;
                Client::greet(wire).await
            };
            let Ok(Some(client)) = timeout(HANDSHAKE_TIMEOUT, connecting).await else { continue };
            let visits = self.visits.len();
            let lived = self.talk(client, posting, Some(address), until).await;
            if let Some(visit) = self.visits.get_mut(visits) {
                visit.to = Some(Instant::now());
            }
            return lived;
        }
        None
    }

    /// Talks over a connection. `node` is the one of several that it is to, from which signs of life are expected.
    async fn talk(
        &mut self,
        mut client: Client,
        posting: Posting,
        node: Option<SocketAddr>,
        until: &CancellationToken,
    ) -> Option<()> {
        self.attempts = 0;
        let (chat, after) = (self.chat, Some(self.cursor));
        client.try_send(&ClientFrame::Watch { chat, after }).await.ok()?;
        for (message, _) in self.open.clone() {
            client.try_send(&self.ask(message)).await.ok()?;
        }
        let mut next = Instant::now();
        let (mut is_pinged, mut silent_at) = (false, Instant::now() + PING_AFTER);
        loop {
            if let Posting::InFlight(limit) = posting {
                while self.open.len() < limit {
                    let message = self.write();
                    client.try_send(&self.ask(message)).await.ok()?;
                }
            }
            let due = async {
                match posting.pace() {
                    Some(_) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            let frame = async {
                match node {
                    Some(_) => client.try_next_beat_or_frame().await,
                    None => client.try_next().await,
                }
            };
            let frame = tokio::select! {
                frame = frame => frame?,
                () = due => {
                    next += posting.pace()?;
                    if self.open.len() < posting.limit() {
                        let message = self.write();
                        client.try_send(&self.ask(message)).await.ok()?;
                    }
                    continue;
                }
                () = sleep_until(silent_at), if node.is_some() => {
                    if is_pinged {
                        return None;
                    }
                    (is_pinged, silent_at) = (true, Instant::now() + PING_TIMEOUT);
                    client.try_send(&ClientFrame::Ping {}).await.ok()?;
                    continue;
                }
                () = until.cancelled() => return Some(()),
            };
            (is_pinged, silent_at) = (false, Instant::now() + PING_AFTER);
            if let ServerFrame::Resumed { .. } | ServerFrame::Snapshot { .. } = frame {
                let visit = |address| Visit { address, from: Instant::now(), to: None };
                self.visits.extend(node.map(visit));
            }
            match frame {
                ServerFrame::Event(event) => self.take(&event),
                ServerFrame::Done { request, seq } => self.acknowledge(client_id(request), seq),
                ServerFrame::Snapshot { history, .. } => self.start_over(history),
                // This node stops, or is not as far as another one that the client was at; or the node cannot know what
                // came of a message, since a snapshot took the place of the log that it was to read it in.
                ServerFrame::Refused { problem: Problem::Restarting | Problem::NotStored, .. }
                    if node.is_some() =>
                {
                    return None;
                }
                ServerFrame::Refused { problem, .. } => panic!("refused: {problem:?}"),
                _ => {}
            }
            if matches!(posting, Posting::Nothing) && self.open.is_empty() {
                return Some(());
            }
        }
    }

    fn acknowledge(&mut self, message: ClientId, seq: Seq) {
        if let Some(place) = self.open.iter().position(|(open, _)| *open == message) {
            let (_, written) = self.open.remove(place);
            self.posted.push(Posted { written, acknowledged: Instant::now() });
        }
        let before = self.acknowledged.insert(message, seq);
        assert!(before.is_none_or(|before| before == seq), "acknowledged at {before:?} and {seq}");
    }

    async fn catch_up(&mut self, address: SocketAddr, newest: Seq) {
        let mut client = Client::connect(address, &self.cookie).await;
        if let Some(snapshot) = client.watch(self.chat, Some(self.cursor)).await {
            self.start_over(snapshot);
        }
        while self.cursor.seq < newest {
            self.take(&client.event().await);
        }
    }
}

/// Sends what is unacknowledged once more until it is acknowledged. Then all clients catch up with the log.
pub(crate) async fn finish(histories: &mut [History], address: SocketAddr) {
    let never = CancellationToken::new();
    let mut newest: HashMap<ChatId, Seq> = HashMap::new();
    for history in &mut *histories {
        history.live(address, Posting::Nothing, &never).await.unwrap();
        let place = newest.entry(history.chat).or_default();
        *place = history.acknowledged.values().copied().fold(*place, Seq::max);
    }
    for history in histories {
        history.catch_up(address, newest[&history.chat]).await;
    }
}

/// The result of comparing the histories with the log.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) acknowledged: usize,
    pub(crate) seen: usize,
    pub(crate) snapshots: usize,
}

/// Opens the database of a server that is stopped.
fn open_store(data_dir: &Path) -> Store {
    let path = data_dir.join(DATABASE);
    match Store::open(&path, Lifetimes::default()) {
        Err(StoreError::OfCluster) => Store::open_read_only(&path).unwrap(),
        store => store.unwrap(),
    }
}

/// What is in the database of a node that is stopped.
pub(crate) struct Stored {
    /// All events of a chat.
    pub(crate) events: Vec<Event>,
    /// A place of the log, and the digest of all changes up to it. The place is the same for nodes that are nearly as far.
    pub(crate) mark: (u64, u32),
}

/// Reads the database of a node that is stopped.
pub(crate) fn stored(data_dir: &Path, chat: ChatId) -> Stored {
    let store = open_store(data_dir);
    Stored { events: events(&store, chat), mark: store.replica().unwrap().unwrap().mark }
}

/// Compares what every client received, and what was acknowledged to it, with the database. The server has to be
/// stopped.
pub(crate) fn compare(histories: &[History], data_dir: &Path) -> Compared {
    let store = open_store(data_dir);
    let mut compared = Compared::default();
    let chats: HashSet<ChatId> = histories.iter().map(|history| history.chat).collect();
    for chat in chats {
        let log = read(&store, chat);
        let here: Vec<&History> = histories.iter().filter(|history| history.chat == chat).collect();
        let (mut places, mut newest) = (HashMap::new(), HashMap::new());
        for (seq, author, message) in &log {
            let before = places.insert((*author, *message), *seq);
            assert_eq!(before, None, "message {message} of {author} is stored twice, once at {seq}");
            // The ids of a client count its messages.
            let earlier = newest.insert(*author, *message);
            assert!(earlier < Some(*message), "message {message} of {author} is stored after {earlier:?}");
        }
        for history in &here {
            let was_skipped =
                |seq: Seq| history.skipped.iter().any(|(after, through)| *after < seq && seq <= *through);
            let expected = log.iter().filter(|(seq, ..)| !was_skipped(*seq));
            assert!(
                expected.eq(&history.seen),
                "a client saw other events than the log has, or in another order"
            );
            compared.seen += history.seen.len();
            compared.snapshots += history.skipped.len();
        }
        let authors: HashSet<_> = log.iter().map(|(_, author, _)| *author).collect();
        assert_eq!(authors.len(), here.len(), "every client posted");
        let there: HashMap<Seq, ClientId> = log.iter().map(|(seq, _, message)| (*seq, *message)).collect();
        let mut acknowledged = 0;
        for (message, seq) in here.iter().flat_map(|history| &history.acknowledged) {
            assert_eq!(
                there.get(seq),
                Some(message),
                "message {message} was acknowledged at {seq} and is lost"
            );
            acknowledged += 1;
        }
        assert_eq!(
            acknowledged,
            log.len(),
            "clients post until they are acknowledged, so everything stored was"
        );
        compared.acknowledged += acknowledged;
    }
    compared
}

/// Returns all events of a chat in the database, in order.
fn events(store: &Store, chat: ChatId) -> Vec<Event> {
    let view = store.read(Timestamp::default()).unwrap();
    let (mut events, mut cursor) = (Vec::new(), Seq::ZERO);
    loop {
        let page = view.events_after(chat, cursor, PAGE).unwrap();
        let Some(last) = page.last() else { return events };
        assert!(page.windows(2).all(|pair| pair[1].prev == pair[0].seq), "gap in the stored events");
        cursor = last.seq;
        events.extend(page);
    }
}

/// Returns all messages of a chat in the database, in order.
fn read(store: &Store, chat: ChatId) -> Vec<Said> {
    events(store, chat).iter().filter_map(said).collect()
}

/// Returns a number from the environment, with which a run can be made longer than by default.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}
