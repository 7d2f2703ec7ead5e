//! Reacting to a message without a script: the emoji that are used most, and a field for any other.

use leptos::{prelude::*, server_fn::ServerFn};

use crate::api::React;

/// The emoji that can be chosen by a button.
const CHOICES: [&str; 12] = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🙏", "🔥", "👏", "👀", "💯", "🤔"];

/// The forms to react to a message.
#[component]
pub fn ReactForms(
    /// The id of the chat, as it is in the address or was received.
    chat: String,
    /// The sequence number of the message.
    message: u64,
    /// The emoji as typed.
    #[prop(optional)]
    emoji: String,
) -> impl IntoView {
    let fields = {
        let chat = chat.clone();
        move || {
            view! {
                <input type="hidden" name="chat" value=chat.clone() />
                <input type="hidden" name="message" value=message.to_string() />
            }
        }
    };
    let choice = |emoji: &'static str| {
        view! {
            <button class="quiet" name="on" value=emoji>
                {emoji}
            </button>
        }
    };
    view! {
        <form method="post" action=React::PATH class="react-choices">
            {fields()}
            {CHOICES.map(choice).collect_view()}
        </form>
        <form method="post" action=React::PATH class="stack">
            {fields()}
            <label class="field">
                <span>"Emoji"</span>
                <input name="on" value=emoji autocomplete="off" required />
            </label>
            <div class="row">
                <button class="primary">"React"</button>
                <a href=format!("/chat/{chat}")>"Back to the chat"</a>
            </div>
        </form>
    }
    .into_any()
}
