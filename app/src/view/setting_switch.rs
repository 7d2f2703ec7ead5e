//! A switch with which the owner of a chat turns one of its settings on or off.

use domain::frame::ClientCommand;
use leptos::{ev::SubmitEvent, prelude::*};

use crate::live::LiveChat;

/// A switch for a setting of the chat. Its command is sent over the socket on a hydrated page, and as an ordinary form otherwise.
#[component]
pub fn SettingSwitch(
    /// The label of the switch.
    label: &'static str,
    /// What the setting means, in a few words.
    title: &'static str,
    /// The path that the form is posted to.
    action: &'static str,
    /// The name of the field.
    name: &'static str,
    /// The values of the field for off and on.
    values: [&'static str; 2],
    /// Whether the setting is on.
    is_on: Memo<bool>,
    /// Returns the command that turns the setting on or off.
    ask: Callback<bool, ClientCommand>,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let switch = move |event: SubmitEvent| {
        if live.is_hydrated.get_untracked() {
            event.prevent_default();
            live.ask(ask.run(!is_on.get_untracked()), move |done| live.notice.set(done.err()));
        }
    };
    view! {
        <form method="post" action=action on:submit=switch>
            <input type="hidden" name="chat" value=chat.chat_id().to_string() />
            <button
                role="switch"
                class="switch"
                name=name
                value=move || values[usize::from(!is_on.get())]
                aria-checked=move || if is_on.get() { "true" } else { "false" }
                title=title
            >
                {label}
            </button>
        </form>
    }
    .into_any()
}
