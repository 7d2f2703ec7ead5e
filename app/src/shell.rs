//! The document around every page.

use domain::{ClientId, page::Page};
use leptos::{config::LeptosOptions, hydration::AutoReload, nonce::use_nonce, prelude::*};

use crate::page::{App, DATA_ID};

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

/// An id for the message that a page without WASM may post. Handed in by the server, as a context.
#[derive(Debug, Clone, Copy, Default)]
pub struct FreshClientId(pub Option<ClientId>);

/// What the tab of a chat is called, with so many messages in it that were not looked at.
pub fn chat_title(title: &str, missed: usize) -> String {
    if missed == 0 { format!("{title} · Qchat") } else { format!("({missed}) {title} · Qchat") }
}

/// What the tab is called.
fn title(page: &Page) -> String {
    match page {
        Page::Home(_) => "Qchat".to_owned(),
        Page::Chat(page) => chat_title(page.chat.title.as_str(), 0),
        Page::Refused { .. } => "Not done · Qchat".to_owned(),
        Page::Problem(_) | Page::Missing => "Not here · Qchat".to_owned(),
    }
}

/// The document: rendered by the server alone. Its one script is run because it has the nonce that is there as a context.
#[component]
pub fn Shell(
    /// What is shown.
    page: Page,
    /// The same as JSON, in which no `<` ends the element around it.
    data: String,
    /// Where its parts are found.
    assets: Assets,
    /// What Leptos wants to know.
    options: LeptosOptions,
) -> impl IntoView {
    let Assets { script, wasm, style } = assets;
    let title = title(&page);
    // Both are asked for at once, and by a script: whoever runs none is not sent what they cannot use.
    let boot = format!(
        "const wasm = fetch({wasm:?}); const {{ default: start, hydrate }} = await import({script:?}); await start({{ module_or_path: wasm }}); hydrate();"
    );
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
                <AutoReload options />
                <script type="module" nonce=use_nonce()>
                    {boot}
                </script>
            </head>
            <body>
                <App page />
                <script type="application/json" id=DATA_ID inner_html=data></script>
            </body>
        </html>
    }
}
