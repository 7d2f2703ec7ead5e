//! Messages and what belongs to them, in the database: it has what the model has, whatever is posted, edited, removed,
//! restored, reacted to and forgotten, and no text is left of what is not said any more.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use domain::{
    Alt, Attached, Body, ChatId, ClientId, Command, Decision, Emoji, Event, EventKind, Mark, MarkKind, Marks,
    Message, Picture, PictureId, Proposal, Restored, Seq, StateReader, Timestamp, User, UserId, Visibility,
    Wording,
    id::ID_BYTES,
    model::{LIFETIMES, Model},
};
use engine::storage::{BATCH_BYTES, Store, StoreError};
use proptest::{collection::vec, prelude::*};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const PEOPLE: u8 = 3;

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

/// Returns words that are told from all others by a number, and mention somebody.
fn words(number: usize) -> Wording {
    let body = Body::parse(&format!("@Bo <{number}>")).unwrap();
    let marks = Marks::checked(&body, vec![Mark(MarkKind::Mention, 0, 3)]).unwrap();
    Wording { body, marks, mentions: vec![user(u8::try_from(number % 4).unwrap())] }
}

fn picture(number: usize) -> Picture {
    let id = PictureId::from_bytes([u8::try_from(number).unwrap(); ID_BYTES]);
    Picture { id, width: 20, height: 10, small: (2, 1), bytes: 300, alt: Alt::parse("A cat").unwrap() }
}

fn emoji(number: usize) -> Emoji {
    Emoji::try_from(["\u{1f44d}", "\u{1f389}"][number % 2].to_owned()).unwrap()
}

/// A database, and the model of what it should contain.
struct Stored {
    store: Store,
    model: Model,
}

impl Stored {
    fn new() -> Self {
        let model = Model { now: 1_000_000, ..Model::default() };
        let mut stored = Self { store: Store::in_memory(LIFETIMES).unwrap(), model };
        let visibility = Visibility::Public;
        stored.run(0, Command::StartChat { chat: CHAT, title: None, visibility });
        stored
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.model.now)
    }

    /// Decides by the model, and stores what was decided.
    fn propose(&mut self, proposal: Proposal) -> Decision {
        let decision = self.model.propose(proposal);
        if let Decision::Accepted(changes) = &decision {
            let work = |batch: &mut engine::storage::Transaction<'_>| {
                changes.iter().try_for_each(|change| batch.apply(change))
            };
            self.store.write(Seq(self.model.last), self.now(), work).unwrap();
        }
        decision
    }

    fn run(&mut self, by: u8, command: Command) -> Decision {
        self.model.now += 1_000;
        self.propose(Proposal::Command { by: user(by), command })
    }

    /// Lets a time pass in which the chat stays.
    fn wait(&mut self, millis: u64) {
        self.model.now += millis;
        self.propose(Proposal::Touch { users: vec![], chats: vec![(CHAT, self.now())] });
    }

    fn message(&self, place: usize) -> Seq {
        let mut said = self.model.events.iter().filter(|event| event.kind.message_or_tombstone().is_some());
        said.nth(place).map_or(Seq(999), |event| event.seq)
    }

    /// Checks that the database has what the model has.
    fn check(&self) {
        let Self { store, model } = self;
        let mut seen = Vec::new();
        let look = store.write(Seq(u64::MAX / 4), self.now(), |batch| {
            for event in &model.events {
                let Ok(of_model) = model.event(CHAT, event.seq);
                assert_eq!(batch.event(CHAT, event.seq)?, of_model);
                let Ok(tally) = model.tally(CHAT, event.seq);
                assert_eq!(batch.tally(CHAT, event.seq)?, tally);
                for by in (0..PEOPLE).map(user) {
                    for emoji in [0, 1].map(emoji) {
                        let Ok(has_reacted) = model.has_reacted(CHAT, event.seq, by, &emoji);
                        assert_eq!(batch.has_reacted(CHAT, event.seq, by, &emoji)?, has_reacted);
                    }
                }
                if let Some(said) = event.kind.message_or_tombstone() {
                    let Ok(posted) = model.posted(CHAT, said.author, said.client_id);
                    assert_eq!(batch.posted(CHAT, said.author, said.client_id)?, posted);
                }
            }
            for (chat, message, picture) in model.pictures.keys() {
                let Ok(record) = model.picture(*chat, *message, *picture);
                assert_eq!(batch.picture(*chat, *message, *picture)?, record);
                assert_eq!(batch.message_of_picture(*picture)?, Some((*chat, *message)));
            }
            for by in (0..PEOPLE).map(user) {
                let Ok(has_messages) = model.has_messages_by(CHAT, by);
                assert_eq!(batch.has_messages_by(CHAT, by)?, has_messages);
            }
            seen.push(());
            Err::<(), _>(StoreError::InUse)
        });
        assert!(look.is_err() && seen.len() == 1);
        store.read(self.now()).unwrap().check().unwrap();
    }

    /// Returns all rows of the database as bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.read(self.now()).unwrap().export(&mut bytes).unwrap();
        bytes
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_database_has_what_the_model_has(steps in vec((0..PEOPLE, 0_usize..6, 0_u8..14), 0..60)) {
        let mut stored = Stored::new();
        let (mut removals, mut texts) = (Vec::new(), Vec::new());
        for (number, (who, place, kind)) in steps.into_iter().enumerate() {
            let message = stored.message(place);
            let uploaded_at = stored.now();
            texts.push(words(number).body.to_string());
            let command = match kind {
                0..4 => Command::Say {
                    chat: CHAT,
                    client_id: ClientId::from_bytes([u8::try_from(number).unwrap(); ID_BYTES]),
                    words: words(number),
                    reply_to: (kind == 1 && message != Seq(999)).then_some(message),
                    pictures: (kind > 1)
                        .then(|| Attached { picture: picture(number), uploaded_at })
                        .into_iter()
                        .collect(),
                    is_action: kind == 3,
                    waited_millis: 0,
                },
                4 | 5 => Command::EditMessage { chat: CHAT, message, words: words(number) },
                6 => {
                    let pictures = stored.model.event(CHAT, message).unwrap();
                    let pictures = pictures.and_then(|event| Some(event.kind.message()?.pictures.clone()));
                    if let Decision::Accepted(_) = stored.run(who, Command::RemoveMessage { chat: CHAT, message }) {
                        removals.push((message, Seq(stored.model.last), pictures.unwrap_or_default()));
                    }
                    continue;
                }
                7 | 8 => {
                    let Some((message, removal, pictures)) = removals.last() else { continue };
                    let alts = pictures.iter().map(|picture| (picture.id, picture.alt.clone())).collect();
                    let said = Restored { words: words(number), reply_to: None, is_action: false, alts };
                    let (message, removal) = (*message, *removal);
                    Command::RestoreMessage { chat: CHAT, message, removal, said: Box::new(said) }
                }
                9 => Command::RemoveOwn { chat: CHAT },
                10..13 => {
                    Command::React { chat: CHAT, message, emoji: emoji(number), is_on: kind != 12 }
                }
                _ => {
                    stored.wait(if place == 0 { LIFETIMES.message.millis() } else { 0 });
                    let events = vec![(CHAT, message)];
                    stored.propose(Proposal::Expire { users: vec![], chats: vec![], events });
                    continue;
                }
            };
            stored.run(who, command);
        }
        stored.check();
        let bytes = stored.bytes();
        for text in &texts {
            let says = |event: &Event| event.kind.message().is_some_and(|said| said.body.as_str() == text);
            prop_assert_eq!(contains(&bytes, text), stored.model.events.iter().any(says), "{}", text);
        }
        // What was exported is the same elsewhere.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        std::fs::write(&file, &bytes).unwrap();
        let other = Store::in_memory(LIFETIMES).unwrap();
        other.replace(&file).unwrap();
        let copy = Stored { store: other, model: stored.model.clone() };
        copy.check();
        prop_assert!(copy.bytes() == bytes);
        // Of a chat that has ended nothing is left.
        stored.propose(Proposal::End { chat: CHAT, through: Seq(stored.model.last) });
        prop_assert_eq!(stored.store.bytes(), 0);
        let rows = stored.store.read(stored.now()).unwrap();
        prop_assert!(!rows.check().unwrap().to_string().is_empty());
        prop_assert_eq!(stored.model.tallies.len() + stored.model.pictures.len(), 0);
    }
}

fn say(number: u8, text: &str, reply_to: Option<Seq>) -> Command {
    Command::Say {
        chat: CHAT,
        client_id: ClientId::from_bytes([number; ID_BYTES]),
        words: Wording::plain(Body::parse(text).unwrap()),
        reply_to,
        pictures: Vec::new(),
        is_action: false,
        waited_millis: 0,
    }
}

fn edit(message: Seq, text: &str) -> Command {
    Command::EditMessage { chat: CHAT, message, words: Wording::plain(Body::parse(text).unwrap()) }
}

#[test]
fn what_a_message_answers_is_quoted_as_it_is_now() {
    let mut stored = Stored::new();
    stored.run(1, say(1, "one\n\ntwo", None));
    let first = Seq(stored.model.last);
    stored.run(2, say(2, "answer", Some(first)));
    let answer = Seq(stored.model.last);
    let quote = |stored: &Stored| {
        let view = stored.store.read(stored.now()).unwrap();
        let of =
            |event: &Event| event.kind.message().unwrap().quote.clone().map(|quote| quote.line.to_string());
        let one = of(&view.event(CHAT, answer).unwrap().unwrap());
        let (newest, _) = view.newest_events(CHAT, 50).unwrap();
        let in_page = newest.iter().find(|event| event.seq == answer).map(of).unwrap();
        assert_eq!(one, in_page);
        one
    };
    assert_eq!(quote(&stored).as_deref(), Some("one two"));
    stored.run(1, edit(first, "three"));
    assert_eq!(quote(&stored).as_deref(), Some("three"));
    stored.run(1, Command::RemoveMessage { chat: CHAT, message: first });
    assert_eq!(quote(&stored), None);
    let removal = Seq(stored.model.last);
    let words = Wording::plain(Body::parse("four").unwrap());
    let said = Box::new(Restored { words, reply_to: None, is_action: false, alts: Vec::new() });
    stored.run(1, Command::RestoreMessage { chat: CHAT, message: first, removal, said });
    assert_eq!(quote(&stored).as_deref(), Some("four"));
    // It expires first, here by its time and not by its place.
    let at = stored.model.events.iter().find(|event| event.seq == first).unwrap().at.0;
    stored.model.now = at + LIFETIMES.message.millis();
    assert_eq!(quote(&stored), None);
}

#[test]
fn edits_are_read_with_the_newest_words_and_none_once_the_message_is_gone() {
    let mut stored = Stored::new();
    stored.run(1, say(1, "first", None));
    let message = Seq(stored.model.last);
    for text in ["second", "third"] {
        stored.run(1, edit(message, text));
    }
    let words = |stored: &Stored| {
        let events = stored.store.read(stored.now()).unwrap().events_after(CHAT, message, 50).unwrap();
        let words = |event: Event| match event.kind {
            EventKind::MessageEdited { wording, .. } => Some(wording.map(|wording| wording.body.to_string())),
            _ => None,
        };
        events.into_iter().filter_map(words).collect::<Vec<_>>()
    };
    let third = Some("third".to_owned());
    assert_eq!(words(&stored), [third.clone(), third]);
    stored.run(0, Command::RemoveMessage { chat: CHAT, message });
    assert_eq!(words(&stored), [None, None]);
    assert!(!contains(&stored.bytes(), "third"));
}

#[test]
fn a_batch_of_edits_is_as_small_as_one_of_what_they_say() {
    let mut stored = Stored::new();
    stored.run(1, say(1, "first", None));
    let message = Seq(stored.model.last);
    let long = "x".repeat(4_000);
    for number in 0..100 {
        stored.run(1, edit(message, &format!("{number} {}", &long[..3_900])));
    }
    let view = stored.store.read(stored.now()).unwrap();
    // The event of the message and the start of the chat are in a batch as well.
    let most = BATCH_BYTES / 3_900 + 3;
    let batch = view.events_after(CHAT, Seq::ZERO, 1_000).unwrap();
    assert!((most / 2..=most).contains(&batch.len()), "{}", batch.len());
    let (page, earlier) = view.newest_events(CHAT, 1_000).unwrap();
    assert!(earlier && (most / 2..=most).contains(&page.len()), "{}", page.len());
}

#[test]
fn what_is_read_to_be_quoted_counts_once_in_a_batch() {
    let mut stored = Stored::new();
    let long = "x".repeat(3_900);
    let said: Vec<Seq> = (0..60)
        .map(|number| {
            stored.run(1, say(number, &format!("{number} {long}"), None));
            Seq(stored.model.last)
        })
        .collect();
    let (first, last) = (said[0], said[59]);
    for (number, message) in (60..).zip(said) {
        stored.run(2, say(number, "an answer to each", Some(message)));
    }
    let after = Seq(stored.model.last);
    for number in 120..220 {
        stored.run(2, say(number, "an answer to one", Some(first)));
    }
    let view = stored.store.read(stored.now()).unwrap();
    let to_one = view.events_after(CHAT, after, 1_000).unwrap();
    assert_eq!(to_one.len(), 100);
    assert!(to_one.iter().all(|event| event.kind.message().is_some_and(|said| said.quote.is_some())));
    assert_eq!(view.newest_events(CHAT, 100).unwrap().0, to_one);
    let most = BATCH_BYTES / 3_900 + 1;
    let to_each = view.events_after(CHAT, last, 60).unwrap();
    assert!((most / 2..=most).contains(&to_each.len()), "{}", to_each.len());
    let (page, earlier) = view.events_before(CHAT, after.next(), 60).unwrap();
    assert!(earlier && (most / 2..=most).contains(&page.len()), "{}", page.len());
}

#[test]
fn what_rules_1_store_is_read_as_a_message_and_can_be_changed() {
    let mut stored = Stored::new();
    stored.model.rules = domain::Rules(1);
    let client_id = ClientId::from_bytes([1; ID_BYTES]);
    let body = Body::parse("by rules 1").unwrap();
    stored.run(1, Command::Post { chat: CHAT, client_id, body: body.clone(), waited_millis: 0 });
    let message = Seq(stored.model.last);
    let raw = stored.model.events.last().unwrap().clone();
    assert!(matches!(raw.kind, EventKind::Posted(_)));
    let record = postcard::to_stdvec(&raw).unwrap();
    assert!(contains(&stored.bytes(), "by rules 1"));
    assert!(stored.bytes().windows(record.len()).any(|row| row == record), "as an older node reads it");
    stored.check();
    let read = stored.store.read(stored.now()).unwrap().event(CHAT, message).unwrap().unwrap();
    let nickname = User::new(user(1)).nickname;
    let said = Message::plain(user(1), nickname, client_id, body);
    assert_eq!(read.kind, EventKind::Said(Box::new(said)));
    stored.model.rules = domain::Rules(2);
    stored.run(2, Command::React { chat: CHAT, message, emoji: emoji(0), is_on: true });
    stored.run(1, edit(message, "by rules 2"));
    stored.check();
    stored.run(1, Command::RemoveMessage { chat: CHAT, message });
    stored.check();
    assert!(!contains(&stored.bytes(), "by rules"));
}

#[test]
fn what_rules_1_store_is_formatted_wherever_it_is_read() {
    let mut stored = Stored::new();
    stored.model.rules = domain::Rules(1);
    let (client_id, body) = (ClientId::from_bytes([1; ID_BYTES]), Body::parse("**loud**").unwrap());
    stored.run(1, Command::Post { chat: CHAT, client_id, body, waited_millis: 0 });
    let message = Seq(stored.model.last);
    stored.model.rules = domain::Rules(2);
    stored.run(2, say(2, "answer", Some(message)));
    let answer = Seq(stored.model.last);
    let view = stored.store.read(stored.now()).unwrap();
    let alone = view.event(CHAT, message).unwrap().unwrap();
    assert_eq!(alone.kind.message().unwrap().marks.shown("**loud**"), "loud");
    let (page, _) = view.newest_events(CHAT, 50).unwrap();
    assert_eq!(page.iter().find(|event| event.seq == message), Some(&alone));
    let answer = view.event(CHAT, answer).unwrap().unwrap();
    let quote = answer.kind.message().unwrap().quote.clone().unwrap();
    assert_eq!(quote.line.to_string(), "loud");
}

#[test]
fn a_database_of_plain_texts_is_exported_as_it_always_was() {
    let mut stored = Stored::new();
    stored.model.rules = domain::Rules(1);
    let body = Body::parse("hello").unwrap();
    let client_id = ClientId::from_bytes([1; ID_BYTES]);
    stored.run(1, Command::Post { chat: CHAT, client_id, body, waited_millis: 0 });
    // The last table that Qchat 0.1 knows has number 13, and it refuses what it does not know.
    let numbers = numbers_of_parts(&stored.bytes());
    assert!(numbers.iter().all(|number| *number <= 13) && !numbers.is_empty(), "{numbers:?}");
}

/// Returns the numbers of the tables of which a snapshot file has rows.
fn numbers_of_parts(file: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    let mut rest = &file[5..];
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let part = &behind[..length];
        // Parts: 0 is the head, 1 rows, 2 the end.
        if part[0] == 1 {
            numbers.push(part[1]);
        }
        rest = &behind[length..];
    }
    numbers
}
