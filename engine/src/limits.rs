//! Limits: rate limits, and quotas for what there may be at a time.
//!
//! Rates are limited for each session, and for each network, which sessions share, by the generic cell rate algorithm
//! (ITU-T I.371) of `governor`: the full count is permitted at once, and after that one more each time the period
//! divided by the count has passed.

pub mod counter;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use domain::{Command, Draft, Problem, UserId, Wording};
use governor::{
    InsufficientCapacity, NotUntil, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};
use tokio::time::sleep;

use crate::caller::Caller;
use counter::{Counted, Counts};
pub use settings::{NoRate, Quotas, Rate, Rates};

/// How many times the limit of one session all sessions of a network have together: a household, an office, a train.
const SESSIONS_AT_AN_ADDRESS: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// How many pictures all sessions upload at a time.
const UPLOADS: usize = 32;
/// How many pictures the sessions of a network upload at a time.
const UPLOADS_OF_AN_ADDRESS: usize = 16;
/// How many pictures one session uploads at a time.
const UPLOADS_OF_A_SESSION: usize = 4;
/// How many pictures may be looked at for each page that may be loaded.
const PICTURES_ON_A_PAGE: NonZeroU32 = NonZeroU32::new(4).unwrap();
/// The maximum number of filtered lists that one session watches at a time.
const FILTERS_OF_A_SESSION: usize = 5;
/// The approximate size in bytes of a message without its text, or of any other record.
const KEPT_BESIDES: u32 = 256;
/// The approximate size in bytes of a mark.
const MARK_BYTES: usize = 4;
/// The approximate size in bytes of a mention, with the entry by which whoever is meant finds it.
const MENTION_BYTES: usize = 40;
/// The approximate size in bytes of a picture in a message, without its description and its file.
const PICTURE_BESIDES: usize = 128;
/// The additional storage for moderation and settings once [`Quotas::storage`] is used up: one part in this many of it.
const KEPT_FREE: u64 = 16;
/// The maximum number of sessions, or of networks, that each rate limit tracks. Beyond it, new ones are refused with
/// [`Problem::Busy`] until some have been idle for long enough.
const MAX_TRACKED_KEYS: usize = 100_000;

/// How often idle sessions and networks are dropped from the rate limits.
const FORGETS_EVERY: Duration = Duration::from_secs(60);

/// The limits, and what counts towards them.
pub struct Limits<C: Clock = DefaultClock> {
    clock: C,
    quotas: Quotas,
    connections: Arc<Counts<()>>,
    addresses: Arc<Counts<IpAddr>>,
    sockets: Arc<Counts<UserId>>,
    starting: Arc<Counts<UserId>>,
    filters: Arc<Counts<UserId>>,
    filters_of_addresses: Arc<Counts<IpAddr>>,
    uploads: Arc<Counts<()>>,
    uploads_of_sessions: Arc<Counts<UserId>>,
    uploads_of_addresses: Arc<Counts<IpAddr>>,
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
    /// Reactions, at the rate of `message`: they must not delay what the session has to say.
    reaction: Limit<C>,
    /// Uploads of pictures.
    picture: Limit<C>,
    /// The bytes of pictures as they are stored.
    picture_bytes: Limit<C>,
    /// Looking at pictures, [`PICTURES_ON_A_PAGE`] times as often as at pages.
    picture_view: Limit<C>,
}

/// A guard that counts an upload, in all, for its session and for its network.
pub struct UploadGuard {
    _all: Counted<()>,
    _session: Counted<UserId>,
    _here: Option<Counted<IpAddr>>,
}

/// A guard that counts a WebSocket, in all and for its network.
pub struct ConnectionGuard {
    _all: Counted<()>,
    _here: Option<Counted<IpAddr>>,
}

/// A guard that counts a filtered list, for its session and for its network.
pub struct FilterGuard {
    _session: Counted<UserId>,
    _here: Option<Counted<IpAddr>>,
}

/// A rate limit, with the recent actions of each session and each network. `None` means unlimited.
struct Limit<C: Clock>(Option<(KeyedLimiter<UserId, C>, KeyedLimiter<IpAddr, C>)>);

type KeyedLimiter<Key, C> =
    RateLimiter<Key, DashMapStateStore<Key>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl Limits {
    /// Creates limits. `kept_for` is the lifetime of a message.
    pub fn new(rates: Rates, quotas: Quotas, kept_for: Duration) -> Self {
        Self::with_clock(rates, quotas, kept_for, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn with_clock(rates: Rates, quotas: Quotas, kept_for: Duration, clock: C) -> Self {
        let limit = |rate: Rate| {
            Limit(rate.quotas().map(|(session, address)| {
                let sessions = RateLimiter::dashmap_with_clock(session, clock.clone());
                (sessions, RateLimiter::dashmap_with_clock(address, clock.clone()))
            }))
        };
        let Rates { page, connect, chat, message, rename, invite, picture } = rates;
        Self {
            page: limit(page),
            bytes: limit(Rate(quotas.session_storage.map(|bytes| (bytes, kept_for)))),
            connect: limit(connect),
            chat: limit(chat),
            message: limit(message),
            rename: limit(rename),
            lock: limit(rename),
            remove: limit(rename),
            invite: limit(invite),
            reaction: limit(message),
            picture: limit(picture),
            picture_bytes: limit(Rate(quotas.session_pictures.map(|bytes| (bytes, kept_for)))),
            picture_view: limit(page.times(PICTURES_ON_A_PAGE)),
            quotas,
            connections: Arc::default(),
            addresses: Arc::default(),
            sockets: Arc::default(),
            starting: Arc::default(),
            filters: Arc::default(),
            filters_of_addresses: Arc::default(),
            uploads: Arc::default(),
            uploads_of_sessions: Arc::default(),
            uploads_of_addresses: Arc::default(),
            clock,
        }
    }

    /// Drops idle sessions and networks from time to time. Never returns.
    pub async fn run(&self) {
        loop {
            sleep(FORGETS_EVERY).await;
            let Self { page, bytes, connect, chat, message, rename, lock, remove, invite, reaction, .. } =
                self;
            let Self { picture, picture_bytes, picture_view, .. } = self;
            let pictures = [picture, picture_bytes, picture_view];
            let others = [page, bytes, connect, chat, message, rename, lock, remove, invite, reaction];
            for Limit(limit) in others.into_iter().chain(pictures) {
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
    pub fn connect(&self, user: Option<UserId>, address: IpAddr) -> Result<ConnectionGuard, Problem> {
        self.check(&self.connect, user, address, NonZeroU32::MIN)?;
        let all = self.connections.add(());
        let here = (!address.is_loopback()).then(|| self.addresses.add(network(address)));
        let of_address = self.quotas.session_sockets.saturating_mul(SESSIONS_AT_AN_ADDRESS.get() as usize);
        let is_room =
            all.count() <= self.quotas.sockets && here.as_ref().is_none_or(|here| here.count() <= of_address);
        if is_room { Ok(ConnectionGuard { _all: all, _here: here }) } else { Err(Problem::Busy) }
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
    pub fn filter(&self, by: Caller) -> Result<FilterGuard, Problem> {
        let session = self.filters.add(by.user);
        let here = (!by.address.is_loopback()).then(|| self.filters_of_addresses.add(network(by.address)));
        let of_address = FILTERS_OF_A_SESSION * SESSIONS_AT_AN_ADDRESS.get() as usize;
        let is_room = session.count() <= FILTERS_OF_A_SESSION
            && here.as_ref().is_none_or(|here| here.count() <= of_address);
        if is_room {
            Ok(FilterGuard { _session: session, _here: here })
        } else {
            Err(Problem::TooManyFilters)
        }
    }

    /// Counts a picture that is being uploaded until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if too many are being uploaded, in all, by
    /// the session or from its network.
    pub fn upload(&self, by: Caller) -> Result<UploadGuard, Problem> {
        self.check(&self.picture, Some(by.user), by.address, NonZeroU32::MIN)?;
        let (all, session) = (self.uploads.add(()), self.uploads_of_sessions.add(by.user));
        let here = (!by.address.is_loopback()).then(|| self.uploads_of_addresses.add(network(by.address)));
        let is_room = all.count() <= UPLOADS
            && session.count() <= UPLOADS_OF_A_SESSION
            && here.as_ref().is_none_or(|here| here.count() <= UPLOADS_OF_AN_ADDRESS);
        if is_room {
            Ok(UploadGuard { _all: all, _session: session, _here: here })
        } else {
            Err(Problem::Busy)
        }
    }

    /// Counts the bytes of a picture towards what the session may store.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the session or its network has stored as much as it may; [`Problem::Busy`] if too many of
    /// them are tracked.
    pub fn keep_picture(&self, by: Caller, bytes: u32) -> Result<(), Problem> {
        let bytes = NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MIN);
        self.check(&self.picture_bytes, Some(by.user), by.address, bytes)
    }

    /// Counts a look at a picture.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if it tracks too many sessions or
    /// networks.
    pub fn view_picture(&self, by: Caller) -> Result<(), Problem> {
        self.check(&self.picture_view, Some(by.user), by.address, NonZeroU32::MIN)
    }

    /// Counts an open WebSocket of a session until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyPages`] if the session has too many open.
    pub fn open(&self, user: UserId) -> Result<Counted<UserId>, Problem> {
        let socket = self.sockets.add(user);
        if socket.count() <= self.quotas.session_sockets { Ok(socket) } else { Err(Problem::TooManyPages) }
    }

    /// Checks whether a chat with the given number of members has room for one more.
    ///
    /// # Errors
    /// [`Problem::ChatFull`] if it has none.
    pub fn enter(&self, members: usize) -> Result<(), Problem> {
        if members < self.quotas.members { Ok(()) } else { Err(Problem::ChatFull) }
    }

    /// Counts a chat that is being started until the returned guard is dropped. `owned` returns the number of chats the
    /// user already has. It is called after this one is counted, so that a chat whose start is completed meanwhile is
    /// counted at least once.
    ///
    /// # Errors
    /// [`Problem::TooManyOwn`] if the user then has too many chats.
    pub fn start(&self, user: UserId, owned: impl FnOnce() -> usize) -> Result<Counted<UserId>, Problem> {
        let starting = self.starting.add(user);
        if owned() + starting.count() <= self.quotas.user_chats {
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
    pub fn check_storage(&self, by: Caller, command: &Command, bytes: u64) -> Result<(), Problem> {
        let enough = match command {
            Command::StartChat { .. }
            | Command::ChatPrivately { .. }
            | Command::Post { .. }
            | Command::Say { .. }
            | Command::EditMessage { .. }
            | Command::RestoreMessage { .. }
            | Command::React { is_on: true, .. }
            | Command::SetNickname { .. } => self.quotas.storage,
            // These store one short event or setting. Moderation stays possible for longer than posting.
            Command::EditTitle { .. }
            | Command::SetVisibility { .. }
            | Command::SetLock { .. }
            | Command::SetRemoved { .. }
            | Command::AnswerInvite { .. }
            | Command::SetInvites { are_taken: false }
            | Command::SetHidden { is_hidden: true, .. } => {
                self.quotas.storage + self.quotas.storage / KEPT_FREE
            }
            Command::RemoveMessage { .. }
            | Command::RemovePerson { .. }
            | Command::RemoveNewcomers { .. }
            | Command::RemoveOwn { .. }
            | Command::React { is_on: false, .. }
            | Command::SetInvites { are_taken: true }
            | Command::SetHidden { is_hidden: false, .. } => return Ok(()),
        };
        if bytes >= enough {
            return Err(Problem::StorageFull);
        }
        // The number of records, and the size of the text in each.
        let (records, text) = match command {
            Command::Post { body, .. } => (1, body.as_str().len()),
            Command::Say { words, pictures, .. } => {
                let alts =
                    pictures.iter().map(|attached| PICTURE_BESIDES + attached.picture.alt.as_str().len());
                (1, size_of_words(words) + alts.sum::<usize>())
            }
            Command::EditMessage { words, .. } => (1, size_of_words(words)),
            Command::RestoreMessage { said, .. } => {
                let alts = said.alts.iter().map(|(_, alt)| PICTURE_BESIDES + alt.as_str().len());
                (1, size_of_words(&said.words) + alts.sum::<usize>())
            }
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

    /// Counts a command, or the draft of one, towards the rate limit for its kind.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if it tracks too many sessions or
    /// networks.
    pub fn check_rate(&self, by: Caller, draft: &Draft) -> Result<(), Problem> {
        let limit = match draft {
            Draft::Say { .. } | Draft::EditMessage { .. } | Draft::RestoreMessage { .. } => &self.message,
            Draft::React { .. } => &self.reaction,
            Draft::Command(command) => self.rate_of(command),
        };
        self.check(limit, Some(by.user), by.address, NonZeroU32::MIN)
    }

    fn rate_of(&self, command: &Command) -> &Limit<C> {
        match command {
            Command::StartChat { .. } => &self.chat,
            // No more messages can be removed than were posted.
            Command::Post { .. }
            | Command::Say { .. }
            | Command::EditMessage { .. }
            | Command::RestoreMessage { .. }
            | Command::RemoveMessage { .. }
            | Command::RemoveOwn { .. } => &self.message,
            Command::React { .. } => &self.reaction,
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
        }
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
        lately: &KeyedLimiter<Key, C>,
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

/// Returns the approximate size in bytes of the words of a message.
fn size_of_words(words: &Wording) -> usize {
    let Wording { body, marks, mentions } = words;
    body.as_str().len() + marks.iter().count() * MARK_BYTES + mentions.len() * MENTION_BYTES
}

/// Returns the network of an address: the address itself for IPv4, and its 64-bit prefix for IPv6, since one site has
/// all addresses of that (RFC 6177).
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
