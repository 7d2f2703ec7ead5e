//! What the browser keeps for a tab: the draft of each chat and the messages that wait to be stored, across reloads and
//! ways out and back. A browser may forbid it; then they live as long as their page.

use domain::{ChatId, timeline::Pending};
use web_sys::Storage;

use crate::{browser, json};

fn storage() -> Option<Storage> {
    browser::window()?.session_storage().ok().flatten()
}

/// What was being written in a chat.
pub(crate) fn draft(chat: ChatId) -> Option<String> {
    read(&draft_key(chat))
}

/// Keeps what is being written in a chat; nothing removes it.
pub(crate) fn keep_draft(chat: ChatId, text: &str) {
    keep(&draft_key(chat), text);
}

/// The messages that waited to be stored in a chat, oldest first. None where there is nothing that could be one.
pub(crate) fn waiting(chat: ChatId) -> Vec<Pending> {
    read(&waiting_key(chat)).and_then(|kept| json::parse(&kept.into())).unwrap_or_default()
}

/// Keeps the messages that wait to be stored in a chat.
pub(crate) fn keep_waiting(chat: ChatId, waiting: &[Pending]) {
    let kept = if waiting.is_empty() { None } else { json::text(waiting) };
    keep(&waiting_key(chat), &kept.unwrap_or_default());
}

fn draft_key(chat: ChatId) -> String {
    format!("draft {chat}")
}

fn waiting_key(chat: ChatId) -> String {
    format!("waiting {chat}")
}

fn read(key: &str) -> Option<String> {
    storage()?.get_item(key).ok().flatten()
}

/// Nothing removes what is there.
fn keep(key: &str, text: &str) {
    let Some(storage) = storage() else { return };
    let _ = if text.is_empty() { storage.remove_item(key) } else { storage.set_item(key, text) };
}
