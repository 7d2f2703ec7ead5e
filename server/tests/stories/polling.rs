//! Pages without a WebSocket, which use requests instead.

use domain::{
    EventKind, Problem,
    frame::{ClientCommand, ClientFrame, FRAME_LIMIT, ServerFrame},
    page::Page,
};
use reqwest::{
    StatusCode,
    header::{ACCEPT, COOKIE},
};

use crate::support::{Person, TestServer, client_id};

async fn look(person: &Person, path: &str) -> Page {
    let asked = person.http.get(format!("http://{}{path}", person.address));
    let answer =
        asked.header(COOKIE, &person.cookie).header(ACCEPT, "application/json").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

pub(crate) async fn ask(person: &Person, ask: &str) -> (StatusCode, ServerFrame) {
    ask_at("/api/ask", person, ask).await
}

async fn ask_at(address: &str, person: &Person, ask: &str) -> (StatusCode, ServerFrame) {
    let asked = person.http.post(format!("http://{}{address}", person.address)).body(ask.to_owned());
    let answer = asked.header(COOKIE, &person.cookie).send().await.unwrap();
    (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn commands_sent_by_requests_are_done_once_and_seen_by_all() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut bea = server.person().await.watch(chat).await;
    let post = ClientCommand::post(chat, client_id(1), "by a request".to_owned(), 0);
    let post = serde_json::to_string(&post).unwrap();
    let (status, first) = ask(&ana, &post).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ask(&ana, &post).await.1, first, "a retry is answered as the first was");
    assert!(
        matches!(bea.event().await.kind, EventKind::Said(message) if message.body.as_str() == "by a request")
    );
    bea.post(chat, client_id(2), "by the socket").await.unwrap();
    let Page::Chat(page) = look(&ana, &format!("/chat/{chat}")).await else { panic!("no chat") };
    let said = page.history.events.iter().filter(|event| matches!(event.kind, EventKind::Said(_))).count();
    assert_eq!(said, 2);
    let Page::Home(home) = look(&ana, "/").await else { panic!("not home") };
    assert_eq!(home.lobby.listings.len(), 1);
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_words_of_the_socket() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let refused = |problem| ServerFrame::refused(problem);
    assert_eq!(ask(&ana, "{").await, (StatusCode::BAD_REQUEST, refused(Problem::BadFrame)));
    let anonymous = Person { cookie: String::new(), ..ana.clone() };
    let nick = r#"{"set_nickname":{"nickname":"Ana"}}"#;
    assert_eq!(ask(&anonymous, nick).await, (StatusCode::UNAUTHORIZED, refused(Problem::NoSession)));
    let empty = r#"{"set_nickname":{"nickname":" "}}"#;
    assert_eq!(ask(&ana, empty).await, (StatusCode::UNPROCESSABLE_ENTITY, refused(Problem::NicknameEmpty)));
    // A page that does not know that another tab has changed the session.
    let (me, other) = (ana.connect().await.me.id, server.person().await.connect().await.me.id);
    assert_eq!(ask_at(&format!("/api/ask?by={me}"), &ana, nick).await.0, StatusCode::OK);
    let as_another = ask_at(&format!("/api/ask?by={other}"), &ana, nick).await;
    assert_eq!(as_another, (StatusCode::CONFLICT, refused(Problem::WrittenAsAnother)));
    let large = format!(r#"{{"set_nickname":{{"nickname":"{}"}}}}"#, "x".repeat(FRAME_LIMIT));
    assert_eq!(ask(&ana, &large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_connection_that_is_asked_whether_it_lives_says_so_at_once() {
    let server = TestServer::start().await;
    let mut client = server.person().await.connect().await;
    client.send(&ClientFrame::Ping {}).await;
    let beat = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        loop {
            if let ServerFrame::Beat(reached) = client.next_beat_or_frame().await {
                return reached;
            }
        }
    });
    assert_eq!(beat.await.unwrap(), []);
}
