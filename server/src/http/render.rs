//! Renders pages to HTML, with the same views that the browser hydrates, and caches them.

mod compressed_template;
mod fair_queue;
mod page_cache;
mod page_renderer;
mod render_pool;
mod template;

use app::{
    shell::{Assets, Content, Shell},
    view::composer::FreshClientId,
};
use domain::{
    ClientId,
    page::{Notice, Page},
    search::SearchPage,
};
use engine::random;
use leptos::{
    config::LeptosOptions,
    context::provide_context,
    nonce::Nonce,
    prelude::{Owner, RenderHtml},
    view,
};
use serde::Serialize;

pub use fair_queue::{FairQueue, QueueKey};
pub use page_cache::AcceptedEncoding;
pub(in crate::http) use page_cache::PageKey;
pub use page_renderer::PageRenderer;
pub use render_pool::Requester;

/// Values that are unique to a response.
#[derive(Debug, Clone)]
struct RequestIds {
    /// The nonce of the page's scripts. If none could be drawn, no inline script runs, and the page works by its forms.
    nonce: String,
    /// The id of the message that a page without scripts may post.
    client_id: Option<ClientId>,
}

impl RequestIds {
    /// Draws the values of one response.
    fn draw() -> Self {
        Self { nonce: random::nonce().unwrap_or_default(), client_id: random::client_id().ok() }
    }
}

/// Serializes to JSON that can stand in HTML: nothing in it ends the element around it or starts another.
fn as_data(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().replace('<', "\\u003c")
}

/// Renders the whole document of a live page.
fn render(page: Page, ids: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    let data = as_data(&page);
    document(Content::Page(page, data), ids, assets, options)
}

/// Renders the whole document of a static page.
fn render_notice(notice: Notice, ids: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    document(Content::Notice(notice), ids, assets, options)
}

/// Renders the whole document of a page with a search in a chat.
fn render_search(page: SearchPage, ids: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    document(Content::Search(Box::new(page)), ids, assets, options)
}

fn document(content: Content, ids: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    let (assets, options) = (assets.clone(), options.clone());
    Owner::new().with(|| {
        provide_context(Nonce::from_value(ids.nonce.as_str()));
        provide_context(FreshClientId(ids.client_id));
        view! { <Shell content assets options /> }.to_html()
    })
}
