//! The renderer of pages: from a page to a response, from the cache if other visitors have seen the same.

#[cfg(test)]
mod tests;

use std::{
    env,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use app::shell::Assets;
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use domain::{
    Chat, Problem, Roster, Seq,
    page::{ChatPage, Notice, Page, Visit},
    search::{Found, SearchPage},
};
use engine::{
    ChatView,
    metrics::{self, seconds},
};
use leptos::config::LeptosOptions;
use lru::LruCache;
use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};
use serde::Serialize;
use tokio::time::sleep;

use super::{
    RequestIds,
    page_cache::{
        AcceptedEncoding, CachedPage, Filled, KEPT, PageCache, PageKey, has_own_reactions, is_shareable,
        mentioned,
    },
    render, render_notice,
    render_pool::{Pool, Requester},
    render_search,
    template::{Template, Visitor, placeholder},
};
use crate::http::security_headers;

/// The maximum size of the cache of newest pages, in bytes.
const KEPT_BYTES: usize = 6 * 1024 * 1024;
/// The maximum size of the cache of other pages, in bytes. They are separate so that readers of history do not evict
/// the newest pages.
const KEPT_PARTS_BYTES: usize = 2 * 1024 * 1024;
/// The maximum number of cached pages with a single notice.
const KEPT_NOTICES: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// What was found in a chat, named as the data of pages is.
#[derive(Serialize)]
enum SearchData<'a> {
    Found(&'a Found),
}

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
    rendering: Histogram,
    from_cache: Counter,
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
            rendering: seconds(),
            from_cache: Counter::default(),
        }
    }

    /// Adds what is counted and measured of pages to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register(
            "qchat_page_render_seconds",
            "Time to render a page to HTML, without the wait for a turn and without reading what it shows",
            self.rendering.clone(),
        );
        registry.register(
            "qchat_pages_from_cache",
            "Number of pages that were filled in from the cache instead of rendered",
            self.from_cache.clone(),
        );
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

    /// Runs work that takes a while, once it is the request's turn, and returns its response.
    ///
    /// # Errors
    /// Those of `work`, [`Problem::Busy`] if too many requests wait, [`Problem::NotReadable`] if `work` panics.
    pub async fn run_queued(
        self: &Arc<Self>,
        requester: Requester,
        work: impl FnOnce(&Self) -> Result<Response, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let renderer = Arc::clone(self);
        self.pool.run(requester, move || work(&renderer)).await?
    }

    /// Renders a page and responds with it. Caches it under `key` if other visitors will see the same.
    pub(in crate::http) fn answer(&self, page: Page, key: Option<PageKey>) -> Response {
        let ids = RequestIds::draw();
        let html = self.html(page, key, ids.clone());
        self.respond(html, &ids)
    }

    /// Responds with the data of a page, for a live page that polls because its WebSocket does not get through.
    pub fn answer_data(page: &Page) -> Response {
        respond_data(page)
    }

    /// Responds with what was found in a chat, as data for programs.
    pub fn answer_found(found: &Found) -> Response {
        respond_data(&SearchData::Found(found))
    }

    /// Responds with a static page that is the same for everyone: a problem, or `None` for an unknown address.
    pub fn respond_problem(&self, problem: Option<Problem>) -> Response {
        let ids = RequestIds::draw();
        let known = lock(&self.notices).get(&problem).cloned();
        let html = known.unwrap_or_else(|| {
            let notice = problem.map_or(Notice::Missing, Notice::Problem);
            let html: Arc<str> = render_notice(notice, &ids, &self.assets, &self.options).into();
            // in watch mode, the script that waits for new builds is different in each page
            if !self.is_watched {
                lock(&self.notices).put(problem, Arc::clone(&html));
            }
            html
        });
        self.respond(html.to_string(), &ids)
    }

    /// Responds with a static page.
    pub fn answer_notice(&self, notice: Notice) -> Response {
        let ids = RequestIds::draw();
        let html = render_notice(notice, &ids, &self.assets, &self.options);
        self.respond(html, &ids)
    }

    /// Responds with a page with a search in a chat.
    pub fn answer_search(&self, page: SearchPage) -> Response {
        let ids = RequestIds::draw();
        let html = render_search(page, &ids, &self.assets, &self.options);
        self.respond(html, &ids)
    }

    /// Responds with a page of a chat from the cache. Returns `None` if the page is not cached or the visitor needs
    /// another one.
    pub(in crate::http) fn answer_from_cache(
        &self,
        ChatView { visit, chat, roster, reacted, has_reacted, .. }: &ChatView,
        key: Option<PageKey>,
        accepts: AcceptedEncoding,
    ) -> Option<Response> {
        // The page may show their own reactions, which the others do not have.
        let key = key.filter(|_| !has_reacted)?;
        let ids = RequestIds::draw();
        let filled = self.fill_cached(visit, (chat, *reacted), roster, key, (ids.clone(), accepts))?;
        self.from_cache.inc();
        Some(match filled {
            Filled::Html(html) => self.respond(html, &ids),
            Filled::Gzip(file) => {
                let mut response = self.respond(file, &ids);
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
                response
            }
        })
    }

    /// Fills a cached page for a visitor. Returns `None` if it is not cached or the visitor needs another one.
    fn fill_cached(
        &self,
        visit: &Visit,
        (chat, reacted): (&Chat, Seq),
        roster: &Roster,
        key: PageKey,
        (ids, accepts): (RequestIds, AcceptedEncoding),
    ) -> Option<Filled> {
        let kept = self.cache(key).get(&key)?;
        let is_it = is_shareable(visit) && kept.is_of(visit, chat, roster, reacted);
        is_it.then(|| kept.fill(&Visitor { ids, visit: visit.clone() }, accepts))
    }

    /// Completes a response with HTML. Nothing else may cache it, since it is for one reader at one moment.
    fn respond(&self, html: impl Into<Body>, ids: &RequestIds) -> Response {
        let policy = security_headers::page_policy(&ids.nonce, self.is_watched);
        let mut response = Html(html.into()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(policy) = policy.parse() {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    fn html(&self, page: Page, key: Option<PageKey>, ids: RequestIds) -> String {
        if let (Page::Chat(page), Some(key)) = (&page, key)
            && is_shareable(&page.visit)
            && let Some(kept) = self.render_for_cache(page, key)
        {
            return kept.template.fill(&Visitor { ids, visit: page.visit.clone() });
        }
        self.render(page, &ids)
    }

    fn render(&self, page: Page, ids: &RequestIds) -> String {
        let begun = Instant::now();
        let html = render(page, ids, &self.assets, &self.options);
        metrics::observe(&self.rendering, begun.elapsed());
        html
    }

    /// Renders a page for all visitors it does not mention, and caches it. Returns `None` if it mentions its reader.
    fn render_for_cache(&self, page: &ChatPage, key: PageKey) -> Option<Arc<CachedPage>> {
        let mentioned = mentioned(page);
        if mentioned.contains(&page.visit.me.id) || has_own_reactions(page) {
            return None;
        }
        let placeholder = placeholder(&page.visit).ok()?;
        let theirs = ChatPage { visit: placeholder.visit.clone(), ..page.clone() };
        let rendered = self.render(Page::Chat(Box::new(theirs.clone())), &placeholder.ids);
        let template = Template::of(&rendered, &placeholder)?;
        let kept = Arc::new(CachedPage::new(theirs, mentioned, template));
        self.cache(key).put(key, Arc::clone(&kept));
        Some(kept)
    }

    fn cache(&self, key: PageKey) -> MutexGuard<'_, PageCache> {
        let is_newest = key.before.is_none() && key.at.is_none() && key.message.is_none();
        lock(if is_newest { &self.newest } else { &self.parts })
    }
}

/// Responds with data as JSON, which nothing else may cache.
fn respond_data(data: &impl Serialize) -> Response {
    let data = serde_json::to_string(data).unwrap_or_default();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, data).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
