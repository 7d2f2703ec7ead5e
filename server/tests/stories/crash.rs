//! `kill -9` at random moments, under load: every acknowledged message is there exactly once, in one order for all
//! clients.
//!
//! `QCHAT_KILLS=1000 QCHAT_CLIENTS=50 cargo test -p server --test stories crash -- --nocapture` is a longer run;
//! `QCHAT_SEED` repeats one.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use server::start::DATABASE;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Person,
    history::{Compared, History, Posting, compare, finish, number},
    process::Process,
};

const KILLS: u64 = 20;
const CLIENTS: u64 = 6;
/// The number of messages of one client in flight.
const IN_FLIGHT: usize = 8;
/// The shortest time between two kills, so that the server does some work in between. The longest is twice that.
const LIFE: Duration = Duration::from_millis(60);

/// The address of the server. `None` while it is down.
pub(crate) type Where = watch::Receiver<Option<SocketAddr>>;

/// Posts for as long as the server is there, and waits while it is down.
pub(crate) async fn client(mut history: History, mut server: Where, enough: CancellationToken) -> History {
    while !enough.is_cancelled() {
        let address = tokio::select! {
            found = server.wait_for(Option::is_some) => (*found.unwrap()).unwrap(),
            () = enough.cancelled() => break,
        };
        if history.live(address, Posting::InFlight(IN_FLIGHT), &enough).await.is_none() {
            // A kill is announced before it is done, so no connection ends without an announcement.
            assert_ne!(
                *server.borrow(),
                Some(address),
                "the server closed a connection while it was running"
            );
            let _ = server.wait_for(|now| *now != Some(address)).await;
        }
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_repeated_or_reordered() {
    let (kills, clients) = (number("QCHAT_KILLS", KILLS), number("QCHAT_CLIENTS", CLIENTS));
    // Printed if the test fails. The seed repeats the times of the kills, though not what they interrupt.
    let seed = number("QCHAT_SEED", rand::random());
    println!("QCHAT_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();

    let mut process = Process::start(folder.path());
    let chat = Person::arrive(process.address).await.start_chat("Ana", "Crash").await;
    let (tell, server) = watch::channel(Some(process.address));
    let enough = CancellationToken::new();
    let mut histories = Vec::new();
    for _ in 0..clients {
        histories.push(History::begin(process.address, chat).await);
    }
    // No client posts before all of them watch the chat.
    let mut living = JoinSet::new();
    for history in histories {
        living.spawn(client(history, server.clone(), enough.clone()));
    }

    let (started, mut looks) = (Instant::now(), 0);
    for _ in 0..kills {
        // With more clients it takes longer until each of them has done something.
        let life = LIFE.max(Duration::from_millis(4 * clients));
        tokio::time::sleep(life + life.mul_f64(random.random())).await;
        tell.send_replace(None);
        process.kill();
        let has_looked;
        (process, has_looked) = Process::start_again(folder.path());
        looks += u64::from(has_looked);
        tell.send_replace(Some(process.address));
    }
    enough.cancel();
    let mut histories = Vec::new();
    while let Some(history) = living.join_next().await {
        histories.push(history.unwrap());
    }
    finish(&mut histories, process.address).await;
    process.kill();
    // The database itself is intact as well, after all kills.
    fs::remove_file(folder.path().join(DATABASE).with_extension("mark")).unwrap();
    let (mut process, has_looked) = Process::start_again(folder.path());
    assert!(has_looked && !process.said().contains("repaired"), "{}", process.said());
    process.kill();
    let Compared { acknowledged, seen, snapshots } = compare(&histories, folder.path());
    println!(
        "{kills} kills in {:.1?} with {clients} clients, seed {seed}: {acknowledged} messages acknowledged, {seen} deliveries \
         compared with the log, 0 lost, duplicated or reordered; {snapshots} snapshots for clients that were too far behind; \
         {looks} starts with a check of all pages",
        started.elapsed()
    );
    assert!(2 * looks < kills, "all pages are checked only after a kill during a checkpoint: {looks}");
    assert!(acknowledged as u64 > kills * clients, "there were messages to lose: {acknowledged}");
}
