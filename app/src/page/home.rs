//! `/`: the form that starts a chat, and the public chats.

use domain::page;
use leptos::prelude::*;

use crate::{
    hydration::Deferred,
    live::{LiveLobby, LivePage},
    view::{
        composer::FreshClientId,
        connection_status::ConnectionStatus,
        ended_notice::EndedNotice,
        file_rejection::reject_files,
        focus::keep_focus,
        invites::{InvitesSetting, InvitesView},
        lobby::LobbyView,
        retention_notice::RetentionNotice,
        site_counts::SiteCounts,
        start_form::{START_HEADING_ID, StartForm},
        wordmark::Wordmark,
    },
};

/// The home page.
#[component]
pub fn HomePage(
    /// The data of the page.
    page: page::HomePage,
) -> impl IntoView {
    let nickname = page.visit.me.nickname.to_string();
    // The form keeps the id that is known when the page is created.
    let form = use_context::<FreshClientId>().unwrap_or_default().0.map(|id| id.to_string());
    let lobby = LiveLobby::new(page);
    provide_context(lobby.live);
    provide_context(lobby);
    keep_focus();
    LivePage::Home(lobby).connect();
    reject_files();
    view! {
        <Deferred>
            <InvitesView back=None />
        </Deferred>
        <div class="home">
            <Deferred>
                <header class="home-header">
                    <Wordmark />
                    <p class="tagline">"Rooms that vanish when nobody needs them."</p>
                    <SiteCounts />
                </header>
            </Deferred>
            <ConnectionStatus meanwhile="The list of chats goes on when you are back." />
            <EndedNotice />
            <main class="home-columns">
                <section class="card start" aria-labelledby=START_HEADING_ID>
                    <h1 id=START_HEADING_ID tabindex="-1" data-focus-home="">
                        "Start a chat"
                    </h1>
                    <p class="soft">"No account. Share the link with whoever you want to talk to."</p>
                    <Deferred>
                        <StartForm nickname title=String::new() private=false id=form.unwrap_or_default() />
                    </Deferred>
                </section>
                <Deferred>
                    <LobbyView />
                </Deferred>
            </main>
            <footer class="home-footer">
                <RetentionNotice />
                <InvitesSetting back=None />
            </footer>
        </div>
    }
    .into_any()
}
