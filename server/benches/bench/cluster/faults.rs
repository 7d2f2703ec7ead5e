//! What users notice when a node or a NATS server is killed under load: clients who post, and check everything they
//! receive. They go to another node as pages do.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use domain::{
    ChatId, ClientId, Event, Seq, UserId, backoff,
    frame::{ClientCommand, ClientFrame, Cursor, ServerFrame},
    id::ID_BYTES,
};
use rand::Rng;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::{JoinHandle, spawn_local},
    time::{interval, sleep, timeout},
};

use super::servers::Servers;
use crate::{
    Form,
    report::{Figure, Goal, Report},
    target::{BODY_BYTES, Running, session},
    wire::{self, Kind, Wire},
};

/// The number of nodes.
const NODES: usize = 3;
/// The time between two messages of a client.
const PACE: Duration = Duration::from_millis(300);
/// How long the load runs before something is killed, and after what was killed is there again.
const CALM: Duration = Duration::from_secs(2);
/// How long anything may take before the run ends.
const PATIENCE: Duration = Duration::from_secs(90);
/// The time between two looks at the clients.
const BETWEEN: Duration = Duration::from_millis(10);

/// A message, as its author and their number for it.
type Said = (UserId, ClientId);

/// What all clients saw.
#[derive(Default)]
struct Seen {
    /// The message at each position of the log.
    log: BTreeMap<Seq, Said>,
    /// The position of each message.
    places: HashMap<Said, Seq>,
    /// The messages that were acknowledged, and where.
    acknowledged: Vec<(Said, Seq)>,
    lost: u32,
    repeated: u32,
    reordered: u32,
}

impl Seen {
    /// Takes note of an event that a client received after `cursor`.
    fn take(&mut self, event: &Event, cursor: Seq) {
        if event.seq <= cursor {
            self.repeated += 1;
        } else if event.prev != cursor {
            self.lost += 1;
        }
        self.note(event);
    }

    fn note(&mut self, event: &Event) {
        let Some(message) = event.kind.message() else { return };
        let said = (message.author, message.client_id);
        // All clients receive the same message at each position, and each message at one position.
        self.reordered += u32::from(*self.log.entry(event.seq).or_insert(said) != said);
        self.repeated += u32::from(*self.places.entry(said).or_insert(event.seq) != event.seq);
    }
}

/// What the clients and those who watch them share.
struct Shared {
    chat: ChatId,
    addresses: RefCell<Vec<SocketAddr>>,
    seen: RefCell<Seen>,
    /// When something was killed.
    killed_at: Cell<Option<Instant>>,
    /// How long each client whose connection broke was away, since something was killed.
    away: RefCell<Vec<Duration>>,
    /// When the first post that was sent after something was killed was acknowledged, by node.
    flows: RefCell<[Option<Instant>; NODES]>,
    /// The number of clients of each node.
    clients: RefCell<[usize; NODES]>,
    /// Whether clients post.
    is_posting: Cell<bool>,
    /// The end of the chat, once nobody posts any more.
    end: Cell<Option<Seq>>,
    /// The number of clients who have everything they posted acknowledged, after nobody posts any more.
    quiet: Cell<usize>,
    /// The number of connections that ended without anything being killed.
    broken: Cell<u32>,
}

struct Client {
    shared: Rc<Shared>,
    cookie: String,
    node: usize,
    me: Option<UserId>,
    cursor: Option<Cursor>,
    sent: u32,
    /// The messages that are not acknowledged, and when each was sent first.
    open: BTreeMap<u32, Instant>,
    /// Since when this client has been away.
    away_since: Option<Instant>,
    is_quiet: bool,
}

fn client_id(number: u32) -> ClientId {
    let mut id = [0; ID_BYTES];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(id)
}

fn frame(frame: &ClientFrame) -> io::Result<Vec<u8>> {
    Ok(wire::text(&serde_json::to_string(frame)?))
}

impl Client {
    /// Connects again and again, as a page does, until it has received everything.
    async fn live(mut self) -> io::Result<()> {
        let mut attempt = 0;
        loop {
            let lasted = self.connection(&mut attempt).await;
            if let Ok(true) = lasted {
                return Ok(());
            }
            if self.away_since.is_none() {
                self.away_since = self.shared.killed_at.get();
                if self.away_since.is_none() {
                    self.shared.broken.set(self.shared.broken.get() + 1);
                }
            }
            let random = rand::rng().random();
            sleep(Duration::from_millis(backoff::wait_millis(attempt, random, true).into())).await;
            attempt += 1;
            // As behind a load balancer that does not know which nodes there are.
            self.node = rand::rng().random_range(0..NODES);
        }
    }

    /// Runs one connection. Returns whether everything was received.
    async fn connection(&mut self, attempt: &mut u32) -> io::Result<bool> {
        let address = self.shared.addresses.borrow()[self.node];
        let mut wire = wire::open(address, "/live", &self.cookie).await?;
        self.shared.clients.borrow_mut()[self.node] += 1;
        let ended = self.talk(&mut wire, attempt).await;
        self.shared.clients.borrow_mut()[self.node] -= 1;
        ended
    }

    async fn talk(&mut self, wire: &mut Wire, attempt: &mut u32) -> io::Result<bool> {
        let watch = ClientFrame::Watch { chat: self.shared.chat, after: self.cursor };
        let hello = ClientFrame::Hello { version: domain::frame::VERSION };
        wire.stream.write_all(&[frame(&hello)?, frame(&watch)?].concat()).await?;
        for number in self.open.keys() {
            wire.stream.write_all(&self.post(*number)?).await?;
        }
        let mut pace = interval(PACE);
        // The clients post in turns.
        pace.reset_after(PACE.mul_f64(rand::rng().random()));
        loop {
            let mut used = 0;
            while let Some((kind, payload, length)) = wire::first(&wire.left[used..]) {
                used += length;
                match kind {
                    Kind::Text => self.hear(serde_json::from_slice(payload)?, attempt)?,
                    Kind::Ping => wire.stream.write_all(&wire::pong(payload)).await?,
                    Kind::Close => return Ok(false),
                    Kind::Other => {}
                }
            }
            wire.left.drain(..used);
            if self.is_done() {
                return Ok(true);
            }
            tokio::select! {
                read = wire.stream.read_buf(&mut wire.left) => if read? == 0 { return Ok(false) },
                _ = pace.tick() => if self.shared.is_posting.get() && self.cursor.is_some() {
                    self.sent += 1;
                    self.open.insert(self.sent, Instant::now());
                    wire.stream.write_all(&self.post(self.sent)?).await?;
                },
            }
        }
    }

    fn post(&self, number: u32) -> io::Result<Vec<u8>> {
        let body = "x".repeat(BODY_BYTES);
        let command = ClientCommand::post(self.shared.chat, client_id(number), body, 0);
        frame(&ClientFrame::Do { request: number.into(), command })
    }

    fn hear(&mut self, frame: ServerFrame, attempt: &mut u32) -> io::Result<()> {
        match frame {
            ServerFrame::Welcome { me, .. } => self.me = Some(me.id),
            ServerFrame::Resumed { .. } => self.come_back(attempt),
            ServerFrame::Snapshot { history, .. } => {
                // It missed more than is sent again one by one.
                let mut seen = self.shared.seen.borrow_mut();
                history.events.iter().for_each(|event| seen.note(event));
                drop(seen);
                self.cursor = Some(Cursor::new(history.epoch, history.seq));
                self.come_back(attempt);
            }
            ServerFrame::Event(event) => {
                if let Some(cursor) = &mut self.cursor {
                    self.shared.seen.borrow_mut().take(&event, cursor.seq);
                    cursor.seq = event.seq;
                }
            }
            ServerFrame::Done { request, seq } => {
                let sent = u32::try_from(request).ok().and_then(|number| self.open.remove(&number));
                let (Some(sent), Some(me)) = (sent, self.me) else { return Ok(()) };
                let said = (me, client_id(request as u32));
                self.shared.seen.borrow_mut().acknowledged.push((said, seq));
                if self.shared.killed_at.get().is_some_and(|killed_at| sent >= killed_at) {
                    self.shared.flows.borrow_mut()[self.node].get_or_insert_with(Instant::now);
                }
            }
            ServerFrame::Refused { problem, .. } => {
                return Err(io::Error::other(format!("refused: {problem:?}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn come_back(&mut self, attempt: &mut u32) {
        *attempt = 0;
        self.shared.away.borrow_mut().extend(self.away_since.take().map(|since| since.elapsed()));
    }

    fn is_done(&mut self) -> bool {
        if !self.shared.is_posting.get() && self.open.is_empty() && !self.is_quiet {
            self.is_quiet = true;
            self.shared.quiet.set(self.shared.quiet.get() + 1);
        }
        self.shared.end.get().is_some_and(|end| self.cursor.is_some_and(|cursor| cursor.seq >= end))
    }
}

/// Waits until something has happened to the clients.
async fn until(what: &str, mut has_happened: impl FnMut() -> bool) -> io::Result<()> {
    let waits = async {
        while !has_happened() {
            sleep(BETWEEN).await;
        }
    };
    timeout(PATIENCE, waits).await.map_err(|_| io::Error::other(format!("waited in vain until {what}")))
}

/// Kills the leader of the stream and one of three nodes, in turns, while clients post.
pub(crate) async fn measure(form: &Form, servers: &mut Servers, report: &mut Report) -> io::Result<()> {
    let log = servers.begin().await?;
    let stream = servers.settings(&log)?.name.stream();
    let mut nodes = servers.nodes(&log, NODES).await?;
    // A node that is killed is started with what it had.
    let folders: Vec<TempDir> = nodes.iter_mut().filter_map(Running::take_folder).collect();
    let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path().to_owned()).collect();
    let chat = nodes[0].chat.parse().map_err(|_| io::Error::other("the chat has no id"))?;
    let shared = Rc::new(Shared {
        chat,
        addresses: RefCell::new(nodes.iter().map(|node| node.address).collect()),
        seen: RefCell::default(),
        killed_at: Cell::default(),
        away: RefCell::default(),
        flows: RefCell::default(),
        clients: RefCell::default(),
        is_posting: Cell::new(true),
        end: Cell::default(),
        quiet: Cell::default(),
        broken: Cell::default(),
    });
    let count = NODES * form.clients;
    let mut clients: Vec<JoinHandle<io::Result<()>>> = Vec::new();
    for number in 0..count {
        let node = number % NODES;
        let cookie = session(nodes[node].address).await?;
        let client = Client {
            shared: Rc::clone(&shared),
            cookie,
            node,
            me: None,
            cursor: None,
            sent: 0,
            open: BTreeMap::new(),
            away_since: None,
            is_quiet: false,
        };
        clients.push(spawn_local(client.live()));
    }
    let are_here = || shared.clients.borrow().iter().sum::<usize>() == count;
    until("all clients are connected", are_here).await?;
    sleep(CALM).await;

    let (mut flowed, mut away) = (Vec::new(), Vec::new());
    for _ in 0..form.rounds {
        let leader = servers.nats()?.leader(&stream).await;
        let killed_at = Instant::now();
        shared.flows.take();
        shared.killed_at.set(Some(killed_at));
        servers.nats_mut()?.kill(leader);
        until("posts flow again", || shared.flows.borrow().iter().all(Option::is_some)).await?;
        let last = shared.flows.borrow().iter().flatten().max().copied();
        flowed.extend(last.map(|last| (last - killed_at).as_secs_f64()));
        shared.killed_at.set(None);
        servers.nats_mut()?.start(leader).await;
        sleep(CALM).await;
    }
    let without = shared.away.take().len();
    let broken = shared.broken.take();
    for _ in 0..form.rounds {
        let here = *shared.clients.borrow();
        let (node, of_node) =
            here.into_iter().enumerate().max_by_key(|(_, clients)| *clients).unwrap_or_default();
        shared.killed_at.set(Some(Instant::now()));
        drop(nodes.remove(node));
        until("all clients are back", || shared.away.borrow().len() >= of_node && are_here()).await?;
        shared.killed_at.set(None);
        away.push(shared.away.take());
        let (again, _) = servers.node(&log, &paths[node]).await?;
        shared.addresses.borrow_mut()[node] = again.address;
        nodes.insert(node, again);
        sleep(CALM).await;
    }

    shared.is_posting.set(false);
    until("everything is acknowledged", || shared.quiet.get() == count).await?;
    let newest = shared.seen.borrow().acknowledged.iter().map(|(_, seq)| *seq).max();
    shared.end.set(newest);
    for client in clients {
        timeout(PATIENCE, client).await?.map_err(io::Error::other)??;
    }
    let seen = shared.seen.borrow();
    let missing = |(said, seq): &&(Said, Seq)| seen.log.get(seq) != Some(said);
    let lost = seen.lost as usize + seen.acknowledged.iter().filter(missing).count();
    let none = |label: String, found: f64| Figure::of(label, "", &[found]).with_goal(Goal::AtMost(0.0));
    let posts = seen.acknowledged.len();
    report.add(none(
        format!(
            "{posts} posts, {} kills of a node and {} of the leader of the stream: lost",
            form.rounds, form.rounds
        ),
        lost as f64,
    ));
    report.add(none("the same: repeated".to_owned(), seen.repeated.into()));
    report.add(none("the same: reordered".to_owned(), seen.reordered.into()));
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let label = format!("one of {NODES} nodes is killed: its clients are back on another, {name}");
        let figure = Figure::of_times(label, part, &away);
        report.add(if part > 0.9 { figure.with_goal(Goal::AtMost(3_000.0)) } else { figure });
    }
    report.add(
        Figure::of(
            "the leader of the stream is killed: time until posts flow again on all nodes",
            "s",
            &flowed,
        )
        .with_goal(Goal::AtMost(10.0)),
    );
    if without > 0 || broken + shared.broken.get() > 0 {
        report.note(format!(
            "When the leader of the stream was killed, {without} clients connected again; {} did without a kill.",
            broken + shared.broken.get()
        ));
    }
    Ok(())
}
