//! Presence: who is in a chat, and who is typing.

use domain::{
    Roster,
    frame::{ClientCommand, ClientFrame, ServerFrame},
};

use engine::presence::TYPING;

use crate::support::{Client, TestServer, client_id};

/// Applies roster frames until the members have these nicknames.
async fn until_members_are(client: &mut Client, roster: &mut Roster, names: &[&str]) {
    loop {
        match client.next().await {
            ServerFrame::Roster { roster: whole, .. } => *roster = whole,
            ServerFrame::RosterChange { change, .. } => roster.apply(change),
            _ => continue,
        }
        let mut here: Vec<_> = roster.members.iter().map(|member| member.nickname.to_string()).collect();
        here.sort();
        if here == names {
            return;
        }
    }
}

#[tokio::test]
async fn both_see_the_other_come_and_leave() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    bea.start_chat("Bea", "So that she has a name").await;
    let (mut roster, mut roster_of_bea) = (Roster::default(), Roster::default());

    let mut ana_here = ana.watch(chat).await;
    until_members_are(&mut ana_here, &mut roster, &["Ana"]).await;
    let mut bea_here = bea.watch(chat).await;
    until_members_are(&mut ana_here, &mut roster, &["Ana", "Bea"]).await;
    until_members_are(&mut bea_here, &mut roster_of_bea, &["Ana", "Bea"]).await;
    drop(ana_here);
    until_members_are(&mut bea_here, &mut roster_of_bea, &["Bea"]).await;
}

#[tokio::test]
async fn two_tabs_are_one_member_who_stays_until_the_last_is_closed() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    bea.start_chat("Bea", "So that she has a name").await;
    let mut roster = Roster::default();
    let mut watching = ana.watch(chat).await;
    let tabs = (bea.watch(chat).await, bea.watch(chat).await);
    until_members_are(&mut watching, &mut roster, &["Ana", "Bea"]).await;
    drop(tabs.0);
    // A rename is the next change that is visible: closing one of two tabs was not.
    let mut other_tab = tabs.1;
    let command = ClientCommand::SetNickname { nickname: "Beatrice".to_owned() };
    other_tab.send(&ClientFrame::Do { request: 1, command }).await;
    until_members_are(&mut watching, &mut roster, &["Ana", "Beatrice"]).await;
    assert_eq!(roster.members.len(), 2);
    drop(other_tab);
    until_members_are(&mut watching, &mut roster, &["Ana"]).await;
}

#[tokio::test]
async fn a_reload_is_not_seen_by_others() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    bea.start_chat("Bea", "So that she has a name").await;
    let mut roster = Roster::default();
    let mut watching = ana.watch(chat).await;
    let reloading = bea.watch(chat).await;
    until_members_are(&mut watching, &mut roster, &["Ana", "Bea"]).await;
    drop(reloading);
    let _reloaded = bea.watch(chat).await;
    let version = roster.version;
    let mut cy = server.person().await.connect().await;
    cy.send(&ClientFrame::Do {
        request: 1,
        command: ClientCommand::SetNickname { nickname: "Cy".to_owned() },
    })
    .await;
    cy.answer(1).await.unwrap();
    cy.watch(chat, None).await;
    until_members_are(&mut watching, &mut roster, &["Ana", "Bea", "Cy"]).await;
    assert_eq!(roster.version, version + 1, "one change: Cy came");
}

#[tokio::test]
async fn typing_is_seen_until_it_is_said() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut ana, mut bea) = (ana.watch(chat).await, bea.watch(chat).await);
    let writer = bea.me.id;
    let mut roster = Roster::default();
    let mut until = async |client: &mut Client, typing: bool| {
        while roster
            .members
            .iter()
            .find(|member| member.id == writer)
            .is_none_or(|member| member.typing != typing)
        {
            match client.next().await {
                ServerFrame::Roster { roster: whole, .. } => roster = whole,
                ServerFrame::RosterChange { change, .. } => roster.apply(change),
                _ => {}
            }
        }
    };
    until(&mut ana, false).await;
    bea.send(&ClientFrame::Typing { chat }).await;
    until(&mut ana, true).await;
    bea.post(chat, client_id(1), "said").await.unwrap();
    // At once, and not when typing times out after three seconds.
    tokio::time::timeout(TYPING / 2, until(&mut ana, false)).await.unwrap();
    // None of this is stored.
    assert_eq!(ana.watch(chat, None).await.unwrap().events.len(), 2);
}
