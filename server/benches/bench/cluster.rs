//! Several nodes of Qchat over NATS JetStream, compared with a single process that uses no NATS.

mod faults;
mod servers;
mod single;

use std::{
    cell::Cell,
    error::Error,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use cluster::stream::LogStream;
use futures_util::{StreamExt, future::try_join_all};
use servers::Servers;
use single::Publishing;
use tempfile::TempDir;
use tokio::{task::spawn_local, time::sleep};

use crate::{
    Form,
    fanout::ratios,
    posts::Poster,
    report::{Figure, Goal, Report, median, percentile},
    room::{Heard, Room, settle},
    target::{Running, Target, expect},
};

/// The number of users who post at once, on all nodes together. Each posts in a chat of their own.
const POSTERS: usize = 32;
/// The loads for which deliveries are compared, in messages a second to a room of the form.
const LOADS: [f64; 2] = [40.0, 160.0];
/// The number of nodes that are compared with one process.
const TWO: usize = 2;
/// The most nodes that durable posts are measured with, apart from the growth.
const THREE: usize = 3;
/// The number of messages with one post each that are in flight at once, beside one.
const MANY: usize = 256;
/// The number of posts in a message of the log, at most.
const BATCH: u32 = 256;
/// The maximum number of rounds of what takes long.
const FEW_ROUNDS: usize = 3;
/// The time after which it is known that members have left, who might have reconnected.
const GONE: Duration = Duration::from_secs(4);
/// The time between two looks at a stream.
const BETWEEN: Duration = Duration::from_millis(50);
/// The time within which snapshots have to be made.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(form: &Form, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let Some(mut servers) = Servers::start().await else {
        report.note(
            "Clusters were not measured: there is no nats-server, see scripts/setup.sh nats.".to_owned(),
        );
        return Ok(());
    };
    deliveries(form, &mut servers, report).await?;
    latency(form, &mut servers, report).await?;
    posts(form, &mut servers, report).await?;
    growth(form, &mut servers, report).await?;
    faults::measure(form, &mut servers, report).await?;
    new_node(form, &mut servers, report).await
}

/// Returns the number of deliveries in a second of processor time.
fn of_cpu(heard: &Heard) -> f64 {
    heard.deliveries as f64 / heard.cpu.as_secs_f64()
}

/// The number of deliveries in a second of the servers' processor time, and what NATS took besides, in parts of it.
#[derive(Default)]
struct Delivered {
    /// At each of [`LOADS`].
    loaded: [Vec<f64>; LOADS.len()],
    /// One message at a time, which are more in a second where each takes less time.
    paced: Vec<f64>,
    nats: Vec<f64>,
}

/// Measures a room whose members are on two nodes, and the same room in a single process, in turns.
async fn deliveries(form: &Form, servers: &mut Servers, report: &mut Report) -> io::Result<()> {
    let (mut alone, mut both) = (Delivered::default(), Delivered::default());
    let members = form.members;
    for _ in 0..form.rounds {
        for (nodes, done) in [(1, &mut alone), (TWO, &mut both)] {
            let room = if nodes == 1 {
                Room::fill(Target::Qchat.start().await?, members, TWO).await?
            } else {
                let log = servers.begin().await?;
                Room::fill_at(servers.nodes(&log, nodes).await?, members, TWO).await?
            };
            room.paced(form.messages / 10 + 1).await?;
            let (nats, mut cpu) = (servers.cpu()?, Duration::ZERO);
            for (load, loaded) in LOADS.into_iter().zip(&mut done.loaded) {
                let (heard, is_kept_up) = room.at_rate(load, form.flat_out).await?;
                if !is_kept_up {
                    report.note(format!("{nodes} of Qchat did not keep up with {load} posts/s in a round."));
                }
                loaded.push(of_cpu(&heard));
                cpu += heard.cpu;
            }
            let nats = servers.cpu()?.saturating_sub(nats);
            done.nats.push(nats.as_secs_f64() / cpu.as_secs_f64());
            done.paced.push(of_cpu(&room.paced(form.messages).await?));
        }
    }
    let loads = LOADS.map(|load| format!("{load} posts/s"));
    let named = |of: Delivered| {
        let of_loads = loads.clone().into_iter().zip(of.loaded);
        of_loads.chain([("one message at a time".to_owned(), of.paced)]).collect::<Vec<_>>()
    };
    let nats = both.nats.clone();
    let (alone, both) = (named(alone), named(both));
    for (name, of) in [("one process", &alone), ("2 nodes", &both)] {
        for (load, values) in of {
            let label = format!("{name}: deliveries in a second of CPU, {members} members, {load}");
            report.add(Figure::of(label, "", values));
        }
    }
    for ((load, alone), (_, both)) in alone.iter().zip(&both) {
        let label = format!("deliveries in a second of CPU, {load}, of 2 nodes relative to one process");
        let figure = Figure::of(label, "×", &ratios(both, alone));
        // One message at a time is not the same load: the faster one follows more closely.
        let is_same_load = loads.contains(load);
        report.add(if is_same_load { figure.with_goal(Goal::AtLeast(0.9)) } else { figure });
    }
    report.add(Figure::of("NATS beside 2 nodes: its CPU relative to theirs", "×", &nats));
    Ok(())
}

/// Posts one message after the other on the first server. Returns how long each took to a member there, and to one on the
/// last server.
async fn heard(servers: &[Running], messages: usize) -> io::Result<[Vec<Duration>; 2]> {
    let (Some(first), Some(last)) = (servers.first(), servers.last()) else {
        return Ok([const { Vec::new() }; 2]);
    };
    let mut poster = Poster::arrive_in(first, first.chat.clone()).await?;
    let (mut here, mut there) = (first.join().await?, last.join().await?);
    let mut took = [const { Vec::new() }; 2];
    for _ in 0..messages {
        let posted = Instant::now();
        poster.post(first).await?;
        let [of_here, of_there] = [&mut here, &mut there].map(|wire| async {
            expect(wire, r#"{"event""#).await?;
            Ok::<_, io::Error>(posted.elapsed())
        });
        let (of_here, of_there) = tokio::try_join!(of_here, of_there)?;
        took[0].push(of_here);
        took[1].push(of_there);
        poster.answer().await?;
    }
    Ok(took)
}

/// Measures how long a message takes from a user on one node to one on another, to one on the same, and within a single
/// process.
async fn latency(form: &Form, servers: &mut Servers, report: &mut Report) -> io::Result<()> {
    let (mut alone, mut within, mut across) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..form.rounds {
        let single = [Target::Qchat.start().await?];
        heard(&single, form.messages / 10 + 1).await?;
        let [took, _] = heard(&single, form.messages).await?;
        alone.push(took);
        drop(single);
        let log = servers.begin().await?;
        let nodes = servers.nodes(&log, TWO).await?;
        heard(&nodes, form.messages / 10 + 1).await?;
        let [of_within, of_across] = heard(&nodes, form.messages).await?;
        within.push(of_within);
        across.push(of_across);
    }
    for (name, times) in [
        ("within one process", &alone),
        ("within one node of a cluster", &within),
        ("from one node to another", &across),
    ] {
        for (part_name, part) in [("p50", 0.5), ("p99", 0.99)] {
            report.add(Figure::of_times(format!("a message {name}, {part_name}"), part, times));
        }
    }
    for (name, times) in [("within one node of a cluster", &within), ("within one process", &alone)] {
        let half =
            |rounds: &[Vec<Duration>]| rounds.iter().map(|took| percentile(took, 0.5)).collect::<Vec<_>>();
        let more: Vec<_> = half(&across).iter().zip(half(times)).map(|(across, of)| across - of).collect();
        let label = format!("a message from one node to another, p50, beyond one {name}");
        report.add(Figure::of(label, "ms", &more).with_goal(Goal::AtMost(2.0)));
    }
    Ok(())
}

/// Posts on all nodes at once, as fast as the answers come. Returns the number of acknowledged posts per second.
async fn flood(nodes: &[Running], posters: &mut [Poster], duration: Duration) -> io::Result<f64> {
    let began = Instant::now();
    let posting = nodes.iter().cycle().zip(posters).map(|(node, poster)| poster.flood(node, duration));
    let done = try_join_all(posting).await?;
    Ok(f64::from(done.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

/// Brings users who post to nodes, in turns.
async fn posters(nodes: &[Running]) -> io::Result<Vec<Poster>> {
    try_join_all(nodes.iter().cycle().take(POSTERS).map(Poster::arrive)).await
}

/// The durable posts in a second of a number of nodes, in each round, and what there is to compare.
#[derive(Default)]
struct Posted {
    rates: Vec<f64>,
    /// The cores that NATS took.
    nats: Vec<f64>,
    /// Published only, one post in each message.
    one_by_one: Vec<f64>,
    /// Published only, as many posts in each message as Qchat puts there.
    batches: Vec<f64>,
}

/// Measures durable posts with one to three nodes, and what the same servers take if they are only published.
async fn posts(form: &Form, servers: &mut Servers, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut posted: Vec<_> = (0..form.nodes.min(THREE)).map(|_| Posted::default()).collect();
    let (mut alone, mut many) = (Vec::new(), Vec::new());
    for _ in 0..form.rounds {
        let single = [Target::Qchat.start().await?];
        let mut of_single = posters(&single).await?;
        flood(&single, &mut of_single, form.flat_out / 5).await?;
        alone.push(flood(&single, &mut of_single, form.flat_out).await?);
        drop(single);
        for (index, posted) in posted.iter_mut().enumerate() {
            let log = servers.begin().await?;
            let nodes = servers.nodes(&log, index + 1).await?;
            let mut of_nodes = posters(&nodes).await?;
            flood(&nodes, &mut of_nodes, form.flat_out / 5).await?;
            let (before, began) = (servers.cpu()?, Instant::now());
            posted.rates.push(flood(&nodes, &mut of_nodes, form.flat_out).await?);
            let busy = servers.cpu()?.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
            posted.nats.push(busy);
        }
        let log = servers.begin().await?;
        let one = Publishing { nodes: 1, in_flight: 1, posts: 1, duration: form.flat_out / 2 };
        for (index, posted) in posted.iter_mut().enumerate() {
            let of_nodes = Publishing { nodes: index + 1, ..one };
            posted.one_by_one.push(single::rate(servers, &log, of_nodes).await?);
            posted.batches.push(single::rate(servers, &log, Publishing { posts: BATCH, ..of_nodes }).await?);
        }
        many.push(single::rate(servers, &log, Publishing { in_flight: MANY, ..one }).await?);
    }
    report.add(Figure::of(format!("one process: durable posts, {POSTERS} chats"), "/s", &alone));
    let single = "one message for each post";
    for (index, Posted { rates, nats, one_by_one, batches }) in posted.iter().enumerate() {
        let nodes = nodes(index + 1);
        let label = format!("{nodes}: durable posts, {POSTERS} chats");
        report.add(Figure::of(label, "/s", rates).with_goal(Goal::AtLeast(10_000.0)));
        let label = format!("{nodes}: {single}, one in flight, published only");
        report.add(Figure::of(label, "/s", one_by_one));
        let label = format!("{nodes}: durable posts relative to {single}, one in flight");
        report.add(Figure::of(label, "×", &ratios(rates, one_by_one)).with_goal(Goal::AtLeast(5.0)));
        let label = format!("{nodes}: durable posts relative to one process");
        report.add(Figure::of(label, "×", &ratios(rates, &alone)));
        report.add(Figure::of(format!("{nodes}: cores that NATS takes meanwhile"), "", nats));
        let label = format!("{nodes}: {BATCH} posts in each message, one in flight, published only: posts");
        report.add(Figure::of(label, "/s", batches));
    }
    report.add(Figure::of(format!("1 node: {single}, {MANY} in flight, published only"), "/s", &many));
    if let Some(Posted { rates, .. }) = posted.first() {
        let label = format!("1 node: durable posts relative to {single}, {MANY} in flight");
        report.add(Figure::of(label, "×", &ratios(rates, &many)));
    }
    Ok(())
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// What a number of nodes cost, in each round.
#[derive(Default)]
struct Grown {
    rate: Vec<f64>,
    post: Vec<f64>,
    delivered: Vec<f64>,
    memory: Vec<f64>,
    told: Vec<f64>,
    told_bytes: Vec<f64>,
    nats: Vec<f64>,
}

/// Measures how costs grow with the number of nodes.
async fn growth(form: &Form, servers: &mut Servers, report: &mut Report) -> io::Result<()> {
    let members = form.members;
    let mut grown: Vec<Grown> = (0..form.nodes).map(|_| Grown::default()).collect();
    for _ in 0..form.rounds.min(FEW_ROUNDS) {
        for (index, grown) in grown.iter_mut().enumerate() {
            let log = servers.begin().await?;
            let nodes = servers.nodes(&log, index + 1).await?;
            let told = told(servers, &log).await?;
            let room = Room::fill_at(nodes, members, 1).await?;
            let (messages, bytes) = told.get();
            grown.told.push(messages as f64);
            grown.told_bytes.push(bytes as f64 / 1e3);
            let resident: io::Result<Vec<_>> =
                room.servers().iter().map(|node| Ok(node.watched.resident()? as f64 / 1e6)).collect();
            grown.memory.push(median(&resident?));
            room.paced(form.messages / 10 + 1).await?;
            let (heard, _) = room.at_rate(LOADS[0], form.flat_out).await?;
            grown.delivered.push(of_cpu(&heard));
            let nodes = room.close();
            let mut of_nodes = posters(&nodes).await?;
            // The members are gone for good after a while, which is not to be measured.
            sleep(GONE).await;
            for node in &nodes {
                settle(node).await?;
            }
            flood(&nodes, &mut of_nodes, form.flat_out / 5).await?;
            let cpu = || nodes.iter().map(|node| node.watched.cpu()).sum::<io::Result<Duration>>();
            let (before, before_nats) = (cpu()?, servers.cpu()?);
            let began = Instant::now();
            let rate = flood(&nodes, &mut of_nodes, form.flat_out).await?;
            let posts = rate * began.elapsed().as_secs_f64();
            let micros = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e6 / posts;
            grown.rate.push(rate);
            grown.post.push(micros(before, cpu()?));
            grown.nats.push(micros(before_nats, servers.cpu()?));
        }
    }
    for (index, grown) in grown.iter().enumerate() {
        let nodes = nodes(index + 1);
        for (label, unit, values) in [
            (format!("growth, {nodes}: durable posts, {POSTERS} chats"), "/s", &grown.rate),
            (format!("growth, {nodes}: CPU of all nodes per post"), "µs", &grown.post),
            (format!("growth, {nodes}: CPU of NATS per post"), "µs", &grown.nats),
            (
                format!(
                    "growth, {nodes}: deliveries in a second of CPU, {members} members, {} posts/s",
                    LOADS[0]
                ),
                "",
                &grown.delivered,
            ),
            (format!("growth, {nodes}: RSS of a node, {members} members on all"), "MB", &grown.memory),
            (format!("growth, {nodes}: presence messages for {members} members who join"), "", &grown.told),
            (format!("growth, {nodes}: bytes of these"), "kB", &grown.told_bytes),
        ] {
            report.add(Figure::of(label, unit, values));
        }
    }
    Ok(())
}

/// Counts what the nodes of a log tell each other of their users: the messages, and their bytes.
async fn told(servers: &Servers, log: &str) -> io::Result<Rc<Cell<(u64, u64)>>> {
    let connection = servers.connect(log).await?;
    let subject = format!("{}.*", servers.settings(log)?.name.ephemeral("told"));
    let mut heard = connection.client().subscribe(subject).await.map_err(io::Error::other)?;
    connection.client().flush().await.map_err(io::Error::other)?;
    let told = Rc::new(Cell::new((0, 0)));
    let counted = Rc::clone(&told);
    spawn_local(async move {
        // The connection ends with the nodes of this round, or with the run.
        let _connection = connection;
        while let Some(message) = heard.next().await {
            let (messages, bytes) = counted.get();
            counted.set((messages + 1, bytes + message.payload.len() as u64));
        }
    });
    Ok(told)
}

/// Measures how long a new node takes until it is ready: from the stream alone, and with a snapshot.
async fn new_node(form: &Form, servers: &mut Servers, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let log = servers.begin().await?;
    let folder = TempDir::new()?;
    let (node, _) = servers.node(&log, folder.path()).await?;
    let nodes = [node];
    let mut of_node = posters(&nodes).await?;
    let mut posts = 0.0;
    while posts < form.log as f64 {
        let began = Instant::now();
        let rate = flood(&nodes, &mut of_node, form.flat_out).await?;
        posts += rate * began.elapsed().as_secs_f64();
    }
    let rounds = form.rounds.min(FEW_ROUNDS);
    let stream = LogStream::new(servers.connect(&log).await?, &servers.settings(&log)?);
    let state = stream.look().await?.ok_or("the stream is gone")?;
    let (messages, size) = (state.last - state.first + 1, state.bytes as f64 / 1e6);
    let mut alone = Vec::new();
    for _ in 0..rounds {
        let empty = TempDir::new()?;
        alone.push(servers.node(&log, empty.path()).await?.1.as_secs_f64());
    }
    drop(nodes);
    let mut command = servers.command(&log, folder.path())?;
    let maker = crate::target::launch(Target::Qchat, command.args(["--snapshot-interval", "1s"]))?;
    let began = Instant::now();
    while stream.look().await?.is_some_and(|state| state.first == 1) {
        if began.elapsed() > PATIENCE {
            return Err("no snapshots are made".into());
        }
        sleep(BETWEEN).await;
    }
    drop(maker);
    let (_node, _) = servers.node(&log, folder.path()).await?;
    let mut with_snapshot = Vec::new();
    for _ in 0..rounds {
        let empty = TempDir::new()?;
        with_snapshot.push(servers.node(&log, empty.path()).await?.1.as_secs_f64());
    }
    let what = format!("new node, {posts:.0} posts in the log");
    for (label, values) in [
        (format!("{what}: ready in, with a snapshot"), &with_snapshot),
        (format!("{what}: ready in, from {messages} messages of the stream ({size:.0} MB) alone"), &alone),
    ] {
        report.add(Figure::of(label, "s", values).with_goal(Goal::AtMost(10.0)));
    }
    Ok(())
}
