//! The render cache. The page of a chat is the same for all new visitors, except for a few values: it is rendered once,
//! for a placeholder visitor, and the values of each visitor are filled into the result.

use std::{
    collections::HashSet,
    env,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use app::shell::Assets;
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use domain::{
    Chat, ChatId, Event, Expiry, Problem, Roster, Seq, UserId,
    page::{ChatPage, Notice, Page, Visit},
};
use engine::{ChatView, presence::SMALL_ROOM};
use leptos::config::LeptosOptions;
use lru::LruCache;
use tokio::time::{Instant, sleep};

use super::{
    RequestIds,
    packed::Packed,
    pool::{Asker, Pool},
    render, render_notice,
    template::{Template, Visitor, day, is_plain, nobody},
};
use crate::http::security_headers;

/// The maximum size of the cache of newest pages, in bytes.
const KEPT_BYTES: usize = 6 * 1024 * 1024;
/// The maximum size of the cache of other pages, in bytes. They are separate so that readers of history do not evict
/// the newest pages.
const KEPT_PARTS_BYTES: usize = 2 * 1024 * 1024;
/// The maximum number of cached pages with a single notice.
const KEPT_NOTICES: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// The maximum age of a cached page, since expired events leave no trace in the chat. It is also the interval at which
/// old pages are dropped, so that removed messages do not stay in memory.
const KEPT: Duration = Duration::from_secs(60);
/// The maximum age of the members on a page of a large room, whose members are updated in batches anyway.
const MEMBERS_KEPT: Duration = Duration::from_secs(1);

/// Renders pages, and caches those that several visitors will see.
pub struct PageRenderer {
    assets: Assets,
    options: LeptosOptions,
    /// Whether cargo-leptos runs this server in watch mode; pages then wait for new builds.
    is_watched: bool,
    newest: Mutex<PageCache>,
    parts: Mutex<PageCache>,
    /// Pages with a single notice, by their problem. `None` is the page for unknown addresses.
    notices: Mutex<LruCache<Option<Problem>, Arc<str>>>,
    pool: Pool,
}

/// The cache key of a page of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::http) struct PageKey {
    /// The chat.
    pub(in crate::http) chat: ChatId,
    /// The event it ends before. `None` for the newest page.
    pub(in crate::http) before: Option<Seq>,
    /// The message whose details it shows, if any.
    pub(in crate::http) message: Option<Seq>,
}

/// The encodings that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Plain HTML only.
    Html,
    /// Compressed with gzip as well.
    Gzip,
}

/// A page filled in for a visitor.
enum Filled {
    Html(String),
    Gzip(Vec<u8>),
}

/// An LRU cache of pages, bounded by size.
struct PageCache {
    pages: LruCache<PageKey, Arc<CachedPage>>,
    limit: usize,
    bytes: usize,
}

/// A cached page of a chat, for visitors it does not mention.
struct CachedPage {
    made_at: Instant,
    /// The data it was rendered from, with the placeholder visitor.
    page: ChatPage,
    /// The users it mentions, who need a page of their own.
    known: HashSet<UserId>,
    template: Template,
    /// The template compressed, on first use. `None` inside if compression failed.
    packed: OnceLock<Option<Packed>>,
}

impl CachedPage {
    fn bytes(&self) -> usize {
        // counted twice, as template and as data, plus its compressed form, which takes less than a quarter
        2 * self.template.bytes() + self.template.bytes() / 4
    }

    /// Returns the page filled in for a visitor, compressed if accepted.
    fn fill(&self, visitor: &Visitor, takes: Takes) -> Filled {
        let packed = || self.packed.get_or_init(|| self.template.pack()).as_ref();
        match (takes == Takes::Gzip).then(packed).flatten() {
            Some(packed) => Filled::Gzip(self.template.fill_packed(packed, visitor)),
            None => Filled::Html(self.template.fill(visitor)),
        }
    }

    /// Whether a visitor would get the same page if it were rendered now. Every event of a chat changes its `seq`, so
    /// nothing has to be read to know that there are no new ones.
    fn is_of(&self, visit: &Visit, chat: &Chat, roster: &Roster) -> bool {
        let expiry = Expiry { now: visit.now, lifetimes: visit.lifetimes };
        let age = self.made_at.elapsed();
        let is_large = |roster: &Roster| roster.count > SMALL_ROOM;
        let members = &self.page.roster;
        let has_members = roster == members || (is_large(roster) && is_large(members) && age < MEMBERS_KEPT);
        let oldest = self.page.history.events.first();
        !self.known.contains(&visit.me.id)
            && chat == &self.page.chat
            && has_members
            && day(self.page.visit.now) == day(visit.now)
            && age < KEPT
            && !oldest.is_some_and(|oldest| expiry.of_event(oldest.at))
    }
}

impl PageCache {
    fn new(limit: usize) -> Mutex<Self> {
        Mutex::new(Self { pages: LruCache::unbounded(), limit, bytes: 0 })
    }

    fn put(&mut self, key: PageKey, kept: Arc<CachedPage>) {
        self.bytes += kept.bytes();
        if let Some((_, before)) = self.pages.push(key, kept) {
            self.bytes -= before.bytes();
        }
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.pages.pop_lru() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    /// Drops the pages that are too old to be used.
    fn forget(&mut self) {
        let is_old = |kept: &CachedPage| kept.made_at.elapsed() >= KEPT;
        let old: Vec<_> = self.pages.iter().filter(|(_, kept)| is_old(kept)).map(|(key, _)| *key).collect();
        for key in old {
            if let Some(kept) = self.pages.pop(&key) {
                self.bytes -= kept.bytes();
            }
        }
    }
}

impl PageRenderer {
    /// Creates a renderer for the assets that pages load and the options of Leptos.
    pub fn new(assets: Assets, options: LeptosOptions) -> Self {
        let is_watched = env::var_os("LEPTOS_WATCH").is_some();
        Self {
            assets,
            options,
            is_watched,
            newest: PageCache::new(KEPT_BYTES),
            parts: PageCache::new(KEPT_PARTS_BYTES),
            notices: Mutex::new(LruCache::new(KEPT_NOTICES)),
            pool: Pool::new(),
        }
    }

    /// Drops old pages from the cache, until the task is aborted.
    pub async fn run(&self) {
        loop {
            sleep(KEPT).await;
            for cache in [&self.newest, &self.parts] {
                lock(cache).forget();
            }
        }
    }

    /// Makes a response that takes a while, once it is the request's turn.
    ///
    /// # Errors
    /// Those of `make`, [`Problem::Busy`] if too many requests wait, [`Problem::NotReadable`] if `make` panics.
    pub async fn make(
        self: &Arc<Self>,
        asker: Asker,
        make: impl FnOnce(&Self) -> Result<Response, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let renderer = Arc::clone(self);
        self.pool.run(asker, move || make(&renderer)).await?
    }

    /// Renders a page and responds with it. Caches it under `key` if other visitors will see the same.
    pub(in crate::http) fn answer(&self, page: Page, key: Option<PageKey>) -> Response {
        let once = RequestIds::draw();
        let html = self.html(page, key, once.clone());
        self.respond(html, &once)
    }

    /// Responds with the data of a page, for a live page that polls because its WebSocket does not get through.
    pub fn answer_data(page: &Page) -> Response {
        let data = serde_json::to_string(page).unwrap_or_default();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        (headers, data).into_response()
    }

    /// Responds with a static page that is the same for everyone: a problem, or `None` for an unknown address.
    pub fn say(&self, problem: Option<Problem>) -> Response {
        let once = RequestIds::draw();
        let known = lock(&self.notices).get(&problem).cloned();
        let html = known.unwrap_or_else(|| {
            let notice = problem.map_or(Notice::Missing, Notice::Problem);
            let html: Arc<str> = render_notice(notice, &once, &self.assets, &self.options).into();
            // in watch mode, the script that waits for new builds is different in each page
            if !self.is_watched {
                lock(&self.notices).put(problem, Arc::clone(&html));
            }
            html
        });
        self.respond(html.to_string(), &once)
    }

    /// Responds with a static page.
    pub fn answer_notice(&self, notice: Notice) -> Response {
        let once = RequestIds::draw();
        let html = render_notice(notice, &once, &self.assets, &self.options);
        self.respond(html, &once)
    }

    /// Responds with a page of a chat from the cache. Returns `None` if the page is not cached or the visitor needs
    /// another one.
    pub(in crate::http) fn answer_from_cache(
        &self,
        ChatView { visit, chat, roster, .. }: &ChatView,
        key: Option<PageKey>,
        takes: Takes,
    ) -> Option<Response> {
        let once = RequestIds::draw();
        let filled = self.filled_again(visit, chat, roster, key?, (once.clone(), takes))?;
        Some(match filled {
            Filled::Html(html) => self.respond(html, &once),
            Filled::Gzip(file) => {
                let mut response = self.respond(file, &once);
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
                response
            }
        })
    }

    fn filled_again(
        &self,
        visit: &Visit,
        chat: &Chat,
        roster: &Roster,
        key: PageKey,
        (once, takes): (RequestIds, Takes),
    ) -> Option<Filled> {
        let kept = self.cache(key).pages.get(&key).cloned()?;
        let is_it = is_shareable(visit) && kept.is_of(visit, chat, roster);
        is_it.then(|| kept.fill(&Visitor { once, visit: visit.clone() }, takes))
    }

    /// Completes a response with HTML. Nothing else may cache it, since it is for one reader at one moment.
    fn respond(&self, html: impl Into<Body>, once: &RequestIds) -> Response {
        let policy = security_headers::page_policy(&once.nonce, self.is_watched);
        let mut response = Html(html.into()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(policy) = policy.parse() {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    fn html(&self, page: Page, key: Option<PageKey>, once: RequestIds) -> String {
        if let (Page::Chat(page), Some(key)) = (&page, key)
            && is_shareable(&page.visit)
            && let Some(kept) = self.keep(page, key)
        {
            return kept.template.fill(&Visitor { once, visit: page.visit.clone() });
        }
        render(page, &once, &self.assets, &self.options)
    }

    /// Renders a page for all visitors it does not mention, and caches it. Returns `None` if it mentions its reader.
    fn keep(&self, page: &ChatPage, key: PageKey) -> Option<Arc<CachedPage>> {
        let known = known(page);
        if known.contains(&page.visit.me.id) {
            return None;
        }
        let nobody = nobody(&page.visit).ok()?;
        let theirs = ChatPage { visit: nobody.visit.clone(), ..page.clone() };
        let rendered =
            render(Page::Chat(Box::new(theirs.clone())), &nobody.once, &self.assets, &self.options);
        let template = Template::of(&rendered, &nobody)?;
        let kept = Arc::new(CachedPage {
            made_at: Instant::now(),
            page: theirs,
            known,
            template,
            packed: OnceLock::new(),
        });
        self.cache(key).put(key, Arc::clone(&kept));
        Some(kept)
    }

    fn cache(&self, key: PageKey) -> MutexGuard<'_, PageCache> {
        let is_newest = key.before.is_none() && key.message.is_none();
        lock(if is_newest { &self.newest } else { &self.parts })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nothing about the reader makes a page differ, apart from the template slots and what the page mentions.
fn is_shareable(Visit { me, invites, hidden, takes_invites, .. }: &Visit) -> bool {
    invites.is_empty() && hidden.is_empty() && *takes_invites && is_plain(&me.nickname)
}

/// Returns the users that a page mentions.
fn known(page: &ChatPage) -> HashSet<UserId> {
    let ChatPage { chat, roster, history, about, .. } = page;
    let guest = chat.guest.map(|guest| guest.id);
    let members = roster.members.iter().map(|member| member.id);
    let said = history.events.iter().flat_map(Event::people);
    [chat.owner]
        .into_iter()
        .chain(guest)
        .chain(members)
        .chain(said)
        .chain(about.iter().map(|about| about.person.id))
        .chain(chat.removed.iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use domain::{
        Body, Chat, ClientId, Counts, Epoch, EventKind, Invite, Lifetimes, Member, Message, Nickname, Roster,
        Seq, Span, Timestamp, Title, User, Visibility,
        id::ID_BYTES,
        page::{About, History, Visit},
    };
    use flate2::read::GzDecoder;

    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;

    fn id(number: u8) -> UserId {
        UserId::from_bytes([number; ID_BYTES])
    }

    fn page(reader: u8, said: &str) -> ChatPage {
        let owner = User::new(id(1));
        let chat = ChatId::from_bytes([9; ID_BYTES]);
        let lifetimes =
            Lifetimes { chat: Span::seconds(1), user: Span::seconds(1), message: Span::seconds(86_400) };
        let message = Message {
            author: owner.id,
            nickname: owner.nickname.clone(),
            client_id: ClientId::from_bytes([4; ID_BYTES]),
            body: Body::parse(said).unwrap(),
        };
        let event =
            Event { chat, seq: Seq(7), prev: Seq(3), at: Timestamp(HOUR), kind: EventKind::Posted(message) };
        ChatPage {
            visit: Visit {
                me: User::new(id(reader)),
                now: Timestamp(2 * HOUR + u64::from(reader)),
                counts: Counts { people: usize::from(reader), chats: 1 },
                invites: Vec::new(),
                hidden: Vec::new(),
                takes_invites: true,
                lifetimes,
            },
            chat: Chat {
                id: chat,
                title: Title::parse("Tom & <Jerry>").unwrap(),
                owner: owner.id,
                visibility: Visibility::Public,
                started_at: Timestamp(0),
                seq: Seq(7),
                said_at: Some(Timestamp(HOUR)),
                guest: None,
                is_locked: false,
                removed: Vec::new(),
            },
            roster: Roster::new(3, 2, vec![Member::from(owner)]),
            history: History {
                epoch: Epoch::from_bytes([5; ID_BYTES]),
                seq: Seq(7),
                events: vec![event],
                earlier: false,
            },
            later: false,
            about: None,
        }
    }

    fn renderer() -> PageRenderer {
        let file = |name: &str| format!("/pkg/{name}");
        let assets = Assets {
            boot: file("boot.js"),
            script: file("a.js"),
            wasm: file("a.wasm"),
            style: file("a.css"),
        };
        PageRenderer::new(assets, LeptosOptions::builder().output_name("qchat").build())
    }

    fn sheet_of(page: &ChatPage) -> PageKey {
        let before = page.later.then(|| page.history.seq.next());
        let message = page.about.as_ref().and_then(|about| about.message);
        PageKey { chat: page.chat.id, before, message }
    }

    fn read(filled: Filled) -> String {
        match filled {
            Filled::Html(html) => html,
            Filled::Gzip(file) => {
                let mut html = String::new();
                GzDecoder::new(&file[..]).read_to_string(&mut html).unwrap();
                html
            }
        }
    }

    /// Returns the page as served, as rendered for its reader alone, and whether it came from the cache.
    fn made(renderer: &PageRenderer, page: &ChatPage) -> (String, String, bool) {
        let (once, boxed) = (RequestIds::draw(), || Page::Chat(Box::new(page.clone())));
        let key = sheet_of(page);
        let again = |takes| {
            renderer.filled_again(&page.visit, &page.chat, &page.roster, key, (once.clone(), takes)).map(read)
        };
        let (html, unpacked) = (again(Takes::Html), again(Takes::Gzip));
        assert_eq!(html, unpacked, "compressed it is the same");
        let was_made = html.is_some();
        let made = html.unwrap_or_else(|| renderer.html(boxed(), Some(key), once.clone()));
        (made, render(boxed(), &once, &renderer.assets, &renderer.options), was_made)
    }

    /// Counts the pages that came from the cache. Each has to equal what is rendered for its reader alone.
    fn made_before(renderer: &PageRenderer, pages: &[ChatPage]) -> usize {
        let made_before = |page: &&ChatPage| {
            let (made, rendered, was_made) = made(renderer, page);
            assert!(made == rendered, "{made}\n{rendered}");
            was_made
        };
        pages.iter().filter(made_before).count()
    }

    #[test]
    fn strangers_see_a_page_rendered_once_as_if_rendered_for_each() {
        let pages = [20, 21, 22, 200].map(|reader| page(reader, "Is 1 < 2 & \"2\" > 1? </script><!--"));
        assert_eq!(made_before(&renderer(), &pages), 3);
    }

    #[test]
    fn other_pages_of_a_chat_are_kept_as_well_and_apart() {
        let (renderer, mut pages) = (renderer(), Vec::new());
        for reader in [20, 21] {
            let newest = page(reader, "hi");
            let mut earlier = newest.clone();
            (earlier.later, earlier.chat.seq) = (true, Seq(9));
            let mut about = newest.clone();
            about.about = Some(About { person: User::new(id(3)), message: Some(Seq(7)) });
            pages.extend([newest, earlier, about]);
        }
        assert_eq!(made_before(&renderer, &pages), 3);
        let mut own = page(3, "hi");
        own.about = pages[2].about.clone();
        assert_eq!(made_before(&renderer, &[own]), 0, "the user it is about sees their own");
    }

    #[test]
    fn a_message_to_all_readers_is_rendered_once() {
        let renderer = renderer();
        for problem in [None, Some(Problem::Busy)] {
            let said = [renderer.say(problem), renderer.say(problem)];
            assert_eq!(lock(&renderer.notices).len(), 1 + usize::from(problem.is_some()));
            assert!(said.iter().all(|said| said.status() == axum::http::StatusCode::OK));
        }
    }

    #[test]
    fn a_mentioned_reader_gets_a_page_of_their_own() {
        let renderer = renderer();
        assert_eq!(made_before(&renderer, &[page(1, "hi"), page(20, "hi"), page(1, "hi")]), 0);
        let mut odd = page(20, "hi");
        odd.visit.me.nickname = Nickname::parse("<b> \"&\"").unwrap();
        assert_eq!(made_before(&renderer, &[odd, page(21, "hi")]), 1, "and leaves that of others");
    }

    #[test]
    fn what_only_one_reader_sees_is_rendered_for_that_reader() {
        let mut invited = page(20, "hi");
        let from = User::new(id(9));
        invited.visit.invites.push(Invite { chat: ChatId::from_bytes([8; ID_BYTES]), from });
        let mut hides = page(21, "hi");
        hides.visit.hidden.push(id(1));
        assert_eq!(made_before(&renderer(), &[page(22, "hi"), invited, hides, page(23, "hi")]), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_members_of_a_large_room_may_be_those_of_a_moment_ago_and_nothing_else() {
        let large = |reader, version| {
            let mut page = page(reader, "hi");
            (page.roster.version, page.roster.count) = (version, 400);
            page
        };
        let renderer = renderer();
        assert_eq!(made_before(&renderer, &[large(20, 7)]), 0);
        let again = |page: &ChatPage| {
            let how = (RequestIds::draw(), Takes::Html);
            renderer.filled_again(&page.visit, &page.chat, &page.roster, sheet_of(page), how)
        };
        assert!(again(&large(21, 8)).is_some());
        let mut said = large(21, 8);
        said.chat.seq = Seq(8);
        assert!(again(&said).is_none());
        tokio::time::advance(MEMBERS_KEPT).await;
        assert!(again(&large(21, 8)).is_none() && again(&large(21, 7)).is_some());
        tokio::time::advance(KEPT).await;
        assert!(again(&large(21, 7)).is_none());
        let mut cache = lock(&renderer.newest);
        cache.forget();
        assert_eq!((cache.bytes, cache.pages.len()), (0, 0));
    }

    #[test]
    fn what_is_new_is_rendered_anew() {
        let mut said = page(20, "ho");
        said.chat.seq = Seq(8);
        let mut preview = page(21, "hi");
        preview.roster.count = 3;
        let mut tomorrow = page(22, "hi");
        tomorrow.visit.now = Timestamp(25 * HOUR);
        let mut expired = page(23, "hi");
        expired.visit.lifetimes.message = Span::seconds(60);
        assert_eq!(made_before(&renderer(), &[page(20, "hi"), said, preview, tomorrow, expired]), 0);
    }

    #[test]
    fn no_content_is_taken_for_a_placeholder() {
        // a visitor's letters and colour may equal those of a member
        let mut pages = Vec::new();
        for reader in 20..60 {
            let mut page = page(reader, "7 people online");
            page.roster.members.extend((100..250).map(|number| Member::from(User::new(id(number)))));
            pages.push(page);
        }
        made_before(&renderer(), &pages);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let renderer = renderer();
        let long = "x".repeat(3_000);
        for number in 0..2_000_u64 {
            let mut page = page(20, &long);
            let mut id = [0; ID_BYTES];
            id[..8].copy_from_slice(&number.to_be_bytes());
            page.chat.id = ChatId::from_bytes(id);
            renderer.keep(&page, sheet_of(&page)).unwrap();
        }
        let cache = lock(&renderer.newest);
        assert!(cache.bytes <= KEPT_BYTES && cache.bytes > KEPT_BYTES / 2, "{}", cache.bytes);
        assert_eq!(cache.bytes, cache.pages.iter().map(|(_, kept)| kept.bytes()).sum::<usize>());
    }
}
