//! What the browser keeps for a tab: the draft of each chat, across reloads and ways out and back.

use domain::ChatId;
use web_sys::Storage;

fn storage() -> Option<Storage> {
    // a browser may forbid it; then a draft lives as long as its page
    crate::browser::window()?.session_storage().ok().flatten()
}

fn key(chat: ChatId) -> String {
    format!("draft {chat}")
}

/// What was being written in a chat.
pub(crate) fn draft(chat: ChatId) -> Option<String> {
    storage()?.get_item(&key(chat)).ok().flatten()
}

/// Keeps what is being written in a chat; nothing removes it.
pub(crate) fn keep_draft(chat: ChatId, text: &str) {
    let Some(storage) = storage() else { return };
    let _ =
        if text.is_empty() { storage.remove_item(&key(chat)) } else { storage.set_item(&key(chat), text) };
}
