//! Direct chats and invites: only the two users can enter.

use std::time::Duration;

use domain::{
    Answer, EventKind, Problem, User, UserId,
    frame::{ClientCommand, ClientFrame, ServerFrame},
    id::ID_BYTES,
};
use reqwest::StatusCode;

use crate::support::{Client, Person, TestServer, client_id};

/// Creates two users with open connections, called Ana and Bea.
async fn two_people(server: &TestServer) -> [(Person, Client); 2] {
    let mut people = Vec::new();
    for name in ["Ana", "Bea"] {
        let person = server.person().await;
        let mut client = person.connect().await;
        client.do_it(ClientCommand::SetNickname { nickname: name.to_owned() }).await.unwrap();
        assert_eq!(client.invites().await, []);
        people.push((person, client));
    }
    people.try_into().ok().unwrap()
}

/// The interval of heartbeats, with which a changed invite is sent at the latest.
const BEAT: Duration = Duration::from_secs(domain::frame::BEAT_SECONDS);

fn decline(chat: domain::ChatId) -> ClientCommand {
    ClientCommand::AnswerInvite { chat, answer: Answer::Decline }
}

#[tokio::test]
async fn an_invite_comes_to_every_page_leads_to_a_direct_chat_and_goes_when_it_is_answered() {
    let server = TestServer::start().await;
    let [(ana, ana_here), (bea, mut bea_here)] = two_people(&server).await;
    let (status, chat) = ana.chat_privately(bea_here.me.id).await;
    let chat = chat.unwrap();
    assert_eq!(status, StatusCode::SEE_OTHER);
    let invites = bea_here.invites().await;
    assert_eq!((invites[0].chat, invites[0].from.nickname.as_str()), (chat, "Ana"));
    assert_eq!(bea.connect().await.invites().await, invites, "on every page");
    assert!(bea.get("/").await.text.contains("wants to chat with you privately"), "and without a script");

    assert_eq!(ana.chat_privately(bea_here.me.id).await.1, Some(chat), "used again");
    let answer = bea.submit("/api/answer_invite", &[("chat", &chat.to_string()), ("answer", "accept")]).await;
    assert_eq!(answer.headers["location"], format!("/chat/{chat}"));
    assert_eq!(bea_here.invites().await, []);
    assert_eq!(bea.chat_privately(ana_here.me.id).await.1, Some(chat), "in either direction");

    let (mut ana_in, mut bea_in) = (ana.watch(chat).await, bea.watch(chat).await);
    ana_in.post(chat, client_id(1), "psst").await.unwrap();
    assert!(matches!(bea_in.event().await.kind, EventKind::Said(_)));
    assert_eq!(ana.chat_privately(bea_in.me.id).await.1, Some(chat));
    assert_eq!(bea.connect().await.invites().await, [], "a user in the chat is not invited");
}

#[tokio::test]
async fn a_third_person_cannot_enter_whatever_they_send() {
    let server = TestServer::start().await;
    let [(ana, _ana_here), (_bea, bea_here)] = two_people(&server).await;
    let chat = ana.chat_privately(bea_here.me.id).await.1.unwrap();
    let eve = server.person().await;
    let page = eve.get(&format!("/chat/{chat}")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("only they can enter") && !page.text.contains("Ana"), "{}", page.text);
    let mut client = eve.connect().await;
    let refused = |frame: &ServerFrame| match frame {
        ServerFrame::Refused { chat: Some(_), problem, .. } => Some(*problem),
        _ => None,
    };
    client.send(&ClientFrame::Watch { chat, after: None }).await;
    assert_eq!(client.find(refused).await, Problem::NotAdmitted);
    client.send(&ClientFrame::Earlier { chat, before: domain::Seq(9) }).await;
    assert_eq!(client.find(refused).await, Problem::UnknownChat);
    client.send(&ClientFrame::Typing { chat }).await;
    assert_eq!(client.post(chat, client_id(1), "hello").await, Err(Problem::NotAdmitted));
    assert_eq!(client.do_it(decline(chat)).await, Err(Problem::InviteGone));
    let id = client_id(2).to_string();
    let form = [("chat", chat.to_string()), ("client_id", id), ("body", "hello".to_owned())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(eve.submit("/api/post_message", &form).await.status, StatusCode::FORBIDDEN);
    for path in ["/api/edit_title", "/api/set_visibility"] {
        let form = [("chat", chat.to_string()), ("title", "mine".into()), ("visibility", "public".into())];
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(eve.submit(path, &form).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    // Its owner cannot make it public either.
    let listed = ClientCommand::SetVisibility { chat, visibility: domain::Visibility::Public };
    assert_eq!(ana.connect().await.do_it(listed).await, Err(Problem::ChatOfTwo));
    let history = ana.connect().await.watch(chat, None).await.unwrap();
    assert_eq!(history.events.len(), 1, "nothing of it was stored");
}

#[tokio::test]
async fn a_user_who_declines_says_so_and_is_not_asked_again() {
    let server = TestServer::start().await;
    let [(ana, _ana_here), (bea, mut bea_here)] = two_people(&server).await;
    let chat = ana.chat_privately(bea_here.me.id).await.1.unwrap();
    let mut waiting = ana.watch(chat).await;
    assert_eq!(bea_here.invites().await.len(), 1);
    bea_here.do_it(decline(chat)).await.unwrap();
    assert_eq!(bea_here.invites().await, []);
    let EventKind::InviteAnswered { by, answer } = waiting.event().await.kind else { panic!("not answered") };
    assert_eq!((by.nickname.as_str(), answer), ("Bea", Answer::Decline));
    // Asking again leads to the chat, and does not invite again.
    assert_eq!(ana.chat_privately(bea_here.me.id).await.1, Some(chat));
    assert_eq!(bea.connect().await.invites().await, []);
}

#[tokio::test]
async fn declining_by_form_leads_back_to_a_page_of_this_site() {
    let server = TestServer::start().await;
    let [(ana, _ana_here), (bea, mut bea_here)] = two_people(&server).await;
    let chat = ana.chat_privately(bea_here.me.id).await.1.unwrap();
    assert_eq!(bea_here.invites().await.len(), 1);
    let form = [("chat", chat.to_string()), ("answer", "decline".into()), ("back", "//evil.example".into())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(bea.submit("/api/answer_invite", &form).await.headers["location"], "/");
    assert_eq!(bea_here.invites().await, []);
}

#[tokio::test]
async fn an_invite_survives_a_restart_and_a_rename_shows_in_it() {
    let server = TestServer::start().await;
    let [(ana, mut ana_here), (bea, mut bea_here)] = two_people(&server).await;
    let chat = ana.chat_privately(bea_here.me.id).await.1.unwrap();
    assert_eq!(bea_here.invites().await.len(), 1);
    ana_here.do_it(ClientCommand::SetNickname { nickname: "Anna".to_owned() }).await.unwrap();
    let told = tokio::time::timeout(BEAT / 2, bea_here.invites()).await.unwrap();
    assert_eq!(told[0].from.nickname.as_str(), "Anna");
    let server = server.restart().await;
    let [ana, bea] = [ana, bea].map(|person| Person { address: server.address(), ..person });
    let mut bea_here = bea.connect().await;
    assert_eq!(bea_here.invites().await[0].chat, chat);
    let ana_here = ana.connect().await;
    drop(ana_here);
    assert_eq!(bea_here.invites().await, [], "it goes with the user who made it");
}

#[tokio::test]
async fn users_cannot_invite_themselves_or_users_who_are_not_here() {
    let server = TestServer::start().await;
    let [(ana, ana_here), (_bea, mut bea_here)] = two_people(&server).await;
    assert_eq!(ana.chat_privately(ana_here.me.id).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let stranger = UserId::from_bytes([7; ID_BYTES]);
    assert_eq!(ana.chat_privately(stranger).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        ana.submit("/api/chat_privately", &[("with", "nobody")]).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(ana.get("/api/chat_privately").await.status, StatusCode::SEE_OTHER, "looking creates nothing");
    assert_eq!(bea_here.enter_lobby("", 0).await.counts.chats, 0);
    let gone = bea_here.do_it(decline(domain::ChatId::from_bytes([9; ID_BYTES]))).await;
    assert_eq!(gone, Err(Problem::InviteGone));
}

#[tokio::test]
async fn open_invites_to_a_user_are_limited() {
    let server = TestServer::start().await;
    let mut bea = server.person().await.connect().await;
    let mut status = StatusCode::SEE_OTHER;
    let mut invites = 0;
    while status == StatusCode::SEE_OTHER {
        status = server.person().await.chat_privately(bea.me.id).await.0;
        invites += usize::from(status == StatusCode::SEE_OTHER);
    }
    assert_eq!((status, invites), (StatusCode::TOO_MANY_REQUESTS, domain::invite::INVITES_FROM_AFAR_LIMIT));
    while bea.invites().await.len() < invites {}
    // A user in the same chat can still invite them.
    let near = server.person().await;
    let room = near.start_chat("Cy", "Tea").await;
    let _near_here = near.watch(room).await;
    bea.watch(room, None).await;
    assert_eq!(near.chat_privately(bea.me.id).await.0, StatusCode::SEE_OTHER);
    while bea.invites().await.len() <= invites {}
    let User { nickname, .. } = bea.me.clone();
    bea.do_it(ClientCommand::SetNickname { nickname: nickname.to_string() }).await.unwrap();
}

#[tokio::test]
async fn a_user_who_takes_no_invites_sees_none_until_they_are_taken_again() {
    let server = TestServer::start().await;
    let [(ana, ana_here), (bea, mut bea_here)] = two_people(&server).await;
    let chat = ana.chat_privately(bea_here.me.id).await.1.unwrap();
    assert_eq!(bea_here.invites().await.len(), 1);
    let set = async |are_taken: &str| {
        let answer = bea.submit("/api/set_invites", &[("are_taken", are_taken), ("back", "")]).await;
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (StatusCode::SEE_OTHER, &"/".parse().unwrap())
        );
    };
    set("false").await;
    assert_eq!(bea_here.invites().await, [], "on pages that are open as well");
    assert!(bea.get("/").await.text.contains("Take private invites again"));
    let cy = server.person().await;
    let _cy_here = cy.connect().await;
    let refused = cy.submit("/api/chat_privately", &[("with", &bea_here.me.id.to_string())]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("They take no private invites just now."));
    let server = server.restart().await;
    let [ana, bea] = [ana, bea].map(|person| Person { address: server.address(), ..person });
    assert_eq!(bea.connect().await.invites().await, []);
    let answer = bea.submit("/api/set_invites", &[("are_taken", "true"), ("back", &chat.to_string())]).await;
    assert_eq!(answer.headers["location"], format!("/chat/{chat}").as_str());
    drop((ana, ana_here));
}
