//! The header of a chat: its title, its visibility, and its link to share.

use std::time::Duration;

use domain::{Visibility, frame::ClientCommand};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::{EditTitle, SetVisibility},
    live::{Live, LiveChat},
    reactive::memo,
    view::{
        edit_in_place::{EditInPlace, PlainForm},
        icon,
        members::MembersButton,
        reactive_view::{Show, reactive_text, reactive_view, static_text},
        setting_switch::SettingSwitch,
    },
};

/// How long the result of copying the link is shown.
const RESULT_SHOWN_FOR: Duration = Duration::from_secs(4);

/// The result of copying the link.
#[derive(Clone, Copy, PartialEq)]
enum Copied {
    /// The link was not copied, or the result is not shown any more.
    NotYet,
    /// The link is in the clipboard.
    Yes,
    /// The browser refused to copy the link.
    No,
}

/// The header of a chat.
#[component]
pub fn ChatHeader() -> impl IntoView {
    let chat = LiveChat::from_context();
    let title = memo(move || chat.chat.with(|chat| chat.title.to_string()));
    let is_owner = memo(move || chat.chat.with(|chat| chat.owner) == chat.live.me.with(|me| me.id));
    let heading = move || {
        view! {
            <h1 dir="auto" title=move || title.get()>
                {reactive_text(move || title.get())}
            </h1>
        }
    };
    let ask = Callback::new(move |title| ClientCommand::EditTitle { chat: chat.chat_id(), title });
    let form = PlainForm { action: EditTitle::PATH, name: "title", chat: chat.chat_id() };
    let live = chat.live;
    let has_ended = memo(move || live.ended.with(Option::is_some));
    let is_direct = memo(move || chat.chat.with(|chat| chat.guest.is_some()));
    view! {
        <header class="chat-header">
            <a class="quiet" href="/" on:click=move |event| live.guard_navigation(&event, live.notice)>
                {icon::back()}
                <span class="hidden">"Home"</span>
            </a>
            <div class="title">
                <Show when=move || is_owner.get() && !has_ended.get() fallback=heading>
                    <EditInPlace button="Edit title" label="Chat title" text=title ask form>
                        {heading()}
                    </EditInPlace>
                </Show>
            </div>
            <div class="tools">
                <Show when=move || !has_ended.get()>
                    <SearchLink />
                    <VisibilityView is_owner is_direct />
                    <Show when=move || !is_direct.get()>
                        <CopyLink />
                    </Show>
                </Show>
            </div>
            <MembersButton />
        </header>
    }
    .into_any()
}

/// The link to the search in the chat. A live page opens it in a dialog, with a module that is loaded then.
#[component]
fn SearchLink() -> impl IntoView {
    let chat = LiveChat::from_context();
    view! {
        <a
            class="quiet search-link"
            href=format!("/chat/{}?search=", chat.chat_id())
            aria-keyshortcuts="/"
            data-later="search"
            data-popup="dialog"
        >
            {icon::search()}
            <span class="wide-only">"Search"</span>
        </a>
    }
    .into_any()
}

/// The visibility of the chat: a switch for its owner, and a text for others and in a direct chat, which is always
/// private.
#[component]
fn VisibilityView(is_owner: Memo<bool>, is_direct: Memo<bool>) -> impl IntoView {
    let chat = LiveChat::from_context();
    let is_public = memo(move || chat.chat.with(|chat| chat.visibility) == Visibility::Public);
    let word = move || if is_public.get() { "Public" } else { "Private" };
    let ask = Callback::new(move |is_public| {
        let visibility = if is_public { Visibility::Public } else { Visibility::Private };
        ClientCommand::SetVisibility { chat: chat.chat_id(), visibility }
    });
    view! {
        <Show
            when=move || is_owner.get() && !is_direct.get()
            fallback=move || view! { <span class="badge">{reactive_text(word)}</span> }
        >
            <SettingSwitch
                label="Public"
                title="Listed on the home page"
                action=SetVisibility::PATH
                name="visibility"
                values=["private", "public"]
                is_on=is_public
                ask
            />
        </Show>
    }
    .into_any()
}

/// The button that copies the link of the chat, and the result.
#[component]
fn CopyLink() -> impl IntoView {
    let live = Live::from_context();
    let copied = RwSignal::new(Copied::NotYet);
    let times = StoredValue::new(0_u32);
    let show_result = move |result| {
        copied.set(result);
        times.update_value(|times| *times += 1);
        let this_time = times.get_value();
        let hide_result = move || {
            // The view may be gone, or the result may have been replaced by a newer one.
            if times.try_get_value() == Some(this_time) {
                copied.set(Copied::NotYet);
            }
        };
        let _ = set_timeout(hide_result, RESULT_SHOWN_FOR);
    };
    let copy = move |_| {
        let done = Box::new(move |worked| show_result(if worked { Copied::Yes } else { Copied::No }));
        if let Some(transport) = live.transport() {
            transport.copy_link(done);
        }
    };
    let text = move || match copied.get() {
        Copied::NotYet => None,
        Copied::Yes => Some("Copied"),
        Copied::No => Some("Copy it from the address bar"),
    };
    view! {
        <button type="button" class="quiet needs-hydration" on:click=copy>
            {icon::link()}
            "Copy link"
        </button>
        <span class="copied" role="status" aria-label="Link">
            {reactive_view(move || {
                text().map(|text| view! { <span class="note">{static_text(text)}</span> }).into_any()
            })}
        </span>
    }
    .into_any()
}
