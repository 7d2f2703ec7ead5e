//! Ordinary forms for every command, and their refusals.

use domain::{ChatId, Problem, frame::ServerFrame};
use reqwest::{StatusCode, header::LOCATION};

use crate::support::{Answer, Person, TestServer};

async fn submit(person: &Person, path: &str, form: &[(&str, &str)]) -> Answer {
    person.submit(&format!("/api/{path}"), form).await
}

#[tokio::test]
async fn the_owner_does_everything_by_forms_and_is_led_back() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let here = format!("/chat/{chat}");
    for (path, form) in [
        ("edit_title", [("chat", chat.as_str()), ("title", "Coffee & <b>cake</b>")]),
        ("set_visibility", [("chat", chat.as_str()), ("visibility", "private")]),
        ("set_nickname", [("chat", chat.as_str()), ("nickname", "Anna")]),
    ] {
        let answer = submit(&ana, path, &form).await;
        assert_eq!(
            (answer.status, answer.headers[LOCATION].to_str().unwrap()),
            (StatusCode::SEE_OTHER, &*here)
        );
    }
    let page = ana.get(&here).await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    assert!(html.contains(">Coffee &amp; &lt;b&gt;cake&lt;/b&gt;</h1>"), "{html}");
    assert!(html.contains("made this chat private") && html.contains(">Anna<"), "{html}");
    let home = submit(&ana, "set_nickname", &[("nickname", "Anne"), ("chat", "https://evil.example")]).await;
    assert_eq!(home.headers[LOCATION], "/", "nobody is led elsewhere");
}

#[tokio::test]
async fn other_users_are_refused_in_words_and_nothing_changes() {
    let server = TestServer::start().await;
    let (ana, eve) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    for (path, field, value) in [("edit_title", "title", "Mine"), ("set_visibility", "visibility", "private")]
    {
        let answer = submit(&eve, path, &[("chat", &chat), (field, value)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("Only the owner of this chat can do that."), "{}", answer.text);
        let nowhere = submit(&ana, path, &[("chat", "0000000000000000"), (field, value)]).await;
        assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(submit(&ana, "set_visibility", &[("chat", &chat), ("visibility", "open")]).await.status, 400);
    let page = eve.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains(">Tea</h1>") && page.contains(">Public<"), "{page}");
}

#[tokio::test]
async fn what_is_wrong_comes_back_as_it_was_written() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let long = "W&".repeat(51);
    for (path, field, sentence) in [
        ("edit_title", "title", "The title is too long."),
        ("set_nickname", "nickname", "The nickname is too long."),
    ] {
        let answer = submit(&ana, path, &[("chat", &chat), (field, &long)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains(sentence), "{}", answer.text);
        assert!(
            answer.text.contains(&format!("value=\"{}\"", long.replace('&', "&amp;"))),
            "{}",
            answer.text
        );
    }
    assert_eq!(submit(&ana, "edit_title", &[("chat", &chat)]).await.status, StatusCode::BAD_REQUEST);
    let (id, body) = ("0000000000000000", format!("\n\nfirst{}", "x".repeat(4_000)));
    let answer = submit(&ana, "post_message", &[("chat", &chat), ("client_id", id), ("body", &body)]).await;
    let (_, after) = answer.text.split_once("<textarea").unwrap();
    let (_, text) = after.split_once('>').unwrap();
    assert!(text.starts_with("\n\n\nfirst"), "HTML drops the first line break: {text:.20?}");
}

#[tokio::test]
async fn what_is_far_too_long_comes_back_as_far_as_it_can() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let (long, blank) =
        (format!("first {}", "字".repeat(400_000)), format!("first {}x", " ".repeat(400_000)));
    for (path, field, sentence) in [
        ("post_message", "body", "The message is too long."),
        ("edit_title", "title", "The title is too long."),
        ("set_nickname", "nickname", "The nickname is too long."),
        ("start_chat", "nickname", "The nickname is too long."),
    ] {
        for text in [&long, &blank] {
            let id = "0000000000000000";
            let answer = submit(&ana, path, &[("chat", &chat), ("client_id", id), (field, text)]).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            assert!(answer.text.contains(sentence), "{path}: {:.3000}", answer.text);
            let (_, back) = answer.text.split_once("first ").unwrap();
            let kept = back.chars().take_while(|c| text.contains(*c)).count();
            assert!(kept > 20_000, "{path}: {kept} came back");
        }
    }
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains(">Tea</h1>") && !page.contains("first"), "{page}");
}

#[tokio::test]
async fn without_a_session_no_form_is_accepted() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let anonymous = Person { cookie: String::new(), ..ana.clone() };
    let id = ana.connect().await.me.id.to_string();
    for (path, form) in [
        ("set_nickname", vec![("nickname", "Eve")]),
        ("edit_title", vec![("chat", chat.as_str()), ("title", "Mine")]),
        ("set_visibility", vec![("chat", chat.as_str()), ("visibility", "private")]),
        ("chat_privately", vec![("with", id.as_str())]),
        ("answer_invite", vec![("chat", chat.as_str()), ("answer", "accept")]),
    ] {
        assert_eq!(submit(&anonymous, path, &form).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn what_an_operator_watches_is_there() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let mut lobby = here.enter_lobby("", 0).await;
    here.until_lobby(&mut lobby, |lobby| lobby.counts.people == 1).await;
    let text = ana.get("/metrics").await.text;
    for line in [
        "qchat_people_online 1",
        "qchat_chats_open 1",
        "qchat_connections 1",
        "qchat_ready 1",
        "qchat_task_panics_total{task=\"sweep\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn a_form_that_is_sent_twice_starts_one_chat() {
    let server = TestServer::start_by(|settings| settings.quotas.user_chats = 2).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let page = ana.get("/").await.text;
    let (_, id) = page.split_once("name=\"id\" value=\"").unwrap();
    let (id, _) = id.split_once('"').unwrap();
    let form = [("nickname", "Ana"), ("title", "Tea"), ("id", id)];
    let (first, again) = tokio::join!(submit(&ana, "start_chat", &form), submit(&ana, "start_chat", &form));
    assert_eq!((first.status, again.status), (StatusCode::SEE_OTHER, StatusCode::SEE_OTHER));
    assert_eq!(first.headers[LOCATION], again.headers[LOCATION]);
    let other = submit(&ana, "start_chat", &[("nickname", "Ana"), ("title", "Coffee"), ("id", id)]).await;
    assert_ne!(first.headers[LOCATION], other.headers[LOCATION], "something else was asked for");
    let once_more = submit(&ana, "start_chat", &form).await;
    assert_eq!(
        once_more.headers[LOCATION], first.headers[LOCATION],
        "which is none more of those one may have"
    );
    let theirs = submit(&bea, "start_chat", &form).await;
    assert_ne!(theirs.headers[LOCATION], first.headers[LOCATION], "the chat of another user is not reached");
    let lobby = bea.connect().await.enter_lobby("", 10).await;
    assert_eq!(lobby.matching, 3);
    let refused = submit(&ana, "start_chat", &[("title", &*"x".repeat(101)), ("id", id)]).await;
    assert!(refused.text.contains(&format!("name=\"id\" value=\"{id}\"")), "{}", refused.text);
}

#[tokio::test]
async fn a_client_that_asks_for_no_html_gets_json() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let started = ana.submit_for_json("/api/start_chat", &[("nickname", "Ana"), ("title", "Tea")]).await;
    let chat: ChatId = serde_json::from_str(&started.text).unwrap();
    assert_eq!(started.status, StatusCode::OK);
    assert_eq!(started.headers[LOCATION], format!("/chat/{chat}"));
    let there = bea.connect().await;
    let asked = ana.submit_for_json("/api/chat_privately", &[("with", &there.me.id.to_string())]).await;
    let direct: ChatId = serde_json::from_str(&asked.text).unwrap();
    assert_eq!((asked.status, direct == chat), (StatusCode::OK, false));

    let id = chat.to_string();
    let locked = ana.submit_for_json("/api/set_lock", &[("chat", &id), ("is_locked", "true")]).await;
    assert_eq!((locked.status, &*locked.text), (StatusCode::OK, "null"));
    let refused = bea.submit_for_json("/api/set_lock", &[("chat", &id), ("is_locked", "false")]).await;
    let frame: ServerFrame = serde_json::from_str(&refused.text).unwrap();
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(matches!(frame, ServerFrame::Refused { problem: Problem::NotOwner, .. }), "{}", refused.text);
}
