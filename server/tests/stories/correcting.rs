//! Editing by a form, and whom messages mention: by names, by ids, on pages and after a restart.

use domain::{
    ChatId, EventKind, MarkKind, Message, Problem, Seq, UserId,
    frame::{ClientCommand, Cursor},
    message::MENTIONS_LIMIT,
};
use reqwest::{StatusCode, header::LOCATION};

use crate::support::{Client, Person, TestServer, client_id};

fn post(chat: ChatId, number: u64, body: &str, mentions: Option<Vec<UserId>>) -> ClientCommand {
    let mut post = ClientCommand::post(chat, client_id(number), body.to_owned(), 0);
    if let ClientCommand::Post { mentions: chosen, .. } = &mut post {
        *chosen = mentions;
    }
    post
}

fn edit(chat: ChatId, message: Seq, body: &str, mentions: Option<Vec<UserId>>) -> ClientCommand {
    ClientCommand::EditMessage { chat, message, body: body.to_owned(), mentions }
}

fn nickname(name: &str) -> ClientCommand {
    ClientCommand::SetNickname { nickname: name.to_owned() }
}

fn form<'a>(chat: &'a str, message: &'a str, body: &'a str) -> [(&'static str, &'a str); 3] {
    [("chat", chat), ("message", message), ("body", body)]
}

/// What a message mentions: the names as they are in its text, each with the user who is meant.
fn mentioned(message: &Message) -> Vec<(String, UserId)> {
    let marks = message.marks.iter().filter(|mark| mark.0 == MarkKind::Mention);
    let text = |from: u16, to: u16| message.body.as_str()[usize::from(from)..usize::from(to)].to_owned();
    marks.map(|mark| text(mark.1, mark.2)).zip(message.mentions.iter().copied()).collect()
}

/// Returns the next message that a client is sent.
async fn next(client: &mut Client) -> Message {
    loop {
        if let EventKind::Said(said) = client.event().await.kind {
            return *said;
        }
    }
}

/// A chat of Ana's in which Ana and Bea are, by these names.
async fn two_in_a_chat(server: &TestServer) -> (ChatId, (Person, Client), (Person, Client)) {
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (ana_here, mut bea_here) = (ana.watch(chat).await, bea.watch(chat).await);
    bea_here.do_it(nickname("Bea Maria")).await.unwrap();
    (chat, (ana, ana_here), (bea, bea_here))
}

#[tokio::test]
async fn who_is_named_after_an_at_sign_is_mentioned_if_they_are_here_or_have_spoken() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    let (ana_id, bea_id) = (ana_here.me.id, bea_here.me.id);
    ana_here.do_it(post(chat, 1, "hi @bea maria, `@Bea Maria` and @nobody", None)).await.unwrap();
    assert_eq!(mentioned(&next(&mut bea_here).await), [("@bea maria".to_owned(), bea_id)]);
    bea_here.do_it(post(chat, 2, "**@Ana**", None)).await.unwrap();
    drop(bea_here);
    assert_eq!(mentioned(&next(&mut ana_here).await).len(), 1, "her own");
    assert_eq!(mentioned(&next(&mut ana_here).await), [("@Ana".to_owned(), ana_id)]);

    // Bea is away by now, and known by what she has said.
    let server = server.restart().await;
    let cy = server.person().await;
    let mut cy_here = cy.watch(chat).await;
    cy_here.do_it(post(chat, 3, "@Bea Maria?", None)).await.unwrap();
    assert_eq!(mentioned(&next(&mut cy_here).await), [("@Bea Maria".to_owned(), bea_id)]);
    let found = Person { address: cy.address, ..bea }.get(&format!("/chat/{chat}?mentions")).await;
    assert!(found.text.contains("2 found"), "{}", found.text);
}

#[tokio::test]
async fn of_two_with_one_name_the_chosen_one_is_meant_and_strangers_never_are() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (_, bea_here)) = two_in_a_chat(&server).await;
    let other = server.person().await;
    let mut other_here = other.watch(chat).await;
    other_here.do_it(nickname("Bea Maria")).await.unwrap();
    let stranger = server.person().await.connect().await;
    for (number, chosen) in [(1, bea_here.me.id), (2, other_here.me.id)] {
        ana_here.do_it(post(chat, number, "@Bea Maria", Some(vec![chosen]))).await.unwrap();
        assert_eq!(mentioned(&next(&mut ana_here).await), [("@Bea Maria".to_owned(), chosen)]);
    }
    let name = stranger.me.nickname.to_string();
    for (number, text, chosen) in
        [(3, format!("@{name}"), vec![stranger.me.id]), (4, "@Bea Maria".to_owned(), Vec::new())]
    {
        ana_here.do_it(post(chat, number, &text, Some(chosen))).await.unwrap();
        assert_eq!(mentioned(&next(&mut ana_here).await), []);
    }
    // Others are found beside the one who was chosen.
    other_here.do_it(post(chat, 5, "@Bea Maria and @Ana", Some(vec![bea_here.me.id]))).await.unwrap();
    let both = [("@Bea Maria".to_owned(), bea_here.me.id), ("@Ana".to_owned(), ana_here.me.id)];
    assert_eq!(mentioned(&next(&mut ana_here).await), both);
}

#[tokio::test]
async fn a_message_mentions_so_many_and_no_more() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (_, bea_here)) = two_in_a_chat(&server).await;
    let text = "@Bea Maria ".repeat(MENTIONS_LIMIT + 5);
    ana_here.do_it(post(chat, 1, &text, None)).await.unwrap();
    let said = next(&mut ana_here).await;
    assert_eq!(said.mentions, [bea_here.me.id; MENTIONS_LIMIT]);
    assert_eq!(mentioned(&said).len(), MENTIONS_LIMIT);
}

#[tokio::test]
async fn an_edit_keeps_those_whom_the_message_meant_whatever_they_are_called_now() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let bea_id = bea_here.me.id;
    let before = ana_here.do_it(post(chat, 1, "@Bea Maria, tea?", None)).await.unwrap();
    bea_here.do_it(nickname("Bee")).await.unwrap();
    ana_here.do_it(edit(chat, before, "@Bea Maria, cake?", None)).await.unwrap();
    let wording = loop {
        if let EventKind::MessageEdited { wording: Some(wording), .. } = bea_here.event().await.kind {
            break wording;
        }
    };
    assert_eq!((wording.body.as_str(), &*wording.mentions), ("@Bea Maria, cake?", &[bea_id][..]));
    let history = server.person().await.connect().await.watch(chat, None).await.unwrap();
    let said = history.events.iter().find(|event| event.seq == before).and_then(|event| event.kind.message());
    assert!(said.is_some_and(|said| said.edited_at.is_some() && said.mentions == [bea_id]));
}

#[tokio::test]
async fn whoever_is_meant_has_a_page_of_their_own() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (bea, bea_here)) = two_in_a_chat(&server).await;
    let bea_id = bea_here.me.id;
    drop(bea_here);
    ana_here.do_it(post(chat, 1, "@Bea Maria, tea?", Some(vec![bea_id]))).await.unwrap();
    let path = format!("/chat/{chat}");
    let stranger = server.person().await;
    // The second one is from the cache.
    for person in [&stranger, &server.person().await] {
        assert!(!person.get(&path).await.text.contains("to-me"), "not for others");
    }
    assert!(bea.get(&path).await.text.contains("to-me"));
    assert!(!ana.get(&path).await.text.contains("to-me"), "it is her own");
}

#[tokio::test]
async fn a_message_is_edited_by_a_form() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (bea, _bea_here)) = two_in_a_chat(&server).await;
    let said = ana_here.post(chat, client_id(1), "Tae <at> five?").await.unwrap();
    let theirs = ana_here.post(chat, client_id(2), "And cake").await.unwrap();
    let address = format!("/chat/{chat}?edit={said}");
    let details = ana.get(&format!("/chat/{chat}?message={said}")).await.text;
    assert!(details.contains(&format!("href=\"{address}\"")), "{details}");
    let page = ana.get(&address).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    for part in [
        "action=\"/api/edit_message\"",
        "aria-label=\"Message\"",
        "Tae &lt;at&gt; five?",
        ">Save<",
        ">Cancel<",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }

    let (id, seq) = (chat.to_string(), said.to_string());
    let answer = ana.submit("/api/edit_message", &form(&id, &seq, "Tea at five, @Bea Maria?")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(answer.headers[LOCATION], format!("/chat/{chat}?at={said}").as_str());
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("Tea at five") && !page.contains("Tae") && page.contains(">edited<"), "{page}");
    assert!(bea.get(&format!("/chat/{chat}")).await.text.contains("to-me"), "a form mentions as well");

    for (body, status, sentence) in [
        ("", StatusCode::UNPROCESSABLE_ENTITY, Problem::MessageEmpty),
        (&*"x".repeat(4_001), StatusCode::UNPROCESSABLE_ENTITY, Problem::MessageTooLong),
    ] {
        let refused = ana.submit("/api/edit_message", &form(&id, &seq, body)).await;
        assert_eq!(refused.status, status);
        assert!(
            refused.text.contains(&sentence.to_string()) && refused.text.contains(body),
            "{}",
            refused.text
        );
    }
    let refused = bea.submit("/api/edit_message", &form(&id, &seq, "mine & more")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("mine &amp; more"), "nothing that was written is lost: {}", refused.text);
    assert_eq!(bea.get(&address).await.status, StatusCode::FORBIDDEN);

    ana_here.do_it(ClientCommand::RemoveMessage { chat, message: theirs }).await.unwrap();
    let gone = ana.get(&format!("/chat/{chat}?edit={theirs}")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let never = ana.get(&format!("/chat/{chat}?edit=99999")).await;
    assert_eq!(never.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_edit_in_a_locked_chat_is_refused_and_comes_back_as_it_was_written() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    let said = bea_here.post(chat, client_id(1), "hello").await.unwrap();
    ana_here.do_it(ClientCommand::SetLock { chat, is_locked: true }).await.unwrap();
    assert_eq!(bea_here.do_it(edit(chat, said, "good bye", None)).await, Err(Problem::ChatLocked));
    let (id, seq) = (chat.to_string(), said.to_string());
    let refused = bea.submit("/api/edit_message", &form(&id, &seq, "good bye")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("good bye"), "{}", refused.text);
    assert_eq!(bea.get(&format!("/chat/{chat}?edit={said}")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_message_whose_removal_was_undone_is_there_once_and_says_that_it_was_given_anew() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let before = ana.connect().await.watch(chat, None).await.unwrap();
    let said = ana_here.do_it(post(chat, 1, "@Bea Maria, tea?", None)).await.unwrap();
    let removal = ana_here.do_it(ClientCommand::RemoveMessage { chat, message: said }).await.unwrap();
    let restore = ClientCommand::RestoreMessage {
        chat,
        message: said,
        removal,
        body: "@Bea Maria, tea?".to_owned(),
        reply_to: None,
        mentions: Some(vec![bea_here.me.id]),
        pictures: Vec::new(),
        is_action: false,
    };
    ana_here.do_it(restore).await.unwrap();
    let restored = loop {
        if let EventKind::MessageRestored { said: Some(said), .. } = bea_here.event().await.kind {
            break said;
        }
    };
    assert_eq!(restored.mentions, [bea_here.me.id]);
    assert!(restored.edited_at.is_some(), "it may be other words");
    // Whoever resumes over all of it has the message once.
    let mut late = ana.connect().await;
    assert!(late.watch(chat, Some(Cursor::new(before.epoch, before.seq))).await.is_none());
    let missed = late.events(3).await;
    let mut timeline = late.timeline(before);
    for event in missed {
        timeline.apply(event);
    }
    let said = timeline.event(said).and_then(|event| event.kind.message());
    assert!(said.is_some_and(|said| said.body.as_str() == "@Bea Maria, tea?"));
}
