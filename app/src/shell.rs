//! The document around every page: rendered by the server alone.

use domain::page::{Notice, Page};
use leptos::{config::LeptosOptions, hydration::AutoReload, nonce::use_nonce, prelude::*};

use crate::{
    page::{App, DATA_ID, notice::NoticePage},
    view::timeline::tab_title,
};

/// A page that was not painted within so many milliseconds, or a browser that does not tell, is taken over all the same.
const PAINT_MILLIS: u32 = 300;

/// Where the parts of a page are found.
#[derive(Debug, Clone, Default)]
pub struct Assets {
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
    let Assets { script, wasm, style } = assets;
    let title = title(&content);
    // The page is shown before what takes it over is asked for, unless nobody looks at it. Both parts of that are asked for
    // at once, and by a script: whoever runs none is not sent what they cannot use. A proxy may have called the WASM
    // something else: then it is compiled once it is there.
    let boot = format!(
        "if (!document.hidden) await new Promise((shown) => {{ setTimeout(shown, {PAINT_MILLIS}); \
         try {{ new PerformanceObserver(shown).observe({{ type: 'paint', buffered: true }}); }} catch {{}} }}); \
         const wasm = WebAssembly.compileStreaming(fetch({wasm:?})) \
         .catch(async () => WebAssembly.compile(await (await fetch({wasm:?})).arrayBuffer())); \
         const {{ default: start, hydrate }} = await import({script:?}); \
         await start({{ module_or_path: await wasm }}); hydrate();"
    );
    let boot = matches!(content, Content::Page(..)).then(|| {
        view! {
            <script type="module" nonce=use_nonce()>
                {boot}
            </script>
        }
    });
    // The newest messages stand at the bottom, so that what comes later moves all of them: a chat is shown once it was read as
    // far as what follows it (HTML, section 4.6.8.6; a browser that does not know this shows it bit by bit). Chromium 156
    // waits for the beginning of what is named, and not for its end.
    let whole = matches!(content, Content::Page(Page::Chat(_), _)).then(|| {
        view! { <link rel="expect" href=format!("#{DATA_ID}") blocking="render" /> }
    });
    let body = match content {
        Content::Page(page, data) => view! {
            <App page />
            <script type="application/json" id=DATA_ID inner_html=data></script>
        }
        .into_any(),
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
