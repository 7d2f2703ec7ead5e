//! `kill -9` at random moments, under load: what was acknowledged is there exactly once, in one order for everybody.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    ChatId, ClientId, Event, Seq, Timeline, What,
    frame::{Ask, ClientFrame, Cursor, ServerFrame},
    timeline::Applied,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Client, Person,
    client::{handshake, open},
    client_id,
    process::Process,
};

const KILLS: u64 = 20;
const CLIENTS: u64 = 6;
/// Messages of one client that are on their way at once.
const IN_FLIGHT: usize = 8;
/// The server lives this long at least, so that each of its lives does some work, and up to twice as long.
const LIFE: Duration = Duration::from_millis(60);

/// What one client sent and learned, over all lives of the server.
struct History {
    cookie: String,
    timeline: Timeline,
    /// Every event, in the order it was seen.
    seen: Vec<Event>,
    /// Every message that was acknowledged, with its place.
    acknowledged: HashMap<ClientId, Seq>,
    /// Messages that were sent and not acknowledged: to be sent again.
    open: Vec<ClientId>,
    sent: u64,
}

impl History {
    fn ask(chat: ChatId, message: ClientId) -> ClientFrame {
        let command = Ask::Post { chat, client_id: message, body: format!("message {message}") };
        // the client id is the only thing an answer has to be matched with, and a number is what it carries
        let request = message.bytes().iter().skip(2).fold(0, |number, byte| number << 8 | u64::from(*byte));
        ClientFrame::Do { request, command }
    }

    fn next_message(&mut self) -> ClientId {
        self.sent += 1;
        let message = client_id(self.sent);
        self.open.push(message);
        message
    }

    /// One connection, from its hello until the server is killed or `until` says that it is enough.
    async fn live(
        &mut self,
        address: SocketAddr,
        chat: ChatId,
        posting: bool,
        until: &CancellationToken,
    ) -> Option<()> {
        let wire = open(handshake(address, Some(&self.cookie))).await.ok()?;
        let mut client = Client::greet(wire).await?;
        let after = Some(self.timeline.cursor());
        client.try_send(&ClientFrame::Watch { chat, after }).await.ok()?;
        for message in self.open.clone() {
            client.try_send(&Self::ask(chat, message)).await.ok()?;
        }
        loop {
            while posting && self.open.len() < IN_FLIGHT {
                let message = self.next_message();
                client.try_send(&Self::ask(chat, message)).await.ok()?;
            }
            let frame = tokio::select! {
                frame = client.try_next() => frame?,
                () = until.cancelled() => return Some(()),
            };
            match frame {
                ServerFrame::Event(event) => {
                    assert_eq!(
                        self.timeline.apply(event.clone()),
                        Applied::Appended,
                        "a hole or a repeat at {}",
                        event.seq
                    );
                    self.seen.push(event);
                }
                ServerFrame::Done { request, seq } => {
                    let message = client_id(request);
                    self.open.retain(|open| *open != message);
                    let before = self.acknowledged.insert(message, seq);
                    assert!(
                        before.is_none_or(|before| before == seq),
                        "acknowledged at {before:?} and {seq}"
                    );
                }
                ServerFrame::Snapshot { .. } => panic!("the cursor was not resumed"),
                ServerFrame::Refused { problem, .. } => panic!("refused: {problem:?}"),
                _ => {}
            }
            if !posting && self.open.is_empty() {
                return Some(());
            }
        }
    }
}

/// Where the server is now; nothing while it is dead.
type Where = watch::Receiver<Option<SocketAddr>>;

async fn client(mut history: History, chat: ChatId, mut server: Where, enough: CancellationToken) -> History {
    while !enough.is_cancelled() {
        let address = tokio::select! {
            found = server.wait_for(Option::is_some) => (*found.unwrap()).unwrap(),
            () = enough.cancelled() => break,
        };
        if history.live(address, chat, true, &enough).await.is_none() {
            // a kill is announced before it is done: no connection ends without one
            assert_ne!(*server.borrow(), Some(address), "the server ended a connection while it lived");
            let _ = server.wait_for(|now| *now != Some(address)).await;
        }
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_repeated_or_reordered() {
    // printed when it fails: the moments of the kills, though not what they hit, are those of the seed
    let seed = std::env::var("QCHAT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("QCHAT_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();

    let mut process = Process::start(folder.path());
    let owner = Person::arrive(process.address).await;
    let chat = owner.start_chat("Ana", "Crash").await;
    let (tell, server) = watch::channel(Some(process.address));
    let enough = CancellationToken::new();
    let mut histories = Vec::new();
    for _ in 0..CLIENTS {
        let person = Person::arrive(process.address).await;
        let mut first = person.connect().await;
        let snapshot = first.watch(chat, None).await.unwrap();
        histories.push(History {
            cookie: person.cookie.clone(),
            timeline: first.timeline(snapshot),
            seen: Vec::new(),
            acknowledged: HashMap::new(),
            open: Vec::new(),
            sent: 0,
        });
    }
    // nobody posts before everybody has begun to look
    let mut clients = JoinSet::new();
    for history in histories {
        clients.spawn(client(history, chat, server.clone(), enough.clone()));
    }

    let started = Instant::now();
    for _ in 0..KILLS {
        tokio::time::sleep(LIFE + LIFE.mul_f64(random.random())).await;
        tell.send_replace(None);
        process.kill();
        process = Process::start(folder.path());
        tell.send_replace(Some(process.address));
    }
    enough.cancel();
    let mut histories = Vec::new();
    while let Some(history) = clients.join_next().await {
        histories.push(history.unwrap());
    }

    // what is still open is sent once more and acknowledged, then everybody catches up with what is there
    let never = CancellationToken::new();
    for history in &mut histories {
        history.live(process.address, chat, false, &never).await.unwrap();
    }
    let newest = histories.iter().flat_map(|history| history.acknowledged.values()).max().copied().unwrap();
    for history in &mut histories {
        catch_up(history, process.address, chat, newest).await;
    }

    check(&histories);
    let acknowledged: usize = histories.iter().map(|history| history.acknowledged.len()).sum();
    println!(
        "{KILLS} kills in {:.1?} under {CLIENTS} clients: {acknowledged} messages acknowledged, none lost, repeated or reordered",
        started.elapsed()
    );
    assert!(acknowledged as u64 > KILLS * CLIENTS, "there was work to lose: {acknowledged}");
}

async fn catch_up(history: &mut History, address: SocketAddr, chat: ChatId, newest: Seq) {
    let mut client = Client::connect(address, &history.cookie).await;
    let Cursor { seq, .. } = history.timeline.cursor();
    assert_eq!(client.watch(chat, Some(history.timeline.cursor())).await, None, "resumed from {seq}");
    while history.timeline.cursor().seq < newest {
        let event = client.event().await;
        assert_eq!(history.timeline.apply(event.clone()), Applied::Appended);
        history.seen.push(event);
    }
}

/// Compares what every client saw with what every client was told.
fn check(histories: &[History]) {
    let log: Arc<Vec<Event>> = Arc::new(histories[0].seen.clone());
    for history in histories {
        assert_eq!(history.seen.len(), log.len());
        assert!(history.seen == *log, "everybody sees the same in the same order");
    }
    let mut places: HashMap<_, Vec<Seq>> = HashMap::new();
    for event in log.iter() {
        if let What::Posted(message) = &event.what {
            places.entry((message.author, message.client_id)).or_default().push(event.seq);
        }
    }
    for ((author, message), places) in &places {
        assert_eq!(places.len(), 1, "{message} of {author} is there {} times", places.len());
    }
    let authors: std::collections::HashSet<_> = places.keys().map(|(author, _)| *author).collect();
    assert_eq!(authors.len(), histories.len(), "everybody said something");
    let mut acknowledged = 0;
    for history in histories {
        for (message, seq) in &history.acknowledged {
            let found = places.iter().any(|((_, client_id), at)| client_id == message && at[0] == *seq);
            assert!(found, "{message} was acknowledged at {seq} and is not there");
            acknowledged += 1;
        }
    }
    assert_eq!(
        acknowledged,
        places.len(),
        "what is there was acknowledged, since everything was sent until it was"
    );
}
