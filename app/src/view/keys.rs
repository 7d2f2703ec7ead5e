//! What keys mean while a text is composed: an input method takes Enter and Escape for itself then.

use leptos::ev::KeyboardEvent;

/// The `keyCode` of every key while text is composed (UI Events, section 7.3.1).
const KEY_OF_COMPOSITION: u32 = 229;

/// Whether a key belongs to an input method. Safari ends a composition before the key that confirms or cancels it, and
/// marks that key by its old code alone.
pub fn is_composing(event: &KeyboardEvent) -> bool {
    event.is_composing() || event.key_code() == KEY_OF_COMPOSITION
}
