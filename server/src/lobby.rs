//! The lobby: how many there are in all, and the public chats, newest first. A conflated state with a version: each
//! page is sent the difference to what it was sent before, four times a second at most, of the part it wants to see.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    Change, Chat, ChatId, Counts, Expiry, Kept, Lifetimes, Listing, Timestamp, User, UserId, Visibility,
    lobby::{self, LISTINGS_LIMIT, LobbyChange, Wanted},
};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::{clock::Clock, presence::Presence};

/// Pages are told of changes this often at most.
const INTERVAL: Duration = Duration::from_millis(250);
/// The clock is looked at this often at least, lest a leap of it be missed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// "Last said" may be this many milliseconds older than it is: a busy chat is no news with every message.
const SAID_MILLIS: u64 = 15_000;

/// The lobby of this process.
pub struct Lobby {
    state: Mutex<State>,
    /// Something is different.
    changed: Notify,
    /// The version that pages are to look at.
    version: watch::Sender<u64>,
    presence: Arc<Presence>,
    lifetimes: Lifetimes,
    clock: Clock,
}

#[derive(Default)]
struct State {
    version: u64,
    people: usize,
    chats: HashMap<ChatId, Known>,
    /// How many chats each user owns who owns some that have not expired.
    owned: HashMap<UserId, usize>,
    expired: usize,
    /// The public chats that have not expired, newest first.
    listed: BTreeSet<(Reverse<Timestamp>, ChatId)>,
    /// When each chat expires, unless it is needed again; those that have expired are not here.
    expiries: BTreeSet<(Timestamp, ChatId)>,
}

struct Known {
    chat: Chat,
    active_at: Timestamp,
    is_expired: bool,
    /// The title as filters look at it.
    folded: String,
    members: usize,
    faces: Vec<User>,
    /// The version with which this came to look as it does.
    changed: u64,
    said_at: Option<Timestamp>,
}

/// What one page was sent of the lobby.
pub struct View {
    wanted: Wanted,
    version: u64,
    counts: Counts,
    matching: usize,
    sent: HashSet<ChatId>,
}

impl Lobby {
    /// A lobby with these chats.
    pub fn new(chats: Vec<Kept<Chat>>, presence: Arc<Presence>, lifetimes: Lifetimes, clock: Clock) -> Self {
        let (version, _) = watch::channel(0);
        let lobby =
            Self { state: Mutex::default(), changed: Notify::new(), version, presence, lifetimes, clock };
        lobby.reset(chats);
        lobby
    }

    /// Starts over with these chats: what is not among them has gone.
    pub fn reset(&self, chats: Vec<Kept<Chat>>) {
        let mut state = self.lock();
        let there: HashSet<ChatId> = chats.iter().map(|kept| kept.value.id).collect();
        let gone: Vec<ChatId> = state.chats.keys().filter(|id| !there.contains(id)).copied().collect();
        gone.into_iter().for_each(|id| state.remove(id, self.lifetimes));
        for Kept { value, active_at } in chats {
            state.put(value, active_at, self.lifetimes);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How many chats a user owns that have not expired, those of two included.
    pub fn owned_by(&self, user: UserId) -> usize {
        self.lock().owned.get(&user).copied().unwrap_or_default()
    }

    /// Takes in what was committed.
    pub fn apply(&self, change: &Change) {
        let mut state = self.lock();
        match change {
            Change::Chat(event) => {
                let before = state.chats.get(&event.chat).map(|known| known.chat.clone());
                let Some(chat) = event.apply_to(before) else { return };
                state.put(chat, event.at, self.lifetimes);
            }
            Change::ChatTouched(chat, at) => state.touch(*chat, *at, self.lifetimes),
            Change::ChatExpired(chat) => state.remove(chat.id, self.lifetimes),
            Change::ClockSet(by) => state.move_times(*by, self.lifetimes),
            Change::User { .. }
            | Change::Hidden { .. }
            | Change::UserTouched(..)
            | Change::UserExpired(_)
            | Change::Forgotten { .. } => return,
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Follows what happens, for ever.
    pub async fn run(&self) {
        loop {
            self.look();
            sleep(INTERVAL).await;
            let sleeps = sleep(self.until_next_expiry());
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.presence.moved() => {}
                () = sleeps => {}
            }
        }
    }

    /// Rings when pages should ask what changed.
    pub fn rings(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The lobby as it is wanted, and what is needed to go on from there.
    pub fn enter(&self, wanted: Wanted) -> (View, domain::Lobby) {
        let people = self.presence.people();
        let mut state = self.lock();
        state.count(people);
        let counts = state.counts();
        let (matching, shown) = state.shown(&wanted);
        let listings: Vec<Listing> = shown.iter().map(|known| known.listing()).collect();
        let sent = listings.iter().map(|listing| listing.id).collect();
        let version = state.version;
        let view = View { wanted, version, counts, matching, sent };
        (view, domain::Lobby { version, counts, matching, listings })
    }

    /// How many there are in all.
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    fn until_next_expiry(&self) -> Duration {
        let now = (self.clock)();
        let next = self.lock().expiries.first().map(|(at, _)| Duration::from_millis(at.millis_since(now)));
        next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// Takes in who moved and what has expired, and tells the pages.
    fn look(&self) {
        let moved: Vec<_> = self.presence.take_moved().into_iter().collect();
        let moved: Vec<_> = moved.into_iter().map(|chat| (chat, self.presence.company(chat))).collect();
        let people = self.presence.people();
        let now = (self.clock)();
        let mut state = self.lock();
        for (chat, (members, faces)) in moved {
            state.gather(chat, members, faces);
        }
        state.expire(Expiry { now, lifetimes: self.lifetimes });
        state.count(people);
        let version = state.version;
        drop(state);
        self.version.send_if_modified(|told| {
            let is_news = *told != version;
            *told = version;
            is_news
        });
    }

    /// What a panic elsewhere left behind is still whole: every change under this lock is complete in itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// What changed since this page was last told; nothing where it would look the same.
    pub fn news(&mut self, lobby: &Lobby) -> Option<LobbyChange> {
        let state = lobby.lock();
        if state.version == self.version {
            return None;
        }
        let counts = state.counts();
        let (matching, shown) = state.shown(&self.wanted);
        let is_news = |known: &&&Known| known.changed > self.version || !self.sent.contains(&known.chat.id);
        let listed: Vec<Listing> = shown.iter().filter(is_news).map(|known| known.listing()).collect();
        let now: HashSet<ChatId> = shown.iter().map(|known| known.chat.id).collect();
        let gone: Vec<ChatId> = self.sent.difference(&now).copied().collect();
        let looks_the_same =
            listed.is_empty() && gone.is_empty() && (counts, matching) == (self.counts, self.matching);
        let version = state.version;
        *self = Self { wanted: std::mem::take(&mut self.wanted), version, counts, matching, sent: now };
        (!looks_the_same).then_some(LobbyChange { version, counts, matching, listed, gone })
    }
}

impl State {
    fn count(&mut self, people: usize) {
        if self.people != people {
            self.people = people;
            self.version += 1;
        }
    }

    fn counts(&self) -> Counts {
        Counts { people: self.people, chats: self.chats.len() - self.expired }
    }

    /// How many pass the filter, and the newest of them.
    fn shown(&self, wanted: &Wanted) -> (usize, Vec<&Known>) {
        let limit = wanted.limit.min(LISTINGS_LIMIT);
        let filter = lobby::folded(&wanted.filter);
        let all = self.listed.iter().filter_map(|(_, id)| self.chats.get(id));
        if filter.is_empty() {
            return (self.listed.len(), all.take(limit).collect());
        }
        let (mut matching, mut shown) = (0, Vec::new());
        for known in all.filter(|known| lobby::passes(&known.folded, &filter)) {
            matching += 1;
            if shown.len() < limit {
                shown.push(known);
            }
        }
        (matching, shown)
    }

    fn put(&mut self, chat: Chat, active_at: Timestamp, lifetimes: Lifetimes) {
        let id = chat.id;
        let is_listed = chat.visibility == Visibility::Public;
        let place = (Reverse(chat.started_at), id);
        if let Some(known) = self.chats.get_mut(&id) {
            let said = |at: Option<Timestamp>| at.map_or(0, |at| at.0);
            let is_said_anew = said(chat.said_at).abs_diff(said(known.said_at)) >= SAID_MILLIS
                || known.said_at.is_some() != chat.said_at.is_some();
            if known.chat.title != chat.title {
                known.folded = lobby::folded(chat.title.as_str());
            }
            if known.chat.title != chat.title || known.chat.visibility != chat.visibility || is_said_anew {
                self.version += 1;
                known.changed = self.version;
                known.said_at = chat.said_at;
            }
            known.chat = chat;
        } else {
            self.version += 1;
            let folded = lobby::folded(chat.title.as_str());
            let (said_at, changed) = (chat.said_at, self.version);
            let known = Known {
                chat,
                active_at: Timestamp::default(),
                is_expired: false,
                folded,
                members: 0,
                faces: Vec::new(),
                changed,
                said_at,
            };
            *self.owned.entry(known.chat.owner).or_default() += 1;
            self.chats.insert(id, known);
        }
        if is_listed {
            self.listed.insert(place)
        } else {
            self.listed.remove(&place)
        };
        self.touch(id, active_at, lifetimes);
    }

    fn touch(&mut self, id: ChatId, at: Timestamp, lifetimes: Lifetimes) {
        let Some(known) = self.chats.get_mut(&id) else { return };
        self.expiries.remove(&(end(known.active_at, lifetimes), id));
        known.active_at = known.active_at.max(at);
        self.expiries.insert((end(known.active_at, lifetimes), id));
        if known.is_expired {
            known.is_expired = false;
            *self.owned.entry(known.chat.owner).or_default() += 1;
            self.expired -= 1;
            self.version += 1;
            if known.chat.visibility == Visibility::Public {
                self.listed.insert((Reverse(known.chat.started_at), id));
            }
        }
    }

    /// The clock was set: everything was last active so much later or earlier.
    fn move_times(&mut self, by: i64, lifetimes: Lifetimes) {
        self.expiries.clear();
        for (id, known) in &mut self.chats {
            known.active_at = known.active_at.moved(by);
            if !known.is_expired {
                self.expiries.insert((end(known.active_at, lifetimes), *id));
            }
        }
    }

    fn gather(&mut self, id: ChatId, members: usize, faces: Vec<User>) {
        let Some(known) = self.chats.get_mut(&id) else { return };
        if known.members != members || known.faces != faces {
            self.version += 1;
            (known.members, known.faces, known.changed) = (members, faces, self.version);
        }
    }

    /// What has expired is not shown, swept or not. It is kept, since whoever is in it may yet be noted.
    fn expire(&mut self, expiry: Expiry) {
        while let Some(&(at, id)) = self.expiries.first()
            && at <= expiry.now
        {
            self.expiries.pop_first();
            if let Some(known) = self.chats.get_mut(&id).filter(|known| !known.is_expired) {
                known.is_expired = true;
                self.expired += 1;
                self.version += 1;
                self.listed.remove(&(Reverse(known.chat.started_at), id));
                let owner = known.chat.owner;
                self.disown(owner);
            }
        }
    }

    fn remove(&mut self, id: ChatId, lifetimes: Lifetimes) {
        let Some(known) = self.chats.remove(&id) else { return };
        self.version += 1;
        if known.is_expired {
            self.expired -= 1;
        } else {
            self.disown(known.chat.owner);
        }
        self.listed.remove(&(Reverse(known.chat.started_at), id));
        self.expiries.remove(&(end(known.active_at, lifetimes), id));
    }

    fn disown(&mut self, owner: UserId) {
        if let Entry::Occupied(mut owned) = self.owned.entry(owner) {
            *owned.get_mut() -= 1;
            if *owned.get() == 0 {
                owned.remove();
            }
        }
    }
}

impl Known {
    fn listing(&self) -> Listing {
        let Chat { id, title, started_at, said_at, .. } = &self.chat;
        Listing {
            id: *id,
            title: title.clone(),
            started_at: *started_at,
            said_at: *said_at,
            members: self.members,
            faces: self.faces.clone(),
        }
    }
}

fn end(active_at: Timestamp, lifetimes: Lifetimes) -> Timestamp {
    Timestamp(active_at.0.saturating_add(lifetimes.chat.millis()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use domain::{Event, Nickname, Seq, Span, Title, UserId, What, id::ID_BYTES};

    use super::*;
    use crate::{clock, presence::GRACE, tail::Bell};

    fn id(number: u64) -> ChatId {
        let mut bytes = [0; ID_BYTES];
        bytes[2..].copy_from_slice(&number.to_be_bytes());
        ChatId::from_bytes(bytes)
    }

    fn event(number: u64, at: u64, what: What) -> Change {
        Change::Chat(Event { chat: id(number), seq: Seq(at), prev: Seq::ZERO, at: Timestamp(at), what })
    }

    fn started(number: u64, visibility: Visibility) -> Change {
        let nickname = Nickname::parse("Ana").unwrap();
        let title = Title::parse(&format!("Chat {number}")).unwrap();
        let owner = UserId::from_bytes([1; ID_BYTES]);
        event(number, number, What::Started { owner, nickname, title, visibility, guest: None })
    }

    fn lobby_at(clock: Clock) -> Lobby {
        let presence = Arc::new(Presence::new(GRACE, clock::system()));
        let lifetimes = Lifetimes { chat: Span::seconds(60), ..Lifetimes::default() };
        Lobby::new(Vec::new(), presence, lifetimes, clock)
    }

    fn lobby() -> Lobby {
        lobby_at(Arc::new(|| Timestamp(1_000)))
    }

    fn wanted(filter: &str, limit: usize) -> Wanted {
        Wanted { filter: filter.to_owned(), limit }
    }

    fn titles(lobby: &domain::Lobby) -> Vec<&str> {
        lobby.listings.iter().map(|listing| listing.title.as_str()).collect()
    }

    #[test]
    fn public_chats_are_listed_newest_first_and_private_ones_only_counted() {
        let lobby = lobby();
        for number in 1..=4 {
            let visibility = if number == 2 { Visibility::Private } else { Visibility::Public };
            lobby.apply(&started(number, visibility));
        }
        let (_, all) = lobby.enter(wanted("", 10));
        assert_eq!(titles(&all), ["Chat 4", "Chat 3", "Chat 1"]);
        assert_eq!((all.counts.chats, all.matching), (4, 3));
        let (_, some) = lobby.enter(wanted("", 2));
        assert_eq!((titles(&some), some.matching), (vec!["Chat 4", "Chat 3"], 3));
        let (_, found) = lobby.enter(wanted(" CHAT 3", 2));
        assert_eq!((titles(&found), found.matching), (vec!["Chat 3"], 1));
        assert_eq!(lobby.enter(wanted("", 0)).1.listings, []);
    }

    /// Whatever happens, a page that takes in the differences sees what a page sees that comes now.
    #[test]
    fn differences_lead_to_what_there_is() {
        let lobby = lobby();
        for number in 1..=8 {
            lobby.apply(&started(number, Visibility::Public));
        }
        for wish in [wanted("", 3), wanted("new", 5), wanted("", 0)] {
            let (mut view, mut page) = lobby.enter(wish.clone());
            let nickname = || Nickname::parse("Ana").unwrap();
            let title = |text: &str| Title::parse(text).unwrap();
            let steps = [
                event(8, 20, What::TitleEdited { nickname: nickname(), title: title("new") }),
                event(1, 21, What::TitleEdited { nickname: nickname(), title: title("NEW") }),
                event(7, 22, What::VisibilitySet { nickname: nickname(), visibility: Visibility::Private }),
                started(9, Visibility::Public),
                event(7, 23, What::VisibilitySet { nickname: nickname(), visibility: Visibility::Public }),
                Change::ChatExpired(chat_of(&started(9, Visibility::Public))),
            ];
            for step in steps {
                lobby.apply(&step);
                if let Some(change) = view.news(&lobby) {
                    page.apply(change);
                }
                let there_is = lobby.enter(wish.clone()).1;
                assert_eq!(titles(&page), titles(&there_is));
                assert_eq!((page.counts, page.matching), (there_is.counts, there_is.matching));
                assert_eq!(view.news(&lobby), None, "nothing is told twice");
            }
        }
    }

    fn chat_of(change: &Change) -> Chat {
        let Change::Chat(event) = change else { panic!("no event") };
        event.apply_to(None).unwrap()
    }

    #[test]
    fn after_starting_over_it_is_as_it_would_have_been() {
        let lobby = lobby();
        for number in 1..=3 {
            lobby.apply(&started(number, Visibility::Public));
        }
        let (mut view, mut page) = lobby.enter(wanted("", 10));
        let kept =
            |number| Kept { value: chat_of(&started(number, Visibility::Public)), active_at: Timestamp(900) };
        lobby.reset(vec![kept(2), kept(4)]);
        page.apply(view.news(&lobby).unwrap());
        assert_eq!(titles(&page), ["Chat 4", "Chat 2"]);
        assert_eq!(page.counts.chats, 2);
        assert_eq!(lobby.lock().expiries.len(), 2);
    }

    #[test]
    fn a_busy_chat_is_no_news_with_every_message() {
        let lobby = lobby();
        lobby.apply(&started(1, Visibility::Public));
        let said = |at| {
            let author = UserId::from_bytes([1; ID_BYTES]);
            let client_id = domain::ClientId::from_bytes([1; ID_BYTES]);
            let (nickname, body) = (Nickname::parse("Ana").unwrap(), domain::Body::parse("x").unwrap());
            event(1, at, What::Posted(domain::Message { author, nickname, client_id, body }))
        };
        let (mut view, _) = lobby.enter(wanted("", 10));
        lobby.apply(&said(10));
        assert_eq!(view.news(&lobby).unwrap().listed[0].said_at, Some(Timestamp(10)));
        for at in 11..1_000 {
            lobby.apply(&said(at));
        }
        assert_eq!(view.news(&lobby), None);
        lobby.apply(&said(10 + SAID_MILLIS));
        assert!(view.news(&lobby).is_some());
    }

    #[test]
    fn what_has_expired_is_gone_before_it_is_swept_and_back_when_it_is_touched() {
        let time = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&time);
        let lobby = lobby_at(Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))));
        lobby.apply(&started(1, Visibility::Public));
        lobby.apply(&started(2, Visibility::Private));
        let (mut view, _) = lobby.enter(wanted("", 10));
        time.store(60_000, Ordering::SeqCst);
        lobby.look();
        assert_eq!(view.news(&lobby), None);
        time.store(60_002, Ordering::SeqCst);
        lobby.look();
        let change = view.news(&lobby).unwrap();
        assert_eq!((change.gone, change.counts.chats, change.matching), (vec![id(1)], 0, 0));
        let owner = UserId::from_bytes([1; ID_BYTES]);
        assert_eq!(lobby.owned_by(owner), 0);
        lobby.apply(&Change::ChatTouched(id(1), Timestamp(50_000)));
        lobby.look();
        assert_eq!(titles(&lobby.enter(wanted("", 10)).1), ["Chat 1"]);
        assert_eq!(lobby.owned_by(owner), 1);
        time.store(120_000, Ordering::SeqCst);
        lobby.look();
        for number in [1, 2] {
            let chat = lobby.lock().chats[&id(number)].chat.clone();
            lobby.apply(&Change::ChatExpired(chat));
        }
        let state = lobby.lock();
        assert!(state.chats.is_empty() && state.listed.is_empty() && state.expiries.is_empty());
        assert_eq!(state.expired, 0);
        assert!(state.owned.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_told_four_times_a_second_at_most() {
        let lobby = Arc::new(lobby());
        let running = tokio::spawn({
            let lobby = Arc::clone(&lobby);
            async move { lobby.run().await }
        });
        let mut rings = lobby.rings();
        let mut rung = 0;
        for number in 1..=200 {
            lobby.apply(&started(number, Visibility::Public));
            sleep(Duration::from_millis(5)).await;
            rung += u32::from(rings.has_changed().unwrap());
            rings.mark_unchanged();
        }
        assert!((3..=5).contains(&rung), "{rung} in a second");
        running.abort();
    }

    #[test]
    fn who_is_there_is_shown() {
        let lobby = lobby();
        lobby.apply(&started(1, Visibility::Public));
        let users: Vec<_> = (1..=5).map(|n| User::new(UserId::from_bytes([n; ID_BYTES]))).collect();
        let _seats: Vec<_> =
            users.iter().map(|user| lobby.presence.join(id(1), user.clone(), Bell::default())).collect();
        let _stay = lobby.presence.arrive(users[0].id, Bell::default());
        lobby.look();
        let (_, page) = lobby.enter(wanted("", 1));
        assert_eq!((page.listings[0].members, &page.listings[0].faces[..]), (5, &users[..3]));
        assert_eq!(page.counts.people, 1);
    }
}
