//! The document around every page: rendered by the server alone.

use domain::page::{Notice, Page};
use leptos::{config::LeptosOptions, hydration::AutoReload, nonce::use_nonce, prelude::*};

use crate::{
    page::{App, DATA_ID, PAGE_ID, notice::NoticePage},
    view::timeline::tab_title,
};

/// What every live page knows of its life: which state it is in, told by `data-life` on the root element for the styles, and
/// in the line about the connection for people. `starting`: what brings it to life is on its way; `late`: that takes longer
/// than people wait; `alive`; `dead`: it could not be run here, or failed. A page that is late or dead shows its ordinary forms,
/// as one does without JavaScript.
const LIFE: &str = include_str!("shell/life.js");

/// Where the parts of a page are found.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    /// The address of the script that brings a page to life.
    pub boot: String,
    /// The address of the script that loads the WASM.
    pub script: String,
    /// The address of the WASM.
    pub wasm: String,
    /// The address of the styles.
    pub style: String,
}

/// What a document shows.
#[derive(Debug)]
pub enum Content {
    /// A page, which the browser takes over with the same as JSON, in which no `<` ends the element around it.
    Page(Page, String),
    /// A page that stays as it is.
    Notice(Notice),
}

/// What the tab is called.
fn title(content: &Content) -> String {
    match content {
        Content::Page(Page::Home(_), _) => "Qchat".to_owned(),
        Content::Page(Page::Chat(page), _) => tab_title(page.chat.title.as_str(), 0),
        Content::Notice(Notice::Refused { .. }) => "Not done · Qchat".to_owned(),
        Content::Notice(Notice::Problem(_) | Notice::Removed(_) | Notice::Missing) => {
            "Not here · Qchat".to_owned()
        }
    }
}

/// The document. Its one script is run because it has the nonce that is there as a context.
#[component]
pub fn Shell(
    /// What is shown.
    content: Content,
    /// Where its parts are found.
    assets: Assets,
    /// What Leptos wants to know.
    options: LeptosOptions,
) -> impl IntoView {
    let Assets { boot, script, wasm, style } = assets;
    let title = title(&content);
    // Whoever runs no script is not sent what they cannot use: the rest is asked for by this one.
    let boot = matches!(content, Content::Page(..)).then(|| {
        view! {
            <script nonce=use_nonce()>{LIFE}</script>
            <script async nonce=use_nonce() src=boot data-script=script data-wasm=wasm></script>
        }
    });
    // The newest messages stand at the bottom, so that what comes later moves all of them: a chat is shown once it was read as
    // far as what follows it (HTML, section 4.6.8.6; a browser that does not know this shows it bit by bit). Chromium 156
    // waits for the beginning of what is named, and not for its end.
    let whole = matches!(content, Content::Page(Page::Chat(_), _)).then(|| {
        view! { <link rel="expect" href=format!("#{DATA_ID}") blocking="render" /> }
    });
    let body = match content {
        Content::Page(page, data) => {
            let page = view! { <App page /> }.to_html();
            view! {
                <div id=PAGE_ID data-nodes=nodes(&page) inner_html=page></div>
                <script type="application/json" id=DATA_ID inner_html=data></script>
            }
            .into_any()
        }
        Content::Notice(notice) => view! { <NoticePage notice /> }.into_any(),
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
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
                {whole}
                <AutoReload options />
                {boot}
            </head>
            <body>{body}</body>
        </html>
    }
}

/// How many elements and comments a browser makes of a rendered page: what it takes over has to be there whole, with nothing
/// else in it. Where scripts are run, what is in `noscript` is a text.
fn nodes(html: &str) -> usize {
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
        // in the value of an attribute neither begins or ends anything
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
    use super::nodes;

    #[test]
    fn elements_and_comments_are_counted_as_a_browser_makes_them() {
        assert_eq!(
            nodes(r#"<p title="a <b> c">1 &lt; 2<!>3<br></p><noscript><p>4</p></noscript><i></i>"#),
            5
        );
        assert_eq!(nodes(""), 0);
        assert_eq!(nodes("text <unfinished"), 1);
    }
}
