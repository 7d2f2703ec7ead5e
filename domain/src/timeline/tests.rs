//! What a reader sees, over logs of events.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};

use std::iter;

use super::{
    window::{KEPT_ROWS, SPARE_EVENTS},
    *,
};
use crate::{
    Body, ChatId, EventKind, Lifetimes, Message, Nickname, Problem, RemovedBy, Span, Timestamp, User,
    Wording, frame::ClientCommand, id::ID_BYTES, place::News,
};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const EPOCH: Epoch = Epoch::from_bytes([1; ID_BYTES]);
const ME: UserId = UserId::from_bytes([1; ID_BYTES]);
const OTHER: UserId = UserId::from_bytes([2; ID_BYTES]);
const MINUTE: u64 = 60_000;

fn client_id(number: u64) -> ClientId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(bytes)
}

fn body(text: &str) -> Body {
    Body::parse(text).unwrap()
}

fn posted(author: UserId, seq: u64, prev: u64, at: u64) -> Event {
    let nickname: Nickname = User::new(author).nickname;
    let message = Message::plain(author, nickname, client_id(seq), body(&format!("message {seq}")));
    let kind = EventKind::Said(Box::new(message));
    Event { chat: CHAT, seq: Seq(seq), prev: Seq(prev), at: Timestamp(at), kind }
}

/// A log of `count` messages of two users, with positions left out between them, as other chats take them.
fn log(count: u64) -> Vec<Event> {
    (1..=count).map(|n| posted(if n % 3 == 0 { ME } else { OTHER }, n * 3, (n - 1) * 3, n * MINUTE)).collect()
}

fn history(events: Vec<Event>, earlier: bool) -> History {
    let seq = events.last().map_or(Seq::ZERO, |event| event.seq);
    History { epoch: EPOCH, seq, events, earlier, reactions: Vec::new(), reacted: Seq::ZERO }
}

fn empty() -> Timeline {
    Timeline::new(ME, history(vec![], false))
}

#[test]
fn a_gap_is_noticed_and_nothing_changes() {
    let log = log(3);
    let mut timeline = empty();
    assert_eq!(timeline.apply(log[0].clone()), Applied::Appended);
    let before = timeline.clone();
    assert_eq!(timeline.apply(log[2].clone()), Applied::Gap);
    assert_eq!(timeline, before);
    assert_eq!(timeline.apply(log[1].clone()), Applied::Appended);
    assert_eq!(timeline.apply(log[2].clone()), Applied::Appended);
    assert_eq!(timeline.apply(log[1].clone()), Applied::Known);
}

#[test]
fn an_echo_is_replaced_by_its_event() {
    let mut timeline = empty();
    assert!(timeline.echo(client_id(3), body("message 3"), Timestamp(5)));
    let key = timeline.rows(|_| 0)[0].key(ME);
    timeline.mark_stored(client_id(3), Seq(3));
    assert_eq!(timeline.outgoing().count(), 1, "its event is not here yet");
    timeline.apply(posted(ME, 3, 0, 6));
    assert_eq!(timeline.outgoing().count(), 0);
    assert_eq!(timeline.rows(|_| 0).len(), 1);
    assert_eq!(timeline.rows(|_| 0)[0].key(ME), key, "the row stays the same row");
}

#[test]
fn a_browser_with_another_session_reads_as_another_user() {
    let mut timeline = empty();
    timeline.echo(client_id(3), body("stored already, by who I am now"), Timestamp(5));
    timeline.echo(client_id(4), body("waits"), Timestamp(5));
    timeline.apply(posted(OTHER, 3, 0, 6));
    timeline.set_reader(OTHER);
    assert_eq!(timeline.outgoing().count(), 0, "neither is sent under another name");
    assert!(timeline.retry(client_id(3), Timestamp(7)).is_none(), "it is stored");
    assert!(timeline.retry(client_id(4), Timestamp(7)).is_some());
    timeline.apply(posted(OTHER, 4, 3, 7));
    assert_eq!(timeline.pending(), []);
}

#[test]
fn what_waited_waits_again_unless_it_was_stored() {
    let mut before = empty();
    for number in 1..=3 {
        before.echo(client_id(number), body("waits"), Timestamp(5));
    }
    before.mark_refused(client_id(2), Problem::ChatLocked);
    before.mark_refused(client_id(3), Problem::UnknownVersion);
    let kept = before.pending().to_vec();
    // the first was stored, although its answer was lost before the page was left
    let mut timeline = Timeline::new(ME, history(vec![posted(ME, 1, 0, 6)], false));
    timeline.echo(client_id(9), body("written since"), Timestamp(7));
    timeline.restore(kept);
    let waiting: Vec<_> = timeline.pending().iter().map(|own| (own.client_id, own.problem)).collect();
    let expected = [(2, Some(Problem::ChatLocked)), (3, None), (9, None)];
    assert_eq!(waiting, expected.map(|(number, problem)| (client_id(number), problem)));
}

#[test]
fn what_waited_does_not_crowd_out_what_is_written_now() {
    let mut timeline = empty();
    timeline.echo(client_id(0), body("written since"), Timestamp(7));
    let kept =
        |number| Pending { author: None, ..Pending::new(client_id(number), body("x"), Timestamp(1), ME) };
    timeline.restore((1..=200).map(kept).collect());
    assert_eq!(timeline.pending().len(), PENDING_LIMIT);
    assert_eq!(timeline.pending().last().map(|own| own.client_id), Some(client_id(0)));
}

#[test]
fn what_was_written_as_another_user_is_held_back_until_the_reader_sends_it() {
    let mut timeline = empty();
    timeline.echo(client_id(1), body("written as ME"), Timestamp(5));
    timeline.echo(client_id(2), body("stored as ME after all"), Timestamp(6));
    timeline.set_reader(OTHER);
    assert_eq!(timeline.outgoing().count(), 0);
    let held = Some(Problem::WrittenAsAnother);
    assert!(timeline.pending().iter().all(|own| own.problem == held));
    timeline.retry_transient();
    assert!(timeline.pending().iter().all(|own| own.problem == held), "a connection changes nothing of that");
    timeline.apply(posted(ME, 2, 0, 7));
    assert_eq!(timeline.pending().len(), 1);

    timeline.set_reader(ME);
    assert_eq!(timeline.outgoing().count(), 1);
    timeline.set_reader(OTHER);
    let sent = timeline.retry(client_id(1), Timestamp(9)).unwrap();
    assert_eq!((sent.author, sent.problem), (Some(OTHER), None));
    timeline.restore(vec![Pending { client_id: client_id(3), author: Some(ME), ..sent }]);
    assert_eq!(timeline.pending()[0].problem, held, "what was kept for the tab as well");
}

#[test]
fn what_waited_longer_than_messages_are_kept_is_held_back() {
    let mut timeline = empty();
    timeline.echo(client_id(1), body("long ago"), Timestamp(1_000));
    timeline.echo(client_id(2), body("just now"), Timestamp(5_000));
    let lifetimes = Lifetimes { message: Span::seconds(3), ..Lifetimes::default() };
    timeline.hold_back_old(Expiry { now: Timestamp(6_000), lifetimes });
    let problems: Vec<_> = timeline.pending().iter().map(|own| own.problem).collect();
    assert_eq!(problems, [Some(Problem::WaitedTooLong), None]);
    assert_eq!(timeline.discard(client_id(1)).map(|own| own.body), Some(body("long ago")));
    assert_eq!((timeline.discard(client_id(1)), timeline.pending().len()), (None, 1));
}

#[test]
fn another_user_cannot_replace_my_echo() {
    let mut timeline = empty();
    timeline.echo(client_id(3), body("mine"), Timestamp(5));
    timeline.apply(posted(OTHER, 3, 0, 6));
    assert_eq!(timeline.outgoing().count(), 1);
}

#[test]
fn a_message_stored_before_the_snapshot_is_not_sent_for_ever() {
    let mut timeline = empty();
    timeline.echo(client_id(3), body("in the snapshot"), Timestamp(5));
    timeline.echo(client_id(4), body("older than the snapshot"), Timestamp(5));
    timeline.echo(client_id(5), body("not stored yet"), Timestamp(5));
    timeline.reset(history(vec![posted(ME, 3, 2, 6)], true));
    timeline.mark_stored(client_id(4), Seq(2));
    let left: Vec<_> = timeline.outgoing().map(|pending| pending.client_id).collect();
    assert_eq!(left, [client_id(5)]);
    assert!(timeline.has_earlier());
}

#[test]
fn what_is_new_is_counted_and_found() {
    let log = log(6);
    let timeline = Timeline::new(ME, history(log.clone(), false));
    assert_eq!(timeline.first_after(log[1].seq), Some(log[2].seq));
    assert_eq!(timeline.first_after(log[5].seq), None);
    assert_eq!((timeline.unread_count(), timeline.has_unseen()), (0, false), "the page was seen as it came");
    let mut timeline = Timeline::new(ME, history(log[..2].to_vec(), false));
    log[2..].iter().for_each(|event| assert_eq!(timeline.apply(event.clone()), Applied::Appended));
    assert_eq!((timeline.unread_count(), timeline.has_unseen()), (2, true), "two of four are one's own");
    timeline.mark_seen();
    assert_eq!((timeline.unread_count(), timeline.has_unseen()), (0, false));
}

#[test]
fn a_removed_message_leaves_a_tombstone_in_its_place() {
    let log = log(4);
    let mut timeline = Timeline::new(ME, history(log[..1].to_vec(), false));
    log[1..].iter().for_each(|event| assert_eq!(timeline.apply(event.clone()), Applied::Appended));
    assert_eq!(timeline.unread_count(), 2);
    let keys = |timeline: &Timeline| timeline.rows(|_| 0).iter().map(|row| row.key(ME)).collect::<Vec<_>>();
    let before = keys(&timeline);
    for (place, message) in [(20, log[1].seq), (21, log[2].seq)] {
        let kind = EventKind::MessageRemoved { message, by: RemovedBy::Owner };
        let removal = Event { seq: Seq(place), prev: timeline.cursor().seq, kind, ..log[3].clone() };
        assert_eq!(timeline.apply(removal), Applied::Appended);
    }
    assert_eq!(keys(&timeline), before, "the removals have no lines, and the blanks are the same rows");
    let shown = format!("{timeline:?}");
    assert!(!shown.contains("message 6") && !shown.contains("message 9"), "what was said is nowhere");
    assert_eq!(timeline.unread_count(), 1);
    let mut own = Timeline::new(ME, history(log[..2].to_vec(), false));
    own.echo(client_id(9), body("message 9"), Timestamp(5));
    own.apply(log[2].clone().redact(RemovedBy::Owner));
    assert_eq!(
        own.pending(),
        [],
        "an own message that was removed before it was seen does not wait for ever"
    );
}

#[test]
fn a_hidden_user_is_counted_and_not_shown() {
    let log = log(6);
    let mut timeline = Timeline::new(ME, history(log.clone(), false));
    timeline.set_hidden([OTHER]);
    let counts = |timeline: &Timeline| {
        let rows = timeline.rows(|_| 0).into_iter();
        rows.map(|row| if let RowContent::Hidden(hidden) = row.content { hidden.count } else { 0 })
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&timeline), [2, 0, 2, 0]);
    let mut later = Timeline::new(ME, history(log[..1].to_vec(), false));
    later.set_hidden([OTHER]);
    log[1..].iter().for_each(|event| assert_eq!(later.apply(event.clone()), Applied::Appended));
    assert_eq!(later.unread_count(), 0, "nobody is called for it");
    assert_eq!(timeline.first_after(Seq::ZERO), Some(log[2].seq), "nothing new begins with it");
    assert_eq!(timeline.first_after(log[2].seq), Some(log[5].seq));
    let renamed = EventKind::Renamed { user: OTHER, from: Nickname::friendly(1), to: Nickname::friendly(2) };
    timeline.apply(Event { seq: Seq(30), prev: log[5].seq, kind: renamed, ..log[5].clone() });
    assert_eq!(counts(&timeline), [2, 0, 2, 0]);
    timeline.set_hidden([]);
    assert_eq!(counts(&timeline), [0; 7]);
}

#[test]
fn earlier_events_come_before_and_only_once() {
    let log = log(10);
    let mut timeline = Timeline::new(ME, history(log[6..].to_vec(), true));
    let before = timeline.oldest().unwrap();
    timeline.prepend(before, log[3..6].to_vec(), true);
    timeline.prepend(before, log[3..6].to_vec(), true);
    assert!(timeline.has_earlier());
    timeline.prepend(log[3].seq, log[..3].to_vec(), false);
    assert!(!timeline.has_earlier());
    let shown: Vec<Seq> = timeline.events.iter().map(|event| event.seq).collect();
    assert_eq!(shown, log.iter().map(|event| event.seq).collect::<Vec<_>>());
    assert_eq!(timeline.cursor().seq, log[9].seq, "the cursor stays at the newest");
}

/// The numbers of the log's events that are loaded.
fn here(timeline: &Timeline) -> Vec<u64> {
    timeline.events.iter().map(|event| event.seq.0 / 3).collect()
}

#[test]
fn what_is_kept_of_many_messages_is_bounded() {
    let log = log(5_000);
    let mut timeline = Timeline::new(ME, history(log[..50].to_vec(), false));
    for event in &log[50..] {
        assert_eq!(timeline.apply(event.clone()), Applied::Appended);
        // a reader at the end sees about forty
        timeline.unload_distant(|| Some((Seq(event.seq.0.saturating_sub(39 * 3)), event.seq)));
        assert!(timeline.events.len() <= 40 + KEPT_ROWS + SPARE_EVENTS);
    }
    assert!(timeline.has_earlier() && !timeline.has_later());
    assert_eq!(timeline.newest(), Some(timeline.cursor().seq));
    assert_eq!(timeline.unread_count(), 3_300, "of 4,950 new ones a third is one's own");
    assert_eq!(timeline.first_after(log[49].seq), None, "which is not here any more");
    timeline.mark_seen();
    assert!(!timeline.has_unseen());
}

#[test]
fn what_is_read_stays_and_what_came_meanwhile_comes_back_in_pages() {
    let log = log(1_000);
    let mut timeline = Timeline::new(ME, history(log[..150].to_vec(), false));
    let reads = (log[10].seq, log[50].seq);
    for event in &log[150..] {
        assert_eq!(timeline.apply(event.clone()), Applied::Appended);
        timeline.unload_distant(|| Some(reads));
    }
    assert_eq!(here(&timeline), (1..=101).collect::<Vec<_>>());
    assert!(timeline.has_later() && !timeline.has_earlier());
    assert_eq!(timeline.cursor().seq, log[999].seq);
    let unread = timeline.unread_count();
    timeline.append(log[149].seq, log[150..200].to_vec());
    assert_eq!(timeline.newest(), Some(log[100].seq), "that is not the page after the newest one here");
    for page in log[101..].chunks(50) {
        let newest = timeline.newest().unwrap();
        timeline.append(newest, page.to_vec());
        timeline.append(newest, page.to_vec());
        timeline.unload_distant(|| Some((newest, newest)));
        assert!(timeline.events.len() <= 1 + 2 * KEPT_ROWS + SPARE_EVENTS);
    }
    assert!(!timeline.has_later() && timeline.has_earlier());
    assert_eq!((timeline.newest(), timeline.unread_count()), (Some(log[999].seq), unread));
    let oldest = timeline.oldest().unwrap();
    let place = log.iter().position(|event| event.seq == oldest).unwrap();
    assert_eq!(here(&timeline), (place as u64 + 1..=1_000).collect::<Vec<_>>());
    let event = Event { seq: Seq(9_000), prev: log[999].seq, ..log[999].clone() };
    assert_eq!(timeline.apply(event), Applied::Appended);
    assert_eq!(timeline.newest(), Some(Seq(9_000)), "what comes is here again");
}

#[test]
fn what_is_in_view_is_kept_beyond_the_bound() {
    let log = log(1_000);
    let mut timeline = Timeline::new(ME, history(log.clone(), false));
    timeline.unload_distant(|| Some((log[300].seq, log[800].seq)));
    assert_eq!(here(&timeline), (251..=851).collect::<Vec<_>>());
}

#[test]
fn one_page_leads_to_the_newest_at_once() {
    let log = log(500);
    let mut timeline = Timeline::new(ME, history(log[..150].to_vec(), false));
    for event in &log[150..400] {
        timeline.apply(event.clone());
        timeline.unload_distant(|| Some((log[0].seq, log[20].seq)));
    }
    // the page includes events not yet received
    timeline.replace_with_page(log[370..420].to_vec(), true);
    assert_eq!(here(&timeline), (371..=400).collect::<Vec<_>>());
    assert!(timeline.has_earlier() && !timeline.has_later());
    log[400..].iter().for_each(|event| assert_eq!(timeline.apply(event.clone()), Applied::Appended));
    timeline.replace_with_page(log[150..200].to_vec(), true);
    assert!(timeline.has_later());
    assert_eq!(timeline.first_after(log[149].seq), Some(log[150].seq));
}

#[test]
fn a_page_that_was_read_before_something_was_removed_does_not_bring_it_back() {
    let log = log(10);
    let removal = |place: u64, message: Seq| {
        let kind = EventKind::MessageRemoved { message, by: RemovedBy::Author };
        Event { seq: Seq(place), prev: Seq(place - 1), kind, ..log[9].clone() }
    };
    let mut timeline = Timeline::new(ME, history(log[5..].to_vec(), true));
    assert_eq!(timeline.apply(Event { prev: log[9].seq, ..removal(31, log[3].seq) }), Applied::Appended);
    timeline.prepend(log[5].seq, log[..5].to_vec(), false);
    assert!(!format!("{timeline:?}").contains("message 12"), "it is nowhere");
    assert_eq!(timeline.rows(|_| 0).len(), 10);

    timeline.later = true;
    timeline.events.truncate(5);
    assert_eq!(timeline.apply(removal(32, log[7].seq)), Applied::Appended);
    timeline.append(log[4].seq, log[5..].to_vec());
    assert!(!format!("{timeline:?}").contains("message 24"), "nor after what is here");
}

/// Returns the messages of a timeline with what they quote. `None` stands for one that was removed.
fn shown(timeline: &Timeline) -> Vec<Option<(String, Option<String>)>> {
    let messages = timeline.events.iter().filter(|event| event.kind.message_or_tombstone().is_some());
    let text = |message: &Message| {
        let quote = message.quote.as_ref().map(|quote| quote.line.to_string());
        (message.body.to_string(), quote)
    };
    messages.map(|event| event.kind.message().map(text)).collect()
}

fn edited(message: u64, text: &str) -> EventKind {
    let wording = Some(Box::new(Wording::plain(body(text))));
    EventKind::MessageEdited { message: Seq(message), wording }
}

fn restored(message: u64, text: &str) -> EventKind {
    let said = Message::plain(OTHER, User::new(OTHER).nickname, client_id(message), body(text));
    EventKind::MessageRestored { message: Seq(message), said: Some(Box::new(said)) }
}

/// Two messages: one, and another that answers it.
fn answered() -> Vec<Event> {
    let (first, mut second) = (posted(OTHER, 3, 0, MINUTE), posted(ME, 6, 3, 2 * MINUTE));
    let EventKind::Said(message) = &mut second.kind else { panic!("not said") };
    message.reply_to = Some(Seq(3));
    message.reply_author = Some(OTHER);
    message.quote = first.kind.message().map(|said| said.quote(first.at));
    vec![first, second]
}

/// Events one after the other behind those of [`answered`].
fn amendments(kinds: Vec<EventKind>) -> Vec<Event> {
    let at = |place: u64| (Seq(10 + place), Seq(if place == 0 { 6 } else { 9 + place }));
    let event = |(place, kind)| {
        let (seq, prev) = at(place);
        Event { chat: CHAT, seq, prev, at: Timestamp(9 * MINUTE), kind }
    };
    (0..).zip(kinds).map(event).collect()
}

#[test]
fn messages_and_what_quotes_them_follow_what_happens_to_them() {
    let said = |text: &str| Some((text.to_owned(), None));
    let answer = |quote: &str| Some(("message 6".to_owned(), Some(quote.to_owned())));
    let removed = || EventKind::MessageRemoved { message: Seq(3), by: RemovedBy::Author };
    let gone = EventKind::MessageEdited { message: Seq(3), wording: None };
    for (kinds, expected) in [
        (vec![], vec![said("message 3"), answer("message 3")]),
        (vec![edited(3, "new\nwords")], vec![said("new\nwords"), answer("new words")]),
        (vec![edited(3, "new"), edited(3, "newer")], vec![said("newer"), answer("newer")]),
        (vec![removed()], vec![None, said("message 6")]),
        (vec![gone, removed()], vec![None, said("message 6")]),
        (vec![removed(), restored(3, "again")], vec![said("again"), answer("again")]),
        (vec![removed(), restored(3, "again"), removed()], vec![None, said("message 6")]),
        (vec![EventKind::OwnRemoved { user: OTHER }], vec![None, said("message 6")]),
        (vec![EventKind::OwnRemoved { user: ME }], vec![said("message 3"), None]),
        (vec![edited(6, "other")], vec![said("message 3"), Some(("other".into(), Some("message 3".into())))]),
    ] {
        let amendments = amendments(kinds.clone());
        let mut timeline = Timeline::new(ME, history(answered(), false));
        let keys =
            |timeline: &Timeline| timeline.rows(|_| 0).iter().map(|row| row.key(ME)).collect::<Vec<_>>();
        let before = keys(&timeline);
        for event in &amendments {
            assert_eq!(timeline.apply(event.clone()), Applied::Appended);
        }
        assert_eq!(shown(&timeline), expected, "{kinds:?}");
        assert_eq!(keys(&timeline), before, "the rows are the same, and what changed them has none");
        // the same in a page of history that was read before all of it, or before its end
        let mut later = Timeline::new(ME, History { seq: Seq(6), ..history(vec![], true) });
        for event in &amendments {
            later.apply(event.clone());
        }
        later.replace_with_page(answered(), false);
        assert_eq!(shown(&later), expected, "{kinds:?}");
        later.replace_with_page(timeline.events.iter().map(|event| Event::clone(event)).collect(), false);
        assert_eq!(shown(&later), expected, "{kinds:?}");
    }
}

#[test]
fn an_edit_says_when_and_counts_as_nothing_new() {
    let mut timeline = Timeline::new(OTHER, history(answered(), false));
    let [edit] = &amendments(vec![edited(3, "new")])[..] else { panic!() };
    assert_eq!(timeline.apply(edit.clone()), Applied::Appended);
    let message = timeline.event(Seq(3)).and_then(|event| event.kind.message());
    assert_eq!(message.and_then(|message| message.edited_at), Some(edit.at));
    assert_eq!((timeline.unread_count(), timeline.has_unseen()), (0, false));
}

#[test]
fn what_is_quoted_expires_before_what_quotes_it() {
    let mut timeline = Timeline::new(ME, history(answered()[1..].to_vec(), true));
    let lifetimes = Lifetimes { message: Span::seconds(60), ..Lifetimes::default() };
    let expiry = |at| Expiry { now: Timestamp(at), lifetimes };
    assert!(!timeline.has_expired(expiry(2 * MINUTE - 1)) && timeline.has_expired(expiry(2 * MINUTE)));
    timeline.drop_expired(expiry(2 * MINUTE));
    assert_eq!(shown(&timeline), [Some(("message 6".to_owned(), None))]);
    assert!(!timeline.has_expired(expiry(2 * MINUTE)));
}

#[test]
fn a_retry_leaves_out_what_it_answers_if_that_is_gone() {
    let mut timeline = empty();
    let waits = Pending { reply_to: Some(Seq(3)), ..Pending::new(client_id(1), body("a"), Timestamp(5), ME) };
    timeline.restore(vec![waits]);
    let ask = |pending: &Pending| pending.ask(CHAT, Timestamp(5));
    assert!(matches!(ask(&timeline.pending()[0]), ClientCommand::Post { reply_to: Some(Seq(3)), .. }));
    timeline.mark_refused(client_id(1), Problem::ReplyGone);
    let again = timeline.retry(client_id(1), Timestamp(6)).unwrap();
    assert_eq!(again.reply_to, None);
    assert!(matches!(ask(&again), ClientCommand::Post { reply_to: None, .. }));
    let kept = r#"[{"client_id":"000000000000000z","body":"hi","at":1,"problem":null}]"#;
    assert_eq!(serde_json::from_str::<Vec<Pending>>(kept).unwrap().len(), 1, "of a version that knew less");
}

#[test]
fn what_has_expired_is_forgotten_and_what_waits_is_not() {
    let log = log(10);
    let mut timeline = Timeline::new(ME, history(log[4..].to_vec(), true));
    timeline.echo(client_id(999), body("waits"), Timestamp(0));
    let lifetimes = Lifetimes { message: Span::seconds(60), ..Lifetimes::default() };
    let expiry = |minutes: u64| Expiry { now: Timestamp(minutes * MINUTE), lifetimes };
    timeline.drop_expired(expiry(5));
    assert!(timeline.has_earlier());
    assert_eq!(timeline.oldest(), Some(log[4].seq));
    timeline.drop_expired(expiry(8));
    assert!(!timeline.has_earlier());
    assert_eq!(timeline.oldest(), Some(log[7].seq));
    timeline.drop_expired(expiry(99));
    assert_eq!((timeline.oldest(), timeline.cursor().seq), (None, log[9].seq), "the cursor stays");
    assert_eq!(timeline.rows(|_| 0).len(), 1);
    assert_eq!(timeline.apply(posted(OTHER, 40, 30, 99 * MINUTE)), Applied::Appended);
}

#[test]
fn all_messages_of_removed_users_become_tombstones() {
    let log = log(6);
    let mut timeline = Timeline::new(ME, history(log.clone(), false));
    let removed = |seq, prev, kind| Event { seq: Seq(seq), prev: Seq(prev), kind, ..log[0].clone() };
    let tombstones = |timeline: &Timeline| {
        let rows = timeline.rows(|_| 0);
        rows.iter().filter(|row| matches!(&row.content, RowContent::Stored(event) if matches!(event.kind, EventKind::Tombstone(_)))).count()
    };
    let (nickname, first) = (Nickname::friendly(1), User::new(OTHER));
    let kind = EventKind::PeopleRemoved { nickname, first, others: Vec::new() };
    assert_eq!(timeline.apply(removed(20, 18, kind)), Applied::Appended);
    assert_eq!((tombstones(&timeline), timeline.rows(|_| 0).len()), (4, 7), "and a line says so");
    timeline.apply(removed(21, 20, EventKind::OwnRemoved { user: ME }));
    assert_eq!((tombstones(&timeline), timeline.rows(|_| 0).len()), (6, 7), "one's own need no line");
    assert!(!format!("{timeline:?}").contains("message 6"), "what was said is nowhere");
}

#[test]
fn where_the_clock_was_set_back_order_is_by_place() {
    const DAY: u64 = 24 * 60 * MINUTE;
    let events =
        vec![posted(OTHER, 1, 0, 3 * DAY), posted(OTHER, 2, 1, DAY), posted(OTHER, 3, 2, DAY + MINUTE)];
    let mut timeline = Timeline::new(ME, history(events, false));
    let shape: Vec<_> = timeline.rows(|_| 0).iter().map(|row| (row.starts_day, row.starts_group)).collect();
    assert_eq!(shape, [(true, true), (true, true), (false, false)]);
    let lifetimes = Lifetimes { message: Span::seconds(60), ..Lifetimes::default() };
    let expiry = Expiry { now: Timestamp(DAY + MINUTE), lifetimes };
    assert!(timeline.has_expired(expiry));
    timeline.drop_expired(expiry);
    assert_eq!(timeline.oldest(), Some(Seq(3)), "what was said before what has expired has expired as well");
}

#[test]
fn many_renames_in_a_row_are_one_line() {
    let name = |name: String| Nickname::parse(&name).unwrap();
    let renamed = |user, seq: u64| Event {
        kind: EventKind::Renamed { user, from: name(format!("n{}", seq - 1)), to: name(format!("n{seq}")) },
        ..posted(user, seq, seq - 1, seq)
    };
    let mut timeline = empty();
    (1..=3).for_each(|seq| assert_eq!(timeline.apply(renamed(OTHER, seq)), Applied::Appended));
    assert_eq!(timeline.first_after(Seq(1)), Some(Seq(3)), "that of the line");
    timeline.apply(renamed(ME, 4));
    timeline.apply(posted(OTHER, 5, 4, 5));
    timeline.apply(renamed(OTHER, 6));
    let rows = timeline.rows(|_| 0);
    assert_eq!(rows.len(), 4);
    let RowContent::Stored(first) = &rows[0].content else { panic!("not stored") };
    let EventKind::Renamed { from, to, .. } = &first.kind else { panic!("not renamed") };
    assert_eq!((from.as_str(), to.as_str()), ("n0", "n3"));
}

#[test]
fn events_that_share_a_row_or_have_none_do_not_unload_what_was_said_before_them() {
    let name = |number: u64| Nickname::parse(&format!("n{number}")).unwrap();
    let renamed = |seq| Event {
        kind: EventKind::Renamed { user: OTHER, from: name(seq - 1), to: name(seq) },
        ..posted(OTHER, seq, seq - 1, seq)
    };
    let removed = |seq| Event {
        kind: EventKind::MessageRemoved { message: Seq(9_000), by: RemovedBy::Author },
        ..posted(OTHER, seq, seq - 1, seq)
    };
    let said = |seq| posted(OTHER, seq, seq - 1, seq);
    let rows_of = |event: &dyn Fn(u64) -> Event, hidden: &[UserId]| {
        let events = iter::once(posted(ME, 1, 0, 1)).chain((2..=200).map(event)).collect();
        let mut timeline = Timeline::new(ME, history(events, false));
        timeline.set_hidden(hidden.iter().copied());
        let before = timeline.clone();
        timeline.unload_distant(|| None);
        assert_eq!(timeline, before, "nothing is known to be far away");
        timeline.unload_distant(|| Some((Seq(200), Seq(200))));
        assert_eq!((timeline.oldest(), timeline.newest()), (Some(Seq(1)), Some(Seq(200))));
        timeline.rows(|_| 0).len()
    };
    assert_eq!((rows_of(&renamed, &[]), rows_of(&removed, &[]), rows_of(&said, &[OTHER])), (2, 1, 2));
    let there_and_back = |seq: u64| {
        let (user, from, to) = (if seq % 4 < 2 { OTHER } else { ME }, name(seq % 2), name(1 - seq % 2));
        Event { kind: EventKind::Renamed { user, from, to }, ..posted(user, seq, seq - 1, seq) }
    };
    let said_and_removed = |seq| if seq % 2 == 0 { said(seq) } else { removed(seq) };
    // the last rename does not lead back
    assert_eq!((rows_of(&there_and_back, &[]), rows_of(&said_and_removed, &[OTHER])), (2, 2));
}

#[test]
fn a_row_in_view_stays_whole_however_many_events_it_stands_for() {
    let name = |number: u64| Nickname::parse(&format!("n{number}")).unwrap();
    let renames = (2..=3_000).map(|seq| Event {
        kind: EventKind::Renamed { user: OTHER, from: name(seq - 1), to: name(seq) },
        ..posted(OTHER, seq, seq - 1, seq)
    });
    let events = iter::once(posted(OTHER, 1, 0, 1)).chain(renames).collect();
    let mut timeline = Timeline::new(ME, history(events, false));
    timeline.unload_distant(|| Some((Seq(3_000), Seq(3_000))));
    assert_eq!(timeline.oldest(), Some(Seq(1)));
}

#[test]
fn a_failed_message_waits_for_a_retry() {
    let mut timeline = empty();
    timeline.echo(client_id(1), body("hello"), Timestamp(5));
    timeline.mark_refused(client_id(1), Problem::NotStored);
    assert_eq!(timeline.outgoing().count(), 0);
    assert_eq!(timeline.rows(|_| 0).len(), 1, "it stays visible");
    assert_eq!(timeline.retry(client_id(1), Timestamp(1)).unwrap().body, body("hello"));
    assert_eq!(timeline.outgoing().count(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut timeline = empty();
    for number in 0..PENDING_LIMIT as u64 {
        assert!(timeline.echo(client_id(number), body("hello"), Timestamp(5)));
    }
    assert!(!timeline.echo(client_id(999), body("one more"), Timestamp(5)));
    assert_eq!(timeline.rows(|_| 0).len(), PENDING_LIMIT);
}

#[test]
fn rows_are_grouped_by_author_time_and_day() {
    let day = 24 * 60 * MINUTE;
    let mut timeline = empty();
    let mut prev = 0;
    for (author, seq, at) in [
        (OTHER, 1, day - 3 * MINUTE),
        (OTHER, 2, day - MINUTE),
        (OTHER, 3, day),
        (ME, 4, day + MINUTE),
        (ME, 5, day + 7 * MINUTE),
    ] {
        timeline.apply(posted(author, seq, prev, at));
        prev = seq;
    }
    let shape = |offset| {
        timeline.rows(|_| offset).iter().map(|row| (row.starts_day, row.starts_group)).collect::<Vec<_>>()
    };
    assert_eq!(shape(0), [(true, true), (false, false), (true, true), (false, true), (false, true)]);
    assert_eq!(shape(120), [(true, true), (false, false), (false, false), (false, true), (false, true)]);
}

proptest! {
    /// However events are repeated, skipped, replayed from the cursor or replaced by snapshots, what is shown is
    /// the log: in order, without a gap, without a duplicate.
    #[test]
    fn any_delivery_gives_the_same_timeline(
        count in 1_u64..40,
        picks in vec((0_usize..40, 0_u8..10), 0..200),
        snapshot_events in 1_usize..10,
    ) {
        let log = log(count);
        let mut timeline = empty();
        let after = |seq: Seq| log.iter().filter(move |event| event.seq > seq).cloned();
        for (place, how) in picks {
            match how {
                0 => {
                    let through = place.min(log.len());
                    let events = log[through.saturating_sub(snapshot_events)..through].to_vec();
                    if through > 0 && log[through - 1].seq >= timeline.cursor().seq {
                        timeline.reset(history(events, false));
                    }
                }
                1 => after(timeline.cursor().seq).take(place).collect::<Vec<_>>().into_iter().for_each(|event| {
                    assert_eq!(timeline.apply(event), Applied::Appended);
                }),
                _ => {
                    let event = log[place % log.len()].clone();
                    if timeline.apply(event) == Applied::Gap {
                        let missed: Vec<_> = after(timeline.cursor().seq).collect();
                        for event in missed.into_iter().take(place) {
                            timeline.apply(event);
                        }
                    }
                }
            }
            let shown: Vec<Seq> = timeline.events.iter().map(|event| event.seq).collect();
            let end = log.iter().position(|event| event.seq == timeline.seq).map_or(0, |place| place + 1);
            let expected: Vec<Seq> = log[end - shown.len()..end].iter().map(|event| event.seq).collect();
            prop_assert_eq!(shown, expected);
        }
    }

    /// Own messages that are sent, lost, retried and answered in any order end up stored once and never pending.
    #[test]
    fn every_own_message_ends_up_once(
        steps in vec((0_u64..6, 0_u8..4), 0..60),
    ) {
        let mut timeline = empty();
        let mut stored: Vec<(u64, Event)> = Vec::new();
        let mut sent = HashSet::new();
        for (number, step) in steps {
            match step {
                0 if sent.insert(number) => {
                    timeline.echo(client_id(number), body("own"), Timestamp(number));
                }
                1 => timeline.mark_refused(client_id(number), Problem::Busy),
                2 => {
                    timeline.retry(client_id(number), Timestamp(1));
                }
                3 if sent.contains(&number) => {
                    // the server stores it once, and answers every retry with the first position
                    let place = stored.len() as u64 + 1;
                    if !stored.iter().any(|(known, _)| *known == number) {
                        let mut event = posted(ME, place, place - 1, place);
                        if let EventKind::Said(message) = &mut event.kind {
                            message.client_id = client_id(number);
                        }
                        stored.push((number, event));
                    }
                }
                _ => {}
            }
        }
        for (_, event) in stored.clone().into_iter().chain(stored.clone()) {
            timeline.apply(event);
        }
        let rows = timeline.rows(|_| 0);
        prop_assert_eq!(rows.len(), sent.len());
        let keys: HashSet<_> = rows.iter().map(|row| row.key(ME)).collect();
        prop_assert_eq!(keys.len(), sent.len());
        let waiting = rows.iter().filter(|row| matches!(row.content, RowContent::Pending(_))).count();
        prop_assert_eq!(waiting, sent.len() - stored.len());
    }
}

#[test]
fn a_page_around_a_place_goes_on_to_the_newest_event() {
    let log = log(100);
    let middle = log[20..60].to_vec();
    let mut timeline = Timeline::new(ME, History { seq: Seq(300), ..history(middle, true) });
    timeline.note_later();
    assert!(timeline.has_earlier() && timeline.has_later());
    assert_eq!(timeline.cursor().seq, Seq(300));
    assert_eq!(timeline.unread_count(), 0, "what is not shown is not new for that");
    for (seq, expected) in [(63, true), (64, true), (180, true), (60, false), (181, false)] {
        assert_eq!(timeline.covers(Seq(seq)), expected, "{seq}");
    }
    assert_eq!(timeline.apply(posted(OTHER, 303, 300, 101 * MINUTE)), Applied::Appended);
    assert_eq!(timeline.unread_count(), 1);
    timeline.append(Seq(180), log[60..].to_vec());
    assert!(timeline.has_later(), "the newest one is not in the page");

    let mut whole = Timeline::new(ME, history(log, false));
    whole.note_later();
    assert!(!whole.has_later() && whole.covers(Seq(1)) && whole.covers(Seq(999)));
}

#[test]
fn a_place_that_is_gone_is_known() {
    let mut timeline = Timeline::new(ME, history(log(3), false));
    let kind = EventKind::MessageRemoved { message: Seq(6), by: RemovedBy::Author };
    timeline.apply(Event { kind, ..posted(ME, 10, 9, 4 * MINUTE) });
    assert!(!timeline.is_gone(Seq(3)) && timeline.quote_of(Seq(3)).is_some());
    for gone in [6, 7, 10, 99] {
        assert!(timeline.is_gone(Seq(gone)) && timeline.quote_of(Seq(gone)).is_none(), "{gone}");
    }
    assert!(timeline.is_removed(Seq(6)) && !timeline.is_removed(Seq(7)));
}

#[test]
fn a_day_begins_where_its_first_row_is_if_that_is_loaded() {
    let timeline = Timeline::new(ME, history(log(10), false));
    assert_eq!(timeline.first_since(Timestamp(0)), Some(Seq(3)));
    assert_eq!(timeline.first_since(Timestamp(4 * MINUTE)), Some(Seq(12)));
    assert_eq!(timeline.first_since(Timestamp(99 * MINUTE)), None);
    let part = Timeline::new(ME, history(log(10).split_off(5), true));
    assert_eq!(part.first_since(Timestamp(4 * MINUTE)), None, "there may be earlier ones of that day");
    assert_eq!(part.first_since(Timestamp(7 * MINUTE)), Some(Seq(21)));
}

#[test]
fn what_was_read_elsewhere_is_not_new_here() {
    let news = |after: u64, messages| News {
        chat: CHAT,
        after: Seq(after),
        through: Seq(300),
        messages,
        more: false,
        mentions: Vec::new(),
    };
    let log = log(100);
    // Every third message is the reader's own.
    let mut timeline = Timeline::new(ME, history(log[50..].to_vec(), true));
    assert_eq!(timeline.unread_count(), 0);
    assert!(!timeline.begin_seen(Epoch::from_bytes([9; ID_BYTES]), Seq(3)), "in another log");
    assert!(!timeline.begin_seen(EPOCH, Seq(300)), "nothing came after it");
    assert!(timeline.begin_seen(EPOCH, Seq(3)));
    assert!(timeline.has_unseen() && timeline.begins_after(Seq(3)));
    timeline.take_news(&news(0, 99));
    assert_eq!(timeline.unread_count(), 33, "those that are loaded: it was about another position");
    timeline.take_news(&news(3, 66));
    assert_eq!(timeline.unread_count(), 66);
    timeline.prepend(Seq(153), log[20..50].to_vec(), true);
    assert_eq!(timeline.unread_count(), 66, "they are counted once");

    timeline.see_through(EPOCH, Seq(240));
    assert_eq!(timeline.unread_count(), 13);
    timeline.see_through(EPOCH, Seq(60));
    timeline.see_through(Epoch::from_bytes([9; ID_BYTES]), Seq(300));
    assert_eq!(timeline.seen(), Seq(240), "it does not go back");
    timeline.see_through(EPOCH, Seq(303));
    assert_eq!(timeline.unread_count(), 0);
    timeline.apply(posted(OTHER, 303, 300, 101 * MINUTE));
    assert_eq!(timeline.unread_count(), 0, "it was seen in another tab before it came here");
    timeline.mark_seen();
    timeline.apply(posted(OTHER, 306, 303, 102 * MINUTE));
    assert_eq!(timeline.unread_count(), 1);
}
