//! What is stored for a tab, in `sessionStorage`: the draft of each chat and the messages that wait to be
//! stored, so that they survive reloads and navigation. If the browser forbids it, they live as long as the page.

use domain::{ChatId, timeline::Pending};
use web_sys::Storage;

use crate::{browser, json};

fn storage() -> Option<Storage> {
    browser::window()?.session_storage().ok().flatten()
}

/// Returns the draft of a chat. `None` if there is none.
pub(crate) fn saved_draft(chat: ChatId) -> Option<String> {
    read(&draft_key(chat))
}

/// Saves the draft of a chat. An empty text removes it.
pub(crate) fn save_draft(chat: ChatId, text: &str) {
    write(&draft_key(chat), text);
}

/// Returns the messages that were waiting to be stored in a chat, oldest first. Returns none if the saved data cannot
/// be parsed.
pub(crate) fn saved_waiting(chat: ChatId) -> Vec<Pending> {
    read(&waiting_key(chat)).and_then(|saved| json::parse(&saved.into())).unwrap_or_default()
}

/// Saves the messages that wait to be stored in a chat. An empty list removes them.
pub(crate) fn save_waiting(chat: ChatId, waiting: &[Pending]) {
    let saved = if waiting.is_empty() { None } else { json::text(waiting) };
    write(&waiting_key(chat), &saved.unwrap_or_default());
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

/// Saves a text. An empty text removes what was saved.
fn write(key: &str, text: &str) {
    let Some(storage) = storage() else { return };
    let _ = if text.is_empty() { storage.remove_item(key) } else { storage.set_item(key, text) };
}
