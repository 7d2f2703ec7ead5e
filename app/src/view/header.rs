//! The head of a chat: where one is, who can find it, and its link to share.

use domain::{Problem, Visibility, frame::Ask};
use leptos::{ev::SubmitEvent, prelude::*, server_fn::ServerFn};

use crate::{
    api::{EditTitle, SetVisibility},
    live::{Live, LiveChat},
    view::{
        edit_in_place::{EditInPlace, PlainForm},
        icon,
        members::MembersButton,
    },
};

/// What became of copying the link.
#[derive(Clone, Copy, PartialEq)]
enum Copied {
    NotYet,
    Yes,
    No,
}

/// The head of a chat.
#[component]
pub fn ChatHeader() -> impl IntoView {
    let chat = LiveChat::here();
    let title = Signal::derive(move || chat.chat.with(|chat| chat.title.to_string()));
    let is_owner = Memo::new(move |_| chat.chat.with(|chat| chat.owner) == chat.live.me.with(|me| me.id));
    let heading = move || view! { <h1 dir="auto" title=title>{title}</h1> };
    let ask = Callback::new(move |title| Ask::EditTitle { chat: chat.chat_id(), title });
    let form = PlainForm { action: EditTitle::PATH, name: "title", chat: chat.chat_id() };
    view! {
        <header class="chat-header">
            <a class="quiet" href="/">
                {icon::back()}
                <span class="hidden">"Home"</span>
            </a>
            <Show when=move || is_owner.get() fallback=heading>
                <EditInPlace button="Edit title" label="Chat title" text=title ask form>
                    {heading()}
                </EditInPlace>
            </Show>
            <VisibilityView is_owner />
            <Show when=move || chat.chat.with(|chat| chat.guest.is_none()) fallback=|| view! { <span class="copied"></span> }>
                <CopyLink />
            </Show>
            <MembersButton />
        </header>
    }
    .into_any()
}

/// Who can find the chat: a switch for its owner, a word for others and in a chat of two, which stays private.
#[component]
fn VisibilityView(is_owner: Memo<bool>) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let (problem, set_problem) = signal(None::<Problem>);
    let is_public = Memo::new(move |_| chat.chat.with(|chat| chat.visibility) == Visibility::Public);
    let is_of_two = Memo::new(move |_| chat.chat.with(|chat| chat.guest.is_some()));
    let word = move || if is_public.get() { "Public" } else { "Private" };
    let switch = move |event: SubmitEvent| {
        if !live.is_alive.get_untracked() {
            return;
        }
        event.prevent_default();
        let visibility = if is_public.get_untracked() { Visibility::Private } else { Visibility::Public };
        let ask = Ask::SetVisibility { chat: chat.chat_id(), visibility };
        live.ask(ask, move |done| set_problem.set(done.err()));
    };
    view! {
        <Show
            when=move || is_owner.get() && !is_of_two.get()
            fallback=move || view! { <span class="badge">{word}</span> }
        >
            <form method="post" action=SetVisibility::PATH on:submit=switch>
                <input type="hidden" name="chat" value=chat.chat_id().to_string() />
                <button
                    role="switch"
                    class="switch"
                    name="visibility"
                    value=move || if is_public.get() { "private" } else { "public" }
                    aria-checked=move || if is_public.get() { "true" } else { "false" }
                    title="Listed on the home page"
                >
                    "Public"
                </button>
            </form>
        </Show>
        <p class="problem" role="alert">
            {move || problem.get().map(|problem| problem.to_string())}
        </p>
    }
    .into_any()
}

#[component]
fn CopyLink() -> impl IntoView {
    let live = Live::here();
    let (copied, set_copied) = signal(Copied::NotYet);
    let copy = move |_| {
        let done = Box::new(move |worked| set_copied.set(if worked { Copied::Yes } else { Copied::No }));
        if let Some(courier) = live.courier() {
            courier.copy_link(done);
        }
    };
    let said = move || match copied.get() {
        Copied::NotYet => "",
        Copied::Yes => "Copied",
        Copied::No => "Copy it from the address bar",
    };
    view! {
        <span class="copied soft" role="status" aria-label="Link">
            {said}
        </span>
        <button type="button" class="quiet needs-life" on:click=copy>
            {icon::link()}
            <span class="wide-only">"Copy link"</span>
        </button>
    }
    .into_any()
}
