//! What is stored in the browser. For a tab, in `sessionStorage`: the draft of each chat, what it answers, and the
//! messages that wait to be stored, so that they survive reloads and navigation. For all tabs, in `localStorage`: how far
//! each chat was read. If the browser forbids it, all of that lives as long as the page.

use domain::{ChatId, Epoch, Seq, Timestamp, place::Answering, timeline::Pending};
use web_sys::Storage;

/// What the keys in `localStorage` begin with under which it is stored how far a chat was read.
const SEEN: &str = "read ";

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

/// Returns the message that the draft of a chat answers. `None` if it answers none.
pub(crate) fn saved_answering(chat: ChatId) -> Option<Answering> {
    json::parse(&read(&answering_key(chat))?.into())
}

/// Saves the message that the draft of a chat answers. `None` removes it.
pub(crate) fn save_answering(chat: ChatId, answering: Option<&Answering>) {
    write(&answering_key(chat), &answering.and_then(json::text).unwrap_or_default());
}

/// How far a chat was read in this browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SavedSeen {
    /// The epoch of the log.
    pub(crate) epoch: Epoch,
    /// The last event that was seen.
    pub(crate) seq: Seq,
    /// When it was saved, by the clock of the device.
    at: Timestamp,
}

impl SavedSeen {
    /// Parses what was saved. `None` if it is not of that form.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let epoch = parts.next()?.parse().ok()?;
        let (seq, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { epoch, seq: Seq(seq), at: Timestamp(at) })
    }

    fn text(self) -> String {
        let Self { epoch, seq: Seq(seq), at: Timestamp(at) } = self;
        format!("{epoch} {seq} {at}")
    }
}

/// Returns how far a chat was read. `None` if it is not known.
pub(crate) fn saved_seen(chat: ChatId) -> Option<SavedSeen> {
    SavedSeen::parse(&shared_storage()?.get_item(&seen_key(chat)).ok()??)
}

/// Saves how far a chat was read, unless it was read further in another tab.
pub(crate) fn save_seen(chat: ChatId, epoch: Epoch, seq: Seq) {
    let is_ahead = saved_seen(chat).is_some_and(|saved| saved.epoch == epoch && saved.seq >= seq);
    if let Some(storage) = shared_storage().filter(|_| !is_ahead) {
        let _ = storage.set_item(&seen_key(chat), &SavedSeen { epoch, seq, at: browser::now() }.text());
    }
}

/// Removes how far chats were read whose messages of then have expired: everything since is new.
pub(crate) fn forget_seen(lifetime_millis: u64) {
    let Some(storage) = shared_storage() else { return };
    let now = browser::now();
    let is_old = |key: &String| {
        let saved = storage.get_item(key).ok().flatten().and_then(|text| SavedSeen::parse(&text));
        key.starts_with(SEEN) && saved.is_none_or(|saved| now.millis_since(saved.at) > lifetime_millis)
    };
    let keys =
        (0..storage.length().unwrap_or_default()).filter_map(|place| storage.key(place).ok().flatten());
    // Gathered first, since the places change when a key is removed.
    let old: Vec<_> = keys.filter(is_old).collect();
    for key in old {
        let _ = storage.remove_item(&key);
    }
}

fn shared_storage() -> Option<Storage> {
    browser::window()?.local_storage().ok().flatten()
}

fn answering_key(chat: ChatId) -> String {
    format!("answering {chat}")
}

fn seen_key(chat: ChatId) -> String {
    format!("{SEEN}{chat}")
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

#[cfg(test)]
mod tests {
    use domain::id::ID_BYTES;

    use super::*;

    #[test]
    fn how_far_a_chat_was_read_is_saved_as_a_line() {
        let saved = SavedSeen { epoch: Epoch::from_bytes([1; ID_BYTES]), seq: Seq(58), at: Timestamp(1_763) };
        assert_eq!(SavedSeen::parse(&saved.text()), Some(saved));
        for other in ["", "58", "x 58 1763", "0123456789abcdef 58", "0123456789abcdef x 1763"] {
            assert_eq!(SavedSeen::parse(other), None, "{other:?}");
        }
    }
}
