//! `/chat/{id}`: the timeline, the members, the composer.

use domain::page;
use leptos::prelude::*;

use crate::{
    hydration::Deferred,
    live::{LiveChat, LivePage},
    view::{
        about_dialog::AboutView,
        chat_header::ChatHeader,
        composer::{Composer, ComposerField},
        connection_status::ConnectionStatus,
        ended_notice::EndedNotice,
        file_rejection::reject_files,
        focus::keep_focus,
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
    reject_files();
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
                        <EndedNotice />
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
