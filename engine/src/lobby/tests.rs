//! What is listed, in which order, for whom.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{
    Event, EventKind, Nickname, Seq, Span, Timestamp, Title, User, UserId, Visibility, id::ID_BYTES,
};

use super::{index::SAID_MILLIS, *};
use crate::{
    clock,
    presence::{GRACE, NodeId},
};

fn id(number: u64) -> ChatId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    ChatId::from_bytes(bytes)
}

fn event(number: u64, at: u64, kind: EventKind) -> Change {
    Change::Chat(Event { chat: id(number), seq: Seq(at), prev: Seq::ZERO, at: Timestamp(at), kind })
}

fn started(number: u64, visibility: Visibility) -> Change {
    started_by(1, number, visibility)
}

fn started_by(owner: u8, number: u64, visibility: Visibility) -> Change {
    let nickname = Nickname::parse("Ana").unwrap();
    let title = Title::parse(&format!("Chat {number}")).unwrap();
    let owner = UserId::from_bytes([owner; ID_BYTES]);
    event(number, number, EventKind::Started { owner, nickname, title, visibility, guest: None })
}

fn lobby_at(clock: Clock, listed: usize) -> Arc<Lobby> {
    let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()));
    let lifetimes = Lifetimes { chat: Span::seconds(60), ..Lifetimes::default() };
    Arc::new(Lobby::new(Vec::new(), presence, lifetimes, clock, listed))
}

fn lobby() -> Arc<Lobby> {
    lobby_at(Arc::new(|| Timestamp(1_000)), usize::MAX)
}

async fn enter(lobby: &Arc<Lobby>, filter: &str, limit: usize) -> (LobbyCursor, domain::Lobby) {
    lobby.enter(wanted(filter, limit)).await.unwrap()
}

/// Returns the changes for a page, after everything was taken in.
async fn news(lobby: &Arc<Lobby>, view: &mut LobbyCursor) -> Option<LobbyChange> {
    lobby.look();
    lobby.follow().await;
    view.news()
}

fn wanted(filter: &str, limit: usize) -> LobbyQuery {
    LobbyQuery { filter: filter.to_owned(), limit }
}

fn titles(lobby: &domain::Lobby) -> Vec<&str> {
    lobby.listings.iter().map(|listing| listing.title.as_str()).collect()
}

#[tokio::test]
async fn public_chats_are_listed_newest_first_and_private_ones_only_counted() {
    let lobby = lobby();
    for number in 1..=4 {
        let visibility = if number == 2 { Visibility::Private } else { Visibility::Public };
        lobby.apply(&started(number, visibility));
    }
    let (_, all) = enter(&lobby, "", 10).await;
    assert_eq!(titles(&all), ["Chat 4", "Chat 3", "Chat 1"]);
    assert_eq!((all.counts.chats, all.matching), (4, 3));
    let (_, some) = enter(&lobby, "", 2).await;
    assert_eq!((titles(&some), some.matching), (vec!["Chat 4", "Chat 3"], 3));
    let (_, found) = enter(&lobby, " CHAT 3", 2).await;
    assert_eq!((titles(&found), found.matching), (vec!["Chat 3"], 1));
    assert_eq!(enter(&lobby, "", 0).await.1.listings, []);
    let too_long = lobby.enter(wanted(&"e".repeat(101), 10)).await;
    assert_eq!(too_long.err(), Some(Problem::FilterTooLong));
}

/// Whatever happens, a page that applies the differences shows the same as a new page.
#[tokio::test]
async fn differences_lead_to_what_there_is() {
    let lobby = lobby();
    for number in 1..=8 {
        lobby.apply(&started(number, Visibility::Public));
    }
    let mut guards = Vec::new();
    for (filter, limit) in [("", 3), ("new", 5), ("", 0), ("chat", 4)] {
        let (mut view, mut page) = enter(&lobby, filter, limit).await;
        let nickname = || Nickname::parse("Ana").unwrap();
        let title = |text: &str| Title::parse(text).unwrap();
        let steps = [
            Some(event(8, 20, EventKind::TitleEdited { nickname: nickname(), title: title("new") })),
            Some(event(1, 21, EventKind::TitleEdited { nickname: nickname(), title: title("NEW") })),
            // A user enters a chat that is not in view.
            None,
            Some(event(
                7,
                22,
                EventKind::VisibilitySet { nickname: nickname(), visibility: Visibility::Private },
            )),
            Some(started(9, Visibility::Public)),
            Some(event(
                7,
                23,
                EventKind::VisibilitySet { nickname: nickname(), visibility: Visibility::Public },
            )),
            Some(Change::ChatExpired(chat_of(&started(9, Visibility::Public)))),
            Some(event(8, 24, EventKind::TitleEdited { nickname: nickname(), title: title("Chat 8") })),
        ];
        for step in steps {
            match step {
                Some(step) => lobby.apply(&step),
                None => {
                    let user = User::new(UserId::from_bytes([guards.len() as u8; ID_BYTES]));
                    guards.push(lobby.presence.join(id(2), user, Arc::default()));
                }
            }
            if let Some(change) = news(&lobby, &mut view).await {
                page.apply(change);
            }
            let there_is = enter(&lobby, filter, limit).await.1;
            assert_eq!(page.listings, there_is.listings, "{filter}");
            assert_eq!((page.counts, page.matching), (there_is.counts, there_is.matching));
            assert_eq!(news(&lobby, &mut view).await, None, "nothing is told twice");
        }
    }
}

#[tokio::test]
async fn people_come_first_and_one_owner_or_address_has_a_share_of_the_list() {
    let lobby = lobby_at(Arc::new(|| Timestamp(1_000)), 2);
    (1..=5).for_each(|number| lobby.apply(&started_by(1, number, Visibility::Public)));
    lobby.apply(&started_by(2, 6, Visibility::Public));
    assert_eq!(titles(&enter(&lobby, "", 10).await.1), ["Chat 6", "Chat 5", "Chat 4"]);
    assert_eq!(enter(&lobby, "chat", 10).await.1.matching, 6, "a search finds it");
    // An empty chat makes room for one with a member.
    let (mut view, mut page) = enter(&lobby, "", 10).await;
    let member = User::new(UserId::from_bytes([9; ID_BYTES]));
    let member_guard = lobby.presence.join(id(1), member, Arc::default());
    page.apply(news(&lobby, &mut view).await.unwrap());
    assert_eq!(titles(&page), ["Chat 1", "Chat 6", "Chat 5"]);
    drop(member_guard);
    let fifth = lobby.lock().chats[&id(5)].chat.clone();
    lobby.apply(&Change::ChatExpired(fifth));
    page.apply(news(&lobby, &mut view).await.unwrap());
    assert_eq!(titles(&page), ["Chat 1", "Chat 6", "Chat 4"], "what goes makes room as well");

    let lobby = lobby_at(Arc::new(|| Timestamp(1_000)), 2);
    for number in 1..=20 {
        lobby.apply(&started_by(number as u8, number, Visibility::Public));
        lobby.came_from(id(number), Origin(1));
    }
    lobby.apply(&started_by(21, 21, Visibility::Public));
    let (_, page) = enter(&lobby, "", 100).await;
    assert_eq!((page.listings.len(), page.matching), (9, 9), "those of four sessions, and another");
    assert_eq!(titles(&page)[..2], ["Chat 21", "Chat 20"]);
    (13..=20).for_each(|number| {
        let chat = lobby.lock().chats[&id(number)].chat.clone();
        lobby.apply(&Change::ChatExpired(chat));
    });
    assert_eq!(titles(&enter(&lobby, "", 100).await.1)[..2], ["Chat 21", "Chat 12"]);
    assert_eq!(lobby.lock().listed.len(), 9);
}

fn chat_of(change: &Change) -> Chat {
    let Change::Chat(event) = change else { panic!("no event") };
    event.apply_to(None).unwrap()
}

#[tokio::test]
async fn after_starting_over_it_is_as_it_would_have_been() {
    let lobby = lobby();
    for number in 1..=3 {
        lobby.apply(&started(number, Visibility::Public));
    }
    let (mut view, mut page) = enter(&lobby, "", 10).await;
    let kept =
        |number| Tracked { value: chat_of(&started(number, Visibility::Public)), active_at: Timestamp(900) };
    lobby.reset(vec![kept(2), kept(4)]);
    page.apply(news(&lobby, &mut view).await.unwrap());
    assert_eq!(titles(&page), ["Chat 4", "Chat 2"]);
    assert_eq!(page.counts.chats, 2);
    assert_eq!(lobby.lock().expiries.len(), 2);
}

#[tokio::test]
async fn a_busy_chat_is_no_news_with_every_message() {
    let lobby = lobby();
    lobby.apply(&started(1, Visibility::Public));
    let said = |at| {
        let author = UserId::from_bytes([1; ID_BYTES]);
        let client_id = domain::ClientId::from_bytes([1; ID_BYTES]);
        let (nickname, body) = (Nickname::parse("Ana").unwrap(), domain::Body::parse("x").unwrap());
        event(1, at, EventKind::Said(Box::new(domain::Message::plain(author, nickname, client_id, body))))
    };
    let (mut view, _) = enter(&lobby, "", 10).await;
    lobby.apply(&said(10));
    assert_eq!(news(&lobby, &mut view).await.unwrap().listed[0].said_at, Some(Timestamp(10)));
    for at in 11..1_000 {
        lobby.apply(&said(at));
    }
    assert_eq!(news(&lobby, &mut view).await, None);
    lobby.apply(&said(10 + SAID_MILLIS));
    assert!(news(&lobby, &mut view).await.is_some());
}

#[tokio::test]
async fn what_has_expired_is_gone_before_it_is_swept_and_back_when_it_is_touched() {
    let time = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&time);
    let lobby = lobby_at(Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))), usize::MAX);
    lobby.apply(&started(1, Visibility::Public));
    lobby.apply(&started(2, Visibility::Private));
    let (mut view, _) = enter(&lobby, "", 10).await;
    time.store(60_000, Ordering::SeqCst);
    lobby.look();
    assert_eq!(news(&lobby, &mut view).await, None);
    time.store(60_002, Ordering::SeqCst);
    lobby.look();
    let change = news(&lobby, &mut view).await.unwrap();
    assert_eq!((change.gone, change.counts.chats, change.matching), (vec![id(1)], 0, 0));
    let owner = UserId::from_bytes([1; ID_BYTES]);
    assert_eq!(lobby.owned_by(owner), 0);
    lobby.apply(&Change::ChatTouched(id(1), Timestamp(50_000)));
    lobby.look();
    assert_eq!(titles(&enter(&lobby, "", 10).await.1), ["Chat 1"]);
    assert_eq!(lobby.owned_by(owner), 1);
    time.store(120_000, Ordering::SeqCst);
    lobby.look();
    for number in [1, 2] {
        let chat = lobby.lock().chats[&id(number)].chat.clone();
        lobby.apply(&Change::ChatExpired(chat));
    }
    let state = lobby.lock();
    assert!(state.chats.is_empty() && state.listed.is_empty() && state.expiries.is_empty());
    assert_eq!(state.expired, 0);
    assert!(state.owned.is_empty());
}

#[tokio::test(start_paused = true)]
async fn pages_are_told_four_times_a_second_at_most() {
    let lobby = lobby();
    let running = tokio::spawn({
        let lobby = Arc::clone(&lobby);
        async move { lobby.run().await }
    });
    let mut wakes = lobby.told.subscribe();
    let mut last_wake = 0;
    for number in 1..=200 {
        lobby.apply(&started(number, Visibility::Public));
        sleep(Duration::from_millis(5)).await;
        last_wake += u32::from(wakes.has_changed().unwrap());
        wakes.mark_unchanged();
    }
    assert!((3..=5).contains(&last_wake), "{last_wake} in a second");
    running.abort();
}

#[tokio::test]
async fn members_of_a_chat_are_shown() {
    let lobby = lobby();
    lobby.apply(&started(1, Visibility::Public));
    let users: Vec<_> = (1..=5).map(|n| User::new(UserId::from_bytes([n; ID_BYTES]))).collect();
    let _guards: Vec<_> =
        users.iter().map(|user| lobby.presence.join(id(1), user.clone(), Arc::default())).collect();
    let _stay = lobby.presence.arrive(users[0].id, Arc::default());
    lobby.look();
    let (_, page) = enter(&lobby, "", 1).await;
    assert_eq!((page.listings[0].members, &page.listings[0].faces[..]), (5, &users[..3]));
    assert_eq!(page.counts.people, 1);
}
