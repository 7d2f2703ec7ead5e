//! Reactions: what readers are sent of them as they change, after an interruption, by polling and on another node; and
//! what cannot be reacted to, or with.

use std::time::Instant;

use domain::{
    ChatId, MessageTally, Problem, Seq,
    frame::{ClientCommand, ClientFrame, Cursor, ServerFrame},
    page::{History, Page},
    reaction::REACTIONS_LIMIT,
    tally::TALLIES_LIMIT,
};
use engine::presence::SMALL_ROOM;
use reqwest::header::{ACCEPT, COOKIE};

use crate::{
    cluster::{Cluster, folder, start_chat},
    support::{Client, Person, TestServer, client_id},
};

const THUMB: &str = "👍";

fn react(chat: ChatId, message: Seq, emoji: &str, is_on: bool) -> ClientCommand {
    ClientCommand::React { chat, message, emoji: emoji.to_owned(), is_on }
}

/// What a tally says: each emoji with its count and whether the reader has reacted with it.
fn counts(tally: &MessageTally) -> Vec<(&str, u32, bool)> {
    tally.of.iter().map(|count| (count.emoji.as_str(), count.count, count.is_mine)).collect()
}

/// Returns the next reactions that have changed, and up to which change all are known with them.
async fn reactions(client: &mut Client) -> (Seq, Vec<MessageTally>) {
    let wanted = |frame: &ServerFrame| match frame {
        ServerFrame::Reactions { reacted, changes, .. } => Some((*reacted, changes.clone())),
        _ => None,
    };
    client.find(wanted).await
}

/// Waits until the only message with reactions has these.
async fn until_counts(client: &mut Client, expected: &[(&str, u32)]) {
    loop {
        let (_, changes) = reactions(client).await;
        assert_eq!(changes.len(), 1, "{changes:?}");
        let of = &changes[0].of;
        if of.iter().map(|count| (count.emoji.as_str(), count.count)).eq(expected.iter().copied()) {
            return;
        }
    }
}

/// A chat of Ana's in which Ana and Bea are, with a message of Ana's.
async fn two_and_a_message(server: &TestServer) -> (ChatId, Seq, (Person, Client), (Person, Client)) {
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut ana_here, bea_here) = (ana.watch(chat).await, bea.watch(chat).await);
    let message = ana_here.post(chat, client_id(1), "Tea at five?").await.unwrap();
    (chat, message, (ana, ana_here), (bea, bea_here))
}

async fn snapshot(person: &Person, chat: ChatId) -> History {
    person.connect().await.watch(chat, None).await.unwrap()
}

#[tokio::test]
async fn a_reaction_is_seen_by_all_counted_once_from_two_tabs_and_taken_back() {
    let server = TestServer::start().await;
    let (chat, message, (_, mut ana_here), (bea, mut bea_here)) = two_and_a_message(&server).await;
    let mut bea_too = bea.watch(chat).await;
    let seq = bea_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    let (reacted, changes) = reactions(&mut ana_here).await;
    assert_eq!((reacted, changes[0].message, changes[0].changed), (seq, message, seq));
    assert_eq!(counts(&changes[0]), [(THUMB, 1, false)], "nobody is told whose it is but by name");
    assert_eq!(changes[0].of[0].people[0].id, bea_here.me.id);
    until_counts(&mut bea_too, &[(THUMB, 1)]).await;

    // The same again from another tab is no change.
    bea_too.do_it(react(chat, message, THUMB, true)).await.unwrap();
    ana_here.do_it(react(chat, message, "🎉", true)).await.unwrap();
    until_counts(&mut bea_here, &[(THUMB, 1), ("🎉", 1)]).await;
    bea_too.do_it(react(chat, message, THUMB, false)).await.unwrap();
    until_counts(&mut bea_here, &[("🎉", 1)]).await;

    let server = server.restart().await;
    let history = snapshot(&server.person().await, chat).await;
    assert_eq!(counts(&history.reactions[0]), [("🎉", 1, false)]);
}

#[tokio::test]
async fn a_page_of_history_has_the_reactions_to_its_messages_and_knows_ones_own() {
    let server = TestServer::start().await;
    let (chat, message, (ana, mut ana_here), (bea, mut bea_here)) = two_and_a_message(&server).await;
    bea_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    for number in 10..80 {
        ana_here.ask(chat, client_id(number), "and so on").await;
    }
    let newest = ana_here.post(chat, client_id(99), "the end").await.unwrap();
    let reacted = bea_here.do_it(react(chat, newest, "🎉", true)).await.unwrap();
    for (person, is_mine) in [(&ana, false), (&bea, true)] {
        let mut here = person.connect().await;
        let history = here.watch(chat, None).await.unwrap();
        assert_eq!((history.reacted, history.reactions.len()), (reacted, 1));
        assert_eq!(counts(&history.reactions[0]), [("🎉", 1, is_mine)]);
        let before = history.events[0].seq;
        here.send(&ClientFrame::Earlier { chat, before }).await;
        let earlier = here.find(|frame| match frame {
            ServerFrame::Earlier { reactions, .. } => Some(reactions.clone()),
            _ => None,
        });
        let earlier = earlier.await;
        assert_eq!(earlier.iter().map(|tally| tally.message).collect::<Vec<_>>(), [message]);
        assert_eq!(counts(&earlier[0]), [(THUMB, 1, is_mine)]);
        here.send(&ClientFrame::Later { chat, after: Seq(message.0 - 1) }).await;
        let later = here.find(|frame| match frame {
            ServerFrame::Later { reactions, .. } => Some(reactions.clone()),
            _ => None,
        });
        assert_eq!(later.await, earlier);
    }
}

#[tokio::test]
async fn what_is_an_emoji_is_taken_as_it_is_written_today_and_a_message_has_twenty_of_them() {
    let server = TestServer::start().await;
    let (chat, message, (_, mut ana_here), (_, mut bea_here)) = two_and_a_message(&server).await;
    // a flag, a family, a skin tone, and a heart without the selector that makes it one
    let taken = ["🇨🇦", "👨\u{200d}👩\u{200d}👧\u{200d}👦", "👋🏽", "\u{2764}"];
    for emoji in taken {
        bea_here.do_it(react(chat, message, emoji, true)).await.unwrap();
    }
    ana_here.do_it(react(chat, message, "\u{2764}\u{fe0f}", true)).await.unwrap();
    let long = THUMB.repeat(100);
    for text in ["", " ", "abc", "1", "👍👍", "\u{200d}", long.as_str()] {
        let refused = bea_here.do_it(react(chat, message, text, true)).await;
        assert_eq!(refused, Err(Problem::NotAnEmoji), "{text:?}");
    }
    let mut last = Seq::ZERO;
    for number in taken.len()..REACTIONS_LIMIT {
        let emoji = char::from_u32(0x1f600 + number as u32).unwrap().to_string();
        last = bea_here.do_it(react(chat, message, &emoji, true)).await.unwrap();
    }
    assert_eq!(bea_here.do_it(react(chat, message, "🐙", true)).await, Err(Problem::TooManyReactions));
    ana_here.do_it(react(chat, message, "🇨🇦", true)).await.unwrap();
    let shown = loop {
        let (reacted, mut changes) = reactions(&mut ana_here).await;
        if reacted > last {
            break changes.remove(0);
        }
    };
    assert_eq!(shown.of.len(), REACTIONS_LIMIT);
    let first: Vec<_> = shown.of[..4].iter().map(|count| (count.emoji.as_str(), count.count)).collect();
    assert_eq!(first, [("🇨🇦", 2), (taken[1], 1), (taken[2], 1), ("\u{2764}\u{fe0f}", 2)]);
}

#[tokio::test]
async fn a_message_that_is_gone_and_one_in_a_locked_chat_cannot_be_reacted_to() {
    let server = TestServer::start().await;
    let (chat, message, (_, mut ana_here), (bea, mut bea_here)) = two_and_a_message(&server).await;
    bea_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    let second = ana_here.post(chat, client_id(2), "Or at six?").await.unwrap();
    ana_here.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    assert_eq!(bea_here.do_it(react(chat, message, THUMB, true)).await, Err(Problem::MessageGone));
    assert!(snapshot(&bea, chat).await.reactions.is_empty(), "they have gone with it");
    ana_here.do_it(ClientCommand::SetLock { chat, is_locked: true }).await.unwrap();
    assert_eq!(bea_here.do_it(react(chat, second, THUMB, true)).await, Err(Problem::ChatLocked));
    ana_here.do_it(react(chat, second, THUMB, true)).await.unwrap();
    let stranger = server.person().await;
    assert_eq!(counts(&snapshot(&stranger, chat).await.reactions[0]), [(THUMB, 1, false)]);
}

#[tokio::test]
async fn after_an_interruption_a_client_gets_what_has_changed_if_it_says_what_it_has() {
    let server = TestServer::start().await;
    let (chat, message, (_, mut ana_here), (bea, bea_here)) = two_and_a_message(&server).await;
    let mut timeline = bea_here.timeline(snapshot(&bea, chat).await);
    drop(bea_here);
    let without = Cursor::new(timeline.cursor().epoch, timeline.cursor().seq);
    ana_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    let newer = ana_here.post(chat, client_id(2), "Or at six?").await.unwrap();
    let last = ana_here.do_it(react(chat, newer, "🎉", true)).await.unwrap();

    let mut with_reactions = bea.connect().await;
    assert_eq!(with_reactions.watch(chat, Some(timeline.cursor())).await, None, "resumed");
    timeline.apply(with_reactions.event().await);
    let (reacted, changes) = reactions(&mut with_reactions).await;
    assert_eq!((reacted, changes.len()), (last, 2), "of each message once, and after the messages");
    timeline.apply_reactions(reacted, changes);
    assert!([message, newer].iter().all(|message| timeline.tally(*message).is_some()));

    let mut plain = bea.connect().await;
    assert_eq!(plain.watch(chat, Some(without)).await, None, "resumed as well");
    assert_eq!(plain.event().await.seq, newer);
    let next = ana_here.do_it(react(chat, newer, THUMB, true)).await.unwrap();
    let (reacted, changes) = reactions(&mut plain).await;
    assert_eq!((reacted, changes.len()), (next, 1), "only what changes from now on");
    assert_eq!(reactions(&mut with_reactions).await.1, changes);
}

#[tokio::test]
async fn a_client_that_has_missed_too_many_reactions_starts_anew() {
    let server = TestServer::start().await;
    let (chat, _, (_, mut ana_here), (bea, bea_here)) = two_and_a_message(&server).await;
    drop(bea_here);
    let mut messages = Vec::new();
    for number in 0..=TALLIES_LIMIT as u64 {
        messages.push(ana_here.post(chat, client_id(100 + number), "hello").await.unwrap());
    }
    let before = snapshot(&bea, chat).await;
    let mut cursor = Cursor::new(before.epoch, before.seq);
    cursor.reacted = Some(before.reacted);
    for message in &messages[1..] {
        ana_here.do_it(react(chat, *message, THUMB, true)).await.unwrap();
    }
    let mut here = bea.connect().await;
    assert_eq!(here.watch(chat, Some(cursor)).await, None);
    assert_eq!(reactions(&mut here).await.1.len(), TALLIES_LIMIT);
    let last = ana_here.do_it(react(chat, messages[0], THUMB, true)).await.unwrap();
    let history = bea.connect().await.watch(chat, Some(cursor)).await.unwrap();
    assert_eq!(history.reacted, last);
    assert_eq!(history.reactions.len(), history.events.len(), "each of the newest has one");
}

/// However many react, a reader in a large room is sent a few frames a second, and the last one has all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_reactions_costs_a_reader_a_few_frames() {
    const CLICKS: u32 = 3_000;
    let server = TestServer::start().await;
    let (chat, message, _ana, (_, mut bea_here)) = two_and_a_message(&server).await;
    let mut crowd = Vec::new();
    for _ in 0..SMALL_ROOM {
        crowd.push(server.person().await.watch(chat).await);
    }
    let mut reader = crowd.pop().unwrap();
    let began = Instant::now();
    for number in 0..CLICKS {
        let (command, request) = (react(chat, message, THUMB, number % 2 == 0), 1_000 + u64::from(number));
        bea_here.send(&ClientFrame::Do { request, command }).await;
        if number % 32 == 31 {
            bea_here.answer(request).await.unwrap();
        }
    }
    let last = bea_here.do_it(react(chat, message, "🎉", true)).await.unwrap();
    let took = began.elapsed();
    let mut frames = 0;
    let shown = loop {
        let (reacted, changes) = reactions(&mut reader).await;
        frames += 1;
        if reacted >= last {
            break changes;
        }
    };
    assert_eq!(counts(&shown[0]), [("🎉", 1, false)]);
    let batches = u32::try_from(took.as_millis() / 250).unwrap();
    assert!(frames <= 2 * (batches + 2), "{frames} frames in {took:?}");
}

#[tokio::test]
async fn a_page_that_polls_and_one_without_a_script_have_them_at_once() {
    let server = TestServer::start().await;
    let (chat, message, (ana, mut ana_here), (bea, _bea_here)) = two_and_a_message(&server).await;
    let path = format!("/chat/{chat}");
    let stranger = server.person().await;
    let pressed = |page: &str| page.matches("value=\"👍\" aria-pressed=\"true\"").count();
    assert!(!stranger.get(&path).await.text.contains("aria-label=\"👍"));
    ana_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    for (person, own) in [(&stranger, 0), (&ana, 1), (&bea, 0), (&stranger, 0)] {
        let page = person.get(&path).await.text;
        assert!(page.contains("aria-label=\"👍 1\""), "{page}");
        assert_eq!(pressed(&page), own);
        assert_eq!(page.contains("title=\"You\""), own == 1, "{page}");
    }
    // A stranger becomes one of them without being in the chat.
    let fields = [("chat", chat.to_string()), ("message", message.to_string()), ("on", THUMB.to_owned())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stranger.submit("/api/react", &fields).await;
    let page = stranger.get(&path).await.text;
    assert!(page.contains("aria-label=\"👍 2\"") && pressed(&page) == 1, "{page}");

    let asked = bea.http.get(bea.url(&path)).header(COOKIE, &bea.cookie);
    let data = asked.header(ACCEPT, "application/json").send().await.unwrap().text().await.unwrap();
    let Page::Chat(page) = serde_json::from_str(&data).unwrap() else { panic!("no chat") };
    assert_eq!(counts(&page.history.reactions[0]), [(THUMB, 2, false)]);
}

#[tokio::test]
async fn a_reaction_on_one_node_is_seen_on_the_other() {
    let Some(cluster) = Cluster::start().await else { return };
    let [one, another] = [(); 2].map(|()| folder());
    let (a, b) = (cluster.node(one.path()).await, cluster.node(another.path()).await);
    let ana = Person::arrive(a.address).await;
    let (chat, reached) = start_chat(&ana).await;
    let mut bob = Person::arrive(b.address).await;
    bob.cookie = format!("{}; {reached}", bob.cookie);
    bob.get(&format!("/chat/{chat}")).await;
    let (mut ana_here, mut bob_here) = (ana.watch(chat).await, bob.watch(chat).await);
    let message = ana_here.post(chat, client_id(1), "Tea at five?").await.unwrap();
    while bob_here.event().await.seq < message {}
    bob_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    until_counts(&mut ana_here, &[(THUMB, 1)]).await;
    ana_here.do_it(react(chat, message, THUMB, true)).await.unwrap();
    until_counts(&mut bob_here, &[(THUMB, 2)]).await;
    drop((ana_here, bob_here));
    a.stop();
    b.stop();
}
