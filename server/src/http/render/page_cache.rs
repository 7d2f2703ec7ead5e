//! The cache of pages of chats. Such a page is the same for all new visitors, except for a few values: it is rendered
//! once, for a placeholder visitor, and the values of each visitor are filled into the result.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use domain::{
    Chat, ChatId, Event, Expiry, Message, Roster, Seq, UserId,
    page::{ChatPage, Visit},
};
use engine::presence::SMALL_ROOM;
use lru::LruCache;
use tokio::time::Instant;

use super::{
    compressed_template::CompressedTemplate,
    template::{Template, Visitor, day, is_plain},
};

/// The maximum age of a cached page, since expired events leave no trace in the chat. It is also the interval at which
/// old pages are dropped, so that removed messages do not stay in memory.
pub(super) const KEPT: Duration = Duration::from_secs(60);
/// The maximum age of the members on a page of a large room, whose members are updated in batches anyway.
pub(super) const MEMBERS_KEPT: Duration = Duration::from_secs(1);

/// The cache key of a page of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::http) struct PageKey {
    /// The chat that the page shows.
    pub(in crate::http) chat: ChatId,
    /// The event that its part of the history ends before. `None` for the newest page.
    pub(in crate::http) before: Option<Seq>,
    /// The event that its part of the history is around. `None` if it is another part.
    pub(in crate::http) at: Option<Seq>,
    /// The message whose details it shows, if any.
    pub(in crate::http) message: Option<Seq>,
}

/// The encodings that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedEncoding {
    /// Uncompressed HTML only.
    Identity,
    /// HTML compressed with gzip as well.
    Gzip,
}

/// A page filled in for a visitor.
pub(super) enum Filled {
    Html(String),
    Gzip(Vec<u8>),
}

/// An LRU cache of pages, bounded by size.
pub(super) struct PageCache {
    pub(super) pages: LruCache<PageKey, Arc<CachedPage>>,
    limit: usize,
    pub(super) bytes: usize,
}

/// A cached page of a chat, for visitors it does not mention.
pub(super) struct CachedPage {
    rendered_at: Instant,
    /// The data it was rendered from, with the placeholder visitor.
    page: ChatPage,
    /// The users it mentions, who need a page of their own.
    mentioned: HashSet<UserId>,
    pub(super) template: Template,
    /// The template compressed, on first use. `None` inside if compression failed.
    compressed: OnceLock<Option<CompressedTemplate>>,
}

impl CachedPage {
    /// Creates a cached page from what it was rendered from, the users it mentions, and its template.
    pub(super) fn new(page: ChatPage, mentioned: HashSet<UserId>, template: Template) -> Self {
        Self { rendered_at: Instant::now(), page, mentioned, template, compressed: OnceLock::new() }
    }

    /// Returns its size in bytes, as counted against the limit of the cache.
    pub(super) fn bytes(&self) -> usize {
        // counted twice, as template and as data, plus its compressed form, which takes less than a quarter
        2 * self.template.bytes() + self.template.bytes() / 4
    }

    /// Returns the page filled in for a visitor, compressed if accepted.
    pub(super) fn fill(&self, visitor: &Visitor, accepts: AcceptedEncoding) -> Filled {
        let compressed = || self.compressed.get_or_init(|| self.template.compress()).as_ref();
        match (accepts == AcceptedEncoding::Gzip).then(compressed).flatten() {
            Some(compressed) => Filled::Gzip(self.template.fill_compressed(compressed, visitor)),
            None => Filled::Html(self.template.fill(visitor)),
        }
    }

    /// Whether a visitor who has not reacted to anything in the chat would get the same page if it were rendered now. Every
    /// event of a chat changes its `seq`, and every reaction `reacted`, so nothing has to be read to know that there are no
    /// new ones.
    pub(super) fn is_of(&self, visit: &Visit, chat: &Chat, roster: &Roster, reacted: Seq) -> bool {
        let expiry = Expiry { now: visit.now, lifetimes: visit.lifetimes };
        let age = self.rendered_at.elapsed();
        let is_large = |roster: &Roster| roster.count > SMALL_ROOM;
        let members = &self.page.roster;
        let has_members = roster == members || (is_large(roster) && is_large(members) && age < MEMBERS_KEPT);
        let events = &self.page.history.events;
        let quotes = events.iter().filter_map(|event| event.kind.message()?.quote.as_ref());
        let mut oldest = events.first().map(|event| event.at).into_iter().chain(quotes.map(|quote| quote.at));
        !self.mentioned.contains(&visit.me.id)
            && chat == &self.page.chat
            && reacted == self.page.history.reacted
            && has_members
            && day(self.page.visit.now) == day(visit.now)
            && age < KEPT
            && !oldest.any(|at| expiry.of_event(at))
    }
}

impl PageCache {
    /// Creates an empty cache with a maximum size in bytes.
    pub(super) fn new(limit: usize) -> Mutex<Self> {
        Mutex::new(Self { pages: LruCache::unbounded(), limit, bytes: 0 })
    }

    /// Returns a page, which becomes the most recently used.
    pub(super) fn get(&mut self, key: &PageKey) -> Option<Arc<CachedPage>> {
        self.pages.get(key).cloned()
    }

    /// Adds a page, and drops those that were not used for longest if there are too many bytes.
    pub(super) fn put(&mut self, key: PageKey, kept: Arc<CachedPage>) {
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
    pub(super) fn forget(&mut self) {
        let is_old = |kept: &CachedPage| kept.rendered_at.elapsed() >= KEPT;
        let old: Vec<_> = self.pages.iter().filter(|(_, kept)| is_old(kept)).map(|(key, _)| *key).collect();
        for key in old {
            if let Some(kept) = self.pages.pop(&key) {
                self.bytes -= kept.bytes();
            }
        }
    }
}

/// Whether nothing about the reader makes a page differ, apart from the template slots and what the page mentions.
pub(super) fn is_shareable(Visit { me, invites, hidden, takes_invites, .. }: &Visit) -> bool {
    invites.is_empty() && hidden.is_empty() && *takes_invites && is_plain(&me.nickname)
}

/// Whether a page shows that its reader has reacted to something.
pub(super) fn has_own_reactions(page: &ChatPage) -> bool {
    page.history.reactions.iter().flat_map(|tally| &tally.of).any(|count| count.is_mine)
}

/// Returns the users that a page mentions, but for those who have reacted: these are known by themselves.
pub(super) fn mentioned(page: &ChatPage) -> HashSet<UserId> {
    let ChatPage { chat, roster, history, about, .. } = page;
    let guest = chat.guest.map(|guest| guest.id);
    let members = roster.members.iter().map(|member| member.id);
    let said = history.events.iter().flat_map(Event::people);
    let meant = history.events.iter().filter_map(|event| event.kind.message()).flat_map(Message::meant);
    [chat.owner]
        .into_iter()
        .chain(guest)
        .chain(members)
        .chain(said)
        .chain(meant)
        .chain(about.iter().map(|about| about.person.id))
        .chain(chat.removed.iter().copied())
        .collect()
}
