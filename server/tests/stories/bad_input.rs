//! Invalid input: each is answered with a problem, and the server goes on.

use domain::{
    ChatId, Problem,
    frame::{ClientCommand, ClientFrame, FRAME_LIMIT, ServerFrame, VERSION, WATCH_LIMIT},
    id::ID_BYTES,
    text::{BODY_LIMIT, NICKNAME_LIMIT},
};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::support::{
    Client, TestServer, bodies,
    client::{Wire, handshake, last_words, open},
    client_id,
};

const NOWHERE: ChatId = ChatId::from_bytes([9; ID_BYTES]);

async fn refusal(client: &mut Client) -> Problem {
    client
        .find(|frame| match frame {
            ServerFrame::Refused { problem, .. } => Some(*problem),
            _ => None,
        })
        .await
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
async fn a_connection_that_cannot_go_on_is_closed_with_a_reason() {
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
    // Other connections are not affected.
    let chat = person.start_chat("Ana", "Tea").await;
    person.watch(chat).await.post(chat, client_id(1), "still here").await.unwrap();
}

#[tokio::test]
async fn an_invalid_frame_is_answered_and_the_connection_goes_on() {
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
        let command = ClientCommand::SetNickname { nickname: nickname.to_owned() };
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
async fn the_chats_that_one_connection_watches_are_limited() {
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

#[tokio::test]
async fn a_thousand_renames_in_a_row_are_one_line_and_hold_no_reader_up() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut restless, mut watching) = (ana.watch(chat).await, bea.connect().await);
    let mut timeline = {
        let history = watching.watch(chat, None).await.unwrap();
        watching.timeline(history)
    };
    for request in 0..1_000_u64 {
        let command = ClientCommand::SetNickname { nickname: format!("Ana {request}") };
        restless.send(&ClientFrame::Do { request: 5_000 + request, command }).await;
        if request % 16 == 15 {
            restless.answer(5_000 + request).await.unwrap();
        }
    }
    restless.answer(5_999).await.unwrap();
    watching.post(chat, client_id(1), "and still one talks").await.unwrap();
    while timeline.has_no_messages() && bodies([&watching.event().await]).is_empty() {}
    let fresh = bea.connect().await.watch(chat, None).await.unwrap();
    timeline.reset(fresh);
    assert_eq!(timeline.rows(|_| 0).len(), 2, "one line for all of them, and one for what was said");
}

#[tokio::test]
async fn names_that_would_deceive_are_refused_and_those_of_every_script_are_taken() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut client = ana.watch(chat).await;
    for deceiving in ["Ana\u{202e}", "\u{2066}Ana", "A\u{200b}na", "Ana\u{feff}", "\u{200f}Ana", "Ana\u{0}"] {
        let nickname = ClientCommand::SetNickname { nickname: deceiving.to_owned() };
        assert_eq!(client.do_it(nickname).await, Err(Problem::NicknameNotPlain), "{deceiving:?}");
        let title = ClientCommand::EditTitle { chat, title: deceiving.to_owned() };
        assert_eq!(client.do_it(title).await, Err(Problem::TitleNotPlain), "{deceiving:?}");
    }
    for name in ["آنا‌ماریا", "אנה", "अन्ना", "安娜", "👩‍🚀🏳️‍🌈", "e\u{301}\u{302}", "<script>&amp;"]
    {
        client.do_it(ClientCommand::SetNickname { nickname: name.to_owned() }).await.unwrap();
        client.do_it(ClientCommand::EditTitle { chat, title: name.to_owned() }).await.unwrap();
        let page = ana.get(&format!("/chat/{chat}")).await.text;
        let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        assert!(page.contains(&format!(">{escaped}</h1>")), "{name}: {page}");
        assert!(ana.get("/").await.text.contains(&format!(">{escaped}</a>")), "{name}");
    }
}

#[tokio::test]
async fn a_text_that_is_not_utf8_ends_with_the_reason_that_is_for_it() {
    let server = TestServer::start().await;
    let person = server.person().await;
    for half in [&[0xff_u8, 0xfe][..], b"\xc3"] {
        let mut wire = open(handshake(server.address(), Some(&person.cookie))).await.unwrap();
        let frame = Frame::message(half.to_vec(), OpCode::Data(Data::Text), true);
        wire.send(Message::Frame(frame)).await.unwrap();
        assert_eq!(last_words(wire).await, (Some(Problem::BadFrame), Some(1007)));
    }
}
