//! The head of a chat: where one is, who can find it, and its link to share.

use domain::{Problem, Visibility, frame::Ask};
use leptos::prelude::*;

use crate::{
    live::Live,
    view::{edit_in_place::EditInPlace, icon},
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
    let live = Live::here();
    let title = Signal::derive(move || live.chat.with(|chat| chat.title.to_string()));
    let is_owner = Memo::new(move |_| live.chat.with(|chat| chat.owner) == live.me.with(|me| me.id));
    let heading = move || view! { <h1 dir="auto">{title}</h1> };
    let ask = Callback::new(move |title| Ask::EditTitle { chat: live.chat_id(), title });
    view! {
        <header class="chat-header">
            <a class="quiet" href="/">
                {icon::back()}
                <span class="hidden">"Home"</span>
            </a>
            <Show when=move || is_owner.get() fallback=heading>
                <EditInPlace button="Edit title" label="Chat title" text=title ask>
                    {heading()}
                </EditInPlace>
            </Show>
            <VisibilityView is_owner />
            <CopyLink />
        </header>
    }
    .into_any()
}

/// Who can find the chat: a switch for its owner, a word for others.
#[component]
fn VisibilityView(is_owner: Memo<bool>) -> impl IntoView {
    let live = Live::here();
    let (problem, set_problem) = signal(None::<Problem>);
    let is_public = move || live.chat.with(|chat| chat.visibility) == Visibility::Public;
    let word = move || if is_public() { "Public" } else { "Private" };
    let switch = move |_| {
        let visibility = if is_public() { Visibility::Private } else { Visibility::Public };
        let ask = Ask::SetVisibility { chat: live.chat_id(), visibility };
        live.ask(ask, move |done| set_problem.set(done.err()));
    };
    view! {
        <Show when=move || is_owner.get() fallback=move || view! { <span class="badge">{word}</span> }>
            <span class="badge without-life">{word}</span>
            <button
                type="button"
                role="switch"
                class="switch needs-life"
                aria-checked=move || if is_public() { "true" } else { "false" }
                title="Listed on the home page"
                on:click=switch
            >
                "Public"
            </button>
        </Show>
        <p class="problem" role="alert">
            {move || problem.get().map(|problem| problem.to_string())}
        </p>
    }
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
