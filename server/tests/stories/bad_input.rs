//! What should not come in: each gets an answer that names what is wrong, and the server goes on.

use domain::{
    ChatId, Problem,
    frame::{Ask, ClientFrame, FRAME_LIMIT, ServerFrame, VERSION, WATCH_LIMIT},
    id::ID_BYTES,
    text::{BODY_LIMIT, NICKNAME_LIMIT},
};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{self, Message, protocol::CloseFrame};

use crate::support::{
    Client, TestServer, bodies,
    client::{Wire, handshake, open, soon},
    client_id,
};

const NOWHERE: ChatId = ChatId::from_bytes([9; ID_BYTES]);

async fn refusal(client: &mut Client) -> Problem {
    client
        .find(|frame| match frame {
            ServerFrame::Refused { code, message, .. } => {
                assert_eq!(*message, code.to_string(), "the sentence is that of the problem");
                Some(*code)
            }
            _ => None,
        })
        .await
}

/// What a server says before it closes, and with what code.
async fn last_words(mut wire: Wire) -> (Option<Problem>, Option<u16>) {
    let mut problem = None;
    while let Some(Ok(message)) = soon(wire.next()).await {
        match message {
            Message::Text(text) => {
                if let ServerFrame::Refused { code, .. } = serde_json::from_str(&text).unwrap() {
                    problem = Some(code);
                }
            }
            Message::Close(frame) => return (problem, frame.map(|CloseFrame { code, .. }| code.into())),
            _ => {}
        }
    }
    (problem, None)
}

async fn status_of(handshake: Result<Wire, tungstenite::Error>) -> (u16, String) {
    match handshake {
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn a_handshake_without_a_session_or_from_elsewhere_is_refused() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let address = server.address();

    let forged = person.cookie.replace("qchat_session=", "qchat_session=A");
    for cookie in [None, Some(forged.as_str()), Some("qchat_session="), Some("other=1")] {
        let wire = open(handshake(address, cookie)).await.unwrap();
        assert_eq!(last_words(wire).await, (Some(Problem::NoSession), Some(4401)), "{cookie:?}");
    }

    let mut elsewhere = handshake(address, Some(&person.cookie));
    elsewhere.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    let (status, body) = status_of(open(elsewhere).await).await;
    assert_eq!(status, 403);
    assert!(body.contains("cross_origin"), "{body}");

    let mut here = handshake(address, Some(&person.cookie));
    here.headers_mut().insert("origin", format!("http://{address}").parse().unwrap());
    open(here).await.unwrap();
}

#[tokio::test]
async fn what_cannot_go_on_ends_with_a_reason() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let hello = format!(r#"{{"hello":{{"version":{VERSION}}}}}"#);
    let cases: [(&str, Vec<Message>, Problem, u16); 4] = [
        (
            "not hello",
            vec![Message::text(format!(r#"{{"unwatch":{{"chat":"{NOWHERE}"}}}}"#))],
            Problem::HelloFirst,
            4400,
        ),
        ("version", vec![Message::text(r#"{"hello":{"version":999}}"#)], Problem::UnknownVersion, 4400),
        (
            "binary",
            vec![Message::text(hello.clone()), Message::binary(vec![1, 2])],
            Problem::BinaryFrame,
            1003,
        ),
        (
            "large",
            vec![Message::text(hello.clone()), Message::text("x".repeat(FRAME_LIMIT + 1))],
            Problem::FrameTooLarge,
            1009,
        ),
    ];
    for (name, messages, problem, code) in cases {
        let mut wire = open(handshake(server.address(), Some(&person.cookie))).await.unwrap();
        for message in messages {
            wire.send(message).await.unwrap();
        }
        assert_eq!(last_words(wire).await, (Some(problem), Some(code)), "{name}");
    }
    // everybody else goes on
    let chat = person.start_chat("Ana", "Tea").await;
    person.watch(chat).await.post(chat, client_id(1), "still here").await.unwrap();
}

#[tokio::test]
async fn a_frame_that_is_none_is_answered_and_the_connection_goes_on() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let chat = person.start_chat("Ana", "Tea").await;
    let mut client = person.watch(chat).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let bad_id = r#"{"watch":{"chat":"no id"}}"#;
    for bad in ["", "{", "null", "[]", "\"beat\"", r#"{"hello":{}}"#, r#"{"nothing":1}"#, bad_id, &deep] {
        client.wire.send(Message::text(bad)).await.unwrap();
        assert_eq!(refusal(&mut client).await, Problem::BadFrame, "{}", &bad[..bad.len().min(40)]);
    }
    client.post(chat, client_id(1), "still here").await.unwrap();
}

#[tokio::test]
async fn the_largest_frame_and_message_are_taken() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let chat = person.start_chat("Ana", "Tea").await;
    let mut client = person.watch(chat).await;
    let longest = "\u{1F600}".repeat(BODY_LIMIT);
    client.post(chat, client_id(1), &longest).await.unwrap();
    assert_eq!(bodies([&client.event().await]), [longest]);
    let hello = format!(r#"{{"hello":{{"version":{VERSION}}}}}"#);
    client
        .wire
        .send(Message::text(format!("{hello}{}", " ".repeat(FRAME_LIMIT - hello.len()))))
        .await
        .unwrap();
    client.find(|frame| matches!(frame, ServerFrame::Welcome { .. }).then_some(())).await;
}

#[tokio::test]
async fn texts_are_checked_by_the_server_whatever_the_client_does() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let chat = person.start_chat("Ana", "Tea").await;
    let mut client = person.watch(chat).await;
    for (body, problem) in [
        ("", Problem::MessageEmpty),
        (" \n\u{200b}", Problem::MessageEmpty),
        ("bell \u{7}", Problem::MessageNotPlain),
        (&"x".repeat(BODY_LIMIT + 1), Problem::MessageTooLong),
    ] {
        assert_eq!(client.post(chat, client_id(1), body).await, Err(problem));
    }
    for (nickname, problem) in [
        ("", Problem::NicknameEmpty),
        ("a\nb", Problem::NicknameNotPlain),
        (&"x".repeat(NICKNAME_LIMIT + 1), Problem::NicknameTooLong),
    ] {
        let command = Ask::SetNickname { nickname: nickname.to_owned() };
        client.send(&ClientFrame::Do { request: 77, command }).await;
        assert_eq!(client.answer(77).await, Err(problem));
    }
    client.post(chat, client_id(1), "right").await.unwrap();
    assert_eq!(bodies([&client.event().await]), ["right"], "nothing of the rest was stored");
}

#[tokio::test]
async fn an_unknown_chat_is_told_apart() {
    let server = TestServer::start().await;
    let mut client = server.person().await.connect().await;
    assert_eq!(client.post(NOWHERE, client_id(1), "hello").await, Err(Problem::UnknownChat));
    client.send(&ClientFrame::Watch { chat: NOWHERE, after: None }).await;
    assert_eq!(refusal(&mut client).await, Problem::UnknownChat);
}

#[tokio::test]
async fn one_connection_follows_so_many_chats_and_no_more() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let mut client = person.connect().await;
    let mut chats = Vec::new();
    for number in 0..=WATCH_LIMIT {
        chats.push(person.start_chat("Ana", &number.to_string()).await);
    }
    for chat in &chats[..WATCH_LIMIT] {
        client.watch(*chat, None).await;
    }
    client.watch(chats[0], None).await;
    client.send(&ClientFrame::Watch { chat: chats[WATCH_LIMIT], after: None }).await;
    assert_eq!(refusal(&mut client).await, Problem::TooManyChats);
    client.send(&ClientFrame::Unwatch { chat: chats[0] }).await;
    client.watch(chats[WATCH_LIMIT], None).await;
}
