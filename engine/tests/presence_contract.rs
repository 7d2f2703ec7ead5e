//! The contract of what is not in the log: who is online, in which chats, and typing. One suite, for one node alone and for
//! three that tell each other over a bus in memory that drops, delays, reorders and repeats messages, while nodes freeze,
//! are cut off and killed. After some time without any of that, all nodes show the same, which is what the open
//! connections amount to.
//!
//! `QCHAT_SEEDS=1000` tries more of what may happen; a failure names its seed.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use domain::{
    Body, Change, ChatId, ClientId, Emoji, Epoch, Event, EventKind, Lifetimes, Message as Post, Nickname,
    Problem, Reaction, Rules, Seq, Timestamp, Title, User, UserId, Visibility, Wording, id::ID_BYTES,
    lobby::LobbyQuery,
};
use engine::{
    Engine, EngineParts,
    change_dispatcher::ChangeDispatcher,
    clock::Clock,
    command_log::{local, transport::Incarnation},
    fanout::{Fanout, FrameSink, Full, Subscriber, Subscription},
    limits::{Limits, Quotas, Rates},
    lobby::{Lobby, Origin, OriginKey},
    nodes::{
        Nodes, Topic,
        message::{Mark, Message, Position, Versions},
    },
    presence::{GRACE, MemberGuard, NodeId, OnlineGuard, Presence, REPORTS_LIMIT, TYPING},
    progress::Progress,
    storage::Store,
};
use futures_util::FutureExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, advance},
};
use tokio_util::task::AbortOnDropHandle;

const STEP: Duration = Duration::from_millis(25);
const NOW: Timestamp = Timestamp(1_000_000);
const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);
const CHATS: u8 = 3;
const USERS: u8 = 10;
/// The time after which all is settled: asking again takes 8 s at most, silence and grace 7 s.
const QUIET: Duration = Duration::from_secs(30);

fn chat_id(number: u8) -> ChatId {
    ChatId::from_bytes([100 + number; ID_BYTES])
}

fn user_id(number: u8) -> UserId {
    UserId::from_bytes([1 + number; ID_BYTES])
}

/// How unreliable the bus is.
#[derive(Clone, Copy)]
struct Faults {
    /// The probability that a message is lost on its way to one node.
    lost: f64,
    /// The probability that it comes twice.
    repeated: f64,
    /// The maximum time on its way, in milliseconds. Messages overtake each other within it.
    delay: u64,
    /// Whether nodes are frozen, cut off and killed.
    is_rough: bool,
}

impl Faults {
    const NONE: Self = Self { lost: 0.0, repeated: 0.0, delay: 20, is_rough: false };
    const LOSSY: Self = Self { lost: 0.2, repeated: 0.2, delay: 800, is_rough: false };
    const ROUGH: Self = Self { lost: 0.05, repeated: 0.05, delay: 200, is_rough: true };
}

/// A sink that accepts everything.
struct Line;

impl FrameSink for Line {
    fn try_send(&self, _: &Bytes) -> Result<(), Full> {
        Ok(())
    }

    fn prefetch(&self) {}
}

struct Node {
    incarnation: Incarnation,
    presence: Arc<Presence>,
    store: Arc<Store>,
    lobby: Arc<Lobby>,
    dispatcher: ChangeDispatcher,
    engine: Engine,
    /// `None` on a node that is alone.
    nodes: Option<Nodes>,
    duty: Option<watch::Receiver<bool>>,
    /// The number of entries of the log that were applied.
    applied: usize,
    /// Takes part in nothing until then, as after SIGSTOP.
    frozen_until: Option<Instant>,
    /// Is without the bus and the log until then.
    cut_until: Option<Instant>,
    /// What came while it was frozen.
    queued: VecDeque<Vec<u8>>,
    _running: [AbortOnDropHandle<()>; 2],
}

/// A page that is open in a chat.
struct Page {
    node: usize,
    chat: u8,
    user: u8,
    member_guard: MemberGuard,
    _online: OnlineGuard,
    _subscription: Subscription,
}

/// Nodes with their users, their bus and their log.
struct World {
    random: StdRng,
    faults: Faults,
    nodes: Vec<Node>,
    pages: Vec<Page>,
    /// The changes of the log, each with the time at which it was in the log.
    log: Vec<(Instant, Change)>,
    /// The messages on their way, each with the time at which it comes and the node it goes to.
    bus: Vec<(Instant, usize, Vec<u8>)>,
    incarnations: u8,
    is_cluster: bool,
    members_limit: usize,
    /// The users whom a node has taken to have left, each with the node.
    left: Vec<(usize, UserId)>,
}

impl Node {
    fn new(number: u8, is_cluster: bool, members_limit: usize) -> Self {
        let lifetimes = Lifetimes::default();
        let clock: Clock = Arc::new(|| NOW);
        let store = Arc::new(Store::in_memory(lifetimes).unwrap());
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
        let lobby = Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, Arc::clone(&clock), 2);
        let lobby = Arc::new(lobby);
        let fanout = Arc::new(Fanout::new(1));
        let progress = Arc::new(Progress::new(Seq::ZERO));
        let dispatcher = ChangeDispatcher {
            store: Arc::clone(&store),
            fanout: Arc::clone(&fanout),
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            pictures: Arc::new(engine::pictures::Pictures::off()),
            progress: Arc::clone(&progress),
            steady: None,
        };
        let (sequencer, _) = local::open(Arc::clone(&clock), store.epoch(), Seq::ZERO);
        let quotas = Quotas { members: members_limit, ..Quotas::OFF };
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&store),
            sequencer: Arc::new(sequencer),
            fanout,
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            pictures: Arc::new(engine::pictures::Pictures::off()),
            limits: Arc::new(Limits::new(Rates::OFF, quotas, Duration::from_secs(60))),
            progress,
            is_shared: is_cluster,
            clock,
            origin_key: OriginKey::new(b"secret"),
        });
        let incarnation = Incarnation::from_bytes([number; ID_BYTES]);
        let running = [
            tokio::spawn({
                let presence = Arc::clone(&presence);
                async move { presence.run().await }
            }),
            tokio::spawn({
                let lobby = Arc::clone(&lobby);
                async move { lobby.run().await }
            }),
        ];
        let mut node = Self {
            incarnation,
            presence,
            store,
            lobby,
            dispatcher,
            engine,
            nodes: None,
            duty: None,
            applied: 0,
            frozen_until: None,
            cut_until: None,
            queued: VecDeque::new(),
            _running: running.map(AbortOnDropHandle::new),
        };
        if is_cluster {
            let nodes = node.introduce(number);
            node.duty = Some(nodes.duty());
            node.nodes = Some(nodes);
        }
        node
    }

    fn introduce(&self, number: u8) -> Nodes {
        let versions = Versions { formats: (1, 1), rules: (Rules(1), Rules(1)) };
        let parts = (Arc::clone(&self.presence), Arc::clone(&self.store), Arc::clone(&self.lobby));
        Nodes::new(self.incarnation, format!("node {number}"), versions, parts, Instant::now())
    }

    fn is_frozen(&self) -> bool {
        self.frozen_until.is_some()
    }

    fn is_cut(&self) -> bool {
        self.cut_until.is_some()
    }

    fn position(&self) -> Position {
        let place = self.applied as u64;
        let mark = Mark { place: 0, digest: 0 };
        Position { epoch: EPOCH, is_ready: !self.is_cut(), place, seq: Seq(place), mark }
    }

    /// Applies an entry of the log, which has one change.
    fn commit(&mut self, change: &Change) {
        self.applied += 1;
        self.store.write(Seq(self.applied as u64), NOW, |batch| batch.apply(change)).unwrap();
        self.dispatcher.dispatch(change);
    }
}

impl World {
    async fn new(count: usize, faults: Faults, seed: u64) -> Self {
        Self::with_limit(count, faults, seed, usize::MAX).await
    }

    async fn with_limit(count: usize, faults: Faults, seed: u64, members_limit: usize) -> Self {
        let is_cluster = count > 1;
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            faults,
            nodes: (0..count).map(|number| Node::new(number as u8, is_cluster, members_limit)).collect(),
            pages: Vec::new(),
            log: Vec::new(),
            bus: Vec::new(),
            incarnations: count as u8,
            is_cluster,
            members_limit,
            left: Vec::new(),
        };
        for number in 0..CHATS {
            let (owner, title) = (user_id(number), Title::parse(&format!("Chat {number}")).unwrap());
            let (nickname, visibility) = (Nickname::friendly(1), Visibility::Public);
            world.happens(number, EventKind::Started { owner, nickname, title, visibility, guest: None });
        }
        world.run(Duration::from_secs(5)).await;
        world
    }

    fn write(&mut self, change: Change) {
        self.log.push((Instant::now(), change));
    }

    fn happens(&mut self, chat: u8, kind: EventKind) {
        let seq = Seq(self.log.len() as u64 + 1);
        let last = |change: &Change| match change {
            Change::Chat(event) if event.chat == chat_id(chat) => Some(event.seq),
            _ => None,
        };
        let prev = self.log.iter().rev().find_map(|(_, change)| last(change)).unwrap_or(Seq::ZERO);
        self.write(Change::Chat(Event { chat: chat_id(chat), seq, prev, at: NOW, kind }));
    }

    async fn run(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.step().await;
        }
    }

    /// Lets a moment pass: what is due comes, and nodes do what is due.
    async fn step(&mut self) {
        advance(STEP).await;
        let now = Instant::now();
        for number in 0..self.nodes.len() {
            let was_cut = self.nodes[number].is_cut();
            let node = &mut self.nodes[number];
            node.frozen_until = node.frozen_until.filter(|until| *until > now);
            node.cut_until = node.cut_until.filter(|until| *until > now);
            // A client that has connected again says so, unless the other end has not noticed either.
            if was_cut
                && !node.is_cut()
                && self.random.random_bool(0.5)
                && let Some(nodes) = &mut node.nodes
            {
                let messages = nodes.missed(now);
                self.publish(number, messages);
            }
        }
        self.follow_log(now);
        self.deliver(now);
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            let position = node.position();
            let (false, Some(nodes)) = (node.is_frozen(), &mut node.nodes) else { continue };
            let mut messages = Vec::new();
            for payload in node.queued.drain(..) {
                messages.extend(nodes.receive(&payload, now).unwrap());
            }
            messages.extend(nodes.flush(now));
            if now >= nodes.deadline() {
                messages.extend(nodes.advance(position, now));
                node.presence.keep_gone(!nodes.is_in_touch(now));
            }
            let is_on_duty = node.duty.as_ref().is_some_and(|duty| *duty.borrow());
            let left = node.presence.take_departed(is_on_duty);
            self.left.extend(left.into_iter().map(|user| (number, user)));
            self.publish(number, messages);
        }
        // Pages that were removed from their chats notice it.
        let nodes = &self.nodes;
        self.pages.retain(|page| nodes[page.node].is_frozen() || page.member_guard.is_kept());
    }

    /// Lets each node apply the log, up to 50 ms late.
    fn follow_log(&mut self, now: Instant) {
        for node in &mut self.nodes {
            while let Some((at, change)) = self.log.get(node.applied)
                && !node.is_frozen()
                && !node.is_cut()
                && (!self.is_cluster || *at + Duration::from_millis(self.random.random_range(0..50)) <= now)
            {
                node.commit(change);
            }
        }
    }

    fn deliver(&mut self, now: Instant) {
        // Of those that are due at the same step, any may come first.
        while let Some(place) = {
            let due: Vec<_> = (0..self.bus.len()).filter(|place| self.bus[*place].0 <= now).collect();
            (!due.is_empty()).then(|| due[self.random.random_range(0..due.len())])
        } {
            let (_, to, payload) = self.bus.swap_remove(place);
            let node = &mut self.nodes[to];
            if !node.is_cut() && node.queued.len() < 10_000 {
                node.queued.push_back(payload);
            }
        }
    }

    fn publish(&mut self, from: usize, messages: Vec<Message>) {
        let now = Instant::now();
        for message in messages {
            let payload = message.encode().unwrap();
            for to in 0..self.nodes.len() {
                let is_asked = match message.topic() {
                    Topic::Beat | Topic::Told(_) => true,
                    Topic::Ask(of) => of == self.nodes[to].incarnation,
                };
                // Own messages come back, too.
                if !is_asked || self.nodes[from].is_cut() || self.random.random_bool(self.faults.lost) {
                    continue;
                }
                for _ in 0..1 + usize::from(self.random.random_bool(self.faults.repeated)) {
                    let delay = Duration::from_millis(self.random.random_range(0..=self.faults.delay));
                    self.bus.push((now + delay, to, payload.clone()));
                }
            }
        }
    }

    /// Opens a page, as a connection does. `None` if the node does not let the user in.
    fn open(&mut self, node: usize, chat: u8, user: u8) -> Option<Problem> {
        let engine = &self.nodes[node].engine;
        let (id, wake) = (user_id(user), Arc::<Notify>::default());
        if let Err(problem) = engine.read().and_then(|view| engine.enter(&view, chat_id(chat), id)) {
            return Some(problem);
        }
        let online = engine.arrive(id, &wake);
        let subscriber = Subscriber::new(id, Arc::new(Line), Arc::default());
        match engine.join(chat_id(chat), id, &subscriber, &wake) {
            Ok((member_guard, subscription)) => {
                let page =
                    Page { node, chat, user, member_guard, _online: online, _subscription: subscription };
                self.pages.push(page);
                None
            }
            Err(problem) => Some(problem),
        }
    }

    /// Lets something happen, seldom something rough.
    fn happen(&mut self) {
        let (chat, user) = (self.random.random_range(0..CHATS), self.random.random_range(0..USERS));
        let node = self.random.random_range(0..self.nodes.len());
        let page = (!self.pages.is_empty()).then(|| self.random.random_range(0..self.pages.len()));
        let page = page.filter(|page| !self.nodes[self.pages[*page].node].is_frozen());
        let nickname = || Nickname::friendly(1);
        let person = User::new(user_id(user));
        match self.random.random_range(0..100) {
            0..30 if !self.nodes[node].is_frozen() => {
                self.open(node, chat, user);
            }
            30..55 => {
                if let Some(page) = page {
                    self.pages.swap_remove(page);
                }
            }
            55..75 => {
                if let Some(page) = page {
                    self.pages[page].member_guard.typing();
                }
            }
            75..82 => {
                let name = format!("Name {}", self.random.random_range(0..1_000));
                let renamed = User { id: user_id(user), nickname: Nickname::parse(&name).unwrap() };
                self.write(Change::User { user: renamed, at: NOW });
            }
            82..88 => {
                if let Some(page) = page {
                    let Page { chat, user, .. } = self.pages[page];
                    let newest = Seq(self.log.len() as u64);
                    match self.random.random_range(0..6) {
                        0 => {
                            let wording = Some(Box::new(Wording::plain(Body::parse("other words").unwrap())));
                            self.happens(chat, EventKind::MessageEdited { message: newest, wording });
                        }
                        1 => self.write(Change::Reacted(Reaction {
                            chat: chat_id(chat),
                            message: newest,
                            emoji: Emoji::try_from("\u{1f44d}".to_owned()).unwrap(),
                            by: User::new(user_id(user)),
                            is_on: true,
                            seq: newest.next(),
                        })),
                        _ => self.post(chat, user),
                    }
                }
            }
            88..92 => {
                let is_locked = self.random.random_bool(0.5);
                self.happens(chat, EventKind::LockSet { nickname: nickname(), is_locked });
            }
            92..94 if user_id(user) != user_id(chat) => {
                self.happens(chat, EventKind::PersonRemoved { nickname: nickname(), person });
            }
            94..97 => self.happens(chat, EventKind::PersonAdmitted { nickname: nickname(), person }),
            97..100 if self.faults.is_rough => self.harm(node),
            _ => {}
        }
    }

    fn post(&mut self, chat: u8, user: u8) {
        let mut client_id = [0; ID_BYTES];
        client_id[..8].copy_from_slice(&self.log.len().to_be_bytes());
        let body = Body::parse("hello").unwrap();
        let (nickname, client_id) = (Nickname::friendly(1), ClientId::from_bytes(client_id));
        self.happens(chat, EventKind::Said(Box::new(Post::plain(user_id(user), nickname, client_id, body))));
    }

    fn harm(&mut self, node: usize) {
        let now = Instant::now();
        let duration = Duration::from_millis(self.random.random_range(500..9_000));
        match self.random.random_range(0..3) {
            0 => self.nodes[node].frozen_until = Some(now + duration),
            1 => self.nodes[node].cut_until = Some(now + duration),
            _ => self.kill(node),
        }
    }

    /// Ends a node without a word, and starts it anew, with an empty view of the log.
    fn kill(&mut self, node: usize) {
        self.pages.retain(|page| page.node != node);
        self.nodes[node] = Node::new(self.incarnations, self.is_cluster, self.members_limit);
        self.incarnations += 1;
    }

    /// Ends all faults, and waits until they must have been mended.
    async fn settle(&mut self) {
        self.faults = Faults::NONE;
        for node in &mut self.nodes {
            (node.frozen_until, node.cut_until) = (None, None);
        }
        for chat in 0..CHATS {
            self.happens(chat, EventKind::LockSet { nickname: Nickname::friendly(1), is_locked: false });
        }
        self.run(QUIET).await;
    }

    /// Checks that all nodes show what the open pages amount to.
    async fn check(&mut self, typing: &BTreeSet<(u8, u8)>, when: &str) {
        let people: BTreeSet<_> = self.pages.iter().map(|page| page.user).collect();
        let mut listings = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let when = format!("{when}, node {number} of {}", self.nodes.len());
            assert_eq!(node.presence.people(), people.len(), "{when}: {people:?}");
            assert_eq!(node.lobby.counts().people, people.len(), "{when}");
            for chat in 0..CHATS {
                let in_chat = self.pages.iter().filter(|page| page.chat == chat);
                let expected: BTreeMap<_, _> = in_chat
                    .map(|page| {
                        let user = node.engine.user(user_id(page.user)).unwrap();
                        (user.id, (user.nickname, typing.contains(&(chat, page.user))))
                    })
                    .collect();
                let roster = node.presence.roster(chat_id(chat));
                let shown: BTreeMap<_, _> = roster
                    .members
                    .into_iter()
                    .map(|member| (member.id, (member.nickname, member.typing)))
                    .collect();
                assert_eq!(shown, expected, "{when}, chat {chat}");
                assert_eq!(roster.count, expected.len(), "{when}, chat {chat}");
                assert_eq!(node.presence.preview(chat_id(chat)).0, expected.len(), "{when}, chat {chat}");
            }
            let (_, lobby) =
                node.lobby.enter(LobbyQuery { filter: String::new(), limit: 100 }).await.unwrap();
            let listed = lobby.listings.iter().map(|listing| (listing.id, listing.members));
            listings.push((lobby.counts, listed.collect::<Vec<_>>()));
        }
        assert!(listings.windows(2).all(|pair| pair[0] == pair[1]), "{when}: {listings:?}");
        if self.is_cluster {
            let on_duty = self.nodes.iter().filter_map(|node| node.duty.as_ref());
            assert_eq!(on_duty.filter(|duty| *duty.borrow()).count(), 1, "{when}: one is on duty");
        }
    }

    /// Checks that whoever types is shown to type everywhere, until they have posted.
    async fn check_typing(&mut self, when: &str) {
        let Some(Page { chat, user, member_guard, .. }) = self.pages.first() else { return };
        let (chat, user) = (*chat, *user);
        member_guard.typing();
        self.run(Duration::from_millis(200)).await;
        self.check(&BTreeSet::from([(chat, user)]), &format!("{when}, typing")).await;
        self.post(chat, user);
        self.run(Duration::from_millis(200)).await;
        self.check(&BTreeSet::new(), &format!("{when}, posted")).await;
        self.pages[0].member_guard.typing();
        self.run(TYPING + Duration::from_millis(400)).await;
        self.check(&BTreeSet::new(), &format!("{when}, stopped typing")).await;
    }
}

fn seeds(count: u64) -> Range<u64> {
    let wanted = std::env::var("QCHAT_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..wanted.unwrap_or(count)
}

/// The suite: whatever happens, afterwards all nodes show what the open pages amount to.
async fn suite(count: usize, faults: Faults, seed: u64) {
    let when = format!("seed {seed}");
    let mut world = World::new(count, faults, seed).await;
    for round in 0..2 {
        for _ in 0..400 {
            for _ in 0..world.random.random_range(0..2) {
                world.happen();
            }
            world.step().await;
        }
        world.settle().await;
        let when = format!("{when}, round {round}");
        world.check(&BTreeSet::new(), &when).await;
        world.check_typing(&when).await;
        world.faults = faults;
    }
    world.faults = Faults::NONE;
    world.pages.clear();
    world.run(GRACE + Duration::from_secs(1)).await;
    world.check(&BTreeSet::new(), &format!("{when}, all have gone")).await;
}

#[tokio::test(start_paused = true)]
async fn one_node_shows_who_is_there() {
    for seed in seeds(10) {
        suite(1, Faults::NONE, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_nodes_show_the_same() {
    for seed in seeds(5) {
        suite(3, Faults::NONE, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_nodes_show_the_same_after_messages_were_lost_late_and_repeated() {
    for seed in seeds(15) {
        suite(3, Faults::LOSSY, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_nodes_show_the_same_after_nodes_were_frozen_cut_off_and_killed() {
    for seed in seeds(15) {
        suite(3, Faults::ROUGH, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn on_another_node_users_come_type_and_leave_within_a_moment() {
    let mut world = World::new(2, Faults::NONE, 1).await;
    world.open(0, 0, 5);
    world.run(Duration::from_millis(100)).await;
    world.check(&BTreeSet::new(), "came").await;
    world.check_typing("there").await;
    world.open(1, 0, 5);
    world.pages.swap_remove(0);
    world.run(GRACE * 2).await;
    world.check(&BTreeSet::new(), "moved to the other node").await;
    assert_eq!(world.pages[0].node, 1);
    let roster = |world: &World| world.nodes[0].presence.roster(chat_id(0));
    let there = roster(&world);
    world.pages.clear();
    world.run(Duration::from_secs(2)).await;
    assert_eq!(roster(&world), there, "whoever leaves is shown for the grace, on all nodes");
    world.run(Duration::from_millis(1_200)).await;
    assert_eq!(roster(&world).count, 0);
}

#[tokio::test(start_paused = true)]
async fn those_of_a_killed_node_who_come_back_elsewhere_never_leave() {
    let mut world = World::new(3, Faults::NONE, 1).await;
    for user in 0..USERS {
        world.open(2, 0, user);
        world.open(0, 0, 0);
    }
    world.run(Duration::from_secs(2)).await;
    let roster = |world: &World| world.nodes[1].presence.roster(chat_id(0));
    let there = roster(&world);
    assert_eq!(there.count, usize::from(USERS));
    world.kill(2);
    for _ in 0..40 {
        world.step().await;
        assert_eq!(roster(&world), there);
    }
    for user in 0..USERS {
        world.open(usize::from(user) % 2, 0, user);
    }
    world.run(QUIET).await;
    assert_eq!(roster(&world), there, "not even the version is another");
    world.check(&BTreeSet::new(), "came back").await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_that_is_told_again_moves_nobody_and_nobody_counts_as_new() {
    let mut world = World::new(2, Faults::NONE, 1).await;
    world.run(Duration::from_secs(40)).await;
    for user in 0..USERS {
        world.open(0, 0, user);
    }
    world.run(Duration::from_secs(60)).await;
    let shown = |world: &World| {
        let presence = &world.nodes[1].presence;
        (presence.roster(chat_id(0)), presence.newcomers(chat_id(0), Duration::from_secs(30)))
    };
    let before = shown(&world);
    assert_eq!((before.0.count, before.1.len()), (usize::from(USERS), 0));
    for _ in 0..5 {
        for number in 0..2 {
            let messages = world.nodes[number].nodes.as_mut().unwrap().missed(Instant::now());
            world.publish(number, messages);
        }
        world.run(Duration::from_secs(2)).await;
        assert_eq!(shown(&world), before);
    }
    // The other node forgets all of them, and meets them again.
    world.nodes[1].cut_until = Some(Instant::now() + Duration::from_secs(20));
    world.run(Duration::from_secs(19)).await;
    assert_eq!(shown(&world).0.count, 0);
    world.run(Duration::from_secs(5)).await;
    let after = shown(&world);
    assert_eq!((after.0.members, after.1), (before.0.members, before.1), "they have been there for longer");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_node_is_forgotten_with_its_users_and_they_are_back_when_it_is() {
    let mut world = World::new(3, Faults::NONE, 1).await;
    world.open(0, 0, 0);
    world.open(1, 0, 1);
    world.run(Duration::from_secs(5)).await;
    world.check(&BTreeSet::new(), "before").await;
    assert!(*world.nodes[0].duty.as_ref().unwrap().borrow(), "the first node is the eldest");
    world.nodes[0].frozen_until = Some(Instant::now() + Duration::from_secs(20));
    world.run(Duration::from_secs(10)).await;
    assert_eq!(world.nodes[1].presence.roster(chat_id(0)).count, 1);
    assert!(*world.nodes[1].duty.as_ref().unwrap().borrow(), "the next takes over");
    // It was frozen, and did not notice that anybody was gone.
    world.run(Duration::from_secs(15)).await;
    world.check(&BTreeSet::new(), "after").await;
}

#[tokio::test(start_paused = true)]
async fn who_moves_to_another_node_while_theirs_is_cut_off_has_not_left() {
    let mut world = World::new(3, Faults::NONE, 1).await;
    world.open(0, 0, 0);
    world.open(0, 0, 1);
    world.open(1, 0, 2);
    world.run(Duration::from_secs(10)).await;
    world.pages.pop();
    world.run(Duration::from_secs(5)).await;
    assert_eq!(world.left, [(1, user_id(2))], "who leaves a node that hears the others has left");
    for cut in [3, 10, 100] {
        world.left.clear();
        world.nodes[0].cut_until = Some(Instant::now() + Duration::from_secs(cut));
        // One of them is back on another node before theirs is, the other is not.
        world.pages.clear();
        world.open(1, 0, 0);
        world.run(Duration::from_secs(cut + 80)).await;
        assert!(!world.left.iter().any(|(_, user)| *user == user_id(0)), "{cut}: {:?}", world.left);
        assert!(world.left.contains(&(0, user_id(1))), "{cut}: {:?}", world.left);
        world.pages.clear();
        world.run(Duration::from_secs(10)).await;
        assert!(world.left.contains(&(1, user_id(0))), "{cut}: {:?}", world.left);
        world.open(0, 0, 0);
        world.open(0, 0, 1);
        world.run(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_of_a_node_that_is_not_heard_have_left_after_a_minute_and_not_if_it_is_heard_again() {
    let mut world = World::new(3, Faults::NONE, 1).await;
    world.open(2, 0, 0);
    world.run(Duration::from_secs(10)).await;
    world.nodes[2].frozen_until = Some(Instant::now() + Duration::from_secs(30));
    world.run(Duration::from_secs(120)).await;
    assert_eq!(world.left, []);
    world.kill(2);
    world.run(Duration::from_secs(60)).await;
    assert_eq!(world.left, []);
    world.run(Duration::from_secs(30)).await;
    assert_eq!(world.left, [(0, user_id(0))]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_in_order_is_forgotten_at_once() {
    let mut world = World::new(3, Faults::NONE, 1).await;
    world.open(2, 0, 1);
    world.run(Duration::from_secs(2)).await;
    let messages = world.nodes[2].nodes.as_mut().unwrap().leave(Instant::now());
    world.publish(2, messages);
    world.nodes[2].nodes = None;
    world.run(Duration::from_millis(200)).await;
    let standing = world.nodes[0].nodes.as_ref().unwrap().standing();
    assert_eq!(standing.borrow().members, 2);
    world.run(GRACE).await;
    assert_eq!(world.nodes[0].presence.people(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_chat_has_room_for_as_many_members_as_allowed_whichever_node_they_are_on() {
    let mut world = World::with_limit(2, Faults::NONE, 1, 3).await;
    for (node, user) in [(0, 0), (1, 1), (0, 2)] {
        assert_eq!(world.open(node, 0, user), None);
    }
    world.run(Duration::from_millis(100)).await;
    for node in [0, 1] {
        assert_eq!(world.open(node, 0, 3), Some(Problem::ChatFull));
        assert_eq!(world.open(node, 0, 1), None, "who is there may open another page anywhere");
    }
}

#[tokio::test(start_paused = true)]
async fn chats_of_one_network_share_a_quota_whichever_node_they_were_started_on() {
    // Each owner has two chats in the list at most, and each network eight.
    let mut world = World::new(2, Faults::NONE, 1).await;
    for number in 0..20 {
        let (owner, title) = (user_id(100 + number), Title::parse("Offer").unwrap());
        let (nickname, visibility) = (Nickname::friendly(1), Visibility::Public);
        world.happens(20 + number, EventKind::Started { owner, nickname, title, visibility, guest: None });
    }
    world.run(Duration::from_millis(100)).await;
    for number in 0..20 {
        let node = usize::from(number) % 2;
        world.nodes[node].lobby.came_from(chat_id(20 + number), Origin(7));
    }
    world.run(Duration::from_secs(1)).await;
    let listed = async |world: &World, node: usize| {
        let query = LobbyQuery { filter: String::new(), limit: 100 };
        world.nodes[node].lobby.enter(query).await.unwrap().1.listings.len()
    };
    for node in [0, 1] {
        assert_eq!(listed(&world, node).await, 8 + usize::from(CHATS));
    }
    world.kill(1);
    world.run(Duration::from_secs(5)).await;
    assert_eq!(listed(&world, 0).await, 8 + usize::from(CHATS), "a node keeps what it was told");
    // What the killed node had told is not known to its successor, and counts for each of these chats alone.
    assert_eq!(listed(&world, 1).await, 8 + 10 + usize::from(CHATS));
}

#[tokio::test(start_paused = true)]
async fn the_origin_of_a_chat_that_is_not_known_yet_is_kept_until_it_is() {
    let mut world = World::new(2, Faults::NONE, 1).await;
    world.nodes[1].lobby.came_from_elsewhere(chat_id(50), Origin(7));
    assert_eq!(world.nodes[1].lobby.own_origins(), []);
    let (owner, title) = (user_id(0), Title::parse("Late").unwrap());
    let (nickname, visibility) = (Nickname::friendly(1), Visibility::Public);
    for number in 50..60 {
        let (title, nickname) = (title.clone(), nickname.clone());
        let owner = if number == 50 { owner } else { user_id(100 + number) };
        world.happens(number, EventKind::Started { owner, nickname, title, visibility, guest: None });
    }
    world.run(Duration::from_millis(100)).await;
    for number in 51..60 {
        world.nodes[1].lobby.came_from(chat_id(number), Origin(7));
    }
    let query = LobbyQuery { filter: String::new(), limit: 100 };
    let listings = world.nodes[1].lobby.enter(query).await.unwrap().1.listings;
    assert_eq!(listings.len(), 8 + usize::from(CHATS), "it counts with the others");
}

#[tokio::test(start_paused = true)]
async fn after_more_changes_than_are_kept_the_others_are_told_the_whole() {
    let mut world = World::new(2, Faults::NONE, 1).await;
    world.open(0, 0, 1);
    let presence = Arc::clone(&world.nodes[0].presence);
    for _ in 0..REPORTS_LIMIT / 2 {
        drop(presence.arrive(user_id(2), Arc::default()));
    }
    world.open(0, 0, 3);
    assert_eq!(world.nodes[1].presence.people(), 0);
    world.run(GRACE + Duration::from_secs(2)).await;
    world.check(&BTreeSet::new(), "after the storm").await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_task_is_restarted_shows_and_is_shown_without_a_flicker() {
    let mut world = World::new(3, Faults::NONE, 1).await;
    for user in 0..USERS {
        world.open(usize::from(user) % 2, 0, user);
    }
    world.run(Duration::from_secs(5)).await;
    let rosters = |world: &World| [0, 1].map(|node| world.nodes[node].presence.roster(chat_id(0)));
    let there = rosters(&world);
    let node = &mut world.nodes[0];
    node.nodes = None;
    let nodes = node.introduce(0);
    node.duty = Some(nodes.duty());
    node.nodes = Some(nodes);
    for _ in 0..QUIET.as_millis() / STEP.as_millis() {
        world.step().await;
        assert_eq!(rosters(&world), there);
    }
    world.check(&BTreeSet::new(), "restarted").await;
}

/// Ten thousand users with a page each are told in parts to a node that has just come, and back after a cut.
#[tokio::test(start_paused = true)]
async fn a_whole_of_ten_thousand_pages_goes_over_in_parts_and_is_applied_in_a_moment() {
    const PAGES: u32 = 10_000;
    let mut world = World::new(2, Faults::NONE, 1).await;
    let guards: Vec<_> = (0..PAGES)
        .map(|number| {
            let mut bytes = [0; ID_BYTES];
            bytes[..4].copy_from_slice(&(number + 0x0100_0000).to_be_bytes());
            let user = User::new(UserId::from_bytes(bytes));
            let presence = &world.nodes[0].presence;
            let online = presence.arrive(user.id, Arc::default());
            (online, presence.join(chat_id((number % u32::from(CHATS)) as u8), user, Arc::default()))
        })
        .collect();
    world.run(Duration::from_secs(1)).await;
    assert_eq!(world.nodes[1].presence.people(), PAGES as usize);
    world.kill(1);
    let (mut parts, mut bytes) = (0, 0);
    let mut took = Duration::ZERO;
    let node = &mut world.nodes[0];
    let position = node.position();
    let nodes = node.nodes.as_mut().unwrap();
    let began = std::time::Instant::now();
    let messages = {
        nodes.missed(Instant::now());
        advance(Duration::from_secs(2)).await;
        nodes.advance(position, Instant::now())
    };
    let made = began.elapsed();
    let beat = messages.iter().find(|message| matches!(message, Message::Beat(_))).unwrap().encode().unwrap();
    let fresh = world.nodes[1].nodes.as_mut().unwrap();
    fresh.receive(&beat, Instant::now()).unwrap();
    let mut longest = Duration::ZERO;
    for message in messages.iter().filter(|message| matches!(message, Message::Part(_))) {
        let payload = message.encode().unwrap();
        let began = std::time::Instant::now();
        fresh.receive(&payload, Instant::now()).unwrap();
        (took, longest) = (took + began.elapsed(), longest.max(began.elapsed()));
        (parts, bytes) = (parts + 1, bytes + payload.len());
        assert!(payload.len() <= 256 * 1024, "{} bytes", payload.len());
    }
    assert_eq!((parts, world.nodes[1].presence.people()), (3, PAGES as usize));
    let summary = world.nodes[0].presence.summary();
    assert_eq!(world.nodes[1].presence.digest_of(NodeId(1)), summary.digest);
    println!("{PAGES} pages: {parts} parts, {bytes} bytes, made in {made:?}, applied in {took:?}");
    let began = std::time::Instant::now();
    world.nodes[1].presence.forget_node(NodeId(1));
    println!("forgotten in {:?}", began.elapsed());
    // A hundred times what it takes on a machine of today, without optimization.
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(guards);
}

#[tokio::test(start_paused = true)]
async fn reactions_wake_the_members_on_all_nodes_and_in_a_large_room_no_more_often_than_joins_do() {
    let mut world = World::new(2, Faults::NONE, 1).await;
    let join = |(node, number): (usize, u32)| {
        let mut bytes = [0; ID_BYTES];
        bytes[..4].copy_from_slice(&(number + 0x0100_0000).to_be_bytes());
        let (user, wake) = (User::new(UserId::from_bytes(bytes)), Arc::<Notify>::default());
        (world.nodes[node].presence.join(chat_id(0), user, Arc::clone(&wake)), wake)
    };
    let members: Vec<_> = (0..40).map(|number| join((number as usize % 2, number))).collect();
    world.post(0, 0);
    world.run(Duration::from_secs(5)).await;
    let message = Seq(world.log.len() as u64);
    let was_woken = |(_, wake): &(MemberGuard, Arc<Notify>)| wake.notified().now_or_never().is_some();
    members.iter().for_each(|member| {
        was_woken(member);
    });
    let mut wakes = [0, 0];
    for number in 0..1_000_u32 {
        world.write(Change::Reacted(Reaction {
            chat: chat_id(0),
            message,
            emoji: Emoji::try_from("\u{1f44d}".to_owned()).unwrap(),
            by: User::new(user_id(5)),
            is_on: number % 2 == 0,
            seq: Seq(world.log.len() as u64 + 1),
        }));
        if number % 25 == 24 {
            world.step().await;
            for (node, woken) in wakes.iter_mut().enumerate() {
                *woken += u32::from(was_woken(&members[node]));
            }
        }
    }
    assert!(wakes.iter().all(|woken| (3..=6).contains(woken)), "in a second: {wakes:?}");
    world.run(Duration::from_secs(1)).await;
    let newest = Seq(world.log.len() as u64);
    assert!(members.iter().all(|(guard, _)| guard.reacted() == newest));
    assert!(members.iter().all(was_woken), "all are told of the last one");
}
