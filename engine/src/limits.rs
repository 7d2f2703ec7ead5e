//! Limits: how often users may do what costs others something, and how much of it there may be at a time.
//!
//! Rates are limited for each session, and for each network, which sessions share, by the generic cell rate algorithm
//! (ITU-T I.371) of `governor`: the full count is permitted at once, and after that one more each time the period
//! divided by the count has passed.

pub mod counter;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use domain::{Command, Problem, UserId};
use governor::{
    InsufficientCapacity, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};

use tokio::time::sleep;

use crate::caller::Caller;
use counter::{Counted, Counts};

/// How many times the limit of one session all sessions of a network have together: a household, an office, a train.
const SESSIONS_AT_AN_ADDRESS: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// The maximum number of filtered lists that one session watches at a time.
const FILTERS_OF_A_SESSION: usize = 5;
/// The approximate size in bytes of a message without its text, or of any other record.
const KEPT_BESIDES: u32 = 256;
/// The additional storage for moderation and settings once [`Caps::storage`] is used up: one part in this many of it.
const KEPT_FREE: u64 = 16;
/// The maximum number of sessions, or of networks, that each rate limit tracks. Beyond it, new ones are refused with
/// [`Problem::Busy`] until some have been idle for long enough.
const MAX_TRACKED_KEYS: usize = 100_000;

/// How often idle sessions and networks are dropped from the rate limits.
const FORGETS_EVERY: Duration = Duration::from_secs(60);

/// A number of actions in a period. `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Option<(NonZeroU32, Duration)>);

/// The text is not a rate.
#[derive(Debug, thiserror::Error)]
#[error("it is not a rate such as 5/s, 30/m, 100/h or off")]
pub struct NoRate;

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// Returns the quota of one session, and that of a network.
    fn quotas(self) -> Option<(Quota, Quota)> {
        let (count, per) = self.0?;
        let quota =
            |count: NonZeroU32| Quota::with_period(per / count.get()).map(|quota| quota.allow_burst(count));
        quota(count).zip(quota(count.saturating_mul(SESSIONS_AT_AN_ADDRESS)))
    }
}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let (count, per) = text.split_once('/').ok_or(NoRate)?;
        let seconds = match per {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(NoRate),
        };
        Ok(Self(Some((count.parse().map_err(|_| NoRate)?, Duration::from_secs(seconds)))))
    }
}

/// The rate limits for each kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Loading a page.
    pub page: Rate,
    /// Opening a WebSocket.
    pub connect: Rate,
    /// Starting a chat.
    pub chat: Rate,
    /// Posting or removing messages.
    pub message: Rate,
    /// Changing a nickname, the title or the visibility of a chat, whether invites are accepted, or whether a user is
    /// hidden. The same rate, counted apart, limits locking chats, and removing users.
    pub rename: Rate,
    /// Asking for a direct chat, or answering an invite.
    pub invite: Rate,
}

impl Rates {
    /// No limits, for measurements.
    pub const OFF: Self = Self {
        page: Rate::OFF,
        connect: Rate::OFF,
        chat: Rate::OFF,
        message: Rate::OFF,
        rename: Rate::OFF,
        invite: Rate::OFF,
    };
}

/// How much there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// WebSockets in all.
    pub sockets: usize,
    /// WebSockets of one session.
    pub session_sockets: usize,
    /// Members of one chat.
    pub members: usize,
    /// Chats of one user.
    pub user_chats: usize,
    /// Public chats of one user in the list, while it is not filtered.
    pub listed: usize,
    /// Bytes stored in all.
    pub storage: u64,
    /// Bytes that one session may store in the lifetime of a message, at once or spread out. `None` means unlimited.
    pub session_storage: Option<NonZeroU32>,
}

impl Caps {
    /// No caps, for measurements.
    pub const OFF: Self = Self {
        sockets: usize::MAX,
        session_sockets: usize::MAX,
        members: usize::MAX,
        user_chats: usize::MAX,
        listed: usize::MAX,
        storage: u64::MAX / 2,
        session_storage: None,
    };
}

/// The limits, and what counts towards them.
pub struct Limits<C: Clock = DefaultClock> {
    clock: C,
    caps: Caps,
    places: Arc<Counts<()>>,
    addresses: Arc<Counts<IpAddr>>,
    sockets: Arc<Counts<UserId>>,
    starting: Arc<Counts<UserId>>,
    filters: Arc<Counts<UserId>>,
    filters_of_addresses: Arc<Counts<IpAddr>>,
    page: Limit<C>,
    bytes: Limit<C>,
    connect: Limit<C>,
    chat: Limit<C>,
    message: Limit<C>,
    rename: Limit<C>,
    /// Locking chats, at the rate of `rename`.
    lock: Limit<C>,
    /// Removing users, at the rate of `rename`.
    remove: Limit<C>,
    invite: Limit<C>,
}

/// A guard that counts a WebSocket, in all and for its network.
pub struct Place {
    _all: Counted<()>,
    _here: Option<Counted<IpAddr>>,
}

/// A guard that counts a filtered list, for its session and for its network.
pub struct Filtering {
    _session: Counted<UserId>,
    _here: Option<Counted<IpAddr>>,
}

/// A rate limit, with the recent actions of each session and each network. `None` means unlimited.
struct Limit<C: Clock>(Option<(Lately<UserId, C>, Lately<IpAddr, C>)>);

type Lately<Key, C> = RateLimiter<Key, DashMapStateStore<Key>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl Limits {
    /// Creates limits. `kept_for` is the lifetime of a message.
    pub fn new(rates: Rates, caps: Caps, kept_for: Duration) -> Self {
        Self::with_clock(rates, caps, kept_for, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn with_clock(rates: Rates, caps: Caps, kept_for: Duration, clock: C) -> Self {
        let limit = |rate: Rate| {
            Limit(rate.quotas().map(|(session, address)| {
                let sessions = RateLimiter::dashmap_with_clock(session, clock.clone());
                (sessions, RateLimiter::dashmap_with_clock(address, clock.clone()))
            }))
        };
        let Rates { page, connect, chat, message, rename, invite } = rates;
        Self {
            page: limit(page),
            bytes: limit(Rate(caps.session_storage.map(|bytes| (bytes, kept_for)))),
            connect: limit(connect),
            chat: limit(chat),
            message: limit(message),
            rename: limit(rename),
            lock: limit(rename),
            remove: limit(rename),
            invite: limit(invite),
            caps,
            places: Arc::default(),
            addresses: Arc::default(),
            sockets: Arc::default(),
            starting: Arc::default(),
            filters: Arc::default(),
            filters_of_addresses: Arc::default(),
            clock,
        }
    }

    /// Drops idle sessions and networks from time to time. Never returns.
    pub async fn run(&self) {
        loop {
            sleep(FORGETS_EVERY).await;
            let Self { page, bytes, connect, chat, message, rename, lock, remove, invite, .. } = self;
            for Limit(limit) in [page, bytes, connect, chat, message, rename, lock, remove, invite] {
                if let Some((sessions, addresses)) = limit {
                    sessions.retain_recent();
                    sessions.shrink_to_fit();
                    addresses.retain_recent();
                    addresses.shrink_to_fit();
                }
            }
        }
    }

    /// Counts a WebSocket that is being opened, with or without a session, until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if there are too many in all or from one
    /// network.
    pub fn connect(&self, user: Option<UserId>, address: IpAddr) -> Result<Place, Problem> {
        self.check(&self.connect, user, address, NonZeroU32::MIN)?;
        let all = self.places.add(());
        let here = (!address.is_loopback()).then(|| self.addresses.add(network(address)));
        let of_address = self.caps.session_sockets.saturating_mul(SESSIONS_AT_AN_ADDRESS.get() as usize);
        let is_room =
            all.count() <= self.caps.sockets && here.as_ref().is_none_or(|here| here.count() <= of_address);
        if is_room { Ok(Place { _all: all, _here: here }) } else { Err(Problem::Busy) }
    }

    /// Counts the load of a page, which costs as much as `cost` plain ones. Without a session, only the network is
    /// limited.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if it tracks too many sessions or
    /// networks.
    pub fn page(&self, user: Option<UserId>, address: IpAddr, cost: NonZeroU32) -> Result<(), Problem> {
        self.check(&self.page, user, address, cost)
    }

    /// Counts a filtered list that a page watches until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyFilters`] if the session or its network watches too many.
    pub fn filter(&self, by: Caller) -> Result<Filtering, Problem> {
        let session = self.filters.add(by.user);
        let here = (!by.address.is_loopback()).then(|| self.filters_of_addresses.add(network(by.address)));
        let of_address = FILTERS_OF_A_SESSION * SESSIONS_AT_AN_ADDRESS.get() as usize;
        let is_room = session.count() <= FILTERS_OF_A_SESSION
            && here.as_ref().is_none_or(|here| here.count() <= of_address);
        if is_room { Ok(Filtering { _session: session, _here: here }) } else { Err(Problem::TooManyFilters) }
    }

    /// Counts an open WebSocket of a session until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyPages`] if the session has too many open.
    pub fn open(&self, user: UserId) -> Result<Counted<UserId>, Problem> {
        let socket = self.sockets.add(user);
        if socket.count() <= self.caps.session_sockets { Ok(socket) } else { Err(Problem::TooManyPages) }
    }

    /// Checks whether a chat with the given number of members has room for one more.
    ///
    /// # Errors
    /// [`Problem::ChatFull`] if it has none.
    pub fn enter(&self, members: usize) -> Result<(), Problem> {
        if members < self.caps.members { Ok(()) } else { Err(Problem::ChatFull) }
    }

    /// Counts a chat that is being started until the returned guard is dropped. `owned` returns the number of chats the
    /// user already has. It is called after this one is counted, so that a chat whose start is completed meanwhile is
    /// counted at least once.
    ///
    /// # Errors
    /// [`Problem::TooManyOwn`] if the user then has too many chats.
    pub fn start(&self, user: UserId, owned: impl FnOnce() -> usize) -> Result<Counted<UserId>, Problem> {
        let starting = self.starting.add(user);
        if owned() + starting.count() <= self.caps.user_chats {
            Ok(starting)
        } else {
            Err(Problem::TooManyOwn)
        }
    }

    /// Checks whether there is room for what a command stores, if `bytes` bytes are stored already, and counts it
    /// towards what the session may store. Commands that remove something are always permitted.
    ///
    /// # Errors
    /// [`Problem::StorageFull`] if the storage is full; [`Problem::TooFast`] if the session or its network has stored
    /// as much as it may; [`Problem::Busy`] if too many of them are tracked.
    pub fn keep(&self, by: Caller, command: &Command, bytes: u64) -> Result<(), Problem> {
        let enough = match command {
            Command::StartChat { .. }
            | Command::ChatPrivately { .. }
            | Command::Post { .. }
            | Command::SetNickname { .. } => self.caps.storage,
            // These store one short event or setting. Moderation stays possible for longer than posting.
            Command::EditTitle { .. }
            | Command::SetVisibility { .. }
            | Command::SetLock { .. }
            | Command::SetRemoved { .. }
            | Command::AnswerInvite { .. }
            | Command::SetInvites { are_taken: false }
            | Command::SetHidden { is_hidden: true, .. } => self.caps.storage + self.caps.storage / KEPT_FREE,
            Command::RemoveMessage { .. }
            | Command::RemovePerson { .. }
            | Command::RemoveNewcomers { .. }
            | Command::RemoveOwn { .. }
            | Command::SetInvites { are_taken: true }
            | Command::SetHidden { is_hidden: false, .. } => return Ok(()),
        };
        if bytes >= enough {
            return Err(Problem::StorageFull);
        }
        // The number of records, and the size of the text in each.
        let (records, text) = match command {
            Command::Post { body, .. } => (1, body.as_str().len()),
            // Each chat's timeline records both the old and the new nickname.
            Command::SetNickname { nickname, chats } => (1 + chats.len(), 2 * nickname.as_str().len()),
            Command::EditTitle { title, .. } | Command::StartChat { title: Some(title), .. } => {
                (1, title.as_str().len())
            }
            _ => (1, 0),
        };
        let each = KEPT_BESIDES.saturating_add(u32::try_from(text).unwrap_or(u32::MAX));
        let size = each.saturating_mul(u32::try_from(records).unwrap_or(u32::MAX));
        self.check(&self.bytes, Some(by.user), by.address, NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN))
    }

    /// Counts a command towards the rate limit for its kind.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if it tracks too many sessions or
    /// networks.
    pub fn ask(&self, by: Caller, command: &Command) -> Result<(), Problem> {
        let limit = match command {
            Command::StartChat { .. } => &self.chat,
            // No more messages can be removed than were posted.
            Command::Post { .. } | Command::RemoveMessage { .. } | Command::RemoveOwn { .. } => &self.message,
            // A chat is often locked after many other changes, which must not delay it.
            Command::SetLock { .. } => &self.lock,
            Command::SetRemoved { .. } | Command::RemovePerson { .. } | Command::RemoveNewcomers { .. } => {
                &self.remove
            }
            Command::SetNickname { .. }
            | Command::EditTitle { .. }
            | Command::SetVisibility { .. }
            | Command::SetInvites { .. }
            | Command::SetHidden { .. } => &self.rename,
            Command::ChatPrivately { .. } | Command::AnswerInvite { .. } => &self.invite,
        };
        self.check(limit, Some(by.user), by.address, NonZeroU32::MIN)
    }

    /// Counts `count` actions towards a limit.
    fn check(
        &self,
        limit: &Limit<C>,
        user: Option<UserId>,
        address: IpAddr,
        count: NonZeroU32,
    ) -> Result<(), Problem> {
        let Some((sessions, addresses)) = &limit.0 else { return Ok(()) };
        // A loopback address may stand for all clients, if they come through a proxy that is not configured.
        if !address.is_loopback() {
            // Checked first, since one client can create any number of sessions.
            self.look(addresses, &network(address), count)?;
        }
        user.map_or(Ok(()), |user| self.look(sessions, &user, count))
    }

    fn look<Key: Hash + Eq + Clone>(
        &self,
        lately: &Lately<Key, C>,
        key: &Key,
        count: NonZeroU32,
    ) -> Result<(), Problem> {
        if lately.len() >= MAX_TRACKED_KEYS {
            lately.retain_recent();
            if lately.len() >= MAX_TRACKED_KEYS {
                return Err(Problem::Busy);
            }
        }
        let wait = |not: NotUntil<C::Instant>| Problem::too_fast(not.wait_time_from(self.clock.now()));
        // What exceeds the whole burst waits until the whole burst is available.
        match lately.check_key_n(key, count) {
            Ok(checked) => checked.map_err(wait),
            Err(InsufficientCapacity(most)) => match NonZeroU32::new(most) {
                Some(most) => lately.check_key_n(key, most).unwrap_or(Ok(())).map_err(wait),
                None => Ok(()),
            },
        }
    }
}

/// Returns the network of an address: the address itself for IPv4, and its 64-bit prefix for IPv6, since one site has
/// all addresses of that (RFC 6177).
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use domain::{Body, ChatId, ClientId, Nickname, Seq, Title, id::ID_BYTES};
    use governor::clock::FakeRelativeClock;

    use super::*;

    const CAPS: Caps = Caps { sockets: 1_000, session_sockets: 2, members: 3, user_chats: 2, ..Caps::OFF };

    fn limits(connect: &str) -> (FakeRelativeClock, Limits<FakeRelativeClock>) {
        let clock = FakeRelativeClock::default();
        let rates = Rates { connect: connect.parse().unwrap(), rename: "1/h".parse().unwrap(), ..Rates::OFF };
        (clock.clone(), Limits::with_clock(rates, CAPS, Duration::from_secs(3_600), clock))
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
    fn whoever_is_too_fast_is_told_how_long_to_wait() {
        let (clock, limits) = limits("2/m");
        let ana = caller(1, "127.0.0.1");
        assert_eq!((connect(&limits, ana), connect(&limits, ana)), (Ok(()), Ok(())));
        assert_eq!(connect(&limits, ana), Err(Problem::TooFast { seconds: 30 }));
        assert_eq!(connect(&limits, caller(2, "127.0.0.1")), Ok(()), "others are not concerned");
        clock.advance(Duration::from_secs(30));
        assert_eq!(connect(&limits, ana), Ok(()), "and waiting as long as that is enough");
    }

    #[test]
    fn an_address_is_shared_by_many_but_not_by_everybody() {
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
        assert_eq!((connect(&limits, ana), limits.ask(ana, &nick)), (Ok(()), Ok(())));
        assert!(connect(&limits, ana).is_err() && limits.ask(ana, &nick).is_err());
    }

    #[test]
    fn what_keeps_order_goes_on_a_little_longer_and_what_takes_away_always() {
        let limits = Limits::new(Rates::OFF, Caps { storage: 1_600, ..Caps::OFF }, Duration::from_secs(60));
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
            assert_eq!(limits.keep(ana, &command, 1_599), goes_on, "{command:?}");
            assert_eq!(
                [1_600, 1_700, u64::MAX].map(|bytes| limits.keep(ana, &command, bytes)),
                ends,
                "{command:?}"
            );
        }
    }

    #[test]
    fn what_one_session_and_one_address_store_has_a_share() {
        let clock = FakeRelativeClock::default();
        let caps = Caps { session_storage: NonZeroU32::new(10_000), ..Caps::OFF };
        let limits = Limits::with_clock(Rates::OFF, caps, Duration::from_secs(1_000), clock.clone());
        let post = |by: Caller, length: usize| {
            let chat = ChatId::from_bytes([7; ID_BYTES]);
            let client_id = ClientId::from_bytes([1; ID_BYTES]);
            let body = Body::parse(&"x".repeat(length)).unwrap();
            limits.keep(by, &Command::Post { chat, client_id, body, waited_millis: 0 }, 0)
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
        assert_eq!(limits.keep(ana, &remove, 0), Ok(()), "what takes away goes on");
        let stored = (10..100).map(|number| post(caller(number, "192.0.2.2"), 3_744)).filter(Result::is_ok);
        assert_eq!(stored.count(), 50, "all who share an address have twenty times as much");
        assert_eq!(post(caller(200, "192.0.2.3"), 744), Ok(()), "others are not concerned");
    }

    #[test]
    fn pages_are_counted_by_what_they_cost_and_by_address_alone_without_a_session() {
        let rates = Rates { page: "10/m".parse().unwrap(), ..Rates::OFF };
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(rates, CAPS, Duration::from_secs(60), clock);
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
    fn a_session_and_an_address_follow_so_many_filtered_lists() {
        let (_, limits) = limits("off");
        let follow = |count: usize, address: &str| {
            let followed = (0..count).map(|number| limits.filter(caller(number as u8, address)));
            followed.filter_map(Result::ok).collect::<Vec<_>>()
        };
        let ana = caller(255, "127.0.0.1");
        let mut own: Vec<_> = (0..9).filter_map(|_| limits.filter(ana).ok()).collect();
        assert_eq!((own.len(), limits.filter(ana).err()), (5, Some(Problem::TooManyFilters)));
        own.pop();
        assert!(limits.filter(ana).is_ok());
        assert_eq!(follow(200, "192.0.2.1").len(), 100);
        assert_eq!(follow(200, "192.0.2.1").len(), 100, "those that went make room");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_nothing_any_more_is_forgotten() {
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
}
