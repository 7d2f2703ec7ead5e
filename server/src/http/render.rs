//! From a page to HTML, by the views that the browser takes over, and what is kept of it.

mod cache;
mod packed;
mod pool;
mod template;

use app::{
    shell::{Assets, Content, Shell},
    view::composer::FreshClientId,
};
use domain::{
    ClientId,
    page::{Notice, Page},
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

pub(in crate::http) use cache::PageKey;
pub use cache::{PageRenderer, Takes};
pub use pool::{Asker, Line};

/// What differs from one answer to the next.
#[derive(Debug, Clone)]
struct RequestIds {
    /// What shows that a script is ours. Where none could be drawn, no script is run, and the page works without.
    nonce: String,
    /// For the message that a page without a script may post.
    client_id: Option<ClientId>,
}

impl RequestIds {
    /// For one answer.
    fn draw() -> Self {
        Self { nonce: random::nonce().unwrap_or_default(), client_id: random::client_id().ok() }
    }
}

/// Something as JSON that can stand in a page: nothing in it ends the element around it or begins another.
fn as_data(kind: &impl Serialize) -> String {
    serde_json::to_string(kind).unwrap_or_default().replace('<', "\\u003c")
}

/// The whole document of a page.
fn render(page: Page, once: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    let data = as_data(&page);
    document(Content::Page(page, data), once, assets, options)
}

/// The whole document of a page that stays as it is.
fn render_notice(notice: Notice, once: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    document(Content::Notice(notice), once, assets, options)
}

fn document(content: Content, once: &RequestIds, assets: &Assets, options: &LeptosOptions) -> String {
    let (assets, options) = (assets.clone(), options.clone());
    Owner::new().with(|| {
        provide_context(Nonce::from_value(once.nonce.as_str()));
        provide_context(FreshClientId(once.client_id));
        view! { <Shell content assets options /> }.to_html()
    })
}
