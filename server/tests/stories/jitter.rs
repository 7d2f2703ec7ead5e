//! Clients whose connections are cut again and again, in every way: each gets every message, once, in order and soon.
//!
//! `QCHAT_LINES=500 QCHAT_CUTS_A_LINE=8 QCHAT_OUTAGE_MILLIS=2000 cargo test --release -p server --test stories jitter
//! -- --nocapture` is a longer run; `QCHAT_SEED` repeats one.

use std::time::{Duration, Instant};

use domain::backoff;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Person,
    history::{Compared, History, Posting, compare, finish, number},
    process::Process,
    proxy::{Cut, Line},
};

const LINES: u64 = 20;
const CUTS: u64 = 3;
const OUTAGE_MILLIS: u64 = 200;
/// How many times longer the network is up than down: it is down for 2 seconds in 15.
const UP_FOR_DOWN: f64 = 6.5;
/// The number of clients in one chat.
const COMPANY: usize = 10;
/// The interval at which each client posts.
const PACE: Duration = Duration::from_secs(1);
/// How long a client that is connected again may take to catch up.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Runs a client until `enough` is cancelled. Returns the age of the oldest message received after each outage: the
/// time from the first message missed until the client has caught up, including the outage.
async fn client(
    mut history: History,
    line: std::net::SocketAddr,
    enough: CancellationToken,
) -> (History, Vec<Duration>) {
    let mut ages = Vec::new();
    while !enough.is_cancelled() {
        if history.live(line, Posting::Every(PACE), &enough).await.is_none() {
            ages.push(history.take_oldest());
            if ages.len() % 2 == 0 {
                // Half of the time it writes during the outage.
                history.write();
            }
            let wait = backoff::wait_millis(history.attempts, rand::random(), true);
            sleep(Duration::from_millis(wait.into())).await;
        }
    }
    ages.push(history.take_oldest());
    (history, ages)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_lines_that_come_and_go_everything_is_there_once_in_order_and_soon() {
    let (lines, cuts) = (number("QCHAT_LINES", LINES), number("QCHAT_CUTS_A_LINE", CUTS));
    let outage = Duration::from_millis(number("QCHAT_OUTAGE_MILLIS", OUTAGE_MILLIS));
    let seed = number("QCHAT_SEED", rand::random());
    println!("QCHAT_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let owner = Person::arrive(process.address).await;

    let mut histories = Vec::new();
    let mut chat = None;
    for number in 0..usize::try_from(lines).unwrap() {
        if number % COMPANY == 0 {
            chat = Some(owner.start_chat("Ana", "On the train").await);
        }
        histories.push(History::begin(process.address, chat.unwrap()).await);
    }
    let enough = CancellationToken::new();
    let (mut living, mut cutting) = (JoinSet::new(), JoinSet::new());
    let started = Instant::now();
    for history in histories {
        let line = Line::to(process.address, chance.random()).await;
        living.spawn(client(history, line.address, enough.clone()));
        let mut chance = StdRng::seed_from_u64(chance.random());
        cutting.spawn(async move {
            for _ in 0..cuts {
                sleep(outage.mul_f64(UP_FOR_DOWN * 2.0 * chance.random::<f64>())).await;
                line.cut(*[Cut::Reset, Cut::End, Cut::Truncate].choose(&mut chance).unwrap());
                sleep(outage.mul_f64(chance.random_range(0.8..1.2))).await;
                line.mend();
            }
            line
        });
    }
    let lines_left = cutting.join_all().await;
    sleep(outage + 2 * CATCH_UP).await;
    enough.cancel();
    let (mut histories, mut ages) = (Vec::new(), Vec::new());
    for (history, of_one) in living.join_all().await {
        histories.push(history);
        ages.extend(of_one);
    }
    let took = started.elapsed();
    drop(lines_left);
    finish(&mut histories, process.address).await;
    process.kill();
    let Compared { acknowledged, seen, snapshots } = compare(&histories, folder.path());
    ages.retain(|age| !age.is_zero());
    ages.sort_unstable();
    let p99 = ages[(ages.len() * 99).div_ceil(100).min(ages.len()) - 1];
    println!(
        "{lines} clients, each disconnected {cuts} times for about {outage:?} in {took:.1?}, seed {seed}: {acknowledged} \
         messages acknowledged, {seen} deliveries compared with the log, 0 lost, duplicated or reordered; {snapshots} \
         snapshots; time from the first message missed until caught up, outage included, {} samples: p99 {p99:?}, max \
         {:?}",
        ages.len(),
        ages[ages.len() - 1],
    );
    // The durations of outages vary by a fifth. Outages of a short run are shorter than the back-off after them.
    let short = outage.mul_f64(1.2) + Duration::from_millis(backoff::AT_ONCE_MILLIS.into()) + CATCH_UP;
    let allowed = if outage < Duration::from_secs(1) { short } else { outage.mul_f64(1.25) };
    assert!(p99 < allowed, "caught up within {p99:?}");
}
