//! Every kind of event, on its way through the engine: what was applied is read back from the database, by pages, and by
//! subscribers, as it was; and whatever [`EventKind::message`] says is a message is treated as one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::{collections::BTreeSet, fs, iter, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    Alt, Answer, Body, Change, ChatId, ClientId, Event, EventKind, Lifetimes, Mark, MarkKind, Marks, Message,
    Nickname, Picture, PictureId, PlainMessage, RemovedBy, Seq, StateReader, Timestamp, Title, Tombstone,
    User, UserId, Visibility, Wording, frame::ServerFrame, id::ID_BYTES, model::Model, page::About,
};
use engine::{
    Engine, EngineParts, Focus, HistoryPart,
    change_dispatcher::ChangeDispatcher,
    clock::Clock,
    command_log::local,
    fanout::{CatchUp, Fanout, FrameSink, Full, Subscriber},
    limits::{Limits, Quotas, Rates},
    lobby::{Lobby, OriginKey},
    presence::{GRACE, NodeId, Presence},
    progress::Progress,
    storage::Store,
};

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
/// A time at which nothing in the tests has expired.
const NOW: Timestamp = Timestamp(8);
/// More events than any test stores.
const LIMIT: usize = 100;

/// The position of a message that is there before the example.
const BEFORE: Seq = Seq(2);
/// The position of the example.
const EXAMPLE: Seq = Seq(3);

/// Returns a user: Ana (0) owns the chat, Bea (1) writes in it.
fn user(number: u8) -> User {
    let name = ["Ana", "Bea", "Cy", "Dee"][usize::from(number)];
    User { id: UserId::from_bytes([number; ID_BYTES]), nickname: Nickname::parse(name).unwrap() }
}

/// Returns the client id of the message at a position.
fn client_id(at: Seq) -> ClientId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&at.0.to_be_bytes());
    ClientId::from_bytes(bytes)
}

/// Returns a message of Bea.
fn message(at: Seq) -> Message {
    let User { id: author, nickname } = user(1);
    let body = Body::parse(&format!("message {at}")).unwrap();
    Message::plain(author, nickname, client_id(at), body)
}

/// Returns words that mention Cy.
fn words() -> Wording {
    let body = Body::parse("@Cy **hi**").unwrap();
    let marks = [(MarkKind::Mention, 0, 3), (MarkKind::Strong, 4, 10), (MarkKind::Hidden, 4, 6)];
    let marks = marks.map(|(kind, from, to)| Mark(kind, from, to)).to_vec();
    Wording { marks: Marks::checked(&body, marks).unwrap(), body, mentions: vec![user(2).id] }
}

/// Returns a message of Bea with everything that a message can have: it answers the one before it.
fn full_message(at: Seq) -> Message {
    let Wording { body, marks, mentions } = words();
    let alt = Alt::parse("A cat").unwrap();
    let picture = |number| Picture {
        id: PictureId::from_bytes([number; ID_BYTES]),
        width: 20,
        height: 10,
        small: (2, 1),
        bytes: 300,
        alt: alt.clone(),
    };
    Message {
        body,
        marks,
        mentions,
        reply_to: Some(BEFORE),
        reply_author: Some(user(0).id),
        pictures: vec![picture(1), picture(2)],
        is_action: true,
        ..message(at)
    }
}

/// Returns a message of Bea as rules 1 store it.
fn plain_message(at: Seq) -> PlainMessage {
    let Message { author, nickname, client_id, body, .. } = message(at);
    PlainMessage { author, nickname, client_id, body }
}

fn title(title: &str) -> Title {
    Title::parse(title).unwrap()
}

fn started() -> EventKind {
    let User { id: owner, nickname } = user(0);
    EventKind::Started { owner, nickname, title: title("Tea"), visibility: Visibility::Public, guest: None }
}

/// Returns an example of the kind that is declared after that of the given event, or of the first one for `None`. `None`
/// if there is no other kind. This is a match, so that the compiler asks for the example of a new kind: the kind before it
/// returns it.
fn example_after(kind: Option<&EventKind>) -> Option<EventKind> {
    let [ana, bea, cy, dee] = [0, 1, 2, 3].map(user);
    let nickname = ana.nickname.clone();
    let Some(kind) = kind else { return Some(started()) };
    Some(match kind {
        EventKind::Started { .. } => EventKind::Posted(plain_message(EXAMPLE)),
        EventKind::Posted(_) => {
            EventKind::Renamed { user: cy.id, from: cy.nickname, to: Nickname::parse("Cyril").unwrap() }
        }
        EventKind::Renamed { .. } => EventKind::TitleEdited { nickname, title: title("Tea at six") },
        EventKind::TitleEdited { .. } => {
            EventKind::VisibilitySet { nickname, visibility: Visibility::Private }
        }
        EventKind::VisibilitySet { .. } => EventKind::Invited { by: ana, to: bea },
        EventKind::Invited { .. } => EventKind::InviteAnswered { by: bea, answer: Answer::Accept },
        EventKind::InviteAnswered { .. } => EventKind::InviteWithdrawn { by: ana, to: bea.id },
        EventKind::InviteWithdrawn { .. } => {
            EventKind::MessageRemoved { message: BEFORE, by: RemovedBy::Owner }
        }
        EventKind::MessageRemoved { .. } => EventKind::Tombstone(Tombstone {
            author: bea.id,
            nickname: bea.nickname,
            client_id: client_id(EXAMPLE),
            by: RemovedBy::Author,
        }),
        EventKind::Tombstone(_) => EventKind::PersonRemoved { nickname, person: cy },
        EventKind::PersonRemoved { .. } => EventKind::PersonAdmitted { nickname, person: cy },
        EventKind::PersonAdmitted { .. } => EventKind::LockSet { nickname, is_locked: true },
        EventKind::LockSet { .. } => EventKind::PeopleRemoved { nickname, first: cy, others: vec![dee.id] },
        EventKind::PeopleRemoved { .. } => EventKind::OwnRemoved { user: bea.id },
        EventKind::OwnRemoved { .. } => EventKind::Said(Box::new(full_message(EXAMPLE))),
        EventKind::Said(_) => EventKind::MessageEdited { message: BEFORE, wording: Some(Box::new(words())) },
        EventKind::MessageEdited { .. } => {
            let said = Message { reply_to: None, reply_author: None, ..full_message(BEFORE) };
            EventKind::MessageRestored { message: BEFORE, said: Some(Box::new(said)) }
        }
        EventKind::MessageRestored { .. } => return None,
    })
}

/// Returns an example of every kind of event.
fn examples() -> Vec<EventKind> {
    iter::successors(example_after(None), |kind| example_after(Some(kind))).collect()
}

/// Returns an example of every kind of message.
fn messages() -> Vec<EventKind> {
    examples().into_iter().filter(|kind| kind.posted_message().is_some()).collect()
}

/// Returns an event of the chat, right after the one at the position before.
fn event(seq: Seq, kind: EventKind) -> Change {
    let prev = Seq(seq.0 - 1);
    Change::Chat(Event { chat: CHAT, seq, prev, at: Timestamp(seq.0), kind })
}

/// Returns the changes that start the chat, post a message, or what is left of one that is restored, and then make the
/// event.
fn changes(kind: &EventKind) -> [Change; 3] {
    let said = EventKind::Said(Box::new(message(BEFORE)));
    let before = Event { chat: CHAT, seq: BEFORE, prev: Seq(1), at: Timestamp(BEFORE.0), kind: said };
    let before = match kind {
        EventKind::MessageRestored { .. } => before.redact(RemovedBy::Author),
        _ => before,
    };
    [event(Seq(1), started()), Change::Chat(before), event(EXAMPLE, kind.clone())]
}

/// A database, and the model of what it should contain.
struct Stored {
    store: Store,
    model: Model,
}

impl Stored {
    fn in_memory() -> Self {
        Self { store: Store::in_memory(Lifetimes::default()).unwrap(), model: Model::default() }
    }

    fn in_file(path: &Path) -> Self {
        Self { store: Store::open(path, Lifetimes::default()).unwrap(), model: Model::default() }
    }

    /// Applies a change, as an entry of its own, to both.
    fn apply(&mut self, change: &Change) {
        self.model.apply(change);
        let seq = self.next();
        self.store.write(seq, NOW, |batch| batch.apply(change)).unwrap();
    }

    /// Returns the sequence number of the next entry.
    fn next(&self) -> Seq {
        self.store.read(NOW).unwrap().log().unwrap().map_or(Seq(1), |log| log.seq.next())
    }

    /// Checks that the database returns what the model has.
    fn check(&self, when: &str) {
        let Self { store, model } = self;
        let view = store.read(NOW).unwrap();
        let chat = model.chats.get(&CHAT).map(|kept| kept.value.clone());
        assert_eq!(view.chat(CHAT).unwrap(), chat, "{when}");
        let events = &model.read_events()[..];
        assert_eq!(view.events_after(CHAT, Seq::ZERO, LIMIT).unwrap(), events, "{when}");
        assert_eq!(view.newest_events(CHAT, LIMIT).unwrap(), (events.to_vec(), false), "{when}");
        for (place, event) in events.iter().enumerate() {
            assert_eq!(view.event(CHAT, event.seq).unwrap().as_ref(), Some(event), "{when}");
            let (before, _) = view.events_before(CHAT, event.seq, LIMIT).unwrap();
            assert_eq!(before, events[..place], "{when}");
        }
        // Of messages, what is told apart from other events.
        let authors: BTreeSet<UserId> =
            events.iter().filter_map(|event| Some(event.kind.message_or_tombstone()?.author)).collect();
        let (found, _) = view.authors_since(CHAT, Timestamp(0), LIMIT).unwrap();
        assert_eq!(found, Vec::from_iter(authors), "{when}");
        let [ana, bea] = [0, 1].map(|number| user(number).id);
        for author in [ana, bea] {
            let has_said = model.posted.keys().any(|(_, by, _)| *by == author);
            assert_eq!(view.has_said_before(CHAT, author, Seq(u64::MAX)).unwrap(), has_said, "{when}");
        }
        let look = store.write(self.next(), NOW, |batch| {
            for author in [ana, bea] {
                let Ok(has_messages) = model.has_messages_by(CHAT, author);
                assert_eq!(batch.has_messages_by(CHAT, author)?, has_messages, "{when}");
                for at in [BEFORE, EXAMPLE] {
                    let posted = model.posted.get(&(CHAT, author, client_id(at))).copied();
                    assert_eq!(batch.posted(CHAT, author, client_id(at))?, posted, "{when}: message {at}");
                }
            }
            for picture in [1, 2].map(|number| PictureId::from_bytes([number; ID_BYTES])) {
                let Ok(message) = model.message_of_picture(picture);
                assert_eq!(batch.message_of_picture(picture)?, message, "{when}");
                for at in [BEFORE, EXAMPLE] {
                    let Ok(record) = model.picture(CHAT, at, picture);
                    assert_eq!(batch.picture(CHAT, at, picture)?, record, "{when}: message {at}");
                }
            }
            Ok(())
        });
        look.unwrap();
    }
}

#[test]
fn there_is_an_example_of_every_kind() {
    let kinds = examples();
    let position = |kind: &EventKind| postcard::to_stdvec(kind).unwrap()[0];
    let positions: Vec<u8> = kinds.iter().map(position).collect();
    let next = u8::try_from(kinds.len()).unwrap();
    assert_eq!(positions, Vec::from_iter(0..next), "they are in the order in which they are declared");
    // A kind at the next position would be read, or need more bytes.
    let none = postcard::from_bytes::<EventKind>(&[next]);
    assert_eq!(none, Err(postcard::Error::SerdeDeCustom), "a kind of event has no example");
    assert!(kinds.iter().any(|kind| kind.message().is_some()));
}

#[test]
fn every_kind_of_event_is_read_back_as_it_was_applied() {
    let folder = tempfile::tempdir().unwrap();
    for (number, kind) in examples().iter().enumerate() {
        let path = folder.path().join(format!("{number}.redb"));
        let mut stored = Stored::in_file(&path);
        changes(kind).iter().for_each(|change| stored.apply(change));
        stored.check(&format!("{kind:?}"));
        // As after a kill: the events are in the write-ahead log only.
        let killed = folder.path().join(format!("{number}-killed.redb"));
        fs::copy(&path, &killed).unwrap();
        fs::copy(path.with_extension("journal"), killed.with_extension("journal")).unwrap();
        let stored = Stored { model: stored.model, ..Stored::in_file(&killed) };
        stored.check(&format!("{kind:?} after a kill"));
    }
}

#[test]
fn nothing_remains_of_any_kind_of_event_once_it_has_expired() {
    for kind in examples() {
        let mut stored = Stored::in_memory();
        changes(&kind).iter().for_each(|change| stored.apply(change));
        stored.apply(&Change::Expired { chat: CHAT, through: EXAMPLE });
        stored.check(&format!("{kind:?} has expired"));
        let chat = stored.store.read(NOW).unwrap().chat(CHAT).unwrap().unwrap();
        stored.apply(&Change::ChatExpired(chat));
        assert_eq!(stored.store.bytes(), 0, "{kind:?}");
    }
}

#[test]
fn of_every_kind_of_message_a_removal_leaves_a_tombstone() {
    let [ana, bea] = [0, 1].map(user);
    for kind in messages() {
        for removal in [
            EventKind::MessageRemoved { message: EXAMPLE, by: RemovedBy::Author },
            EventKind::OwnRemoved { user: bea.id },
            EventKind::PeopleRemoved {
                nickname: ana.nickname.clone(),
                first: bea.clone(),
                others: Vec::new(),
            },
        ] {
            let when = format!("{kind:?}, then {removal:?}");
            let mut stored = Stored::in_memory();
            changes(&kind).iter().for_each(|change| stored.apply(change));
            let key = (CHAT, bea.id, client_id(EXAMPLE));
            assert_eq!(stored.model.posted.get(&key), Some(&EXAMPLE), "{when}");
            stored.apply(&event(EXAMPLE.next(), removal));
            stored.check(&when);
            let left = stored.store.read(NOW).unwrap().event(CHAT, EXAMPLE).unwrap().unwrap().kind;
            let EventKind::Tombstone(left) = left else { panic!("{left:?} is left of {when}") };
            assert_eq!((left.author, left.client_id), (bea.id, client_id(EXAMPLE)), "{when}");
            // A late retry is still recognised.
            assert_eq!(stored.model.posted.get(&key), Some(&EXAMPLE), "{when}");
            stored.apply(&Change::Expired { chat: CHAT, through: EXAMPLE.next() });
            stored.check(&format!("{when}, then expired"));
        }
    }
}

/// A sink that accepts everything.
struct Line;

impl FrameSink for Line {
    fn try_send(&self, _: &Bytes) -> Result<(), Full> {
        Ok(())
    }

    fn prefetch(&self) {}
}

/// Returns the only frame that a replay buffer has for a reader, decoded.
fn frame(caught: &CatchUp) -> ServerFrame {
    let CatchUp::Events(batch) = caught else { panic!("{caught:?}") };
    let frame = batch.frames();
    // RFC 6455, 5.2: 126 stands for a length in the next two bytes.
    let head = if frame[1] == 126 { 4 } else { 2 };
    serde_json::from_slice(&frame[head..]).unwrap()
}

#[tokio::test]
async fn every_kind_of_event_is_sent_and_shown_as_it_was_applied() {
    let [ana, bea] = [0, 1].map(user);
    for kind in examples() {
        let lifetimes = Lifetimes::default();
        let store = Arc::new(Store::in_memory(lifetimes).unwrap());
        let clock: Clock = Arc::new(|| NOW);
        let fanout = Arc::new(Fanout::new(1));
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
        let lobby = Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, Arc::clone(&clock), usize::MAX);
        let lobby = Arc::new(lobby);
        let progress = Arc::new(Progress::new(EXAMPLE));
        let dispatcher = ChangeDispatcher {
            store: Arc::clone(&store),
            fanout: Arc::clone(&fanout),
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            pictures: Arc::new(engine::pictures::Pictures::off()),
            progress: Arc::clone(&progress),
            steady: None,
        };
        let changes = changes(&kind);
        store.write(EXAMPLE, NOW, |batch| changes.iter().try_for_each(|change| batch.apply(change))).unwrap();

        let mut subscription =
            fanout.subscribe(CHAT, Subscriber::new(ana.id, Arc::new(Line), Arc::default()));
        let in_chat = presence.join(CHAT, bea.clone(), Arc::default());
        in_chat.typing();
        let is_typing = || presence.roster(CHAT).members.iter().any(|member| member.typing);
        assert!(is_typing());
        dispatcher.dispatch(&changes[2]);
        let mut model = Model::default();
        changes.iter().for_each(|change| model.apply(change));
        let expected = model.read_events().pop().unwrap();
        assert_eq!(frame(&subscription.after(BEFORE)), ServerFrame::Event(expected.clone()));
        assert_eq!(is_typing(), kind.posted_message().is_none(), "{kind:?}");

        let (sequencer, _log) = local::open(Arc::clone(&clock), store.epoch(), EXAMPLE);
        let limits = Arc::new(Limits::new(Rates::OFF, Quotas::OFF, Duration::from_secs(60)));
        let engine = Engine::new(EngineParts {
            store,
            sequencer: Arc::new(sequencer),
            fanout: Arc::clone(&fanout),
            presence,
            lobby,
            pictures: Arc::new(engine::pictures::Pictures::off()),
            limits,
            progress,
            is_shared: false,
            clock,
            origin_key: OriginKey::new(b"secret"),
        });
        let view = engine.chat_view(CHAT, ana.id).unwrap();
        let page = engine.chat_page(view, HistoryPart::Newest, Some(Focus::Message(EXAMPLE))).unwrap();
        assert_eq!(page.history.events.last(), Some(&expected));
        let about = kind.message_or_tombstone().map(|message| About {
            person: User { id: message.author, nickname: message.nickname.clone() },
            message: (!message.content.is_removed()).then_some(EXAMPLE),
        });
        assert_eq!(page.about, about, "{kind:?}");
    }
}
