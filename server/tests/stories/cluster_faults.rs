//! Three nodes and three NATS servers under load, of which one after the other is killed, frozen or cut off: every
//! acknowledged message is there exactly once, in one order for all clients and in all databases. Skipped with a line on
//! standard error where there is no nats-server.
//!
//! `QCHAT_FAULTS=200 cargo test -p server --test stories cluster_faults -- --nocapture` is a longer run, in which a node and
//! a server are at fault at the same time now and then; `QCHAT_SEED` repeats one.

use std::{
    array,
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use domain::{ChatId, backoff};
use nats_fixture::Nats;
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{until_metric, until_ready},
    support::{
        Person,
        history::{Compared, History, Posting, Visit, compare, finish, number, stored},
        process::Process,
        proxy::{Cut, Line},
    },
};

/// The number of nodes, and that of servers.
const SIZE: usize = 3;
/// The number of faults in a short run: each kind at least once.
const FAULTS: u64 = 12;
/// The number of faults from which on a run is a long one.
const MANY: u64 = 50;
const CLIENTS: u64 = 9;
/// The number of messages of a client in flight: less than a node takes before it reads on.
const IN_FLIGHT: usize = 16;
/// The time without faults after all nodes are ready again.
const CALM: Duration = Duration::from_millis(500);
/// What differs in a longer run.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// How often the first client posts.
    fast: Duration,
    /// How often every other client posts.
    pace: Duration,
    /// How long a fault lasts, in seconds.
    lasts: (f64, f64),
    /// One in so many faults of a node comes with one of a server. `None` if there is one at a time.
    together_one_in: Option<u32>,
    /// The time between two snapshots of the cluster. What is in the second one before is gone from the log, so a node that
    /// was away for longer begins with a snapshot.
    snapshot_interval: &'static str,
}

impl Form {
    fn of(count: u64) -> Self {
        let (fast, pace) = (Duration::from_millis(10), Duration::from_millis(100));
        if count < MANY {
            Self { fast, pace, lasts: (1.0, 3.0), together_one_in: None, snapshot_interval: "2s" }
        } else {
            // A program that is not optimised takes long to load what has been said in an hour.
            let (slow, snapshot_interval) = if cfg!(debug_assertions) { (4, "10s") } else { (1, "4s") };
            let (fast, pace) = (fast * slow, pace * slow);
            Self { fast, pace, lasts: (1.0, 8.0), together_one_in: Some(3), snapshot_interval }
        }
    }
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A node is killed, and started again.
    KillNode,
    /// A node is killed, and another one begins in its place, with an empty data folder.
    ReplaceNode,
    /// A node is frozen.
    FreezeNode,
    /// The connections of a node to all servers end, and it gets no new ones.
    CutNode,
    /// Nothing passes between a node and all servers.
    SilenceNode,
    /// The server that leads the log is killed, and started again.
    KillLeader,
    /// Any server is killed, and started again.
    KillServer,
    /// Two servers are killed, so that there is no quorum, and started again.
    KillTwoServers,
    /// A server is frozen, in half of the cases the one that leads the log.
    FreezeServer,
}

const KINDS: [Fault; 9] = [
    Fault::KillNode,
    Fault::ReplaceNode,
    Fault::FreezeNode,
    Fault::CutNode,
    Fault::SilenceNode,
    Fault::KillLeader,
    Fault::KillServer,
    Fault::KillTwoServers,
    Fault::FreezeServer,
];

impl Fault {
    fn is_of_node(self) -> bool {
        matches!(
            self,
            Self::KillNode | Self::ReplaceNode | Self::FreezeNode | Self::CutNode | Self::SilenceNode
        )
    }
}

/// What happens when.
#[derive(Clone, Copy)]
struct Step {
    fault: Fault,
    /// Which node or server, if it is not the leader.
    index: usize,
    /// Whether it is the leader, if it may be.
    is_leader: bool,
    how: Cut,
    lasts: Duration,
    /// The wait before it, so that of two faults each may be the first.
    after: Duration,
}

impl Step {
    fn draw(fault: Fault, (shortest, longest): (f64, f64), random: &mut StdRng) -> Self {
        Self {
            fault,
            index: random.random_range(0..SIZE),
            is_leader: fault == Fault::KillLeader || (fault == Fault::FreezeServer && random.random()),
            how: match fault {
                Fault::SilenceNode => Cut::Silent,
                _ => *[Cut::Reset, Cut::End, Cut::Truncate].choose(random).unwrap(),
            },
            lasts: Duration::from_secs_f64(random.random_range(shortest..longest)),
            after: Duration::ZERO,
        }
    }
}

/// The nodes, and their lines to the servers.
struct Nodes {
    folders: [TempDir; SIZE],
    lines: Vec<[Line; SIZE]>,
    processes: [Option<Process>; SIZE],
    /// Where they are. One that is killed is still at its address for its clients.
    addresses: watch::Sender<Vec<SocketAddr>>,
    /// Where one was that was killed, and when.
    kills: Vec<(SocketAddr, Instant)>,
    /// What those have said that were killed.
    said: Vec<String>,
    snapshot_interval: &'static str,
}

impl Drop for Nodes {
    #[expect(clippy::print_stderr, reason = "a test that fails tells what the nodes said")]
    fn drop(&mut self) {
        if thread::panicking() {
            self.said.extend(self.processes.iter_mut().flatten().map(Process::said));
            self.said.iter().for_each(|said| eprintln!("A node said:\n{said}"));
        }
    }
}

impl Nodes {
    async fn start(nats: &Nats, snapshot_interval: &'static str) -> Self {
        let servers: Vec<SocketAddr> =
            nats.urls().iter().map(|url| url.strip_prefix("nats://").unwrap().parse().unwrap()).collect();
        let mut lines = Vec::new();
        for _ in 0..SIZE {
            let mut of_node = Vec::new();
            for server in &servers {
                of_node.push(Line::straight_to(*server).await);
            }
            lines.push(of_node.try_into().unwrap_or_else(|_| panic!("there are three servers")));
        }
        let mut nodes = Self {
            folders: array::from_fn(|_| tempfile::tempdir().unwrap()),
            lines,
            processes: [None, None, None],
            addresses: watch::Sender::default(),
            kills: Vec::new(),
            said: Vec::new(),
            snapshot_interval,
        };
        for index in 0..SIZE {
            nodes.launch(index).await;
        }
        nodes.are_ready().await;
        nodes
    }

    async fn launch(&mut self, index: usize) {
        let folder = self.folders[index].path().to_owned();
        let urls = self.lines[index].each_ref().map(|line| format!("nats://{}", line.address)).join(",");
        let interval = self.snapshot_interval;
        let process = spawn_blocking(move || launch(&folder, &urls, interval)).await.unwrap();
        self.addresses.send_modify(|addresses| match addresses.get_mut(index) {
            Some(address) => *address = process.address,
            None => addresses.push(process.address),
        });
        self.processes[index] = Some(process);
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.borrow().clone()
    }

    async fn are_ready(&self) {
        for address in self.addresses() {
            until_ready(address).await;
        }
    }

    async fn suffer(&mut self, step: Step) {
        let Step { fault, index, how, lasts, after, .. } = step;
        sleep(after).await;
        let process = &mut self.processes[index];
        match fault {
            Fault::KillNode | Fault::ReplaceNode => {
                let mut process = process.take().unwrap();
                self.said.push(process.said());
                self.kills.push((process.address, Instant::now()));
                process.kill();
                if fault == Fault::ReplaceNode {
                    self.folders[index] = tempfile::tempdir().unwrap();
                }
                sleep(lasts).await;
                self.launch(index).await;
            }
            Fault::FreezeNode => {
                let process = process.as_ref().unwrap();
                process.freeze();
                sleep(lasts).await;
                process.thaw();
            }
            Fault::CutNode | Fault::SilenceNode => {
                self.lines[index].iter().for_each(|line| line.cut(how));
                sleep(lasts).await;
                self.lines[index].iter().for_each(Line::mend);
            }
            _ => panic!("{fault:?} is of a server"),
        }
    }

    async fn stop(&mut self) {
        let processes = std::mem::take(&mut self.processes);
        spawn_blocking(|| processes.into_iter().flatten().for_each(Process::stop)).await.unwrap();
    }
}

fn launch(folder: &Path, urls: &str, snapshot_interval: &str) -> Process {
    let settings = [
        ("QCHAT_LOG", "info"),
        ("QCHAT_NATS_URL", urls),
        ("QCHAT_NATS_MAX_LOG", "256"),
        ("QCHAT_SNAPSHOT_INTERVAL", snapshot_interval),
    ];
    Process::start_with(folder, &settings)
}

/// The servers.
struct Servers {
    nats: Nats,
    /// When the one that led the log was killed.
    leader_kills: Vec<Instant>,
}

impl Servers {
    async fn suffer(&mut self, step: Step) {
        let Step { fault, index, is_leader, lasts, after, .. } = step;
        sleep(after).await;
        let index = if is_leader { self.nats.leader("qchat_log").await } else { index };
        match fault {
            Fault::KillLeader | Fault::KillServer => {
                if is_leader {
                    self.leader_kills.push(Instant::now());
                }
                self.nats.kill(index);
                sleep(lasts).await;
                self.nats.start(index).await;
            }
            Fault::KillTwoServers => {
                let two = [index, (index + 1) % SIZE];
                two.iter().for_each(|index| self.nats.kill(*index));
                sleep(lasts).await;
                for index in two {
                    self.nats.start(index).await;
                }
            }
            Fault::FreezeServer => {
                self.nats.freeze(index);
                sleep(lasts).await;
                self.nats.thaw(index);
            }
            _ => panic!("{fault:?} is of a node"),
        }
    }
}

/// Posts and reads at any of the nodes, until there was enough.
async fn client(
    mut history: History,
    pace: Duration,
    nodes: watch::Receiver<Vec<SocketAddr>>,
    enough: CancellationToken,
) -> History {
    while !enough.is_cancelled() {
        let addresses = nodes.borrow().clone();
        if history.live_at_any(&addresses, Posting::Paced(pace, IN_FLIGHT), &enough).await.is_none() {
            let wait = backoff::wait_millis(history.attempts, rand::random(), true);
            sleep(Duration::from_millis(wait.into())).await;
        }
    }
    history
}

/// Draws faults: as many of each kind, in any order.
fn draw(count: u64, form: Form, random: &mut StdRng) -> Vec<(Option<Step>, Option<Step>)> {
    let lasts = form.lasts;
    let mut kinds: Vec<Fault> = KINDS.iter().copied().cycle().take(usize::try_from(count).unwrap()).collect();
    kinds.shuffle(random);
    let (mut of_nodes, mut of_servers): (Vec<_>, Vec<_>) = kinds
        .into_iter()
        .map(|fault| Step::draw(fault, lasts, random))
        .partition(|step| step.fault.is_of_node());
    let mut steps = Vec::new();
    while !of_nodes.is_empty() || !of_servers.is_empty() {
        let is_of_node = random.random_range(0..of_nodes.len() + of_servers.len()) < of_nodes.len();
        let (mut of_node, mut of_server) =
            if is_of_node { (of_nodes.pop(), None) } else { (None, of_servers.pop()) };
        if is_of_node && form.together_one_in.is_some_and(|one_in| random.random_ratio(1, one_in)) {
            of_server = of_servers.pop();
            for step in [&mut of_node, &mut of_server].into_iter().flatten() {
                step.after = Duration::from_millis(random.random_range(0..1_000));
            }
        }
        steps.push((of_node, of_server));
    }
    steps
}

/// Returns the value below which a share of the values is, in percent. Zero if there are none.
fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or_default()
}

/// Returns how long it took until each client that was at a node when it was killed watched the chat again.
fn times_until_back(histories: &[History], kills: &[(SocketAddr, Instant)]) -> Vec<Duration> {
    let mut times = Vec::new();
    for (address, at) in kills {
        for History { visits, .. } in histories {
            let was_there = |visit: &&[Visit]| {
                let (from, to) = (visit[0].from.into_std(), visit[0].to.map(tokio::time::Instant::into_std));
                visit[0].address == *address && from <= *at && to.is_none_or(|to| to >= *at)
            };
            let back = visits.windows(2).find(was_there).map(|visits| visits[1].from.into_std());
            times.extend(back.map(|back| back.duration_since(*at)));
        }
    }
    times
}

/// Returns how long it took after each moment until what any client wrote after it was acknowledged, for the client that
/// waited for the longest.
fn times_until_flowing(histories: &[History], moments: &[Instant]) -> Vec<Duration> {
    let until_flowing = |moment: &Instant| {
        let of_client = |history: &History| {
            let mut after = history.posted.iter().filter(|posted| posted.written.into_std() >= *moment);
            after.next().map(|posted| posted.acknowledged.into_std().duration_since(*moment))
        };
        histories.iter().filter_map(of_client).max().unwrap_or_default()
    };
    moments.iter().map(until_flowing).collect()
}

/// Returns the longest time in which no client got an acknowledgement.
fn longest_pause(histories: &[History]) -> Duration {
    let mut moments: Vec<_> =
        histories.iter().flat_map(|history| &history.posted).map(|posted| posted.acknowledged).collect();
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
}

/// Starts clients that watch a chat, and then all of them.
async fn begin(nodes: &Nodes, form: Form, chat: ChatId, enough: &CancellationToken) -> JoinSet<History> {
    let mut histories = Vec::new();
    for number in 0..CLIENTS {
        let addresses = nodes.addresses();
        let address = addresses[usize::try_from(number).unwrap() % addresses.len()];
        histories.push(History::begin(address, chat).await);
    }
    let mut living = JoinSet::new();
    for (number, history) in histories.into_iter().enumerate() {
        let pace = if number == 0 { form.fast } else { form.pace };
        living.spawn(client(history, pace, nodes.addresses.subscribe(), enough.clone()));
    }
    living
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_repeated_or_reordered_whichever_process_or_line_fails() {
    let Some(nats) = Nats::three().await else { return };
    let count = number("QCHAT_FAULTS", FAULTS);
    let seed = number("QCHAT_SEED", rand::random());
    println!("QCHAT_SEED={seed}");
    let form = Form::of(count);
    let steps = draw(count, form, &mut StdRng::seed_from_u64(seed));
    let mut nodes = Nodes::start(&nats, form.snapshot_interval).await;
    let mut servers = Servers { nats, leader_kills: Vec::new() };
    let chat = Person::arrive(nodes.addresses()[0]).await.start_chat("Ana", "Faults").await;
    for address in nodes.addresses() {
        // The chat is there on all nodes.
        until_metric(address, "qchat_chats_open", |chats| chats == 1).await;
    }
    let enough = CancellationToken::new();
    let mut living = begin(&nodes, form, chat, &enough).await;

    let started = Instant::now();
    let mut faults: BTreeMap<Fault, (u64, Duration)> = BTreeMap::new();
    let mut together = 0;
    for (of_node, of_server) in steps {
        let of_nodes = async {
            if let Some(step) = of_node {
                nodes.suffer(step).await;
            }
        };
        let of_servers = async {
            if let Some(step) = of_server {
                servers.suffer(step).await;
            }
        };
        tokio::join!(of_nodes, of_servers);
        together += u64::from(of_node.is_some() && of_server.is_some());
        let mended = Instant::now();
        nodes.are_ready().await;
        for Step { fault, index, lasts, is_leader, .. } in [of_node, of_server].into_iter().flatten() {
            println!(
                "{:7.1?} {fault:?} {index}{} for {lasts:.1?}: all nodes are ready {:.1?} after it was mended",
                started.elapsed(),
                if is_leader { " (the leader)" } else { "" },
                mended.elapsed()
            );
            let (times, longest) = faults.entry(fault).or_default();
            *times += 1;
            *longest = mended.elapsed().max(*longest);
        }
        sleep(CALM).await;
    }
    for address in nodes.addresses() {
        until_metric(address, "qchat_people_online", |people| people == CLIENTS).await;
    }
    let took = started.elapsed();
    enough.cancel();
    let mut histories = Vec::new();
    while let Some(history) = living.join_next().await {
        histories.push(history.unwrap());
    }
    let mut back = times_until_back(&histories, &nodes.kills);
    let mut flowing = times_until_flowing(&histories, &servers.leader_kills);
    let pause = longest_pause(&histories);
    finish(&mut histories, nodes.addresses()[0]).await;
    let newest = histories.iter().flat_map(|history| history.acknowledged.values()).max().unwrap();
    for address in nodes.addresses() {
        until_metric(address, "qchat_log_seq", |seq| seq >= newest.0).await;
        until_ready(address).await;
    }
    nodes.stop().await;
    let databases = nodes.folders.each_ref().map(|folder| stored(folder.path(), chat));
    for [one, other] in [[0, 1], [1, 2], [0, 2]].map(|pair| pair.map(|index| &databases[index])) {
        assert!(one.events == other.events, "the databases have different events");
        assert!(one.mark.0 != other.mark.0 || one.mark == other.mark, "the nodes have decided differently");
    }
    let mut all = Compared::default();
    for folder in &nodes.folders {
        all = compare(&histories, folder.path());
    }
    let Compared { acknowledged, seen, snapshots } = all;
    println!(
        "faults, how many of each, and the longest time until all nodes were ready after one was mended: {faults:.1?}"
    );
    println!(
        "{count} faults in {took:.1?}, {together} times two at once, with {CLIENTS} clients, seed {seed}: {acknowledged} messages \
         acknowledged, {seen} deliveries compared with each of {SIZE} databases, 0 lost, duplicated or reordered; {snapshots} \
         snapshots for clients that were too far behind; longest time without any acknowledgement {pause:.1?}; clients of a \
         killed node back after p50 {:.1?}, p99 {:.1?} ({} of them); posts of all clients flow after the leader is killed after \
         p50 {:.1?}, at most {:.1?}",
        percentile(&mut back, 50),
        percentile(&mut back, 99),
        back.len(),
        percentile(&mut flowing, 50),
        percentile(&mut flowing, 100),
    );
    assert!(acknowledged as u64 > count * CLIENTS, "there were messages to lose: {acknowledged}");
}
