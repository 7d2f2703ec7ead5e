//! `/chat/{id}`: the timeline, the members, the composer.

use domain::page;
use leptos::prelude::*;

use crate::{
    hydration::Deferred,
    live::{LiveChat, LivePage},
    view::{
        about::AboutView,
        composer::{Composer, ComposerField},
        connection::ConnectionStatus,
        ended::Ended,
        files::refuse_files,
        focus::keep_focus,
        header::ChatHeader,
        invites::InvitesView,
        members::{Members, TypingLine},
        timeline::TimelineView,
    },
};

/// The page of a chat.
#[component]
pub fn ChatPage(
    /// The data of the page.
    page: page::ChatPage,
) -> impl IntoView {
    let later = page.later;
    let chat = LiveChat::new(page);
    provide_context(chat.live);
    provide_context(chat);
    provide_context(ComposerField(NodeRef::new()));
    keep_focus();
    LivePage::Chat(chat).connect();
    refuse_files();
    view! {
        <Deferred>
            <InvitesView back=Some(chat.chat_id()) />
        </Deferred>
        <div class="chat">
            <Deferred>
                <ChatHeader />
            </Deferred>
            <div class="room">
                <Deferred>
                    <main class="talk">
                        <ConnectionStatus meanwhile="What you write is kept and goes out when you are back." />
                        <Deferred>
                            <TimelineView later />
                        </Deferred>
                        <TypingLine />
                        <Deferred>
                            <Composer />
                        </Deferred>
                        <Ended />
                    </main>
                </Deferred>
                <Deferred>
                    <Members />
                </Deferred>
            </div>
            <AboutView />
        </div>
    }
}
