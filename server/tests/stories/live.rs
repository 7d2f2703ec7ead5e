//! Messages: live, repeated and resumed.

use std::{collections::HashSet, time::Duration};

use domain::{
    ChatId, Epoch, Event, Problem, Seq,
    frame::{BEAT_SECONDS, ClientCommand, ClientFrame, Cursor, RESUME_EVENTS, Reached, ServerFrame, VERSION},
    id::ID_BYTES,
    page::PAGE_EVENTS,
    timeline::Applied,
};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Client, Person, TestServer, bodies,
    client::{handshake, last_words, open, soon},
    client_id,
};

const NO_CHAT: ChatId = ChatId::from_bytes([9; ID_BYTES]);

#[tokio::test]
async fn two_people_talk_and_see_the_same() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut ana = ana.watch(chat).await;
    let mut bea = server.person().await.watch(chat).await;
    for number in 0..5 {
        ana.post(chat, client_id(number), &format!("from Ana {number}")).await.unwrap();
        bea.post(chat, client_id(number), &format!("from Bea {number}")).await.unwrap();
    }
    let (seen_by_ana, seen_by_bea) = (ana.events(10).await, bea.events(10).await);
    assert_eq!(seen_by_ana, seen_by_bea);
    assert_eq!(bodies(&seen_by_ana)[..3], ["from Ana 0", "from Bea 0", "from Ana 1"]);
}

#[tokio::test]
async fn many_authors_who_post_at_once_are_seen_in_one_order_by_all() {
    let server = TestServer::start().await;
    let chat = server.person().await.start_chat("Ana", "Busy").await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.person().await.watch(chat).await);
    }
    let posting = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            for number in 0..25 {
                client.ask(chat, client_id(number), &format!("{} {number}", client.me.id)).await;
            }
            let mut places = Vec::new();
            for request in 1..=25 {
                places.push(client.answer(request).await.unwrap());
            }
            assert!(places.is_sorted(), "commands of one connection keep their order");
            client.events(200).await
        })
    });
    let mut seen: Vec<Vec<Event>> = Vec::new();
    for posting in posting.collect::<Vec<_>>() {
        seen.push(posting.await.unwrap());
    }
    assert_eq!(bodies(&seen[0]).into_iter().collect::<HashSet<_>>().len(), 200);
    assert!(seen[0].windows(2).all(|pair| pair[1].prev == pair[0].seq), "no hole");
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "everybody sees the same");
}

#[tokio::test]
async fn a_retry_is_answered_with_the_first_place_and_seen_once() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut tab = ana.watch(chat).await;
    let mut other_tab = ana.connect().await;
    let first = tab.post(chat, client_id(1), "once").await.unwrap();
    assert_eq!(tab.post(chat, client_id(1), "once").await, Ok(first));
    assert_eq!(other_tab.post(chat, client_id(1), "once, from another tab").await, Ok(first));
    tab.post(chat, client_id(2), "next").await.unwrap();
    assert_eq!(bodies(&tab.events(2).await), ["once", "next"]);
}

#[tokio::test]
async fn a_cursor_is_resumed_with_exactly_what_was_missed() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut ana = ana.watch(chat).await;
    let bea = server.person().await;
    let mut client = bea.connect().await;
    let history = client.watch(chat, None).await.unwrap();
    let mut timeline = client.timeline(history);
    ana.post(chat, client_id(0), "seen").await.unwrap();
    assert_eq!(timeline.apply(client.event().await), Applied::Appended);
    drop(client);
    // More than one batch, so that the resume takes several.
    for number in 1..=300 {
        ana.ask(chat, client_id(number), &format!("missed {number}")).await;
    }
    ana.answer(301).await.unwrap();

    let mut client = bea.connect().await;
    assert_eq!(client.watch(chat, Some(timeline.cursor())).await, None, "resumed, not started anew");
    ana.post(chat, client_id(999), "live again").await.unwrap();
    for event in client.events(301).await {
        assert_eq!(timeline.apply(event), Applied::Appended);
    }
    assert_eq!(timeline.rows(|_| 0).len(), 1 + 1 + 300 + 1);
}

#[tokio::test]
async fn a_cursor_that_cannot_be_resumed_is_answered_by_a_snapshot() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut client = ana.watch(chat).await;
    let newest = client.post(chat, client_id(1), "hello").await.unwrap();
    let epoch = client.watch(chat, None).await.unwrap().epoch;

    let of_another_log = Cursor::new(Epoch::from_bytes([0; ID_BYTES]), newest);
    assert_eq!(bodies(&client.watch(chat, Some(of_another_log)).await.unwrap().events), ["hello"]);
    let from_the_future = Cursor::new(epoch, Seq(newest.0 + 1));
    assert_eq!(bodies(&client.watch(chat, Some(from_the_future)).await.unwrap().events), ["hello"]);
    let of_another_chat = ana.start_chat("Ana", "Next door").await;
    let start = client.watch(of_another_chat, None).await.unwrap().events[0].seq;
    client.post(chat, client_id(2), "later").await.unwrap();
    let of_another_chat = Cursor::new(epoch, start);
    assert_eq!(bodies(&client.watch(chat, Some(of_another_chat)).await.unwrap().events), ["hello", "later"]);

    for number in 0..=RESUME_EVENTS as u64 {
        client.ask(chat, client_id(10 + number), "much").await;
    }
    client.answer(RESUME_EVENTS as u64 + 3).await.unwrap();
    let far_behind = Cursor::new(epoch, newest);
    let history = ana.connect().await.watch(chat, Some(far_behind)).await.unwrap();
    assert_eq!(history.events.len(), PAGE_EVENTS);
    assert!(history.earlier);
}

#[tokio::test]
async fn a_reader_who_is_behind_the_replay_buffer_still_gets_everything() {
    let server = TestServer::start().await;
    let chat = server.person().await.start_chat("Ana", "Tea").await;
    let slow = server.person().await;
    let mut slow = Client::connect_with_small_buffer(slow.address, &slow.cookie).await;
    slow.watch(chat, None).await;
    let mut quick = server.person().await.connect().await;
    // Far more than the replay buffer holds, and more than Linux buffers for a sending socket (4 MiB), while `slow`
    // does not read.
    let body = "x".repeat(3_900);
    let count = 2_000_u64;
    let asking = tokio::spawn(async move {
        for number in 0..count {
            quick.ask(chat, client_id(number), &format!("{number} {body}")).await;
            if number % 16 == 15 {
                quick.answer(number + 1).await.unwrap();
            }
        }
    });
    asking.await.unwrap();
    let events = slow.events(count as usize).await;
    assert!(events.windows(2).all(|pair| pair[1].prev == pair[0].seq), "no hole");
    let numbers: Vec<u64> =
        bodies(&events).iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restart_loses_nothing_and_cursors_still_hold() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut client = ana.connect().await;
    let history = client.watch(chat, None).await.unwrap();
    let mut timeline = client.timeline(history);
    let before = client.post(chat, client_id(1), "before").await.unwrap();
    timeline.apply(client.event().await);
    client.post(chat, client_id(2), "unseen").await.unwrap();

    let server = server.restart().await;
    let ana = Person { address: server.address(), ..ana };
    let mut client = ana.connect().await;
    assert_eq!(client.watch(chat, Some(timeline.cursor())).await, None);
    assert_eq!(
        client.post(chat, client_id(1), "before").await,
        Ok(before),
        "retries are known across restarts"
    );
    let after = client.post(chat, client_id(3), "after").await.unwrap();
    assert!(after > before);
    for event in client.events(2).await {
        assert_eq!(timeline.apply(event), Applied::Appended);
    }
    assert_eq!(timeline.cursor().seq, after);
    server.stop().await;
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = TestServer::start().await;
    let chat = server.person().await.start_chat("Ana", "Tea").await;
    let mut client = server.person().await.watch(chat).await;
    server.stop().await;
    let problem = client
        .find(|frame| match frame {
            ServerFrame::Refused { problem, .. } => Some(*problem),
            _ => None,
        })
        .await;
    assert_eq!(problem, Problem::Restarting);
    assert_eq!(client.try_next().await, None);
}

#[tokio::test]
async fn pages_come_one_by_one_back_to_the_start_and_forth_to_the_end() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut client = ana.connect().await;
    let count = 2 * PAGE_EVENTS as u64 + 7;
    for number in 1..=count {
        client.ask(chat, client_id(number), &format!("message {number}")).await;
    }
    client.answer(count).await.unwrap();
    for unwatched in
        [ClientFrame::Earlier { chat, before: Seq(9) }, ClientFrame::Later { chat, after: Seq(9) }]
    {
        client.send(&unwatched).await;
        client.find(|frame| matches!(frame, ServerFrame::Refused { chat: Some(_), .. }).then_some(())).await;
    }

    let history = client.watch(chat, None).await.unwrap();
    let mut timeline = client.timeline(history);
    while timeline.has_earlier() {
        let before = timeline.oldest().unwrap();
        client.send(&ClientFrame::Earlier { chat, before }).await;
        let (events, earlier) = client
            .find(|frame| match frame {
                ServerFrame::Earlier { events, earlier, .. } => Some((events.clone(), *earlier)),
                _ => None,
            })
            .await;
        assert!(!events.is_empty() && events.len() <= PAGE_EVENTS);
        timeline.prepend(before, events, earlier);
    }
    assert_eq!(timeline.rows(|_| 0).len() as u64, count + 1);

    let (mut after, mut found) = (timeline.oldest().unwrap(), 1);
    while after < timeline.cursor().seq {
        client.send(&ClientFrame::Later { chat, after }).await;
        let events = client
            .find(|frame| match frame {
                ServerFrame::Later { events, .. } => Some(events.clone()),
                _ => None,
            })
            .await;
        assert!(events.len() <= PAGE_EVENTS && events[0].prev == after);
        after = events.last().unwrap().seq;
        found += events.len() as u64;
    }
    assert_eq!(found, count + 1);
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    const MANY: usize = 100;
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut wire = open(handshake(ana.address, Some(&ana.cookie))).await.unwrap();
    let mut breath = vec![ClientFrame::Hello { version: VERSION }, ClientFrame::Watch { chat, after: None }];
    // Their answers are more than one batch holds.
    breath.extend((0..MANY).map(|_| ClientFrame::Earlier { chat: NO_CHAT, before: Seq(1) }));
    let command = ClientCommand::post(chat, client_id(1), "hello".to_owned(), 0);
    breath.push(ClientFrame::Do { request: 1, command });
    for frame in &breath {
        wire.feed(Message::text(serde_json::to_string(frame).unwrap())).await.unwrap();
    }
    wire.feed(Message::text("nonsense")).await.unwrap();
    wire.flush().await.unwrap();
    let (mut at_once, mut is_done, mut refused) = (Vec::new(), false, 0);
    while !(is_done && refused == MANY + 1) {
        let message = soon(wire.next()).await.unwrap().unwrap();
        match serde_json::from_str(message.to_text().unwrap()).unwrap() {
            ServerFrame::Welcome { .. } => at_once.push("welcome"),
            ServerFrame::Hidden(_) => at_once.push("hidden"),
            ServerFrame::Invites(_) => at_once.push("invites"),
            ServerFrame::Snapshot { .. } => at_once.push("snapshot"),
            ServerFrame::Refused { chat: Some(NO_CHAT), .. } if refused < MANY => refused += 1,
            ServerFrame::Refused { problem: Problem::BadFrame, .. } if refused == MANY => refused += 1,
            ServerFrame::Done { request: 1, .. } => is_done = true,
            ServerFrame::Event(_) | ServerFrame::Roster { .. } | ServerFrame::RosterChange { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(at_once, ["welcome", "hidden", "invites", "snapshot"]);
}

#[tokio::test]
async fn what_was_asked_before_a_mistake_is_answered_before_the_end() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let mut wire = open(handshake(ana.address, Some(&ana.cookie))).await.unwrap();
    let hello = serde_json::to_string(&ClientFrame::Hello { version: VERSION }).unwrap();
    wire.feed(Message::text(hello)).await.unwrap();
    wire.send(Message::binary(vec![1])).await.unwrap();
    let first = soon(wire.next()).await.unwrap().unwrap();
    assert!(first.to_text().unwrap().starts_with(r#"{"welcome""#), "{first:?}");
    assert_eq!(last_words(wire).await.0, Some(Problem::BinaryFrame));
}

#[tokio::test]
async fn a_client_that_asks_and_closes_is_answered_before_the_close() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let mut wire = open(handshake(ana.address, Some(&ana.cookie))).await.unwrap();
    let hello = serde_json::to_string(&ClientFrame::Hello { version: VERSION }).unwrap();
    wire.feed(Message::text(hello)).await.unwrap();
    wire.close(None).await.unwrap();
    let mut came = Vec::new();
    while let Some(message) = soon(wire.next()).await {
        came.push(message.unwrap());
    }
    // Nothing may follow a close frame (RFC 6455, section 5.5.1).
    let [Message::Text(welcome), .., Message::Close(_)] = &came[..] else { panic!("{came:?}") };
    assert!(welcome.starts_with(r#"{"welcome""#), "{welcome:?}");
}

#[tokio::test]
async fn every_heartbeat_names_the_newest_sequence_number_of_each_chat() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let seq = here.post(chat, client_id(1), "hello").await.unwrap();
    let beat = async {
        loop {
            let message = here.wire.next().await.unwrap().unwrap();
            let frame = message.to_text().ok().and_then(|text| serde_json::from_str(text).ok());
            if let Some(ServerFrame::Beat(reached)) = frame {
                return reached;
            }
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(2 * BEAT_SECONDS), beat).await.unwrap();
    assert_eq!(reached, [Reached { chat, seq }]);
}
