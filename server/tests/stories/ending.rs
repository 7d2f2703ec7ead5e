//! The end of a server that cannot do its work: people are told, the health page says so, and it stops in order.

use domain::Problem;

use crate::support::{Person, client_id, process::Process};

#[tokio::test]
async fn a_server_whose_disk_is_full_says_so_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // a file may have this many blocks of 512 bytes and no more, which is what a full disk looks like
    let process = Process::start_with_file_limit(folder.path(), 6_000);
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let body = "x".repeat(4_000);
    let mut stored = 0;
    let problem = loop {
        match here.post(chat, client_id(stored), &body).await {
            Ok(_) => stored += 1,
            Err(problem) => break problem,
        }
    };
    assert_eq!(problem, Problem::NotStored, "after {stored} messages");
    assert!(stored > 10);
    assert_eq!(ana.get("/readyz").await.status, 503);
    assert_eq!(ana.get("/healthz").await.status, 200);
    let refused = here
        .find(|frame| match frame {
            domain::frame::ServerFrame::Refused { request: None, problem, .. } => Some(*problem),
            _ => None,
        })
        .await;
    assert_eq!(refused, Problem::Restarting, "whoever is there is told to come back");
    let failure = process.end();
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    assert!(failure.said.contains("nothing can be stored any more"), "{}", failure.said);

    // with room again, everything acknowledged is there
    let process = Process::start(folder.path());
    let ana = Person { address: process.address, ..ana };
    let history = ana.connect().await.watch(chat, None).await.unwrap();
    let newest = history.events.last().unwrap();
    assert!(
        matches!(&newest.what, domain::What::Posted(message) if message.client_id == client_id(stored - 1))
    );
}
