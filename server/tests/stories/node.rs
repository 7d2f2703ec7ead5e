//! A server that shares its log with other nodes. What another node has shown to a user is waited for here, so that
//! nothing goes back.

use domain::{
    ChatId, Epoch, Problem, Seq,
    frame::{ClientFrame, Cursor, ServerFrame},
    id::ID_BYTES,
};
use reqwest::{
    StatusCode,
    header::{HeaderMap, LOCATION, SET_COOKIE},
};
use tokio::time::Instant;

use crate::support::{Client, Person, TIMEOUT, TestServer, client_id};

/// Returns what the answer to a form says of the log: its epoch, and how far it was applied. `None` if it says nothing.
fn told(headers: &HeaderMap) -> Option<(Epoch, Seq)> {
    let cookies = headers.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap());
    let cookie = cookies.filter_map(|cookie| cookie.strip_prefix("qchat_at=")).next()?;
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=10");
    let (epoch, seq) = value.split_once('.').unwrap();
    Some((epoch.parse().unwrap(), Seq(seq.parse().unwrap())))
}

async fn start_chat(ana: &Person) -> (ChatId, HeaderMap) {
    let answer = ana.submit("/api/start_chat", &[("nickname", "Ana"), ("title", "Tea")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let path = answer.headers[LOCATION].to_str().unwrap();
    (path.strip_prefix("/chat/").unwrap().parse().unwrap(), answer.headers)
}

#[tokio::test]
async fn the_answer_to_a_form_says_how_far_the_log_is_and_the_next_page_waits_for_that() {
    let server = TestServer::start_as_node().await;
    let ana = server.person().await;
    let (chat, headers) = start_chat(&ana).await;
    let (epoch, seq) = told(&headers).unwrap();
    let stored = ana.watch(chat).await.post(chat, client_id(1), "hello").await.unwrap();
    assert!(seq < stored);
    let load = async |seen: Seq| {
        let begun = Instant::now();
        let cookie = format!("{}; qchat_at={epoch}.{seen}", ana.cookie);
        let page = Person { cookie, ..ana.clone() }.get(&format!("/chat/{chat}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("hello") && told(&page.headers).is_none());
        begun.elapsed()
    };
    load(stored).await;
    let waited = load(Seq(stored.0 + 1_000)).await;
    assert!(waited.as_secs() >= 2 && waited < TIMEOUT, "it is shown as it is, {waited:?} later");
}

#[tokio::test]
async fn a_server_alone_says_nothing_of_how_far_its_log_is() {
    let server = TestServer::start().await;
    assert_eq!(told(&start_chat(&server.person().await).await.1), None);
}

#[tokio::test]
async fn a_page_that_has_seen_more_of_a_chat_is_answered_when_this_node_has_it_too() {
    let server = TestServer::start_as_node().await;
    let ana = server.person().await;
    let (chat, headers) = start_chat(&ana).await;
    let (epoch, _) = told(&headers).unwrap();
    let mut here = ana.watch(chat).await;
    let newest = here.post(chat, client_id(0), "hello").await.unwrap();

    // What will be said is what another node has shown already.
    let seq = Seq(newest.0 + 10);
    let after = Some(Cursor::new(epoch, seq));
    let mut behind = ana.connect().await;
    behind.send(&ClientFrame::Watch { chat, after }).await;
    for number in 1..=20 {
        here.ask(chat, client_id(number), "later").await;
    }
    let answered = async |client: &mut Client| {
        loop {
            match client.try_next().await? {
                ServerFrame::Resumed { seq, .. } => return Some(seq),
                ServerFrame::Snapshot { history, .. } => return Some(history.seq),
                _ => {}
            }
        }
    };
    // A page that is sent away because this machine was slow comes again with the same cursor.
    let shown = loop {
        match answered(&mut behind).await {
            Some(shown) => break shown,
            None => {
                behind = ana.connect().await;
                behind.send(&ClientFrame::Watch { chat, after }).await;
            }
        }
    };
    assert!(shown >= seq, "it was shown {seq}, and then {shown}");
}

#[tokio::test]
async fn a_page_that_has_seen_what_this_node_does_not_get_is_sent_elsewhere() {
    let server = TestServer::start_as_node().await;
    let ana = server.person().await;
    let (chat, headers) = start_chat(&ana).await;
    let (epoch, seq) = told(&headers).unwrap();
    let mut behind = ana.connect().await;
    let after = Some(Cursor::new(epoch, Seq(seq.0 + 1_000)));
    behind.send(&ClientFrame::Watch { chat, after }).await;
    let mut problem = None;
    while let Some(frame) = behind.try_next().await {
        match frame {
            ServerFrame::Refused { problem: said, .. } => problem = Some(said),
            ServerFrame::Snapshot { .. } | ServerFrame::Resumed { .. } => panic!("{frame:?}"),
            _ => {}
        }
    }
    assert_eq!(problem, Some(Problem::Restarting));

    // A cursor of another log is answered with a snapshot, as ever.
    let other = Epoch::from_bytes([0; ID_BYTES]);
    let elsewhere = Some(Cursor::new(other, Seq(seq.0 + 1_000)));
    assert!(ana.connect().await.watch(chat, elsewhere).await.is_some());
}
