//! Reactions as readers are sent them: whatever is reacted to, removed and forgotten, a reader who is sent what has changed
//! ends up with all of it, and of a message that has gone nothing is left.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::collections::BTreeMap;

use domain::{
    Body, Change, ChatId, ClientId, Command, Decision, Emoji, MessageTally, Nickname, Proposal, Reaction,
    Seq, StateReader, Tally, Timestamp, User, UserId, Visibility, Wording,
    id::ID_BYTES,
    model::{LIFETIMES, Model},
    reaction::{REACTIONS_LIMIT, REACTORS_NAMED},
    tally::TALLIES_LIMIT,
};
use engine::storage::{Store, Transaction};
use proptest::{collection::vec, prelude::*};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const PEOPLE: u8 = 4;
/// After all that is done.
const END: Seq = Seq(1 << 40);

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

fn emoji(number: usize) -> Emoji {
    Emoji::try_from(["👍", "❤️", "🎉"][number % 3].to_owned()).unwrap()
}

/// A database, and the model that decides.
struct Stored {
    store: Store,
    model: Model,
}

impl Stored {
    fn new() -> Self {
        let model = Model { now: 1_000_000, ..Model::default() };
        let mut stored = Self { store: Store::in_memory(LIFETIMES).unwrap(), model };
        stored.run(0, Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Public });
        stored
    }

    fn propose(&mut self, proposal: Proposal) -> Decision {
        let decision = self.model.propose(proposal);
        if let Decision::Accepted(changes) = &decision {
            let work =
                |batch: &mut Transaction<'_>| changes.iter().try_for_each(|change| batch.apply(change));
            self.store.write(Seq(self.model.last), Timestamp(self.model.now), work).unwrap();
        }
        decision
    }

    fn run(&mut self, by: u8, command: Command) -> Decision {
        self.model.now += 1_000;
        self.propose(Proposal::Command { by: user(by), command })
    }

    fn say(&mut self, number: usize) {
        let command = Command::Say {
            chat: CHAT,
            client_id: ClientId::from_bytes([u8::try_from(number).unwrap(); ID_BYTES]),
            words: Wording::plain(Body::parse("hello").unwrap()),
            reply_to: None,
            pictures: Vec::new(),
            is_action: false,
            waited_millis: 0,
        };
        self.run(0, command);
    }

    fn message(&self, place: usize) -> Seq {
        let mut said = self.model.events.iter().filter(|event| event.kind.message().is_some());
        said.nth(place).map_or(Seq(999), |event| event.seq)
    }

    fn read(&self) -> engine::storage::Snapshot {
        self.store.read(Timestamp(self.model.now)).unwrap()
    }

    /// Returns the tallies that the model has.
    fn expected(&self) -> BTreeMap<Seq, MessageTally> {
        let of = |((_, seq), tally): (&(ChatId, Seq), &Tally)| {
            (!tally.of.is_empty()).then(|| (*seq, MessageTally::new(*seq, tally.clone(), |_| false)))
        };
        self.model.tallies.iter().filter_map(of).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_is_sent_what_has_changed_since_anywhen_has_all_of_it(
        steps in vec((0..PEOPLE, 0_usize..6, 0_u8..12), 0..80),
        looks in vec(0_usize..80, 1..6),
    ) {
        let mut stored = Stored::new();
        stored.say(0);
        // Readers who look only now and then, each with what they know and up to which change.
        let mut readers = vec![(Seq::ZERO, BTreeMap::<Seq, MessageTally>::new()); looks.len()];
        for (number, (who, place, kind)) in steps.iter().enumerate() {
            let message = stored.message(*place);
            match kind {
                0 | 1 => stored.say(number + 1),
                2 => {
                    stored.run(0, Command::RemoveMessage { chat: CHAT, message });
                }
                3 if *place == 0 => {
                    // All of them are forgotten.
                    let through = stored.model.events.last().map_or(Seq::ZERO, |event| event.seq);
                    let events = vec![(CHAT, through)];
                    stored.model.now += LIFETIMES.message.millis();
                    let chats = vec![(CHAT, Timestamp(stored.model.now))];
                    stored.propose(Proposal::Touch { users: vec![], chats });
                    stored.propose(Proposal::Expire { users: vec![], chats: vec![], events });
                }
                _ => {
                    let is_on = *kind != 4;
                    stored.run(*who, Command::React { chat: CHAT, message, emoji: emoji(number), is_on });
                }
            }
            for (look, (known, tallies)) in looks.iter().zip(&mut readers) {
                if number % (look + 1) == 0 {
                    let to = Seq(stored.model.last);
                    let changed = stored.read().tallies_since(CHAT, *known, to).unwrap();
                    prop_assert_eq!(changed.reacted, to);
                    prop_assert!(changed.tallies.is_sorted_by_key(|tally| tally.changed));
                    for tally in changed.tallies {
                        prop_assert!(tally.changed > *known && tally.changed <= to);
                        tallies.insert(tally.message, tally);
                    }
                    *known = to;
                }
            }
        }
        let (view, expected) = (stored.read(), stored.expected());
        let newest = stored.model.tallies.values().map(|tally| tally.changed).max();
        prop_assert_eq!(view.reacted(CHAT).unwrap(), newest.unwrap_or_default());
        for (known, mut tallies) in readers {
            let rest = view.tallies_since(CHAT, known, END).unwrap().tallies;
            tallies.extend(rest.into_iter().map(|tally| (tally.message, tally)));
            // A reader drops what is gone by its events.
            tallies.retain(|message, tally| {
                !tally.of.is_empty() && stored.model.tallies.contains_key(&(CHAT, *message))
            });
            prop_assert_eq!(&tallies, &expected);
        }
        // A page has the same, and which reactions are the reader's own.
        for by in (0..PEOPLE).map(user) {
            let page = view.tallies_of(CHAT, Seq(1)..=END, by).unwrap();
            prop_assert_eq!(page.iter().map(|tally| tally.message).collect::<Vec<_>>(), expected.keys().copied().collect::<Vec<_>>());
            let mut has_reacted = false;
            for tally in &page {
                for count in &tally.of {
                    let Ok(is_mine) = stored.model.has_reacted(CHAT, tally.message, by, &count.emoji);
                    prop_assert_eq!(count.is_mine, is_mine);
                    has_reacted |= is_mine;
                }
            }
            prop_assert_eq!(view.has_reacted_in(CHAT, by).unwrap(), has_reacted);
        }
        drop(view);
        // Of a chat that has ended nothing is left, in none of the tables.
        stored.propose(Proposal::End { chat: CHAT, through: Seq(stored.model.last) });
        prop_assert_eq!(stored.store.bytes(), 0);
        let view = stored.read();
        prop_assert_eq!(view.reacted(CHAT).unwrap(), Seq::ZERO);
        prop_assert!(view.tallies_since(CHAT, Seq::ZERO, END).unwrap().tallies.is_empty());
        prop_assert!((0..PEOPLE).all(|by| !view.has_reacted_in(CHAT, user(by)).unwrap()));
    }
}

/// Stores reactions of users to a message, each of them as an entry of the log.
fn react(store: &Store, seq: &mut u64, message: u64, emoji: &str, by: std::ops::Range<u64>) {
    for number in by {
        *seq += 1;
        let mut bytes = [0; ID_BYTES];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let long = Nickname::try_from("👨\u{200d}👩\u{200d}👧\u{200d}👦".repeat(20)).unwrap();
        let change = Change::Reacted(Reaction {
            chat: CHAT,
            message: Seq(message),
            emoji: Emoji::try_from(emoji.to_owned()).unwrap(),
            by: User { id: UserId::from_bytes(bytes), nickname: long },
            is_on: true,
            seq: Seq(*seq),
        });
        store.write(Seq(*seq), Timestamp(1_000_000), |batch| batch.apply(&change)).unwrap();
    }
}

/// A chat with this many messages, at 1, 2 and so on.
fn chat_with(messages: usize) -> (Store, u64) {
    let mut stored = Stored::new();
    (0..messages).for_each(|number| stored.say(number));
    (stored.store, stored.model.last)
}

#[test]
fn more_than_is_sent_at_once_comes_in_parts_and_is_too_much_to_resume() {
    let (store, mut seq) = chat_with(TALLIES_LIMIT + 50);
    let began = seq;
    for message in 0..TALLIES_LIMIT as u64 + 50 {
        react(&store, &mut seq, message + 2, "👍", 0..1);
    }
    let view = store.read(Timestamp(1_000_000)).unwrap();
    assert!(!view.can_resume_reactions(CHAT, Seq(began)).unwrap());
    assert!(view.can_resume_reactions(CHAT, Seq(began + 50)).unwrap());
    let first = view.tallies_since(CHAT, Seq::ZERO, Seq(seq)).unwrap();
    assert_eq!((first.tallies.len(), first.reacted), (TALLIES_LIMIT, Seq(began + TALLIES_LIMIT as u64)));
    let second = view.tallies_since(CHAT, first.reacted, Seq(seq)).unwrap();
    assert_eq!((second.tallies.len(), second.reacted), (50, Seq(seq)));
    let nothing = view.tallies_since(CHAT, Seq(seq), Seq(seq)).unwrap();
    assert_eq!((nothing.tallies.len(), nothing.reacted), (0, Seq(seq)));
    assert_eq!(view.tallies_since(CHAT, Seq::ZERO, Seq(began + 1)).unwrap().tallies.len(), 1);
}

#[test]
fn a_page_of_messages_that_everybody_has_reacted_to_stays_small() {
    const MESSAGES: usize = 24;
    let (store, mut seq) = chat_with(MESSAGES);
    for message in 2..MESSAGES as u64 + 2 {
        for number in 0..REACTIONS_LIMIT as u64 {
            let emoji = char::from_u32(0x1f600 + u32::try_from(number).unwrap()).unwrap().to_string();
            react(&store, &mut seq, message, &emoji, 0..REACTORS_NAMED as u64);
        }
    }
    let view = store.read(Timestamp(1_000_000)).unwrap();
    let page = view.tallies_of(CHAT, Seq(1)..=END, user(99)).unwrap();
    assert_eq!(page.len(), MESSAGES);
    assert!(page.iter().all(|tally| tally.of.iter().all(|count| count.count == REACTORS_NAMED as u32)));
    assert!(
        page[0].of[0].people.is_empty() && !page[MESSAGES - 1].of[0].people.is_empty(),
        "named for the newest"
    );
    let size = serde_json::to_string(&page).unwrap().len();
    assert!(size < 200_000, "{size} bytes");
    // What has changed comes in parts of bounded size.
    let part = view.tallies_since(CHAT, Seq::ZERO, Seq(seq)).unwrap();
    assert!(part.tallies.len() < MESSAGES && part.reacted < Seq(seq));
}
