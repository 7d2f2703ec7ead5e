//! Keys during text composition: an input method (IME) handles Enter and Escape itself then.

use leptos::ev::KeyboardEvent;

/// The `keyCode` of every key during composition (UI Events, section 7.3.1).
const KEY_OF_COMPOSITION: u32 = 229;

/// Whether a key event belongs to an input method. Safari ends the composition before the key that confirms or cancels
/// it, and marks that key only by this `keyCode`.
pub fn is_composing(event: &KeyboardEvent) -> bool {
    event.is_composing() || event.key_code() == KEY_OF_COMPOSITION
}
