//! Rate limits and quotas: a user who exceeds one is told how long to wait and loses nothing, and others are not
//! affected.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use domain::{
    Event, Problem, Seq, Span,
    frame::{ClientCommand, ClientFrame, ServerFrame},
};
use engine::limits::Rate;
use futures_util::future::join_all;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, RETRY_AFTER},
};
use server::Settings;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Error;

use crate::support::{
    Client, Person, TestServer, bodies,
    client::{handshake, last_words, open, soon},
    client_id,
};

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

async fn start(change: impl FnOnce(&mut Settings)) -> TestServer {
    TestServer::start_by(change).await
}

#[tokio::test]
async fn messages_that_come_too_fast_are_refused_in_order_and_others_go_on() {
    let server = start(|settings| settings.rates.message = rate("5/m")).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let mut requests = Vec::new();
    for number in 0..20 {
        requests.push(here.ask(chat, client_id(number), &format!("message {number}")).await);
    }
    for (number, request) in (0..).zip(requests) {
        match here.answer(request).await {
            Ok(_) => assert!(number < 5, "{number} was taken"),
            Err(problem) => {
                assert!(number >= 5, "{number} was refused");
                assert!(matches!(problem, Problem::TooFast { seconds: 1..=12 }), "{problem:?}");
            }
        }
    }
    let mut there = bea.watch(chat).await;
    there.post(chat, client_id(0), "somebody else").await.unwrap();
    here.do_it(ClientCommand::SetNickname { nickname: "Anna".to_owned() }).await.unwrap();
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("message 4") && !page.contains("message 5") && page.contains("somebody else"));
}

#[tokio::test]
async fn after_the_wait_it_goes_on_where_it_stopped() {
    let server = start(|settings| settings.rates.message = rate("2/s")).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let mut number = 0;
    while number < 6 {
        match here.post(chat, client_id(number), &format!("message {number}")).await {
            Ok(_) => number += 1,
            Err(Problem::TooFast { seconds }) => {
                tokio::time::sleep(std::time::Duration::from_secs(seconds.into())).await;
                // Waiting as long as it said is enough.
                here.post(chat, client_id(number), &format!("message {number}")).await.unwrap();
                number += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let history = server.person().await.connect().await.watch(chat, None).await.unwrap();
    let expected: Vec<_> = (0..6).map(|number| format!("message {number}")).collect();
    assert_eq!(bodies(&history.events), expected);
}

#[tokio::test]
async fn a_form_that_comes_too_often_comes_back_with_its_text_and_the_time_to_wait() {
    let server = start(|settings| settings.rates.chat = rate("2/h")).await;
    let ana = server.person().await;
    ana.start_chat("Ana", "one").await;
    ana.start_chat("Ana", "two").await;
    let refused = ana.submit("/api/start_chat", &[("nickname", "Ana"), ("title", "three")]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = refused.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=1_800).contains(&seconds), "{seconds}");
    assert!(refused.text.contains(&Problem::TooFast { seconds }.to_string()), "{}", refused.text);
    assert!(refused.text.contains("value=\"three\""), "what was written is there");
    server.person().await.start_chat("Bea", "others go on").await;
}

#[tokio::test]
async fn renames_and_invites_have_limits_too() {
    let server = start(|settings| {
        settings.rates.rename = rate("2/m");
        settings.rates.invite = rate("1/m");
    })
    .await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let there = bea.watch(chat).await;
    // The first rename was made by the form that started the chat.
    here.do_it(ClientCommand::SetNickname { nickname: "Anna".to_owned() }).await.unwrap();
    for ask in [
        ClientCommand::SetNickname { nickname: "Anne".to_owned() },
        ClientCommand::EditTitle { chat, title: "Tea at five".to_owned() },
        ClientCommand::SetVisibility { chat, visibility: domain::Visibility::Private },
    ] {
        assert!(matches!(here.do_it(ask).await, Err(Problem::TooFast { .. })));
    }
    assert_eq!(ana.chat_privately(there.me.id).await.0, StatusCode::SEE_OTHER);
    assert_eq!(ana.chat_privately(there.me.id).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_client_that_connects_too_often_is_turned_away_before_the_handshake() {
    let server = start(|settings| settings.rates.connect = rate("3/m")).await;
    let (ana, bea) = (server.person().await, server.person().await);
    for _ in 0..3 {
        open(handshake(server.address(), Some(&ana.cookie))).await.unwrap();
    }
    let Err(Error::Http(refused)) = open(handshake(server.address(), Some(&ana.cookie))).await else {
        panic!("it was let in")
    };
    assert_eq!(refused.status().as_u16(), 429);
    assert_eq!(refused.headers()["retry-after"], "20");
    open(handshake(server.address(), Some(&bea.cookie))).await.unwrap();
}

#[tokio::test]
async fn an_address_has_a_limit_for_all_clients_that_share_it() {
    let server = start(|settings| {
        settings.trusted_proxies = "127.0.0.1".parse().unwrap();
        settings.rates.connect = rate("1/m");
    })
    .await;
    let mut refused = 0;
    for _ in 0..30 {
        let person = server.person().await;
        let mut request = handshake(server.address(), Some(&person.cookie));
        request.headers_mut().insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
        refused += u32::from(open(request).await.is_err());
    }
    assert_eq!(refused, 10, "twenty sessions' worth is let in");
    let person = server.person().await;
    let mut request = handshake(server.address(), Some(&person.cookie));
    request.headers_mut().insert("x-forwarded-for", "203.0.113.8".parse().unwrap());
    open(request).await.unwrap();
}

#[tokio::test]
async fn sockets_of_a_session_are_limited_and_closing_one_makes_room() {
    let server = start(|settings| settings.quotas.session_sockets = 2).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let (one, _other) = (ana.connect().await, ana.connect().await);
    let wire = open(handshake(server.address(), Some(&ana.cookie))).await.unwrap();
    assert_eq!(last_words(wire).await, (Some(Problem::TooManyPages), Some(4429)));
    bea.connect().await;
    let mut one = one;
    one.wire.close(None).await.unwrap();
    while one.try_next().await.is_some() {}
    // The server notices asynchronously that it is gone.
    let again = async {
        loop {
            let wire = open(handshake(server.address(), Some(&ana.cookie))).await.unwrap();
            if Client::greet(wire).await.is_some() {
                break;
            }
        }
    };
    soon(Box::pin(again)).await;
}

#[tokio::test]
async fn a_server_that_has_enough_sockets_takes_no_more() {
    let server = start(|settings| settings.quotas.sockets = 2).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let _open = (ana.connect().await, ana.connect().await);
    let Err(Error::Http(refused)) = open(handshake(server.address(), Some(&bea.cookie))).await else {
        panic!("it was let in")
    };
    assert_eq!(refused.status().as_u16(), 503);
    assert_eq!(bea.get("/").await.status, StatusCode::OK, "pages go on");
}

#[tokio::test]
async fn a_full_chat_lets_in_only_its_members() {
    let server = start(|settings| settings.quotas.members = 2).await;
    let (ana, bea, cy) = (server.person().await, server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let _here = (ana.watch(chat).await, bea.watch(chat).await);
    let mut third = cy.connect().await;
    third.send(&ClientFrame::Watch { chat, after: None }).await;
    let refused = third
        .find(|frame| match frame {
            ServerFrame::Refused { chat: Some(_), problem, .. } => Some(*problem),
            _ => None,
        })
        .await;
    assert_eq!(refused, Problem::ChatFull);
    // A second tab of a member does not count.
    bea.watch(chat).await;
}

#[tokio::test]
async fn chats_of_a_user_are_limited_and_others_have_theirs() {
    let server = start(|settings| settings.quotas.user_chats = 2).await;
    let (ana, bea) = (server.person().await, server.person().await);
    ana.start_chat("Ana", "one").await;
    ana.start_chat("Ana", "two").await;
    let refused = ana.submit("/api/start_chat", &[("nickname", "Ana"), ("title", "three")]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.text.contains(&Problem::TooManyOwn.to_string()), "{}", refused.text);
    assert!(refused.text.contains("value=\"three\""), "what was written is there");
    bea.start_chat("Bea", "others go on").await;
    let server = server.restart().await;
    let ana = Person { address: server.address(), ..ana };
    let again = ana.submit("/api/start_chat", &[("nickname", "Ana"), ("title", "three")]).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS, "a restart forgets nobody's chats");
}

#[tokio::test]
async fn messages_behind_a_refused_one_wait_until_it_is_sent_again() {
    let server = start(|settings| settings.rates.message = rate("1/s")).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    here.post(chat, client_id(1), "first").await.unwrap();
    let Err(Problem::TooFast { seconds }) = here.post(chat, client_id(2), "second").await else {
        panic!("it was taken")
    };
    // By then it could be sent again, and so could another one.
    sleep(Duration::from_secs(seconds.into()) + Duration::from_millis(500)).await;
    let third = here.post(chat, client_id(3), "third").await;
    assert!(matches!(third, Err(Problem::TooFast { .. })), "{third:?}");
    here.post(chat, client_id(2), "second").await.unwrap();
    soon(async { while here.post(chat, client_id(3), "third").await.is_err() {} }).await;
    assert_eq!(bodies(&here.events(3).await), ["first", "second", "third"]);
}

#[tokio::test]
async fn many_chats_at_once_are_as_few_as_one_after_the_other() {
    let server = start(|settings| settings.quotas.user_chats = 2).await;
    let ana = server.person().await;
    let forms: Vec<_> =
        (1..=8).map(|number| [("nickname", "Ana"), ("title", ["a", "b"][number % 2])]).collect();
    let asked = forms.iter().map(|form| ana.submit("/api/start_chat", form));
    let started = join_all(asked).await.into_iter().filter(|answer| answer.status == StatusCode::SEE_OTHER);
    assert!((1..=2).contains(&started.count()), "there are two at most");
}

#[tokio::test]
async fn chats_that_have_ended_make_room_for_others() {
    let second = Span::seconds(1);
    let server = start(|settings| {
        settings.quotas.user_chats = 1;
        settings.lifetimes.chat = second;
        // Whether it has been swept does not matter.
        settings.sweep_interval = Span::seconds(3_600);
    })
    .await;
    let ana = server.person().await;
    ana.start_chat("Ana", "one").await;
    let form = [("nickname", "Ana"), ("title", "two")];
    let again = async {
        while ana.submit("/api/start_chat", &form).await.status != StatusCode::SEE_OTHER {
            tokio::task::yield_now().await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn when_there_is_no_room_it_is_said_and_room_comes_by_itself() {
    const ENOUGH: u64 = 20_000;
    let server = start(|settings| {
        settings.quotas.storage = ENOUGH;
        settings.lifetimes.message = Span::seconds(2);
    })
    .await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let text = "x".repeat(1_000);
    let mut number = 0;
    while here.post(chat, client_id(number), &text).await.is_ok() {
        number += 1;
        assert!(number < 30, "there is no end to it");
    }
    assert!(number > 15, "{number} fit in");
    assert_eq!(here.post(chat, client_id(number), &text).await, Err(Problem::StorageFull));
    let refused = ana.submit("/api/start_chat", &[("nickname", "Ana"), ("title", "another")]).await;
    assert_eq!(refused.status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(refused.text.contains("value=\"another\""), "what was written is there");
    // Removals still work.
    for Event { seq: message, .. } in here.events(2).await {
        here.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    }
    here.post(chat, client_id(900), &text).await.unwrap();
    let again = async {
        while here.post(chat, client_id(901), &text.repeat(3)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn pages_that_are_loaded_too_fast_say_when_to_come_back_and_others_are_served() {
    let server = start(|settings| {
        settings.trusted_proxies = "127.0.0.1".parse().unwrap();
        settings.rates.page = rate("10/h");
    })
    .await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let path = format!("/chat/{chat}");
    let mut last = None;
    for number in 0..11 {
        let answer = ana.get(&path).await;
        assert_eq!(answer.status == StatusCode::OK, number < 10, "{number}");
        last = Some(answer);
    }
    let refused = last.unwrap();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = refused.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=360).contains(&seconds), "{seconds}");
    assert!(refused.text.contains(&Problem::TooFast { seconds }.to_string()), "{}", refused.text);
    assert_eq!(bea.get(&path).await.status, StatusCode::OK);
    // A long list counts as several short ones.
    assert_eq!(bea.get("/?limit=500").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(bea.get("/?limit=400").await.status, StatusCode::OK);
    // Without a session the address counts, with the limit of twenty sessions.
    let elsewhere = |address: &str| {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), address.parse().unwrap())]);
        reqwest::Client::builder().default_headers(headers).build().unwrap()
    };
    let url = format!("http://{}{path}", server.address());
    let newcomer = elsewhere("192.0.2.1:4711");
    for number in 0..=200 {
        let status = newcomer.get(&url).send().await.unwrap().status();
        assert_eq!(status == StatusCode::OK, number < 200, "{number}");
    }
    assert_eq!(elsewhere("192.0.2.2").get(&url).send().await.unwrap().status(), StatusCode::OK);
    // All values of a proxy that are not an address count as the same one.
    let mut served = 0;
    for number in 0..201 {
        served += u32::from(
            elsewhere(&format!("junk {number}")).get(&url).send().await.unwrap().status() == StatusCode::OK,
        );
    }
    assert_eq!(served, 200);
}

#[tokio::test]
async fn a_session_stores_its_share_and_others_have_theirs() {
    let server = start(|settings| settings.quotas.session_storage = NonZeroU32::new(10_000)).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut here, mut there) = (ana.watch(chat).await, bea.watch(chat).await);
    let text = "x".repeat(3_000);
    let mut stored = 0;
    let refused = loop {
        match here.post(chat, client_id(stored), &text).await {
            Ok(_) => stored += 1,
            Err(problem) => break problem,
        }
    };
    assert_eq!(stored, 2, "beside the chat");
    assert!(matches!(refused, Problem::TooFast { .. }), "{refused:?}");
    there.post(chat, client_id(0), &text).await.unwrap();
}

#[tokio::test]
async fn a_client_that_pages_too_fast_over_a_socket_is_delayed_and_others_are_not() {
    let server = start(|settings| settings.rates.page = rate("3/s")).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut here, mut there) = (ana.watch(chat).await, bea.watch(chat).await);
    let began = Instant::now();
    for _ in 0..10 {
        here.send(&ClientFrame::Earlier { chat, before: Seq(u64::MAX) }).await;
    }
    let request = here.ask(chat, client_id(1), "behind all of them").await;
    there.post(chat, client_id(2), "at once").await.unwrap();
    let others = began.elapsed();
    here.answer(request).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(others < Duration::from_secs(1), "{others:?}");
    let mut pages = 0;
    while pages < 10 {
        here.find(|frame| matches!(frame, ServerFrame::Earlier { .. }).then_some(())).await;
        pages += 1;
    }
}
