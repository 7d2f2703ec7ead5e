//! Places in a chat: addresses of messages, the history around them, answers by a form, and what is new after one.

use domain::{
    ChatId, ClientId, Problem, Seq, Timestamp,
    frame::{ClientCommand, ClientFrame, ServerFrame},
    page::PAGE_EVENTS,
    place::{Around, NEWS_EVENTS, News},
};
use reqwest::{StatusCode, header::LOCATION};

use crate::support::{Client, TestServer, bodies, client_id};

/// Posts many messages, and returns their positions.
async fn say(client: &mut Client, chat: ChatId, count: u64) -> Vec<Seq> {
    let mut said = Vec::new();
    for number in 1..=count {
        said.push(client.post(chat, client_id(number), &format!("message {number}.")).await.unwrap());
    }
    said
}

async fn around(client: &mut Client, chat: ChatId, at: Option<Seq>, since: Option<Timestamp>) -> Around {
    client.send(&ClientFrame::Around { chat, at, since }).await;
    client
        .find(|frame| match frame {
            ServerFrame::Around(around) => Some(around.clone()),
            _ => None,
        })
        .await
}

async fn news(client: &mut Client, chat: ChatId, after: Seq) -> News {
    client.send(&ClientFrame::News { chat, after }).await;
    client
        .find(|frame| match frame {
            ServerFrame::News(news) => Some(news.clone()),
            _ => None,
        })
        .await
}

fn answer_to(chat: ChatId, number: u64, body: &str, answered: Seq) -> ClientCommand {
    let id: ClientId = client_id(number);
    let mut command = ClientCommand::post(chat, id, body.to_owned(), 0);
    if let ClientCommand::Post { reply_to, .. } = &mut command {
        *reply_to = Some(answered);
    }
    command
}

#[tokio::test]
async fn the_history_around_a_message_has_it_wherever_it_is() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let said = say(&mut here, chat, 120).await;

    for (place, has_earlier, has_later) in [(0, false, true), (60, true, true), (119, true, false)] {
        let found = around(&mut here, chat, Some(said[place]), None).await;
        assert_eq!((found.at, found.shown), (Some(said[place]), Some(said[place])));
        assert_eq!((found.earlier, found.later), (has_earlier, has_later), "{place}");
        assert_eq!(found.events.len(), PAGE_EVENTS, "{place}");
        assert!(found.events.iter().any(|event| event.seq == said[place]));
        assert!(found.events.windows(2).all(|pair| pair[1].prev == pair[0].seq), "there is no gap");
    }
    let first = around(&mut here, chat, Some(Seq(0)), None).await;
    assert_eq!(first.shown, first.events.first().map(|event| event.seq), "nothing is before it");
    let last = around(&mut here, chat, Some(Seq((1 << 53) - 1)), None).await;
    assert_eq!((last.shown, last.later), (said.last().copied(), false));

    here.do_it(ClientCommand::RemoveMessage { chat, message: said[60] }).await.unwrap();
    let gone = around(&mut here, chat, Some(said[60]), None).await;
    assert_eq!(gone.shown, Some(said[60]), "its place is there");
    assert!(!bodies(&gone.events).contains(&"message 61.".to_owned()));

    let at = gone.events.iter().find(|event| event.seq == said[59]).unwrap().at;
    let since = around(&mut here, chat, None, Some(at)).await;
    assert_eq!((since.at, since.since), (None, Some(at)));
    let shown = since.events.iter().find(|event| Some(event.seq) == since.shown).unwrap();
    assert!(shown.at >= at && since.events.iter().all(|event| event.seq >= shown.seq || event.at < at));
    let future = around(&mut here, chat, None, Some(Timestamp(u64::MAX))).await;
    assert!(!future.later && future.shown.is_some());

    here.send(&ClientFrame::Around { chat, at: None, since: None }).await;
    let problem = here
        .find(|frame| match frame {
            ServerFrame::Refused { problem, .. } => Some(*problem),
            _ => None,
        })
        .await;
    assert_eq!(problem, Problem::BadFrame);
    for unwatched in [
        ClientFrame::Around { chat: ChatId::from_bytes([9; 10]), at: Some(Seq(1)), since: None },
        ClientFrame::News { chat: ChatId::from_bytes([9; 10]), after: Seq(1) },
    ] {
        here.send(&unwatched).await;
        here.find(|frame| matches!(frame, ServerFrame::Refused { chat: Some(_), .. }).then_some(())).await;
    }
}

#[tokio::test]
async fn what_is_new_is_counted_without_ones_own_and_hidden_messages() {
    let server = TestServer::start().await;
    let (ana, bea, eve) = (server.person().await, server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut ana_here, mut bea_here, mut eve_here) =
        (ana.watch(chat).await, bea.watch(chat).await, eve.watch(chat).await);
    let own = ana_here.post(chat, client_id(1), "Tea?").await.unwrap();
    let first = bea_here.post(chat, client_id(1), "Yes").await.unwrap();
    eve_here.post(chat, client_id(1), "No").await.unwrap();
    ana_here.post(chat, client_id(2), "At five").await.unwrap();
    let answer = bea_here.do_it(answer_to(chat, 2, "With cake?", own)).await.unwrap();
    eve_here.do_it(answer_to(chat, 2, "Without", own)).await.unwrap();
    ana_here.do_it(ClientCommand::SetHidden { person: eve_here.me.id, is_hidden: true }).await.unwrap();

    let found = news(&mut ana_here, chat, own).await;
    assert_eq!((found.messages, found.more), (2, false));
    assert_eq!(found.mentions, [answer], "an answer to a message is meant for its author");
    assert_eq!(news(&mut ana_here, chat, first).await.messages, 1);
    let none = news(&mut ana_here, chat, found.through).await;
    assert_eq!((none.messages, none.more, none.mentions), (0, false, Vec::new()));
    assert_eq!(news(&mut eve_here, chat, own).await.messages, 3, "hers are not new for her");
}

#[tokio::test]
async fn of_much_that_is_new_the_newest_is_counted() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut ana_here, mut bea_here) = (ana.watch(chat).await, bea.watch(chat).await);
    let seen = ana_here.post(chat, client_id(1), "Tea?").await.unwrap();
    let count = NEWS_EVENTS as u64 + 5;
    for number in 1..=count {
        let request = bea_here.ask(chat, client_id(number), "more").await;
        if number % 30 == 0 || number == count {
            bea_here.answer(request).await.unwrap();
        }
    }
    let found = news(&mut ana_here, chat, seen).await;
    assert_eq!((found.messages, found.more), (NEWS_EVENTS, true));
}

#[tokio::test]
async fn a_message_has_an_address() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let said = say(&mut here, chat, 120).await;
    let page = ana.get(&format!("/chat/{chat}?at={}", said[59])).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    for expected in ["message 60.", "message 19.", "message 68.", "id=\"at\"", "aria-current=\"true\""] {
        assert!(page.text.contains(expected), "{expected} is not in {}", page.text);
    }
    assert!(!page.text.contains("message 18.") && !page.text.contains("message 69."), "{}", page.text);
    assert_eq!(page.text.matches("id=\"at\"").count(), 1);
    assert!(!page.text.contains(&Problem::MessageGone.to_string()));
    let other = ana.get(&format!("/chat/{chat}?at={}", said[89])).await.text;
    assert!(other.contains("message 90.") && !other.contains("message 19."), "each has a page of its own");

    here.do_it(ClientCommand::RemoveMessage { chat, message: said[59] }).await.unwrap();
    for gone in [said[59], Seq(0), Seq(999_999)] {
        let page = ana.get(&format!("/chat/{chat}?at={gone}")).await;
        assert_eq!(page.status, StatusCode::OK, "{gone}");
        assert!(page.text.contains(&Problem::MessageGone.to_string()), "{gone}: {}", page.text);
    }
    let day = ana.get(&format!("/chat/{chat}?since=0")).await.text;
    assert!(day.contains("message 1.") && !day.contains(&Problem::MessageGone.to_string()), "{day}");
    let newest = ana.get(&format!("/chat/{chat}?at=x")).await.text;
    assert!(newest.contains("message 120."), "a query that is not valid shows the newest page: {newest}");
}

#[tokio::test]
async fn a_message_is_answered_by_a_form() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let said = ana.watch(chat).await.post(chat, client_id(1), "Tea at <five>?").await.unwrap();
    let page = bea.get(&format!("/chat/{chat}?reply={said}")).await;
    assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    let field = format!("name=\"reply_to\" value=\"{said}\"");
    for expected in ["In reply to ", "Cancel reply", "Tea at &lt;five&gt;?", &field] {
        assert!(page.text.contains(expected), "{expected} is not in {}", page.text);
    }
    assert!(!bea.get(&format!("/chat/{chat}")).await.text.contains("name=\"reply_to\""));

    let (chat_text, id, seq) = (chat.to_string(), client_id(2).to_string(), said.to_string());
    let form = |body: &'static str| {
        [("chat", chat_text.as_str()), ("client_id", id.as_str()), ("body", body), ("reply_to", seq.as_str())]
    };
    let posted = bea.submit("/api/post_message", &form("Yes")).await;
    assert_eq!(posted.status, StatusCode::SEE_OTHER, "{}", posted.text);
    assert_eq!(posted.headers[LOCATION], format!("/chat/{chat}").as_str());
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    for expected in ["aria-label=\"In reply to Ana\"", &format!("href=\"/chat/{chat}?at={said}\"")] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }

    let refused = bea.submit("/api/post_message", &form(" ")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains(&format!("name=\"reply_to\" value=\"{said}\"")), "{}", refused.text);
}

#[tokio::test]
async fn an_answer_by_a_form_to_what_is_gone_is_shown_again_without_it() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let said = here.post(chat, client_id(1), "Tea at five?").await.unwrap();
    here.do_it(ClientCommand::RemoveMessage { chat, message: said }).await.unwrap();
    let page = ana.get(&format!("/chat/{chat}?reply={said}")).await.text;
    assert!(
        page.contains(&Problem::MessageGone.to_string()) && !page.contains("name=\"reply_to\""),
        "{page}"
    );
    let (chat_text, id, seq) = (chat.to_string(), client_id(2).to_string(), said.to_string());
    let form = [
        ("chat", chat_text.as_str()),
        ("client_id", id.as_str()),
        ("body", "Yes"),
        ("reply_to", seq.as_str()),
    ];
    let refused = ana.submit("/api/post_message", &form).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert!(refused.text.contains("Yes") && !refused.text.contains("name=\"reply_to\""), "{}", refused.text);
    let not_a_number =
        [("chat", chat_text.as_str()), ("client_id", id.as_str()), ("body", "Yes"), ("reply_to", "x")];
    assert_eq!(ana.submit("/api/post_message", &not_a_number).await.status, StatusCode::BAD_REQUEST);
}
