//! `/chat/{id}`: the timeline, the members, the composer.

use domain::page;
use leptos::prelude::*;

use crate::{
    live::{LiveChat, Scene},
    takeover::Later,
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
    keep_focus();
    Scene::Chat(chat).connect();
    refuse_files();
    view! {
        <Later><InvitesView back=Some(chat.chat_id()) /></Later>
        <div class="chat">
            <Later><ChatHeader /></Later>
            <div class="room">
                <Later>
                    <main class="talk">
                        <ConnectionStatus meanwhile="What you write is kept and goes out when you are back." />
                        <Later><TimelineView later /></Later>
                        <TypingLine />
                        <Later><Composer /></Later>
                        <Ended />
                    </main>
                </Later>
                <Later><Members /></Later>
            </div>
            <AboutView />
        </div>
    }
}
