//! What is let through, and for how long not.

use domain::{Body, ChatId, ClientId, Nickname, Seq, Title, draft::DraftText, id::ID_BYTES};
use governor::clock::FakeRelativeClock;

use super::*;

const QUOTAS: Quotas =
    Quotas { sockets: 1_000, session_sockets: 2, members: 3, user_chats: 2, ..Quotas::OFF };

fn limits(connect: &str) -> (FakeRelativeClock, Limits<FakeRelativeClock>) {
    let clock = FakeRelativeClock::default();
    let rates = Rates {
        connect: connect.parse().unwrap(),
        rename: "1/h".parse().unwrap(),
        message: "1/h".parse().unwrap(),
        ..Rates::OFF
    };
    (clock.clone(), Limits::with_clock(rates, QUOTAS, Duration::from_secs(3_600), clock))
}

fn connect(limits: &Limits<FakeRelativeClock>, by: Caller) -> Result<(), Problem> {
    limits.connect(Some(by.user), by.address).map(drop)
}

fn caller(number: u8, address: &str) -> Caller {
    Caller { user: UserId::from_bytes([number; ID_BYTES]), address: address.parse().unwrap() }
}

#[test]
fn rates_are_read() {
    for text in ["5/s", "1/m", "1000/h", "off"] {
        assert!(text.parse::<Rate>().is_ok(), "{text}");
    }
    for text in ["", "5", "0/s", "-1/s", "5/d", "5/", "/s", "5 / s"] {
        assert!(text.parse::<Rate>().is_err(), "{text}");
    }
}

#[test]
fn a_user_who_is_too_fast_is_told_how_long_to_wait() {
    let (clock, limits) = limits("2/m");
    let ana = caller(1, "127.0.0.1");
    assert_eq!((connect(&limits, ana), connect(&limits, ana)), (Ok(()), Ok(())));
    assert_eq!(connect(&limits, ana), Err(Problem::TooFast { seconds: 30 }));
    assert_eq!(connect(&limits, caller(2, "127.0.0.1")), Ok(()), "others are not concerned");
    clock.advance(Duration::from_secs(30));
    assert_eq!(connect(&limits, ana), Ok(()), "and waiting as long as that is enough");
}

#[test]
fn an_address_is_shared_by_many_users_but_not_by_all() {
    let refused = |address: &dyn Fn(u8) -> String| {
        let (_, limits) = limits("1/m");
        (0..40).filter(|number| connect(&limits, caller(*number, &address(*number))).is_err()).count()
    };
    assert_eq!(refused(&|_| "1.1.1.1".to_owned()), 20);
    assert_eq!(refused(&|number| format!("2001:db8::{number}")), 20, "one network");
    assert_eq!(refused(&|number| format!("2001:db8:0:{number}::1")), 0);
    assert_eq!(refused(&|_| "127.0.0.1".to_owned()), 0, "it may be a proxy that was not named");
}

#[test]
fn what_is_open_is_counted_until_it_is_closed() {
    let (_, limits) = limits("off");
    let [ana, bea] = [1, 2].map(|number| caller(number, "127.0.0.1").user);
    let (one, _other) = (limits.open(ana).unwrap(), limits.open(ana).unwrap());
    assert_eq!(limits.open(ana).err(), Some(Problem::TooManyPages));
    assert!(limits.open(bea).is_ok(), "others are not concerned");
    drop(one);
    assert!(limits.open(ana).is_ok());
    let with = |owned: usize| limits.start(ana, || owned);
    let starting = with(1).unwrap();
    assert_eq!(with(1).err(), Some(Problem::TooManyOwn), "one that is on its way counts");
    drop(starting);
    assert!(with(1).is_ok() && with(2).is_err());
    let ana = caller(1, "127.0.0.1");
    let places: Vec<_> = (0..1_001).map_while(|_| limits.connect(None, ana.address).ok()).collect();
    assert_eq!(places.len(), 1_000, "with a session or without one");
    drop(places);
    assert_eq!(connect(&limits, ana), Ok(()));
    let there: IpAddr = "192.0.2.1".parse().unwrap();
    let places: Vec<_> = (0..1_000).map_while(|_| limits.connect(None, there).ok()).collect();
    assert_eq!(places.len(), 40, "those of twenty sessions");
    assert_eq!(connect(&limits, ana), Ok(()), "others are not concerned");
    assert_eq!((limits.enter(2), limits.enter(3)), (Ok(()), Err(Problem::ChatFull)));
}

#[test]
fn each_kind_has_a_limit_of_its_own() {
    let (_, limits) = limits("1/h");
    let ana = caller(1, "127.0.0.1");
    let nick = Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: Vec::new() };
    assert_eq!((connect(&limits, ana), limits.check_rate(ana, &nick.clone().into())), (Ok(()), Ok(())));
    assert!(connect(&limits, ana).is_err() && limits.check_rate(ana, &nick.clone().into()).is_err());
}

#[test]
fn reactions_do_not_use_up_what_may_be_said() {
    let (_, limits) = limits("1/h");
    let ana = caller(1, "127.0.0.1");
    let (chat, client_id) = (ChatId::from_bytes([7; ID_BYTES]), ClientId::from_bytes([1; ID_BYTES]));
    let react = Draft::React { chat, message: Seq(3), emoji: "\u{1f44d}".to_owned(), is_on: true };
    let body = Body::parse("hello").unwrap();
    let text = DraftText::new(body.clone(), None);
    let edit = Draft::EditMessage { chat, message: Seq(3), text };
    let post = Draft::post(chat, client_id, body);
    assert_eq!((limits.check_rate(ana, &react), limits.check_rate(ana, &post)), (Ok(()), Ok(())));
    assert!(limits.check_rate(ana, &react).is_err());
    assert!(limits.check_rate(ana, &edit).is_err(), "an edit counts as a message");
}

#[test]
fn what_keeps_order_goes_on_a_little_longer_and_what_takes_away_always() {
    let limits = Limits::new(Rates::OFF, Quotas { storage: 1_600, ..Quotas::OFF }, Duration::from_secs(60));
    let ana = caller(1, "192.0.2.1");
    let chat = ChatId::from_bytes([7; ID_BYTES]);
    let post = Command::Post {
        chat,
        client_id: ClientId::from_bytes([1; ID_BYTES]),
        body: Body::parse("hello").unwrap(),
        waited_millis: 0,
    };
    let title = Command::EditTitle { chat, title: Title::parse("Tea").unwrap() };
    let remove = Command::RemoveMessage { chat, message: Seq(3) };
    let full = Err(Problem::StorageFull);
    for (command, goes_on, ends) in
        [(post, Ok(()), [full; 3]), (title, Ok(()), [Ok(()), full, full]), (remove, Ok(()), [Ok(()); 3])]
    {
        assert_eq!(limits.check_storage(ana, &command, 1_599), goes_on, "{command:?}");
        assert_eq!(
            [1_600, 1_700, u64::MAX].map(|bytes| limits.check_storage(ana, &command, bytes)),
            ends,
            "{command:?}"
        );
    }
}

#[test]
fn what_one_session_and_one_address_store_has_a_share() {
    let clock = FakeRelativeClock::default();
    let quotas = Quotas { session_storage: NonZeroU32::new(10_000), ..Quotas::OFF };
    let limits = Limits::with_clock(Rates::OFF, quotas, Duration::from_secs(1_000), clock.clone());
    let post = |by: Caller, length: usize| {
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        let client_id = ClientId::from_bytes([1; ID_BYTES]);
        let body = Body::parse(&"x".repeat(length)).unwrap();
        let say = Command::Say {
            chat,
            client_id,
            words: Wording::plain(body),
            reply_to: None,
            pictures: Vec::new(),
            is_action: false,
            waited_millis: 0,
        };
        limits.check_storage(by, &say, 0)
    };
    let ana = caller(1, "192.0.2.1");
    let stored = (0..100).take_while(|_| post(ana, 744).is_ok()).count();
    assert_eq!(stored, 10);
    // The quota is ten bytes a second.
    assert_eq!(post(ana, 744), Err(Problem::TooFast { seconds: 100 }));
    assert_eq!(post(ana, 3_744), Err(Problem::TooFast { seconds: 400 }), "what is longer waits longer");
    clock.advance(Duration::from_secs(100));
    assert_eq!(post(ana, 744), Ok(()));
    let remove = Command::RemoveMessage { chat: ChatId::from_bytes([7; ID_BYTES]), message: Seq(1) };
    assert_eq!(limits.check_storage(ana, &remove, 0), Ok(()), "what takes away goes on");
    let stored = (10..100).map(|number| post(caller(number, "192.0.2.2"), 3_744)).filter(Result::is_ok);
    assert_eq!(stored.count(), 50, "all who share an address have twenty times as much");
    assert_eq!(post(caller(200, "192.0.2.3"), 744), Ok(()), "others are not concerned");
}

#[test]
fn pages_are_counted_by_what_they_cost_and_by_address_alone_without_a_session() {
    let rates = Rates { page: "10/m".parse().unwrap(), ..Rates::OFF };
    let clock = FakeRelativeClock::default();
    let limits = Limits::with_clock(rates, QUOTAS, Duration::from_secs(60), clock);
    let Caller { user: ana, address } = caller(1, "192.0.2.1");
    let cost = |cost| NonZeroU32::new(cost).unwrap();
    assert_eq!(limits.page(Some(ana), address, cost(8)), Ok(()));
    assert_eq!(limits.page(Some(ana), address, cost(4)), Err(Problem::TooFast { seconds: 12 }));
    assert_eq!(limits.page(Some(ana), address, cost(2)), Ok(()));
    let other: IpAddr = "192.0.2.2".parse().unwrap();
    let loaded = (0..1_000).filter(|_| limits.page(None, other, cost(1)).is_ok());
    assert_eq!(loaded.count(), 200);
    assert!((0..1_000).all(|_| limits.page(None, [127, 0, 0, 1].into(), cost(1)).is_ok()));
    let all = (0..1_000).filter(|_| limits.page(Some(caller(3, "::1").user), other, cost(999)).is_ok());
    assert!(all.count() <= 1, "what costs more than there may be at once takes all there is");
}

#[test]
fn filtered_lists_of_a_session_and_of_an_address_are_limited() {
    let (_, limits) = limits("off");
    let filter_lists = |count: usize, address: &str| {
        let filtered = (0..count).map(|number| limits.filter(caller(number as u8, address)));
        filtered.filter_map(Result::ok).collect::<Vec<_>>()
    };
    let ana = caller(255, "127.0.0.1");
    let mut own: Vec<_> = (0..9).filter_map(|_| limits.filter(ana).ok()).collect();
    assert_eq!((own.len(), limits.filter(ana).err()), (5, Some(Problem::TooManyFilters)));
    own.pop();
    assert!(limits.filter(ana).is_ok());
    assert_eq!(filter_lists(200, "192.0.2.1").len(), 100);
    assert_eq!(filter_lists(200, "192.0.2.1").len(), 100, "those that went make room");
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_and_addresses_are_forgotten() {
    let (clock, limits) = limits("2/m");
    for number in 0..10 {
        connect(&limits, caller(number, &format!("192.0.2.{number}"))).unwrap();
    }
    let known = |limits: &Limits<FakeRelativeClock>| {
        limits.connect.0.as_ref().map(|(sessions, addresses)| (sessions.len(), addresses.len()))
    };
    assert_eq!(known(&limits), Some((10, 10)));
    clock.advance(Duration::from_secs(90));
    connect(&limits, caller(1, "192.0.2.1")).unwrap();
    let _ = tokio::time::timeout(FORGETS_EVERY * 2, limits.run()).await;
    assert_eq!(known(&limits), Some((1, 1)), "but for those who were here lately");
}

#[test]
fn uploads_are_counted_in_all_and_for_each_session_and_network() {
    let limits = Limits::new(Rates::OFF, Quotas::OFF, Duration::from_secs(60));
    let caller = |number: u8, address: [u8; 4]| Caller {
        user: UserId::from_bytes([number; ID_BYTES]),
        address: address.into(),
    };
    let of_session: Vec<_> = (0..4).map(|_| limits.upload(caller(1, [192, 0, 2, 1])).unwrap()).collect();
    assert_eq!(limits.upload(caller(1, [192, 0, 2, 2])).err(), Some(Problem::Busy), "of a session");
    drop(of_session);
    let of_network: Vec<_> =
        (0..16).map(|number| limits.upload(caller(number, [192, 0, 2, 1])).unwrap()).collect();
    assert_eq!(limits.upload(caller(99, [192, 0, 2, 1])).err(), Some(Problem::Busy), "of a network");
    let others: Vec<_> =
        (16..32).map(|number| limits.upload(caller(number, [192, 0, 2, number])).unwrap()).collect();
    assert_eq!(limits.upload(caller(99, [192, 0, 2, 99])).err(), Some(Problem::Busy), "in all");
    drop((of_network, others));
    assert!(limits.upload(caller(99, [192, 0, 2, 99])).is_ok());
}

#[test]
fn a_session_stores_pictures_within_its_quota_and_apart_from_texts() {
    let quotas = Quotas { session_pictures: NonZeroU32::new(1_000), ..Quotas::OFF };
    let limits = Limits::new(Rates::OFF, quotas, Duration::from_secs(60));
    let ana = Caller { user: UserId::from_bytes([1; ID_BYTES]), address: [127, 0, 0, 1].into() };
    assert_eq!(limits.keep_picture(ana, 900), Ok(()));
    assert!(matches!(limits.keep_picture(ana, 900), Err(Problem::TooFast { .. })));
}
