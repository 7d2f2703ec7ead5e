//! `/chat/{id}`: the timeline, the members, the composer.

use domain::page;
use leptos::prelude::*;

use crate::{
    live::{LiveChat, Scene},
    view::{
        about::AboutView,
        composer::{Composer, ComposerField},
        connection::ConnectionStatus,
        ended::Ended,
        header::ChatHeader,
        invites::InvitesView,
        members::{Members, TypingLine},
        timeline::TimelineView,
    },
};

/// A chat, alive as soon as the browser has taken over.
#[component]
pub fn ChatPage(
    /// The chat as the server found it.
    page: page::ChatPage,
) -> impl IntoView {
    let later = page.later;
    let chat = LiveChat::new(page);
    provide_context(chat.live);
    provide_context(chat);
    provide_context(ComposerField(NodeRef::new()));
    Scene::Chat(chat).connect();
    view! {
        <InvitesView back=Some(chat.chat_id()) />
        <div class="chat">
            <ChatHeader />
            <div class="room">
                <main class="talk">
                    <ConnectionStatus meanwhile="What you write is kept and goes out when you are back." />
                    <TimelineView later />
                    <TypingLine />
                    <Composer />
                    <Ended />
                </main>
                <Members />
            </div>
            <AboutView />
        </div>
    }
}
