//! Expiry: what is not used any more is removed, and nothing else is. Lifetimes of two seconds stand for those of
//! minutes. The tests wait until the lobby reports that a chat is gone.

use std::path::Path;

use domain::{Lifetimes, Problem, Span, User, frame::ClientCommand};
use reqwest::StatusCode;
use server::backup;
use tokio::task::spawn_blocking;

use crate::support::{Client, TestServer, bodies, client_id};

const SHORT: Span = Span::seconds(2);
const LONG: Span = Span::seconds(3_600);

/// Waits for the lifetime of an empty chat.
async fn a_chats_lifetime(server: &TestServer) {
    let visitor = server.person().await;
    let mut watching = visitor.connect().await;
    visitor.start_chat("Cy", "an hourglass").await;
    let mut lobby = watching.enter_lobby("hourglass", 10).await;
    watching.until_lobby(&mut lobby, |lobby| lobby.matching == 1).await;
    watching.until_lobby(&mut lobby, |lobby| lobby.matching == 0).await;
}

#[tokio::test]
async fn an_empty_chat_goes_and_one_with_people_in_it_stays_however_idle() {
    let server = TestServer::start_with(Lifetimes { chat: SHORT, user: LONG, message: LONG }).await;
    let ana = server.person().await;
    let empty = ana.start_chat("Ana", "Empty").await;
    let occupied = ana.start_chat("Ana", "Occupied").await;
    let mut idle = ana.watch(occupied).await;
    for _ in 0..2 {
        a_chats_lifetime(&server).await;
    }
    let answer = server.person().await.get(&format!("/chat/{empty}")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("It may have ended"), "told kindly: {}", answer.text);
    assert_eq!(ana.connect().await.post(empty, client_id(1), "late").await, Err(Problem::UnknownChat));
    idle.post(occupied, client_id(1), "still here").await.unwrap();
    assert_eq!(server.person().await.get(&format!("/chat/{occupied}")).await.status, StatusCode::OK);
    let lobby = idle.enter_lobby("", 10).await;
    assert_eq!((lobby.counts.chats, lobby.listings[0].id), (1, occupied));

    // And it expires after the last member has left.
    let mut watching = server.person().await.connect().await;
    let mut lobby = watching.enter_lobby("", 10).await;
    drop(idle);
    watching.until_lobby(&mut lobby, |lobby| lobby.counts.chats == 0).await;
    assert_eq!(watching.post(occupied, client_id(2), "late").await, Err(Problem::UnknownChat));
}

#[tokio::test]
async fn what_has_expired_is_off_the_disk_and_does_not_come_back_with_a_restart() {
    let server = TestServer::start_with(Lifetimes { chat: SHORT, user: LONG, message: LONG }).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Short").await;
    ana.connect().await.post(chat, client_id(1), "a secret in 7 words, or so").await.unwrap();
    a_chats_lifetime(&server).await;
    let server = server.restart().await;
    let visitor = server.person().await;
    assert_eq!(visitor.get(&format!("/chat/{chat}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(visitor.connect().await.enter_lobby("", 10).await.counts.chats, 0);
}

#[tokio::test]
async fn a_message_goes_though_people_are_there_and_the_chat_goes_on() {
    let server = TestServer::start_with(Lifetimes { chat: SHORT, user: LONG, message: SHORT }).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    here.post(chat, client_id(1), "the past").await.unwrap();
    let before = here.watch(chat, None).await.unwrap();
    a_chats_lifetime(&server).await;
    let page = server.person().await.get(&format!("/chat/{chat}")).await;
    assert!(page.status == StatusCode::OK && !page.text.contains("the past"), "{}", page.text);
    let mut bea = server.person().await.connect().await;
    let history = bea.watch(chat, None).await.unwrap();
    assert!(history.events.is_empty() && !history.earlier);
    assert_eq!(history.seq, before.seq, "one goes on from where it was");
    here.post(chat, client_id(2), "the present").await.unwrap();
    let next = bea.event().await;
    assert_eq!((bodies([&next]), next.prev), (vec!["the present".to_owned()], history.seq));
    let cursor = domain::frame::Cursor::new(history.epoch, history.seq);
    assert_eq!(bea.watch(chat, Some(cursor)).await, None, "a cursor whose event has gone still holds");
}

#[tokio::test]
async fn a_nickname_is_kept_by_an_open_page_and_forgotten_without_one() {
    let server = TestServer::start_with(Lifetimes { chat: SHORT, user: SHORT, message: LONG }).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let (mut here, mut gone) = (ana.connect().await, bea.connect().await);
    for (client, name) in [(&mut here, "Ana"), (&mut gone, "Bea")] {
        client.do_it(ClientCommand::SetNickname { nickname: name.to_owned() }).await.unwrap();
    }
    let was_called = |client: &Client| client.me.nickname.to_string();
    assert_eq!(was_called(&bea.connect().await), "Bea");
    drop(gone);
    // Bea counts as online for a grace period of three seconds. Her nickname is forgotten some time later.
    let mut lobby = here.enter_lobby("", 0).await;
    here.until_lobby(&mut lobby, |lobby| lobby.counts.people == 1).await;
    a_chats_lifetime(&server).await;
    let me = bea.connect().await.me;
    assert_eq!(me, User::new(me.id));
    assert_eq!(was_called(&ana.connect().await), "Ana", "an open page keeps it");
}

#[tokio::test]
async fn an_invite_goes_with_its_chat() {
    let server = TestServer::start_with(Lifetimes { chat: SHORT, user: LONG, message: LONG }).await;
    let (ana, mut bea_here) = (server.person().await, server.person().await.connect().await);
    let _ana_here = ana.connect().await;
    assert_eq!(bea_here.invites().await, []);
    ana.chat_privately(bea_here.me.id).await.1.unwrap();
    assert_eq!(bea_here.invites().await.len(), 1);
    // Ana is still online, but never opened the direct chat.
    assert_eq!(bea_here.invites().await, []);
}

/// Makes a backup of a server that runs on the same runtime.
async fn back_up(data_dir: &Path, file: &Path) {
    let (data_dir, file) = (data_dir.to_owned(), file.to_owned());
    spawn_blocking(move || backup::backup(&data_dir, &file)).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_has_expired_since_a_backup_is_not_shown_when_it_is_restored() {
    let lifetimes = Lifetimes { chat: SHORT, user: LONG, message: LONG };
    let server = TestServer::start_with(lifetimes).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Short").await;
    ana.connect().await.post(chat, client_id(1), "a secret").await.unwrap();
    let file = server.folder().join("backup");
    back_up(server.folder(), &file).await;
    let has_it = || std::fs::read(&file).unwrap().windows(8).any(|part| part == b"a secret");
    assert!(has_it(), "it had not expired then");
    a_chats_lifetime(&server).await;
    backup::restore(&server.folder().join("restored"), &file, false).unwrap();
    let restored = TestServer::start_by(|settings| {
        settings.lifetimes = lifetimes;
        settings.data_dir = server.folder().join("restored");
    })
    .await;
    let visitor = restored.person().await;
    assert_eq!(visitor.get(&format!("/chat/{chat}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(visitor.connect().await.enter_lobby("", 10).await.counts.chats, 0);
    // And it is gone from the database soon.
    a_chats_lifetime(&restored).await;
    back_up(&server.folder().join("restored"), &file).await;
    assert!(!has_it());
}
