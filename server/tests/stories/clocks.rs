//! The clock of the machine is set while users are online. Nothing expires because of it, and times are soon right
//! again.

use domain::{Lifetimes, Span, Timestamp, frame::ServerFrame};
use reqwest::StatusCode;

use crate::support::{Client, FakeClock, TestServer, bodies, client_id};

const DAY: i64 = 86_400_000;

/// Waits until a client is welcomed again after a change of the clock, and returns the server time.
async fn told(client: &mut Client) -> Timestamp {
    client
        .find(|frame| match frame {
            ServerFrame::Welcome { now, .. } => Some(*now),
            _ => None,
        })
        .await
}

/// Whether two times are the same, except for the duration of a test.
fn is_about(at: Timestamp, wall: Timestamp) -> bool {
    at.0.abs_diff(wall.0) < 30_000
}

#[tokio::test]
async fn a_user_who_is_here_keeps_chat_and_name_when_the_clock_is_set_forward() {
    let fake_clock = FakeClock::default();
    let server = TestServer::start_at(&fake_clock, |_| {}).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let (chat, left) = (ana.start_chat("Ana", "Tea").await, bea.start_chat("Bea", "Left a moment ago").await);
    let mut here = ana.watch(chat).await;
    here.post(chat, client_id(1), "before").await.unwrap();

    // For a moment: no effect.
    fake_clock.set(2 * DAY);
    here.post(chat, client_id(2), "meanwhile").await.unwrap();
    let said = here.events(2).await;
    assert!(is_about(said[1].at, fake_clock.wall().moved(-2 * DAY)), "{said:?}");
    fake_clock.set(-2 * DAY);
    here.post(chat, client_id(3), "as before").await.unwrap();

    // For good, by two hours: no user counts as absent meanwhile.
    fake_clock.set(DAY / 12);
    here.post(chat, client_id(4), "at once").await.unwrap();
    fake_clock.pass(61_000);
    assert!(is_about(told(&mut here).await, fake_clock.wall()));
    here.post(chat, client_id(5), "afterwards").await.unwrap();
    let said = here.events(3).await;
    assert!(is_about(said[2].at, fake_clock.wall()), "{said:?}");
    for chat in [chat, left] {
        let page = bea.get(&format!("/chat/{chat}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    }
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    for text in ["before", "meanwhile", "as before", "at once", "afterwards"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(ana.connect().await.me.nickname.as_str(), "Ana");
    let server = server.restart_at(&fake_clock).await;
    assert_eq!(server.person().await.get(&format!("/chat/{chat}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_clock_that_was_ahead_comes_back_and_all_later_messages_are_kept() {
    let fake_clock = FakeClock::default();
    fake_clock.set(2 * DAY);
    let server = TestServer::start_at(&fake_clock, |_| {}).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    here.post(chat, client_id(1), "two days ahead").await.unwrap();
    fake_clock.set(-2 * DAY);
    assert_eq!(bea.get("/").await.status, StatusCode::OK);
    fake_clock.pass(4_000);
    assert!(is_about(told(&mut here).await, fake_clock.wall()));
    here.post(chat, client_id(2), "at the right time").await.unwrap();
    let said = here.events(2).await;
    assert_eq!(bodies(&said), ["two days ahead", "at the right time"]);
    assert!(is_about(said[1].at, fake_clock.wall()) && said[0].seq < said[1].seq, "{said:?}");
    let history = bea.connect().await.watch(chat, None).await.unwrap();
    assert_eq!(bodies(&history.events), bodies(&said), "order is by place");

    let server = server.restart_at(&fake_clock).await;
    let mut here = server.person().await.watch(chat).await;
    here.post(chat, client_id(3), "after a start").await.unwrap();
    assert!(is_about(here.event().await.at, fake_clock.wall()));
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_left_behind_goes_when_its_time_has_come() {
    let fake_clock = FakeClock::default();
    fake_clock.set(2 * DAY);
    let long = Span::seconds(3_600);
    let lifetimes = Lifetimes { chat: long, user: long, message: long };
    let server = TestServer::start_at(&fake_clock, |settings| settings.lifetimes = lifetimes).await;
    let ana = server.person().await;
    let chat = format!("/chat/{}", ana.start_chat("Ana", "Tea").await);
    fake_clock.set(-2 * DAY);
    let server = server.restart_at(&fake_clock).await;
    let bea = server.person().await;
    fake_clock.pass(3_500_000);
    assert_eq!(bea.get("/").await.status, StatusCode::OK);
    let mut lobby = bea.connect().await.enter_lobby("", 10).await;
    assert_eq!(lobby.counts.chats, 1);
    fake_clock.pass(101_000);
    assert_eq!(bea.get(&chat).await.status, StatusCode::NOT_FOUND, "an hour later, and not two days");
    let mut watching = bea.connect().await;
    lobby = watching.enter_lobby("", 10).await;
    watching.until_lobby(&mut lobby, |lobby| lobby.counts.chats == 0).await;
}
