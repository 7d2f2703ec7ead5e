//! A long run under mixed load: the server's use of resources does not grow. Lifetimes are short, so that as much
//! expires as is created.
//!
//! `QCHAT_SOAK_SECONDS=3600 cargo test --release -p server --test stories soak -- --nocapture` is the long run.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use server::start::DATABASE;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Person,
    client::soon,
    client_id,
    history::{History, Posting, number},
    process::Process,
};

const SECONDS: u64 = 8;
/// The number of users who talk, spread over [`CHATS`] chats.
const TALKERS: usize = 20;
const CHATS: usize = 4;
/// The interval at which each of them posts. They reconnect after [`STAY`].
const PACE: Duration = Duration::from_millis(250);
const STAY: Duration = Duration::from_secs(5);
/// The pause between visits. In each visit a new user starts a chat, posts a message, loads the page and leaves.
const VISITS: Duration = Duration::from_millis(200);
/// The number of samples in a run.
const SAMPLES: u32 = 60;
/// The minimum length of a run, in seconds, for its growth to be judged. Shorter runs are still warming up.
const LONG: u64 = 900;
/// The maximum growth per hour, as a fraction, once everything is warm.
const GROWTH: f64 = 0.10;

const SHORT_LIVES: [(&str, &str); 4] = [
    ("QCHAT_MESSAGE_LIFETIME", "60s"),
    ("QCHAT_CHAT_LIFETIME", "20s"),
    ("QCHAT_USER_LIFETIME", "20s"),
    ("QCHAT_SWEEP_INTERVAL", "2s"),
];

/// The names of the values in a [`Sample`].
const NAMES: [&str; 6] = ["RSS KiB", "open files", "threads", "tasks", "database KiB", "stored KiB"];
type Sample = (f64, [f64; NAMES.len()]);

async fn sample(began: Instant, process: &Process, data_dir: &Path, visitor: &Person) -> Sample {
    let proc: PathBuf = ["/proc", &process.id().to_string()].iter().collect();
    let text = fs::read_to_string(proc.join("status")).unwrap();
    let field = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let files = fs::read_dir(proc.join("fd")).unwrap().count();
    let database = fs::metadata(data_dir.join(DATABASE)).unwrap().len();
    let (kept, tasks) = (metric(visitor, "qchat_stored_bytes").await, metric(visitor, "qchat_tasks").await);
    let values =
        [field("VmRSS:"), files as f64, field("Threads:"), tasks, database as f64 / 1024.0, kept / 1024.0];
    (began.elapsed().as_secs_f64() / 3_600.0, values)
}

async fn metric(visitor: &Person, name: &str) -> f64 {
    let text = visitor.get("/metrics").await.text;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns the growth per hour by least squares.
fn slope(samples: &[Sample], which: usize) -> f64 {
    let count = samples.len() as f64;
    let mean = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / count;
    let (time, value) = (mean(&|sample| sample.0), mean(&|sample| sample.1[which]));
    let above: f64 = samples.iter().map(|sample| (sample.0 - time) * (sample.1[which] - value)).sum();
    let below: f64 = samples.iter().map(|sample| (sample.0 - time).powi(2)).sum();
    above / below
}

async fn talk(mut history: History, server: SocketAddr, enough: CancellationToken) {
    while !enough.is_cancelled() {
        let leave = enough.child_token();
        let timer = tokio::spawn({
            let leave = leave.clone();
            async move {
                sleep(STAY).await;
                leave.cancel();
            }
        });
        assert_eq!(
            history.live(server, Posting::Every(PACE), &leave).await,
            Some(()),
            "the connection was closed"
        );
        timer.abort();
    }
}

async fn visit(server: SocketAddr, enough: CancellationToken) {
    while !enough.is_cancelled() {
        let person = Person::arrive(server).await;
        let chat = person.start_chat("Visitor", "For a moment").await;
        let mut here = person.watch(chat).await;
        here.post(chat, client_id(1), "hello and goodbye").await.unwrap();
        assert!(person.get(&format!("/chat/{chat}")).await.text.contains("hello and goodbye"));
        sleep(VISITS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_takes_of_the_machine_does_not_grow() {
    let seconds = number("QCHAT_SOAK_SECONDS", SECONDS);
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start_with(folder.path(), &SHORT_LIVES);
    let server = process.address;
    let watcher = Person::arrive(server).await;
    let began = Instant::now();
    let idle = sample(began, &process, folder.path(), &watcher).await;
    let enough = CancellationToken::new();
    let mut people = JoinSet::new();
    let mut chats = Vec::new();
    for _ in 0..CHATS {
        chats.push(watcher.start_chat("Host", "All day").await);
    }
    for number in 0..TALKERS {
        let history = History::begin(server, chats[number % CHATS]).await;
        people.spawn(talk(history, server, enough.clone()));
    }
    people.spawn(visit(server, enough.clone()));

    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        sleep(Duration::from_secs(seconds) / SAMPLES).await;
        samples.push(sample(began, &process, folder.path(), &watcher).await);
    }
    enough.cancel();
    while let Some(ended) = people.join_next().await {
        ended.unwrap();
    }
    // Once all users have left, what they used is released.
    soon(async {
        while metric(&watcher, "qchat_connections").await > 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let left = sample(began, &process, folder.path(), &watcher).await;
    assert!(left.1[1] <= idle.1[1] + 8.0, "{} files are open, {} when idle", left.1[1], idle.1[1]);
    assert!(
        watcher
            .get("/metrics")
            .await
            .text
            .lines()
            .all(|line| !line.contains("panics_total{") || line.ends_with(" 0"))
    );

    // The first third is for warming up.
    let warm = &samples[samples.len() / 3..];
    let mut table =
        format!("{seconds} s, {TALKERS} users who post, and new users who visit one after another:\n");
    writeln!(table, "{:<14}{:>12}{:>12}{:>12}{:>16}", "", "idle", "warm", "end", "growth/h").unwrap();
    for (which, name) in NAMES.iter().enumerate() {
        let (first, last) = (warm[0].1[which], warm[warm.len() - 1].1[which]);
        let growth = slope(warm, which);
        writeln!(table, "{name:<14}{:>12.0}{first:>12.0}{last:>12.0}{growth:>16.0}", idle.1[which]).unwrap();
        if seconds >= LONG {
            assert!(growth < GROWTH * first, "{name} grows by {growth:.0}/h\n{table}");
        }
    }
    println!("{table}");
}
