//! Messages that are answered, edited, restored and reacted to: what others are sent, and what a restart leaves.

use domain::{
    ChatId, Event, EventKind, Message, Problem, Seq,
    frame::{ClientCommand, Cursor, ServerFrame},
};
use reqwest::StatusCode;

use crate::{
    polling::ask,
    support::{Client, Person, TestServer, client_id},
};

/// Returns the message at a position, or `None` if there is none.
fn message_at(events: &[Event], seq: Seq) -> Option<&Message> {
    events.iter().find(|event| event.seq == seq)?.kind.message()
}

fn answers(chat: ChatId, number: u64, body: &str, to: Seq) -> ClientCommand {
    let mut post = ClientCommand::post(chat, client_id(number), body.to_owned(), 0);
    if let ClientCommand::Post { reply_to, .. } = &mut post {
        *reply_to = Some(to);
    }
    post
}

fn edit(chat: ChatId, message: Seq, body: &str) -> ClientCommand {
    ClientCommand::EditMessage { chat, message, body: body.to_owned(), mentions: None }
}

fn restore(chat: ChatId, message: Seq, removal: Seq, body: &str) -> ClientCommand {
    ClientCommand::RestoreMessage {
        chat,
        message,
        removal,
        body: body.to_owned(),
        reply_to: None,
        mentions: None,
        pictures: Vec::new(),
        is_action: false,
    }
}

fn react(chat: ChatId, message: Seq, emoji: &str, is_on: bool) -> ClientCommand {
    ClientCommand::React { chat, message, emoji: emoji.to_owned(), is_on }
}

/// A chat of Ana's in which Ana and Bea are.
async fn two_in_a_chat(server: &TestServer) -> (ChatId, (Person, Client), (Person, Client)) {
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (ana_here, bea_here) = (ana.watch(chat).await, bea.watch(chat).await);
    (chat, (ana, ana_here), (bea, bea_here))
}

#[tokio::test]
async fn an_answer_quotes_what_it_answers_as_that_is_now() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let first = ana_here.post(chat, client_id(1), "Tea at five?").await.unwrap();
    let answer = bea_here.do_it(answers(chat, 2, "yes", first)).await.unwrap();
    let quote =
        |event: &Event| event.kind.message().unwrap().quote.clone().map(|quote| quote.line.to_string());
    let seen = ana_here.events(2).await;
    assert_eq!(quote(&seen[1]).as_deref(), Some("Tea at five?"));
    assert_eq!(message_at(&seen, answer).unwrap().reply_author, Some(ana_here.me.id));
    ana_here.do_it(edit(chat, first, "Tea at six?")).await.unwrap();

    let server = server.restart().await;
    let late = server.person().await;
    let mut late_here = late.connect().await;
    let history = late_here.watch(chat, None).await.unwrap();
    assert_eq!(message_at(&history.events, first).unwrap().body.as_str(), "Tea at six?");
    let answer_now = history.events.iter().find(|event| event.seq == answer).unwrap();
    assert_eq!(quote(answer_now).as_deref(), Some("Tea at six?"));
    assert_eq!(late_here.do_it(answers(chat, 3, "no", Seq(999))).await, Err(Problem::ReplyGone));
}

#[tokio::test]
async fn what_was_edited_is_nowhere_as_it_was() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let before = ana.connect().await.watch(chat, None).await.unwrap();
    let message = bea_here.post(chat, client_id(1), "a secret told to all").await.unwrap();
    assert_eq!(ana_here.do_it(edit(chat, message, "mine")).await, Err(Problem::NotAuthor));
    for text in ["a secret told to some", "good morning"] {
        bea_here.do_it(edit(chat, message, text)).await.unwrap();
    }
    let seen = ana_here.events(3).await;
    let EventKind::MessageEdited { message: edited, wording: Some(wording) } = &seen[1].kind else {
        panic!("not edited: {:?}", seen[1]);
    };
    assert_eq!((*edited, seen[1].prev), (message, seen[0].seq));
    assert!(["a secret told to some", "good morning"].contains(&wording.body.as_str()));
    // Whoever was away gets each edit with the words of now.
    let mut late = ana.connect().await;
    assert!(late.watch(chat, Some(Cursor::new(before.epoch, before.seq))).await.is_none());
    let missed = late.events(3).await;
    let text = serde_json::to_string(&missed).unwrap();
    assert!(!text.contains("secret") && text.matches("good morning").count() == 3, "{text}");
    let server = server.restart().await;
    let page = server.person().await.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("good morning") && !page.contains("secret"), "{page}");
}

#[tokio::test]
async fn a_removal_is_taken_back_by_whoever_removed_their_own() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let message = bea_here.post(chat, client_id(1), "hello").await.unwrap();
    let removal = bea_here.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    assert_eq!(ana_here.do_it(restore(chat, message, removal, "no")).await, Err(Problem::NotAuthor));
    bea_here.do_it(restore(chat, message, removal, "hello")).await.unwrap();
    assert!(bea_here.do_it(restore(chat, message, removal, "hello")).await.is_ok(), "sent twice");
    let seen = ana_here.events(3).await;
    let EventKind::MessageRestored { message: restored, said: Some(said) } = &seen[2].kind else {
        panic!("not restored: {:?}", seen[2]);
    };
    assert_eq!((*restored, said.body.as_str(), said.author), (message, "hello", bea_here.me.id));
    let timeline = ana_here.timeline(ana.connect().await.watch(chat, None).await.unwrap());
    assert_eq!(timeline.rows(|_| 0).len(), 2, "the start of the chat, and the message");
    bea_here.post(chat, client_id(2), "again").await.unwrap();
    let server = server.restart().await;
    let page = server.person().await.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("hello") && !page.contains("Message removed"), "{page}");
}

#[tokio::test]
async fn reactions_are_stored_and_are_nothing_that_happens_in_the_chat() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let message = ana_here.post(chat, client_id(1), "hello").await.unwrap();
    for (emoji, is_on) in [("\u{1f44d}", true), ("\u{1f44d}", true), ("\u{2764}", true), ("\u{1f44d}", false)]
    {
        bea_here.do_it(react(chat, message, emoji, is_on)).await.unwrap();
    }
    for text in ["abc", "1", "", "\u{1f44d}\u{1f44d}"] {
        assert_eq!(
            bea_here.do_it(react(chat, message, text, true)).await,
            Err(Problem::NotAnEmoji),
            "{text}"
        );
    }
    let gone = Err(Problem::MessageGone);
    assert_eq!(bea_here.do_it(react(chat, Seq(999), "\u{1f44d}", true)).await, gone);
    let last = bea_here.post(chat, client_id(2), "bye").await.unwrap();
    let seen = ana_here.events(2).await;
    assert_eq!((seen[1].seq, seen[1].prev), (last, message), "nothing between them");
}

#[tokio::test]
async fn what_a_message_has_is_asked_for_by_requests_as_well() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), _) = two_in_a_chat(&server).await;
    let first = ana_here.post(chat, client_id(1), "Tea?").await.unwrap();
    let post = serde_json::to_string(&answers(chat, 2, "yes", first)).unwrap();
    assert!(matches!(ask(&ana, &post).await, (StatusCode::OK, ServerFrame::Done { .. })));
    let pictures = format!(
        r#"{{"post":{{"chat":"{chat}","client_id":"{}","body":"","pictures":[{{"ticket":"AQ"}}]}}}}"#,
        client_id(3)
    );
    let (status, frame) = ask(&ana, &pictures).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(matches!(frame, ServerFrame::Refused { problem: Problem::PictureExpired, .. }), "{frame:?}");
}
