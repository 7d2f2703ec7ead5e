//! The line above the field with the message that is being answered.

use domain::Seq;
use leptos::{ev::MouseEvent, html::Textarea, prelude::*};

use crate::{
    live::{Answered, LiveChat},
    reactive::memo,
    view::{
        reactive_view::{Show, reactive_text},
        space_key::press_by_space,
    },
};

/// The message that is being answered, and a button to answer none. Without a script, that is a link to the page of the
/// chat, and the form has the message in a hidden field.
#[component]
pub fn AnsweringLine(
    /// The field of the composer, which gets the focus.
    field: NodeRef<Textarea>,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let address = format!("/chat/{}", chat.chat_id());
    let message = memo(move || chat.answering.with(|answering| answering.as_ref().map(|to| to.message)));
    // Whoever begins an answer goes on by writing it. What was begun before a reload takes no focus.
    Effect::new(move |before: Option<Option<Seq>>| {
        let message = message.get();
        if message.is_some()
            && before.is_some_and(|before| before != message)
            && let Some(field) = field.get_untracked()
        {
            let _ = field.focus();
        }
        message
    });
    let (lead, name, line) = (
        move || match chat.answered() {
            Some(Answered::Message(_)) => "In reply to ",
            Some(Answered::Removed) => {
                "That message was removed. What you write goes out without the answer."
            }
            None => "",
        },
        move || match chat.answered() {
            Some(Answered::Message(quote)) => quote.nickname.to_string(),
            _ => String::new(),
        },
        move || match chat.answered() {
            Some(Answered::Message(quote)) if quote.line.as_str().is_empty() => ": Picture".to_owned(),
            Some(Answered::Message(quote)) => format!(": {}", quote.line),
            _ => String::new(),
        },
    );
    let cancel = move |event: MouseEvent| {
        if live.is_hydrated.get_untracked() {
            event.prevent_default();
            chat.cancel_reply();
            if let Some(field) = field.get_untracked() {
                let _ = field.focus();
            }
        }
    };
    view! {
        <Show when=move || message.get().is_some()>
            <div class="answering">
                <input type="hidden" name="reply_to" value=move || message.get().map(|message| message.to_string()) />
                <p>
                    {reactive_text(lead)} <strong dir="auto" translate="no">
                        {reactive_text(name)}
                    </strong> <span dir="auto">{reactive_text(line)}</span>
                </p>
                <a
                    class="quiet"
                    href=address.clone()
                    role=move || live.is_hydrated.get().then_some("button")
                    on:click=cancel
                    on:keydown=press_by_space
                >
                    "Cancel reply"
                </a>
            </div>
        </Show>
    }
    .into_any()
}
