//! The reader's open invites, shown on every live page.

use domain::{Answer, ChatId, Invite, Problem, User, frame::ClientCommand};
use leptos::{ev::SubmitEvent, prelude::*, server_fn::ServerFn, wasm_bindgen::JsCast, web_sys::HtmlElement};

use crate::{
    api::{AnswerInvite, SetInvites},
    live::{Live, press_once},
    view::{
        avatar::Avatar,
        composer::ComposerField,
        list::list,
        list_item::ListItem,
        problem_line::ProblemLine,
        reactive_view::{Show, reactive_text, reactive_view},
        start_form::START_HEADING_ID,
    },
};

fn focus_element(id: &str) {
    let element = document().get_element_by_id(id).and_then(|element| element.dyn_into::<HtmlElement>().ok());
    if let Some(element) = element {
        let _ = element.focus();
    }
}

/// The reader's open invites.
#[component]
pub fn InvitesView(
    /// The chat of the page they are shown on, to return to. `None` for the home page.
    back: Option<ChatId>,
) -> impl IntoView {
    let live = Live::from_context();
    let invites =
        move || live.invites.get().into_iter().map(|invite| ListItem::new(invite.chat, invite)).collect();
    let invite = move |invite| view! { <InviteView invite back /> }.into_any();
    view! {
        <div class="invites-place" aria-live="polite">
            <Show when=move || !live.invites.with(Vec::is_empty)>
                <section class="invites" aria-label="Private chat invites">
                    <ul>{list(None, invites, invite)}</ul>
                </section>
            </Show>
        </div>
    }
    .into_any()
}

/// An invite. Both answers are ordinary forms: accepting opens the chat in a new window, which a script could not do as
/// reliably.
#[component]
fn InviteView(invite: RwSignal<Invite>, back: Option<ChatId>) -> impl IntoView {
    let live = Live::from_context();
    let chat = invite.with_untracked(|invite| invite.chat);
    // The user who invited the reader may change their nickname meanwhile.
    let who = move || {
        let User { id, nickname } = invite.with(|invite| invite.from.clone());
        view! { <Avatar id nickname /> }.into_any()
    };
    let name = move || invite.with(|invite| invite.from.nickname.to_string());
    let problem = RwSignal::new(None::<Problem>);
    let composer = use_context::<ComposerField>();
    let accept = move |event: SubmitEvent| live.guard_navigation(&event, problem);
    let decline = move |event: SubmitEvent| {
        if live.is_hydrated.get_untracked() {
            event.prevent_default();
            let ask = ClientCommand::AnswerInvite { chat, answer: Answer::Decline };
            // The row is removed, and the focus moves to the composer, or to the start form on the home page.
            live.ask(ask, move |done| match (done, composer) {
                (Err(why), _) => problem.set(Some(why)),
                (Ok(()), Some(ComposerField(field))) => {
                    if let Some(field) = field.get_untracked() {
                        let _ = field.focus();
                    }
                }
                (Ok(()), None) => focus_element(START_HEADING_ID),
            });
        }
    };
    view! {
        <li class="invite">
            {reactive_view(who)} <p>
                <strong>
                    <bdi translate="no">{reactive_text(name)}</bdi>
                </strong>
                " wants to chat with you privately."
            </p> <form method="post" action=AnswerInvite::PATH target="_blank" on:submit=accept>
                <input type="hidden" name="chat" value=chat.to_string() />
                <button class="primary" name="answer" value="accept" on:click=press_once>
                    "Accept"
                </button>
            </form> <form method="post" action=AnswerInvite::PATH on:submit=decline>
                <input type="hidden" name="chat" value=chat.to_string() />
                <input type="hidden" name="back" value=back.map(|back| back.to_string()) />
                <button class="quiet" name="answer" value="decline">
                    "Decline"
                </button>
            </form> <ProblemLine problem />
        </li>
    }
    .into_any()
}

/// A form that sets whether other users can invite the reader. It is an ordinary form that reloads the page, since it
/// is rarely used.
#[component]
pub fn InvitesSetting(
    /// The chat of the page it is on, to return to. `None` for the home page.
    back: Option<ChatId>,
) -> impl IntoView {
    let live = Live::from_context();
    let problem = RwSignal::new(None::<Problem>);
    let label = if live.takes_invites { "Take no private invites" } else { "Take private invites again" };
    view! {
        <form
            class="invites-setting"
            method="post"
            action=SetInvites::PATH
            on:submit=move |event: SubmitEvent| live.guard_navigation(&event, problem)
        >
            <input type="hidden" name="are_taken" value=(!live.takes_invites).to_string() />
            <input type="hidden" name="back" value=back.map(|back| back.to_string()) />
            <button class="quiet">{label}</button>
            <ProblemLine problem />
        </form>
    }
    .into_any()
}
