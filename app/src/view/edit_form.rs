//! Editing a message without a script. On a live page `style/public/later/edit.js` shows the same in place of the message.

use leptos::{prelude::*, server_fn::ServerFn};

use crate::api::EditMessage;

/// The form to edit a message.
#[component]
pub fn EditForm(
    /// The id of the chat, as it is in the address or was received.
    chat: String,
    /// The sequence number of the message.
    message: u64,
    /// The text of the message, or as typed.
    body: String,
) -> impl IntoView {
    view! {
        <form method="post" action=EditMessage::PATH class="stack">
            <input type="hidden" name="chat" value=chat.clone() />
            <input type="hidden" name="message" value=message.to_string() />
            // A message with pictures may have no text.
            <textarea name="body" rows="8" aria-label="Message" dir="auto" autocomplete="off">
                // HTML drops a line break at the beginning of a textarea.
                {format!("\n{body}")}
            </textarea>
            <div class="row">
                <button class="primary">"Save"</button>
                <a href=format!("/chat/{chat}?at={message}")>"Cancel"</a>
            </div>
        </form>
    }
    .into_any()
}
