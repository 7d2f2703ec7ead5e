//! Titles, visibility and nicknames: changed live, by users who may.

use domain::{
    EventKind, Problem, Visibility,
    frame::{ClientCommand, ClientFrame},
};

use crate::support::{Client, TestServer, client_id};

async fn ask(client: &mut Client, command: ClientCommand) -> Result<domain::Seq, Problem> {
    client.send(&ClientFrame::Do { request: 4711, command }).await;
    client.answer(4711).await
}

#[tokio::test]
async fn the_owner_changes_title_and_visibility_and_all_members_see_it() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut bea = server.person().await.watch(chat).await;
    let mut ana_here = ana.watch(chat).await;
    ask(&mut ana_here, ClientCommand::EditTitle { chat, title: "Coffee & cake".to_owned() }).await.unwrap();
    ask(&mut ana_here, ClientCommand::SetVisibility { chat, visibility: Visibility::Private }).await.unwrap();
    let seen = bea.events(2).await;
    assert!(
        matches!(&seen[0].kind, EventKind::TitleEdited { title, nickname } if title.as_str() == "Coffee & cake" && nickname.as_str() == "Ana")
    );
    assert!(matches!(seen[1].kind, EventKind::VisibilitySet { visibility: Visibility::Private, .. }));
    assert_eq!(seen[1].prev, seen[0].seq);
    let page = server.person().await.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("Coffee &amp; cake</h1>") && page.contains("changed the title to"), "{page}");
}

#[tokio::test]
async fn other_users_are_refused_whatever_they_send() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut bea = server.person().await.watch(chat).await;
    assert_eq!(
        ask(&mut bea, ClientCommand::EditTitle { chat, title: "Mine".to_owned() }).await,
        Err(Problem::NotOwner)
    );
    let private = ClientCommand::SetVisibility { chat, visibility: Visibility::Private };
    assert_eq!(ask(&mut bea, private).await, Err(Problem::NotOwner));
    bea.post(chat, client_id(1), "never mind").await.unwrap();
    assert!(matches!(bea.event().await.kind, EventKind::Said(_)), "nothing else was stored");
    let mut ana = ana.watch(chat).await;
    for (title, problem) in [(" ", Problem::TitleEmpty), (&"x".repeat(101), Problem::TitleTooLong)] {
        assert_eq!(
            ask(&mut ana, ClientCommand::EditTitle { chat, title: title.to_owned() }).await,
            Err(problem)
        );
    }
}

#[tokio::test]
async fn a_rename_is_noted_in_every_chat_of_the_user_and_earlier_messages_keep_their_name() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let (here, there, elsewhere) = (
        ana.start_chat("Ana", "Here").await,
        ana.start_chat("Ana", "There").await,
        ana.start_chat("Ana", "Elsewhere").await,
    );
    let mut watching = server.person().await.connect().await;
    for chat in [here, there, elsewhere] {
        watching.watch(chat, None).await;
    }
    let mut tab = ana.watch(here).await;
    let _other_tab = ana.watch(there).await;
    tab.post(here, client_id(1), "as Ana").await.unwrap();
    ask(&mut tab, ClientCommand::SetNickname { nickname: "Beatrice".to_owned() }).await.unwrap();
    tab.post(here, client_id(2), "as Beatrice").await.unwrap();
    tab.post(elsewhere, client_id(3), "the end").await.unwrap();
    let mut renamed = Vec::new();
    let mut names = Vec::new();
    loop {
        let event = watching.event().await;
        match event.kind {
            EventKind::Renamed { from, to, .. } => {
                renamed.push((event.chat, from.to_string(), to.to_string()));
            }
            EventKind::Said(message) if event.chat == elsewhere => {
                assert_eq!(message.nickname.as_str(), "Beatrice");
                break;
            }
            EventKind::Said(message) => names.push(message.nickname.to_string()),
            _ => {}
        }
    }
    renamed.sort();
    let mut expected = [here, there].map(|chat| (chat, "Ana".to_owned(), "Beatrice".to_owned()));
    expected.sort();
    assert_eq!(renamed, expected, "not where one is not");
    assert_eq!(names, ["Ana", "Beatrice"]);
}

#[tokio::test]
async fn slashes_mean_the_same_in_a_form() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let (id, text) = (client_id(1).to_string(), chat.to_string());
    let submit = async |body: &str| {
        let form = [("chat", text.as_str()), ("client_id", &id), ("body", body)];
        ana.submit("/api/post_message", &form).await
    };
    assert_eq!(submit("/nick Beatrice").await.status, 303);
    assert_eq!(ana.connect().await.me.nickname.as_str(), "Beatrice");
    for (line, sentence) in [
        ("/nick", "write /nick and the name, for example"),
        ("/dance", "There is no such command."),
        ("/me", "Write what you do after /me"),
        ("/help", "Write /nick and a name"),
    ] {
        let answer = submit(line).await;
        assert_eq!(answer.status, 422);
        assert!(answer.text.contains(sentence), "{}", answer.text);
    }
    assert_eq!(submit("//dance").await.status, 303);
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains(">/dance<"), "{page}");
}
