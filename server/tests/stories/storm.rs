//! Load spikes: thousands of connections at once, and a client that joins and leaves all the time. Others are served
//! meanwhile.
//!
//! `QCHAT_CONNECTS=10000 QCHAT_VISITS=20000 cargo test --release -p server --test stories storm -- --nocapture` is a
//! longer run.

use std::time::{Duration, Instant};

use domain::frame::{ClientFrame, ServerFrame};
use tokio::task::JoinSet;

use crate::support::{
    Client, Person, TestServer,
    client::{handshake, open, soon},
    client_id,
    history::number,
    process::Process,
};

const CONNECTS: u64 = 300;
const VISITS: u64 = 1_000;
/// The number of sockets per session, of which the settings allow a hundred.
const SOCKETS_A_SESSION: u64 = 100;
/// The longest time in which messages of other users have to be acknowledged.
const TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connect_at_once_and_all_get_in() {
    let connects = number("QCHAT_CONNECTS", CONNECTS);
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let address = process.address;
    let ana = Person::arrive(address).await;
    let chat = ana.start_chat("Ana", "Storm").await;
    let mut here = ana.watch(chat).await;
    let mut sessions = Vec::new();
    for _ in 0..connects.div_ceil(SOCKETS_A_SESSION) {
        sessions.push(Person::arrive(address).await.cookie);
    }
    let began = Instant::now();
    let mut coming = JoinSet::new();
    for number in 0..connects {
        let cookie = sessions[usize::try_from(number / SOCKETS_A_SESSION).unwrap()].clone();
        coming.spawn(async move {
            let wire = open(handshake(address, Some(&cookie))).await.ok()?;
            Client::greet(wire).await
        });
    }
    let mut longest = Duration::ZERO;
    let mut inside = Vec::new();
    let mut said = 0;
    while !coming.is_empty() {
        let asked = Instant::now();
        here.post(chat, client_id(said), "is anybody there").await.unwrap();
        said += 1;
        longest = longest.max(asked.elapsed());
        while let Some(came) = coming.try_join_next() {
            inside.push(came.unwrap().expect("a connection was not accepted"));
        }
    }
    println!(
        "{connects} connections at once: all open after {:.1?}; meanwhile {said} messages of another user, each \
         acknowledged within {longest:.0?}",
        began.elapsed()
    );
    assert!(longest < TIMEOUT, "{longest:?}");
    assert_eq!(ana.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_user_who_comes_and_goes_all_the_time_does_not_slow_others_down() {
    let visits = number("QCHAT_VISITS", VISITS);
    let server = TestServer::start().await;
    let (ana, bea, cy) = (server.person().await, server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Revolving door").await;
    let (mut here, mut there) = (ana.watch(chat).await, bea.watch(chat).await);
    let mut restless = cy.connect().await;
    let began = Instant::now();
    let coming_and_going = tokio::spawn(async move {
        for _ in 0..visits {
            restless.send(&ClientFrame::Watch { chat, after: None }).await;
            restless.send(&ClientFrame::Unwatch { chat }).await;
            // Other frames are not kept: their number grows without bound.
            while !matches!(restless.next().await, ServerFrame::Snapshot { .. }) {}
        }
        restless
    });
    let (mut longest, mut said) = (Duration::ZERO, 0);
    while !coming_and_going.is_finished() {
        let asked = Instant::now();
        here.post(chat, client_id(said), "still talking").await.unwrap();
        there.event().await;
        said += 1;
        longest = longest.max(asked.elapsed());
    }
    let took = began.elapsed();
    let restless = soon(coming_and_going).await.unwrap();
    println!(
        "{visits} joins and leaves in {took:.1?} ({:.0}/s); meanwhile {said} messages of another user, each delivered within {longest:.0?}",
        visits as f64 / took.as_secs_f64()
    );
    assert!(longest < TIMEOUT, "{longest:?}");
    // After the grace period for reloads, only the others are there.
    let id = restless.me.id;
    drop(restless);
    let is_gone = |frame: &ServerFrame| match frame {
        ServerFrame::RosterChange { change, .. } if change.gone.contains(&id) => Some(change.count),
        _ => None,
    };
    assert_eq!(here.find(is_gone).await, 2);
}
