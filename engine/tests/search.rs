//! Searches, against what a look at every message finds.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints what it measures, and says what went wrong by failing"
)]

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{
    Body, Change, ChatId, ClientId, Command, Decision, Event, EventKind, Expiry, Mark, MarkKind, Marks,
    Message, Nickname, Problem, Proposal, Seq, Timestamp, Title, UserId, Visibility, Wording,
    id::ID_BYTES,
    model::{LIFETIMES, Model},
    search::{Found, HITS_LIMIT, Sought},
};
use engine::{
    Caller, Engine, EngineParts,
    clock::Clock,
    command_log::local,
    fanout::Fanout,
    limits::{Limits, Quotas, Rates},
    lobby::{Lobby, OriginKey},
    presence::{GRACE, NodeId, Presence},
    progress::Progress,
    storage::Store,
};
use proptest::{collection::vec, prelude::*};
use tokio::runtime::{self, Runtime};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
/// The number of users. The first of them searches.
const PEOPLE: u8 = 3;
const TEXTS: [&str; 5] = ["tea", "Green TEA", "Ärger", "at five", "coffee\nand ärgerlich"];

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

fn caller(number: u8) -> Caller {
    Caller { user: user(number), address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// An engine, and the model of what it has stored.
struct Stored {
    engine: Engine,
    store: Arc<Store>,
    model: Model,
    time: Arc<AtomicU64>,
}

impl Stored {
    fn new() -> Self {
        let model = Model { now: 1_000_000_000, ..Model::default() };
        let time = Arc::new(AtomicU64::new(model.now));
        let shown = Arc::clone(&time);
        let clock: Clock = Arc::new(move || Timestamp(shown.load(Ordering::SeqCst)));
        let store = Arc::new(Store::in_memory(LIFETIMES).unwrap());
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
        let lobby = Lobby::new(Vec::new(), Arc::clone(&presence), LIFETIMES, Arc::clone(&clock), usize::MAX);
        let (sequencer, _) = local::open(Arc::clone(&clock), store.epoch(), Seq::ZERO);
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&store),
            sequencer: Arc::new(sequencer),
            fanout: Arc::new(Fanout::new(1)),
            presence,
            lobby: Arc::new(lobby),
            limits: Arc::new(Limits::new(Rates::OFF, Quotas::OFF, Duration::from_secs(60))),
            pictures: Arc::new(engine::pictures::Pictures::off()),
            progress: Arc::new(Progress::new(Seq::ZERO)),
            is_shared: false,
            clock,
            origin_key: OriginKey::new(b"secret"),
        });
        let mut stored = Self { engine, store, model, time };
        for number in 0..PEOPLE {
            let nickname = Nickname::parse(["Ana", "Bo", "Cy"][usize::from(number)]).unwrap();
            stored.run(number, Command::SetNickname { nickname, chats: Vec::new() });
        }
        let (title, visibility) = (Some(Title::parse("Talk").unwrap()), Visibility::Public);
        stored.run(0, Command::StartChat { chat: CHAT, title, visibility });
        stored
    }

    /// Decides by the model, and stores what was decided.
    fn propose(&mut self, proposal: Proposal) {
        let decision = self.model.propose(proposal);
        let Decision::Accepted(changes) = decision else { return };
        let (seq, at) = (Seq(self.model.last), Timestamp(self.model.now));
        self.store.write(seq, at, |batch| changes.iter().try_for_each(|change| batch.apply(change))).unwrap();
        self.time.store(self.model.now, Ordering::SeqCst);
    }

    fn run(&mut self, by: u8, command: Command) {
        self.model.now += 1_000;
        self.propose(Proposal::Command { by: user(by), command });
    }

    /// Lets a time pass in which the chat and the users stay.
    fn wait(&mut self, millis: u64) {
        self.model.now += millis;
        let now = Timestamp(self.model.now);
        let users = (0..PEOPLE).map(|number| (user(number), now)).collect();
        self.propose(Proposal::Touch { users, chats: vec![(CHAT, now)] });
    }

    fn say(&mut self, by: u8, number: usize, words: Wording) {
        let client_id = ClientId::from_bytes([u8::try_from(number).unwrap(); ID_BYTES]);
        self.run(
            by,
            Command::Say {
                chat: CHAT,
                client_id,
                words,
                reply_to: None,
                pictures: Vec::new(),
                is_action: false,
                waited_millis: 0,
            },
        );
    }

    /// Returns the position of a message.
    fn message(&self, place: usize) -> Seq {
        let mut said = self.model.events.iter().filter(|event| event.kind.message_or_tombstone().is_some());
        said.nth(place).map_or(Seq(999_999), |event| event.seq)
    }

    async fn search(&self, sought: &Sought, before: Option<Seq>) -> Found {
        let page = self.engine.search_page(caller(0), CHAT, sought.clone(), before).await.unwrap();
        page.found.unwrap()
    }

    /// Returns all that is found, slice by slice.
    async fn search_all(&self, sought: &Sought) -> Vec<Found> {
        let mut slices = vec![self.search(sought, None).await];
        while let Some(next) = slices.last().and_then(|slice| slice.next) {
            slices.push(self.search(sought, Some(next)).await);
        }
        slices
    }

    /// Returns the messages that the searching user is shown, newest first.
    fn shown(&self) -> Vec<(Seq, &Message)> {
        let expiry = Expiry { now: Timestamp(self.model.now), lifetimes: LIFETIMES };
        let hidden = self.store.read(Timestamp(self.model.now)).unwrap().hidden(user(0)).unwrap();
        let there = self.model.events.iter().rev().filter(|event| !expiry.of_event(event.at));
        let messages = there.filter_map(|event| Some((event.seq, event.kind.message()?)));
        messages.filter(|(_, message)| !hidden.contains(&message.author)).collect()
    }
}

/// Returns words of which the first three letters are a mention of somebody.
fn words(text: &str, mentioned: u8) -> Wording {
    let body = Body::parse(&format!("@Bo {text}")).unwrap();
    let marks = Marks::checked(&body, vec![Mark(MarkKind::Mention, 0, 3)]).unwrap();
    Wording { body, marks, mentions: vec![user(mentioned)] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_search_finds_what_is_shown_and_has_all_words(
        steps in vec((0..PEOPLE, 0_usize..40, 0..TEXTS.len(), 0_u8..20), 0..120),
        typed in "((tea|GREEN|ä|ärger|bo|five) ){1,2}"
    ) {
        let mut stored = Stored::new();
        for (number, (who, place, text, kind)) in steps.into_iter().enumerate() {
            let message = stored.message(place);
            match kind {
                0..14 => stored.say(who, number, words(TEXTS[text], who.wrapping_add(kind) % PEOPLE)),
                14..16 => stored.run(who, Command::EditMessage { chat: CHAT, message, words: words(TEXTS[text], 0) }),
                16 => stored.run(who, Command::RemoveMessage { chat: CHAT, message }),
                17 => stored.run(0, Command::SetHidden { person: user(who), is_hidden: place % 2 == 0 }),
                18 => stored.run(who, Command::SetNickname { nickname: Nickname::parse("Tea").unwrap(), chats: vec![CHAT] }),
                _ => stored.wait(LIFETIMES.message.millis() / 3),
            }
        }
        stored.wait(1_000);
        let typed_words: Vec<_> = typed.split_whitespace().map(str::to_lowercase).collect();
        let has_all = |message: &Message| {
            let text = format!("{}\n{}", message.body, message.nickname).to_lowercase();
            typed_words.iter().all(|word| text.contains(word))
        };
        let of_words: Vec<_> =
            stored.shown().iter().filter(|(_, message)| has_all(message)).map(|(seq, _)| *seq).collect();
        let mentions: Vec<_> = stored
            .shown()
            .iter()
            .filter(|(_, message)| message.meant().contains(&user(0)))
            .map(|(seq, _)| *seq)
            .collect();
        let shown: BTreeSet<_> = stored.shown().iter().map(|(seq, _)| *seq).collect();
        let runtime = runtime();
        for (sought, expected) in [(Sought::Words(typed.clone()), of_words), (Sought::Mentions, mentions)] {
            let slices = runtime.block_on(stored.search_all(&sought));
            prop_assert!(slices.iter().all(|slice| slice.hits.len() <= HITS_LIMIT));
            let hits: Vec<_> = slices.iter().flat_map(|slice| &slice.hits).collect();
            let found: Vec<_> = hits.iter().map(|hit| hit.event.seq).collect();
            prop_assert_eq!(found, expected);
            for hit in hits {
                let beside = [&hit.before, &hit.after].map(|beside| beside.as_ref().map(|beside| beside.seq));
                prop_assert!(beside.iter().flatten().all(|seq| shown.contains(seq)));
                prop_assert!(beside[0].is_none_or(|seq| seq < hit.event.seq));
                prop_assert!(beside[1].is_none_or(|seq| seq > hit.event.seq));
                let excerpt: String = hit.excerpt.iter().map(|part| part.text.as_str()).collect();
                prop_assert!(excerpt.starts_with("@Bo "));
            }
        }
    }
}

/// Stores plain messages at once, without the model.
fn fill(stored: &mut Stored, count: u64, text: impl Fn(u64) -> String) {
    let (first, at) = (stored.model.last + 1, stored.model.now);
    let event = |number: u64| {
        let seq = first + number;
        let mut client_id = [0; ID_BYTES];
        client_id[2..].copy_from_slice(&seq.to_be_bytes());
        let (nickname, client_id) = (Nickname::parse("Bo").unwrap(), ClientId::from_bytes(client_id));
        let said = Message::plain(user(1), nickname, client_id, Body::parse(&text(number)).unwrap());
        let kind = EventKind::Said(Box::new(said));
        Change::Chat(Event { chat: CHAT, seq: Seq(seq), prev: Seq(seq - 1), at: Timestamp(at), kind })
    };
    let last = first + count - 1;
    let store = |batch: &mut engine::storage::Transaction<'_>| {
        (0..count).try_for_each(|number| batch.apply(&event(number)))
    };
    stored.store.write(Seq(last), Timestamp(at), store).unwrap();
    stored.model.last = last;
}

#[tokio::test]
async fn a_slice_ends_after_some_events_and_says_how_far_it_has_come() {
    let mut stored = Stored::new();
    let oldest = Seq(stored.model.last + 1);
    fill(&mut stored, 20_010, |number| if number == 0 { "a needle".to_owned() } else { "hay".to_owned() });
    let slices = stored.search_all(&Sought::Words("NEEDLE".to_owned())).await;
    let found: Vec<Vec<_>> =
        slices.iter().map(|slice| slice.hits.iter().map(|hit| hit.event.seq).collect()).collect();
    assert_eq!(found, [vec![], vec![oldest]]);
    assert!(slices[0].next.is_some() && slices[0].looked_to.is_some());
    assert_eq!(slices[1].next, None);
}

#[tokio::test]
async fn a_slice_ends_after_some_hits_and_some_bytes() {
    let mut stored = Stored::new();
    fill(&mut stored, 50, |number| format!("tea {number}"));
    let slices = stored.search_all(&Sought::Words("tea".to_owned())).await;
    assert_eq!(slices.iter().map(|slice| slice.hits.len()).collect::<Vec<_>>(), [20, 20, 10]);
    let mut stored = Stored::new();
    fill(&mut stored, 10, |_| format!("tea{}", "\u{10348}".repeat(3_900)));
    let slices = stored.search_all(&Sought::Words("tea".to_owned())).await;
    assert_eq!(slices.iter().map(|slice| slice.hits.len()).sum::<usize>(), 10);
    assert!(slices.len() > 1, "what is found is as large as a page of history at most");
}

#[tokio::test]
async fn only_whoever_may_enter_searches() {
    let mut stored = Stored::new();
    fill(&mut stored, 1, |_| "tea".to_owned());
    stored.run(0, Command::SetRemoved { chat: CHAT, person: user(2), is_removed: true });
    let tea = Sought::Words("tea".to_owned());
    let unknown = ChatId::from_bytes([8; ID_BYTES]);
    let search = async |by, chat| {
        let page = stored.engine.search_page(caller(by), chat, tea.clone(), None).await;
        page.map(|page| page.found.unwrap().hits.len())
    };
    assert_eq!(search(2, CHAT).await, Err(Problem::Removed));
    assert_eq!(search(0, unknown).await, Err(Problem::UnknownChat));
    assert_eq!(search(1, CHAT).await, Ok(1));
}

#[tokio::test]
async fn what_is_too_long_or_empty_is_not_looked_for() {
    let mut stored = Stored::new();
    fill(&mut stored, 1, |_| "tea".to_owned());
    for (typed, expected) in [
        ("x".repeat(101), Err(Problem::SearchTooLong)),
        ("x ".repeat(9), Err(Problem::SearchTooLong)),
        (" \n".to_owned(), Ok(Found::default())),
    ] {
        let page = stored.engine.search_page(caller(0), CHAT, Sought::Words(typed), None).await.unwrap();
        assert_eq!(page.found, expected);
    }
}

/// Searches a chat with this text in each message for a word that is in none. Returns how long it took.
async fn measure(name: &str, text: &str) -> Duration {
    const MESSAGES: u64 = 100_000;
    let mut stored = Stored::new();
    fill(&mut stored, MESSAGES, |number| format!("{text} {number}"));
    let begun = Instant::now();
    let slices = stored.search_all(&Sought::Words("nowhere".to_owned())).await;
    let took = begun.elapsed();
    assert!(slices.iter().all(|slice| slice.hits.is_empty()));
    println!("{name}: {MESSAGES} messages in {} slices take {took:?}, half of it pauses", slices.len());
    took
}

/// `cargo test --release -p engine --test search -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn a_chat_of_a_hundred_thousand_messages_is_searched_in_a_moment() {
    for (name, text) in [
        ("Latin", "Shall we have a cup of tea at five, or coffee, as always?"),
        ("Arabic", "هل نتناول كوبا من الشاي في الساعة الخامسة أم القهوة كالعادة؟"),
    ] {
        assert!(measure(name, text).await < Duration::from_secs(2), "{name}");
    }
}
