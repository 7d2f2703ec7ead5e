//! Searches in a chat: by an ordinary form, and by a program.

use domain::{
    ChatId, Problem, Seq,
    frame::{ClientCommand, ServerFrame},
    search::{Found, Hit, Part},
};
use reqwest::{
    StatusCode,
    header::{ACCEPT, CACHE_CONTROL, COOKIE, RETRY_AFTER},
};
use serde::Deserialize;

use crate::support::{Client, Person, TestServer, client_id};

/// The data of a page with a search.
#[derive(Deserialize)]
enum Data {
    Found(Found),
}

/// Searches as a program does.
async fn find(person: &Person, chat: ChatId, query: &str) -> Result<Found, (StatusCode, Problem)> {
    let asked = person.http.get(format!("http://{}/chat/{chat}?{query}", person.address));
    let answer =
        asked.header(COOKIE, &person.cookie).header(ACCEPT, "application/json").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    if status == StatusCode::OK {
        let Data::Found(found) = serde_json::from_str(&text).unwrap();
        return Ok(found);
    }
    match serde_json::from_str(&text).unwrap() {
        ServerFrame::Refused { problem, .. } => Err((status, problem)),
        other => panic!("not refused but {other:?}"),
    }
}

/// Returns the messages that are found, each as its excerpt with brackets around the words.
async fn excerpts(person: &Person, chat: ChatId, query: &str) -> Vec<String> {
    let found = find(person, chat, query).await.unwrap();
    let bracketed = |Part { text, is_found }: Part| if is_found { format!("[{text}]") } else { text };
    let excerpt = |hit: Hit| -> String { hit.excerpt.into_iter().map(bracketed).collect() };
    found.hits.into_iter().map(excerpt).collect()
}

async fn say(client: &mut Client, chat: ChatId, texts: &[&str]) -> Vec<Seq> {
    let mut said = Vec::new();
    for text in texts {
        let number = client_id(said.len() as u64);
        said.push(client.post(chat, number, text).await.unwrap());
    }
    said
}

#[tokio::test]
async fn words_are_found_by_a_form_alone_with_the_lines_around() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea & cake").await;
    let mut here = ana.watch(chat).await;
    let texts = ["far before", "just before", "Shall we have TEA & <b>cake</b>?", "just after", "far after"];
    let said = say(&mut here, chat, &texts).await;
    let page = ana.get(&format!("/chat/{chat}?search=tea+%26")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    for expected in [
        "Tea &amp; cake</h1>",
        "value=\"tea &amp;\"",
        "aria-label=\"Search this chat\"",
        "aria-label=\"Found\"",
        "1 found",
        "Shall we have <mark>TEA</mark> <mark>&amp;</mark> &lt;b&gt;cake&lt;/b&gt;?",
        "just before",
        "just after",
        &format!("href=\"/chat/{chat}?at={}\"", said[2]),
        "?mentions",
    ] {
        assert!(page.text.contains(expected), "{expected} is not in {}", page.text);
    }
    for left_out in ["far before", "far after", "Look further back", "boot.js", "<b>"] {
        assert!(!page.text.contains(left_out), "{left_out} is in {}", page.text);
    }
    let empty = ana.get(&format!("/chat/{chat}?search=")).await.text;
    assert!(empty.contains("Search this chat") && !empty.contains("Nothing found"), "{empty}");
    let nothing = ana.get(&format!("/chat/{chat}?search=coffee")).await.text;
    assert!(nothing.contains("Nothing found"), "{nothing}");
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains(&format!("href=\"/chat/{chat}?search=\"")), "{page}");
}

#[tokio::test]
async fn a_search_goes_on_where_it_ended() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let texts: Vec<_> = (0..45).map(|number| format!("tea {number}.")).collect();
    let said = say(&mut here, chat, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut found = Vec::new();
    let mut query = "search=TEA".to_owned();
    for expected in [20, 20, 5] {
        let part = find(&ana, chat, &query).await.unwrap();
        assert_eq!(part.hits.len(), expected);
        found.extend(part.hits.iter().map(|hit| hit.event.seq));
        assert_eq!(part.next.is_some(), expected == 20);
        query = part.next.map(|next| format!("search=TEA&before={next}")).unwrap_or_default();
    }
    assert_eq!(found, said.iter().rev().copied().collect::<Vec<_>>(), "newest first");
    let page = ana.get(&format!("/chat/{chat}?search=TEA")).await.text;
    let next = page.split_once("name=\"before\" value=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(page.contains("20 found") && page.contains("<mark>tea</mark> 25."), "{page}");
    let page = ana.get(&format!("/chat/{chat}?search=TEA&before={next}")).await.text;
    assert!(page.contains("<mark>tea</mark> 24.") && !page.contains("<mark>tea</mark> 25."), "{page}");
}

#[tokio::test]
async fn what_is_said_now_is_found_and_what_was_said_before_is_not() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut here, mut there) = (ana.watch(chat).await, bea.watch(chat).await);
    let said = say(&mut here, chat, &["a secret word", "a word", "a silly word"]).await;
    say(&mut there, chat, &["one more word"]).await;
    here.do_it(ClientCommand::RemoveMessage { chat, message: said[0] }).await.unwrap();
    let edit =
        ClientCommand::EditMessage { chat, message: said[2], body: "a wise word".to_owned(), mentions: None };
    here.do_it(edit).await.unwrap();
    let all = ["one more [word]", "a wise [word]", "a [word]"];
    assert_eq!(excerpts(&ana, chat, "search=word").await, all);
    for gone in ["secret", "silly"] {
        assert!(excerpts(&ana, chat, &format!("search={gone}")).await.is_empty(), "{gone}");
    }
    here.do_it(ClientCommand::SetHidden { person: there.me.id, is_hidden: true }).await.unwrap();
    assert_eq!(excerpts(&ana, chat, "search=word").await, all[1..]);
    let beside = find(&ana, chat, "search=wise").await.unwrap().hits;
    assert_eq!(beside[0].after, None, "what is hidden is no line around either");
    let server = server.restart().await;
    let ana = Person { address: server.address(), ..ana };
    assert_eq!(excerpts(&ana, chat, "search=wise+WORD").await, ["a [wise] [word]"]);
}

#[tokio::test]
async fn answers_to_a_user_are_found_as_their_mentions() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut here, mut there) = (ana.watch(chat).await, bea.watch(chat).await);
    let said = say(&mut here, chat, &["who is for tea?", "nobody?"]).await;
    let mut answer = async |number, body: &str, reply_to| {
        let post = ClientCommand::Post {
            chat,
            client_id: client_id(number),
            body: body.to_owned(),
            waited_millis: 0,
            reply_to,
            mentions: Some(Vec::new()),
            pictures: Vec::new(),
            is_action: false,
        };
        there.do_it(post).await.unwrap()
    };
    answer(1, "me", Some(said[0])).await;
    answer(2, "as I said", None).await;
    answer(3, "me too", Some(said[1])).await;
    assert_eq!(excerpts(&ana, chat, "mentions").await, ["me too", "me"]);
    assert!(excerpts(&bea, chat, "mentions").await.is_empty());
    let page = ana.get(&format!("/chat/{chat}?mentions")).await.text;
    assert!(page.contains("2 found") && page.contains("aria-current=\"page\""), "{page}");
}

#[tokio::test]
async fn a_search_that_cannot_be_made_says_why_and_keeps_the_words() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut here, there) = (ana.watch(chat).await, bea.watch(chat).await);
    let long = "é".repeat(101);
    let page = ana.get(&format!("/chat/{chat}?search={long}")).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains(&Problem::SearchTooLong.to_string()), "{}", page.text);
    assert!(page.text.contains(&format!("value=\"{long}\"")), "{}", page.text);
    let too_long = (StatusCode::UNPROCESSABLE_ENTITY, Problem::SearchTooLong);
    assert_eq!(find(&ana, chat, "search=a+b+c+d+e+f+g+h+i").await, Err(too_long));
    let nowhere = ChatId::from_bytes(client_id(9).bytes());
    assert_eq!(find(&ana, nowhere, "search=tea").await, Err((StatusCode::NOT_FOUND, Problem::UnknownChat)));
    let person = there.me.id;
    here.do_it(ClientCommand::SetRemoved { chat, person, is_removed: true }).await.unwrap();
    assert_eq!(find(&bea, chat, "mentions").await, Err((StatusCode::FORBIDDEN, Problem::Removed)));
    let page = bea.get(&format!("/chat/{chat}?search=tea")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("Removed from this chat"), "{}", page.text);
}

#[tokio::test]
async fn a_search_costs_as_much_as_some_pages() {
    let server = TestServer::start_by(|settings| settings.rates.page = "12/h".parse().unwrap()).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    for query in ["search=tea", "mentions", "search=", "search=+"] {
        assert!(find(&ana, chat, query).await.is_ok(), "{query}");
    }
    let page = ana.get(&format!("/chat/{chat}?search=tea")).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = page.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!(page.text.contains(&Problem::TooFast { seconds }.to_string()), "{}", page.text);
    assert!(find(&bea, chat, "search=tea").await.is_ok(), "others are not concerned");
}
