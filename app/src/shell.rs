//! The HTML document around every page, rendered by the server only.

use domain::{
    page::{Notice, Page},
    search,
};
use leptos::{config::LeptosOptions, hydration::AutoReload, nonce::use_nonce, prelude::*};

use crate::{
    page::{App, DATA_ID, PAGE_ID, notice::NoticePage, search::SearchPage},
    view::timeline::tab_title,
};

/// A script that keeps the hydration state of a live page: in `data-hydration` on the root element for the styles, and
/// in the connection line for the reader. `loading`: being loaded; `slow`: loading takes longer than expected;
/// `hydrated`: hydrated, or rendered by the browser; `failed`: it could not run, or failed. A page that is slow or has
/// failed shows its ordinary forms, as without JavaScript.
const HYDRATION_STATE_SCRIPT: &str = include_str!("shell/hydration_state.js");

/// A script that requests the module while the page is still being loaded, with low priority, since `boot.js` uses it after
/// the first paint. The addresses are attributes of its element, where `boot.js` finds them too.
const PRELOAD_SCRIPT: &str = include_str!("shell/preload.js");

/// The addresses of the files that a page loads.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    /// The address of the script that hydrates a page.
    pub boot: String,
    /// The address of the script that loads the WASM.
    pub script: String,
    /// The address of the WASM.
    pub wasm: String,
    /// The address of the stylesheet.
    pub style: String,
    /// The addresses of the files that a live page loads when it needs them, separated by spaces.
    pub later: String,
    /// The address of the stylesheet for what is found in a chat. It comes later on a live page.
    pub search_style: String,
}

/// The content of a document.
#[derive(Debug)]
pub enum Content {
    /// A live page, and its data as JSON. The JSON must not contain `<`, so that it cannot end the element around it.
    Page(Page, String),
    /// A static page.
    Notice(Notice),
    /// A static page with a search in a chat.
    Search(Box<search::SearchPage>),
}

/// Returns the title of the document.
fn title(content: &Content) -> String {
    match content {
        Content::Page(Page::Home(_), _) => "Qchat".to_owned(),
        Content::Page(Page::Chat(page), _) => tab_title(page.chat.title.as_str(), 0, 0),
        Content::Notice(Notice::Refused { .. }) => "Not done · Qchat".to_owned(),
        Content::Notice(Notice::React { .. }) => "React · Qchat".to_owned(),
        Content::Notice(Notice::Edit { .. }) => "Edit message · Qchat".to_owned(),
        Content::Notice(Notice::Problem(_) | Notice::Removed(_) | Notice::Missing) => {
            "Not here · Qchat".to_owned()
        }
        Content::Search(page) => format!("Search · {}", tab_title(page.chat.title.as_str(), 0, 0)),
    }
}

/// The HTML document. Its scripts carry the nonce from the context, without which they are not run.
#[component]
pub fn Shell(
    /// The content of the document.
    content: Content,
    /// The addresses of the files to load.
    assets: Assets,
    /// The options of Leptos.
    options: LeptosOptions,
) -> impl IntoView {
    let Assets { boot, script, wasm, style, later, search_style } = assets;
    let title = title(&content);
    // Browsers that run no scripts load none of the rest: it is requested by scripts.
    let boot = matches!(content, Content::Page(..)).then(|| {
        view! {
            <script nonce=use_nonce()>{HYDRATION_STATE_SCRIPT}</script>
            <script nonce=use_nonce() data-script=script data-wasm=wasm data-later=later>
                {PRELOAD_SCRIPT}
            </script>
            <script async nonce=use_nonce() src=boot></script>
        }
    });
    // The newest messages are at the bottom, so that everything that is parsed later moves all of them: a chat is
    // painted once it is parsed up to the data that follows it (HTML, section 4.6.8.6; browsers that do not support
    // this paint it in parts). Chromium 156 waits for the start tag of the named element, not for its end.
    let whole = matches!(content, Content::Page(Page::Chat(_), _)).then(|| {
        view! { <link rel="expect" href=format!("#{DATA_ID}") blocking="render" /> }
    });
    let search_style =
        matches!(content, Content::Search(_)).then(|| view! { <link rel="stylesheet" href=search_style /> });
    let body = match content {
        Content::Page(page, data) => {
            let page = view! { <App page /> }.to_html();
            view! {
                <div id=PAGE_ID data-nodes=count_nodes(&page) inner_html=page></div>
                <script type="application/json" id=DATA_ID inner_html=data></script>
            }
            .into_any()
        }
        Content::Notice(notice) => view! { <NoticePage notice /> }.into_any(),
        Content::Search(page) => view! { <SearchPage page=*page /> }.into_any(),
    };
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8" />
                <meta
                    name="viewport"
                    content="width=device-width, initial-scale=1, interactive-widget=resizes-content"
                />
                <meta name="color-scheme" content="light dark" />
                <meta name="description" content="Rooms that vanish when nobody needs them. Open a link and talk." />
                <title>{title}</title>
                <link rel="stylesheet" href=style />
                {search_style}
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
                {whole}
                <AutoReload options />
                {boot}
            </head>
            <body>{body}</body>
        </html>
    }
}

/// Counts the elements and comments that a browser creates from a rendered page, so that it can check that the page is
/// complete and unmodified before it is hydrated. With scripts enabled, the contents of `noscript` are text.
fn count_nodes(html: &str) -> usize {
    const NO_SCRIPT: &str = "</noscript>";
    let (mut nodes, mut rest) = (0, html);
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if rest.starts_with('/') {
            continue;
        }
        nodes += 1;
        if rest.starts_with("noscript") {
            rest = rest.find(NO_SCRIPT).map_or("", |end| &rest[end..]);
            continue;
        }
        // Within the value of an attribute, `<` and `>` do not count.
        let mut quoted = false;
        let end = rest.bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == b'>' && !quoted
        });
        rest = end.map_or("", |end| &rest[end..]);
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::count_nodes;

    #[test]
    fn elements_and_comments_are_counted_as_a_browser_makes_them() {
        assert_eq!(
            count_nodes(r#"<p title="a <b> c">1 &lt; 2<!>3<br></p><noscript><p>4</p></noscript><i></i>"#),
            5
        );
        assert_eq!(count_nodes(""), 0);
        assert_eq!(count_nodes("text <unfinished"), 1);
    }
}
