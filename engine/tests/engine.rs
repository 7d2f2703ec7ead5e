//! What the engine promises beside what it stores: how long it waits, and what it tells of the log.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    Body, Change, ChatId, ClientId, Command, Draft, Epoch, Event, EventKind, Lifetimes, LogClock,
    LogSettings, Message, Nickname, Problem, Rules, Seq, Timestamp, Title, User, UserId, Visibility, Wording,
    draft::DraftText, id::ID_BYTES, picture::PictureTicket,
};
use engine::{
    Caller, Engine, EngineParts,
    change_dispatcher::ChangeDispatcher,
    clock::{self, SteadyClock},
    command_log::local::{self, LocalLog},
    fanout::Fanout,
    limits::{Limits, Quotas, Rates},
    lobby::{Lobby, OriginKey},
    presence::{GRACE, HolderId, MemberGuard, NodeId, Presence, PresenceEvent},
    progress::Progress,
    storage::{LogState, ReplicaState, Store},
};
use tokio::time::Instant;

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);
const CALLER: Caller = Caller { user: ANA, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };

/// An engine whose log nobody reads.
struct Work {
    engine: Engine,
    dispatcher: ChangeDispatcher,
    store: Arc<Store>,
    presence: Arc<Presence>,
    _log: LocalLog,
}

fn work(is_shared: bool, steady: Option<Arc<SteadyClock>>) -> Work {
    work_on(Store::in_memory(Lifetimes::default()).unwrap(), is_shared, steady)
}

fn work_on(store: Store, is_shared: bool, steady: Option<Arc<SteadyClock>>) -> Work {
    let (clock, lifetimes) = (clock::system(), Lifetimes::default());
    let store = Arc::new(store);
    let fanout = Arc::new(Fanout::new(1));
    let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
    let lobby =
        Arc::new(Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, Arc::clone(&clock), usize::MAX));
    let progress = Arc::new(Progress::new(Seq(4)));
    let (sequencer, log) = local::open(Arc::clone(&clock), store.epoch(), Seq(4));
    let dispatcher = ChangeDispatcher {
        store: Arc::clone(&store),
        fanout: Arc::clone(&fanout),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
        pictures: Arc::new(engine::pictures::Pictures::off()),
        progress: Arc::clone(&progress),
        steady,
    };
    let (same_store, same_presence) = (Arc::clone(&store), Arc::clone(&presence));
    let engine = Engine::new(EngineParts {
        store: same_store,
        sequencer: Arc::new(sequencer),
        fanout,
        presence: same_presence,
        lobby,
        pictures: Arc::new(engine::pictures::Pictures::off()),
        limits: Arc::new(Limits::new(Rates::OFF, Quotas::OFF, Duration::from_secs(60))),
        progress,
        is_shared,
        clock,
        origin_key: OriginKey::new(b"secret"),
    });
    Work { engine, dispatcher, store, presence, _log: log }
}

#[tokio::test(start_paused = true)]
async fn a_form_is_answered_after_ten_seconds_even_if_the_log_tells_no_outcome() {
    let work = work(true, None);
    let begun = Instant::now();
    let start = Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Public };
    assert_eq!(work.engine.execute(CALLER, start).await, Err(Problem::NotStored));
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[test]
fn a_draft_becomes_a_command_that_the_rules_in_force_know() {
    let of_rules = |rules| {
        let store = Store::replica_in_memory().unwrap();
        let settings = LogSettings { lifetimes: Lifetimes::default(), rules };
        let state = ReplicaState::beginning(1, settings, LogClock::new(Timestamp(1), 0));
        let log = LogState { epoch: Epoch::from_bytes([5; ID_BYTES]), seq: Seq(1), at: Timestamp(1) };
        store.begin_replica(None, log, &state).unwrap();
        work_on(store, true, None).engine
    };
    let (older, newer) = (of_rules(Rules(1)), of_rules(Rules(2)));
    let (client_id, body) = (ClientId::from_bytes([1; ID_BYTES]), Body::parse("hello").unwrap());
    let plain = || Draft::post(CHAT, client_id, body.clone());
    let post = Command::Post { chat: CHAT, client_id, body: body.clone(), waited_millis: 0 };
    assert_eq!(older.prepare(ANA, plain()), Ok(post));
    let words = Wording::plain(body.clone());
    let say = Command::Say {
        chat: CHAT,
        client_id,
        words: words.clone(),
        reply_to: None,
        pictures: Vec::new(),
        is_action: false,
        waited_millis: 0,
    };
    assert_eq!(newer.prepare(ANA, plain()), Ok(say.clone()));
    let text = || DraftText::new(body.clone(), None);
    let with = |reply_to, mentions, pictures, is_action| {
        let text = DraftText::new(body.clone(), mentions);
        Draft::Say { chat: CHAT, client_id, text, reply_to, pictures, is_action, waited_millis: 0 }
    };
    let ticket = PictureTicket { ticket: "AQ".to_owned(), alt: String::new() };
    let message = Seq(3);
    let restore = Draft::RestoreMessage {
        chat: CHAT,
        message,
        removal: Seq(4),
        text: text(),
        reply_to: None,
        is_action: false,
        alts: Vec::new(),
    };
    let drafts = [
        with(Some(message), None, Vec::new(), false),
        with(None, Some(vec![ANA]), Vec::new(), false),
        with(None, None, vec![ticket], false),
        with(None, None, Vec::new(), true),
        Draft::EditMessage { chat: CHAT, message, text: text() },
        restore,
        Draft::React { chat: CHAT, message, emoji: "\u{1f44d}".to_owned(), is_on: true },
    ];
    for draft in drafts {
        assert_eq!(older.prepare(ANA, draft.clone()), Err(Problem::NotYet), "{draft:?}");
        let shows = matches!(&draft, Draft::Say { pictures, .. } if !pictures.is_empty());
        let expected = if shows { Some(Problem::PicturesOff) } else { None };
        assert_eq!(newer.prepare(ANA, draft.clone()).err(), expected, "{draft:?}");
    }
    let nobody = with(None, Some(Vec::new()), Vec::new(), false);
    assert!(matches!(older.prepare(ANA, nobody), Ok(Command::Post { .. })), "that is a text alone");
    let other = Command::RemoveOwn { chat: CHAT };
    assert_eq!(older.prepare(ANA, other.clone().into()), Ok(other));
}

#[test]
fn only_a_node_that_shares_its_log_can_be_behind_and_only_in_that_log() {
    for is_shared in [false, true] {
        let engine = work(is_shared, None).engine;
        let other = Epoch::from_bytes([0; ID_BYTES]);
        let is_behind = [(engine.epoch(), 4), (engine.epoch(), 5), (other, 5)]
            .map(|(epoch, seq)| engine.is_behind(epoch, Seq(seq)));
        assert_eq!(is_behind, [false, is_shared, false]);
    }
}

#[test]
fn a_clock_is_set_forward_when_the_log_has_noted_it_and_then_the_time_is_told() {
    const HOUR: u64 = 3_600_000;
    let (wall, passed) = (Arc::new(AtomicU64::new(1_000 * HOUR)), Arc::new(AtomicU64::new(0)));
    let (shown, up) = (Arc::clone(&wall), Arc::clone(&passed));
    let steady = Arc::new(SteadyClock::new(
        Arc::new(move || Timestamp(shown.load(Ordering::SeqCst))),
        Arc::new(move || Duration::from_millis(up.load(Ordering::SeqCst))),
    ));
    let work = work(false, Some(Arc::clone(&steady)));
    wall.fetch_add(HOUR, Ordering::SeqCst);
    assert_eq!(steady.leap(), None);
    wall.fetch_add(61_000, Ordering::SeqCst);
    passed.fetch_add(61_000, Ordering::SeqCst);
    let leap = steady.leap().unwrap();
    assert_eq!((steady.now(), work.engine.clock_sets()), (Timestamp(1_000 * HOUR + 61_000), 0));
    work.dispatcher.dispatch(&Change::ClockSet(leap));
    assert_eq!((steady.now(), work.engine.clock_sets()), (Timestamp(1_001 * HOUR + 61_000), 1));
    // Back it was set before.
    work.dispatcher.dispatch(&Change::ClockSet(-5));
    assert_eq!((steady.now(), work.engine.clock_sets()), (Timestamp(1_001 * HOUR + 61_000), 2));
}

#[tokio::test]
async fn a_chat_that_ended_while_it_was_not_dispatched_has_no_members_and_others_have_their_owner() {
    let work = work(true, None);
    let [ended, lasting, unknown] = [1, 2, 3].map(|number| ChatId::from_bytes([number; ID_BYTES]));
    let ana = User::new(ANA);
    let guards = [ended, lasting].map(|chat| work.presence.join(chat, ana.clone(), Arc::default()));
    let (holder, here_for) = (HolderId::new(NodeId(7), 1), Duration::ZERO);
    let user = ana.clone();
    work.presence.apply(PresenceEvent::Joined { holder, chat: unknown, user, here_for }, None);
    let (title, visibility) = (Title::parse("Tea").unwrap(), Visibility::Public);
    let kind = EventKind::Started { owner: ANA, nickname: ana.nickname, title, visibility, guest: None };
    let event = Event { chat: lasting, seq: Seq(5), prev: Seq::ZERO, at: Timestamp(5), kind };
    work.store.write(Seq(5), Timestamp(5), |batch| batch.apply(&Change::Chat(event))).unwrap();
    work.dispatcher.resync().unwrap();
    assert_eq!(guards.each_ref().map(MemberGuard::is_kept), [false, true]);
    assert!(work.presence.is_in(unknown, ANA), "this node may read of that chat a little later");
    // Names are locked, but not that of the owner.
    work.presence.lock_names(lasting, true, Seq(6));
    let anna = Nickname::parse("Anna").unwrap();
    work.presence.rename(&User { id: ANA, nickname: anna.clone() });
    assert_eq!(work.presence.roster(lasting).members[0].nickname, anna);
}

#[test]
fn what_is_new_is_looked_for_in_a_megabyte_of_messages_at_most() {
    let work = work(false, None);
    let at = clock::system()();
    let (bea, title) = (User::new(UserId::from_bytes([2; ID_BYTES])), Title::parse("Tea").unwrap());
    let put = |seq: u64, kind| {
        let prev = Seq(if seq == 5 { 0 } else { seq - 1 });
        let event = Event { chat: CHAT, seq: Seq(seq), prev, at, kind };
        work.store.write(Seq(seq), at, |batch| batch.apply(&Change::Chat(event))).unwrap();
    };
    let (owner, nickname) = (bea.id, bea.nickname.clone());
    put(5, EventKind::Started { owner, nickname, title, visibility: Visibility::Public, guest: None });
    for seq in 6..36 {
        let (client_id, body) = (ClientId::from_bytes([seq as u8; ID_BYTES]), "x".repeat(50_000));
        let said = Message::plain(bea.id, bea.nickname.clone(), client_id, Body::try_from(body).unwrap());
        put(seq, EventKind::Said(Box::new(said)));
    }
    let news = |after| work.engine.news(CHAT, ANA, Seq(after)).unwrap();
    assert_eq!((news(20).messages, news(20).more), (15, false));
    assert_eq!((news(5).messages, news(5).more), (21, true));
}

#[test]
fn who_was_chosen_is_meant_by_the_name_they_had_when_it_was_written() {
    let work = work(false, None);
    let at = clock::system()();
    let nickname = |name| Nickname::parse(name).unwrap();
    let (bea, cy) = (UserId::from_bytes([2; ID_BYTES]), UserId::from_bytes([3; ID_BYTES]));
    let (owner, title) = (bea, Title::parse("Tea").unwrap());
    let visibility = Visibility::Public;
    let said = |author, name, number| {
        let (client_id, body) = (ClientId::from_bytes([number; ID_BYTES]), Body::parse("hello").unwrap());
        EventKind::Said(Box::new(Message::plain(author, nickname(name), client_id, body)))
    };
    let kinds = [
        EventKind::Started { owner, nickname: nickname("Bea"), title, visibility, guest: None },
        EventKind::Renamed { user: bea, from: nickname("Bea"), to: nickname("Bee") },
        said(cy, "Cy", 1),
    ];
    for (seq, kind) in (5..).zip(kinds) {
        let prev = Seq(if seq == 5 { 0 } else { seq - 1 });
        let event = Event { chat: CHAT, seq: Seq(seq), prev, at, kind };
        work.store.write(Seq(seq), at, |batch| batch.apply(&Change::Chat(event))).unwrap();
    }
    let meant = |chosen: Option<Vec<UserId>>| {
        let text = DraftText::new(Body::parse("@Bea, @Cy, tea?").unwrap(), chosen);
        let (message, removal) = (Seq(6), Seq(7));
        let (reply_to, alts) = (None, Vec::new());
        let draft =
            Draft::RestoreMessage { chat: CHAT, message, removal, text, reply_to, is_action: false, alts };
        let Ok(Command::RestoreMessage { said, .. }) = work.engine.prepare(ANA, draft) else {
            return Vec::new();
        };
        said.words.mentions
    };
    assert_eq!(meant(Some(vec![bea])), [bea, cy]);
    assert_eq!(meant(Some(vec![cy])), [cy]);
    assert_eq!(meant(Some(Vec::new())), []);
    assert_eq!(meant(None), [cy], "nobody was chosen who has another name by now");
    let other = User { id: UserId::from_bytes([4; ID_BYTES]), nickname: nickname("Bea") };
    let _here = work.presence.join(CHAT, other.clone(), Arc::default());
    assert_eq!(meant(None), [other.id, cy]);
    assert_eq!(meant(Some(vec![bea])), [bea, cy], "though another has that name now");
}
