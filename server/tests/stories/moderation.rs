//! Moderation: messages removed, users removed and hidden, chats locked, and the refusals for users who may not.

use domain::{
    ChatId, EventKind, Problem, RemovedBy, Roster, Seq, UserId,
    frame::{ClientCommand, ClientFrame, Cursor, ServerFrame},
};
use reqwest::StatusCode;

use crate::support::{Client, FakeClock, Person, TestServer, bodies, client_id};

/// Starts a chat of Ana's, with Ana and another user in it.
async fn two_in_a_chat(server: &TestServer) -> (ChatId, (Person, Client), (Person, Client)) {
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (ana_here, bea_here) = (ana.watch(chat).await, bea.watch(chat).await);
    (chat, (ana, ana_here), (bea, bea_here))
}

fn refused(frame: &ServerFrame) -> Option<Problem> {
    match frame {
        ServerFrame::Refused { chat: Some(_), problem, .. } => Some(*problem),
        _ => None,
    }
}

fn remove(chat: ChatId, person: UserId) -> ClientCommand {
    ClientCommand::SetRemoved { chat, person, is_removed: true }
}

#[tokio::test]
async fn what_a_removed_message_said_is_nowhere() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let before = ana_here.timeline_from(chat).await;
    let message = bea_here.post(chat, client_id(1), "a secret told to all").await.unwrap();
    let eve = server.person().await;
    let mut eve_here = eve.watch(chat).await;
    assert_eq!(eve_here.do_it(ClientCommand::RemoveMessage { chat, message }).await, Err(Problem::NotOwner));
    bea_here.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    let seen = ana_here.events(2).await;
    assert_eq!(seen[1].kind, EventKind::MessageRemoved { message, by: RemovedBy::Author });
    assert_eq!(seen[1].prev, seen[0].seq);
    // New, resuming and other readers get a tombstone in its place, from memory and from disk.
    let mut late = ana.connect().await;
    late.send(&ClientFrame::Watch { chat, after: Some(before) }).await;
    let found = late.events(2).await;
    assert!(
        matches!(&found[0].kind, EventKind::Tombstone(tombstone) if tombstone.client_id == client_id(1)),
        "{found:?}"
    );
    let server = server.restart().await;
    let again = server.person().await;
    let history = again.connect().await.watch(chat, None).await.unwrap();
    assert_eq!(bodies(&history.events), Vec::<String>::new());
    assert!(history.events.iter().any(|event| event.seq == message));
    let page = again.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("Message removed") && !page.contains("a secret told to all"), "{page}");
}

#[tokio::test]
async fn a_message_that_was_removed_is_not_brought_back_by_a_late_retry() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    let message = bea_here.post(chat, client_id(1), "no").await.unwrap();
    ana_here.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    assert_eq!(bea_here.post(chat, client_id(1), "no").await, Ok(message));
    bea_here.post(chat, client_id(2), "yes").await.unwrap();
    assert_eq!(bodies(&bea_here.events(3).await), ["no", "yes"], "once, and before it was removed");
}

#[tokio::test]
async fn a_removed_user_is_out_on_every_page_and_finds_no_way_back_in() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    bea_here.post(chat, client_id(1), "before").await.unwrap();
    let mut other_tab = bea.watch(chat).await;
    let cursor = other_tab.timeline_from(chat).await;
    let id = bea_here.me.id;
    assert_eq!(bea_here.do_it(remove(chat, ana_here.me.id)).await, Err(Problem::NotOwner));
    ana_here.do_it(remove(chat, id)).await.unwrap();
    for client in [&mut bea_here, &mut other_tab] {
        assert_eq!(client.find(refused).await, Problem::Removed);
    }
    let is_gone = |frame: &ServerFrame| match frame {
        ServerFrame::RosterChange { change, .. } => change.gone.contains(&id).then_some(change.count),
        _ => None,
    };
    assert_eq!(ana_here.find(is_gone).await, 1, "at once, however many pages they had");
    for watch in [None, Some(cursor)] {
        bea_here.send(&ClientFrame::Watch { chat, after: watch }).await;
        assert_eq!(bea_here.find(refused).await, Problem::Removed);
    }
    bea_here.send(&ClientFrame::Earlier { chat, before: Seq(u64::MAX) }).await;
    assert_eq!(bea_here.find(refused).await, Problem::UnknownChat);
    bea_here.send(&ClientFrame::Typing { chat }).await;
    assert_eq!(bea_here.post(chat, client_id(2), "after").await, Err(Problem::Removed));
    let others = ana_here.post(chat, client_id(9), "the owner").await.unwrap();
    assert_eq!(
        bea_here.do_it(ClientCommand::RemoveMessage { chat, message: others }).await,
        Err(Problem::Removed)
    );
    let back = ClientCommand::SetRemoved { chat, person: id, is_removed: false };
    assert_eq!(bea_here.do_it(back.clone()).await, Err(Problem::Removed));
    let page = bea.get(&format!("/chat/{chat}")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("The owner has removed you from this chat") && !page.text.contains("before"));
    let form = [("chat", &*chat.to_string()), ("client_id", &*client_id(3).to_string()), ("body", "by form")];
    assert_eq!(bea.submit("/api/post_message", &form).await.status, StatusCode::FORBIDDEN);

    let server = server.restart().await;
    let bea = Person { address: server.address(), ..bea };
    let mut bea_here = bea.connect().await;
    bea_here.send(&ClientFrame::Watch { chat, after: None }).await;
    assert_eq!(bea_here.find(refused).await, Problem::Removed, "for as long as there is the chat");
}

#[tokio::test]
async fn a_readmitted_user_is_there_as_before() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (bea, bea_here)) = two_in_a_chat(&server).await;
    let person = bea_here.me.id;
    ana_here.do_it(remove(chat, person)).await.unwrap();
    ana_here.do_it(ClientCommand::SetRemoved { chat, person, is_removed: false }).await.unwrap();
    let mut bea_here = bea.watch(chat).await;
    let roster = |frame: &ServerFrame| match frame {
        ServerFrame::Roster { roster: Roster { count, .. }, .. } => Some(*count),
        _ => None,
    };
    assert_eq!(bea_here.find(roster).await, 2);
    bea_here.post(chat, client_id(1), "hello again").await.unwrap();
}

#[tokio::test]
async fn in_a_locked_chat_other_users_are_refused_by_socket_and_by_form() {
    let server = TestServer::start().await;
    let (chat, (ana, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    let lock = ClientCommand::SetLock { chat, is_locked: true };
    assert_eq!(bea_here.do_it(lock.clone()).await, Err(Problem::NotOwner));
    ana_here.do_it(lock).await.unwrap();
    assert_eq!(bea_here.post(chat, client_id(1), "hello").await, Err(Problem::ChatLocked));
    let id = chat.to_string();
    let form = [("chat", &*id), ("client_id", &*client_id(2).to_string()), ("body", "by form & kept")];
    let answer = bea.submit("/api/post_message", &form).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text.contains("This chat is locked") && answer.text.contains("by form &amp; kept"));
    bea_here.send(&ClientFrame::Typing { chat }).await;
    // The typing signal has been handled before the answer to a later command.
    assert_eq!(bea_here.post(chat, client_id(1), "hello").await, Err(Problem::ChatLocked));
    let whole = |frame: &ServerFrame| match frame {
        ServerFrame::Roster { roster, .. } => Some(roster.clone()),
        _ => None,
    };
    let roster = server.person().await.watch(chat).await.find(whole).await;
    assert!(roster.members.iter().all(|member| !member.typing), "{roster:?}");
    ana_here.post(chat, client_id(3), "the owner").await.unwrap();
    let open = ana.submit("/api/set_lock", &[("chat", &*id), ("is_locked", "false")]).await;
    assert_eq!(open.status, StatusCode::SEE_OTHER);
    bea_here.post(chat, client_id(1), "hello").await.unwrap();
}

#[tokio::test]
async fn a_hidden_user_does_not_learn_of_it_and_cannot_invite() {
    let server = TestServer::start().await;
    let (_, (ana, mut ana_here), (bea, bea_here)) = two_in_a_chat(&server).await;
    let hidden = |frame: &ServerFrame| match frame {
        ServerFrame::Hidden(hidden) => Some(hidden.clone()),
        _ => None,
    };
    let mut other_tab = ana.connect().await;
    assert_eq!(other_tab.find(hidden).await, []);
    assert_eq!(other_tab.invites().await, []);
    let (me, person) = (ana_here.me.id, bea_here.me.id);
    ana_here.do_it(ClientCommand::SetHidden { person, is_hidden: true }).await.unwrap();
    assert_eq!(other_tab.find(hidden).await, [person], "on every page");
    assert_eq!(
        ana_here.do_it(ClientCommand::SetHidden { person: me, is_hidden: true }).await,
        Err(Problem::OnlyOthers)
    );
    let (status, chat) = bea.chat_privately(me).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "as if nothing were");
    let page = ana.get("/").await.text;
    assert!(!page.contains("wants to chat with you privately"), "{page}");
    ana_here.do_it(ClientCommand::SetHidden { person, is_hidden: false }).await.unwrap();
    assert_eq!(other_tab.find(hidden).await, []);
    assert_eq!(other_tab.invites().await[0].chat, chat.unwrap(), "and what they asked is there again");
}

#[tokio::test]
async fn without_a_script_all_of_it_is_done_by_links_and_forms() {
    let server = TestServer::start().await;
    let (chat, (ana, _), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    let message = bea_here.post(chat, client_id(1), "for the owner").await.unwrap();
    let (id, person) = (chat.to_string(), bea_here.me.id.to_string());
    let page = ana.get(&format!("/chat/{id}")).await.text;
    assert!(page.contains(&format!("/chat/{id}?message={message}")), "{page}");
    let about = ana.get(&format!("/chat/{id}?message={message}")).await.text;
    for verb in ["remove_message", "set_hidden", "set_removed", "remove_person", "remove_newcomers"] {
        assert!(about.contains(&format!("action=\"/api/{verb}\"")), "{verb}: {about}");
    }
    let others = bea.get(&format!("/chat/{id}?person={}", bea_here.me.id)).await.text;
    assert!(!others.contains("action=\"/api/set_removed\""), "nothing to do about oneself");
    for (path, form) in [
        ("remove_message", vec![("chat", &*id), ("message", &*message.to_string())]),
        ("set_hidden", vec![("chat", &*id), ("person", &*person), ("is_hidden", "true")]),
        ("set_removed", vec![("chat", &*id), ("person", &*person), ("is_removed", "true")]),
        ("remove_person", vec![("chat", &*id), ("person", &*person)]),
        ("remove_newcomers", vec![("chat", &*id), ("seconds", "600")]),
        ("set_lock", vec![("chat", &*id), ("is_locked", "true")]),
    ] {
        let refused = bea.submit(&format!("/api/{path}"), &form).await.status;
        let is_harmless = ["remove_message", "set_hidden"].contains(&path);
        assert!(is_harmless || refused == StatusCode::FORBIDDEN, "{path}: {refused}");
        assert_eq!(ana.submit(&format!("/api/{path}"), &form).await.status, StatusCode::SEE_OTHER, "{path}");
    }
    let page = ana.get(&format!("/chat/{id}")).await.text;
    for said in ["whom you have hidden", " removed ", " locked this chat"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    for bad in ["message=x", "message=999999", "person=nobody", "message=&person="] {
        assert_eq!(ana.get(&format!("/chat/{id}?{bad}")).await.status, StatusCode::OK, "{bad}");
    }
}

impl Client {
    /// Returns the cursor of a client in a chat that it watches from a snapshot.
    async fn timeline_from(&mut self, chat: ChatId) -> Cursor {
        let history = self.watch(chat, None).await.unwrap();
        Cursor::new(history.epoch, history.seq)
    }
}

#[tokio::test]
async fn a_reader_who_was_slow_when_removed_gets_no_later_message() {
    let server = TestServer::start().await;
    let (loud, (ana, mut ana_here), _) = two_in_a_chat(&server).await;
    let cy = server.person().await;
    let mut slow = Client::connect_with_small_buffer(server.address(), &cy.cookie).await;
    slow.watch(loud, None).await;
    // Several chats, since the server visits them in an order of its own.
    let mut quiet = Vec::new();
    for _ in 0..8 {
        let chat = ana.start_chat("Ana", "Quiet").await;
        ana_here.watch(chat, None).await;
        slow.watch(chat, None).await;
        quiet.push(chat);
    }
    // More than the network buffers for a client that does not read: the server stops in the middle of the loud chat.
    let text = "x".repeat(3_900);
    for number in 0..1_500 {
        ana_here.post(loud, client_id(number), &text).await.unwrap();
    }
    for chat in &quiet {
        ana_here.do_it(remove(*chat, slow.me.id)).await.unwrap();
        ana_here.post(*chat, client_id(9_000), "now that they are gone").await.unwrap();
    }
    let mut heard = Vec::new();
    let mut problems = Vec::new();
    while problems.len() < quiet.len() {
        match slow.next().await {
            ServerFrame::Event(event) => heard.push(event),
            frame => problems.extend(refused(&frame)),
        }
    }
    assert!(problems.iter().all(|problem| *problem == Problem::Removed), "{problems:?}");
    assert!(!bodies(&heard).iter().any(|body| body == "now that they are gone"), "{} events", heard.len());
}

fn names(frame: &ServerFrame) -> Option<(usize, Vec<String>)> {
    match frame {
        ServerFrame::Roster { roster, .. } => {
            Some((roster.count, roster.members.iter().map(|member| member.nickname.to_string()).collect()))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_lock_is_never_refused_for_what_was_done_before_it() {
    let server = TestServer::start_by(|settings| settings.rates.rename = "10/m".parse().unwrap()).await;
    let (chat, (_, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    bea_here.post(chat, client_id(1), "here I am").await.unwrap();
    for number in 0..12_u8 {
        let ask = ClientCommand::SetRemoved { chat, person: bea_here.me.id, is_removed: number % 2 == 0 };
        let removed = ana_here.do_it(ask).await;
        assert_eq!(removed.is_ok(), number < 10, "{number}: {removed:?}");
        let _ = ana_here.do_it(ClientCommand::EditTitle { chat, title: format!("Title {number}") }).await;
    }
    ana_here.do_it(ClientCommand::SetLock { chat, is_locked: true }).await.unwrap();
}

#[tokio::test]
async fn newcomers_are_removed_with_all_their_messages_and_earlier_members_stay() {
    let fake_clock = FakeClock::default();
    let server = TestServer::start_at(&fake_clock, |_| {}).await;
    let (chat, (ana, mut ana_here), (_, mut bea_here)) = two_in_a_chat(&server).await;
    bea_here.post(chat, client_id(1), "from before").await.unwrap();
    fake_clock.pass(700_000);
    let mut raiders = Vec::new();
    for _ in 0..5 {
        let raider = server.person().await;
        let mut here = raider.watch(chat).await;
        for number in 0..5 {
            here.post(chat, client_id(number), "a raid").await.unwrap();
        }
        raiders.push((raider, here));
    }
    // One of them has left already.
    let gone = raiders.pop().unwrap().0;
    bea_here.post(chat, client_id(2), "meanwhile").await.unwrap();
    let newcomers = ClientCommand::RemoveNewcomers { chat, seconds: 600 };
    assert_eq!(bea_here.do_it(newcomers.clone()).await, Err(Problem::NotOwner));
    let at = ana_here.do_it(newcomers).await.unwrap();
    let removed = |frame: &ServerFrame| match frame {
        ServerFrame::Event(event) => match &event.kind {
            EventKind::PeopleRemoved { others, .. } => Some((event.seq, others.len() + 1)),
            _ => None,
        },
        _ => None,
    };
    assert_eq!(bea_here.find(removed).await, (at, 5), "one line for all");
    for (_, here) in &mut raiders {
        assert_eq!(here.find(refused).await, Problem::Removed);
    }
    assert_eq!(gone.get(&format!("/chat/{chat}")).await.status, StatusCode::FORBIDDEN);
    let history = server.person().await.connect().await.watch(chat, None).await.unwrap();
    let left = bodies(&history.events).into_iter().filter(|body| body == "a raid").count();
    assert_eq!(left, 0);
    let server = server.restart_at(&fake_clock).await;
    let ana = Person { address: server.address(), ..ana };
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("from before") && page.contains("meanwhile") && !page.contains("a raid"), "{page}");
    assert!(page.contains("five people") && page.contains(" and all their messages"), "{page}");
}

#[tokio::test]
async fn a_removed_user_takes_back_their_messages_from_the_page_that_says_so() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    let first = bea_here.post(chat, client_id(1), "one by one").await.unwrap();
    bea_here.post(chat, client_id(2), "all at once").await.unwrap();
    ana_here.do_it(remove(chat, bea_here.me.id)).await.unwrap();
    bea_here.do_it(ClientCommand::RemoveMessage { chat, message: first }).await.unwrap();
    let page = bea.get(&format!("/chat/{chat}")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("action=\"/api/remove_own\""), "{}", page.text);
    for _ in 0..2 {
        let answer = bea.submit("/api/remove_own", &[("chat", &chat.to_string())]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    }
    let history = server.person().await.connect().await.watch(chat, None).await.unwrap();
    assert_eq!(bodies(&history.events), Vec::<String>::new());
    // After being readmitted, they do not post it again by a late retry.
    ana_here
        .do_it(ClientCommand::SetRemoved { chat, person: bea_here.me.id, is_removed: false })
        .await
        .unwrap();
    bea_here.post(chat, client_id(2), "all at once").await.unwrap();
    let history = ana_here.watch(chat, None).await.unwrap();
    assert_eq!(bodies(&history.events), Vec::<String>::new());
}

#[tokio::test]
async fn in_a_locked_chat_names_stay_and_no_newcomer_is_named() {
    let server = TestServer::start().await;
    let (chat, (_, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    bea_here.do_it(ClientCommand::SetNickname { nickname: "Bea".to_owned() }).await.unwrap();
    ana_here.do_it(ClientCommand::SetLock { chat, is_locked: true }).await.unwrap();
    bea_here.do_it(ClientCommand::SetNickname { nickname: "a word".to_owned() }).await.unwrap();
    ana_here.do_it(ClientCommand::SetNickname { nickname: "Anna".to_owned() }).await.unwrap();
    let cy = server.person().await;
    let mut cy_here = cy.watch(chat).await;
    cy_here.do_it(ClientCommand::SetNickname { nickname: "another word".to_owned() }).await.unwrap();
    let _other_tab = bea.watch(chat).await;
    let seen = async || server.person().await.watch(chat).await.find(names).await;
    let mut named = seen().await;
    named.1.sort();
    assert_eq!(named, (4, vec!["Anna".to_owned(), "Bea".to_owned()]), "the visitor is counted as well");
    let page = cy.get(&format!("/chat/{chat}")).await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    assert!(!html.contains("a word"), "{html}");
    ana_here.do_it(ClientCommand::SetLock { chat, is_locked: false }).await.unwrap();
    let (_, named) = seen().await;
    for name in ["Anna", "a word", "another word"] {
        assert!(named.iter().any(|named| named == name), "{name}: {named:?}");
    }
}

#[tokio::test]
async fn the_name_of_a_user_who_was_never_in_a_chat_is_not_told_there() {
    let server = TestServer::start().await;
    let (chat, (_ana, mut ana_here), (bea, mut bea_here)) = two_in_a_chat(&server).await;
    let cy = server.person().await;
    let mut cy_here = cy.connect().await;
    cy_here.do_it(ClientCommand::SetNickname { nickname: "Cy Secret".to_owned() }).await.unwrap();
    bea_here.do_it(ClientCommand::SetNickname { nickname: "Bea Known".to_owned() }).await.unwrap();
    let stranger = server.person().await;
    let about = async |person: UserId| stranger.get(&format!("/chat/{chat}?person={person}")).await;
    let page = about(cy_here.me.id).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("Cy Secret") && !page.text.contains("<dialog"), "{}", page.text);
    let person = cy_here.me.id;
    for ask in [remove(chat, person), ClientCommand::RemovePerson { chat, person }] {
        assert_eq!(ana_here.do_it(ask.clone()).await, Err(Problem::UserGone), "{ask:?}");
        assert_eq!(bea_here.do_it(ask).await, Err(Problem::NotOwner));
    }
    let id = bea_here.me.id;
    let known = "aria-label=\"About Bea Known\" open";
    let page = about(id).await.text;
    assert!(page.contains(known), "who is there: {page}");
    bea_here.post(chat, client_id(1), "hello").await.unwrap();
    drop((bea_here, bea));
    assert!(about(id).await.text.contains(known), "who spoke there");
}
