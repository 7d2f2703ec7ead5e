//! What the operator of a server can do.

use domain::{Problem, frame::ServerFrame};
use reqwest::StatusCode;

use crate::support::{Person, TestServer, client_id, process::Process};

#[tokio::test]
async fn the_operator_ends_a_chat_for_all_members() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let (ana, bea) = (Person::arrive(process.address).await, Person::arrive(process.address).await);
    let chat = ana.start_chat("Ana", "Nuisance").await;
    bea.start_chat("Bea", "Tea").await;
    let (mut here, mut looking) = (ana.watch(chat).await, bea.connect().await);
    // More events than one log entry removes.
    for number in 0..600 {
        here.ask(chat, client_id(number), "nuisance").await;
    }
    let mut lobby = looking.enter_lobby("", 9).await;
    looking.until_lobby(&mut lobby, |lobby| lobby.listings.len() == 2).await;

    let link = format!("http://{}/chat/{chat}", process.address);
    let told = process.end_chat(folder.path(), &link);
    assert_eq!(told, (Some(0), "The chat has ended.\n".to_owned()));
    looking.until_lobby(&mut lobby, |lobby| lobby.listings.len() == 1 && lobby.counts.chats == 1).await;
    let refused = here.find(|frame| match frame {
        ServerFrame::Refused { chat: Some(refused), problem, .. } if *refused == chat => Some(*problem),
        _ => None,
    });
    assert_eq!(refused.await, Problem::UnknownChat);
    assert_eq!(here.post(chat, client_id(900), "again").await, Err(Problem::UnknownChat));
    assert_eq!(ana.get(&format!("/chat/{chat}")).await.status, StatusCode::NOT_FOUND);

    for (asked, said) in [(link.as_str(), "there is no such chat"), ("nothing", "is no link")] {
        let (code, told) = process.end_chat(folder.path(), asked);
        assert!(code == Some(1) && told.contains(said), "{told}");
    }
    let (code, told) = process.end_chat(std::path::Path::new("/nowhere"), &link);
    assert!(code == Some(1) && told.contains("/nowhere"), "{told}");
}

#[tokio::test]
async fn only_the_owner_can_open_the_control_socket() {
    use std::os::unix::fs::PermissionsExt;

    let server = TestServer::start().await;
    let socket = server.folder().join("qchat.socket");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let folder = server.stop().await;
    assert!(folder.path().join("qchat.redb").exists() && !socket.exists(), "it goes with its server");
}
