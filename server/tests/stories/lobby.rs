//! The live list of public chats.

use domain::{
    Change, ChatId, Event, EventKind, Lobby, Problem, Seq, Title, Visibility,
    frame::{ClientCommand, ClientFrame, ServerFrame},
    lobby::{LISTINGS_LIMIT, LobbyQuery},
};
use engine::clock;
use reqwest::StatusCode;

use crate::support::{Person, TestServer, client_id};

fn titles(lobby: &Lobby) -> Vec<&str> {
    lobby.listings.iter().map(|listing| listing.title.as_str()).collect()
}

#[tokio::test]
async fn public_chats_come_change_and_go_while_a_user_looks() {
    let server = TestServer::start().await;
    let (ana, mut looking) = (server.person().await, server.person().await.connect().await);
    let mut lobby = looking.enter_lobby("", 10).await;
    assert_eq!((titles(&lobby), lobby.matching), (vec![], 0));
    let first = ana.start_chat("Ana", "First").await;
    ana.start_chat("Ana", "Second").await;
    looking.until_lobby(&mut lobby, |lobby| titles(lobby) == ["Second", "First"]).await;
    assert_eq!(lobby.listings[1].members, 0);

    let mut here = ana.watch(first).await;
    // Chats with members come first.
    looking.until_lobby(&mut lobby, |lobby| titles(lobby) == ["First", "Second"]).await;
    assert_eq!((lobby.listings[0].members, lobby.listings[0].faces[0].nickname.as_str()), (1, "Ana"));
    here.do_it(ClientCommand::EditTitle { chat: first, title: "The first".to_owned() }).await.unwrap();
    looking.until_lobby(&mut lobby, |lobby| titles(lobby) == ["The first", "Second"]).await;
    here.post(first, client_id(1), "hello").await.unwrap();
    looking.until_lobby(&mut lobby, |lobby| lobby.listings[0].said_at.is_some()).await;
    here.do_it(ClientCommand::SetVisibility { chat: first, visibility: Visibility::Private }).await.unwrap();
    looking.until_lobby(&mut lobby, |lobby| titles(lobby) == ["Second"]).await;
    assert_eq!(lobby.counts.chats, 2, "private chats count, and are not named");
    here.do_it(ClientCommand::SetVisibility { chat: first, visibility: Visibility::Public }).await.unwrap();
    looking.until_lobby(&mut lobby, |lobby| titles(lobby) == ["The first", "Second"]).await;
    drop(here);
    looking.until_lobby(&mut lobby, |lobby| titles(lobby) == ["Second", "The first"]).await;

    // A new reader sees the same, with and without a script.
    let mut fresh = server.person().await.connect().await;
    assert_eq!(fresh.enter_lobby("", 10).await.listings, lobby.listings);
    let page = server.person().await.get("/").await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    assert!(html.find(">Second<").unwrap() < html.find(">The first<").unwrap(), "{html}");
}

#[tokio::test]
async fn people_are_counted_once_however_many_pages_they_have_open() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let mut tab = ana.connect().await;
    let mut lobby = tab.enter_lobby("", 0).await;
    let _other_tab = ana.connect().await;
    let bea_here = bea.connect().await;
    tab.until_lobby(&mut lobby, |lobby| lobby.counts.people == 2).await;
    let page = server.person().await.get("/").await.text;
    assert!(page.contains("3 people online"), "the visitor counts: {page}");
    drop(bea_here);
    tab.until_lobby(&mut lobby, |lobby| lobby.counts.people == 1).await;
}

#[tokio::test]
async fn a_filter_finds_titles_and_a_limit_is_kept() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    for number in 0..6 {
        ana.start_chat(
            "Ana",
            &format!("Chat {number} {}", if number % 2 == 0 { "Tee & Kuchen" } else { "coffee" }),
        )
        .await;
    }
    let mut looking = ana.connect().await;
    let lobby = looking.enter_lobby("tee &", 2).await;
    assert_eq!((titles(&lobby), lobby.matching), (vec!["Chat 4 Tee & Kuchen", "Chat 2 Tee & Kuchen"], 3));
    let all = looking.enter_lobby("", usize::MAX).await;
    assert_eq!((all.listings.len(), all.matching), (6, 6));
    ana.start_chat("Ana", "Cafe\u{301} Straße").await;
    for typed in ["caf\u{e9}", "STRASSE"] {
        assert_eq!(titles(&looking.enter_lobby(typed, 9).await), ["Cafe\u{301} Straße"], "{typed}");
    }
    const { assert!(LISTINGS_LIMIT >= 6) };
    let page = ana.get("/?filter=TEE%20%26&limit=2").await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    assert!(html.contains("Chat 4") && !html.contains("Chat 0") && !html.contains("Chat 5"), "{html}");
    assert!(html.contains("value=\"TEE &amp;\"") && html.contains("2 of 3"), "{html}");
    let too_long = ana.get(&format!("/?filter={}", "e".repeat(101))).await;
    assert_eq!(too_long.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(too_long.text.contains(&Problem::FilterTooLong.to_string()), "{}", too_long.text);
    for odd in ["/?limit=0", "/?limit=x", "/?filter=%ff", "/?limit=99999999999999999999"] {
        assert_eq!(ana.get(odd).await.status, 200, "{odd}");
    }
}

/// With 5,000 public chats of which 200 change each second, a page gets only the changes that it shows, at most four
/// times a second.
#[tokio::test]
async fn thousands_of_chats_cost_a_page_what_it_sees_of_them() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let owner = ana.connect().await.me;
    let now = clock::system()();
    let chats: Vec<_> = (0..5_000_u64).map(|number| ChatId::from_bytes(client_id(number).bytes())).collect();
    let started = chats.iter().zip(1..).map(|(chat, seq)| {
        let (nickname, title) = (owner.nickname.clone(), Title::parse(&format!("Chat {seq}")).unwrap());
        let visibility = Visibility::Public;
        let kind = EventKind::Started { owner: owner.id, nickname, title, visibility, guest: None };
        Change::Chat(Event { chat: *chat, seq: Seq(seq), prev: Seq::ZERO, at: now, kind })
    });
    let server = server.restart_with(&started.collect::<Vec<_>>()).await;
    let ana = Person { address: server.address(), ..ana };
    let mut looking = server.person().await.connect().await;
    let mut lobby = looking.enter_lobby("", 50).await;
    assert_eq!((lobby.matching, lobby.listings.len()), (5_000, 50));

    // 200 changes a second, all of them shown.
    let mut editing = ana.connect().await;
    let begun = std::time::Instant::now();
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(5));
    for number in 0..400 {
        pace.tick().await;
        let chat = lobby.listings[number % 50].id;
        editing.do_it(ClientCommand::EditTitle { chat, title: format!("New {number}") }).await.unwrap();
    }
    ana.start_chat("Ana", "The end").await;
    let mut told = 0;
    while lobby.listings[0].title.as_str() != "The end" {
        let change = looking
            .find(|frame| match frame {
                domain::frame::ServerFrame::LobbyChange(change) => Some(change.clone()),
                _ => None,
            })
            .await;
        assert!(change.listed.len() <= 50, "never more than the page shows");
        lobby.apply(change);
        told += 1;
    }
    let most = begun.elapsed().as_millis() / 250 + 2;
    assert!(told <= most, "told {told} times, where {most} are the most");
    assert!(told >= 4, "told {told} times only");
}

#[tokio::test]
async fn filtered_lists_of_a_session_are_limited_and_the_session_is_told() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    ana.start_chat("Ana", "Tea").await;
    let mut windows = Vec::new();
    for _ in 0..5 {
        let mut window = ana.connect().await;
        assert_eq!(titles(&window.enter_lobby("tea", 9).await), ["Tea"]);
        windows.push(window);
    }
    let mut one_more = ana.connect().await;
    let mut all = one_more.enter_lobby("", 9).await;
    for (filter, expected) in
        [("tea".to_owned(), Problem::TooManyFilters), ("e".repeat(101), Problem::TooManyFilters)]
    {
        one_more.send(&ClientFrame::Lobby(LobbyQuery { filter, limit: 9 })).await;
        let refused = one_more.find(|frame| match frame {
            ServerFrame::Refused { request: None, chat: None, problem } => Some(*problem),
            _ => None,
        });
        assert_eq!(refused.await, expected);
    }
    // The previous subscription stays, and other users are not affected.
    ana.start_chat("Ana", "Coffee").await;
    one_more.until_lobby(&mut all, |lobby| lobby.matching == 2).await;
    assert_eq!(titles(&bea.connect().await.enter_lobby("tea", 9).await), ["Tea"]);
    // A window without a filter makes room for another.
    windows[0].enter_lobby("", 9).await;
    assert_eq!(titles(&one_more.enter_lobby("tea", 9).await), ["Tea"]);
}

#[tokio::test]
async fn a_user_who_starts_many_chats_has_a_few_in_the_list_and_all_are_found() {
    let server = TestServer::start_by(|settings| settings.quotas.listed = 2).await;
    let (ana, bea) = (server.person().await, server.person().await);
    for number in 1..=6 {
        ana.start_chat("Ana", &format!("Chat {number}")).await;
    }
    bea.start_chat("Bea", "Tea").await;
    let mut looking = bea.connect().await;
    assert_eq!(titles(&looking.enter_lobby("", 9).await), ["Tea", "Chat 6", "Chat 5"]);
    assert_eq!(looking.enter_lobby("chat", 9).await.matching, 6);
    let page = bea.get("/").await.text;
    assert!(page.contains("Chat 6") && !page.contains("Chat 4"), "{page}");
}
